//! SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 3). A mailbox that may not be looked up is answered as
//! one that does not exist (RFC 4314 6).

use bytes::BytesMut;

use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{AclRequest, NameCoding};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::string::write_string;
use crate::session::imap::write;
use crate::state::command::{Command, SetAcl};
use crate::state::namespace::{self, Place};
use crate::state::outcome::Outcome;
use crate::state::record::MailboxRecord;

pub struct Acl {
    request: AclRequest,
    /// The mailbox as the client names it.
    name: String,
}

impl Acl {
    pub fn new(request: AclRequest) -> Self {
        Self { request, name: String::new() }
    }

    fn begin(&self, core: &Core) -> Next {
        let (mailbox, needs) = match &self.request {
            AclRequest::Set { mailbox, .. }
            | AclRequest::Get(mailbox)
            | AclRequest::ListRights { mailbox, .. } => (mailbox, Rights::ADMINISTER),
            AclRequest::MyRights(mailbox) => (mailbox, Rights::NONE),
        };
        match &mailbox.0 {
            Some(name) => Next::Ask(core.reach(name.clone(), needs)),
            None => Next::Done(Reply::no_such_mailbox()),
        }
    }

    fn reached(&mut self, record: MailboxRecord, core: &Core, out: &mut BytesMut) -> Next {
        match &self.request {
            AclRequest::Set { identifier, change, rights, .. } => {
                let (by, mailbox, identifier) = (core.account(), record.id, identifier.clone());
                let set = SetAcl { by, mailbox, identifier, change: *change, rights: *rights };
                Next::Ask(Question::Propose(Command::SetAcl(set)))
            }
            AclRequest::Get(_) => {
                self.name = record.name;
                Next::Ask(Question::Acl(record.id))
            }
            AclRequest::ListRights { identifier, .. } => {
                write_list_rights(&record, identifier, core, out);
                Next::Done(Reply::ok("These rights can be given"))
            }
            AclRequest::MyRights(_) if record.rights.has_any(Rights::ANY) => {
                write_my_rights(&record, core.names, out);
                Next::Done(Reply::ok("These are your rights"))
            }
            AclRequest::MyRights(_) => Next::Done(Reply::no_such_mailbox()),
        }
    }

    fn write_acl(&self, entries: &[(String, Rights)], names: NameCoding, out: &mut BytesMut) {
        out.extend_from_slice(b"* ACL ");
        write::mailbox_name(&self.name, names, out);
        for (identifier, rights) in entries {
            out.extend_from_slice(b" ");
            write_string(identifier.as_bytes(), out);
            out.extend_from_slice(format!(" {rights}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Task for Acl {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match answer {
            None => self.begin(core),
            Some(Answer::Mailbox(None)) => Next::Done(Reply::no_such_mailbox()),
            Some(Answer::Mailbox(Some(record))) => self.reached(record, core, io.out),
            Some(Answer::Acl(entries)) => {
                self.write_acl(&entries, core.names, io.out);
                Next::Done(Reply::ok("That is the list"))
            }
            Some(Answer::Outcome(Outcome::Done)) => Next::Done(Reply::ok("The list is changed")),
            other => Next::Done(Reply::unexpected(other)),
        }
    }
}

/// `* MYRIGHTS "user/bob/x" lr`.
pub fn write_my_rights(record: &MailboxRecord, names: NameCoding, out: &mut BytesMut) {
    out.extend_from_slice(b"* MYRIGHTS ");
    write::mailbox_name(&record.name, names, out);
    out.extend_from_slice(format!(" {}\r\n", record.rights).as_bytes());
}

/// RFC 4314 3.7: what the identifier always has, then what it can be given; no rights are tied together.
fn write_list_rights(record: &MailboxRecord, identifier: &str, core: &Core, out: &mut BytesMut) {
    let owner = match namespace::place(&record.name) {
        Place::Of { user, .. } => user,
        Place::Own(_) | Place::Level => core.login.as_ref().map_or("", |login| login.name()),
    };
    out.extend_from_slice(b"* LISTRIGHTS ");
    write::mailbox_name(&record.name, core.names, out);
    out.extend_from_slice(b" ");
    // RFC 4314 3.4: in the form in which the client gave it.
    write_string(identifier.as_bytes(), out);
    let all = Rights::ALL.to_string();
    let rights = match identifier.to_lowercase() == owner {
        true => format!(" {all}"),
        false => format!(" \"\"{}", all.chars().map(|right| format!(" {right}")).collect::<String>()),
    };
    out.extend_from_slice(rights.as_bytes());
    out.extend_from_slice(b"\r\n");
}
