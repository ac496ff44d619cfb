//! The commands: one file for each, or for a small family. Each is a [`Task`]: it asks, hears, writes, ends.

mod acl;
mod any_time;
mod append;
mod copy;
mod expunge;
mod fetch;
mod idle;
mod list;
mod login;
mod mailboxes;
mod message_limit;
mod message_line;
mod message_parts;
mod metadata;
mod notify;
mod portions;
mod quota;
mod search;
mod select;
mod status;
mod store;

pub use fetch::Fetch;
pub use list::{Names, list_line, superiors, write_listed};
pub use message_limit::Cut;
pub use metadata::too_large_reply as metadata_too_large;
pub use search::Found;
pub use search::answer::write_runs;

use super::core::{Core, Io, Next, Reply, Task};
use super::grammar::{Charset, NameCoding, Request, StatusItem};
use super::question::Answer;
use super::reader::AppendText;
use super::search::{asks_recent, names_numbers};
use super::selected::Expunges;
use crate::mail::rights::Rights;
use crate::state::outcome::Refusal;

/// A command that is about to run.
pub struct Command {
    pub task: Box<dyn Task>,
    pub expunges: Expunges,
    pub uid: bool,
}

/// APPEND or REPLACE, of which this is the beginning.
pub fn append(text: AppendText, names: NameCoding) -> Command {
    let task = append::Append::new(text, names);
    let expunges = if task.replaces() { Expunges::Asked } else { Expunges::Tell };
    Command { expunges, uid: task.is_uid_command(), task: Box::new(task) }
}

/// Makes the task that does what is asked, or says why it cannot be done in the session's state.
pub fn begin(request: Request, core: &Core) -> Command {
    // RFC 3501 7.4.1: no EXPUNGE while FETCH, STORE or SEARCH is answered; the UID forms may. RFC 7162 3.2.10.2: but
    // not where they name message numbers all the same.
    let tell_if = |may| if may { Expunges::Tell } else { Expunges::KeepBack };
    let (uid, expunges) = match &request {
        Request::Fetch { uid, .. } | Request::Store { uid, .. } => (*uid, tell_if(*uid)),
        // RFC 5256 3: SORT and THREAD are as SEARCH.
        Request::Search { uid, search } | Request::Sort { uid, search, .. } => {
            (*uid, tell_if(*uid && !names_numbers(&search.key)))
        }
        Request::Thread { uid, key, .. } => (*uid, tell_if(*uid && !names_numbers(key))),
        Request::UidExpunge(_) => (true, Expunges::Asked),
        Request::Expunge => (false, Expunges::Asked),
        Request::Move { uid, .. } => (*uid, Expunges::Asked),
        Request::Copy { uid, .. } => (*uid, Expunges::Tell),
        _ => (false, Expunges::Tell),
    };
    let refused = out_of_place(&request, core)
        .or_else(|| not_in_rev2(&request, core))
        .or_else(|| conflicting_charset(&request, core))
        .or_else(|| not_by_uid(&request, core));
    let task = match refused {
        Some(reply) => Box::new(Refused(Some(reply))),
        None => task(request),
    };
    Command { task, expunges, uid }
}

fn out_of_place(request: &Request, core: &Core) -> Option<Reply> {
    use Request::*;
    match request {
        Capability | Noop | Logout | Id => None,
        StartTls | Authenticate { .. } | Login { .. } => {
            core.login.is_some().then(|| Reply::bad("You are logged in already"))
        }
        Enable(_)
        | Compress(_)
        | Namespace
        | Select { .. }
        | Create { .. }
        | Delete(_)
        | Rename { .. }
        | Subscribe { .. }
        | List(_)
        | Lsub { .. }
        | Status { .. }
        | Acl(_)
        | GetQuota(_)
        | GetQuotaRoot(_)
        | SetQuota
        | GetMetadata(_)
        | SetMetadata(_)
        | Idle
        | Notify(_) => core.login.is_none().then(|| Reply::bad("Log in first")),
        Check
        | Close
        | Unselect
        | Expunge
        | UidExpunge(_)
        | Search { .. }
        | Sort { .. }
        | Thread { .. }
        | CancelUpdate(_)
        | Fetch { .. }
        | Store { .. }
        | Copy { .. }
        | Move { .. } => match (&core.login, &core.selected) {
            (None, _) => Some(Reply::bad("Log in first")),
            (Some(_), None) => Some(Reply::bad("Select a mailbox first")),
            // Its rights may have been withdrawn since it was selected; it can still be let go.
            (Some(_), Some(selected))
                if !matches!(request, Close | Unselect) && !selected.may(Rights::READ) =>
            {
                Some(Reply::refusal(&Refusal::NotPermitted))
            }
            (Some(_), Some(_)) => None,
        },
    }
}

/// RFC 9051 E: what speaks of \Recent is no part of IMAP4rev2.
fn not_in_rev2(request: &Request, core: &Core) -> Option<Reply> {
    let recent = match request {
        Request::Search { search, .. } | Request::Sort { search, .. } => asks_recent(&search.key),
        Request::Thread { key, .. } => asks_recent(key),
        Request::Status { items, .. } => items.contains(&StatusItem::Recent),
        Request::List(list) => list.status.contains(&StatusItem::Recent),
        _ => false,
    };
    (core.rev2 && recent).then(|| Reply::bad("IMAP4rev2 knows no recent messages"))
}

