//! Who holds which parcels, and what came of it. Fenced: what comes under a lease that has ended changes nothing.

use super::queue::{self, notice};
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{LeaseId, NodeId};
use crate::mail::lines::beginning;
use crate::state::change::Change;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::{
    IDS_PER_COMMAND_MAX, LEASES_MAX, PARCELS_PER_LEASE_MAX, ParcelId, ParcelReport,
    RECIPIENTS_PER_PARCEL_MAX, REPLY_BYTES_MAX, RecipientResult, Report, TlsWish,
};
use crate::state::rows::RowsError;
use crate::state::stored::{LeaseRow, LeasedRow, ParcelRow, RecipientRow, TlsWishRow};

/// Takes those parcels that nobody holds and whose time has come by the proposer's clock.
pub fn take(
    tx: &mut Transaction,
    lease: LeaseId,
    node: NodeId,
    parcels: &[ParcelId],
) -> Result<Outcome, Stop> {
    if parcels.len() > PARCELS_PER_LEASE_MAX {
        return Err(Refusal::Limit(format!("{PARCELS_PER_LEASE_MAX} parcels under one lease")).into());
    }
    if tx.get::<LeaseRow>(&keys::lease(lease))?.is_some() {
        return Err(Refusal::Exists(format!("lease {lease}")).into());
    }
    let mut counts = queue::load(tx)?;
    if counts.leases >= LEASES_MAX {
        return Err(Refusal::Limit(format!("{LEASES_MAX} leases")).into());
    }
    let mut taken = Vec::with_capacity(parcels.len());
    for id in parcels {
        let Some(row) = tx.get::<ParcelRow>(&keys::parcel(*id))? else { continue };
        if row.held || row.lease.is_some() || row.next_attempt > tx.at {
            continue;
        }
        queue::set_parcel(tx, *id, Some(&row), &ParcelRow { lease: Some(lease), ..row.clone() })?;
        tx.put(keys::leased(lease, *id), &LeasedRow {})?;
        taken.push(*id);
    }
    if !taken.is_empty() {
        counts.leases += 1;
        queue::save(tx, &counts)?;
        tx.put(keys::lease(lease), &LeaseRow { node, renewals: 0, parcels: taken.len() as u16 })?;
    }
    Ok(Outcome::Leased { parcels: taken })
}

pub fn renew(tx: &mut Transaction, leases: &[LeaseId]) -> Result<Outcome, Stop> {
    if leases.len() > IDS_PER_COMMAND_MAX {
        return Err(Refusal::Limit(format!("{IDS_PER_COMMAND_MAX} leases renewed at once")).into());
    }
    let mut renewed = Vec::with_capacity(leases.len());
    for lease in leases {
        let Some(row) = tx.get::<LeaseRow>(&keys::lease(*lease))? else { continue };
        tx.put(keys::lease(*lease), &LeaseRow { renewals: row.renewals.saturating_add(1), ..row })?;
        renewed.push(*lease);
    }
    Ok(Outcome::Renewed { leases: renewed })
}

/// Gives back what is left under it.
pub fn end(tx: &mut Transaction, lease: LeaseId, renewals: u64) -> Result<Outcome, Stop> {
    let held = tx.get::<LeaseRow>(&keys::lease(lease))?;
    if held.is_none_or(|row| row.renewals != renewals) {
        return Err(Refusal::LeaseChanged.into());
    }
    for (key, _) in tx.first::<LeasedRow>(&keys::leased_by(lease), PARCELS_PER_LEASE_MAX)? {
        if let Some(id) = keys::leased_of(&key)
            && let Some(row) = tx.get::<ParcelRow>(&keys::parcel(id))?
        {
            queue::set_parcel(tx, id, Some(&row), &ParcelRow { lease: None, ..row.clone() })?;
        }
        tx.delete(key);
    }
    drop_lease(tx, lease)?;
    tx.changes.push(Change::Queue);
    Ok(Outcome::Done)
}

