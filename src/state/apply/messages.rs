//! Messages coming in, changing flags and going.

use super::keywords::NoRoom;
use super::opened::{Opened, as_it_stands, check_quota};
use super::removed;
use super::transaction::{Stop, Transaction};
use super::{bodies, mailboxes, names};
use crate::mail::flags::{Flags, SystemFlag};
use crate::mail::ids::{BodyId, MailboxId, ModSeq, Uid};
use crate::state::change::Change;
use crate::state::command::{
    Append, Deliver, DeliverTo, FlagChange, InternalDate, NewMessage, PlacedBody, StoreFlags, UidSet,
};
use crate::state::keys;
use crate::state::outcome::{Delivered, Outcome, Refusal};
use crate::state::record::MessageRecord;

/// Recipients of one Deliver.
pub const RECIPIENTS_MAX: usize = 10_000;
/// Messages of one Append.
pub const APPENDED_MAX: usize = 1_000;

/// All or nothing per recipient.
pub fn deliver(tx: &mut Transaction, deliver: &Deliver) -> Result<Outcome, Stop> {
    if deliver.to.len() > RECIPIENTS_MAX {
        return Err(Refusal::Limit(format!("{RECIPIENTS_MAX} recipients of one mail")).into());
    }
    let mut admitted = false;
    let mut results = Vec::with_capacity(deliver.to.len());
    let mut references = 0;
    for to in &deliver.to {
        if !admitted {
            bodies::admit(tx, &deliver.body)?;
            admitted = true;
        }
        match tx.attempt(|tx| deliver_to(tx, &deliver.body, to, Room::Counted)) {
            Ok(delivered) => {
                references += 1;
                results.push(Ok(delivered));
            }
            Err(Stop::Refused(refusal)) => results.push(Err(refusal)),
            Err(stop) => return Err(stop),
        }
    }
    if references > 0 {
        bodies::refer(tx, deliver.body.id, references)?;
    }
    Ok(Outcome::Delivered { results })
}

/// Whether a full mailbox refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Counted,
    /// The server's own notices come in all the same.
    Exempt,
}

/// The caller admits the body, and counts the reference.
pub fn deliver_to(
    tx: &mut Transaction,
    body: &PlacedBody,
    to: &DeliverTo,
    room: Room,
) -> Result<Delivered, Stop> {
    let mut mailbox = wanted_or_inbox(tx, to)?;
    if room == Room::Counted {
        check_quota(tx, &mailbox, u64::from(body.size))?;
    }
    let flags = mailbox.keywords(tx)?.flags(&to.flags, NoRoom::LeaveOut)?;
    let unix_seconds = i64::try_from(tx.at.0 / 1_000).unwrap_or(i64::MAX);
    let internal_date = InternalDate { unix_seconds, zone_minutes: 0 };
    let message = new_message(tx, body.id, body.size, flags, internal_date);
    let uid = mailbox.add(message)?;
    let id = mailbox.id;
    mailbox.close(tx)?;
    Ok(Delivered { mailbox: id, uid })
}

fn wanted_or_inbox(tx: &Transaction, to: &DeliverTo) -> Result<Opened, Stop> {
    mailboxes::account_row(tx, to.account)?;
    if let Ok(name) = names::mailbox(&to.mailbox)
        && let Some((id, row)) = mailboxes::by_name(tx, to.account, &name)?
        && !row.no_select
    {
        return Opened::open(tx, id);
    }
    let (id, _) = mailboxes::existing(tx, to.account, names::INBOX)?;
    Opened::open(tx, id)
}

/// UID and mod-sequence are given by the mailbox that takes it in.
fn new_message(
    tx: &Transaction,
    body: BodyId,
    size: u32,
    flags: Flags,
    internal_date: InternalDate,
) -> MessageRecord {
    MessageRecord { uid: Uid(0), body, size, flags, modseq: ModSeq(0), internal_date, saved_at: tx.at }
}

