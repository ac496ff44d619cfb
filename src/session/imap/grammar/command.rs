//! One whole command: its tag, its name and what it asks.

use super::acl::{AclRequest, acl};
use super::cursor::{Cursor, Parsed, Syntax};
use super::fetch::{FetchRequest, fetch};
use super::mailbox_name::{MailboxName, NameCoding, pattern};
use super::metadata::{GetMetadata, SetMetadata, entries, get_metadata, set_metadata};
use super::notify::{NotifyRequest, notify};
use super::quota::{get_quota, get_quota_root, set_quota};
use super::search::{Charset, SearchRequest, search, sort, thread};
use super::select::{Resync, select};
use super::store::{StoreRequest, store};
use crate::session::imap::arrange::{Algorithm, Criterion};
use crate::session::imap::limits::{CANCELLED_TAGS_MAX, ID_PAIRS_MAX, LIST_OPTIONS_MAX, LIST_PATTERNS_MAX};
use crate::session::imap::search::SearchKey;
use crate::session::imap::sequence_set::SequenceSet;
use crate::state::command::SpecialUse;

/// What a client asks. APPEND is not here: see [`super::append_head`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Capability,
    /// The algorithm, in capitals.
    Compress(String),
    Noop,
    Logout,
    StartTls,
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    Login {
        name: Vec<u8>,
        password: Vec<u8>,
    },
    Id,
    Enable(Vec<String>),
    Namespace,
    Select {
        mailbox: MailboxName,
        read_only: bool,
        condstore: bool,
        qresync: Option<Resync>,
    },
    Create {
        mailbox: MailboxName,
        special_use: Option<SpecialUse>,
    },
    Delete(MailboxName),
    Rename {
        from: MailboxName,
        to: MailboxName,
    },
    Subscribe {
        mailbox: MailboxName,
        subscribed: bool,
    },
    List(ListRequest),
    Lsub {
        reference: String,
        pattern: String,
    },
    Status {
        mailbox: MailboxName,
        items: Vec<StatusItem>,
    },
    Acl(AclRequest),
    /// The quota root, as the client wrote it.
    GetQuota(Vec<u8>),
    GetQuotaRoot(MailboxName),
    SetQuota,
    GetMetadata(GetMetadata),
    SetMetadata(SetMetadata),
    Idle,
    Notify(NotifyRequest),
    Check,
    Close,
    Unselect,
    Expunge,
    UidExpunge(SequenceSet),
    Search {
        uid: bool,
        search: SearchRequest,
    },
    Sort {
        uid: bool,
        criteria: Vec<Criterion>,
        search: SearchRequest,
    },
    Thread {
        uid: bool,
        algorithm: Algorithm,
        charset: Charset,
        key: SearchKey,
    },
    /// Tags.
    CancelUpdate(Vec<String>),
    Fetch {
        uid: bool,
        fetch: FetchRequest,
    },
    Store {
        uid: bool,
        store: StoreRequest,
    },
    Copy {
        uid: bool,
        set: SequenceSet,
        mailbox: MailboxName,
    },
    Move {
        uid: bool,
        set: SequenceSet,
        mailbox: MailboxName,
    },
}

/// LIST, plain or extended (RFC 5258).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListRequest {
    /// True for anything that RFC 3501 does not know.
    pub extended: bool,
    /// UTF-8.
    pub reference: String,
    /// UTF-8.
    pub patterns: Vec<String>,
    /// `(SPECIAL-USE)` before the reference: only mailboxes with a special use.
    pub select_special_use: bool,
    /// `(SUBSCRIBED)` before the reference: only subscribed names.
    pub select_subscribed: bool,
    /// `RECURSIVEMATCH` with one of them: and the names above those that are selected.
    pub recursive_match: bool,
    /// `RETURN (SUBSCRIBED)`.
    pub return_subscribed: bool,
    /// `RETURN (MYRIGHTS)` (RFC 8440).
    pub return_my_rights: bool,
    /// `RETURN (STATUS (…))` (RFC 5819).
    pub status: Vec<StatusItem>,
    /// `RETURN (METADATA (…))` (RFC 9590): names of entries.
    pub metadata: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    HighestModSeq,
    /// RFC 8438: octets of all messages.
    Size,
    /// RFC 8474.
    MailboxId,
    /// RFC 7889.
    AppendLimit,
    /// RFC 9208 4.1.4.
    Deleted,
    /// Octets.
    DeletedStorage,
}

