//! Answers a POP3 session's questions from the replicated truth.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::machine::{Answer, Maildrop, NoEntry, Pop3, Question};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::{AccountId, BodyId, MailboxId, Uid};
use crate::session::driver::Backend;
use crate::session::login::{Authenticated, Claim, Logins, Standing};
use crate::session::reading::{ReadingRoom, UNCOUNTED_BYTES_MAX};
use crate::session::watched::Watched;
use crate::state::command::{Command, UidSet};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::record::MessageRecord;
use crate::state::view::SharedView;

/// Messages that are read together, and their bytes, when a client takes one after the other.
const READ_TOGETHER_MAX: usize = 8;
const READ_TOGETHER_BYTES_MAX: u64 = UNCOUNTED_BYTES_MAX;

pub struct Pop3Backend<R: Replica> {
    replica: R,
    logins: Arc<Logins>,
    watched: Watched,
    reading: Arc<ReadingRoom>,
    inbox: Option<(MailboxId, Arc<SharedView>)>,
    /// The message that was asked for last.
    last: Uid,
    /// Messages behind it, read with it; ascending.
    ahead: VecDeque<(Uid, Bytes)>,
    who: Option<Authenticated>,
}

impl<R: Replica> Pop3Backend<R> {
    /// `reading` is shared by all sessions of a node.
    pub fn new(replica: R, logins: Arc<Logins>, reading: Arc<ReadingRoom>) -> Self {
        let watched = Watched::default();
        Self {
            replica,
            logins,
            watched,
            reading,
            inbox: None,
            last: Uid(0),
            ahead: VecDeque::new(),
            who: None,
        }
    }

    /// Somebody watches over the client's logins.
    pub fn watched(self, watched: Watched) -> Self {
        Self { watched, ..self }
    }

    async fn log_in(&mut self, claim: &Claim) -> Result<(Authenticated, Maildrop), NoEntry> {
        let who = self.watched.check(&self.logins, claim).await.map_err(NoEntry::Refused)?;
        let opened = self.open_inbox(&who).await.map_err(NoEntry::Fault)?;
        self.who = Some(who.clone());
        Ok((who, opened))
    }

    async fn open_inbox(&mut self, who: &Authenticated) -> Result<Maildrop, Fault> {
        let missing = || Fault::Disk(format!("the account of {} has no INBOX", who.name()));
        let inbox = self.replica.mailbox(who.account(), "INBOX").await?.ok_or_else(missing)?;
        let view = self.replica.view(inbox.id).await?.ok_or_else(missing)?;
        let maildrop = view.read(|view| Maildrop {
            uid_validity: view.uid_validity,
            messages: view.messages().iter().map(|message| (message.uid, message.size)).collect(),
        });
        self.inbox = Some((inbox.id, view));
        Ok(maildrop)
    }

    async fn body(&mut self, uid: Uid) -> Result<Option<Bytes>, Fault> {
        let found = self.inbox.as_ref().and_then(|(_, view)| view.read(|view| view.get(uid)));
        let Some(message) = found else { return Ok(None) };
        self.ahead.retain(|(ahead, _)| *ahead >= uid);
        if self.ahead.front().is_some_and(|(ahead, _)| *ahead == uid) {
            self.last = uid;
            return Ok(self.ahead.pop_front().map(|(_, body)| body));
        }
        let together = self.messages_with(uid);
        self.last = uid;
        if together.len() > 1 {
            let ids: Vec<BodyId> = together.iter().map(|message| message.body).collect();
            let mut bodies = self.replica.bodies(&ids).await.into_iter();
            let body = bodies.next().unwrap_or(Err(Fault::ShuttingDown))?;
            let behind = together[1..].iter().zip(bodies);
            self.ahead = behind.map_while(|(message, body)| Some((message.uid, body.ok()?))).collect();
            return Ok(Some(body));
        }
        let account = self.who.as_ref().map_or(AccountId(0), Authenticated::account);
        let wanted = (message.body, u64::from(message.size));
        self.reading.read(&self.replica, account, wanted).await.map(Some)
    }

    /// The message `uid`, and those behind it that are read with it: none unless the client goes through them in order.
    fn messages_with(&self, uid: Uid) -> Vec<MessageRecord> {
        let Some((_, view)) = &self.inbox else { return Vec::new() };
        view.read(|view| {
            let messages = view.messages();
            let in_order = messages.uids_from(Uid(self.last.0.saturating_add(1))).next() == Some(uid);
            let count = if in_order { READ_TOGETHER_MAX } else { 1 };
            let mut room = READ_TOGETHER_BYTES_MAX;
            let fits = |message: &MessageRecord| match room.checked_sub(message.size.into()) {
                Some(left) => {
                    room = left;
                    true
                }
                None => false,
            };
            messages.uids_from(uid).take(count).filter_map(|uid| view.get(uid)).take_while(fits).collect()
        })
    }

    async fn delete(&mut self, uids: Vec<Uid>) -> Result<(), Fault> {
        let Some((mailbox, view)) = &self.inbox else { return Ok(()) };
        let all = UidSet::from_ascending(uids);
        let command = Command::Expunge { mailbox: *mailbox, uids: all.clone(), only_deleted: false };
        match self.replica.propose(command).await? {
            // The mailbox is gone with all its messages: what was asked for is so.
            Outcome::Refused(Refusal::NotFound(_)) => Ok(()),
            // More than one command may touch: in portions, which only a maildrop that big ever sees.
            Outcome::Refused(Refusal::Limit(_)) => {
                let (mailbox, portions) = (*mailbox, view.read(|view| view.portions(&all)));
                for uids in portions {
                    let command = Command::Expunge { mailbox, uids, only_deleted: false };
                    refused_is_fault(self.replica.propose(command).await?)?;
                }
                Ok(())
            }
            outcome => refused_is_fault(outcome),
        }
    }
}

fn refused_is_fault(outcome: Outcome) -> Result<(), Fault> {
    match outcome {
        Outcome::Refused(refusal) => Err(Fault::Busy(refusal.to_string())),
        _ => Ok(()),
    }
}

/// The client hears `-ERR [SYS/TEMP]`; the operator sees the cause.
fn log_fault<T>(during: &str, result: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(fault) = &result {
        warn!("POP3, {during}: {fault}");
    }
    result
}

impl<R: Replica> Backend<Pop3> for Pop3Backend<R> {
    fn standing(&self) -> Option<Standing> {
        self.who.as_ref().map(|who| self.logins.standing(who))
    }

    async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Login(claim) => {
                let login = self.log_in(&claim).await;
                match &login {
                    Ok(_) => {}
                    Err(NoEntry::Refused(refused)) => {
                        info!("POP3 login as {:?}: {refused}", claim.login());
                    }
                    Err(NoEntry::Fault(fault)) => warn!("POP3, opening INBOX: {fault}"),
                }
                Answer::Login(login)
            }
            Question::Keys(login) => Answer::Keys(self.logins.keys(&login).await),
            Question::Body(uid) => Answer::Body(log_fault("reading a message", self.body(uid).await)),
            Question::Delete(uids) => Answer::Deleted(log_fault("deleting", self.delete(uids).await)),
        }
    }
}
