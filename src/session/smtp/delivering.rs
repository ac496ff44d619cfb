//! A mail that is taken: from its last octets to the entry that keeps it, and what users' filters want done besides.

use std::collections::BTreeMap;

use bytes::Bytes;
use tracing::{info, warn};

use super::backend::SmtpBackend;
use super::envelope::RcptParams;
use super::filtering::{self, Names, Redirect, Sorted};
use super::machine::Outgoing;
use super::reply::{self, Reply};
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::address::Address;
use crate::mail::flags::NamedFlags;
use crate::mail::ids::{AccountId, Timestamp};
use crate::session::login::Authenticated;
use crate::sieve::Vacation;
use crate::state::command::{Command, Deliver, DeliverTo, PlacedBody};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::way_back::way_back;
use crate::state::queue::{
    Acceptance, AcceptanceWithTls, NewQueued, NewRecipient, Submit, TlsWish, destination, parcels,
};
use crate::state::routing::LocalTarget;
use crate::state::sieve::{ReplyId, VacationReply};
use crate::state::srs::TooLong;

/// Whom a mail is for.
pub struct Bound {
    /// Of each recipient, the mailboxes here that it leads to.
    pub to: Vec<Vec<LocalTarget>>,
    pub names: Box<Names>,
    pub outgoing: Option<Outgoing>,
    /// Judged to be: it goes where it is told, and no filter sees it.
    pub is_junk: bool,
}

impl Bound {
    /// The lists drop it for each of its recipients.
    pub fn is_for_nobody(&self) -> bool {
        self.outgoing.is_none() && !self.to.is_empty() && self.to.iter().all(Vec::is_empty)
    }
}

impl<R: Replica> SmtpBackend<R> {
    /// One result for each recipient.
    pub(super) async fn deliver(
        &mut self,
        last: Bytes,
        mut bound: Bound,
    ) -> Result<Vec<Result<(), Reply>>, Fault> {
        let recipients = bound.to.len();
        if bound.is_for_nobody() {
            self.placing = None;
            return Ok(vec![Ok(()); recipients]);
        }
        if !last.is_empty() {
            self.push(last).await?;
        }
        let Some(placing) = self.placing.take() else {
            return Err(Fault::Busy("no body is being placed".to_owned()));
        };
        bound.to = self.without_missing_mailboxes(bound.to).await?;
        let by_stranger = bound.names.by_stranger;
        if let Some(outgoing) = bound.outgoing.as_mut().filter(|_| by_stranger)
            && let Some(through) = bound.names.first_elsewhere()
        {
            outgoing.sender = match Box::pin(self.return_address(&bound.names.from, through)).await? {
                Ok(sender) => sender,
                // As each recipient would have heard.
                Err(TooLong) => return Ok(vec![Err(reply::SENDER_TOO_LONG); recipients]),
            };
        }
        let sorted = Box::pin(self.sort(&bound)).await?;
        self.noted.filtered(&sorted.told);
        let refused = sorted.refused.iter().flatten().next().map(|reason| filtering::refusal(reason));
        let goes_nowhere = sorted.places.iter().all(Vec::is_empty) && sorted.redirects.is_empty();
        if goes_nowhere && bound.outgoing.is_none() {
            let each = |reason: &Option<String>| match (reason, &refused) {
                (Some(_), Some(reply)) => Err(reply.clone()),
                _ => Ok(()),
            };
            let results = sorted.refused.iter().map(each).collect();
            drop(placing);
            self.answer_for_the_absent(sorted.replies).await;
            return Ok(results);
        }
        let body = placing.finish().await?;
        let successes = Box::pin(self.successes(&body, &bound, &sorted)).await?;
        let how = How { by_stranger, tls: bound.names.tls };
        let results = self.keep(&body, &sorted, (bound.outgoing, how), successes).await?;
        if results.iter().any(Result::is_ok) {
            for redirect in sorted.redirects {
                self.redirect(&body, redirect, how).await?;
            }
            self.answer_for_the_absent(sorted.replies).await;
        }
        Ok(results)
    }

    async fn sort(&mut self, bound: &Bound) -> Result<Sorted, Fault> {
        if bound.is_junk {
            let places = |targets: &Vec<LocalTarget>| {
                targets.iter().map(|target| filtering::place(target, NamedFlags::default())).collect()
            };
            let (refused, told) = (vec![None; bound.to.len()], bound.stays());
            let places = bound.to.iter().map(places).collect();
            return Ok(Sorted { places, refused, told, ..Sorted::default() });
        }
        let replica = self.replica.clone();
        self.filters.sort(&replica, (&bound.to, &*bound.names), bound.outgoing.is_some()).await
    }

