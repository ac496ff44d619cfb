//! The checks over a DNS server of the tests' own: RFC 8463's signatures, what DMARC makes of them, and a DNS that
//! fails.

mod corpora;
mod opening;
mod sealing;
mod signing;
mod yaml;

use std::sync::Arc as Shared;

use bytes::Bytes;
use fixture_dns::{Server, Zones};
use tokio::sync::watch;

use super::*;
use crate::dns;
use crate::policy::facts::*;
use crate::state::directory::Directory;

/// RFC 8463 A.3, and its keys (A.2).
const SIGNED: &str = include_str!("rfc8463.eml");
const KEYS: &str = "
    brisbane._domainkey.football.example.com TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"
    test._domainkey.football.example.com TXT \"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\"
";
const ALL: Wanted = Wanted { spf: true, dkim: true, dmarc: true };
const ROOMY: Bounds = Bounds { gather_ms_max: 20_000 };

pub fn resolver(servers: &[&Server]) -> Resolver {
    let servers: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let settings = [("dns.servers".to_owned(), servers.join(","))].into();
    let directory = Directory { settings, ..Directory::default() };
    let bounds = dns::Bounds { attempt_ms_max: 500, lookup_ms_max: 5_000, lookups_max: 64 };
    Resolver::new(watch::channel(Shared::new(directory)).1, bounds)
}

pub fn arrival(address: &str, helo: &str, sender: &str) -> Arrival {
    let sender = (!sender.is_empty()).then(|| sender.to_owned());
    let (address, helo) = (address.parse().unwrap(), helo.to_owned());
    Arrival { address, helo, sender, receiver: "mx.example.net".to_owned() }
}

/// In parts of seven octets: where they end must not matter.
pub fn read(message: &str) -> Read {
    let mut reading = Reading::new("mx.example.net");
    for part in message.replace('\n', "\r\n").as_bytes().chunks(7) {
        reading.take(Bytes::copy_from_slice(part)).unwrap();
    }
    reading.finish().0
}

async fn found(zones: &str, message: &str) -> Facts {
    let server = Server::start(zones);
    let from = arrival("192.0.2.1", "mail.elsewhere.test", "bounces@elsewhere.test");
    gather(&from, &read(message), ALL, (&resolver(&[&server]), ROOMY)).await
}

fn results(facts: &Facts) -> Vec<DkimResult> {
    facts.dkim.iter().flatten().map(|dkim| dkim.result).collect()
}

fn dmarc(facts: &Facts) -> (DmarcResult, DmarcPolicy) {
    let dmarc = facts.dmarc.as_ref().expect("it was wanted");
    (dmarc.result, dmarc.policy)
}

#[tokio::test]
async fn the_signatures_of_rfc_8463_hold_and_dmarc_passes_by_them() {
    let policy = format!("{KEYS}\n_dmarc.football.example.com TXT \"v=DMARC1; p=reject\"");
    let facts = found(&policy, SIGNED).await;
    assert_eq!(results(&facts), [DkimResult::Pass, DkimResult::Pass], "{facts:?}");
    let told: Vec<_> =
        facts.dkim.iter().flatten().map(|it| (&it.domain[..], &it.selector[..], &it.begins[..])).collect();
    let domain = "football.example.com";
    assert_eq!(told, [(domain, "brisbane", "/gCrinpc"), (domain, "test", "F45dVWDf")]);
    assert_eq!(dmarc(&facts), (DmarcResult::Pass, DmarcPolicy::Reject));
    assert_eq!(facts.spf, Some(SpfResult::None));
    assert_eq!(facts.arc.map(|arc| arc.result), Some(ArcResult::None));
}

#[tokio::test]
async fn what_was_changed_on_the_way_does_not_hold() {
    let zones = format!("{KEYS}\n_dmarc.example.com TXT \"v=DMARC1; p=none; sp=quarantine\"");
    for (changed, why) in [
        (SIGNED.replace("We lost", "We won"), "the body"),
        (SIGNED.replace("Is dinner", "Is lunch"), "a header field"),
        (SIGNED.replace("Joe.", "Joe.\nPS"), "the end of the body"),
    ] {
        let facts = found(&zones, &changed).await;
        assert_eq!(results(&facts), [DkimResult::Fail, DkimResult::Fail], "{why}: {facts:?}");
        assert_eq!(dmarc(&facts), (DmarcResult::Fail, DmarcPolicy::Quarantine), "the domain above speaks");
    }
    let facts = found(&zones, &SIGNED.replace("Joe.\n", "Joe.\n\n\n")).await;
    assert_eq!(
        results(&facts)[0],
        DkimResult::Pass,
        "empty lines at the end are not signed (RFC 6376 3.4.4)"
    );
}

#[tokio::test]
async fn a_dns_that_fails_leaves_open_what_it_was_asked() {
    let servfail = "football.example.com SERVFAIL\nbrisbane._domainkey.football.example.com SERVFAIL
        test._domainkey.football.example.com SERVFAIL\n_dmarc.football.example.com SERVFAIL\nelsewhere.test SERVFAIL";
    let facts = found(servfail, SIGNED).await;
    assert_eq!(facts.spf, Some(SpfResult::TempError));
    assert_eq!(results(&facts), [DkimResult::TempError, DkimResult::TempError]);
    assert_eq!(dmarc(&facts).0, DmarcResult::TempError);
    let no_keys = found("football.example.com A 192.0.2.1", SIGNED).await;
    assert_eq!(results(&no_keys), [DkimResult::PermError, DkimResult::PermError], "a key that is not there");
    assert_eq!(dmarc(&no_keys).0, DmarcResult::None, "no policy");
}

