//! What becomes of the rows of one cluster in another, which nobody has seen yet. Pure.
//!
//! Clients may have seen what came after the backup: UIDs that will be given again, flags and mod-sequences that are gone.
//! No jump of UIDNEXT or of mod-sequences tells them all of it, so each mailbox gets a UIDVALIDITY that it never had (RFC 9051
//! 2.3.1.1), and they forget what they knew. Mail in the queue may have gone out since: it is held, so that an operator decides.

use crate::mail::ids::{Timestamp, UidValidity};
use crate::state::codec::{decode_row, encode_row};
use crate::state::keys;
use crate::state::rows::RowsError;
use crate::state::stored::{MailboxRow, MetaRow, ParcelRow, QueueRow};
use crate::store::tables::Row;

/// So far above the clock, and above the last that the backup knows, UIDVALIDITY goes on: the lost cluster followed its clock or
/// counted up, and would have had to make more mailboxes than that, or to be eleven days ahead, to have given one again.
pub const UID_VALIDITY_AHEAD: u32 = 1_000_000;
/// From here up rows are not the state's.
const NOT_OF_THE_STATE: u8 = 0xe0;

/// Takes all rows of a backup in order.
pub struct Renewal {
    next_uid_validity: u32,
    meta: Option<MetaRow>,
    /// Parcels that are held now.
    pub held: u64,
}

impl Renewal {
    /// At `now` by the clock of the new cluster.
    pub fn new(now: Timestamp) -> Self {
        let clock = u32::try_from(now.0 / 1_000).unwrap_or(u32::MAX);
        Self { next_uid_validity: clock.saturating_add(UID_VALIDITY_AHEAD), meta: None, held: 0 }
    }

    /// The row in the new cluster; `None`: it has no place there.
    pub fn row(&mut self, (key, value): Row) -> Result<Option<Row>, RowsError> {
        let value = match key.first().copied() {
            // It comes first, and is known last.
            Some(keys::META) => {
                let meta: MetaRow = decode_row(&key, &value)?;
                let above = meta.last_uid_validity.0.saturating_add(UID_VALIDITY_AHEAD);
                self.next_uid_validity = self.next_uid_validity.max(above);
                self.meta = Some(meta);
                return Ok(None);
            }
            Some(keys::MAILBOX) => {
                let mut mailbox: MailboxRow = decode_row(&key, &value)?;
                mailbox.uid_validity = self.uid_validity()?;
                encode_row(&key, &mailbox)?
            }
            Some(keys::PARCEL) => {
                let parcel: ParcelRow = decode_row(&key, &value)?;
                self.held += 1;
                encode_row(&key, &ParcelRow { held: true, lease: None, ..parcel })?
            }
            Some(keys::QUEUE) => {
                let queue: QueueRow = decode_row(&key, &value)?;
                encode_row(&key, &QueueRow { leases: 0, ..queue })?
            }
            // Of the nodes that there were, or of what is due: nothing is.
            Some(
                keys::REPLICAS
                | keys::RETIRED
                | keys::DRAINED
                | keys::DUE
                | keys::LEASE
                | keys::LEASED
                | keys::SEATS
                | keys::SEATS_TALLY
                | keys::ALARM
                | keys::ADDRESS_HOLDER,
            ) => return Ok(None),
            Some(table) if table >= NOT_OF_THE_STATE => return Ok(None),
            _ => value,
        };
        Ok(Some((key, value)))
    }

    /// The last of the rows.
    pub fn finish(&mut self) -> Result<Option<Row>, RowsError> {
        let Some(mut meta) = self.meta.take() else { return Ok(None) };
        meta.last_uid_validity =
            UidValidity(self.next_uid_validity.saturating_sub(1).max(meta.last_uid_validity.0));
        Ok(Some((keys::meta(), encode_row(&keys::meta(), &meta)?)))
    }

    fn uid_validity(&mut self) -> Result<UidValidity, RowsError> {
        let given = UidValidity(self.next_uid_validity);
        let next = self.next_uid_validity.checked_add(1);
        self.next_uid_validity = next.ok_or_else(|| RowsError("UIDVALIDITY is used up".to_owned()))?;
        Ok(given)
    }
}
