//! Rules to tables, word for word, and who is shut out by them.

use std::sync::Arc;

use super::*;
use crate::firewall::script::script;
use crate::mail::ids::Timestamp;
use crate::state::settings::ListenerName;

fn place() -> Place {
    Place { port_offset: 10_000, cluster_ports: vec![7_401, 7_402], table: "pollux_t".to_owned() }
}

/// `name ports action [from SOURCES] [on INTERFACE]`, a line a rule.
fn directory(rules: &str, settings: &[(&str, &str)]) -> Directory {
    let rule = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let behind = |word: &str| words.iter().position(|it| *it == word).map(|at| words[at + 1]);
        FirewallRule {
            name: words[0].to_owned(),
            ports: words[1].split(',').map(port).collect(),
            action: FirewallAction::ALL.into_iter().find(|it| it.word() == words[2]).unwrap(),
            sources: behind("from").into_iter().flat_map(|list| list.split(',')).map(source).collect(),
            interface: behind("on").map(str::to_owned),
            created: Timestamp(0),
        }
    };
    Directory {
        firewall: Arc::new(rules.lines().filter(|line| !line.trim().is_empty()).map(rule).collect()),
        settings: settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        ..Directory::default()
    }
}

fn port(text: &str) -> FirewallPort {
    if let Some(name) = ListenerName::ALL.into_iter().find(|name| name.key() == text) {
        return FirewallPort::Service(name);
    }
    let (protocol, ports) = text.split_once('/').unwrap();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let protocol = if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp };
    FirewallPort::Ports { protocol, first: first.parse().unwrap(), last: last.parse().unwrap() }
}

fn source(text: &str) -> Source {
    let (address, bits) = text.split_once('/').unwrap();
    Source { address: address.parse().unwrap(), bits: bits.parse().unwrap() }
}

#[test]
fn a_table_says_who_may_come_in_and_shuts_the_rest_out() {
    let rules = "
        office imap,imaps allow from 192.168.0.0/16,fd00::/8
        guests smtp reject on wlan*
        web tcp/8080,tcp/8081-8090,udp/53 allow
        nobody pop3 drop";
    let directory = directory(rules, &[]);
    let ruleset = Ruleset::of(&directory, &place()).unwrap();
    assert_eq!(
        script(&ruleset, "pollux_t"),
        "table inet pollux_t {\n}\n\
         delete table inet pollux_t\n\
         table inet pollux_t {\n\
         \tchain input {\n\
         \t\ttype filter hook input priority filter - 5; policy accept;\n\
         \t\tiif \"lo\" accept\n\
         \t\ttcp flags & (fin | syn | rst | ack) != syn accept\n\
         \t\tct state established,related accept\n\
         \t\tudp dport { 7401, 7402 } accept comment \"the cluster's own\"\n\
         \t\tip saddr { 192.168.0.0/16 } tcp dport { 10143, 10993 } accept comment \"office\"\n\
         \t\tip6 saddr { fd00::/8 } tcp dport { 10143, 10993 } accept comment \"office\"\n\
         \t\tiifname \"wlan*\" tcp dport { 10025 } reject with tcp reset comment \"guests\"\n\
         \t\ttcp dport { 8080-8090 } accept comment \"web\"\n\
         \t\tudp dport { 53 } accept comment \"web\"\n\
         \t\ttcp dport { 10110 } drop comment \"nobody\"\n\
         \t\ttcp dport { 8080-8090, 10143, 10993 } drop comment \"whom no rule lets in\"\n\
         \t\tudp dport { 53 } drop comment \"whom no rule lets in\"\n\
         \t}\n\
         }\n"
    );
}

#[test]
fn a_rule_follows_its_service() {
    let ports = |settings: &[(&str, &str)]| {
        let ruleset = Ruleset::of(&directory("a imap,imaps allow", settings), &place()).unwrap();
        ruleset.lines.first().map(|line| line.ports.clone()).unwrap_or_default()
    };
    assert_eq!(ports(&[]), [(10_143, 10_143), (10_993, 10_993)]);
    assert_eq!(ports(&[("listener.imap.port", "1430")]), [(10_993, 10_993), (11_430, 11_430)]);
    let off = [("listener.imap.enabled", "false"), ("listener.imaps.enabled", "false")];
    assert_eq!(ports(&off), []);
    assert_eq!(ports(&[("listener.imap.port", "65000")]), [(10_993, 10_993)]);
    assert_eq!(Ruleset::of(&Directory::default(), &place()), None);
}

#[test]
fn who_is_shut_out_is_known_before_it_happens() {
    let rules = "
        admin tcp/22 allow from 192.0.2.0/24
        thief tcp/22,smtp drop from 192.0.2.66/32,198.51.100.0/24
        wired tcp/23 allow on eth0
        radio tcp/24 drop on wlan0
        none tcp/26 reject";
    let ruleset = Ruleset::of(&directory(rules, &[]), &place()).unwrap();
    for (from, port, said) in [
        (Some("192.0.2.1"), 22, None),
        // The first that fits decides.
        (Some("192.0.2.66"), 22, None),
        (Some("198.51.100.7"), 22, Some("rule thief shuts it out")),
        (Some("203.0.113.1"), 22, Some("no rule lets it in")),
        (Some("2001:db8::1"), 22, Some("no rule lets it in")),
        (None, 22, None),
        (Some("198.51.100.7"), 10_025, Some("rule thief shuts it out")),
        (Some("203.0.113.1"), 10_025, None),
        (None, 10_025, None),
        // By which interface somebody comes is not known.
        (Some("192.0.2.1"), 23, Some("no rule lets it in")),
        (Some("192.0.2.1"), 24, Some("rule radio shuts it out")),
        (None, 26, Some("rule none shuts it out")),
        (Some("192.0.2.1"), 27, None),
    ] {
        let from = from.map(|from| from.parse().unwrap());
        let connection = Connection { from, protocol: Protocol::Tcp, port };
        assert_eq!(ruleset.shuts_out(connection).as_deref(), said, "{connection:?}");
    }
}

#[test]
fn rules_about_the_clusters_own_ports_are_found() {
    let found = |rules: &str| {
        let ruleset = Ruleset::of(&directory(rules, &[]), &place()).unwrap();
        ruleset.names_a_cluster_port().map(|(port, rule)| (port, rule.to_owned()))
    };
    assert_eq!(found("a udp/7000-7401 drop"), Some((7_401, "a".to_owned())));
    assert_eq!(found("a udp/1-2 drop\nb udp/7402 allow"), Some((7_402, "b".to_owned())));
    assert_eq!(found("a udp/7403,tcp/7401 drop"), None);
}