/// The tag at the front, if there is one.
pub fn tag_of(command: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(command);
    let tag = cursor.tag().ok()?;
    cursor.space().ok()?;
    Some(String::from_utf8_lossy(tag).into_owned())
}

/// The name behind the tag, in capitals.
pub fn name_of(command: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(command);
    cursor.tag().ok()?;
    cursor.space().ok()?;
    cursor.word().ok()
}

/// Reads a command behind its tag; `names` says how it gives mailbox names.
pub fn parse(command: &[u8], names: NameCoding) -> Parsed<Request> {
    let mut cursor = Cursor::with_names(command, names);
    cursor.tag()?;
    cursor.space()?;
    let name = cursor.word()?;
    if name != "UID" {
        return request(&name, &mut cursor);
    }
    cursor.space()?;
    let name = cursor.word()?;
    match name.as_str() {
        "SEARCH" | "SORT" | "THREAD" | "FETCH" | "STORE" | "COPY" | "MOVE" => {
            on_messages(&name, true, &mut cursor)
        }
        "EXPUNGE" => {
            cursor.space()?;
            let set = cursor.sequence_set()?;
            cursor.end()?;
            Ok(Request::UidExpunge(set))
        }
        _ => Err(Syntax::UnknownCommand),
    }
}

fn request(name: &str, cursor: &mut Cursor) -> Parsed<Request> {
    if let Some(request) = without_arguments(name) {
        cursor.end()?;
        return Ok(request);
    }
    match name {
        "SEARCH" | "SORT" | "THREAD" | "FETCH" | "STORE" | "COPY" | "MOVE" => {
            return on_messages(name, false, cursor);
        }
        "AUTHENTICATE" | "COMPRESS" | "LOGIN" | "ID" | "ENABLE" | "SELECT" | "EXAMINE" | "CREATE"
        | "DELETE" | "CANCELUPDATE" | "NOTIFY" | "RENAME" | "SUBSCRIBE" | "UNSUBSCRIBE" | "LIST" | "LSUB"
        | "STATUS" | "SETACL" | "DELETEACL" | "GETACL" | "LISTRIGHTS" | "MYRIGHTS" | "GETQUOTA"
        | "GETQUOTAROOT" | "SETQUOTA" | "GETMETADATA" | "SETMETADATA" => cursor.space()?,
        _ => return Err(Syntax::UnknownCommand),
    }
    let request = match name {
        "AUTHENTICATE" => authenticate(cursor)?,
        "COMPRESS" => Request::Compress(cursor.word()?),
        "LOGIN" => login(cursor)?,
        "ID" => id(cursor)?,
        "ENABLE" => enable(cursor)?,
        "SELECT" => select(cursor, false)?,
        "EXAMINE" => select(cursor, true)?,
        "CREATE" => create(cursor)?,
        "DELETE" => Request::Delete(MailboxName::read(cursor)?),
        "RENAME" => {
            let from = MailboxName::read(cursor)?;
            cursor.space()?;
            Request::Rename { from, to: MailboxName::read(cursor)? }
        }
        "SUBSCRIBE" => Request::Subscribe { mailbox: MailboxName::read(cursor)?, subscribed: true },
        "UNSUBSCRIBE" => Request::Subscribe { mailbox: MailboxName::read(cursor)?, subscribed: false },
        "LIST" => Request::List(list(cursor)?),
        "LSUB" => {
            let reference = reference(cursor)?;
            cursor.space()?;
            Request::Lsub { reference, pattern: list_pattern(cursor)? }
        }
        "STATUS" => status(cursor)?,
        "GETQUOTA" => get_quota(cursor)?,
        "GETQUOTAROOT" => get_quota_root(cursor)?,
        "SETQUOTA" => set_quota(cursor)?,
        "GETMETADATA" => get_metadata(cursor)?,
        "SETMETADATA" => set_metadata(cursor)?,
        "CANCELUPDATE" => cancel_update(cursor)?,
        "SETACL" | "DELETEACL" | "GETACL" | "LISTRIGHTS" | "MYRIGHTS" => Request::Acl(acl(name, cursor)?),
        "NOTIFY" => Request::Notify(notify(cursor)?),
        _ => return Err(Syntax::UnknownCommand),
    };
    cursor.end()?;
    Ok(request)
}

