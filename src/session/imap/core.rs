//! What all commands of a session share: who is logged in, which mailbox is selected, and the shape of
//! a command under way.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::BytesMut;

use super::commands::Cut;
use super::grammar::{NameCoding, Syntax};
use super::notify::{Notify, Own};
use super::question::{Answer, Question};
use super::reader::Reader;
use super::selected::{Selected, Telling, Wanted};
use super::telling;
use super::write;
use crate::clock::Clock;
use crate::cluster::replica::Fault;
use crate::mail::ids::{AccountId, MailboxId};
use crate::meters::{self, METERS};
use crate::session::channel::ChannelBindings;
use crate::session::login::Authenticated;
use crate::session::machine::Peer;
use crate::state::command::Command;
use crate::state::outcome::Refusal;

/// What the node's settings say to a session, as of its start but where it says otherwise.
#[derive(Clone)]
pub struct Terms {
    /// The text of the greeting, behind the capabilities.
    pub banner: String,
    /// True when STARTTLS can be offered on this connection.
    pub starttls: bool,
    /// The setting auth.plaintext_without_tls.
    pub plaintext_without_tls: bool,
    /// The setting auth.scram.
    pub scram: bool,
    /// Who speaks here is the operator: he says for whom, and nobody's password is taken.
    pub external: bool,
    /// Octets of an APPENDed message, as the setting is now: it may change while a session lasts.
    pub message_bytes_max: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The setting imap.message_limit: messages that one command takes, as the session was told.
    pub message_limit: Option<usize>,
    /// Seconds of silence before login.
    pub login_seconds_max: u64,
    /// Seconds of silence after login; never under 30 minutes (RFC 3501 5.4).
    pub idle_seconds_max: u64,
}

impl Terms {
    /// Octets of an APPENDed message (RFC 7889).
    pub fn append_bytes_max(&self) -> u64 {
        (self.message_bytes_max)().min(u64::from(u32::MAX))
    }
}

/// The session's state, as commands see it.
pub struct Core {
    pub terms: Terms,
    pub peer: Peer,
    /// What names the TLS below.
    pub bindings: ChannelBindings,
    pub login: Option<Authenticated>,
    pub selected: Option<Selected>,
    /// RFC 7162 3.1: the client has shown that it knows mod-sequences.
    pub condstore: bool,
    /// RFC 7162 3.2: enabled, once and for all; mod-sequences are on then, too.
    pub qresync: bool,
    /// RFC 9051: enabled; the client knows no \Recent, and does know ESEARCH and names in UTF-8.
    pub rev2: bool,
    /// RFC 9586: enabled; messages have no numbers but their UIDs.
    pub uid_only: bool,
    /// RFC 9755: enabled; the client takes UTF-8, and sends it.
    pub utf8_accept: bool,
    /// How mailbox names go over the wire, both ways.
    pub names: NameCoding,
    /// RFC 4978: the connection is compressed.
    pub compressed: bool,
    /// True while IDLE waits: news are wanted.
    pub idling: bool,
    /// The last NOTIFY (RFC 5465).
    pub notify: Option<Notify>,
    pub own: Own,
    /// How far the telling of what was not asked for has come.
    pub telling_stage: telling::Stage,
    /// Of the command under way: ESEARCH names it.
    pub tag: String,
    /// For INTERNALDATE and SEARCH YOUNGER.
    pub clock: Clock,
    pub refused_logins: u32,
    /// Another's mailbox that the command under way has reached.
    pub reached: Option<MailboxId>,
    /// What the command under way leaves out.
    pub cut: Option<Cut>,
}

impl Core {
    pub fn account(&self) -> AccountId {
        self.login.as_ref().map(Authenticated::account).unwrap_or_default()
    }

    /// How this session is told of what it did not ask for. `uid`: the command under way is a UID command.
    pub fn telling(&self, uid: bool) -> Telling {
        let notify = self.notify.as_ref();
        let wants_flags = notify.is_some_and(|notify| notify.selected.wanted.flags);
        Telling {
            // RFC 7162 3.2.4, RFC 9051 7.5.2, RFC 5465 5.1: every such FETCH has the UID then.
            uid: uid || self.condstore || self.rev2 || wants_flags,
            modseq: self.condstore,
            vanished: self.qresync || self.uid_only,
            uid_only: self.uid_only,
            wanted: notify
                .filter(|notify| !notify.settling)
                .map_or(Wanted::ALL, |notify| notify.selected.wanted),
        }
    }

