//! Answers an SMTP session's questions from the replicated truth: who a recipient is, where the body
//! goes, and whether the delivery is committed.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::checked::{self, Checked, Checks};
use super::delivering::Bound;
use super::filtering::Filters;
use super::greylisting::{self, Memory};
use super::listed::{Listed, Opening};
use super::machine::{Answer, NoReturn, Question, Smtp, Verdict};
use super::noted::Noted;
use super::opened::Opened;
use super::received::{Stamp, Trace};
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::ids::AccountId;
use crate::policy::{self, Arrival};
use crate::session::driver::Backend;
use crate::session::limits::{HostLimits, Spent, UserLimits};
use crate::session::login::{Authenticated, Logins, Standing};
use crate::session::smtp::Flavor;
use crate::session::watched::Watched;
use crate::state::blocks::Offense;
use crate::state::command::SpecialUse;
use crate::state::directory::{Directory, User};
use crate::state::record::MailboxRecord;
use crate::state::routing::{LocalTarget, Route, is_own};
use crate::state::srs::TooLong;

pub struct SmtpBackend<R: Replica> {
    pub(super) replica: R,
    logins: Arc<Logins>,
    pub(super) checks: Checks,
    pub(super) placing: Option<R::Placing>,
    /// Instead of a placing, where the mail is judged first.
    checked: Option<Checked>,
    pub(super) opened: Opened,
    pub(super) who: Option<Authenticated>,
    /// The sender of the mail that is under way.
    pub(super) from: ReversePath,
    /// Of a stranger's: whether it goes to servers of domains for which we stand in, once any recipient is elsewhere.
    pub(super) stands_in: Option<bool>,
    watched: Watched,
    pub(super) listed: Listed,
    pub(super) noted: Noted,
    pub(super) filters: Filters,
    /// The limits of the host that the client comes from.
    host: Option<HostLimits>,
    /// What users may send.
    users: Option<UserLimits>,
    /// Of the message that is being taken.
    bytes: u64,
    /// What greylisting does with its own.
    memory: Memory,
}

impl<R: Replica> SmtpBackend<R> {
    pub fn new(replica: R, logins: Arc<Logins>, checks: Checks) -> Self {
        let (opened, watched, listed) = (Opened::default(), Watched::default(), Listed::default());
        let (placing, checked, who, host, users) = (None, None, None, None, None);
        let (noted, filters, bytes) = (Noted::default(), Filters::default(), 0);
        let (memory, from, stands_in) = (Memory::default(), ReversePath::Null, None);
        Self {
            replica,
            logins,
            checks,
            placing,
            checked,
            opened,
            who,
            from,
            stands_in,
            watched,
            listed,
            noted,
            filters,
            host,
            users,
            bytes,
            memory,
        }
    }

    /// The same, of a client that the lists speak of.
    pub fn listed(self, listed: Listed) -> Self {
        Self { listed, ..self }
    }

    /// The same, of which the log is told.
    pub fn noted(self, noted: Noted) -> Self {
        Self { noted, ..self }
    }

    /// Users' filters are asked, and may refuse as this protocol can say it.
    pub fn filtering(self, flavor: Flavor) -> Self {
        Self { filters: Filters::new(flavor), ..self }
    }

