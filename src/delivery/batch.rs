//! Some parcels for one destination, under one lease: found a server for, sent one after another, reported.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use super::care::{self, Care};
use super::client::{Addressee, Mail, Tls};
use super::leases::{Held, Leases};
use super::reply::{Class, Reply};
use super::report::{Tried, Via, report};
use super::routing::{Hop, Resolve, Way, route};
use super::silence::{Reached, SilentHosts};
use super::sts::{self, Heard, Policies};
use super::text::Needs;
use super::tls_reports::session::Subject;
use super::tls_reports::tally::Tally;
use super::trust::Demand;
use super::ways::{by_relay, usual_way, way_through};
use super::wire::{Broken, Call, Connection, Patience, Trouble};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::LeaseId;
use crate::mail::leaving::{outgoing, with_crlf};
use crate::maillog::MailLog;
use crate::policy::signing::{author_domain, sign};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::dkim::DkimKey;
use crate::state::outcome::Outcome;
use crate::state::queue::reading::{self, Parcel};
use crate::state::queue::{ParcelId, TlsWish};
use crate::state::rows::Rows;
use crate::state::stored::RecipientRow;
use crate::state::sts::StsMode;
use crate::state::tls_reports::{Day, FailedSession, TlsPolicy, TlsResult};

/// KiB of messages that are held while they are sent, over all connections; further ones wait.
const TEXT_KIB_MAX: u32 = 256 * 1024;
const CONNECT_MS_MAX: u64 = 30_000;
/// Reports of one connection that are not committed yet while the next mail is sent: what is sent twice when the node dies
/// just then is bounded by it.
const REPORTS_BEHIND_MAX: usize = 1;

/// What all batches share.
pub struct Shared<R, D> {
    pub replica: R,
    pub resolver: D,
    pub leases: Leases,
    pub silent: SilentHosts,
    pub tally: Tally,
    policies: Policies,
    log: MailLog,
    text_kib: Semaphore,
}

impl<R, D> Shared<R, D> {
    pub fn new(replica: R, resolver: D, log: MailLog) -> Self {
        let text_kib = Semaphore::new(TEXT_KIB_MAX as usize);
        let (leases, policies, tally) = (Leases::default(), Policies::default(), Tally::default());
        Self { replica, resolver, leases, silent: SilentHosts::default(), tally, policies, log, text_kib }
    }
}

/// Takes them, if nobody else has, and does with them what can be done now.
pub async fn run<R: Replica, D: Resolve>(
    shared: Arc<Shared<R, D>>,
    destination: String,
    parcels: Vec<ParcelId>,
) -> Reached {
    let (replica, since) = (&shared.replica, Instant::now());
    let lease = LeaseId(dice(replica));
    let command = Command::LeaseQueued { lease, node: replica.node(), parcels };
    let taken = match replica.propose(command).await {
        Ok(Outcome::Leased { parcels }) if !parcels.is_empty() => parcels,
        // Somebody else was first; or, with a fault, it is not known: the lease then lapses.
        Ok(_) => return Reached::Somebody,
        Err(fault) => {
            info!("outbound: nothing can be taken from the queue: {fault}");
            return Reached::Somebody;
        }
    };
    let held = shared.leases.hold(lease, since);
    let load = move |rows: &dyn Rows| {
        taken.into_iter().map(|id| reading::parcel(rows, id)).collect::<Result<Vec<_>, _>>()
    };
    match replica.read_queue(load).await {
        Ok(parcels) => {
            let batch = Batch { shared: &shared, patience: patience(&replica.directory()), held };
            batch.deliver(&destination, parcels.into_iter().flatten().collect()).await
        }
        Err(fault) => {
            warn!("outbound: what was taken from the queue cannot be read: {fault}");
            Reached::Somebody
        }
    }
}

pub fn dice<R: Replica>(replica: &R) -> u64 {
    let mut dice = [0; 8];
    replica.clock().fill(&mut dice);
    u64::from_be_bytes(dice)
}

fn patience(directory: &Directory) -> Patience {
    let answer_ms_max = directory.settings().delivery_answer_seconds_max() * 1_000;
    Patience { connect_ms_max: CONNECT_MS_MAX.min(answer_ms_max), answer_ms_max }
}

struct Batch<'a, R, D> {
    shared: &'a Shared<R, D>,
    patience: Patience,
    held: Held,
}

/// The servers of a destination, by one way, as they were found to be.
struct Servers {
    way: Way,
    hops: Vec<Hop>,
    /// No connection came about; not tried again by this batch.
    dead: BTreeSet<usize>,
    open: Option<(usize, Connection)>,
    /// What stood in the way last, and whose word it is.
    trouble: (Reply, Option<Via>),
    /// Whose they are, where sessions with them are counted.
    subject: Option<Subject>,
}

