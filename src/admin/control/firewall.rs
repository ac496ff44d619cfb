//! `pollux firewall`: who may connect where. What would lock out the operator himself is refused.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::Plan;
use super::request::Failure;
use super::server::{Operator, fault};
use crate::admin::status::rfc3339;
use crate::cluster::replica::Replica;
use crate::firewall::{Connection, Place, Ruleset, script};
use crate::mail::ids::Timestamp;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::firewall::{FirewallAction, FirewallPort, FirewallRule, NewFirewallRule, Protocol, Source};
use crate::state::outcome::Outcome;
use crate::state::settings::ListenerName;

/// Where administrators come in, unless they say by which port they did.
const SSH_PORT: u16 = 22;

/// A rule as an operator hands it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedFirewallRule {
    pub name: String,
    /// `imap`, `tcp/8080`, `udp/5000-5010`.
    pub ports: Vec<String>,
    pub action: String,
    /// Addresses and networks.
    pub sources: Vec<String>,
    pub interface: Option<String>,
    pub before: Option<String>,
}

/// How a change is wished for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wished {
    /// The operator's own session, if he came by SSH: his address, and the port that he came to.
    pub session: Option<(IpAddr, u16)>,
    /// Even if it locks him out.
    pub force: bool,
    /// Show what it would come to, and change nothing.
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Add(NewFirewallRule, Wished),
    Remove(String, Wished),
    /// The node's table as text.
    Render,
    /// How each node stands to the rules.
    Status,
}

/// How one node stands to the rules, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFirewall {
    pub node: String,
    pub state: FirewallState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// RFC 3339; of one that is silent null.
    pub since: Option<String>,
    /// How often it put a table right that somebody had changed, since it started.
    pub healed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirewallState {
    /// No rule, or they are not to be applied.
    Idle,
    InStep,
    Drifted,
    Unable,
    /// It does not answer, or has just started.
    Silent,
}

impl FirewallState {
    /// `None`: there is nothing to be in step with.
    pub fn in_sync(self) -> Option<bool> {
        match self {
            Self::Idle => None,
            Self::InStep => Some(true),
            Self::Drifted | Self::Unable | Self::Silent => Some(false),
        }
    }
}

pub fn add(wanted: WantedFirewallRule, wished: Wished) -> Result<Plan, Failure> {
    let WantedFirewallRule { name, ports, action, sources, interface, before } = wanted;
    let ports = ports.iter().map(|text| port(text)).collect::<Result<Vec<_>, _>>()?;
    let sources = sources.iter().map(|text| source(text)).collect::<Result<Vec<_>, _>>()?;
    let action = FirewallAction::ALL.into_iter().find(|it| it.word() == action);
    let action = action.ok_or_else(|| Failure::refused("an action is allow, drop or reject"))?;
    let new = NewFirewallRule {
        name: name.to_ascii_lowercase(),
        ports,
        action,
        sources,
        interface,
        before: before.map(|name| name.to_ascii_lowercase()),
    };
    Ok(Plan::Firewall(Wish::Add(new, wished)))
}

fn port(text: &str) -> Result<FirewallPort, Failure> {
    if let Some(name) = ListenerName::ALL.into_iter().find(|name| name.key() == text) {
        return Ok(FirewallPort::Service(name));
    }
    let wrong = || {
        let services = ListenerName::ALL.map(ListenerName::key).join(", ");
        Failure::refused(format!("\"{text}\" is neither tcp/PORT, udp/FIRST-LAST nor one of {services}"))
    };
    let (protocol, numbers) = text.split_once('/').ok_or_else(wrong)?;
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|it| it.word() == protocol);
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    match (protocol, first.parse(), last.parse()) {
        (Some(protocol), Ok(first), Ok(last)) if 0 < first && first <= last => {
            Ok(FirewallPort::Ports { protocol, first, last })
        }
        _ => Err(wrong()),
    }
}

/// Bits of an address beyond its network count for nothing.
fn source(text: &str) -> Result<Source, Failure> {
    let single = text.parse::<IpAddr>().map(IpNet::from);
    let network = single.or_else(|_| text.parse::<IpNet>());
    let network = network
        .map_err(|_| Failure::refused(format!("\"{text}\" is neither an address nor a network")))?
        .trunc();
    Ok(Source { address: network.network(), bits: network.prefix_len() })
}

pub fn list(directory: &Directory) -> Plan {
    let shown = directory.firewall.iter().map(|rule| {
        json!({
            "name": rule.name,
            "ports": rule.ports.iter().map(FirewallPort::words).collect::<Vec<_>>(),
            "action": rule.action.word(),
            "sources": rule.sources.iter().map(|source| source.words()).collect::<Vec<_>>(),
            "interface": rule.interface,
            "created": rfc3339(rule.created),
        })
    });
    Plan::Show(shown.collect())
}