    pub fn remembering(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// As for recipients: who is refused for good is looked up once more.
    async fn sender(&mut self, from: &ReversePath, authenticated: bool) -> Result<Opening, Fault> {
        if authenticated {
            self.listed.user();
            let address = match from {
                ReversePath::Null => None,
                ReversePath::Address(address) => Some(address.to_string()),
            };
            return Ok(match self.owns(address.as_slice()).await? {
                true => Opening::Stranger,
                false => Opening::Refused(not_own("The sender is not an address of yours")),
            });
        }
        let mut directory = self.replica.directory();
        let mut opening = self.listed.mail(from, &directory, &self.checks.dns).await;
        if matches!(opening, Opening::Refused(_)) {
            self.replica.refresh().await?;
            directory = self.replica.directory();
            opening = self.listed.mail(from, &directory, &self.checks.dns).await;
        }
        self.listed.note(&directory);
        Ok(opening)
    }

    /// Of a mail by a login: whether all these are addresses of the user.
    async fn owns(&mut self, addresses: &[String]) -> Result<bool, Fault> {
        let Some(who) = &self.who else { return Ok(true) };
        let (account, client) = (who.account(), self.listed.client());
        let all = |directory: &Directory| {
            let own = |address: &String| {
                Address::parse(address).is_ok_and(|address| is_own(directory, account, &address))
            };
            !directory.settings().sender_must_be_own(client) || addresses.iter().all(own)
        };
        if all(&self.replica.directory()) {
            return Ok(true);
        }
        self.replica.refresh().await?;
        Ok(all(&self.replica.directory()))
    }

    /// Somebody watches over the client's logins and recipients.
    pub fn watched(self, watched: Watched) -> Self {
        Self { watched, ..self }
    }

    /// The host's messages are counted.
    pub fn limited(self, host: Option<HostLimits>) -> Self {
        Self { host, ..self }
    }

    /// What users send is counted.
    pub fn users_limited(self, users: UserLimits) -> Self {
        Self { users: Some(users), ..self }
    }

    /// The mail as it came, and our own fields, count.
    async fn may_send(&mut self, last: usize) -> Result<(), Spent> {
        match (&self.users, &self.who) {
            (Some(users), Some(who)) => {
                let bytes = self.bytes.saturating_add(last as u64);
                Box::pin(users.mail(who.account(), bytes)).await
            }
            _ => Ok(()),
        }
    }

    async fn may_begin(&mut self) -> bool {
        match &self.host {
            // In a place of its own: a session that asks nothing does not hold the room for it.
            Some(host) => Box::pin(host.message()).await.is_ok(),
            None => true,
        }
    }

    /// What is refused for good is looked up once more, in rows that are current: a node that is a moment or a cut
    /// behind does not bounce mail for a user that was added meanwhile.
    async fn recipient(
        &mut self,
        path: &ForwardPath,
        size: Option<u64>,
        authenticated: bool,
    ) -> Result<Verdict, Fault> {
        // First: who is not let in is not told who is here.
        if !authenticated && self.watched.is_blocked() {
            return Ok(Verdict::Refused(blocked()));
        }
        if let Some(refusal) = self.kept_out(path, authenticated).await? {
            return Ok(Verdict::Refused(refusal));
        }
        let mut verdict = self.recipient_by_these_rows(path, size, authenticated).await?;
        if verdict.is_for_good() {
            self.replica.refresh().await?;
            verdict = self.recipient_by_these_rows(path, size, authenticated).await?;
        }
        if let Some(refusal) = Box::pin(self.put_off(path, &verdict)).await? {
            verdict = Verdict::Refused(refusal);
        }
        if let Verdict::Accept(targets) | Verdict::Relay { local: targets, .. } = &verdict
            && let Some(refusal) = self.filters.admit(&self.replica, targets, authenticated).await?
        {
            verdict = Verdict::Refused(refusal);
        }
        if !authenticated && self.apart(path, &verdict) {
            verdict = Verdict::Apart;
        }
        self.listed.note_recipient(path, &verdict, &self.replica.directory());
        let is_guessed = matches!(verdict, Verdict::Unknown | Verdict::NoReturn(NoReturn::Forged));
        if !authenticated && is_guessed {
            self.watched.note(Offense::UnknownRecipient).await;
        }
        Ok(verdict)
    }

    /// By what the DNS told of the client and the names it gives.
    async fn kept_out(
        &mut self,
        path: &ForwardPath,
        authenticated: bool,
    ) -> Result<Option<policy::Refusal>, Fault> {
        let refuse = |here: &Self| {
            let directory = here.replica.directory();
            here.opened.refuse(path, here.listed.skip_of(path, &directory), &directory)
        };
        if authenticated {
            return Ok(None);
        }
        match refuse(self) {
            Some(refusal) if refusal.code >= 500 => {
                self.replica.refresh().await?;
                Ok(refuse(self))
            }
            refusal => Ok(refusal),
        }
    }

    /// Greylisting: the last of what a stranger is held to, and only for a recipient that would be taken.
    async fn put_off(
        &mut self,
        path: &ForwardPath,
        verdict: &Verdict,
    ) -> Result<Option<policy::Refusal>, Fault> {
        let directory = self.replica.directory();
        let taken = match verdict {
            Verdict::Accept(targets) => !targets.is_empty(),
            Verdict::Relay { .. } => true,
            _ => false,
        };
        match (self.opened.arrival(), directory.settings().greylist()) {
            (Some(arrival), Some(terms)) if taken && !self.listed.skip_of(path, &directory).greylist => {
                greylisting::refuse(&self.replica, arrival, path, (terms, self.memory)).await
            }
            _ => Ok(None),
        }
    }

    async fn recipient_by_these_rows(
        &mut self,
        path: &ForwardPath,
        size: Option<u64>,
        authenticated: bool,
    ) -> Result<Verdict, Fault> {
        let verdict = self.recipient_without_lists(path, size, authenticated).await?;
        Ok(self.listed.recipient(path, verdict, &self.replica.directory()))
    }

    // `&mut self` here and below though nothing changes: a placing need not be `Sync`.
    async fn recipient_without_lists(
        &mut self,
        path: &ForwardPath,
        size: Option<u64>,
        authenticated: bool,
    ) -> Result<Verdict, Fault> {
        let directory = self.replica.directory();
        let route = match self.way(path, &directory) {
            Ok(route) => route,
            Err(verdict) => return Ok(verdict),
        };
        let (targets, remote) = match route {
            Route::NotOurs if authenticated => match path {
                ForwardPath::Address(address) => (Vec::new(), vec![address.clone()]),
                ForwardPath::Postmaster => return Ok(Verdict::Unknown),
            },
            Route::NotOurs => return Ok(Verdict::RelayDenied),
            Route::Unknown => return Ok(Verdict::Unknown),
            Route::Ours { local, remote } => (local, remote),
        };
        let enabled: Vec<LocalTarget> =
            targets.into_iter().filter(|target| is_enabled(&directory, target.account)).collect();
        if enabled.is_empty() && remote.is_empty() {
            return Ok(Verdict::Disabled);
        }
        for target in &enabled {
            if let Some(full) = self.room(target.account, size.unwrap_or(0)).await? {
                // One full mailbox behind an alias must not bounce for good what the others could take.
                return Ok(if enabled.len() + remote.len() > 1 { Verdict::WouldNotFit } else { full });
            }
        }
        if !remote.is_empty() && !authenticated {
            let from = self.from.clone();
            if let Err(TooLong) = Box::pin(self.return_address(&from, path)).await? {
                return Ok(Verdict::SenderTooLong);
            }
        }
        Ok(match remote.is_empty() {
            true => Verdict::Accept(enabled),
            false => Verdict::Relay { local: enabled, remote },
        })
    }

    /// `Some`: there is no room for `size` more bytes.
    async fn room(&mut self, account: AccountId, size: u64) -> Result<Option<Verdict>, Fault> {
        let quota = self.replica.quota(account).await?;
        let Some(bytes_max) = quota.bytes_max else { return Ok(None) };
        Ok(if quota.used_bytes >= bytes_max {
            Some(Verdict::AlreadyFull)
        } else if quota.used_bytes.saturating_add(size) > bytes_max {
            Some(Verdict::WouldNotFit)
        } else {
            None
        })
    }

    async fn begin(&mut self, arrival: Option<Arrival>) -> Result<Stamp, Fault> {
        self.bytes = 0;
        // The one before, if any, was abandoned.
        self.forget();
        match arrival {
            Some(arrival) => {
                let opening = self.opened.findings().cloned();
                self.checked = Some(Checked::new(arrival, opening, &self.checks));
            }
            None => self.place().await?,
        }
        let mut id = [0; 8];
        self.replica.clock().fill(&mut id);
        Ok(Stamp { at: self.replica.clock().now(), id: format!("{:016X}", u64::from_be_bytes(id)) })
    }

    /// What is pushed from here on is the mail as it is kept.
    async fn place(&mut self) -> Result<(), Fault> {
        self.filters.begin();
        self.placing = Some(self.replica.place().await?);
        Ok(())
    }

    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if let Some(checked) = &mut self.checked {
            let pushed = checked.push(bytes).await;
            if pushed.is_err() {
                self.checked = None;
            }
            return pushed;
        }
        let Some(placing) = &mut self.placing else {
            return Err(Fault::Busy("no body is being placed".to_owned()));
        };
        self.filters.see(&bytes);
        let pushed = placing.push(bytes).await;
        if pushed.is_err() {
            self.placing = None;
        }
        pushed
    }

