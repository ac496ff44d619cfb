//! What the checks found, as header fields: Authentication-Results (RFC 8601) and Received-SPF (RFC 7208 9.1).
//! Everything that a stranger chose is quoted or left out: no value ends a field, a line or a comment.

use super::facts::{
    Arc, ArcResult, Arrival, ClientName, Dkim, DkimResult, Dmarc, DmarcPolicy, DmarcResult, Domain, Facts,
    Listed, Opening, SpfResult,
};

/// Both fields, of what [`results`] says; each with its line end; the first one is there even where nothing was checked.
pub fn fields(arrival: &Arrival, facts: &Facts, results: &[String]) -> String {
    let mut out = format!("Authentication-Results: {}", arrival.receiver);
    for result in results {
        out.push_str(";\r\n\t");
        out.push_str(result);
    }
    if results.is_empty() {
        out.push_str(";\r\n\tnone");
    }
    out.push_str("\r\n");
    if let Some(spf) = facts.spf {
        out.push_str(&received_spf(spf, arrival));
    }
    out
}

/// `method=result` of each check that was made, with what it is about (RFC 8601 2.2). Methods of our own begin with `x-`
/// (2.7.7). `opening`: what was found before the mail was read.
pub fn results(arrival: &Arrival, opening: Option<&Opening>, facts: &Facts) -> Vec<String> {
    let mut results = Vec::new();
    if let Some(opening) = opening {
        results.extend(opening.client_name.map(|name| client_name(name, arrival)));
        results.extend(block_lists(&opening.listed));
        let helo = || format!("smtp.helo={}", value(&arrival.helo));
        results.extend(domain("x-helo", opening.helo, helo));
        let sender = || format!("smtp.mailfrom={}", value(arrival.sender.as_deref().unwrap_or_default()));
        results.extend(domain("x-sender-domain", opening.sender_domain, sender));
    }
    results.extend(facts.spf.map(|spf| spf_result(spf, arrival)));
    results.extend(facts.dkim.iter().flatten().map(dkim_result));
    if facts.dkim.as_ref().is_some_and(Vec::is_empty) {
        results.push("dkim=none".to_owned());
    }
    results.extend(facts.arc.as_ref().map(arc_result));
    results.extend(facts.dmarc.as_ref().map(dmarc_result));
    results
}

/// RFC 8601 2.7.3.
fn client_name(name: ClientName, arrival: &Arrival) -> String {
    let word = match name {
        ClientName::Right => "pass",
        ClientName::Missing => "permerror (it has no name)",
        ClientName::WithoutAddress => "permerror (its name has no address)",
        ClientName::OfAnother => "fail (its name leads to another address)",
        ClientName::Unknown => "temperror",
    };
    format!("iprev={word} policy.iprev={}", value(&arrival.address.to_canonical().to_string()))
}

fn block_lists(listed: &Listed) -> Option<String> {
    match listed {
        Listed::Unasked => None,
        Listed::No => Some("x-dnsbl=pass".to_owned()),
        Listed::Yes { zone, .. } => Some(format!("x-dnsbl=fail policy.zone={}", value(zone))),
        Listed::Unknown => Some("x-dnsbl=temperror".to_owned()),
    }
}

/// `None`: there was nothing to ask, or nothing was asked.
fn domain(method: &str, found: Domain, about: impl Fn() -> String) -> Option<String> {
    let word = match found {
        Domain::Absent | Domain::Full => return None,
        Domain::Found => "pass",
        Domain::NotFull => "fail (not a full name)",
        Domain::Missing => "fail (not in the DNS)",
        Domain::NullMx => "fail (takes no mail)",
        Domain::Unknown => "temperror",
    };
    Some(format!("{method}={word} {}", about()))
}

fn spf_result(spf: SpfResult, arrival: &Arrival) -> String {
    match &arrival.sender {
        Some(sender) => format!("spf={} smtp.mailfrom={}", spf_word(spf), value(sender)),
        None => format!("spf={} smtp.helo={}", spf_word(spf), value(&arrival.helo)),
    }
}

fn received_spf(spf: SpfResult, arrival: &Arrival) -> String {
    let (sender, identity) = match &arrival.sender {
        Some(sender) => (sender.as_str(), "mailfrom"),
        None => ("", "helo"),
    };
    format!(
        "Received-SPF: {}\r\n\tclient-ip={}; envelope-from={};\r\n\thelo={}; receiver={}; identity={identity}\r\n",
        spf_word(spf),
        arrival.address.to_canonical(),
        quoted(sender),
        value(&arrival.helo),
        value(&arrival.receiver),
    )
}

