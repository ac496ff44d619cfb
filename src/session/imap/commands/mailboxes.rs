//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7, RFC 9051 6.3.9.7, RFC 6154 5.2).

use bytes::BytesMut;

use super::list::list_line;
use super::no_right;
use crate::mail::ids::AccountId;
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{MailboxName, is_creatable};
use crate::session::imap::notify::listed_name;
use crate::session::imap::object_id::mailbox_id;
use crate::session::imap::question::{Answer, Question};
use crate::session::login::Authenticated;
use crate::state::command::{Command, SpecialUse};
use crate::state::namespace::{self, Place};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::record::MailboxRecord;

pub struct Create {
    mailbox: MailboxName,
    special_use: Option<SpecialUse>,
}

impl Create {
    pub fn new(mailbox: MailboxName, special_use: Option<SpecialUse>) -> Self {
        Self { mailbox, special_use }
    }
}

impl Task for Create {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        let Some((user, name)) = creatable(&self.mailbox) else { return bad_name() };
        let account = match (answer, user) {
            (None, None) => core.account(),
            (None, Some(user)) => return Next::Ask(Question::Account(user.to_owned())),
            (Some(Answer::Account(Some(owner))), _) => owner,
            // As where there is such a user, and no right.
            (Some(Answer::Account(None)), _) => return no_right(),
            (Some(Answer::Outcome(Outcome::MailboxCreated { mailbox, .. })), _) => {
                own_doing(core, &self.mailbox);
                tell_name(core, &self.mailbox, &[], io.out);
                let code = format!("MAILBOXID ({})", mailbox_id(mailbox));
                return Next::Done(Reply::ok("Created").with_code(code));
            }
            (Some(answer), _) => return done(answer, "Created"),
        };
        let (name, special_use) = (name.to_owned(), self.special_use);
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
        match (answer, &self.mailbox.0) {
            (_, None) => Next::Done(Reply::no_such_mailbox()),
            (None, Some(name)) => Next::Ask(core.reach(name.clone(), Rights::DELETE_MAILBOX)),
            (Some(Answer::Mailbox(None)), _) => Next::Done(Reply::no_such_mailbox()),
            (Some(Answer::Mailbox(Some(record))), _) => {
                let (account, name) = (record.account, owners_name(&record, core));
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
                    own_doing(core, &self.mailbox);
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
    from: MailboxName,
    to: MailboxName,
    /// What `from` names, and what its owner calls it.
    reached: Option<(AccountId, String)>,
}

impl Rename {
    pub fn new(from: MailboxName, to: MailboxName) -> Self {
        Self { from, to, reached: None }
    }

    fn rename(&mut self, owner_of_target: AccountId, to: String) -> Next {
        match self.reached.take() {
            Some((account, from)) if account == owner_of_target => {
                Next::Ask(Question::Propose(Command::RenameMailbox { account, from, to }))
            }
            _ => Next::Done(Reply::no("CANNOT", "A mailbox stays with its owner")),
        }
    }

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
        let Some(from) = &self.from.0 else { return Next::Done(Reply::no_such_mailbox()) };
        let Some((user, to)) = creatable(&self.to) else { return bad_name() };
        let to = to.to_owned();
        match (answer, user) {
            (None, _) => Next::Ask(core.reach(from.clone(), Rights::DELETE_MAILBOX)),
            (Some(Answer::Mailbox(None)), _) => Next::Done(Reply::no_such_mailbox()),
            (Some(Answer::Mailbox(Some(record))), user) => {
                self.reached = Some((record.account, owners_name(&record, core)));
                match user {
                    None => self.rename(core.account(), to),
                    Some(user) => Next::Ask(Question::Account(user.to_owned())),
                }
            }
            (Some(Answer::Account(Some(owner))), _) => self.rename(owner, to),
            (Some(Answer::Account(None)), _) => no_right(),
            (Some(answer), _) => {
                if matches!(&answer, Answer::Outcome(Outcome::Done)) {
                    own_doing(core, &self.to);
                    self.tell_name(core, io.out);
                }
                done(answer, "Renamed")
            }
        }
    }
}

/// A name that a mailbox can have: the user whose it would be, where that is said, and what he would call it.
fn creatable(mailbox: &MailboxName) -> Option<(Option<&str>, &str)> {
    let (user, name) = match namespace::place(mailbox.0.as_deref()?) {
        Place::Own(name) => (None, name),
        Place::Of { user, name } => (Some(user), name),
        Place::Level => return None,
    };
    let reachable = matches!(namespace::place(name), Place::Own(_));
    (reachable && is_creatable(name)).then_some((user, name))
}

/// What the owner of the mailbox calls it.
fn owners_name(record: &MailboxRecord, core: &Core) -> String {
    match namespace::place(&record.name) {
        Place::Of { name, .. } if record.account != core.account() => name.to_owned(),
        _ => record.name.clone(),
    }
}

pub struct Subscribe {
    pub mailbox: MailboxName,
    pub subscribed: bool,
}

impl Task for Subscribe {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        if let Some(answer) = answer {
            if matches!(&answer, Answer::Outcome(Outcome::Done)) {
                own_doing(core, &self.mailbox);
            }
            return done(answer, if self.subscribed { "Subscribed" } else { "Unsubscribed" });
        }
        let Some(name) = self.mailbox.0.clone() else { return bad_name() };
        let subscribed = self.subscribed;
        Next::Ask(Question::Propose(Command::Subscribe { account: core.account(), name, subscribed }))
    }
}

/// RFC 5465 5: a session is not told of what it does itself.
fn own_doing(core: &mut Core, mailbox: &MailboxName) {
    let user = core.login.as_ref().map_or("", Authenticated::name);
    core.own.names.extend(mailbox.0.as_deref().map(|name| listed_name(name, user).to_owned()));
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