    fn forget(&mut self) {
        (self.placing, self.checked) = (None, None);
    }

    /// The last of a mail that may be taken.
    async fn take(&mut self, last: Bytes, bound: Bound, trace: Option<Trace>) -> Answer {
        let Some(trace) = trace else {
            if let Err(spent) = self.may_send(last.len()).await {
                self.forget();
                return Answer::Refused(sent_enough(spent));
            }
            return Answer::Delivered(log_fault("delivering", self.deliver(last, bound).await));
        };
        let answer = self.judge_and_deliver(last, bound, &trace).await;
        match log_fault("judging and delivering", answer) {
            Ok(Answer::Delivered(done)) => Answer::Delivered(log_fault("delivering", done)),
            Ok(answer) => answer,
            Err(fault) => Answer::Delivered(Err(fault)),
        }
    }

    /// Of a mail that was spooled: what becomes of it, and on with it where it is taken.
    async fn judge_and_deliver(&mut self, last: Bytes, bound: Bound, trace: &Trace) -> Result<Answer, Fault> {
        if bound.is_for_nobody() {
            self.checked = None;
            return Ok(Answer::Delivered(Ok(vec![Ok(()); bound.to.len()])));
        }
        self.push(last).await?;
        let Some(checked) = self.checked.take() else {
            return Err(Fault::Busy("no body is being read".to_owned()));
        };
        let directory = self.replica.directory();
        let (sealer, now) = (self.sealer(&bound), self.replica.clock().now());
        let judging = checked.judge((&directory, self.listed.skip()), (sealer, now), &self.checks);
        let mut judged = Box::pin(judging).await?;
        self.noted.judged(&judged);
        let bound = match judged.verdict {
            policy::Verdict::Accept => bound,
            policy::Verdict::Junk => match self.without_others(bound) {
                Ok(bound) => self.filed_as_junk(bound).await?,
                Err(refusal) => return Ok(Answer::Refused(refusal)),
            },
            policy::Verdict::Discard => return Ok(Answer::Delivered(Ok(vec![Ok(()); bound.to.len()]))),
            policy::Verdict::Refuse(refusal) => return Ok(Answer::Refused(refusal)),
        };
        self.place().await?;
        self.push(Bytes::from(trace.with(&judged.fields))).await?;
        while let Some(part) = judged.spooled.next().await.map_err(checked::fault)? {
            self.push(part).await?;
        }
        Ok(Answer::Delivered(self.deliver(Bytes::new(), bound).await))
    }

