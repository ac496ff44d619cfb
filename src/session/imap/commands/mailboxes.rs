//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7, RFC 6154 5.2).

use crate::mail::ids::MailboxId;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{MailboxName, is_creatable};
use crate::session::imap::object_id::mailbox_id;
use crate::session::imap::question::{Answer, Question};
use crate::state::command::{Command, SpecialUse};
use crate::state::outcome::Outcome;

pub struct Create {
    pub mailbox: MailboxName,
    pub special_use: Option<SpecialUse>,
}

impl Task for Create {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        match answer {
            None => {}
            Some(Answer::Outcome(Outcome::MailboxCreated { mailbox, .. })) => {
                let code = format!("MAILBOXID ({})", mailbox_id(mailbox));
                return Next::Done(Reply::ok("Created").with_code(code));
            }
            Some(answer) => return done(answer, "Created"),
        }
        let Some(name) = self.mailbox.0.take().filter(|name| is_creatable(name)) else {
            return bad_name();
        };
        let (account, special_use) = (core.account(), self.special_use);
        Next::Ask(Question::Propose(Command::CreateMailbox { account, name, special_use }))
    }
}

pub struct Delete {
    mailbox: MailboxName,
    id: Option<MailboxId>,
}

impl Delete {
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox, id: None }
    }
}

impl Task for Delete {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        let account = core.account();
        match (answer, &self.mailbox.0) {
            (_, None) => Next::Done(Reply::no_such_mailbox()),
            (None, Some(name)) => Next::Ask(Question::Mailbox(account, name.clone())),
            (Some(Answer::Mailbox(None)), _) => Next::Done(Reply::no_such_mailbox()),
            (Some(Answer::Mailbox(Some(record))), _) => {
                self.id = Some(record.id);
                Next::Ask(Question::Propose(Command::DeleteMailbox { account, name: record.name }))
            }
            (Some(answer), _) => {
                let deleted = matches!(&answer, Answer::Outcome(Outcome::Done));
                // One's own mailbox gone is no surprise: back to where nothing is selected.
                if deleted && core.selected.as_ref().is_some_and(|selected| Some(selected.mailbox) == self.id)
                {
                    core.selected = None;
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

impl Task for Rename {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        if let Some(answer) = answer {
            return done(answer, "Renamed");
        }
        let Some(from) = self.from.0.take() else { return Next::Done(Reply::no_such_mailbox()) };
        let Some(to) = self.to.0.take().filter(|name| is_creatable(name)) else { return bad_name() };
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

fn bad_name() -> Next {
    Next::Done(Reply::no("CANNOT", "That cannot be the name of a mailbox"))
}

fn done(answer: Answer, text: &'static str) -> Next {
    match answer {
        Answer::Outcome(Outcome::Done | Outcome::MailboxCreated { .. }) => Next::Done(Reply::ok(text)),
        other => Next::Done(Reply::unexpected(Some(other))),
    }
}
