//! Firewall rules.

use super::*;
use crate::state::directory::Directory;
use crate::state::firewall::{
    FirewallAction, FirewallPort, INTERFACE_BYTES_MAX, NAME_BYTES_MAX, NewFirewallRule, PORTS_PER_RULE_MAX,
    Protocol, RULES_MAX, SOURCES_PER_RULE_MAX, Source,
};
use crate::state::settings::ListenerName;

fn new(name: &str, before: Option<&str>) -> NewFirewallRule {
    NewFirewallRule {
        name: name.to_owned(),
        ports: vec![FirewallPort::Service(ListenerName::Imap)],
        action: FirewallAction::Allow,
        sources: Vec::new(),
        interface: None,
        before: before.map(str::to_owned),
    }
}

fn add(new: NewFirewallRule) -> Command {
    Command::AddFirewallRule(Box::new(new))
}

fn names(world: &World) -> Vec<String> {
    Directory::load(&world.rows).unwrap().firewall.iter().map(|rule| rule.name.clone()).collect()
}

#[test]
fn rules_come_and_go_in_their_order() {
    let mut world = World::new();
    for (name, before) in [("One", None), ("two", None), ("zero", Some("ONE")), ("half", Some("two"))] {
        world.done(add(new(name, before)));
    }
    assert_eq!(names(&world), ["zero", "one", "half", "two"]);
    assert!(matches!(world.refusal(add(new("one", None))), Refusal::Exists(_)));
    assert!(matches!(world.refusal(add(new("x", Some("gone")))), Refusal::NotFound(_)));
    world.done(Command::RemoveFirewallRule { name: "ONE".to_owned() });
    let again = Command::RemoveFirewallRule { name: "one".to_owned() };
    assert!(matches!(world.refusal(again), Refusal::NotFound(_)));
    assert_eq!(names(&world), ["zero", "half", "two"]);
    world.done(add(new("one", Some("zero"))));
    assert_eq!(names(&world), ["one", "zero", "half", "two"]);
}

#[test]
fn what_a_rule_holds_has_bounds() {
    let port = |first, last| FirewallPort::Ports { protocol: Protocol::Udp, first, last };
    let ports = |count: usize| vec![port(1, 65_535); count];
    let source = |bits| Source { address: [192, 0, 2, 128].into(), bits };
    let rule = || new("r", None);
    for (rule, taken) in [
        (new(&"n".repeat(NAME_BYTES_MAX), None), true),
        (new(&"n".repeat(NAME_BYTES_MAX + 1), None), false),
        (new("a b", None), false),
        (NewFirewallRule { ports: ports(PORTS_PER_RULE_MAX), ..rule() }, true),
        (NewFirewallRule { ports: ports(PORTS_PER_RULE_MAX + 1), ..rule() }, false),
        (NewFirewallRule { ports: Vec::new(), ..rule() }, false),
        (NewFirewallRule { ports: vec![port(0, 5)], ..rule() }, false),
        (NewFirewallRule { ports: vec![port(6, 5)], ..rule() }, false),
        (NewFirewallRule { sources: vec![source(25); SOURCES_PER_RULE_MAX], ..rule() }, true),
        (NewFirewallRule { sources: vec![source(25); SOURCES_PER_RULE_MAX + 1], ..rule() }, false),
        (NewFirewallRule { sources: vec![source(24)], ..rule() }, false),
        (NewFirewallRule { sources: vec![source(33)], ..rule() }, false),
        (NewFirewallRule { interface: Some("eth0".to_owned()), ..rule() }, true),
        (NewFirewallRule { interface: Some("e\" drop".to_owned()), ..rule() }, false),
    ] {
        let outcome = World::new().outcome(add(rule.clone()));
        assert_eq!(outcome == Outcome::Done, taken, "{rule:?}: {outcome:?}");
    }
}

/// [`World`] refuses rows beyond their bound.
#[test]
fn the_longest_rule_fits_a_row() {
    let source = Source { address: [0xff; 16].into(), bits: 128 };
    let port = FirewallPort::Ports { protocol: Protocol::Tcp, first: 60_000, last: 65_000 };
    World::new().done(add(NewFirewallRule {
        sources: vec![source; SOURCES_PER_RULE_MAX],
        ports: vec![port; PORTS_PER_RULE_MAX],
        interface: Some("i".repeat(INTERFACE_BYTES_MAX)),
        ..new(&"n".repeat(NAME_BYTES_MAX), None)
    }));
}

#[test]
fn there_are_so_many_rules_and_no_more() {
    let mut world = World::new();
    for at in 0..RULES_MAX {
        world.done(add(new(&format!("r{at}"), None)));
    }
    assert!(matches!(world.refusal(add(new("last", None))), Refusal::Limit(_)));
    world.done(Command::RemoveFirewallRule { name: "r0".to_owned() });
    world.done(add(new("last", None)));
    assert_eq!(names(&world).last().map(String::as_str), Some("last"));
}
