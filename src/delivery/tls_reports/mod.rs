//! Reports on TLS to the domains that ask for them (RFC 8460): each node counts its sessions with their servers, all counts
//! come together in the replicated state, and one node sends the report of a day.
//!
//! What it must never do: send a report twice, or count the sessions that carry reports.

mod post;
mod record;
pub mod session;
pub mod tally;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use self::record::{Url, Wanted};
use self::text::{Report, packed};
use super::batch::{Shared, dice};
use super::routing::Resolve;
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::dns::DnsError;
use crate::mail::address::Address;
use crate::mail::ids::{NodeId, Timestamp};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::Submit;
use crate::state::queue::way_back::way_back;
use crate::state::tls_reports::{
    self, DOMAINS_PER_TALLY_MAX, Day, DayCounts, DomainTally, Extent, TlsReport, TlsTally,
};

/// Between two times at which counts are told and reports are sent that are due: what a node loses of its counts when it dies.
const LOOK_EACH_MS: u64 = 10_000;
/// Questions to the DNS at once.
const QUESTIONS_MAX: usize = 16;
/// Counts that are read at once.
const PAGE: usize = 1_000;
/// The first report of a day, after its end; both nodes have told what they counted.
const AFTER_DAY_MS: u64 = 600_000;
/// RFC 8460 4.1: reports are spread over so long.
const SPREAD_MS: u64 = 4 * 3_600_000;
/// The node that counted last is left so much time to report.
const OTHERS_AFTER_MS: u64 = 900_000;
/// Reports to web servers that are under way; more are given up.
const POSTS_MAX: usize = 50;
/// RFC 8460 5.5: before each try with a web server.
const POST_AFTER_SECONDS: [u64; 4] = [0, 60, 900, 3_600];

/// A report that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub domain: String,
    pub day: Day,
    /// Addresses, and web servers, to which it may still be on its way.
    pub to: Vec<String>,
}

/// Asks for reports of what was counted so far.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<oneshot::Sender<Vec<Sent>>>);

impl Asker {
    /// And the ear that hears it.
    pub fn new() -> (Self, mpsc::Receiver<oneshot::Sender<Vec<Sent>>>) {
        let (ask, asked) = mpsc::channel(1);
        (Self(ask), asked)
    }

    /// Of all days and domains, by this node. `None`: deliveries have ended.
    pub async fn send_now(&self) -> Option<Vec<Sent>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}

/// Until `stop` turns true. What was counted until then is told.
pub async fn keep<R: Replica, D: Resolve>(
    shared: Arc<Shared<R, D>>,
    mut asked: mpsc::Receiver<oneshot::Sender<Vec<Sent>>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut reporter = Reporter { shared, posts: JoinSet::new() };
    loop {
        let answer = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(answer) = asked.recv() => Some(answer),
            () = sleep(Duration::from_millis(LOOK_EACH_MS)) => None,
        };
        reporter.tell().await;
        match answer {
            Some(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(reporter.send(Whose::All).await);
            }
            None => _ = reporter.send(Whose::Due).await,
        }
        while reporter.posts.try_join_next().is_some() {}
    }
    reporter.tell().await;
}

/// Which reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Of days that are over, each at its time.
    Due,
    /// Of every day, whatever was counted of it so far.
    All,
}

struct Reporter<R, D> {
    shared: Arc<Shared<R, D>>,
    posts: JoinSet<()>,
}

impl<R: Replica, D: Resolve> Reporter<R, D> {
    /// Whether a domain wants reports is asked here, and not on the way of its mail.
    async fn tell(&self) {
        let counted = stream::iter(self.shared.tally.take());
        let asked = counted.map(|(day, tally)| async move {
            let wanted = self.wanted(&tally.domain).await;
            (day, tally, wanted)
        });
        let mut asked = asked.buffer_unordered(QUESTIONS_MAX);
        let mut days: BTreeMap<Day, Vec<DomainTally>> = BTreeMap::new();
        while let Some((day, tally, wanted)) = asked.next().await {
            match wanted {
                Ok(Some(_)) => days.entry(day).or_default().push(tally),
                Ok(None) => {}
                Err(_) => self.shared.tally.add(day, tally),
            }
        }
        for (day, domains) in days {
            for some in domains.chunks(DOMAINS_PER_TALLY_MAX) {
                self.tell_some(day, some).await;
            }
        }
    }