    /// RFC 7162 3.2.7, 3.2.8: what is expunged raises the mod-sequence, and a client that keeps it hears so.
    pub fn after_expunge(&self, reply: Reply) -> Reply {
        match &self.selected {
            // What the view has is told before this reply.
            Some(selected) if self.qresync => {
                reply.with_code(format!("HIGHESTMODSEQ {}", selected.highest_modseq()))
            }
            _ => reply,
        }
    }

    /// To be asked before the selected mailbox is let go: what came while it was selected is \Recent no more. Once
    /// for them all, as a commit for each mail that IDLE tells of would be dear.
    pub fn claim_recent(&self) -> Option<Question> {
        let selected = self.selected.as_ref()?;
        let up_to = selected.unclaimed()?;
        Some(Question::Try(Command::ClaimRecent { mailbox: selected.mailbox, up_to }))
    }

    /// ENABLE IMAP4rev2 (RFC 9051 A).
    pub fn enable_rev2(&mut self) {
        self.rev2 = true;
        self.names = NameCoding::Utf8;
        if let Some(selected) = &mut self.selected {
            selected.forget_recent();
        }
    }

    /// ENABLE UTF8=ACCEPT (RFC 9755 3).
    pub fn enable_utf8(&mut self) {
        self.utf8_accept = true;
        self.names = NameCoding::Utf8;
    }

    /// RFC 7162 3.1: the first command that speaks of mod-sequences turns them on; with a mailbox selected the
    /// client learns where they stand.
    pub fn enable_condstore(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.condstore, true) {
            return;
        }
        if let Some(selected) = &self.selected {
            write::highest_modseq(selected.highest_modseq(), "Mod-sequences are on", out);
        }
    }
}

/// The buffers of a session, as a command may use them.
pub struct Io<'a> {
    pub input: &'a mut BytesMut,
    pub out: &'a mut BytesMut,
    pub reader: &'a mut Reader,
}

/// A command under way.
pub trait Task: Send {
    /// Called at first without an answer; after each [`Next::Ask`] with the answer.
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next;

    /// How far it is, while an answer is awaited and no response is half written; `None`: nothing is said of it.
    fn progress(&self) -> Option<Progress> {
        None
    }
}

/// RFC 9585 4: of `goal` messages, or per cent, `done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: usize,
    pub goal: usize,
}

impl Progress {
    pub fn percent(done: usize) -> Self {
        Self { done, goal: 100 }
    }

    /// An untagged OK for the command of this tag. What is done is less than the goal while there is an answer to come.
    pub fn write(self, tag: &str, out: &mut BytesMut) {
        // RFC 9585 4: a bracket would end the code.
        let tag = if tag.contains(']') { "NIL".to_owned() } else { format!("\"{tag}\"") };
        let state = match self.goal {
            0 => "NIL NIL".to_owned(),
            goal => format!("{} {goal}", self.done.min(goal - 1)),
        };
        out.extend_from_slice(format!("* OK [INPROGRESS ({tag} {state})] Still at it\r\n").as_bytes());
    }
}

#[derive(Debug)]
pub enum Next {
    Ask(Question),
    NeedInput,
    /// Send what is written, then go on.
    Flush,
    Done(Reply),
    /// The reply is followed by the TLS handshake.
    StartTls(Reply),
    /// What follows the reply is compressed.
    Compress(Reply),
    /// The farewell is written: reply and close.
    Close(Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    No,
    Bad,
}

/// The tagged end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: Status,
    /// The response code, without its brackets; empty for none.
    pub code: Cow<'static, str>,
    pub text: Cow<'static, str>,
}