/// RFC 9755 3: strings are UTF-8 then, which a charset can only say again, or deny.
fn conflicting_charset(request: &Request, core: &Core) -> Option<Reply> {
    let conflicts = match request {
        Request::Search { search, .. } => search.charset.is_some(),
        // RFC 6855, erratum 4029: these have to name one.
        Request::Sort { search, .. } => search.charset == Some(Charset::UsAscii),
        Request::Thread { charset, .. } => *charset == Charset::UsAscii,
        _ => false,
    };
    (core.utf8_accept && conflicts).then(|| Reply::bad("Strings are in UTF-8 already"))
}

/// RFC 9586 3: whatever names a message by its number.
fn not_by_uid(request: &Request, core: &Core) -> Option<Reply> {
    let by_number = match request {
        Request::Fetch { uid, .. }
        | Request::Store { uid, .. }
        | Request::Copy { uid, .. }
        | Request::Move { uid, .. } => !uid,
        Request::Search { uid, search } | Request::Sort { uid, search, .. } => {
            !uid || names_numbers(&search.key)
        }
        Request::Thread { uid, key, .. } => !uid || names_numbers(key),
        Request::Select { qresync: Some(resync), .. } => resync.matching.is_some(),
        _ => false,
    };
    (core.uid_only && by_number).then(Reply::uid_required)
}

fn task(request: Request) -> Box<dyn Task> {
    match request {
        Request::Capability => Box::new(any_time::Capability),
        Request::Noop => Box::new(any_time::Nothing("Nothing done")),
        Request::Check => Box::new(any_time::Nothing("Checked")),
        Request::Logout => Box::new(any_time::Logout),
        Request::Id => Box::new(any_time::Id),
        Request::Enable(names) => Box::new(any_time::Enable(names)),
        Request::Compress(algorithm) => Box::new(any_time::Compress(algorithm)),
        Request::Namespace => Box::new(any_time::Namespace),
        Request::StartTls => Box::new(login::StartTls),
        Request::Authenticate { mechanism, initial } => {
            Box::new(login::Authenticate::new(mechanism, initial))
        }
        Request::Login { name, password } => Box::new(login::Login { name, password }),
        Request::Select { mailbox, read_only, condstore, qresync } => {
            Box::new(select::Select::new(mailbox, read_only, (condstore, qresync)))
        }
        Request::Create { mailbox, special_use } => Box::new(mailboxes::Create::new(mailbox, special_use)),
        Request::Delete(mailbox) => Box::new(mailboxes::Delete::new(mailbox)),
        Request::Rename { from, to } => Box::new(mailboxes::Rename::new(from, to)),
        Request::Subscribe { mailbox, subscribed } => Box::new(mailboxes::Subscribe { mailbox, subscribed }),
        Request::List(list) => Box::new(list::List::new(list)),
        Request::Lsub { reference, pattern } => Box::new(list::Lsub { reference, pattern }),
        Request::Status { mailbox, items } => Box::new(status::Status::new(mailbox, items)),
        Request::Acl(request) => Box::new(acl::Acl::new(request)),
        Request::GetQuota(root) => Box::new(quota::GetQuota::new(root)),
        Request::GetQuotaRoot(mailbox) => Box::new(quota::GetQuotaRoot::new(mailbox)),
        Request::SetQuota => Box::new(quota::SetQuota),
        Request::GetMetadata(request) => Box::new(metadata::GetMetadata::new(request)),
        Request::SetMetadata(request) => Box::new(metadata::SetMetadata(request)),
        Request::Idle => Box::new(idle::Idle::default()),
        Request::Notify(request) => Box::new(notify::Notify::new(request)),
        Request::Close => Box::new(expunge::Close::default()),
        Request::Unselect => Box::new(expunge::Unselect),
        Request::Expunge => Box::new(expunge::Expunge::new(None)),
        Request::UidExpunge(set) => Box::new(expunge::Expunge::new(Some(set))),
        Request::Search { uid, search } => Box::new(search::Search::new(uid, search)),
        Request::Sort { uid, criteria, search } => Box::new(search::Sort::new(uid, criteria, search)),
        Request::Thread { uid, algorithm, key, .. } => Box::new(search::Thread::new(uid, algorithm, key)),
        Request::CancelUpdate(tags) => Box::new(search::CancelUpdate(tags)),
        Request::Fetch { uid, fetch } => Box::new(fetch::Fetch::new(uid, fetch).limited()),
        Request::Store { uid, store } => Box::new(store::Store::new(uid, store)),
        Request::Copy { uid, set, mailbox } => {
            Box::new(copy::Copy::new((uid, set), mailbox, copy::Kind::Copy))
        }
        Request::Move { uid, set, mailbox } => {
            Box::new(copy::Copy::new((uid, set), mailbox, copy::Kind::Move))
        }
    }
}

/// A command that ends before it begins.
struct Refused(Option<Reply>);

impl Task for Refused {
    fn step(&mut self, _core: &mut Core, _answer: Option<Answer>, _io: &mut Io) -> Next {
        Next::Done(self.0.take().unwrap_or_else(|| Reply::bad("Refused")))
    }
}

/// A message set with a number beyond the last message (RFC 9051 9: BAD).
fn no_such_message() -> Next {
    Next::Done(Reply::bad("The message set names a message that is not there"))
}

fn no_right() -> Next {
    Next::Done(Reply::refusal(&Refusal::NotPermitted))
}

fn read_only() -> Next {
    Next::Done(Reply::no("READ-ONLY", "The mailbox is opened for reading only"))
}

/// Messages that cannot be read before a FETCH or SEARCH gives up.
const FAULTS_PER_COMMAND_MAX: u32 = 16;