fn dkim_result(dkim: &Dkim) -> String {
    let word = match dkim.result {
        DkimResult::Pass => "pass",
        DkimResult::Fail => "fail",
        DkimResult::Neutral => "neutral",
        DkimResult::TempError => "temperror",
        DkimResult::PermError => "permerror",
    };
    let mut out = format!("dkim={word}{}", comment(&dkim.why));
    for (property, text) in
        [("header.d", &dkim.domain), ("header.s", &dkim.selector), ("header.b", &dkim.begins)]
    {
        if !text.is_empty() {
            out.push_str(&format!(" {property}={}", value(text)));
        }
    }
    out
}

fn arc_result(arc: &Arc) -> String {
    match arc.result {
        ArcResult::None => "arc=none".to_owned(),
        ArcResult::Pass => format!("arc=pass (sealed by {})", plain(&arc.sealer)),
        ArcResult::Fail => "arc=fail".to_owned(),
        // RFC 8617 has no other word for it.
        ArcResult::TempError => "arc=fail (no answer from the DNS)".to_owned(),
    }
}

fn dmarc_result(dmarc: &Dmarc) -> String {
    let word = match dmarc.result {
        DmarcResult::None => "none",
        DmarcResult::Pass => "pass",
        DmarcResult::Fail => "fail",
        DmarcResult::TempError => "temperror",
        DmarcResult::PermError => "permerror",
    };
    let asks = match dmarc.policy {
        DmarcPolicy::None => "none",
        DmarcPolicy::Quarantine => "quarantine",
        DmarcPolicy::Reject => "reject",
    };
    match (dmarc.ambiguous, dmarc.domain.is_empty()) {
        (true, _) => "dmarc=permerror (From does not name one domain)".to_owned(),
        (false, true) => format!("dmarc={word}"),
        (false, false) => format!("dmarc={word} (p={asks}) header.from={}", value(&dmarc.domain)),
    }
}

fn spf_word(spf: SpfResult) -> &'static str {
    match spf {
        SpfResult::None => "none",
        SpfResult::Neutral => "neutral",
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
    }
}

