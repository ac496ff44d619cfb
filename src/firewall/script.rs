//! The rules as nftables reads them: one transaction that puts the table in the place of its former self. Pure.

use std::fmt::Write;
use std::net::IpAddr;

use super::ruleset::{Line, Range, Ruleset};
use crate::state::firewall::{FirewallAction, Protocol};

/// For `nft -f`. A drop in another table still is one: what passes here goes on to the next.
pub fn script(ruleset: &Ruleset, table: &str) -> String {
    let mut text = taken_away(table);
    text.push_str(&format!("table inet {table} {{\n\tchain input {{\n"));
    text.push_str("\t\ttype filter hook input priority filter - 5; policy accept;\n");
    text.push_str("\t\tiif \"lo\" accept\n");
    // What is under way goes on: of TCP only the first packet of a connection is judged, for the kernel need not have seen
    // those that were made before there was a table.
    text.push_str("\t\ttcp flags & (fin | syn | rst | ack) != syn accept\n");
    if ruleset.lines.iter().any(|line| line.protocol == Protocol::Udp) {
        text.push_str("\t\tct state established,related accept\n");
    }
    if !ruleset.cluster_ports.is_empty() {
        let own: Vec<Range> = ruleset.cluster_ports.iter().map(|port| (*port, *port)).collect();
        let _ = writeln!(text, "\t\tudp dport {} accept comment \"the cluster's own\"", set(&own));
    }
    for line in &ruleset.lines {
        lines(line).for_each(|line| {
            let _ = writeln!(text, "\t\t{line}");
        });
    }
    for (protocol, ports) in &ruleset.shut {
        let _ = writeln!(
            text,
            "\t\t{} dport {} drop comment \"whom no rule lets in\"",
            protocol.word(),
            set(ports)
        );
    }
    text.push_str("\t}\n}\n");
    text
}

/// That there is no such table; whether there was one does not matter.
pub fn taken_away(table: &str) -> String {
    format!("table inet {table} {{\n}}\ndelete table inet {table}\n")
}

/// One for each family that its sources are of.
fn lines(line: &Line) -> impl Iterator<Item = String> {
    let of = |family: fn(&IpAddr) -> bool| {
        let sources = line.sources.iter().filter(|source| family(&source.address));
        sources.map(|source| source.words()).collect::<Vec<_>>().join(", ")
    };
    let (v4, v6) = (of(IpAddr::is_ipv4), of(IpAddr::is_ipv6));
    let everybody = line.sources.is_empty().then(String::new);
    let v4 = (!v4.is_empty()).then(|| format!("ip saddr {{ {v4} }} "));
    let v6 = (!v6.is_empty()).then(|| format!("ip6 saddr {{ {v6} }} "));
    let interface = line.interface.as_ref().map(|name| format!("iifname \"{name}\" ")).unwrap_or_default();
    let what = format!("{} dport {}", line.protocol.word(), set(&line.ports));
    let action = match (line.action, line.protocol) {
        (FirewallAction::Allow, _) => "accept",
        (FirewallAction::Drop, _) => "drop",
        (FirewallAction::Reject, Protocol::Tcp) => "reject with tcp reset",
        (FirewallAction::Reject, Protocol::Udp) => "reject",
    };
    let end = format!("{action} comment \"{}\"", line.rule);
    [everybody, v4, v6].into_iter().flatten().map(move |from| format!("{interface}{from}{what} {end}"))
}

fn set(ports: &[Range]) -> String {
    let words = ports.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    format!("{{ {} }}", words.collect::<Vec<_>>().join(", "))
}
