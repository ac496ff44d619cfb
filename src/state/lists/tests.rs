//! Forms of rules, and the lists as they are asked.

use super::*;

fn rule(name: &str, kind: RuleKind, pattern: &str, action: RuleAction) -> NewRule {
    NewRule { name: name.into(), kind, pattern: pattern.into(), action, before: None }
}

#[test]
fn each_kind_takes_its_patterns_and_its_actions_and_no_others() {
    use {RuleAction as Action, RuleKind as Kind};
    for (kind, pattern, kept) in [
        (Kind::Sender, "Me@B\u{fc}cher.test", Some("me@xn--bcher-kva.test")),
        (Kind::Sender, "@A.test", None),
        (Kind::Sender, "a.test", None),
        (Kind::Recipient, "Me@A.test", Some("me@a.test")),
        (Kind::Recipient, "@a.test", None),
        (Kind::Domain, "@A.test", Some("a.test")),
        (Kind::Domain, "me@a.test", None),
        (Kind::Ip, "192.0.2.1", Some("192.0.2.1")),
        (Kind::Ip, "192.0.2.1/32", None),
        (Kind::Ip, "a.test", None),
        (Kind::Mask, "192.0.2.", Some("192.0.2.0/24")),
        (Kind::Mask, "0.0.0.0/0", Some("0.0.0.0/0")),
        (Kind::Mask, "192.0.2.1", None),
        (Kind::Mask, "a.test", None),
    ] {
        let canonical = canonical(rule("r", kind, pattern, Action::Allow));
        assert_eq!(canonical.ok().map(|rule| rule.pattern).as_deref(), kept, "{kind:?} {pattern}");
    }
    for action in [Action::Discard, Action::Reject, Action::Refuse] {
        let canonical = canonical(rule("R", Kind::Sender, "@A.test", action)).unwrap();
        assert_eq!((canonical.name.as_str(), canonical.pattern.as_str()), ("r", "@a.test"));
    }
    for pattern in ["192.0.2.1", "192.0.2.", "192.0.2.1-9", "10.0.0.5/255.0.0.255", "mx.a.test"] {
        assert!(canonical(rule("r", Kind::Client, pattern, Action::Relay)).is_ok(), "{pattern}");
    }
    for wide in ["0.0.0.0/0", "::/0", "10.0.0.5/0.0.0.0", "0.0.0.0/1"] {
        let said = canonical(rule("r", Kind::Client, wide, Action::Relay)).unwrap_err();
        assert!(said.contains("everybody could send through this server"), "{said}");
    }
    for (kind, pattern, action) in [
        (Kind::Recipient, "me@a.test", Action::Refuse),
        (Kind::Domain, "a.test", Action::Reject),
        (Kind::Ip, "192.0.2.1", Action::Relay),
        (Kind::Client, "192.0.2.1", Action::Allow),
    ] {
        assert!(canonical(rule("r", kind, pattern, action)).is_err(), "{kind:?} {action:?}");
    }
}

#[test]
fn names_and_patterns_end_at_their_bounds() {
    let named = |name: &str| canonical(rule(name, RuleKind::Ip, "192.0.2.1", RuleAction::Allow));
    assert!(named(&"x".repeat(NAME_BYTES_MAX)).is_ok());
    for bad in ["", "a b", "\u{fc}", &"x".repeat(NAME_BYTES_MAX + 1)] {
        assert!(named(bad).is_err(), "{bad}");
    }
    // No address is longer than an address may be, and that fits.
    let long = format!("{}@{}.test", "x".repeat(64), ["y".repeat(60).as_str(); 4].join("."));
    assert!(long.len() < PATTERN_BYTES_MAX);
    assert!(canonical(rule("r", RuleKind::Sender, &long, RuleAction::Reject)).is_ok());
}

fn kept(name: &str, order: u64, kind: RuleKind, pattern: &str) -> Rule {
    let action = kind.actions()[0];
    Rule { name: name.into(), order, kind, pattern: pattern.into(), action, created: Timestamp(0) }
}

fn names(rules: Vec<&Rule>) -> Vec<&str> {
    rules.into_iter().map(|rule| rule.name.as_str()).collect()
}

#[test]
fn rules_are_found_in_their_order_wherever_they_lie() {
    let lists = Lists::new(vec![
        kept("net", 3, RuleKind::Mask, "192.0.2.0/24"),
        kept("one", 2, RuleKind::Ip, "192.0.2.1"),
        kept("last", 9, RuleKind::Ip, "192.0.2.1"),
        kept("range", 1, RuleKind::Mask, "192.0.2.1-5"),
        kept("at", 8, RuleKind::Sender, "@a.test"),
        kept("domain", 5, RuleKind::Domain, "a.test"),
        kept("me", 7, RuleKind::Sender, "me@a.test"),
        kept("strange", 0, RuleKind::Mask, "of a newer build"),
        kept("to", 4, RuleKind::Recipient, "b@b.test"),
    ]);
    assert_eq!(names(lists.of_client("::ffff:192.0.2.1".parse().unwrap())), ["range", "one", "net", "last"]);
    assert_eq!(names(lists.of_client("192.0.2.9".parse().unwrap())), ["net"]);
    assert_eq!(names(lists.of_sender("me@a.test")), ["domain", "me", "at"]);
    assert_eq!(names(lists.of_sender("b@b.test")), Vec::<&str>::new());
    assert_eq!(names(lists.of_recipient("b@b.test")), ["to"]);
    let order: Vec<u64> = lists.rules().iter().map(|rule| rule.order).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 7, 8, 9]);
}

#[test]
fn clients_are_let_send_on_by_address_or_by_name() {
    let lists = Lists::new(vec![
        kept("lan", 1, RuleKind::Client, "192.168.0.21-24"),
        kept("host", 2, RuleKind::Client, "mx.a.test"),
        kept("other", 3, RuleKind::Mask, "10.0.0.0/8"),
    ]);
    for (client, may) in [
        ("192.168.0.20", false),
        ("192.168.0.21", true),
        ("192.168.0.24", true),
        ("192.168.0.25", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(lists.relay(client.parse().unwrap()).is_some(), may, "{client}");
    }
    assert!(lists.asks_for_hosts() && !Lists::default().asks_for_hosts());
    for (host, may) in
        [("mx.a.test", true), ("x.y.mx.a.test", true), ("amx.a.test", false), ("a.test", false), ("", false)]
    {
        assert_eq!(lists.relay_host(host).is_some(), may, "{host}");
    }
}
