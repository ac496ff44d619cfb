//! Greylisting: a try is remembered, let through, or told to wait. What has expired goes with each try, a few at a time.

use super::transaction::{Stop, Transaction};
use crate::mail::ids::Timestamp;
use crate::state::greylist::{
    CLIENTS_MAX, COUNT_EVERY_MS, ClientNet, Decision, GreyTry, TRIPLETS_MAX, TripletId, decide, later,
};
use crate::state::keys::{self, GreyKind};
use crate::state::outcome::Outcome;
use crate::state::rows::RowsError;
use crate::state::stored::{GreyClientRow, GreyEndRow, GreyTallyRow, GreyTripletRow};

/// Of each kind, with one try.
pub const EXPIRED_PER_TRY: usize = 8;

pub fn attempt(tx: &mut Transaction, wanted: &GreyTry) -> Result<Outcome, Stop> {
    let mut tally: GreyTallyRow = tx.get(&keys::grey_tally())?.unwrap_or_default();
    for kind in GreyKind::ALL {
        forget_expired(tx, &mut tally, kind)?;
    }
    let GreyTry { client, triplet, terms } = wanted;
    let triplet_row = tx.get::<GreyTripletRow>(&keys::grey_triplet(*triplet))?;
    let client_row = tx.get::<GreyClientRow>(&keys::grey_client(*client))?;
    let (at, lives_to) = (tx.at, later(tx.at, terms.lifetime_ms));
    let mut outcome = Outcome::Done;
    match decide(terms, triplet_row.as_ref(), client_row.as_ref(), at) {
        Decision::First => {
            let expires = later(at, terms.retry_window_ms.max(terms.delay_ms));
            let row = GreyTripletRow { first: at, passed: false, expires };
            put_triplet(tx, &mut tally, *triplet, triplet_row, row)?;
            outcome = Outcome::Greylisted { left_ms: terms.delay_ms };
        }
        Decision::TooEarly { left_ms } => outcome = Outcome::Greylisted { left_ms },
        Decision::FirstPass => {
            let first = triplet_row.as_ref().map_or(at, |row| row.first);
            let row = GreyTripletRow { first, passed: true, expires: lives_to };
            put_triplet(tx, &mut tally, *triplet, triplet_row, row)?;
            if terms.client_passes > 0 {
                count_pass(tx, &mut tally, (*client, client_row), lives_to)?;
            }
        }
        Decision::Known { renew: true } => {
            if let Some(row) = triplet_row.clone() {
                let row = GreyTripletRow { expires: lives_to, ..row };
                put_triplet(tx, &mut tally, *triplet, triplet_row, row)?;
            }
        }
        Decision::KnownClient { renew: true } => {
            if let Some(row) = client_row.clone() {
                let row = GreyClientRow { expires: lives_to, ..row };
                put_client(tx, &mut tally, *client, client_row, row)?;
            }
        }
        Decision::Known { renew: false } | Decision::KnownClient { renew: false } => {}
    }
    tx.put(keys::grey_tally(), &tally)?;
    Ok(outcome)
}

/// One pass of a network, unless another was counted lately.
fn count_pass(
    tx: &mut Transaction,
    tally: &mut GreyTallyRow,
    (client, before): (ClientNet, Option<GreyClientRow>),
    expires: Timestamp,
) -> Result<(), RowsError> {
    let row = match &before {
        Some(row) if tx.at < row.expires => {
            if tx.at < later(row.counted, COUNT_EVERY_MS) {
                return Ok(());
            }
            GreyClientRow { passes: row.passes.saturating_add(1), counted: tx.at, expires }
        }
        Some(_) | None => GreyClientRow { passes: 1, counted: tx.at, expires },
    };
    put_client(tx, tally, client, before, row)
}

fn put_triplet(
    tx: &mut Transaction,
    tally: &mut GreyTallyRow,
    id: TripletId,
    before: Option<GreyTripletRow>,
    row: GreyTripletRow,
) -> Result<(), RowsError> {
    match before {
        Some(before) => tx.delete(keys::grey_end(kind_of(&before), before.expires, &id.0)),
        None => {
            if tally.triplets >= TRIPLETS_MAX && !forget_first(tx, tally, GreyKind::Waiting)? {
                forget_first(tx, tally, GreyKind::Passed)?;
            }
            tally.triplets += 1;
        }
    }
    tx.put(keys::grey_end(kind_of(&row), row.expires, &id.0), &GreyEndRow {})?;
    tx.put(keys::grey_triplet(id), &row)
}

fn put_client(
    tx: &mut Transaction,
    tally: &mut GreyTallyRow,
    client: ClientNet,
    before: Option<GreyClientRow>,
    row: GreyClientRow,
) -> Result<(), RowsError> {
    let name = keys::grey_net(client);
    match before {
        Some(before) => tx.delete(keys::grey_end(GreyKind::Client, before.expires, &name)),
        None => {
            if tally.clients >= CLIENTS_MAX {
                forget_first(tx, tally, GreyKind::Client)?;
            }
            tally.clients += 1;
        }
    }
    tx.put(keys::grey_end(GreyKind::Client, row.expires, &name), &GreyEndRow {})?;
    tx.put(keys::grey_client(client), &row)
}

fn kind_of(row: &GreyTripletRow) -> GreyKind {
    if row.passed { GreyKind::Passed } else { GreyKind::Waiting }
}

fn forget_expired(tx: &mut Transaction, tally: &mut GreyTallyRow, kind: GreyKind) -> Result<(), RowsError> {
    for (key, GreyEndRow {}) in tx.first(&keys::grey_ends(kind), EXPIRED_PER_TRY)? {
        if keys::grey_expiry_of(&key).is_some_and(|expires| tx.at < expires) {
            break;
        }
        forget(tx, tally, kind, key);
    }
    Ok(())
}

/// False: there is none.
fn forget_first(tx: &mut Transaction, tally: &mut GreyTallyRow, kind: GreyKind) -> Result<bool, RowsError> {
    let Some((key, GreyEndRow {})) = tx.first(&keys::grey_ends(kind), 1)?.pop() else { return Ok(false) };
    forget(tx, tally, kind, key);
    Ok(true)
}

fn forget(tx: &mut Transaction, tally: &mut GreyTallyRow, kind: GreyKind, end: Vec<u8>) {
    tx.delete(keys::grey_named_by(kind, &end));
    tx.delete(end);
    let count = match kind {
        GreyKind::Waiting | GreyKind::Passed => &mut tally.triplets,
        GreyKind::Client => &mut tally.clients,
    };
    *count = count.saturating_sub(1);
}
