//! What the lists say of a mail: whether it is kept out, and which checks it is let off. Pure; the one place for both.
//!
//! Three things are asked for themselves: the client, the sender, the recipient. For each the first rule in the order
//! that speaks of it decides, be it of the blacklist or of the whitelist: a whitelisted address stands above the network
//! that is blacklisted, and no whitelisted sender, whom anybody may claim to be, lets a blacklisted client in. The manual
//! reject list (`refuse`) comes before all. Of several that keep the mail out the most severe one decides: refuse, reject,
//! discard. The empty sender is nobody's.

use super::judge::Refusal;
use super::skip::Skip;
use crate::state::directory::Directory;
use crate::state::lists::{Rule, RuleAction, RuleKind, Seen};
use crate::state::settings::Settings;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found<'a> {
    /// The rule that keeps the mail out.
    pub block: Option<&'a Rule>,
    /// Rules of the whitelist that let it off something, in no order.
    pub allows: Vec<&'a Rule>,
    pub skip: Skip,
}

/// What the rules say of as much of a mail as is told. What two parts of a mail are let off adds up ([`Skip::or`]).
pub fn look<'a>(directory: &'a Directory, seen: Seen<'_>) -> Found<'a> {
    let lists = &directory.lists;
    let of_client = seen.client.map(|client| lists.of_client(client)).unwrap_or_default();
    let of_sender = seen.sender.map(|sender| lists.of_sender(sender)).unwrap_or_default();
    let of_recipient = seen.recipient.map(|recipient| of_recipient(directory, recipient)).unwrap_or_default();
    let mut found = Found::default();
    for rules in [of_client, of_sender, of_recipient] {
        // The first of equals stays.
        if let Some(block) = decisive(&rules)
            && found.block.is_none_or(|other| severity(block) > severity(other))
        {
            found.block = Some(block);
        }
        found.allows.extend(rules.into_iter().filter(|rule| rule.action == RuleAction::Allow));
    }
    let each = found.allows.iter().map(|rule| skip_of(&directory.settings(), rule.kind));
    found.skip = each.fold(Skip::default(), Skip::or);
    found
}

/// As it is written, and without what the sender put behind the delimiter.
fn of_recipient<'a>(directory: &'a Directory, recipient: &str) -> Vec<&'a Rule> {
    let mut rules = directory.lists.of_recipient(recipient);
    if let Some((local, domain)) = recipient.rsplit_once('@')
        && let Some(delimiter) = directory.settings().smtp_recipient_delimiter()
        && let Some((base, _)) = local.split_once(delimiter)
    {
        rules.extend(directory.lists.of_recipient(&format!("{base}@{domain}")));
        rules.sort_by_key(|rule| rule.order);
    }
    rules
}

/// The rule that keeps out, if the rules that speak of one thing come to that.
fn decisive<'a>(rules: &[&'a Rule]) -> Option<&'a Rule> {
    let refused = rules.iter().find(|rule| rule.action == RuleAction::Refuse);
    refused.or(rules.first()).copied().filter(|rule| rule.is_block())
}

fn severity(rule: &Rule) -> u8 {
    match rule.action {
        RuleAction::Allow | RuleAction::Relay => 0,
        RuleAction::Discard => 1,
        RuleAction::Reject => 2,
        RuleAction::Refuse => 3,
    }
}

/// The row of the skip matrix.
fn skip_of(settings: &Settings, kind: RuleKind) -> Skip {
    let mut skip = Skip::default();
    for check in settings.whitelist_skips(kind) {
        match check {
            "dnsbl" => skip.dnsbl = true,
            "spf" => skip.spf = true,
            "antivirus" => skip.antivirus = true,
            "dkim" => skip.dkim = true,
            "dmarc" => skip.dmarc = true,
            "greylist" => skip.greylist = true,
            _ => {}
        }
    }
    skip
}