#[tokio::test]
async fn all_questions_have_one_bound_in_time_and_what_is_late_is_open() {
    let silent = Server::start(
        "elsewhere.test SILENT\nbrisbane._domainkey.football.example.com SILENT
        test._domainkey.football.example.com SILENT\n_dmarc.football.example.com SILENT",
    );
    let from = arrival("192.0.2.1", "mail.elsewhere.test", "bounces@elsewhere.test");
    for gather_ms_max in [0, 50] {
        let bounds = Bounds { gather_ms_max };
        let facts = gather(&from, &read(SIGNED), ALL, (&resolver(&[&silent]), bounds)).await;
        assert_eq!(facts.spf, Some(SpfResult::TempError));
        assert_eq!(results(&facts), [DkimResult::TempError, DkimResult::TempError]);
        assert_eq!(dmarc(&facts).0, DmarcResult::TempError);
    }
}

#[tokio::test]
async fn the_alternative_server_is_asked_for_what_the_preferred_one_leaves_open() {
    let preferred =
        Server::start("test._domainkey.football.example.com SERVFAIL\nx.football.example.com A 192.0.2.1");
    let alternative = Server::start(KEYS);
    let from = arrival("192.0.2.1", "mail.elsewhere.test", "bounces@elsewhere.test");
    let dns = resolver(&[&preferred, &alternative]);
    let facts = gather(&from, &read(SIGNED), ALL, (&dns, ROOMY)).await;
    assert_eq!(results(&facts), [DkimResult::Pass, DkimResult::Pass]);
}

#[tokio::test]
async fn only_so_many_signatures_are_looked_at() {
    let signature = |number: usize| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=d{number}.test; s=s; h=from;\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA\n"
        )
    };
    let message: String = (0..SIGNATURES * 3).map(signature).collect::<String>() + "From: a@a.test\n\nHi.\n";
    let server = Server::start("");
    let dkim = Wanted { spf: false, dkim: true, dmarc: false };
    let facts =
        gather(&arrival("192.0.2.1", "x", ""), &read(&message), dkim, (&resolver(&[&server]), ROOMY)).await;
    assert_eq!(results(&facts).len(), SIGNATURES);
    assert_eq!((facts.spf, facts.dmarc), (None, None), "nobody wanted these");
}

const SIGNATURES: usize = super::reading::SIGNATURES_MAX;

#[tokio::test]
async fn a_from_that_names_several_domains_is_told_as_ambiguous() {
    let zones = "_dmarc.a.test TXT \"v=DMARC1; p=reject\"\n_dmarc.b.test TXT \"v=DMARC1; p=reject\"";
    for (head, ambiguous) in [
        ("From: x@a.test, y@b.test", true),
        ("From: x@a.test\nFROM : y@b.test", true),
        ("From: x@a.test\nFrom: x@a.test", true),
        ("From: x@a.test, y@A.Test", false),
        ("Subject: no author", false),
    ] {
        let facts = found(zones, &format!("{head}\n\nHi.\n")).await;
        let dmarc = facts.dmarc.unwrap();
        assert_eq!(dmarc.ambiguous, ambiguous, "{head}");
    }
    let facts = found(zones, "From: x@a.test, y@A.Test\n\nHi.\n").await;
    assert_eq!(dmarc(&facts), (DmarcResult::Fail, DmarcPolicy::Reject));
    assert_eq!(dmarc(&found(zones, "").await).0, DmarcResult::None, "no message at all");
}

#[tokio::test]
async fn spf_decides_by_the_envelope_and_without_a_sender_by_helo() {
    let zones = "a.test TXT \"v=spf1 ip4:192.0.2.1 -all\"\nmail.a.test TXT \"v=spf1 ip4:192.0.2.9 ~all\"
        two.test TXT \"v=spf1 -all\"\ntwo.test TXT \"v=spf1 +all\"\nother.test TXT \"v=spf10 +all\"
        _dmarc.a.test TXT \"v=DMARC1; p=reject\"";
    let server = Server::start(zones);
    let dns = resolver(&[&server]);
    for (address, helo, sender, expected) in [
        ("192.0.2.1", "x.test", "joe@a.test", SpfResult::Pass),
        ("::ffff:192.0.2.1", "x.test", "joe@a.test", SpfResult::Pass),
        ("192.0.2.2", "x.test", "joe@a.test", SpfResult::Fail),
        ("192.0.2.9", "mail.a.test", "", SpfResult::Pass),
        ("192.0.2.1", "mail.a.test", "", SpfResult::SoftFail),
        ("192.0.2.1", "[192.0.2.1]", "", SpfResult::None),
        ("192.0.2.1", "x.test", "joe@two.test", SpfResult::PermError),
        ("192.0.2.1", "x.test", "joe@other.test", SpfResult::None),
        ("192.0.2.1", "x.test", "joe@[192.0.2.1]", SpfResult::None),
    ] {
        let from = arrival(address, helo, sender);
        let facts = gather(&from, &read("From: joe@a.test\n\nHi.\n"), ALL, (&dns, ROOMY)).await;
        assert_eq!(facts.spf, Some(expected), "{from:?}");
        let aligned = expected == SpfResult::Pass && (sender.ends_with("a.test") || helo == "mail.a.test");
        assert_eq!(dmarc(&facts).0 == DmarcResult::Pass, aligned, "{from:?}");
    }
}
