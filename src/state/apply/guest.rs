//! What a user does in another's mailboxes, under the rights that the access control lists grant him (RFC 4314 4).
//!
//! The rights are looked at here, where the command takes its place among the others: what was proposed under
//! rights that were withdrawn meanwhile is refused on every node, from the OK of the SETACL on.

use super::mailboxes::{self, by_name, existing};
use super::transaction::{Stop, Transaction};
use super::{acl, messages, names, rename, replace, transfer};
use crate::mail::ids::AccountId;
use crate::mail::rights::Rights;
use crate::state::command::GuestCommand;
use crate::state::outcome::{Outcome, Refusal};

pub fn run(tx: &mut Transaction, guest: AccountId, command: &GuestCommand) -> Result<Outcome, Stop> {
    match command {
        GuestCommand::CreateMailbox { owner, name } => {
            may_create(tx, guest, *owner, name)?;
            mailboxes::create(tx, *owner, name, None)
        }
        GuestCommand::DeleteMailbox { owner, name } => {
            may_delete(tx, guest, *owner, name)?;
            mailboxes::delete(tx, *owner, name)
        }
        GuestCommand::RenameMailbox { owner, from, to } => {
            may_delete(tx, guest, *owner, from)?;
            may_create(tx, guest, *owner, to)?;
            rename::rename(tx, *owner, from, to)
        }
        GuestCommand::Append(append) => {
            let (_, rights) = acl::permitted(tx, guest, append.mailbox, Rights::INSERT)?;
            messages::append(tx, append, rights.over_flags())
        }
        GuestCommand::Store(store) => {
            let (_, rights) = acl::permitted(tx, guest, store.mailbox, Rights::READ)?;
            match rights.may_store(&store.flags) {
                true => messages::store(tx, store, rights.over_flags()),
                false => Err(Refusal::NotPermitted.into()),
            }
        }
        GuestCommand::Expunge { mailbox, uids } => {
            acl::permitted(tx, guest, *mailbox, Rights::READ.union(Rights::EXPUNGE))?;
            messages::expunge(tx, *mailbox, uids, true)
        }
        GuestCommand::Copy(transfer) => {
            acl::permitted(tx, guest, transfer.from, Rights::READ)?;
            let (_, rights) = acl::permitted(tx, guest, transfer.to, Rights::INSERT)?;
            transfer::copy(tx, transfer, rights.over_flags())
        }
        GuestCommand::Move(transfer) => {
            // RFC 6851 4.5: as COPY, STORE \Deleted and EXPUNGE together.
            let taking = Rights::READ.union(Rights::DELETE_MESSAGES).union(Rights::EXPUNGE);
            acl::permitted(tx, guest, transfer.from, taking)?;
            let (_, rights) = acl::permitted(tx, guest, transfer.to, Rights::INSERT)?;
            transfer::move_to(tx, transfer, rights.over_flags())
        }
        GuestCommand::Replace(replace) => {
            // RFC 8508 4.1: as STORE \Deleted and EXPUNGE there, and APPEND here.
            let taking = Rights::READ.union(Rights::DELETE_MESSAGES).union(Rights::EXPUNGE);
            acl::permitted(tx, guest, replace.from, taking)?;
            let (_, rights) = acl::permitted(tx, guest, replace.to, Rights::INSERT)?;
            replace::replace(tx, replace, rights.over_flags())
        }
    }
}

/// RFC 4314 4: by the nearest mailbox above that exists. Above all of them is the owner's alone.
fn may_create(tx: &Transaction, guest: AccountId, owner: AccountId, name: &str) -> Result<(), Stop> {
    mailboxes::account_row(tx, owner)?;
    let name = names::mailbox(name)?;
    let mut nearest = None;
    for superior in names::superiors(&name) {
        nearest = by_name(tx, owner, superior)?.or(nearest);
    }
    let (above, _) = nearest.ok_or(Refusal::NotPermitted)?;
    match acl::permitted(tx, guest, above, Rights::CREATE) {
        Ok(_) => Ok(()),
        // Whether there is such a mailbox above is not told.
        Err(Stop::Refused(_)) => Err(Refusal::NotPermitted.into()),
        Err(stop) => Err(stop),
    }
}

/// INBOX is its owner's to rename; nobody deletes it.
fn may_delete(tx: &Transaction, guest: AccountId, owner: AccountId, name: &str) -> Result<(), Stop> {
    mailboxes::account_row(tx, owner)?;
    let (mailbox, row) = existing(tx, owner, &names::mailbox(name)?)?;
    acl::permitted(tx, guest, mailbox, Rights::DELETE_MAILBOX)?;
    match row.name == names::INBOX {
        true => Err(Refusal::NotAllowed.into()),
        false => Ok(()),
    }
}