/// The mail that is over leaves the queue, what is left waits for its next attempt, and the notices go their way: in
/// one step, under a lease that holds.
pub fn report(tx: &mut Transaction, report: &Report) -> Result<Outcome, Stop> {
    if report.parcels.len() > PARCELS_PER_LEASE_MAX {
        return Err(Refusal::Limit(format!("{PARCELS_PER_LEASE_MAX} parcels in one report")).into());
    }
    if report.notices.len() > PARCELS_PER_LEASE_MAX * 2 {
        return Err(Refusal::Limit(format!("{} notices in one report", PARCELS_PER_LEASE_MAX * 2)).into());
    }
    let lease: LeaseRow = tx.get(&keys::lease(report.lease))?.ok_or(Refusal::LeaseChanged)?;
    let wish = wish(tx, report)?;
    for parcel in &report.parcels {
        // An operator may have removed it meanwhile.
        if let Some(row) = tx.get::<ParcelRow>(&keys::parcel(parcel.parcel))? {
            if row.lease != Some(report.lease) {
                return Err(Refusal::LeaseChanged.into());
            }
            report_parcel(tx, parcel, row, &lease)?;
            release(tx, report.lease, parcel.parcel)?;
        }
    }
    for new in &report.notices {
        notice(tx, new, wish)?;
    }
    tx.changes.push(Change::Queue);
    Ok(Outcome::Done)
}

/// What is wanted of the mails that are reported: whatever is wanted of one holds for the notices of all.
fn wish(tx: &Transaction, report: &Report) -> Result<TlsWish, RowsError> {
    for parcel in &report.parcels {
        let row = tx.get::<TlsWishRow>(&keys::tls_wish(parcel.parcel.message))?;
        if let Some(TlsWishRow { wish: TlsWish::Required }) = row {
            return Ok(TlsWish::Required);
        }
    }
    Ok(TlsWish::Usual)
}

fn report_parcel(
    tx: &mut Transaction,
    report: &ParcelReport,
    before: ParcelRow,
    lease: &LeaseRow,
) -> Result<(), Stop> {
    if report.results.len() > RECIPIENTS_PER_PARCEL_MAX {
        return Err(Refusal::Limit(format!("{RECIPIENTS_PER_PARCEL_MAX} results of one parcel")).into());
    }
    let id = report.parcel;
    let mut row = before.clone();
    for (number, result) in &report.results {
        let key = keys::recipient(id, *number);
        let Some(recipient) = tx.get::<RecipientRow>(&key)? else { continue };
        match result {
            RecipientResult::Over => {
                tx.delete(key);
                row.recipients = row.recipients.saturating_sub(1);
            }
            RecipientResult::Deferred { reply, delay_told } => {
                let reply = Some(cut(reply));
                let delay_told = recipient.delay_told || *delay_told;
                tx.put(key, &RecipientRow { reply, delay_told, ..recipient })?;
            }
        }
    }
    if row.recipients == 0 {
        queue::remove_parcel(tx, id, &before)?;
        return Ok(());
    }
    row.attempts = row.attempts.saturating_add(1);
    row.next_attempt = report.next_attempt;
    row.near = lease.node;
    row.lease = None;
    queue::set_parcel(tx, id, Some(&before), &row)?;
    Ok(())
}

/// A parcel is no longer under the lease; the last one ends it.
pub fn release(tx: &mut Transaction, lease: LeaseId, parcel: ParcelId) -> Result<(), RowsError> {
    tx.delete(keys::leased(lease, parcel));
    let Some(mut row) = tx.get::<LeaseRow>(&keys::lease(lease))? else { return Ok(()) };
    row.parcels = row.parcels.saturating_sub(1);
    match row.parcels {
        0 => drop_lease(tx, lease),
        _ => tx.put(keys::lease(lease), &row),
    }
}

fn drop_lease(tx: &mut Transaction, lease: LeaseId) -> Result<(), RowsError> {
    tx.delete(keys::lease(lease));
    let mut counts = queue::load(tx)?;
    counts.leases = counts.leases.saturating_sub(1);
    queue::save(tx, &counts)
}

fn cut(reply: &str) -> String {
    beginning(reply, REPLY_BYTES_MAX).replace(char::is_control, " ")
}
