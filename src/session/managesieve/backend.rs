//! Answers a ManageSieve session's questions from the replicated truth.

use std::sync::Arc;

use tracing::{info, warn};

use super::machine::{Answer, ManageSieve, NotDone, Question};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::AccountId;
use crate::session::driver::Backend;
use crate::session::login::{Authenticated, Claim, LoginRefused, Logins, Standing};
use crate::session::watched::Watched;
use crate::sieve::Script;
use crate::state::command::Command;
use crate::state::outcome::Outcome;

pub struct ManageSieveBackend<R: Replica> {
    replica: R,
    logins: Arc<Logins>,
    watched: Watched,
    who: Option<Authenticated>,
}

impl<R: Replica> ManageSieveBackend<R> {
    pub fn new(replica: R, logins: Arc<Logins>) -> Self {
        Self { replica, logins, watched: Watched::default(), who: None }
    }

    /// Somebody watches over the client's logins.
    pub fn watched(self, watched: Watched) -> Self {
        Self { watched, ..self }
    }

    async fn log_in(&mut self, claim: &Claim) -> Result<Authenticated, LoginRefused> {
        let login = self.watched.check(&self.logins, claim).await;
        match &login {
            Ok(who) => self.who = Some(who.clone()),
            Err(refused) => info!("ManageSieve login as {:?}: {refused}", claim.login()),
        }
        login
    }

    fn account(&self) -> AccountId {
        self.who.as_ref().map_or(AccountId(0), Authenticated::account)
    }

    /// A long script takes some milliseconds, which are not the other sessions'.
    async fn checked(&self, text: String) -> Result<String, NotDone> {
        let checked = tokio::task::spawn_blocking(move || Script::compile(&text).map(|_| text)).await;
        let checked = checked.map_err(|_| NotDone::Fault(Fault::ShuttingDown))?;
        checked.map_err(|error| NotDone::NoScript(error.to_string()))
    }

    async fn put(&self, name: String, text: String) -> Result<(), NotDone> {
        let text = self.checked(text).await?;
        self.change(Command::PutScript { account: self.account(), name, text }).await
    }

    async fn change(&self, command: Command) -> Result<(), NotDone> {
        match self.replica.propose(command).await {
            Ok(Outcome::Refused(refusal)) => Err(NotDone::Refused(refusal)),
            Ok(_) => Ok(()),
            Err(fault) => {
                warn!("ManageSieve, changing scripts: {fault}");
                Err(NotDone::Fault(fault))
            }
        }
    }
}

/// The client hears TRYLATER; the operator sees the cause.
fn log_fault<T>(read: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(fault) = &read {
        warn!("ManageSieve, reading scripts: {fault}");
    }
    read
}

impl<R: Replica> Backend<ManageSieve> for ManageSieveBackend<R> {
    fn standing(&self) -> Option<Standing> {
        self.who.as_ref().map(|who| self.logins.standing(who))
    }

    async fn answer(&mut self, question: Question) -> Answer {
        let account = self.account();
        match question {
            Question::Login(claim) => Answer::Login(self.log_in(&claim).await),
            Question::Keys(login) => Answer::Keys(self.logins.keys(&login).await),
            Question::List => Answer::Scripts(log_fault(self.replica.sieve_scripts(account).await)),
            Question::Get(name) => Answer::Script(log_fault(self.replica.sieve_script(account, &name).await)),
            Question::Check(text) => Answer::Done(self.checked(text).await.map(drop)),
            Question::Put { name, text } => Answer::Done(self.put(name, text).await),
            Question::Activate(name) => {
                Answer::Done(self.change(Command::ActivateScript { account, name }).await)
            }
            Question::Delete(name) => {
                Answer::Done(self.change(Command::RemoveScript { account, name }).await)
            }
            Question::Rename { from, to } => {
                Answer::Done(self.change(Command::RenameScript { account, from, to }).await)
            }
        }
    }
}