    /// What comes to mailboxes here and to other servers as the client wants it, in one entry.
    async fn keep(
        &mut self,
        body: &PlacedBody,
        sorted: &Sorted,
        (outgoing, how): (Option<Outgoing>, How),
        successes: Vec<Submit>,
    ) -> Result<Vec<Result<(), Reply>>, Fault> {
        let fan_out = FanOut::new(&sorted.places);
        let of_filter = |results: Vec<Result<(), Reply>>| {
            let reasons = sorted.refused.iter();
            let each = results.into_iter().zip(reasons);
            each.map(|(result, reason)| match reason {
                Some(reason) => Err(filtering::refusal(reason)),
                None => result,
            })
            .collect()
        };
        let recipients = sorted.places.len();
        let (body, to) = (body.clone(), fan_out.deliveries.clone());
        let queue = outgoing.map(|outgoing| self.queued(outgoing));
        // One entry for all recipients, and for what is told of them: 250 means that all of it is kept.
        let as_one = queue.is_some() || !successes.is_empty();
        let command = match as_one {
            true => submission(Submit { body, to, queue }, (how, successes)),
            // Redirected, and nothing else.
            false if to.is_empty() => return Ok(of_filter(vec![Ok(()); recipients])),
            false => Command::Deliver(Deliver { body, to }),
        };
        let (entry, outcome) = self.replica.commit(command).await?;
        match outcome {
            Outcome::Submitted { queued, .. } => {
                self.noted.kept(entry);
                self.noted.queued(queued);
                Ok(of_filter(vec![Ok(()); recipients]))
            }
            Outcome::Delivered { results } => {
                self.noted.kept(entry);
                let results: Vec<_> = results.into_iter().map(|result| result.map(|_| ())).collect();
                Ok(of_filter(fan_out.per_recipient(&results)))
            }
            Outcome::Refused(refusal) => Ok(vec![Err(Reply::of_refusal(&refusal)); recipients]),
            other => {
                tracing::error!("a delivery was answered with {other:?}");
                Err(Fault::Busy("an answer that does not fit a delivery".to_owned()))
            }
        }
    }

    /// RFC 5228 4.2. Committed before the mail is acknowledged, as every copy of it.
    async fn redirect(&mut self, body: &PlacedBody, redirect: Redirect, how: How) -> Result<(), Fault> {
        let Redirect { account, sender, to } = redirect;
        let smtputf8 = !sender.is_ascii() || to.iter().any(Address::is_utf8);
        let recipient = |address: &Address| {
            let to = NewRecipient { address: address.to_string(), orcpt: None, notify: None };
            (destination(address), to)
        };
        let queue = NewQueued {
            sender,
            account: Some(account),
            near: self.replica.node(),
            envid: None,
            ret: None,
            smtputf8,
            parcels: parcels(to.iter().map(recipient)),
        };
        let submit = Submit { body: body.clone(), to: Vec::new(), queue: Some(queue) };
        let (entry, outcome) = self.replica.commit(submission(submit, (how, Vec::new()))).await?;
        match outcome {
            Outcome::Submitted { queued, .. } => {
                self.noted.kept(entry);
                self.noted.queued(queued);
                Ok(())
            }
            other => {
                warn!("what the filter of account {account} redirects is answered with {other:?}");
                Err(Fault::Busy("the queue does not take what a filter redirects".to_owned()))
            }
        }
    }

    /// Vacation replies are no part of the promises: the mail is kept whatever becomes of them.
    async fn answer_for_the_absent(&mut self, replies: Vec<(AccountId, Vacation)>) {
        for (account, vacation) in replies {
            match Box::pin(self.answer_for(account, &vacation)).await {
                Ok(outcome) => info!("a vacation reply of account {account}: {outcome:?}"),
                Err(fault) => warn!("a vacation reply of account {account} is left out: {fault}"),
            }
        }
    }