fn without_arguments(name: &str) -> Option<Request> {
    Some(match name {
        "CAPABILITY" => Request::Capability,
        "NOOP" => Request::Noop,
        "LOGOUT" => Request::Logout,
        "STARTTLS" => Request::StartTls,
        "NAMESPACE" => Request::Namespace,
        "IDLE" => Request::Idle,
        "CHECK" => Request::Check,
        "CLOSE" => Request::Close,
        "UNSELECT" => Request::Unselect,
        "EXPUNGE" => Request::Expunge,
        _ => return None,
    })
}

fn on_messages(name: &str, uid: bool, cursor: &mut Cursor) -> Parsed<Request> {
    cursor.space()?;
    match name {
        "SEARCH" => Ok(Request::Search { uid, search: search(cursor)? }),
        "SORT" => sort(cursor).map(|(criteria, search)| Request::Sort { uid, criteria, search }),
        "THREAD" => {
            let (algorithm, charset, key) = thread(cursor)?;
            Ok(Request::Thread { uid, algorithm, charset, key })
        }
        "FETCH" => Ok(Request::Fetch { uid, fetch: fetch(cursor)? }),
        "STORE" => Ok(Request::Store { uid, store: store(cursor)? }),
        _ => {
            let set = cursor.sequence_set()?;
            cursor.space()?;
            let mailbox = MailboxName::read(cursor)?;
            cursor.end()?;
            let copy = name == "COPY";
            Ok(if copy { Request::Copy { uid, set, mailbox } } else { Request::Move { uid, set, mailbox } })
        }
    }
}

/// RFC 5267 6: quoted tags, at least one.
fn cancel_update(cursor: &mut Cursor) -> Parsed<Request> {
    let mut tags = Vec::new();
    loop {
        if tags.len() == CANCELLED_TAGS_MAX {
            return Err(Syntax::Malformed("there are too many tags"));
        }
        tags.push(String::from_utf8_lossy(&cursor.string()?).into_owned());
        if !cursor.take(b' ') {
            return Ok(Request::CancelUpdate(tags));
        }
    }
}

fn reference(cursor: &mut Cursor) -> Parsed<String> {
    Ok(pattern(&cursor.astring()?, cursor.names()))
}

fn list_pattern(cursor: &mut Cursor) -> Parsed<String> {
    Ok(pattern(&cursor.list_mailbox()?, cursor.names()))
}

fn authenticate(cursor: &mut Cursor) -> Parsed<Request> {
    let mechanism = cursor.word()?;
    // RFC 4959 3: `=` is an empty initial response.
    let initial = if cursor.take(b' ') {
        let response = cursor.atom()?;
        Some(if response == b"=" { Vec::new() } else { response.to_vec() })
    } else {
        None
    };
    Ok(Request::Authenticate { mechanism, initial })
}

fn login(cursor: &mut Cursor) -> Parsed<Request> {
    let name = cursor.astring()?.into_owned();
    cursor.space()?;
    Ok(Request::Login { name, password: cursor.astring()?.into_owned() })
}

fn id(cursor: &mut Cursor) -> Parsed<Request> {
    if !cursor.take_word("NIL") {
        cursor.list(ID_PAIRS_MAX, |cursor| {
            cursor.string()?;
            cursor.space()?;
            cursor.nstring()
        })?;
    }
    Ok(Request::Id)
}

fn enable(cursor: &mut Cursor) -> Parsed<Request> {
    let mut names = vec![cursor.word()?];
    while cursor.take(b' ') {
        names.push(cursor.word()?);
    }
    Ok(Request::Enable(names))
}

/// RFC 3501 6.3.3: a separator at the end says that inferiors will follow; we need no such word.
/// RFC 6154 5.2: `(USE (\Sent))`.
fn create(cursor: &mut Cursor) -> Parsed<Request> {
    let wire = cursor.astring()?;
    let mailbox = MailboxName::from_wire(wire.strip_suffix(b"/").unwrap_or(&wire), cursor.names());
    let mut special_use = None;
    if cursor.take(b' ') {
        cursor.expect(b'(', "an opening parenthesis is missing")?;
        if !cursor.take_word("USE") {
            return Err(Syntax::Malformed("the CREATE parameter is not known"));
        }
        cursor.space()?;
        let uses = cursor.list(8, |cursor| Ok(special_use_named(cursor.flag()?)))?;
        cursor.close()?;
        special_use = match uses.as_slice() {
            [] => None,
            [Some(one)] => Some(*one),
            _ => return Err(Syntax::BadUse),
        };
    }
    Ok(Request::Create { mailbox, special_use })
}

