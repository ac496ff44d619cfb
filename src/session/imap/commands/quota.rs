//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208, and so RFC 2087). Each user has one quota root, for all mailboxes.

use bytes::BytesMut;

use crate::mail::ids::AccountId;
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{MailboxName, NameCoding};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::string::write_string;
use crate::session::imap::write;
use crate::state::apply::MAILBOXES_MAX;
use crate::state::namespace::{self, Place};
use crate::state::record::{MailboxRecord, Quota};

/// As Dovecot calls it.
const ROOT: &str = "User quota";

/// Another's is named as Dovecot names it, too.
fn others_root(user: &str) -> String {
    format!("{user}:{ROOT}")
}

fn owner_in(root: &[u8]) -> Option<&str> {
    std::str::from_utf8(root).ok()?.strip_suffix(ROOT)?.strip_suffix(':')
}

/// What is told of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// RFC 9208 6: to who may look a mailbox up and not read it, how many mailboxes there are.
    Mailboxes,
    All,
}

impl Told {
    /// By what others may do with a mailbox that counts for it.
    fn to(record: &MailboxRecord) -> Self {
        if record.rights.has(Rights::READ) { Self::All } else { Self::Mailboxes }
    }
}

enum Stage {
    Begin,
    /// Whose another's root is.
    Owner,
    /// What he shares.
    Visible(AccountId),
    /// The mailbox, another's.
    Mailbox,
    Quota(Told),
}

pub struct GetQuota {
    root: Vec<u8>,
    stage: Stage,
}

impl GetQuota {
    pub fn new(root: Vec<u8>) -> Self {
        Self { root, stage: Stage::Begin }
    }

    fn ask(&mut self, owner: AccountId, told: Told) -> Next {
        self.stage = Stage::Quota(told);
        Next::Ask(Question::Quota(owner))
    }
}

impl Task for GetQuota {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, None) if self.root == ROOT.as_bytes() => self.ask(core.account(), Told::All),
            (Stage::Begin, None) => match owner_in(&self.root) {
                Some(user) => {
                    self.stage = Stage::Owner;
                    Next::Ask(Question::Account(user.to_owned()))
                }
                None => no_such_root(),
            },
            (Stage::Owner, Some(Answer::Account(Some(owner)))) => {
                self.stage = Stage::Visible(owner);
                Next::Ask(Question::Visible(core.account()))
            }
            (Stage::Owner, Some(Answer::Account(None))) => no_such_root(),
            (Stage::Visible(owner), Some(Answer::Mailboxes(mailboxes))) if owner != core.account() => {
                match mailboxes.iter().filter(|record| record.account == owner).map(Told::to).max() {
                    Some(told) => self.ask(owner, told),
                    None => no_such_root(),
                }
            }
            (Stage::Visible(_), Some(Answer::Mailboxes(_))) => no_such_root(),
            (Stage::Quota(told), Some(Answer::Quota(quota))) => {
                write_quota(&self.root, (&quota, told), io.out);
                Next::Done(Reply::ok("That is how much"))
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

fn no_such_root() -> Next {
    Next::Done(Reply::no("NONEXISTENT", "There is no such quota root"))
}

pub struct GetQuotaRoot {
    mailbox: MailboxName,
    root: String,
    stage: Stage,
}

impl GetQuotaRoot {
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox, root: ROOT.to_owned(), stage: Stage::Begin }
    }

    fn begin(&mut self, core: &Core, out: &mut BytesMut) -> Next {
        let Some(mailbox) = &self.mailbox.0 else {
            return Next::Done(Reply::no("CANNOT", "That cannot be the name of a mailbox"));
        };
        match namespace::place(mailbox) {
            Place::Own(_) => self.ask(core.account(), Told::All),
            Place::Level => {
                write_root(mailbox, None, core.names, out);
                Next::Done(Reply::ok("There is nothing that counts"))
            }
            Place::Of { user, .. } => {
                self.root = others_root(user);
                self.stage = Stage::Mailbox;
                Next::Ask(core.reach(mailbox.clone(), Rights::LOOKUP))
            }
        }
    }

    fn ask(&mut self, owner: AccountId, told: Told) -> Next {
        self.stage = Stage::Quota(told);
        Next::Ask(Question::Quota(owner))
    }
}

impl Task for GetQuotaRoot {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, None) => self.begin(core, io.out),
            (Stage::Mailbox, Some(Answer::Mailbox(None))) => Next::Done(Reply::no_such_mailbox()),
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) => {
                if record.account == core.account() {
                    ROOT.clone_into(&mut self.root);
                }
                self.ask(record.account, Told::to(&record))
            }
            (Stage::Quota(told), Some(Answer::Quota(quota))) => {
                let mailbox = self.mailbox.0.as_deref().unwrap_or_default();
                write_root(mailbox, Some(&self.root), core.names, io.out);
                write_quota(self.root.as_bytes(), (&quota, told), io.out);
                Next::Done(Reply::ok("That is how much"))
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

fn write_root(mailbox: &str, root: Option<&str>, names: NameCoding, out: &mut BytesMut) {
    out.extend_from_slice(b"* QUOTAROOT ");
    write::mailbox_name(mailbox, names, out);
    if let Some(root) = root {
        out.extend_from_slice(b" ");
        write_string(root.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 9208 4.1.3 goes with QUOTASET, which is not announced.
pub struct SetQuota;

impl Task for SetQuota {
    fn step(&mut self, _core: &mut Core, _answer: Option<Answer>, _io: &mut Io) -> Next {
        Next::Done(Reply::no("NOPERM", "Quotas are set by the administrator"))
    }
}

/// RFC 9208 4.2.1: only what is limited is named.
fn write_quota(root: &[u8], (quota, told): (&Quota, Told), out: &mut BytesMut) {
    out.extend_from_slice(b"* QUOTA ");
    write_string(root, out);
    out.extend_from_slice(b" (");
    if let Some(bytes_max) = quota.bytes_max.filter(|_| told == Told::All) {
        let (used, max) = (kibibytes(quota.used_bytes), kibibytes(bytes_max));
        out.extend_from_slice(format!("STORAGE {used} {max} ").as_bytes());
    }
    out.extend_from_slice(format!("MAILBOX {} {MAILBOXES_MAX})\r\n", quota.mailboxes).as_bytes());
}

/// RFC 9208 5.1: units of 1024 octets. Both are rounded up, so that what is within the bound never looks beyond it.
fn kibibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}
