//! What the machine asks of the world, and what it hears. The machine waits for each answer before it
//! goes on, so that commands are answered strictly in order.

use std::sync::Arc;

use bytes::Bytes;

use super::summary::Summary;
use crate::cluster::replica::Fault;
use crate::mail::ids::{AccountId, BodyId, MailboxId};
use crate::session::login::{Authenticated, Credentials, LoginRefused};
use crate::state::command::{Command, PlacedBody};
use crate::state::outcome::Outcome;
use crate::state::record::MailboxRecord;
use crate::state::view::SharedView;

#[derive(Debug)]
pub enum Question {
    /// Answered by [`Answer::Login`].
    Login(Credentials),
    /// All mailboxes of the account, ascending by name. Answered by [`Answer::Mailboxes`].
    Mailboxes(AccountId),
    /// The names the account has subscribed to, ascending. Answered by [`Answer::Names`].
    Subscriptions(AccountId),
    /// One mailbox by canonical name. Answered by [`Answer::Mailbox`].
    Mailbox(AccountId, String),
    /// Opens a mailbox's view. Answered by [`Answer::View`].
    View(MailboxId),
    /// The view whose changes the session wants to hear of in IDLE from now on. Answered by [`Answer::Done`].
    Watch(Option<MailboxId>),
    /// Answered by [`Answer::Outcome`], when the views of this node show what was committed.
    Propose(Command),
    /// A command that reading does not depend on (\Recent, implicit \Seen): waited for only a moment.
    /// Answered by [`Answer::Outcome`], or a fault.
    Try(Command),
    /// A message: its bytes, or what a listing shows of it, or both. Answered by [`Answer::Message`].
    Message { body: BodyId, raw: bool, summary: bool },
    /// Opens a body of so many bytes for APPEND; the backend holds it. Answered by [`Answer::Done`], or by a refusal
    /// when the quota has no room for it.
    Place(u64),
    /// The next bytes of the body being placed. Answered by [`Answer::Done`].
    Push(Bytes),
    /// Makes the body durable. Answered by [`Answer::Placed`].
    Finish,
    /// Drops the body being placed. Answered by [`Answer::Done`].
    Abandon,
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<Authenticated, LoginRefused>),
    Mailboxes(Vec<MailboxRecord>),
    Names(Vec<String>),
    Mailbox(Option<MailboxRecord>),
    View(Option<Arc<SharedView>>),
    Outcome(Outcome),
    /// Each is there when it was asked for.
    Message {
        raw: Option<Bytes>,
        summary: Option<Arc<Summary>>,
    },
    Placed(PlacedBody),
    Done,
    /// Ours: the client hears `NO [UNAVAILABLE]`.
    Fault(Fault),
}