    async fn tell_some(&self, day: Day, domains: &[DomainTally]) {
        let replica = &self.shared.replica;
        let tally = TlsTally { node: replica.node(), day, domains: domains.to_vec() };
        match replica.propose(Command::TallyTls(Box::new(tally))).await {
            Ok(Outcome::Done) => {}
            Ok(other) => warn!("outbound: counts of TLS sessions are not kept: {other:?}"),
            // They may be kept all the same: rather counted twice than not at all.
            Err(fault) => {
                info!("outbound: counts of TLS sessions cannot be kept now: {fault}");
                domains.iter().for_each(|tally| self.shared.tally.add(day, tally.clone()));
            }
        }
    }

    /// `Err`: it is not known now.
    async fn wanted(&self, domain: &str) -> Result<Option<Wanted>, DnsError> {
        match self.shared.resolver.txt(&format!("_smtp._tls.{domain}")).await {
            Ok(records) => Ok(record::wanted(&records)),
            Err(DnsError::NoSuchName | DnsError::NoData) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(&mut self, whose: Whose) -> Vec<Sent> {
        let replica = self.shared.replica.clone();
        let mut all = Vec::new();
        if !replica.directory().settings().delivery_tls_reports() {
            return all;
        }
        let (mut after, now) = (None::<DayCounts>, replica.clock().now());
        let today = Day::of(now);
        let before = if whose == Whose::All { today.next() } else { today };
        loop {
            let from = after.take();
            let page =
                replica.read_queue(move |rows| tls_reports::open(rows, before, from.as_ref(), PAGE)).await;
            let page = match page {
                Ok(page) => page,
                Err(fault) => {
                    warn!("outbound: counts of TLS sessions cannot be read: {fault}");
                    return all;
                }
            };
            for of in &page {
                if whose == Whose::All || due_at(of, replica.node()) <= now {
                    let extent = if of.day < today { Extent::Whole } else { Extent::SoFar };
                    match self.report(of, extent, now).await {
                        Ok(sent) => all.extend(sent),
                        Err(why) => info!("outbound: no report on TLS to {} now: {why}", of.domain),
                    }
                }
            }
            if page.len() < PAGE {
                return all;
            }
            after = page.last().cloned();
        }
    }

    /// `None`: there is nobody to tell, nothing to tell, or another node does.
    async fn report(
        &mut self,
        of: &DayCounts,
        extent: Extent,
        now: Timestamp,
    ) -> Result<Option<Sent>, String> {
        let replica = self.shared.replica.clone();
        let directory = replica.directory();
        let from = sender(&directory).ok_or("there is no mail domain in whose name it could be")?;
        let (day, domain) = (of.day, of.domain.clone());
        let read = replica.read_queue(move |rows| tls_reports::counts(rows, day, &domain)).await;
        let Some((row, policies)) = read.map_err(|fault| fault.to_string())? else { return Ok(None) };
        let wanted = self.wanted(&of.domain).await.map_err(|error| error.to_string())?;
        let wanted = wanted.filter(|_| !policies.is_empty());
        if wanted.is_none() && extent == Extent::SoFar {
            return Ok(None);
        }
        let until = match extent {
            Extent::Whole => Timestamp(of.day.next().begins().0.saturating_sub(1_000)),
            Extent::SoFar => now,
        };
        let report = Report {
            domain: &of.domain,
            day: of.day,
            since: row.since,
            until,
            policies: &policies,
            number: row.reports.saturating_add(1),
            from: &from,
            own_name: directory.settings().hostname(),
        };
        let packed = packed(&report.json());
        let Wanted { mails: to, posts } = wanted.unwrap_or_default();
        let mails = self.mails(&report, &to, &packed, now).await.map_err(|fault| fault.to_string())?;
        let (mut to, mails): (Vec<String>, Vec<Submit>) = mails.into_iter().unzip();
        let (day, domain) = (of.day, of.domain.clone());
        let command = TlsReport { day, domain, changes: row.changes, extent, mails };
        match replica.propose(Command::ReportTls(Box::new(command))).await {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Refused(Refusal::Changed)) => return Ok(None),
            Ok(other) => return Err(format!("it was answered with {other:?}")),
            Err(fault) => return Err(fault.to_string()),
        }
        to.extend(posts.iter().map(|url| format!("https://{}{}", url.host, url.path)));
        if to.is_empty() {
            return Ok(None);
        }
        info!("outbound: a report on TLS to {} goes to {}", of.domain, to.join(", "));
        posts.into_iter().for_each(|url| self.post(url, packed.clone()));
        Ok(Some(Sent { domain: of.domain.clone(), day: of.day, to }))
    }

    /// One for each address at which somebody is.
    async fn mails(
        &self,
        report: &Report<'_>,
        to: &[Address],
        packed: &[u8],
        now: Timestamp,
    ) -> Result<Vec<(String, Submit)>, Fault> {
        let replica = &self.shared.replica;
        let mut mails = Vec::new();
        for address in to {
            let Some((here, mut queue)) = way_back(&replica.directory(), address, (replica.node(), false))
            else {
                info!(
                    "outbound: nobody is at {address}, which is to get reports on TLS to {}",
                    report.domain
                );
                continue;
            };
            // Who fails to take it is told of to nobody: its recipients ask for no notice.
            if let Some(queue) = &mut queue {
                queue.sender = report.from.to_string();
            }
            let mut placing = replica.place().await?;
            placing.push(report.mail(address, packed, (now, dice(replica))).into()).await?;
            mails.push((address.to_string(), Submit { body: placing.finish().await?, to: here, queue }));
        }
        Ok(mails)
    }

    /// No part of the promises: a node that stops takes no more pains with it.
    fn post(&mut self, url: Url, packed: Vec<u8>) {
        let shared = Arc::clone(&self.shared);
        if self.posts.len() >= POSTS_MAX {
            return warn!("outbound: too many reports on TLS are under way; none goes to {}", url.host);
        }
        self.posts.spawn(async move {
            for wait in POST_AFTER_SECONDS {
                sleep(Duration::from_secs(wait)).await;
                let authorities = shared.replica.directory().authorities.clone();
                match post::post(&url, &packed, &shared.resolver, &authorities).await {
                    Ok(()) => return,
                    Err(why) => info!("outbound: {} does not take a report on TLS: {why}", url.host),
                }
            }
        });
    }
}

/// When a report of a day that is over is sent by this node. No dice: all nodes reckon alike.
fn due_at(of: &DayCounts, node: NodeId) -> Timestamp {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(of.domain.as_bytes()).as_bytes()[..8]);
    let spread = u64::from_be_bytes(first) % SPREAD_MS;
    let patience = if of.row.near == node { 0 } else { OTHERS_AFTER_MS };
    Timestamp(of.day.next().begins().0.saturating_add(AFTER_DAY_MS + spread + patience))
}

/// In whose name reports are: RFC 8460 5.3 wants a signature by its domain.
fn sender(directory: &Directory) -> Option<Address> {
    let set = directory.settings().delivery_tls_reports_from();
    let first = || directory.domains.first().map(|domain| format!("postmaster@{domain}"));
    let sender = if set.is_empty() { first()? } else { set.to_owned() };
    Address::parse(&sender).ok()
}