/// All or nothing (RFC 3502). Of the flags, those in `may` are kept (RFC 4314 4: without the right they are left out).
pub fn append(tx: &mut Transaction, append: &Append, may: Flags) -> Result<Outcome, Stop> {
    if append.messages.len() > APPENDED_MAX {
        return Err(Refusal::Limit(format!("{APPENDED_MAX} messages in one APPEND")).into());
    }
    let mut mailbox = Opened::open(tx, append.mailbox)?;
    let bytes = append.messages.iter().map(|message| u64::from(message.body.size)).sum();
    check_quota(tx, &mailbox, bytes)?;
    let mut uids = Vec::with_capacity(append.messages.len());
    for message in &append.messages {
        uids.push(bring_in(tx, &mut mailbox, message, may)?);
    }
    let uid_validity = mailbox.row.uid_validity;
    mailbox.close(tx)?;
    Ok(Outcome::Appended { uid_validity, uids })
}

/// Takes a message that a client brings into `mailbox`, with those of its flags that are in `may`, and counts its body.
pub fn bring_in(
    tx: &mut Transaction,
    mailbox: &mut Opened,
    message: &NewMessage,
    may: Flags,
) -> Result<Uid, Stop> {
    let NewMessage { body, flags, internal_date } = message;
    if internal_date.zone_minutes.unsigned_abs() >= 24 * 60 {
        return Err(Refusal::Invalid("date: its zone is more than a day away".into()).into());
    }
    bodies::admit(tx, body)?;
    let flags = mailbox.keywords(tx)?.flags(&may.permit(flags), NoRoom::Refuse)?;
    let uid = mailbox.add(new_message(tx, body.id, body.size, flags, *internal_date))?;
    bodies::refer(tx, body.id, 1)?;
    Ok(uid)
}

/// Changes flags in `may` alone.
pub fn store(tx: &mut Transaction, store: &StoreFlags, may: Flags) -> Result<Outcome, Stop> {
    let mut mailbox = Opened::open(tx, store.mailbox)?;
    let messages = mailbox.read(tx, &store.uids)?;
    let keywords = mailbox.keywords(tx)?;
    let named = may.permit(&store.flags);
    let flags = match store.change {
        FlagChange::Replace | FlagChange::Add if !messages.is_empty() => {
            keywords.flags(&named, NoRoom::Refuse)?
        }
        FlagChange::Replace | FlagChange::Add | FlagChange::Remove => keywords.known_flags(&named),
    };
    let mut modified = Vec::new();
    for old in messages {
        // RFC 7162 3.1.3: what was changed since is left alone, and told.
        if store.unchanged_since.is_some_and(|since| old.modseq > since) {
            modified.push(old.uid);
            continue;
        }
        let new = match store.change {
            FlagChange::Replace => old.flags.without(may).union(flags),
            FlagChange::Add => old.flags.union(flags),
            FlagChange::Remove => old.flags.without(flags),
        };
        if new != old.flags {
            mailbox.replace(&old, MessageRecord { flags: new, ..old });
        }
    }
    let modified = UidSet::from_ascending(modified);
    let nothing = mailbox.is_unchanged();
    let modseq = mailbox.close(tx)?;
    // A session that took another's mod-sequence for its own would keep back what that other changed.
    Ok(match nothing {
        true => Outcome::StoredNothing { modseq, modified },
        false => Outcome::Stored { modseq, modified },
    })
}

pub fn expunge(
    tx: &mut Transaction,
    mailbox: MailboxId,
    uids: &UidSet,
    only_deleted: bool,
) -> Result<Outcome, Stop> {
    let mut mailbox = Opened::open(tx, mailbox)?;
    let mut gone = match only_deleted && mailbox.row.deleted == 0 {
        true => Vec::new(),
        false => mailbox.read(tx, uids)?,
    };
    gone.retain(|message| !only_deleted || message.flags.has(SystemFlag::Deleted));
    gone.iter().for_each(|message| mailbox.expunge(message));
    removed::expunged(tx, &mut mailbox, &gone)?;
    let modseq = mailbox.close(tx)?;
    Ok(Outcome::Expunged { modseq, uids: UidSet::from_ascending(gone.iter().map(|message| message.uid)) })
}

/// RFC 3501 2.3.2: a message is \Recent to the first session that is told of it.
pub fn claim_recent(tx: &mut Transaction, mailbox: MailboxId, up_to: Uid) -> Result<Outcome, Stop> {
    let Opened { id, mut row, .. } = Opened::open(tx, mailbox)?;
    let up_to = up_to.min(row.uid_next);
    if up_to > row.recent_from {
        row.recent_from = up_to;
        tx.put(keys::mailbox(id), &row)?;
        tx.changes.push(Change::Messages(as_it_stands(id, &row)));
    }
    Ok(Outcome::Done)
}
