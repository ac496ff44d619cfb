//! What operators do to mails in the queue.

use super::queue;
use super::queue_lease::release;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{QueueId, Timestamp};
use crate::state::change::Change;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::{IDS_PER_COMMAND_MAX, ParcelId, RECIPIENTS_MAX, STEERED_ROWS_MAX, Steering};
use crate::state::rows::RowsError;
use crate::state::stored::{ParcelRow, QueuedRow};

/// Goes through the mails until it has touched enough rows for one entry; at least the first.
pub fn steer(tx: &mut Transaction, messages: &[QueueId], steering: Steering) -> Result<Outcome, Stop> {
    if messages.len() > IDS_PER_COMMAND_MAX {
        return Err(Refusal::Limit(format!("{IDS_PER_COMMAND_MAX} mails at once")).into());
    }
    let (mut steered, mut looked_at, mut rows) = (Vec::new(), 0, 0);
    for message in messages {
        if rows >= STEERED_ROWS_MAX {
            break;
        }
        looked_at += 1;
        if tx.get::<QueuedRow>(&keys::queued(*message))?.is_none() {
            continue;
        }
        for (key, row) in tx.first::<ParcelRow>(&keys::parcels(*message), RECIPIENTS_MAX)? {
            rows += 2 + usize::from(row.recipients);
            if let Some(id) = keys::parcel_of(&key) {
                steer_parcel(tx, id, row, steering)?;
            }
        }
        steered.push(*message);
    }
    if !steered.is_empty() {
        tx.changes.push(Change::Queue);
        if steering == Steering::Retry {
            tx.changes.push(Change::QueueRetried);
        }
    }
    Ok(Outcome::Steered { messages: steered, looked_at })
}

fn steer_parcel(
    tx: &mut Transaction,
    id: ParcelId,
    before: ParcelRow,
    steering: Steering,
) -> Result<(), RowsError> {
    let now: Timestamp = tx.at;
    let after = match steering {
        Steering::Hold => ParcelRow { held: true, ..before.clone() },
        Steering::Release => ParcelRow { held: false, ..before.clone() },
        Steering::Retry => ParcelRow { next_attempt: now, ..before.clone() },
        Steering::Remove => {
            queue::remove_parcel(tx, id, &before)?;
            return match before.lease {
                Some(lease) => release(tx, lease, id),
                None => Ok(()),
            };
        }
    };
    queue::set_parcel(tx, id, Some(&before), &after)
}