    async fn answer_for(&mut self, account: AccountId, vacation: &Vacation) -> Result<Outcome, Fault> {
        let directory = self.replica.directory();
        let smtputf8 = vacation.to.is_utf8() || vacation.from.address.is_utf8();
        let Some((to, queue)) = way_back(&directory, &vacation.to, (self.replica.node(), smtputf8)) else {
            return Err(Fault::Busy("nobody is at the sender's address".to_owned()));
        };
        let now = self.replica.clock().now();
        let mut dice = [0; 8];
        self.replica.clock().fill(&mut dice);
        let id = format!("{:016x}.{now}@{}", u64::from_be_bytes(dice), directory.settings().hostname());
        let mut placing = self.replica.place().await?;
        placing.push(vacation.compose(now, &id).into()).await?;
        let submit = Submit { body: placing.finish().await?, to, queue };
        let until = Timestamp(now.0.saturating_add(vacation.seconds.saturating_mul(1000)));
        let reply = ReplyId::of(vacation.handle, &vacation.to.canonical());
        let command = Command::Vacation(Box::new(VacationReply { account, reply, until, submit }));
        self.replica.propose(command).await
    }

    fn queued(&mut self, outgoing: Outgoing) -> NewQueued {
        let recipient = |(address, params): (Address, RcptParams)| {
            let to =
                NewRecipient { address: address.to_string(), orcpt: params.orcpt, notify: params.notify };
            (destination(&address), to)
        };
        NewQueued {
            sender: outgoing.sender,
            account: self.who.as_ref().map(Authenticated::account),
            near: self.replica.node(),
            envid: outgoing.params.envid,
            ret: outgoing.params.ret,
            smtputf8: outgoing.params.smtputf8,
            parcels: parcels(outgoing.recipients.into_iter().map(recipient)),
        }
    }

    /// `alice+none` means INBOX where there is no mailbox `none`: beside `alice` that is no second copy.
    async fn without_missing_mailboxes(
        &mut self,
        mut to: Vec<Vec<LocalTarget>>,
    ) -> Result<Vec<Vec<LocalTarget>>, Fault> {
        for target in to.iter_mut().flatten() {
            let Some(wanted) = &target.detail else { continue };
            let found = self.replica.mailbox(target.account, wanted).await?;
            if found.is_none_or(|found| found.no_select || found.name == "INBOX") {
                target.detail = None;
            }
        }
        Ok(to)
    }
}

/// How a mail goes on, if it does.
#[derive(Clone, Copy)]
struct How {
    by_stranger: bool,
    tls: TlsWish,
}

/// What a stranger wrote is passed on as that.
fn submission(mail: Submit, (how, notices): (How, Vec<Submit>)) -> Command {
    let is_plain = !how.by_stranger && notices.is_empty();
    match how.tls {
        TlsWish::Usual if is_plain => Command::Submit(Box::new(mail)),
        TlsWish::Usual => Command::Accept(Box::new(Acceptance { mail, passed_on: how.by_stranger, notices })),
        TlsWish::Required | TlsWish::Waived => {
            let acceptance = Acceptance { mail, passed_on: how.by_stranger, notices };
            Command::AcceptWithTls(Box::new(AcceptanceWithTls { acceptance, tls: how.tls }))
        }
    }
}

/// One copy per mailbox, however many of the recipients lead there.
struct FanOut {
    deliveries: Vec<DeliverTo>,
    /// For each recipient, its entries in `deliveries`.
    of_recipient: Vec<Vec<usize>>,
}

impl FanOut {
    fn new(to: &[Vec<DeliverTo>]) -> Self {
        let mut deliveries = Vec::new();
        let mut known: BTreeMap<(AccountId, String), usize> = BTreeMap::new();
        let mut of_recipient = Vec::with_capacity(to.len());
        for targets in to {
            let mut entries = Vec::with_capacity(targets.len());
            for target in targets {
                let at = *known.entry((target.account, target.mailbox.clone())).or_insert_with(|| {
                    deliveries.push(DeliverTo { flags: NamedFlags::default(), ..target.clone() });
                    deliveries.len() - 1
                });
                deliveries[at].flags.join(&target.flags);
                entries.push(at);
            }
            of_recipient.push(entries);
        }
        Self { deliveries, of_recipient }
    }

    /// A recipient is served when all that it leads to are.
    fn per_recipient(&self, results: &[Result<(), Refusal>]) -> Vec<Result<(), Reply>> {
        let missing = Err(Refusal::Expired);
        let of = |entries: &Vec<usize>| {
            let mut each = entries.iter().map(|at| results.get(*at).unwrap_or(&missing));
            let refusal = each.find_map(|result| result.as_ref().err());
            refusal.map_or(Ok(()), |refusal| Err(Reply::of_refusal(refusal)))
        };
        self.of_recipient.iter().map(of).collect()
    }
}