impl Reply {
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Ok, code: "".into(), text: text.into() }
    }

    pub fn no(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::No, code: code.into(), text: text.into() }
    }

    pub fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Bad, code: "".into(), text: text.into() }
    }

    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = code.into();
        self
    }

    pub fn no_such_mailbox() -> Self {
        Self::no("NONEXISTENT", "There is no such mailbox")
    }

    /// RFC 9586 3: for a client that wants no message numbers.
    pub fn uid_required() -> Self {
        Self::bad("Messages have no numbers but their UIDs").with_code("UIDREQUIRED")
    }

    /// RFC 3501 7.1: the client may create it and try again.
    pub fn try_create() -> Self {
        Self::no("TRYCREATE", "There is no such mailbox")
    }

    /// What is wrong with a command that cannot be read.
    pub fn syntax(syntax: Syntax) -> Self {
        match syntax {
            Syntax::Malformed(what) => Self::bad(format!("Malformed command: {what}")),
            Syntax::UnknownCommand => Self::bad("There is no such command"),
            Syntax::BadCharset { .. } => Self::no("BADCHARSET (US-ASCII UTF-8)", "The charset is not known"),
            Syntax::BadUse => Self::no("USEATTR", "That special use is not known, or not alone"),
        }
    }

    /// Ours: the cause is for the log, which the backend has written.
    pub fn fault(fault: &Fault) -> Self {
        let text = match fault {
            Fault::NoQuorum => "The cluster has no majority at the moment, try again later",
            Fault::NotReplicated(_) => "The message cannot be stored safely now, try again later",
            Fault::BodyUnavailable(_) => "The message cannot be reached now, try again later",
            Fault::Disk(_) | Fault::Busy(_) => "The server cannot do this now, try again later",
            Fault::ShuttingDown => "The server is shutting down",
        };
        Self::no("UNAVAILABLE", text)
    }

    /// RFC 5530 says how a refusal is named.
    pub fn refusal(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NotFound(_) => Self::no_such_mailbox(),
            Refusal::Exists(_) => Self::no("ALREADYEXISTS", "The mailbox exists already"),
            Refusal::Invalid(what) => Self::no("CANNOT", format!("Not valid: {}", one_line(what))),
            Refusal::OverQuota => Self::no("OVERQUOTA", "The quota is exceeded"),
            Refusal::Limit(what) => Self::no("LIMIT", format!("A limit is reached: {}", one_line(what))),
            Refusal::NotAllowed => Self::no("CANNOT", "This is not allowed for this mailbox"),
            Refusal::NotPermitted => Self::no("NOPERM", "You have no right to do this"),
            // No command of IMAP's has to do with the outbound queue, with scripts or reports.
            Refusal::NotPlaced
            | Refusal::StillBehind
            | Refusal::Expired
            | Refusal::LastCopies(_)
            | Refusal::QueueFull
            | Refusal::LeaseChanged
            | Refusal::ScriptActive
            | Refusal::LastServing(_)
            | Refusal::Changed => Self::no("UNAVAILABLE", "Try again later"),
        }
    }

    /// An answer that does not fit the question: ours, and never the client's fault.
    pub fn unexpected(answer: Option<Answer>) -> Self {
        match answer {
            Some(Answer::Fault(fault)) => Self::fault(&fault),
            Some(Answer::Outcome(crate::state::outcome::Outcome::Refused(refusal))) => {
                Self::refusal(&refusal)
            }
            other => {
                tracing::error!(?other, "an IMAP command got an answer that it did not ask for");
                Self::no("SERVERBUG", "Internal error")
            }
        }
    }

    pub fn write(&self, tag: &str, out: &mut BytesMut) {
        let (status, counted) = match self.status {
            Status::Ok => (" OK ", meters::Reply::ImapOk),
            Status::No => (" NO ", meters::Reply::ImapNo),
            Status::Bad => (" BAD ", meters::Reply::ImapBad),
        };
        METERS.replies.of(counted).one();
        out.extend_from_slice(tag.as_bytes());
        out.extend_from_slice(status.as_bytes());
        if !self.code.is_empty() {
            out.extend_from_slice(b"[");
            out.extend_from_slice(self.code.as_bytes());
            out.extend_from_slice(b"] ");
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Refusals may quote what the client wrote; a reply's text is one line of ASCII.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(200).collect()
}
