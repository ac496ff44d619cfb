//! What REPLACE (RFC 8508) adds to APPEND: the message that goes.

use crate::mail::ids::{MailboxId, Uid, UidValidity};
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply};
use crate::session::imap::grammar::Replaces;
use crate::session::imap::selected::Expunges;
use crate::state::command::{Command, NewMessage, Replace};
use crate::state::outcome::Refusal;

/// A message of the selected mailbox, as it was when the command began.
pub struct Replaced {
    mailbox: MailboxId,
    uid: Uid,
    /// True when the client named it by its UID.
    by_uid: bool,
    /// What its going frees.
    pub bytes: u64,
}

impl Replaced {
    /// RFC 8508 3.2, 3.5: BAD for a number that no message has, NO for a UID.
    pub fn find(replaces: &Replaces, core: &Core) -> Result<Self, Reply> {
        let selected = core.selected.as_ref().ok_or_else(|| Reply::bad("Select a mailbox first"))?;
        if core.uid_only && !replaces.uid {
            return Err(Reply::uid_required());
        }
        if selected.read_only {
            return Err(Reply::no("READ-ONLY", "The mailbox is opened for reading only"));
        }
        // RFC 8508 4.1: what is replaced is also deleted and expunged.
        if !selected.may(Rights::READ.union(Rights::DELETE_MESSAGES).union(Rights::EXPUNGE)) {
            return Err(Reply::refusal(&Refusal::NotPermitted));
        }
        let uid = match (replaces.number, replaces.uid) {
            (None, _) => Some(Uid(selected.last_uid())).filter(|_| selected.exists() > 0),
            (Some(number), true) => Some(Uid(number)).filter(|uid| selected.sequence_of(*uid).is_some()),
            (Some(number), false) => selected.uid_of(number),
        };
        let Some(uid) = uid else {
            return Err(match replaces.uid {
                true => Reply::no("NONEXISTENT", "There is no such message"),
                false => Reply::bad("There is no such message"),
            });
        };
        let record = selected.view().read(|view| view.get(uid));
        let Some(record) = record else {
            return Err(Reply::no("EXPUNGEISSUED", "The message is expunged already"));
        };
        Ok(Self { mailbox: selected.mailbox, uid, by_uid: replaces.uid, bytes: record.size.into() })
    }

    pub fn by(&self, message: NewMessage, to: MailboxId) -> Command {
        Command::Replace(Box::new(Replace { from: self.mailbox, uid: self.uid, to, message }))
    }
}

/// RFC 8508 3.2, 4.3: APPENDUID, then what came, then (with the end of the command) what went.
pub fn tell(
    core: &mut Core,
    (uid_validity, uid): (UidValidity, Uid),
    replaced: Option<&Replaced>,
    io: &mut Io,
) -> Next {
    let line = format!("* OK [APPENDUID {uid_validity} {uid}] The replacement is there\r\n");
    io.out.extend_from_slice(line.as_bytes());
    let telling = core.telling(replaced.is_some_and(|replaced| replaced.by_uid));
    if let Some(selected) = &mut core.selected {
        selected.tell_changes(Expunges::Behind, telling, io.out);
    }
    Next::Done(core.after_expunge(Reply::ok("Replaced")))
}