/// As it is where it can stand so (RFC 8601 2.2: domains, addresses, tokens of RFC 2045), else a quoted string.
fn value(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.@^_`{|}~/=".contains(&byte);
    if !text.is_empty() && text.bytes().all(bare) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars().filter(|char| !char.is_control()) {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}

fn comment(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({})", plain(text)) }
}

/// Without what a comment is made of.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control() && !matches!(char, '(' | ')' | '\\')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(arrival: &Arrival, facts: &Facts) -> String {
        super::fields(arrival, facts, &results(arrival, None, facts))
    }

    fn arrival(sender: Option<&str>) -> Arrival {
        Arrival {
            address: "192.0.2.1".parse().unwrap(),
            helo: "mail.a.test".to_owned(),
            sender: sender.map(str::to_owned),
            receiver: "mx.test".to_owned(),
        }
    }

    fn dkim(result: DkimResult, domain: &str, why: &str) -> Dkim {
        let [selector, begins] = ["s1", "dzdVyOfA"].map(str::to_owned);
        Dkim { result, domain: domain.to_owned(), selector, begins, why: why.to_owned() }
    }

    #[test]
    fn what_was_found_is_told_in_the_words_of_the_rfcs() {
        let dmarc = Dmarc {
            result: DmarcResult::Pass,
            domain: "a.test".to_owned(),
            policy: DmarcPolicy::Reject,
            ambiguous: false,
        };
        let facts = Facts {
            spf: Some(SpfResult::SoftFail),
            dkim: Some(vec![
                dkim(DkimResult::Pass, "a.test", ""),
                dkim(DkimResult::Fail, "b.test", "no (good)"),
            ]),
            arc: Some(Arc { result: ArcResult::Pass, sealer: "lists.test".to_owned() }),
            dmarc: Some(dmarc),
        };
        let expected = "Authentication-Results: mx.test;\r\n\
            \tspf=softfail smtp.mailfrom=joe+x@a.test;\r\n\
            \tdkim=pass header.d=a.test header.s=s1 header.b=dzdVyOfA;\r\n\
            \tdkim=fail (no good) header.d=b.test header.s=s1 header.b=dzdVyOfA;\r\n\
            \tarc=pass (sealed by lists.test);\r\n\
            \tdmarc=pass (p=reject) header.from=a.test\r\n\
            Received-SPF: softfail\r\n\
            \tclient-ip=192.0.2.1; envelope-from=\"joe+x@a.test\";\r\n\
            \thelo=mail.a.test; receiver=mx.test; identity=mailfrom\r\n";
        assert_eq!(fields(&arrival(Some("joe+x@a.test")), &facts), expected);
    }

    #[test]
    fn without_a_sender_helo_is_asked_for_and_without_checks_nothing() {
        let facts = Facts { spf: Some(SpfResult::None), dkim: Some(Vec::new()), ..Facts::default() };
        let expected = "Authentication-Results: mx.test;\r\n\tspf=none smtp.helo=mail.a.test;\r\n\tdkim=none\r\n\
            Received-SPF: none\r\n\tclient-ip=192.0.2.1; envelope-from=\"\";\r\n\
            \thelo=mail.a.test; receiver=mx.test; identity=helo\r\n";
        assert_eq!(fields(&arrival(None), &facts), expected);
        let nothing = fields(&arrival(None), &Facts::default());
        assert_eq!(nothing, "Authentication-Results: mx.test;\r\n\tnone\r\n");
    }

    #[test]
    fn nothing_that_a_stranger_chose_ends_a_value() {
        let sender = "\"a b;\\\" spf=pass\"@a.test";
        let facts = Facts {
            spf: Some(SpfResult::Fail),
            dkim: Some(vec![dkim(DkimResult::Fail, "a.test; dmarc=pass\r\nX: y", "why)\r\n; spf=pass")]),
            ..Facts::default()
        };
        let said = fields(&arrival(Some(sender)), &facts);
        let quoted_sender = r#""\"a b;\\\" spf=pass\"@a.test""#;
        assert!(said.contains(&format!("smtp.mailfrom={quoted_sender};\r\n")), "{said}");
        assert!(said.contains("dkim=fail (why; spf=pass) header.d=\"a.test; dmarc=passX: y\""), "{said}");
        assert_eq!(said.matches("\r\n").count(), said.matches("\r\n\t").count() + 2, "two fields: {said}");
    }

    #[test]
    fn what_was_found_before_the_mail_was_read_is_told_first() {
        let opening = Opening {
            listed: Listed::Yes { zone: "bl.test".to_owned(), text: "why; spf=pass".to_owned() },
            client_name: Some(ClientName::OfAnother),
            helo: Domain::Missing,
            sender_domain: Domain::Unknown,
        };
        let facts = Facts { spf: Some(SpfResult::Pass), ..Facts::default() };
        let arrival = arrival(Some("joe@a.test"));
        let expected = [
            "iprev=fail (its name leads to another address) policy.iprev=192.0.2.1",
            "x-dnsbl=fail policy.zone=bl.test",
            "x-helo=fail (not in the DNS) smtp.helo=mail.a.test",
            "x-sender-domain=temperror smtp.mailfrom=joe@a.test",
            "spf=pass smtp.mailfrom=joe@a.test",
        ];
        assert_eq!(results(&arrival, Some(&opening), &facts), expected);
        let unasked = Opening {
            listed: Listed::Unasked,
            client_name: None,
            helo: Domain::Full,
            sender_domain: Domain::Absent,
        };
        assert_eq!(results(&arrival, Some(&unasked), &facts), expected[4..]);
    }

    #[test]
    fn each_finding_has_a_word_of_its_own() {
        let arrival = arrival(None);
        for (name, word) in [
            (ClientName::Right, "pass"),
            (ClientName::Missing, "permerror (it has no name)"),
            (ClientName::WithoutAddress, "permerror (its name has no address)"),
            (ClientName::Unknown, "temperror"),
        ] {
            assert_eq!(client_name(name, &arrival), format!("iprev={word} policy.iprev=192.0.2.1"));
        }
        assert_eq!(block_lists(&Listed::No).as_deref(), Some("x-dnsbl=pass"));
        assert_eq!(block_lists(&Listed::Unknown).as_deref(), Some("x-dnsbl=temperror"));
        for (found, word) in [
            (Domain::Found, "pass"),
            (Domain::NotFull, "fail (not a full name)"),
            (Domain::NullMx, "fail (takes no mail)"),
        ] {
            assert_eq!(domain("x-helo", found, String::new), Some(format!("x-helo={word} ")));
        }
    }
}