    /// Each to its owner's mailbox for junk, where there is one.
    async fn filed_as_junk(&mut self, mut bound: Bound) -> Result<Bound, Fault> {
        bound.is_junk = true;
        for target in bound.to.iter_mut().flatten() {
            let mailboxes = self.replica.mailboxes(target.account).await?;
            let is_junk = |mailbox: &&MailboxRecord| {
                mailbox.special_use == Some(SpecialUse::Junk) && !mailbox.no_select
            };
            target.detail = mailboxes.iter().find(is_junk).map(|mailbox| mailbox.name.clone());
        }
        Ok(bound)
    }
}

/// What hears a user who has sent as much as he may.
fn sent_enough(spent: Spent) -> policy::Refusal {
    policy::Refusal { code: 452, enhanced: "4.7.1", text: format!("{spent}, try again tomorrow") }
}

/// What hears a client whose host was blocked since it came.
fn blocked() -> policy::Refusal {
    policy::Refusal { code: 450, enhanced: "4.7.1", text: "Your address is blocked for a while".to_owned() }
}

pub(super) fn user_of(directory: &Directory, account: AccountId) -> Option<&Arc<User>> {
    directory.users.values().find(|user| user.account == account)
}

fn is_enabled(directory: &Directory, account: AccountId) -> bool {
    user_of(directory, account).is_some_and(|user| user.enabled)
}

