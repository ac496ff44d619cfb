//! Answers a POP3 session's questions from the replicated truth.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::machine::{Answer, Maildrop, NoEntry, Pop3, Question};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::{AccountId, MailboxId, Uid};
use crate::session::driver::Backend;
use crate::session::login::{Authenticated, Claim, Logins, Standing};
use crate::session::reading::ReadingRoom;
use crate::state::command::{Command, UidSet};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::view::SharedView;

pub struct Pop3Backend<R: Replica> {
    replica: R,
    logins: Arc<Logins>,
    reading: Arc<ReadingRoom>,
    inbox: Option<(MailboxId, Arc<SharedView>)>,
    who: Option<Authenticated>,
}

impl<R: Replica> Pop3Backend<R> {
    /// `reading` is shared by all sessions of a node.
    pub fn new(replica: R, logins: Arc<Logins>, reading: Arc<ReadingRoom>) -> Self {
        Self { replica, logins, reading, inbox: None, who: None }
    }

    async fn log_in(&mut self, claim: &Claim) -> Result<(Authenticated, Maildrop), NoEntry> {
        let who = self.logins.check(claim).await.map_err(NoEntry::Refused)?;
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
        let account = self.who.as_ref().map_or(AccountId(0), Authenticated::account);
        let wanted = (message.body, u64::from(message.size));
        self.reading.read(&self.replica, account, wanted).await.map(Some)
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