fn special_use_named(name: &[u8]) -> Option<SpecialUse> {
    let name = name.to_ascii_lowercase();
    Some(match name.as_slice() {
        b"\\archive" => SpecialUse::Archive,
        b"\\drafts" => SpecialUse::Drafts,
        b"\\junk" => SpecialUse::Junk,
        b"\\sent" => SpecialUse::Sent,
        b"\\trash" => SpecialUse::Trash,
        _ => return None,
    })
}

fn list(cursor: &mut Cursor) -> Parsed<ListRequest> {
    let mut list = ListRequest::default();
    if cursor.peek() == Some(b'(') {
        select_options(cursor, &mut list)?;
        cursor.space()?;
    }
    list.reference = reference(cursor)?;
    cursor.space()?;
    list.patterns = if cursor.peek() == Some(b'(') {
        list.extended = true;
        cursor.list(LIST_PATTERNS_MAX, list_pattern)?
    } else {
        vec![list_pattern(cursor)?]
    };
    if cursor.take(b' ') {
        if !cursor.take_word("RETURN") {
            return Err(Syntax::Malformed("RETURN is missing"));
        }
        cursor.space()?;
        return_options(cursor, &mut list)?;
    }
    Ok(list)
}

fn select_options(cursor: &mut Cursor, list: &mut ListRequest) -> Parsed<()> {
    list.extended = true;
    for option in cursor.list(LIST_OPTIONS_MAX, Cursor::word)? {
        match option.as_str() {
            "SPECIAL-USE" => list.select_special_use = true,
            "SUBSCRIBED" => list.select_subscribed = true,
            "RECURSIVEMATCH" => list.recursive_match = true,
            "REMOTE" => {}
            _ => return Err(Syntax::Malformed("the LIST selection option is not known")),
        }
    }
    // RFC 5258 3.1: it says how another option is to be taken.
    if list.recursive_match && !list.select_special_use && !list.select_subscribed {
        return Err(Syntax::Malformed("RECURSIVEMATCH needs another selection option"));
    }
    Ok(())
}

fn return_options(cursor: &mut Cursor, list: &mut ListRequest) -> Parsed<()> {
    list.extended = true;
    cursor.list(LIST_OPTIONS_MAX, |cursor| {
        match cursor.word()?.as_str() {
            "SUBSCRIBED" => list.return_subscribed = true,
            "MYRIGHTS" => list.return_my_rights = true,
            // These attributes are always returned.
            "CHILDREN" | "SPECIAL-USE" => {}
            "STATUS" => {
                cursor.space()?;
                list.status = status_items(cursor)?;
            }
            "METADATA" => {
                cursor.space()?;
                list.metadata = entries(cursor)?;
            }
            _ => return Err(Syntax::Malformed("the LIST return option is not known")),
        }
        Ok(())
    })?;
    Ok(())
}

fn status(cursor: &mut Cursor) -> Parsed<Request> {
    let mailbox = MailboxName::read(cursor)?;
    cursor.space()?;
    Ok(Request::Status { mailbox, items: status_items(cursor)? })
}

fn status_items(cursor: &mut Cursor) -> Parsed<Vec<StatusItem>> {
    let items = cursor.list(12, |cursor| {
        Ok(match cursor.word()?.as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            "SIZE" => StatusItem::Size,
            "MAILBOXID" => StatusItem::MailboxId,
            "APPENDLIMIT" => StatusItem::AppendLimit,
            "DELETED" => StatusItem::Deleted,
            "DELETED-STORAGE" => StatusItem::DeletedStorage,
            _ => return Err(Syntax::Malformed("the STATUS item is not known")),
        })
    })?;
    if items.is_empty() {
        return Err(Syntax::Malformed("STATUS asks for nothing"));
    }
    Ok(items)
}