pub async fn answer<R: Replica, O: Operator>(
    wish: Wish,
    replica: &R,
    operator: &O,
) -> Result<Value, Failure> {
    let directory = replica.directory();
    match wish {
        Wish::Render => Ok(json!({ "table": rendered(&directory, &operator.firewall_place()) })),
        Wish::Status => Ok(json!(operator.firewalls().await)),
        Wish::Add(new, wished) => {
            let after = with(&directory, &new)?;
            let done = format!("firewall rule {} added", new.name);
            let command = Command::AddFirewallRule(Box::new(new));
            change(command, (after, done), wished, (replica, operator)).await
        }
        Wish::Remove(name, wished) => {
            let after = without(&directory, &name)?;
            let done = format!("firewall rule {name} removed");
            change(Command::RemoveFirewallRule { name }, (after, done), wished, (replica, operator)).await
        }
    }
}

async fn change<R: Replica, O: Operator>(
    command: Command,
    (after, done): (Directory, String),
    wished: Wished,
    (replica, operator): (&R, &O),
) -> Result<Value, Failure> {
    let place = operator.firewall_place();
    if let Some(ruleset) = Ruleset::of(&after, &place) {
        guard(&ruleset, &wished).map_err(Failure::refused)?;
    }
    if wished.dry_run {
        return Ok(json!({ "table": rendered(&after, &place) }));
    }
    match replica.propose(command).await.map_err(fault)? {
        Outcome::Refused(refusal) => Err(Failure::refused(refusal.to_string())),
        _ => Ok(json!({ "done": done })),
    }
}

/// `Err` says whom the rules would lock out.
fn guard(ruleset: &Ruleset, wished: &Wished) -> Result<(), String> {
    if let Some((port, rule)) = ruleset.names_a_cluster_port() {
        return Err(format!(
            "rule {rule} names UDP port {port}, by which the nodes speak to each other; no rule may"
        ));
    }
    if wished.force {
        return Ok(());
    }
    let (from, port) = match wished.session {
        Some((from, port)) => (Some(from.to_canonical()), port),
        None => (None, SSH_PORT),
    };
    let Some(why) = ruleset.shuts_out(Connection { from, protocol: Protocol::Tcp, port }) else {
        return Ok(());
    };
    Err(match from {
        Some(from) => format!(
            "you came from {from} to port {port}, and could not come again: {why}; let yourself in with a rule before it, or give --force"
        ),
        None => format!(
            "nobody could log in by SSH (port {port}) any longer: {why}; let somebody in with a rule before it, or give --force"
        ),
    })
}

fn rendered(directory: &Directory, place: &Place) -> Value {
    json!(Ruleset::of(directory, place).map(|ruleset| script(&ruleset, &place.table)))
}

/// The directory as it would be; the state may still refuse what passes here.
fn with(directory: &Directory, new: &NewFirewallRule) -> Result<Directory, Failure> {
    if directory.firewall.iter().any(|rule| rule.name == new.name) {
        let problem = format!("rule {0} exists already; 'pollux firewall remove {0}' first", new.name);
        return Err(Failure::refused(problem));
    }
    let mut rules = directory.firewall.to_vec();
    let at = match &new.before {
        None => rules.len(),
        Some(before) => place_of(directory, before)?,
    };
    let NewFirewallRule { name, ports, action, sources, interface, .. } = new.clone();
    let created = Timestamp(0);
    rules.insert(at, FirewallRule { name, ports, action, sources, interface, created });
    Ok(Directory { firewall: Arc::new(rules), ..directory.clone() })
}

fn without(directory: &Directory, name: &str) -> Result<Directory, Failure> {
    let mut rules = directory.firewall.to_vec();
    rules.remove(place_of(directory, name)?);
    Ok(Directory { firewall: Arc::new(rules), ..directory.clone() })
}

