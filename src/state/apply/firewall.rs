//! Firewall rules: added in their order, removed. What stands in the way of whom is not asked here.

use super::accounts::directory_changed;
use super::names::{invalid, plain, shown};
use super::transaction::{Found, Stop, Transaction};
use crate::state::firewall::{
    FirewallPort, NAME_BYTES_MAX, NewFirewallRule, PORTS_PER_RULE_MAX, RULES_MAX, SOURCES_PER_RULE_MAX,
    is_interface,
};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::stored::FirewallRow;

pub fn add(tx: &mut Transaction, new: &NewFirewallRule) -> Result<Outcome, Stop> {
    let name = name(&new.name)?;
    check(new)?;
    let mut rules = in_order(tx)?;
    if rules.iter().any(|(key, _)| *key == keys::firewall(&name)) {
        return Err(Refusal::Exists(name).into());
    }
    if rules.len() >= RULES_MAX {
        return Err(Refusal::Limit(format!("{RULES_MAX} firewall rules")).into());
    }
    let at = match &new.before {
        None => rules.len(),
        Some(before) => place_of(&rules, before)?,
    };
    let row = FirewallRow {
        place: 0,
        ports: new.ports.clone(),
        action: new.action,
        sources: new.sources.clone(),
        interface: new.interface.clone(),
        created: tx.at,
    };
    let key = keys::firewall(&name);
    tx.put(key.clone(), &row)?;
    rules.insert(at, (key, row));
    number(tx, rules)?;
    directory_changed(tx)
}

pub fn remove(tx: &mut Transaction, wanted: &str) -> Result<Outcome, Stop> {
    let mut rules = in_order(tx)?;
    let at = place_of(&rules, wanted)?;
    let (key, _) = rules.remove(at);
    tx.delete(key);
    number(tx, rules)?;
    directory_changed(tx)
}

fn name(text: &str) -> Result<String, Refusal> {
    plain("rule", text, NAME_BYTES_MAX)
}

fn check(new: &NewFirewallRule) -> Result<(), Refusal> {
    for (what, count, least, most) in [
        ("ports", new.ports.len(), 1, PORTS_PER_RULE_MAX),
        ("sources", new.sources.len(), 0, SOURCES_PER_RULE_MAX),
    ] {
        if !(least..=most).contains(&count) {
            return Err(Refusal::Limit(format!("a firewall rule has {least} to {most} {what}")));
        }
    }
    for port in &new.ports {
        let FirewallPort::Ports { first, last, .. } = port else { continue };
        if *first == 0 || first > last {
            return Err(invalid("ports", &port.words()));
        }
    }
    if let Some(source) = new.sources.iter().find(|source| !source.is_network()) {
        return Err(invalid("network", &source.words()));
    }
    match &new.interface {
        Some(interface) if !is_interface(interface) => Err(invalid("interface", interface)),
        _ => Ok(()),
    }
}

fn in_order(tx: &Transaction) -> Result<Vec<Found<FirewallRow>>, Stop> {
    let mut rules = tx.first::<FirewallRow>(&keys::table(keys::FIREWALL), RULES_MAX)?;
    rules.sort_by_key(|(_, row)| row.place);
    Ok(rules)
}

fn place_of(rules: &[Found<FirewallRow>], wanted: &str) -> Result<usize, Refusal> {
    let key = keys::firewall(&name(wanted)?);
    rules.iter().position(|(known, _)| *known == key).ok_or_else(|| Refusal::NotFound(shown(wanted)))
}

/// Places are 1, 2, 3, …; rows whose place is right stay as they are.
fn number(tx: &mut Transaction, rules: Vec<Found<FirewallRow>>) -> Result<(), Stop> {
    for ((key, row), place) in rules.into_iter().zip(1..) {
        if row.place != place {
            tx.put(key, &FirewallRow { place, ..row })?;
        }
    }
    Ok(())
}
