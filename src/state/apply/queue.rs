//! Mail into the outbound queue and out of it: the rows of a mail, its parcels and recipients, and the index of due
//! work, written together so that they cannot part.
//!
//! A parcel stands in the index of due work if and only if it is neither held nor leased.

use super::messages::{self, Room};
use super::transaction::{Stop, Transaction};
use super::{bodies, names};
use crate::mail::ids::QueueId;
use crate::state::change::Change;
use crate::state::command::PlacedBody;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::{
    ADDRESS_BYTES_MAX, Acceptance, AcceptanceWithTls, DESTINATION_BYTES_MAX, ENVID_BYTES_MAX, MESSAGES_MAX,
    NewParcel, NewQueued, NewRecipient, ORCPT_BYTES_MAX, ParcelId, RECIPIENTS_MAX, RECIPIENTS_PER_PARCEL_MAX,
    Submit, TlsWish,
};
use crate::state::rows::RowsError;
use crate::state::stored::{DueRow, ParcelRow, PassedOnRow, QueueRow, QueuedRow, RecipientRow, TlsWishRow};

/// All or nothing: one full mailbox here, and nobody elsewhere hears of the mail either.
pub fn submit(tx: &mut Transaction, submit: &Submit) -> Result<Outcome, Stop> {
    take_in(tx, submit, (Room::Counted, TlsWish::Usual))
}

/// The same, with what follows from it.
pub fn accept(tx: &mut Transaction, acceptance: &Acceptance) -> Result<Outcome, Stop> {
    accepted(tx, acceptance, TlsWish::Usual)
}

pub fn accept_with_tls(tx: &mut Transaction, new: &AcceptanceWithTls) -> Result<Outcome, Stop> {
    accepted(tx, &new.acceptance, new.tls)
}

fn accepted(tx: &mut Transaction, acceptance: &Acceptance, tls: TlsWish) -> Result<Outcome, Stop> {
    let Acceptance { mail, passed_on, notices } = acceptance;
    let outcome = take_in(tx, mail, (Room::Counted, tls))?;
    if let Outcome::Submitted { queued: Some(message), .. } = &outcome
        && *passed_on
    {
        tx.put(keys::passed_on(*message), &PassedOnRow {})?;
    }
    for each in notices {
        notice(tx, each, tls)?;
    }
    Ok(outcome)
}

/// A notice of the server's own. What its recipient lost meanwhile (his mailbox, the queue's room) does not hold
/// up the rest; a body that is not placed yet does. `of` is what was wanted of the mail that it is about.
pub fn notice(tx: &mut Transaction, notice: &Submit, of: TlsWish) -> Result<(), Stop> {
    // RFC 8689 5: it tells much of a mail that is not to be seen. Whose mail anybody may see waives nothing for notices.
    let tls = match of {
        TlsWish::Required => TlsWish::Required,
        TlsWish::Usual | TlsWish::Waived => TlsWish::Usual,
    };
    match tx.attempt(|tx| take_in(tx, notice, (Room::Exempt, tls))) {
        Ok(_) => Ok(()),
        Err(Stop::Refused(Refusal::NotPlaced)) => Err(Refusal::NotPlaced.into()),
        Err(Stop::Refused(_)) => Ok(()),
        Err(stop) => Err(stop),
    }
}

/// `room`: whether quotas hold it up.
pub fn take_in(tx: &mut Transaction, submit: &Submit, (room, tls): (Room, TlsWish)) -> Result<Outcome, Stop> {
    if submit.to.len() > messages::RECIPIENTS_MAX {
        return Err(Refusal::Limit(format!("{} recipients of one mail", messages::RECIPIENTS_MAX)).into());
    }
    if submit.to.is_empty() && submit.queue.is_none() {
        return Err(Refusal::Invalid("mail: it is for nobody".into()).into());
    }
    bodies::admit(tx, &submit.body)?;
    let mut delivered = Vec::with_capacity(submit.to.len());
    for to in &submit.to {
        delivered.push(messages::deliver_to(tx, &submit.body, to, room)?);
    }
    let queued = match &submit.queue {
        Some(new) => Some(enqueue(tx, &submit.body, new)?),
        None => None,
    };
    if let Some(message) = queued.filter(|_| tls != TlsWish::Usual) {
        tx.put(keys::tls_wish(message), &TlsWishRow { wish: tls })?;
    }
    bodies::refer(tx, submit.body.id, delivered.len() as u64 + u64::from(queued.is_some()))?;
    Ok(Outcome::Submitted { delivered, queued })
}

fn enqueue(tx: &mut Transaction, body: &PlacedBody, new: &NewQueued) -> Result<QueueId, Stop> {
    check(new)?;
    let mut queue = load(tx)?;
    if queue.messages >= MESSAGES_MAX {
        return Err(Refusal::QueueFull.into());
    }
    queue.last_message.0 += 1;
    queue.messages += 1;
    let message = queue.last_message;
    save(tx, &queue)?;
    let row = QueuedRow {
        body: body.id,
        size: body.size,
        sender: new.sender.clone(),
        account: new.account,
        envid: new.envid.clone(),
        ret: new.ret,
        smtputf8: new.smtputf8,
        queued_at: tx.at,
        parcels: new.parcels.len() as u16,
    };
    tx.put(keys::queued(message), &row)?;
    for (number, parcel) in new.parcels.iter().enumerate() {
        let id = ParcelId { message, number: number as u16 };
        put_parcel(tx, id, parcel, new)?;
    }
    tx.changes.push(Change::Queue);
    Ok(message)
}

