//! Budgets of limits: how much of each is free, and who holds what. Looks at no more than a bounded number of rows.

use super::transaction::{Stop, Transaction};
use crate::mail::ids::{LogIndex, Timestamp};
use crate::state::change::Change;
use crate::state::keys::{self, Span};
use crate::state::limits::{
    self, BUDGETS_MAX, BudgetId, FORGOTTEN_MAX, Granted, HOLDERS_MAX, KEPT_MS, KEY_BYTES_MAX, SHARE,
    TakeTokens, WIDE_BUDGETS_MAX,
};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::{BudgetRow, BudgetsRow, HeldTokens};

pub fn take(tx: &mut Transaction, ask: &TakeTokens) -> Result<Outcome, Stop> {
    if ask.budget.key.len() > KEY_BYTES_MAX {
        return Err(Refusal::Invalid("a budget's key".into()).into());
    }
    let mut tally: BudgetsRow = tx.get(&keys::budgets())?.unwrap_or_default();
    forget_past(tx, &mut tally)?;
    let (key, mut row) = find(tx, &mut tally, &ask.budget)?;
    let was_scarce = row.scarce;
    let settled = settle(&mut row, ask);
    let granted = grant(&mut row, ask, tx.index);
    if row.scarce && (settled || !was_scarce) {
        tx.changes.push(Change::Budget { budget: ask.budget.clone() });
    }
    tx.put(key, &row)?;
    tx.put(keys::budgets(), &tally)?;
    Ok(Outcome::TokensTaken(granted))
}

/// The budget's row, or that of the narrowest around it for which there is room.
fn find(
    tx: &Transaction,
    tally: &mut BudgetsRow,
    budget: &BudgetId,
) -> Result<(Vec<u8>, BudgetRow), RowsError> {
    let wide = BudgetId { key: limits::neighbours(&budget.key), ..*budget };
    let of_all = BudgetId { key: Vec::new(), ..*budget };
    let full = BUDGETS_MAX.saturating_add(WIDE_BUDGETS_MAX);
    // There are no more of these than users.
    let own_max = if budget.limit.is_of_users() { u32::MAX } else { BUDGETS_MAX };
    for (place, budgets_max) in [(budget, own_max), (&wide, full), (&of_all, u32::MAX)] {
        let key = keys::budget(place);
        if let Some(row) = tx.get(&key)? {
            return Ok((key, row));
        }
        if tally.budgets < budgets_max {
            tally.budgets += 1;
            // Of a shared one nobody holds any in advance: it could not be asked back by whose it is.
            return Ok((key, BudgetRow { scarce: place.key != budget.key, ..BudgetRow::default() }));
        }
    }
    Ok((keys::budget(&of_all), BudgetRow { scarce: true, ..BudgetRow::default() }))
}

/// What the node held is spent or free. True if it held anything.
fn settle(row: &mut BudgetRow, ask: &TakeTokens) -> bool {
    let Some(at) = row.held.iter().position(|held| held.node == ask.node) else { return false };
    let held = row.held.remove(at);
    let unused = if held.grant == ask.grant { ask.unused.min(held.tokens) } else { 0 };
    row.spent = row.spent.saturating_add(held.tokens - unused);
    true
}

fn grant(row: &mut BudgetRow, ask: &TakeTokens, index: LogIndex) -> Granted {
    let with_others = row.held.iter().fold(0u64, |sum, held| sum.saturating_add(held.tokens));
    let free = ask.tokens_max.saturating_sub(row.spent.saturating_add(with_others));
    let others_hold = with_others > 0;
    let nothing = Granted { tokens: 0, grant: LogIndex(0), others_hold };
    if ask.needed == 0 {
        return nothing;
    }
    if ask.needed > free {
        row.scarce |= others_hold;
        return nothing;
    }
    if row.scarce || ask.budget.limit.is_of_users() || row.held.len() >= HOLDERS_MAX {
        row.spent = row.spent.saturating_add(ask.needed);
        return Granted { tokens: ask.needed, ..nothing };
    }
    let tokens = ask.needed.max(free / SHARE);
    row.held.push(HeldTokens { node: ask.node, tokens, grant: index });
    Granted { tokens, grant: index, ..nothing }
}

fn forget_past(tx: &mut Transaction, tally: &mut BudgetsRow) -> Result<(), RowsError> {
    let past = Timestamp(tx.at.0.saturating_sub(KEPT_MS));
    let span = Span { from: keys::table(keys::BUDGET).from, to: keys::budgets_from(past) };
    for (key, _) in tx.first::<BudgetRow>(&span, FORGOTTEN_MAX)? {
        tally.budgets = tally.budgets.saturating_sub(1);
        tx.delete(key);
    }
    Ok(())
}
