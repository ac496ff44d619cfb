//! The lists as sessions ask them: addresses and domains are found at once, networks by looking through them.
//!
//! A pattern that this build does not understand (a newer one kept it) is nobody's.

// Of `core`: addresses, and no sockets.
use core::net::IpAddr;
use std::collections::BTreeMap;

use super::{ClientPattern, Rule, RuleAction, RuleKind};

/// Of one mail, what rules speak of. Texts are canonical; what is `None` no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen<'a> {
    pub client: Option<IpAddr>,
    /// `None` is `<>`.
    pub sender: Option<&'a str>,
    pub recipient: Option<&'a str>,
}

/// All rules, in their order. Places in `rules` ascend wherever they stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lists {
    rules: Vec<Rule>,
    /// By address, or `@domain`.
    senders: BTreeMap<String, Vec<usize>>,
    domains: BTreeMap<String, Vec<usize>>,
    recipients: BTreeMap<String, Vec<usize>>,
    addresses: BTreeMap<IpAddr, Vec<usize>>,
    masks: Vec<(ClientPattern, usize)>,
    relays: Vec<(ClientPattern, usize)>,
    relay_hosts: BTreeMap<String, usize>,
}

impl Lists {
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|one, other| (one.order, &one.name).cmp(&(other.order, &other.name)));
        let mut lists = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            lists.compile(at, rule);
        }
        lists.rules = rules;
        lists
    }

    fn compile(&mut self, at: usize, rule: &Rule) {
        let text = || rule.pattern.clone();
        match rule.kind {
            RuleKind::Sender => self.senders.entry(text()).or_default().push(at),
            RuleKind::Domain => self.domains.entry(text()).or_default().push(at),
            RuleKind::Recipient => self.recipients.entry(text()).or_default().push(at),
            RuleKind::Ip | RuleKind::Mask | RuleKind::Client => {
                let Some(client) = ClientPattern::parse(&rule.pattern) else { return };
                match (rule.kind, client) {
                    (RuleKind::Client, ClientPattern::Host(host)) => {
                        self.relay_hosts.entry(host).or_insert(at);
                    }
                    (RuleKind::Client, client) => self.relays.push((client, at)),
                    (_, ClientPattern::Address(address)) => {
                        self.addresses.entry(address).or_default().push(at)
                    }
                    (_, client) => self.masks.push((client, at)),
                }
            }
        }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Rules on the client, in their order.
    pub fn of_client(&self, client: IpAddr) -> Vec<&Rule> {
        let mut found = self.addresses.get(&client.to_canonical()).cloned().unwrap_or_default();
        found.extend(self.masks.iter().filter(|(mask, _)| mask.has(client)).map(|(_, at)| *at));
        self.in_order(found)
    }

    /// Rules on the sender and its domain, in their order.
    pub fn of_sender(&self, sender: &str) -> Vec<&Rule> {
        let domain = sender.rsplit_once('@').map_or("", |(_, domain)| domain);
        let by =
            |rules: &BTreeMap<String, Vec<usize>>, key: &str| rules.get(key).cloned().unwrap_or_default();
        let found =
            [by(&self.senders, sender), by(&self.senders, &format!("@{domain}")), by(&self.domains, domain)];
        self.in_order(found.concat())
    }

    pub fn of_recipient(&self, recipient: &str) -> Vec<&Rule> {
        self.in_order(self.recipients.get(recipient).cloned().unwrap_or_default())
    }

    /// The rule that lets this client send on, by its address.
    pub fn relay(&self, client: IpAddr) -> Option<&Rule> {
        let (_, at) = self.relays.iter().find(|(pattern, _)| pattern.has(client))?;
        self.rules.get(*at)
    }

    /// Whether some rule lets clients send on by their names.
    pub fn asks_for_hosts(&self) -> bool {
        !self.relay_hosts.is_empty()
    }

    /// The rule that lets a client of this verified name send on: of the name, or of one above it.
    pub fn relay_host(&self, host: &str) -> Option<&Rule> {
        let above = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
        let mut names = std::iter::once(host).chain(above);
        self.rules.get(*names.find_map(|name| self.relay_hosts.get(name))?)
    }

    fn in_order(&self, mut found: Vec<usize>) -> Vec<&Rule> {
        found.sort_unstable();
        found.into_iter().filter_map(|at| self.rules.get(at)).collect()
    }
}

impl Rule {
    /// Whether it keeps mail out.
    pub fn is_block(&self) -> bool {
        match self.action {
            RuleAction::Discard | RuleAction::Reject | RuleAction::Refuse => true,
            RuleAction::Allow | RuleAction::Relay => false,
        }
    }
}