fn put_parcel(
    tx: &mut Transaction,
    id: ParcelId,
    new: &NewParcel,
    mail: &NewQueued,
) -> Result<(), RowsError> {
    let row = ParcelRow {
        destination: new.destination.clone(),
        near: mail.near,
        attempts: 0,
        next_attempt: tx.at,
        recipients: new.recipients.len() as u16,
        held: false,
        lease: None,
    };
    for (number, recipient) in new.recipients.iter().enumerate() {
        let NewRecipient { address, orcpt, notify } = recipient.clone();
        let row = RecipientRow { address, orcpt, notify, reply: None, delay_told: false };
        tx.put(keys::recipient(id, number as u16), &row)?;
    }
    set_parcel(tx, id, None, &row)
}

fn check(new: &NewQueued) -> Result<(), Refusal> {
    let limit = |what: &str| Err(Refusal::Limit(format!("{what} of one mail")));
    let recipients: usize = new.parcels.iter().map(|parcel| parcel.recipients.len()).sum();
    if new.parcels.is_empty() || new.parcels.iter().any(|parcel| parcel.recipients.is_empty()) {
        return Err(Refusal::Invalid("parcel: it is for nobody".into()));
    }
    if recipients > RECIPIENTS_MAX {
        return limit(&format!("{RECIPIENTS_MAX} recipients elsewhere"));
    }
    if new.parcels.iter().any(|parcel| parcel.recipients.len() > RECIPIENTS_PER_PARCEL_MAX) {
        return limit(&format!("{RECIPIENTS_PER_PARCEL_MAX} recipients in one parcel"));
    }
    let is_line = |text: &str, bytes_max: usize| text.len() <= bytes_max && !text.contains(char::is_control);
    let optional = |text: &Option<String>, bytes_max| text.as_deref().is_none_or(|it| is_line(it, bytes_max));
    if !is_line(&new.sender, ADDRESS_BYTES_MAX) {
        return Err(names::invalid("sender", &new.sender));
    }
    if !optional(&new.envid, ENVID_BYTES_MAX) {
        return Err(Refusal::Invalid("envelope id".into()));
    }
    for parcel in &new.parcels {
        if parcel.destination.is_empty() || !is_line(&parcel.destination, DESTINATION_BYTES_MAX) {
            return Err(names::invalid("destination", &parcel.destination));
        }
        for recipient in &parcel.recipients {
            let sound = !recipient.address.is_empty() && is_line(&recipient.address, ADDRESS_BYTES_MAX);
            if !sound || !optional(&recipient.orcpt, ORCPT_BYTES_MAX) {
                return Err(names::invalid("recipient", &recipient.address));
            }
        }
    }
    Ok(())
}

pub fn load(tx: &Transaction) -> Result<QueueRow, RowsError> {
    Ok(tx.get::<QueueRow>(&keys::queue())?.unwrap_or_default())
}

pub fn save(tx: &mut Transaction, queue: &QueueRow) -> Result<(), RowsError> {
    tx.put(keys::queue(), queue)
}

/// Writes a parcel and where it stands in the index of due work; `before` is what the rows hold of it.
pub fn set_parcel(
    tx: &mut Transaction,
    id: ParcelId,
    before: Option<&ParcelRow>,
    row: &ParcelRow,
) -> Result<(), RowsError> {
    let place = |row: &ParcelRow| keys::due(row.attempts > 0, &row.destination, row.next_attempt, id);
    let stands = |row: &ParcelRow| !row.held && row.lease.is_none();
    if let Some(before) = before.filter(|before| stands(before)) {
        tx.delete(place(before));
    }
    if stands(row) {
        tx.put(place(row), &DueRow { near: row.near })?;
    }
    tx.put(keys::parcel(id), row)
}

/// Takes a parcel out of the queue, with its recipients; and the mail, when it was the last. Its lease is the
/// caller's affair.
pub fn remove_parcel(tx: &mut Transaction, id: ParcelId, row: &ParcelRow) -> Result<(), RowsError> {
    if !row.held && row.lease.is_none() {
        tx.delete(keys::due(row.attempts > 0, &row.destination, row.next_attempt, id));
    }
    for (key, _) in tx.first::<RecipientRow>(&keys::recipients(id), RECIPIENTS_PER_PARCEL_MAX)? {
        tx.delete(key);
    }
    tx.delete(keys::parcel(id));
    let Some(mut mail) = tx.get::<QueuedRow>(&keys::queued(id.message))? else { return Ok(()) };
    mail.parcels = mail.parcels.saturating_sub(1);
    if mail.parcels > 0 {
        return tx.put(keys::queued(id.message), &mail);
    }
    tx.delete(keys::queued(id.message));
    if tx.get::<PassedOnRow>(&keys::passed_on(id.message))?.is_some() {
        tx.delete(keys::passed_on(id.message));
    }
    if tx.get::<TlsWishRow>(&keys::tls_wish(id.message))?.is_some() {
        tx.delete(keys::tls_wish(id.message));
    }
    let mut queue = load(tx)?;
    queue.messages = queue.messages.saturating_sub(1);
    save(tx, &queue)?;
    bodies::drop_reference(tx, mail.body)
}
