//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7, RFC 9051 6.3.9.7, RFC 6154 5.2).

use bytes::BytesMut;

use super::list::list_line;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{MailboxName, is_creatable};
use crate::session::imap::object_id::mailbox_id;
use crate::session::imap::question::{Answer, Question};
use crate::state::command::{Command, SpecialUse};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::record::MailboxRecord;

pub struct Create {
    pub mailbox: MailboxName,
    pub special_use: Option<SpecialUse>,
}

impl Task for Create {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match answer {
            None => {}
            Some(Answer::Outcome(Outcome::MailboxCreated { mailbox, .. })) => {
                tell_name(core, &self.mailbox, &[], io.out);
                let code = format!("MAILBOXID ({})", mailbox_id(mailbox));
                return Next::Done(Reply::ok("Created").with_code(code));
            }
            Some(answer) => return done(answer, "Created"),
        }
        let Some(name) = self.mailbox.0.clone().filter(|name| is_creatable(name)) else {
            return bad_name();
        };
        let (account, special_use) = (core.account(), self.special_use);
        Next::Ask(Question::Propose(Command::CreateMailbox { account, name, special_use }))
    }
}

pub struct Delete {
    mailbox: MailboxName,
    record: Option<MailboxRecord>,
}

impl Delete {
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox, record: None }
    }
}

impl Task for Delete {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        let account = core.account();
        match (answer, &self.mailbox.0) {
            (_, None) => Next::Done(Reply::no_such_mailbox()),
            (None, Some(name)) => Next::Ask(Question::Mailbox(account, name.clone())),
            (Some(Answer::Mailbox(None)), _) => Next::Done(Reply::no_such_mailbox()),
            (Some(Answer::Mailbox(Some(record))), _) => {
                let name = record.name.clone();
                self.record = Some(record);
                Next::Ask(Question::Propose(Command::DeleteMailbox { account, name }))
            }
            // RFC 5530: it is but a level, and stays one while there is something below it.
            (Some(Answer::Outcome(Outcome::Refused(Refusal::NotAllowed))), _)
                if self.record.as_ref().is_some_and(|record| record.no_select) =>
            {
                Next::Done(Reply::no("HASCHILDREN", "There are mailboxes below it"))
            }
            (Some(answer), _) => {
                if matches!(&answer, Answer::Outcome(Outcome::Done)) {
                    tell_name(core, &self.mailbox, &["\\NonExistent"], io.out);
                    // One's own mailbox gone is no surprise: back to where nothing is selected.
                    let id = self.record.as_ref().map(|record| record.id);
                    core.selected.take_if(|selected| Some(selected.mailbox) == id);
                }
                done(answer, "Deleted")
            }
        }
    }
}

pub struct Rename {
    pub from: MailboxName,
    pub to: MailboxName,
}

impl Rename {
    /// RFC 9051 6.3.6: when either name was spelt differently. That INBOX stays is known.
    fn tell_name(&self, core: &Core, out: &mut BytesMut) {
        let (Some(from), Some(to)) = (&self.from.0, &self.to.0) else { return };
        let differs = self.from.old_name().or(self.to.old_name()).is_some();
        if core.rev2 && differs && from != "INBOX" {
            let supplied = self.from.old_name().unwrap_or(from);
            list_line((to, Some(supplied)), &[], core.names, out);
        }
    }
}

impl Task for Rename {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        if let Some(answer) = answer {
            if matches!(&answer, Answer::Outcome(Outcome::Done)) {
                self.tell_name(core, io.out);
            }
            return done(answer, "Renamed");
        }
        let Some(from) = self.from.0.clone() else { return Next::Done(Reply::no_such_mailbox()) };
        let Some(to) = self.to.0.clone().filter(|name| is_creatable(name)) else { return bad_name() };
        Next::Ask(Question::Propose(Command::RenameMailbox { account: core.account(), from, to }))
    }
}

pub struct Subscribe {
    pub mailbox: MailboxName,
    pub subscribed: bool,
}

impl Task for Subscribe {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        if let Some(answer) = answer {
            return done(answer, if self.subscribed { "Subscribed" } else { "Unsubscribed" });
        }
        let Some(name) = self.mailbox.0.take() else { return bad_name() };
        let subscribed = self.subscribed;
        Next::Ask(Question::Propose(Command::Subscribe { account: core.account(), name, subscribed }))
    }
}

/// RFC 9051 6.3.9.7: the name that a mailbox has, where the client spelt it differently.
fn tell_name(core: &Core, mailbox: &MailboxName, attributes: &[&str], out: &mut BytesMut) {
    if let (true, Some(name), Some(old_name)) = (core.rev2, &mailbox.0, mailbox.old_name()) {
        list_line((name, Some(old_name)), attributes, core.names, out);
    }
}

fn bad_name() -> Next {
    Next::Done(Reply::no("CANNOT", "That cannot be the name of a mailbox"))
}

fn done(answer: Answer, text: &'static str) -> Next {
    match answer {
        Answer::Outcome(Outcome::Done | Outcome::MailboxCreated { .. }) => Next::Done(Reply::ok(text)),
        other => Next::Done(Reply::unexpected(Some(other))),
    }
}