fn place_of(directory: &Directory, name: &str) -> Result<usize, Failure> {
    let missing = || Failure::refused(format!("there is no rule {name}; see 'pollux firewall list'"));
    directory.firewall.iter().position(|rule| rule.name == name).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, ports: &str, action: &str, sources: &str) -> WantedFirewallRule {
        let list = |text: &str| text.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        WantedFirewallRule {
            name: name.to_owned(),
            ports: list(ports),
            action: action.to_owned(),
            sources: list(sources),
            interface: None,
            before: None,
        }
    }

    fn wished(session: Option<(&str, u16)>) -> Wished {
        let session = session.map(|(from, port)| (from.parse().unwrap(), port));
        Wished { session, force: false, dry_run: false }
    }

    fn new(wanted: WantedFirewallRule) -> NewFirewallRule {
        match add(wanted, wished(None)) {
            Ok(Plan::Firewall(Wish::Add(new, _))) => new,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wishes_become_rules_and_wrong_ones_say_what_is_wrong() {
        let new = new(wanted("Office", "imap,tcp/8080,udp/5-7", "allow", "192.168.1.7/24,2001:db8::1"));
        assert_eq!(new.name, "office");
        let ports: Vec<String> = new.ports.iter().map(FirewallPort::words).collect();
        assert_eq!(ports, ["imap", "tcp/8080", "udp/5-7"]);
        let sources: Vec<String> = new.sources.iter().map(|source| source.words()).collect();
        assert_eq!(sources, ["192.168.1.0/24", "2001:db8::1"]);
        for (rule, said) in [
            (wanted("a", "imap", "open", ""), "allow, drop or reject"),
            (wanted("a", "8080", "allow", ""), "tcp/PORT"),
            (wanted("a", "icmp/8", "allow", ""), "tcp/PORT"),
            (wanted("a", "tcp/0", "allow", ""), "tcp/PORT"),
            (wanted("a", "tcp/9-8", "allow", ""), "tcp/PORT"),
            (wanted("a", "tcp/65536", "allow", ""), "tcp/PORT"),
            (wanted("a", "imap", "allow", "office.test"), "neither an address nor a network"),
        ] {
            let failure = add(rule, wished(None)).unwrap_err();
            assert!(failure.message.contains(said), "{failure}");
        }
    }

    /// The directory with those rules, and what the guard says to the last of them.
    fn guarded(rules: &[WantedFirewallRule], wished: &Wished) -> Result<(), String> {
        let place = Place { port_offset: 0, cluster_ports: vec![7_401], table: "t".to_owned() };
        let mut directory = Directory::default();
        for rule in rules {
            directory = with(&directory, &new(rule.clone())).unwrap();
        }
        guard(&Ruleset::of(&directory, &place).unwrap(), wished)
    }

    #[test]
    fn nobody_saws_off_the_branch_he_sits_on() {
        let admins = wanted("admins", "tcp/22", "allow", "192.0.2.0/24");
        let all = wanted("all", "tcp/1-65535", "drop", "");
        let inside = wished(Some(("192.0.2.5", 22)));
        let outside = wished(Some(("203.0.113.5", 22)));
        let mapped = wished(Some(("::ffff:192.0.2.5", 22)));
        let elsewhere = wished(Some(("203.0.113.5", 2222)));
        let console = wished(None);
        for (rules, wished, said) in [
            (vec![admins.clone()], &inside, ""),
            (vec![admins.clone()], &mapped, ""),
            (vec![admins.clone()], &outside, "you came from 203.0.113.5 to port 22"),
            (vec![admins.clone()], &elsewhere, ""),
            (vec![admins.clone()], &console, ""),
            (vec![all.clone()], &console, "nobody could log in by SSH"),
            (vec![admins.clone(), all.clone()], &inside, ""),
            (vec![admins.clone(), all.clone()], &elsewhere, "rule all shuts it out"),
            (vec![wanted("x", "udp/7401", "allow", "")], &inside, "the nodes speak to each other"),
            (vec![wanted("x", "tcp/7401", "drop", "")], &inside, ""),
        ] {
            let verdict = guarded(&rules, wished);
            match said {
                "" => assert_eq!(verdict, Ok(())),
                said => assert!(verdict.as_ref().is_err_and(|it| it.contains(said)), "{verdict:?}"),
            }
            // By force anything goes but what parts the nodes.
            let forced = guarded(&rules, &Wished { force: true, ..wished.clone() });
            assert_eq!(forced.is_ok(), !said.contains("nodes speak"), "{forced:?}");
        }
    }

    #[test]
    fn rules_are_added_where_they_are_wanted_and_names_are_known() {
        let directory = with(&Directory::default(), &new(wanted("a", "imap", "allow", ""))).unwrap();
        let before = WantedFirewallRule { before: Some("A".to_owned()), ..wanted("b", "imap", "drop", "") };
        let directory = with(&directory, &new(before)).unwrap();
        let names = |directory: &Directory| -> Vec<String> {
            directory.firewall.iter().map(|rule| rule.name.clone()).collect()
        };
        assert_eq!(names(&directory), ["b", "a"]);
        assert!(with(&directory, &new(wanted("A", "imap", "drop", ""))).is_err());
        let lost = WantedFirewallRule { before: Some("c".to_owned()), ..wanted("d", "imap", "drop", "") };
        assert!(with(&directory, &new(lost)).is_err() && without(&directory, "c").is_err());
        assert_eq!(names(&without(&directory, "b").unwrap()), ["a"]);
    }
}