/// Requirement 12.
fn not_own(text: &str) -> policy::Refusal {
    policy::Refusal { code: 553, enhanced: "5.7.1", text: text.to_owned() }
}

/// The client hears 451; the operator sees the cause.
pub(super) fn log_fault<T>(during: &str, result: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(fault) = &result {
        warn!("SMTP, {during}: {fault}");
    }
    result
}

impl<R: Replica> Backend<Smtp> for SmtpBackend<R> {
    fn standing(&self) -> Option<Standing> {
        self.who.as_ref().map(|who| self.logins.standing(who))
    }

    async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Login(claim) => {
                let login = self.watched.check(&self.logins, &claim).await;
                if let Err(refused) = &login {
                    info!("SMTP login as {:?}: {refused}", claim.login());
                }
                self.who = login.as_ref().ok().cloned();
                Answer::Login(login)
            }
            Question::Keys(login) => Answer::Keys(self.logins.keys(&login).await),
            Question::Delay { seconds } => Answer::Delayed(self.checks.delays.wait(seconds).await),
            Question::Sender { from, authenticated, helo, arrival } => {
                self.filters.opened();
                (self.from, self.stands_in) = (from.clone(), None);
                let opening = self.sender(&from, authenticated).await;
                let login = self.who.as_ref().filter(|_| authenticated).map(Authenticated::name);
                self.noted.opened((&from, login, &helo), &opening, self.replica.clock().now());
                // Who is kept out, or let send on, is asked nothing more.
                let goes_on = matches!(opening, Ok(Opening::Stranger | Opening::Unsure));
                let arrival = arrival.filter(|_| goes_on).map(|arrival| *arrival);
                // In a place of its own, as below: a session that asks nothing does not hold the room for it.
                Box::pin(self.opened.ask(arrival, &self.replica.directory(), &self.checks)).await;
                Answer::Sender(log_fault("looking up a sender", opening))
            }
            Question::Recipient { path, size, authenticated } => {
                let verdict = self.recipient(&path, size, authenticated).await;
                self.noted.recipient(&path, &verdict, self.replica.clock().now());
                Answer::Recipient(log_fault("looking up a recipient", verdict))
            }
            Question::BeginBody(_) if !self.may_begin().await => Answer::TooMany,
            Question::BeginBody(arrival) => {
                let begun = self.begin(arrival.map(|it| *it)).await;
                begun.iter().for_each(|stamp| self.noted.begun(stamp));
                Answer::Begun(log_fault("opening a body", begun))
            }
            Question::BodyChunk(bytes) => {
                self.noted.read(&bytes);
                Answer::Chunk(log_fault("placing a body", self.push(bytes).await))
            }
            Question::Deliver { last, to, names, outgoing, authors, trace } => {
                self.noted.read(&last);
                let answer = match self.owns(&authors.unwrap_or_default()).await {
                    Ok(true) => {
                        let bound = Bound { to, names, outgoing, is_junk: false };
                        self.take(last, bound, trace).await
                    }
                    Ok(false) => {
                        self.forget();
                        Answer::Refused(not_own("From holds an address that is not yours"))
                    }
                    Err(fault) => {
                        self.forget();
                        Answer::Delivered(log_fault("looking up an author", Err(fault)))
                    }
                };
                self.noted.ended(&answer, self.replica.clock().now());
                answer
            }
            Question::AbandonBody => {
                self.forget();
                Answer::Abandoned
            }
        }
    }
}
