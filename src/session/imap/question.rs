//! What the machine asks of the world, and what it hears. The machine waits for each answer before it
//! goes on, so that commands are answered strictly in order.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::arrange::Facts;
use super::arrange::sort::{self, Criterion, Sortable};
use super::arrange::thread::{self, Algorithm, Threadable};
use super::commands::Found;
use super::limits::{READ_TOGETHER_BYTES_MAX, READ_TOGETHER_MAX};
use super::summary::{Preview, Summary};
use crate::cluster::replica::Fault;
use crate::mail::ids::{AccountId, BodyId, MailboxId, Uid, UidValidity};
use crate::mail::mime::recode::Unservable;
use crate::mail::rights::Rights;
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};
use crate::state::command::{Command, PlacedBody};
use crate::state::metadata::{Annotation, Place, Wanted};
use crate::state::news::SharedNews;
use crate::state::outcome::Outcome;
use crate::state::record::{MailboxRecord, MessageRecord, Quota};
use crate::state::view::SharedView;

/// A message's body, and its size in octets. Of many at a time, at most
/// [`MESSAGES_PER_QUESTION_MAX`](super::limits::MESSAGES_PER_QUESTION_MAX) are asked for; bodies that are wanted whole, as
/// many as [`Together`] lets.
pub type Stored = (BodyId, u32);

/// Counts what may be read in one go: few messages, of few bytes, or a single one that is larger.
#[derive(Debug, Default)]
pub struct Together {
    messages: usize,
    bytes: usize,
}

impl Together {
    /// Whether one more of `size` octets may join; then it has.
    pub fn takes(&mut self, size: u32) -> bool {
        let bytes = self.bytes + size as usize;
        let fits = self.messages < READ_TOGETHER_MAX && bytes <= READ_TOGETHER_BYTES_MAX;
        if self.messages > 0 && !fits {
            return false;
        }
        (self.messages, self.bytes) = (self.messages + 1, bytes);
        true
    }
}

