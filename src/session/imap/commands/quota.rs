//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208, and so RFC 2087). Each user has one quota root, for all mailboxes.

use bytes::BytesMut;

use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{MailboxName, NameCoding};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::string::write_string;
use crate::session::imap::write;
use crate::state::apply::MAILBOXES_MAX;
use crate::state::namespace::{self, Place};
use crate::state::record::Quota;

/// As Dovecot calls it.
const ROOT: &[u8] = b"User quota";

pub struct GetQuota {
    pub root: Vec<u8>,
}

impl Task for GetQuota {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match answer {
            None if self.root != ROOT => Next::Done(Reply::no("NONEXISTENT", "There is no such quota root")),
            None => Next::Ask(Question::Quota(core.account())),
            Some(Answer::Quota(quota)) => {
                write_quota(&quota, io.out);
                Next::Done(Reply::ok("That is how much"))
            }
            answer => Next::Done(Reply::unexpected(answer)),
        }
    }
}

pub struct GetQuotaRoot(pub MailboxName);

impl Task for GetQuotaRoot {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (answer, &self.0.0) {
            // RFC 9208 8: what others use is theirs to know; in our answer their mailboxes have no root.
            (_, Some(mailbox)) if !matches!(namespace::place(mailbox), Place::Own(_)) => {
                write_root(mailbox, None, core.names, io.out);
                Next::Done(Reply::ok("It is counted for its owner"))
            }
            (_, None) => Next::Done(Reply::no("CANNOT", "That cannot be the name of a mailbox")),
            (None, Some(_)) => Next::Ask(Question::Quota(core.account())),
            (Some(Answer::Quota(quota)), Some(mailbox)) => {
                write_root(mailbox, Some(ROOT), core.names, io.out);
                write_quota(&quota, io.out);
                Next::Done(Reply::ok("That is how much"))
            }
            (answer, _) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

fn write_root(mailbox: &str, root: Option<&[u8]>, names: NameCoding, out: &mut BytesMut) {
    out.extend_from_slice(b"* QUOTAROOT ");
    write::mailbox_name(mailbox, names, out);
    if let Some(root) = root {
        out.extend_from_slice(b" ");
        write_string(root, out);
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
fn write_quota(quota: &Quota, out: &mut BytesMut) {
    out.extend_from_slice(b"* QUOTA ");
    write_string(ROOT, out);
    out.extend_from_slice(b" (");
    if let Some(bytes_max) = quota.bytes_max {
        let (used, max) = (kibibytes(quota.used_bytes), kibibytes(bytes_max));
        out.extend_from_slice(format!("STORAGE {used} {max} ").as_bytes());
    }
    out.extend_from_slice(format!("MAILBOX {} {MAILBOXES_MAX})\r\n", quota.mailboxes).as_bytes());
}

/// RFC 9208 5.1: units of 1024 octets. Both are rounded up, so that what is within the bound never looks beyond it.
fn kibibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}