/// What the client hears where the rule keeps it out; `None`: 250, and nobody gets the mail.
pub fn refusal(rule: &Rule) -> Option<Refusal> {
    let text = match rule.kind {
        RuleKind::Ip | RuleKind::Mask | RuleKind::Client => "This client is not welcome here",
        RuleKind::Sender | RuleKind::Domain => "This sender is not welcome here",
        RuleKind::Recipient => "This recipient takes no mail",
    };
    let refuses = matches!(rule.action, RuleAction::Reject | RuleAction::Refuse);
    refuses.then(|| Refusal { code: 554, enhanced: "5.7.1", text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mail::ids::Timestamp;
    use crate::state::lists::Lists;

    /// `name kind action pattern`, in order.
    fn directory(rules: &[&str], settings: &[(&str, &str)]) -> Directory {
        let rule = |(at, line): (usize, &&str)| {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, kind, action, pattern] = words[..] else { panic!("{line}") };
            Rule {
                name: name.to_owned(),
                order: at as u64,
                kind: RuleKind::ALL.into_iter().find(|it| it.word() == kind).unwrap(),
                pattern: pattern.to_owned(),
                action: RuleAction::ALL.into_iter().find(|it| it.word() == action).unwrap(),
                created: Timestamp(0),
            }
        };
        let lists = Arc::new(Lists::new(rules.iter().enumerate().map(rule).collect()));
        let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Directory { lists, settings, ..Directory::default() }
    }

    fn seen<'a>(client: &str, sender: &'a str, recipient: &'a str) -> Seen<'a> {
        let sender = Some(sender).filter(|sender| !sender.is_empty());
        Seen { client: Some(client.parse().unwrap()), sender, recipient: Some(recipient) }
    }

    fn blocks<'a>(directory: &'a Directory, seen: Seen<'_>) -> &'a str {
        look(directory, seen).block.map_or("", |rule| rule.name.as_str())
    }

    #[test]
    fn each_kind_keeps_out_what_it_names_and_nothing_else() {
        for (rule, inside, outside) in [
            (
                "r sender X me@a.test",
                seen("192.0.2.1", "me@a.test", "b@b.test"),
                seen("192.0.2.1", "you@a.test", "me@a.test"),
            ),
            (
                "r sender X @a.test",
                seen("192.0.2.1", "me@a.test", "b@b.test"),
                seen("192.0.2.1", "me@x.a.test", "me@a.test"),
            ),
            (
                "r recipient X b@b.test",
                seen("192.0.2.1", "me@a.test", "b@b.test"),
                seen("192.0.2.1", "b@b.test", "c@b.test"),
            ),
            (
                "r recipient X b@b.test",
                seen("192.0.2.1", "", "b+x@b.test"),
                seen("192.0.2.1", "", "b-x@b.test"),
            ),
            ("r ip X 192.0.2.1", seen("::ffff:192.0.2.1", "", "b@b.test"), seen("192.0.2.2", "", "b@b.test")),
            (
                "r mask X 10.0.0.5/255.0.0.255",
                seen("10.9.9.5", "", "b@b.test"),
                seen("10.9.9.6", "", "b@b.test"),
            ),
        ] {
            for action in ["discard", "reject"] {
                let directory = directory(&[&rule.replace('X', action)], &[]);
                assert_eq!(blocks(&directory, inside), "r", "{rule} {action}");
                assert_eq!(blocks(&directory, outside), "", "{rule} {action}");
                let block = look(&directory, inside).block.unwrap();
                let codes = refusal(block).map(|refusal| (refusal.code, refusal.enhanced));
                assert_eq!(codes, (action == "reject").then_some((554, "5.7.1")), "{rule} {action}");
            }
        }
    }

    #[test]
    fn the_empty_sender_is_nobodys() {
        let directory =
            directory(&["r sender reject @a.test", "s sender refuse @", "t domain allow a.test"], &[]);
        assert_eq!(look(&directory, seen("192.0.2.1", "", "b@b.test")), Found::default());
    }

    #[test]
    fn for_one_thing_the_first_rule_decides_and_the_manual_reject_list_comes_before_all() {
        let (net, one) = ("net mask reject 192.0.2.0/24", "one ip allow 192.0.2.1");
        let mail = seen("192.0.2.1", "me@a.test", "b@b.test");
        for (rules, expected) in [
            (vec![net, one], "net"),
            (vec![one, net], ""),
            (vec!["w sender allow me@a.test", "d sender reject @a.test"], ""),
            (vec!["w domain allow a.test", "d sender reject me@a.test"], ""),
            (vec!["d sender reject @a.test", "w sender allow me@a.test"], "d"),
            (vec!["w recipient allow b@b.test", "d recipient discard b@b.test"], ""),
            // Who the sender says he is, and whom he writes to, opens no door to a client that is shut out.
            (vec!["w sender allow me@a.test", "v recipient allow b@b.test", net], "net"),
            (vec![one, "d sender discard me@a.test"], "d"),
            (vec!["w sender allow me@a.test", "m sender refuse @a.test"], "m"),
            (vec!["d sender discard me@a.test", "m sender refuse @a.test"], "m"),
            // Of several things the most severe.
            (vec!["d ip discard 192.0.2.1", "e recipient reject b@b.test"], "e"),
            (vec!["d ip reject 192.0.2.1", "m sender refuse me@a.test"], "m"),
            (vec!["e recipient discard b@b.test", "d ip discard 192.0.2.1"], "d"),
            (vec!["l client relay 192.0.2.1"], ""),
        ] {
            assert_eq!(blocks(&directory(&rules, &[]), mail), expected, "{rules:?}");
        }
    }

    const MATRIX: [(&str, &str, [bool; 6]); 5] = [
        ("ip", "w ip allow 192.0.2.1", [true, true, true, true, true, true]),
        ("mask", "w mask allow 192.0.2.0/24", [true, true, true, true, false, true]),
        ("sender", "w sender allow me@a.test", [true, true, false, false, false, true]),
        ("recipient", "w recipient allow b@b.test", [true, true, false, false, false, true]),
        ("domain", "w domain allow a.test", [true, true, true, true, false, true]),
    ];
    const CHECKS: [&str; 6] = ["dnsbl", "spf", "antivirus", "dkim", "dmarc", "greylist"];

    fn cells(skip: Skip) -> [bool; 6] {
        let Skip { dnsbl, spf, antivirus, dkim, dmarc, greylist } = skip;
        [dnsbl, spf, antivirus, dkim, dmarc, greylist]
    }

    #[test]
    fn each_kind_lets_off_by_default_what_the_matrix_says() {
        for (kind, rule, expected) in MATRIX {
            let directory = directory(&[rule], &[]);
            let found = look(&directory, seen("192.0.2.1", "me@a.test", "b@b.test"));
            assert_eq!(cells(found.skip), expected, "{kind}");
            assert_eq!(found.allows.len(), 1);
            let found = look(&directory, seen("198.51.100.1", "you@b.test", "c@b.test"));
            assert_eq!((cells(found.skip), found.allows.len()), ([false; 6], 0), "{kind}");
        }
    }

    #[test]
    fn each_of_the_cells_is_a_setting() {
        for (kind, rule, _) in MATRIX {
            for (at, check) in CHECKS.iter().enumerate() {
                let mail = seen("192.0.2.1", "me@a.test", "b@b.test");
                let key = format!("whitelist.{kind}.skips");
                let only = directory(&[rule], &[(&key, check)]);
                let mut expected = [false; 6];
                expected[at] = true;
                assert_eq!(cells(look(&only, mail).skip), expected, "{kind} {check}");
                let others: Vec<&str> = CHECKS.iter().filter(|other| *other != check).copied().collect();
                let but = directory(&[rule], &[(&key, &others.join(","))]);
                assert_eq!(cells(look(&but, mail).skip), expected.map(|cell| !cell), "{kind} {check}");
            }
            let nothing = directory(&[rule], &[(&format!("whitelist.{kind}.skips"), "")]);
            assert_eq!(look(&nothing, seen("192.0.2.1", "me@a.test", "b@b.test")).skip, Skip::default());
        }
    }

    #[test]
    fn what_several_rules_let_off_adds_up() {
        let settings = [("whitelist.sender.skips", "dmarc"), ("whitelist.recipient.skips", "dkim")];
        let directory = directory(&["w sender allow me@a.test", "v recipient allow b@b.test"], &settings);
        let skip = look(&directory, seen("192.0.2.1", "me@a.test", "b@b.test")).skip;
        assert_eq!(cells(skip), [false, false, false, true, true, false]);
    }
}