#[derive(Debug)]
pub enum Question {
    /// Answered by [`Answer::Login`].
    Login(Claim),
    /// What SCRAM goes on with for this login. Answered by [`Answer::Keys`].
    Keys(String),
    /// The names the account has subscribed to, ascending. Answered by [`Answer::Names`].
    Subscriptions(AccountId),
    /// A message that a URL names; only if UIDVALIDITY is as said. Answered by [`Answer::Record`].
    Find { account: AccountId, mailbox: String, uid_validity: Option<UidValidity>, uid: Uid },
    /// One mailbox by its name as the account writes it, its own or another's, to do what `needs` allow. Answered by
    /// [`Answer::Mailbox`]; a refusal, where it may look the mailbox up and no more.
    Reach { account: AccountId, name: String, needs: Rights },
    /// The account's mailboxes, and those of others that it may look up, ascending by name. Answered by
    /// [`Answer::Mailboxes`].
    Visible(AccountId),
    /// The same; and from now on the account's news tell of all of them.
    Listen(AccountId),
    /// The account of a user. Answered by [`Answer::Account`].
    Account(String),
    /// The access control list by identifiers, the owner first. Answered by [`Answer::Acl`].
    Acl(MailboxId),
    /// Opens a mailbox's view for the session: what it commits there shows before it is answered, and it can be
    /// watched. Answered by [`Answer::View`].
    Open(MailboxId),
    /// A mailbox's view, for a look in passing. Answered by [`Answer::View`].
    View(MailboxId),
    /// The view, opened before, whose changes the session wants to hear of from now on. Answered by [`Answer::Done`].
    Watch(MailboxId),
    /// What changes in all mailboxes of the account; the session wants to be woken for it from now on. Answered by
    /// [`Answer::News`].
    News(AccountId),
    /// Answered by [`Answer::Outcome`], when the views of this node show what was committed.
    Propose(Command),
    /// A command that reading does not depend on (\Recent, implicit \Seen): waited for only a moment.
    /// Answered by [`Answer::Outcome`], or a fault.
    Try(Command),
    /// A message: its bytes, or what a listing shows of it, or all. Answered by [`Answer::Message`].
    Message { body: BodyId, size: u32, raw: bool, summary: bool, preview: Previewing },
    /// What a listing shows of these messages. Answered by [`Answer::Summaries`].
    Summaries(Vec<Stored>),
    /// What the headers of these messages say, for SORT and THREAD, at most
    /// [`FACTS_PER_QUESTION_MAX`](super::limits::FACTS_PER_QUESTION_MAX) of them. Answered by [`Answer::Facts`].
    Facts(Vec<Stored>),
    /// What a search needs of these headers. Answered by [`Answer::Texts`].
    Excerpts(Vec<Stored>),
    /// These messages whole. Answered by [`Answer::Texts`].
    Bodies(Vec<Stored>),
    /// Work that may take long, to be done off the runtime. Answered by [`Answer::Arranged`].
    Arrange(Arrangement),
    /// Others' turn, in a command that takes long. Answered by [`Answer::Done`].
    Pause,
    /// The annotations that are there of those wanted. Answered by [`Answer::Metadata`].
    Metadata(Place, Vec<Wanted>),
    /// Answered by [`Answer::Quota`], by what all nodes have committed where that is known in time.
    Quota(AccountId),
    /// Opens a body for APPEND; the backend holds it. Answered by [`Answer::Done`], or by a refusal when the quota of the
    /// mailbox's owner has no room for so many bytes more.
    Place { owner: AccountId, bytes: u64 },
    /// The next bytes of the body being placed. Answered by [`Answer::Done`].
    Push(Bytes),
    /// Makes the body durable. Answered by [`Answer::Placed`].
    Finish,
    /// Drops the body being placed. Answered by [`Answer::Done`].
    Abandon,
    /// Makes of a message that came as binary one that can be told line by line, and places that. Answered by
    /// [`Answer::Recoded`].
    Recode(PlacedBody),
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<Authenticated, LoginRefused>),
    Keys(Keys),
    Mailboxes(Vec<MailboxRecord>),
    Names(Vec<String>),
    Mailbox(Option<MailboxRecord>),
    Account(Option<AccountId>),
    Acl(Vec<(String, Rights)>),
    View(Option<Arc<SharedView>>),
    Record(Option<MessageRecord>),
    News(Arc<SharedNews>),
    Outcome(Outcome),
    /// Each is there when it was asked for.
    Message {
        raw: Option<Bytes>,
        summary: Option<Arc<Summary>>,
        preview: Option<Arc<Preview>>,
    },
    /// In the order asked, as in all of these; `None` for a message that cannot be read now.
    Summaries(Vec<Option<Arc<Summary>>>),
    Facts(Vec<Option<Arc<Facts>>>),
    Texts(Vec<Option<Bytes>>),
    Arranged(Arranged),
    /// Ascending by name.
    Metadata(Vec<Annotation>),
    Quota(Quota),
    Placed(PlacedBody),
    Recoded(Result<PlacedBody, Unservable>),
    Done,
    /// Ours: the client hears `NO [UNAVAILABLE]`.
    Fault(Fault),
}

/// Whether a preview is wanted (RFC 8970).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Previewing {
    No,
    /// If it is at hand.
    Lazy,
    Wanted,
}

/// Messages to be put in order, or in threads.
#[derive(Debug)]
pub enum Arrangement {
    Sort { criteria: Vec<Criterion>, messages: Vec<Sortable<Found>> },
    Thread { algorithm: Algorithm, messages: Vec<Threadable> },
}

#[derive(Debug)]
pub enum Arranged {
    Sorted(Vec<Sortable<Found>>),
    /// As it goes over the wire.
    Threads(Bytes),
    TooDeep,
}

impl Arrangement {
    pub fn arrange(self) -> Arranged {
        match self {
            Self::Sort { criteria, mut messages } => {
                messages.sort_unstable_by(|one, other| sort::compare(&criteria, one, other));
                Arranged::Sorted(messages)
            }
            Self::Thread { algorithm, messages } => match thread::thread(algorithm, &messages) {
                Ok(forest) => {
                    let mut out = BytesMut::new();
                    forest.write(&messages, &mut out);
                    Arranged::Threads(out.freeze())
                }
                Err(thread::TooDeep) => Arranged::TooDeep,
            },
        }
    }
}
