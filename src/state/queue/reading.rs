//! Reads of the queue: what is due, who holds what, and what operators are shown.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{ParcelId, TlsWish};
use crate::mail::ids::{LeaseId, NodeId, QueueId, Timestamp};
use crate::state::codec;
use crate::state::keys;
use crate::state::reading::{first, get, visit};
use crate::state::rows::{Rows, RowsError};
use crate::state::stored::{
    DueRow, LeaseRow, ParcelRow, PassedOnRow, QueueRow, QueuedRow, RecipientRow, TlsWishRow,
};

/// A parcel with all that its delivery needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    pub id: ParcelId,
    pub mail: QueuedRow,
    /// For others: it is not ours.
    pub passed_on: bool,
    pub tls: TlsWish,
    pub row: ParcelRow,
    /// By their numbers.
    pub recipients: Vec<(u16, RecipientRow)>,
}

/// Parcels of one destination that may be taken now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueThere {
    pub destination: String,
    pub parcels: Vec<ParcelId>,
}

/// Whom and how much to look for.
#[derive(Clone)]
pub struct Wanted<'a> {
    /// Mail that was tried before, or mail that was not.
    pub tried: bool,
    pub now: Timestamp,
    /// Whose parcels are taken as soon as they are due.
    pub node: NodeId,
    /// Those of other nodes are taken this much later, so that two do not reach for the same. Milliseconds.
    pub others_after_ms: u64,
    /// How many parcels of a destination; 0 leaves it alone.
    pub room: &'a dyn Fn(&str) -> usize,
    /// Parcels that this node is about to take.
    pub leave: &'a BTreeSet<ParcelId>,
    pub destinations_max: usize,
}

/// What is due, and when something will be, if nothing is before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueWork {
    pub there: Vec<DueThere>,
    pub next: Option<Timestamp>,
}

/// Parcels looked at for one destination. Those that other nodes are given time for may stand before ours.
const LOOKED_AT_MAX: usize = 1_000;

/// Looks at the front of each destination's parcels alone: a hundred thousand for one dead host cost what one costs.
pub fn due(rows: &dyn Rows, wanted: &Wanted<'_>) -> Result<DueWork, RowsError> {
    let span = keys::all_due(wanted.tried);
    let (mut from, mut work) = (span.from, DueWork::default());
    while work.there.len() < wanted.destinations_max {
        let mut here: Option<DueThere> = None;
        let (mut failed, mut looked_at) = (None, 0);
        rows.scan(&from, &span.to, &mut |key, value| {
            looked_at += 1;
            let Some((destination, at, parcel)) = keys::due_of(key) else { return ControlFlow::Continue(()) };
            let there =
                here.get_or_insert_with(|| DueThere { destination: destination.into(), parcels: vec![] });
            let enough = looked_at > LOOKED_AT_MAX || there.parcels.len() >= (wanted.room)(destination);
            if there.destination != destination || enough {
                return ControlFlow::Break(());
            }
            let near = match codec::decode_row::<DueRow>(key, value) {
                Ok(row) => row.near == wanted.node,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            let patience = if near { 0 } else { wanted.others_after_ms };
            let mine_at = Timestamp(at.0.saturating_add(patience));
            if wanted.leave.contains(&parcel) {
                return ControlFlow::Continue(());
            }
            if mine_at > wanted.now {
                work.next = Some(work.next.map_or(mine_at, |next| next.min(mine_at)));
                // Others behind it may be near: look on, but not beyond what is due at all.
                return if at > wanted.now { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            }
            there.parcels.push(parcel);
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let Some(there) = here else { break };
        from = keys::behind_due(wanted.tried, &there.destination);
        if !there.parcels.is_empty() {
            work.there.push(there);
        }
    }
    Ok(work)
}

pub fn parcel(rows: &dyn Rows, id: ParcelId) -> Result<Option<Parcel>, RowsError> {
    let Some(mail) = get::<QueuedRow>(rows, &keys::queued(id.message))? else { return Ok(None) };
    let Some(row) = get::<ParcelRow>(rows, &keys::parcel(id))? else { return Ok(None) };
    let passed_on = get::<PassedOnRow>(rows, &keys::passed_on(id.message))?.is_some();
    let tls = get::<TlsWishRow>(rows, &keys::tls_wish(id.message))?.map_or(TlsWish::Usual, |row| row.wish);
    let mut recipients = Vec::with_capacity(usize::from(row.recipients));
    visit::<RecipientRow>(rows, &keys::recipients(id), |key, row| {
        recipients.extend(keys::recipient_of(key).map(|number| (number, row)));
    })?;
    Ok(Some(Parcel { id, mail, passed_on, tls, row, recipients }))
}

/// Ascending by lease.
pub fn leases(rows: &dyn Rows) -> Result<Vec<(LeaseId, LeaseRow)>, RowsError> {
    let mut leases = Vec::new();
    visit::<LeaseRow>(rows, &keys::table(keys::LEASE), |key, row| {
        leases.extend(keys::lease_of(key).map(|lease| (lease, row)));
    })?;
    Ok(leases)
}

/// How many mails wait, and how many leases there are.
pub fn counts(rows: &dyn Rows) -> Result<QueueRow, RowsError> {
    Ok(get::<QueueRow>(rows, &keys::queue())?.unwrap_or_default())
}

/// At most `limit` mails, ascending, from the first after `after`. An empty answer is the end.
pub fn mails(
    rows: &dyn Rows,
    after: Option<QueueId>,
    limit: usize,
) -> Result<Vec<(QueueId, QueuedRow)>, RowsError> {
    let mut span = keys::table(keys::QUEUED);
    if let Some(after) = after {
        span.from = keys::queued(after);
        span.from.push(0);
    }
    first::<QueuedRow, _>(rows, &span, limit, |key, row| keys::queued_of(key).map(|id| (id, row)))
}

/// The first `limit` parcels of a mail.
pub fn parcels(rows: &dyn Rows, message: QueueId, limit: usize) -> Result<Vec<Parcel>, RowsError> {
    let mut ids = Vec::new();
    let span = keys::parcels(message);
    rows.scan(&span.from, &span.to, &mut |key, _| {
        if ids.len() == limit {
            return ControlFlow::Break(());
        }
        ids.extend(keys::parcel_of(key));
        ControlFlow::Continue(())
    })?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(parcel(rows, id)?);
    }
    Ok(found)
}
