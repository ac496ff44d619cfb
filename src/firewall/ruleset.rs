//! The rules as one box has them: services turned into the ports they have now. Pure.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::state::directory::Directory;
use crate::state::firewall::{FirewallAction, FirewallPort, FirewallRule, Protocol, Source};

/// `first..=last`.
pub type Range = (u16, u16);

/// What is this box's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Added to every port of the settings.
    pub port_offset: u16,
    /// UDP ports on which the nodes speak to each other.
    pub cluster_ports: Vec<u16>,
    /// The name of the table: letters, digits and `_`.
    pub table: String,
}

/// What becomes of one kind of packet, by one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub rule: String,
    pub protocol: Protocol,
    /// Ascending, apart from each other.
    pub ports: Vec<Range>,
    /// Empty: everybody.
    pub sources: Vec<Source>,
    pub interface: Option<String>,
    pub action: FirewallAction,
}

/// All that a box's table says. The first line that fits decides; then what `shut` names is dropped, and the rest passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    pub cluster_ports: Vec<u16>,
    pub lines: Vec<Line>,
    /// What some rule lets somebody in to: nobody else.
    pub shut: Vec<(Protocol, Vec<Range>)>,
}

/// One that somebody may wish to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// `None`: somebody, from anywhere.
    pub from: Option<IpAddr>,
    pub protocol: Protocol,
    pub port: u16,
}

impl Ruleset {
    /// `None`: there is no rule, and no table is wanted.
    pub fn of(directory: &Directory, place: &Place) -> Option<Self> {
        if directory.firewall.is_empty() {
            return None;
        }
        let mut lines = Vec::new();
        let mut shut = [Protocol::Tcp, Protocol::Udp].map(|protocol| (protocol, Vec::new()));
        for rule in directory.firewall.iter() {
            for (protocol, open) in &mut shut {
                let ports = ports(rule, *protocol, (directory, place));
                if ports.is_empty() {
                    continue;
                }
                if rule.action == FirewallAction::Allow {
                    open.extend(&ports);
                }
                lines.push(Line {
                    rule: rule.name.clone(),
                    protocol: *protocol,
                    ports,
                    sources: rule.sources.clone(),
                    interface: rule.interface.clone(),
                    action: rule.action,
                });
            }
        }
        let shut = shut.map(|(protocol, ports)| (protocol, joined(ports)));
        let shut = shut.into_iter().filter(|(_, ports)| !ports.is_empty()).collect();
        Some(Self { cluster_ports: place.cluster_ports.clone(), lines, shut })
    }

    /// Whose doing it is if the connection comes to nothing. Of a rule for one interface it is taken that it shuts out
    /// and does not let in: by which one a client comes is not known.
    pub fn shuts_out(&self, connection: Connection) -> Option<String> {
        for line in self.lines.iter().filter(|line| line.is_about(connection)) {
            let lets_in = line.action == FirewallAction::Allow;
            let decides = match connection.from {
                _ if line.interface.is_some() && lets_in => false,
                Some(from) => line.sources.is_empty() || line.sources.iter().any(|it| it.holds(from)),
                // Somebody is let in where anybody is, and shut out where all are.
                None => lets_in || line.sources.is_empty(),
            };
            if decides {
                return (!lets_in).then(|| format!("rule {} shuts it out", line.rule));
            }
        }
        let shut = self.shut.iter().filter(|(protocol, _)| *protocol == connection.protocol);
        let named = shut.flat_map(|(_, ports)| ports).any(|range| is_in(connection.port, *range));
        named.then(|| "no rule lets it in".to_owned())
    }

    /// The first of the cluster's own ports that a rule names, and the rule.
    pub fn names_a_cluster_port(&self) -> Option<(u16, &str)> {
        let udp = self.lines.iter().filter(|line| line.protocol == Protocol::Udp);
        udp.flat_map(|line| line.ports.iter().map(move |range| (*range, line.rule.as_str())))
            .find_map(|(range, rule)| Some((*self.cluster_ports.iter().find(|it| is_in(**it, range))?, rule)))
    }
}

impl Line {
    fn is_about(&self, connection: Connection) -> bool {
        self.protocol == connection.protocol && self.ports.iter().any(|it| is_in(connection.port, *it))
    }
}

fn is_in(port: u16, (first, last): Range) -> bool {
    (first..=last).contains(&port)
}

/// What a rule names of that protocol, here and now. A service that is switched off has no port.
fn ports(rule: &FirewallRule, protocol: Protocol, (directory, place): (&Directory, &Place)) -> Vec<Range> {
    let settings = directory.settings();
    let named = rule.ports.iter().filter_map(|port| match port {
        FirewallPort::Service(_) if protocol != Protocol::Tcp => None,
        FirewallPort::Service(name) => {
            let listener = settings.listener(*name);
            let port = listener.port.checked_add(place.port_offset).filter(|_| listener.enabled)?;
            Some((port, port))
        }
        FirewallPort::Ports { protocol: named, first, last } => {
            (*named == protocol).then_some((*first, *last))
        }
    });
    joined(named.collect())
}

/// Ascending, and what touches made one.
fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}
