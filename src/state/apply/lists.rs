//! Rules of the lists: added, removed, put elsewhere in their order. What a pattern means is not asked here.

use super::accounts::directory_changed;
use super::names::{invalid, plain, shown};
use super::transaction::{Found, Stop, Transaction};
use crate::state::keys;
use crate::state::lists::{NAME_BYTES_MAX, NewRule, PATTERN_BYTES_MAX, RULES_MAX};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::stored::{RuleRow, RulesRow};

/// From one rule to the next, so that others find a place between them.
const STEP: u64 = 1 << 20;

pub fn add(tx: &mut Transaction, rule: &NewRule) -> Result<Outcome, Stop> {
    let name = name(&rule.name)?;
    if rule.pattern.is_empty() || rule.pattern.contains(char::is_control) {
        return Err(invalid("pattern", &rule.pattern).into());
    }
    if rule.pattern.len() > PATTERN_BYTES_MAX {
        return Err(Refusal::Limit(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")).into());
    }
    if tx.get::<RuleRow>(&keys::rule(&name))?.is_some() {
        return Err(Refusal::Exists(name).into());
    }
    let mut tally = tally(tx)?;
    if tally.rules >= RULES_MAX {
        return Err(Refusal::Limit(format!("{RULES_MAX} rules")).into());
    }
    tally.rules += 1;
    let order = order_before(tx, &mut tally, rule.before.as_deref())?;
    tx.put(keys::rules(), &tally)?;
    let NewRule { kind, action, .. } = *rule;
    let row = RuleRow { order, kind, pattern: rule.pattern.clone(), action, created: tx.at };
    tx.put(keys::rule(&name), &row)?;
    directory_changed(tx)
}

pub fn remove(tx: &mut Transaction, wanted: &str) -> Result<Outcome, Stop> {
    let name = name(wanted)?;
    let key = keys::rule(&name);
    if tx.get::<RuleRow>(&key)?.is_none() {
        return Err(Refusal::NotFound(name).into());
    }
    tx.delete(key);
    let mut tally = tally(tx)?;
    tally.rules = tally.rules.saturating_sub(1);
    tx.put(keys::rules(), &tally)?;
    directory_changed(tx)
}

pub fn move_to(tx: &mut Transaction, wanted: &str, before: Option<&str>) -> Result<Outcome, Stop> {
    let key = keys::rule(&name(wanted)?);
    let Some(mut row) = tx.get::<RuleRow>(&key)? else {
        return Err(Refusal::NotFound(shown(wanted)).into());
    };
    if let Some(before) = before
        && keys::rule(&name(before)?) == key
    {
        return Ok(Outcome::Done);
    }
    // Its place is free before another is looked for.
    tx.delete(key.clone());
    let mut tally = tally(tx)?;
    row.order = order_before(tx, &mut tally, before)?;
    tx.put(keys::rules(), &tally)?;
    tx.put(key, &row)?;
    directory_changed(tx)
}

fn tally(tx: &Transaction) -> Result<RulesRow, Stop> {
    Ok(tx.get::<RulesRow>(&keys::rules())?.unwrap_or_default())
}

fn name(text: &str) -> Result<String, Refusal> {
    plain("rule", text, NAME_BYTES_MAX)
}

/// An order that no rule has: behind all, or right before that rule's. Where there is none left, all get new ones.
fn order_before(tx: &mut Transaction, tally: &mut RulesRow, before: Option<&str>) -> Result<u64, Stop> {
    let mut wanted = None;
    if let Some(before) = before {
        let key = keys::rule(&name(before)?);
        wanted = Some(tx.get::<RuleRow>(&key)?.ok_or_else(|| Refusal::NotFound(shown(before)))?.order);
    } else if let Some(order) = tally.last_order.checked_add(STEP) {
        tally.last_order = order;
        return Ok(order);
    }
    let mut rules = tx.first::<RuleRow>(&keys::table(keys::RULE), usize::MAX)?;
    rules.sort_by_key(|(_, row)| row.order);
    let at = wanted.map_or(rules.len(), |order| rules.partition_point(|(_, row)| row.order < order));
    if let Some(order) = between(&rules, at) {
        return Ok(order);
    }
    for (place, (key, row)) in rules.iter_mut().enumerate() {
        row.order = (place as u64 + 1) * STEP;
        tx.put(key.clone(), row)?;
    }
    tally.last_order = (rules.len() as u64 + 1) * STEP;
    Ok(between(&rules, at).unwrap_or(tally.last_order))
}

/// `None`: the rule at `at` and the one before it stand side by side, or there is none at `at`.
fn between(rules: &[Found<RuleRow>], at: usize) -> Option<u64> {
    let (_, next) = rules.get(at)?;
    let low = at.checked_sub(1).and_then(|at| rules.get(at)).map_or(0, |(_, row)| row.order);
    let middle = low + next.order.saturating_sub(low) / 2;
    (middle > low && middle < next.order).then_some(middle)
}