/// What came of a mail with one of them.
struct Sent {
    /// Of each recipient.
    said: Vec<Reply>,
    /// Whose word that is; `None`: ours.
    via: Option<Via>,
    tells_of_success: bool,
}

/// By the name of the relay; without one as the settings and the DNS say. And by the care that is taken.
type Ways = BTreeMap<(Option<String>, Care), Servers>;

impl<R: Replica, D: Resolve> Batch<'_, R, D> {
    async fn deliver(&self, destination: &str, parcels: Vec<Parcel>) -> Reached {
        let (mut ways, mut unsent, mut reports) = (Ways::new(), Vec::new(), FuturesUnordered::new());
        let mut reached = Reached::Nobody;
        for parcel in parcels {
            while reports.len() > REPORTS_BEHIND_MAX {
                reports.next().await;
            }
            if !self.held.lasts() {
                warn!("outbound: this node lost its hold on mail to {destination}; another one sends it");
                unsent.clear();
                reached = Reached::Somebody;
                break;
            }
            match meanwhile(self.attempt(destination, parcel, &mut ways), &mut reports).await {
                (tried, Reached::Somebody) => {
                    reached = Reached::Somebody;
                    reports.push(self.report(vec![tried]));
                }
                (tried, Reached::Nobody) => unsent.push(tried),
            }
        }
        while reports.next().await.is_some() {}
        for (_, connection) in ways.into_values().filter_map(|servers| servers.open) {
            connection.quit().await;
        }
        // What is wanted of one mail of a report holds for the notices of all.
        let (required, others): (Vec<Tried>, Vec<Tried>) =
            unsent.into_iter().partition(|tried| tried.parcel.tls == TlsWish::Required);
        for some in [required, others].into_iter().filter(|some| !some.is_empty()) {
            self.report(some).await;
        }
        reached
    }

    /// Each recipient by his way, and whether a server was reached by one of them.
    async fn attempt(&self, destination: &str, parcel: Parcel, ways: &mut Ways) -> (Tried, Reached) {
        let directory = self.shared.replica.directory();
        let nothing = Reply::of_ours(451, (4, 4, 1), "no server was tried");
        let mut said = vec![nothing; parcel.recipients.len()];
        let mut tells_of_success = vec![false; parcel.recipients.len()];
        let (mut by, mut reached) = (Vec::new(), Reached::Nobody);
        let (stands_in, care) = (self.stands_in_for(destination), Care::of(&parcel));
        for (relay, places) in by_relay(&parcel, &directory.relays, stands_in) {
            let name = (relay.map(|relay| relay.name.clone()), care);
            if !ways.contains_key(&name) {
                let way = match relay {
                    Some(relay) => way_through(relay, &directory, care),
                    // The relay host is for mail of ours: it might well bring this one back.
                    None if stands_in => Way { relay: None, ..usual_way(&directory, care) },
                    None => usual_way(&directory, care),
                };
                ways.insert(name.clone(), self.servers(way, destination).await);
            }
            let Some(servers) = ways.get_mut(&name) else { continue };
            let recipients = places.iter().filter_map(|place| parcel.recipients.get(*place)).cloned();
            let part = Parcel { recipients: recipients.collect(), ..parcel.clone() };
            let sent = self.send(servers, &part).await;
            if sent.is_some() {
                reached = Reached::Somebody;
            }
            let sent = sent.unwrap_or_else(|| Sent {
                said: vec![servers.trouble.0.clone(); places.len()],
                via: servers.trouble.1.clone(),
                tells_of_success: false,
            });
            for (place, reply) in places.into_iter().zip(sent.said) {
                (said[place], tells_of_success[place]) = (reply, sent.tells_of_success);
            }
            by.push(sent.via);
        }
        by.sort();
        by.dedup();
        // Of several ways none speaks for all.
        let via = if by.len() == 1 { by.pop().flatten() } else { None };
        (Tried { parcel, said, tells_of_success, via }, reached)
    }

    async fn servers(&self, way: Way, destination: &str) -> Servers {
        let mut subject = self.subject(&way, destination);
        let (hops, trouble) = match self.hops(&way, destination, &mut subject).await {
            Ok(hops) => (hops, Reply::of_ours(451, (4, 4, 1), "no server was tried")),
            Err(reply) if reply.status() == LOOP && self.stands_in_for(destination) => {
                let why = format!(
                    "{destination} is in relay.inbound_domains, and no better server than this one is in the DNS; name a \
                     relay for @{destination}, or publish its MX"
                );
                warn!("outbound: {why}");
                (Vec::new(), Reply::of_ours(451, (4, 4, 6), why))
            }
            Err(reply) => (Vec::new(), reply),
        };
        Servers { way, hops, dead: BTreeSet::new(), open: None, trouble: (trouble, None), subject }
    }

    /// RFC 8460: sessions by the DNS alone, and as the domain itself wants them to be.
    fn subject(&self, way: &Way, destination: &str) -> Option<Subject> {
        let is_wanted = self.shared.replica.directory().settings().delivery_tls_reports();
        let is_usual = way.relay.is_none() && way.care == Care::Usual && !destination.starts_with('[');
        (is_wanted && is_usual).then(|| Subject { domain: destination.to_owned(), sts: None })
    }

    /// Where the mail goes, and what each server must prove.
    async fn hops(
        &self,
        way: &Way,
        destination: &str,
        subject: &mut Option<Subject>,
    ) -> Result<Vec<Hop>, Reply> {
        let Shared { replica, resolver, policies, .. } = self.shared;
        let hops = route(way, destination, resolver, dice(replica)).await?;
        let by_dane = |hop: &Hop| matches!(hop.demand, Demand::Dane(_));
        // The operator's word holds for a relay, an address has no policy, and DANE needs none.
        let asks_nothing = way.relay.is_some() || destination.starts_with('[') || way.care == Care::Waived;
        if asks_nothing || hops.iter().all(by_dane) {
            return Ok(hops);
        }
        let heard = policies.of(destination, replica, resolver).await;
        let Heard { policy, missed } = heard.map_err(|fault| {
            let why = format!("what is demanded of {destination}'s servers cannot be read now: {fault}");
            Reply::of_ours(451, (4, 3, 0), why)
        })?;
        if let Some(subject) = subject {
            subject.sts = policy.clone().filter(|policy| policy.mode != StsMode::None);
            if let Some((result, why)) = &missed {
                self.note_without_server(subject, (*result, why));
            }
        }
        let hops = sts::held_to(policy.as_ref(), destination, hops).inspect_err(|refused| {
            if let Some(subject) = subject {
                self.note_without_server(subject, (TlsResult::ValidationFailure, &refused.text));
            }
        })?;
        match way.care {
            Care::Proven => care::proven(hops, policy.as_ref(), destination),
            Care::Usual | Care::Waived => Ok(hops),
        }
    }

    fn note_without_server(&self, subject: &Subject, why: (TlsResult, &str)) {
        let (policy, failed) = subject.without_server(why);
        self.note_session(subject, policy, Some(failed));
    }

    fn note_session(&self, subject: &Subject, policy: TlsPolicy, failed: Option<FailedSession>) {
        let day = Day::of(self.shared.replica.clock().now());
        self.shared.tally.note(day, &subject.domain, policy, failed);
    }

    fn stands_in_for(&self, destination: &str) -> bool {
        self.shared.replica.directory().settings().is_inbound(destination)
    }

    /// `None`: no server can be reached.
    async fn send(&self, servers: &mut Servers, parcel: &Parcel) -> Option<Sent> {
        // First of all: where nobody is there, the text is not even read.
        let (mut at, mut connection) = self.connected(servers, 0).await?;
        let kib = (parcel.mail.size / 1024 + 1).min(TEXT_KIB_MAX);
        let _room = self.shared.text_kib.acquire_many(kib).await.ok()?;
        let mail = match self.text(parcel).await {
            Ok(text) => mail_of(parcel, text),
            Err(fault) => {
                servers.open = Some((at, connection));
                let said = vec![ours(&fault); parcel.recipients.len()];
                return Some(Sent { said, via: None, tells_of_success: false });
            }
        };
        loop {
            let host = servers.hops[at].host.clone();
            let via = Some(Via { host, tls: Some(connection.protection()) });
            let sent = connection.send(mail.clone(), &|| self.held.lasts()).await;
            let tells_of_success = connection.offers_dsn();
            match sent {
                Ok(said) => {
                    servers.open = Some((at, connection));
                    return Some(Sent { said, via, tells_of_success });
                }
                Err(Broken { said, past_the_end }) => {
                    let broke = Some(Sent { said, via, tells_of_success });
                    // The mail may be there: not another time before it is known that it was not.
                    if past_the_end {
                        return broke;
                    }
                    match self.connected(servers, at + 1).await {
                        Some(next) => (at, connection) = next,
                        None => return broke,
                    }
                }
            }
        }
    }

    async fn text(&self, parcel: &Parcel) -> Result<Bytes, Fault> {
        let text = with_crlf(outgoing(&self.shared.replica.body(parcel.mail.body).await?));
        // What others wrote is theirs to sign, whatever name they wrote under.
        Ok(if parcel.passed_on { text } else { self.signed(text).await })
    }

    /// With a signature by each key of its author's domain. What cannot be signed goes without.
    async fn signed(&self, text: Bytes) -> Bytes {
        let directory = self.shared.replica.directory();
        let Some(domain) = author_domain(&text) else { return text };
        let keys: Vec<DkimKey> = directory.dkim.signing(&domain).cloned().collect();
        if keys.is_empty() {
            return text;
        }
        // A large one takes the processor for long.
        let unsigned = text.clone();
        let signing = tokio::task::spawn_blocking(move || sign(&unsigned, &keys));
        match signing.await {
            Ok(Ok(fields)) => [Bytes::from(fields), text].concat().into(),
            Ok(Err(error)) => {
                warn!("outbound: a mail by an author in {domain} goes unsigned: {error}");
                text
            }
            Err(error) => {
                warn!("outbound: a mail by an author in {domain} goes unsigned: {error}");
                text
            }
        }
    }

    /// The open connection, or one to the first server from `first` on that can be reached.
    async fn connected(&self, servers: &mut Servers, first: usize) -> Option<(usize, Connection)> {
        if first == 0
            && let Some(open) = servers.open.take()
        {
            return Some(open);
        }
        for at in first..servers.hops.len() {
            if servers.dead.contains(&at) {
                continue;
            }
            let hop = servers.hops[at].clone();
            let opened = match self.shared.silent.of(hop.address) {
                Some(why) => Err(why),
                None => self.open(servers, &hop).await,
            };
            match opened {
                Ok(connection) => return Some((at, connection)),
                Err(reply) => {
                    // A server that may do it later is not forgotten for one that never will.
                    let (known, class) = (!servers.dead.is_empty(), servers.trouble.0.class());
                    let waits = servers.way.care == Care::Proven && known && class == Class::Temporary;
                    servers.dead.insert(at);
                    if !waits {
                        servers.trouble = (reply, Some(Via { host: hop.host, tls: None }));
                    }
                }
            }
        }
        None
    }

    async fn open(&self, servers: &Servers, hop: &Hop) -> Result<Connection, Reply> {
        let way = &servers.way;
        let directory = self.shared.replica.directory();
        let authorities = &directory.authorities;
        let call = Call { hop, way, demand: &hop.demand, authorities, patience: self.patience };
        let since = Instant::now();
        let opened = Connection::open(&call).await;
        if let Some(trouble) = opened.as_ref().err().filter(|trouble| trouble.is_silence()) {
            self.shared.silent.note(hop.address, since, trouble.reply.clone());
        }
        if let Some(subject) = &servers.subject
            && let Some((policy, failed)) = subject.session(hop, &opened)
        {
            self.note_session(subject, policy, failed);
        }
        match opened {
            Ok(connection) if way.care == Care::Proven && !connection.offers_require_tls() => {
                connection.quit().await;
                Err(care::no_promise(&hop.host))
            }
            Ok(connection) => Ok(connection),
            Err(Trouble { tls: Some(failure), reply, .. })
                if way.care == Care::Proven && failure.is_lasting() =>
            {
                Err(care::unprotected(&reply.text))
            }
            // RFC 7435: broken encryption protects nobody better than none.
            Err(Trouble { tls: Some(_), reply, .. }) if hop.demand.tls() == Tls::Opportunistic => {
                info!("outbound: {} offers TLS and cannot do it ({reply}): sent in the clear", hop.host);
                let call = Call { demand: &Demand::Clear, ..call };
                Connection::open(&call).await.map_err(|trouble| trouble.reply)
            }
            Err(trouble) => Err(trouble.reply),
        }
    }

    async fn report(&self, tried: Vec<Tried>) {
        report(&self.shared.replica, (&self.held, &self.shared.log), tried).await;
    }
}

/// RFC 3463 3.5: where mail leads back to us.
const LOOP: &str = "5.4.6";

/// What comes of `work`, while `others` go on.
async fn meanwhile<T>(work: impl Future<Output = T>, others: &mut FuturesUnordered<impl Future>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            Some(_) = others.next() => {}
        }
    }
}

/// Local trouble is no word of any server's, and never for good.
fn ours(fault: &Fault) -> Reply {
    Reply::of_ours(451, (4, 3, 0), format!("the message cannot be read now: {fault}"))
}

fn mail_of(parcel: &Parcel, text: Bytes) -> Mail {
    let addressee = |(_, to): &(u16, RecipientRow)| Addressee {
        address: to.address.clone(),
        notify: to.notify,
        orcpt: to.orcpt.clone(),
    };
    Mail {
        sender: parcel.mail.sender.clone(),
        to: parcel.recipients.iter().map(addressee).collect(),
        envid: parcel.mail.envid.clone(),
        ret: parcel.mail.ret,
        smtputf8: parcel.mail.smtputf8,
        tls: parcel.tls,
        needs: Needs::of(&text),
        text,
    }
}

/// Between two tries to report what cannot be reported now.
pub const REPORT_AGAIN: Duration = Duration::from_millis(500);
