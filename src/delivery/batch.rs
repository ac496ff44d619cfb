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

use super::client::login::Login;
use super::client::{Addressee, Mail};
use super::leases::{Held, Leases};
use super::reply::Reply;
use super::report::{Tried, Via, report};
use super::routing::{Hop, Resolve, Way, route};
use super::silence::{Reached, SilentHosts};
use super::sts::{self, Policies};
use super::text::Needs;
use super::trust::Demand;
use super::wire::{Broken, Call, Connection, Patience, Trouble, TroubleKind};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::LeaseId;
use crate::mail::leaving::{outgoing, with_crlf};
use crate::maillog::MailLog;
use crate::policy::signing::{author_domain, sign};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::dkim::DkimKey;
use crate::state::outcome::Outcome;
use crate::state::queue::ParcelId;
use crate::state::queue::reading::{self, Parcel};
use crate::state::relays::{Relay, RelayTls, Relays};
use crate::state::rows::Rows;
use crate::state::stored::RecipientRow;

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
    policies: Policies,
    log: MailLog,
    text_kib: Semaphore,
}

impl<R, D> Shared<R, D> {
    pub fn new(replica: R, resolver: D, log: MailLog) -> Self {
        let text_kib = Semaphore::new(TEXT_KIB_MAX as usize);
        Self {
            replica,
            resolver,
            leases: Leases::default(),
            silent: SilentHosts::default(),
            policies: Policies::default(),
            log,
            text_kib,
        }
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

/// Of mail that no relay is named for.
fn usual_way(directory: &Directory) -> Way {
    let settings = directory.settings();
    let relay = settings.relay_host();
    let demand = relay.as_ref().map_or(Demand::Opportunistic, |_| demand(settings.relay_tls()));
    Way { relay, demand, login: None, own_name: settings.hostname().to_owned() }
}

fn way_through(relay: &Relay, directory: &Directory) -> Way {
    let login = relay.login.as_ref();
    Way {
        relay: Some((relay.host.clone(), relay.port)),
        demand: demand(relay.tls),
        login: login.map(|login| Login { user: login.user.clone(), password: login.password.clone() }),
        own_name: directory.settings().hostname().to_owned(),
    }
}

fn demand(tls: RelayTls) -> Demand {
    match tls {
        RelayTls::Off => Demand::Clear,
        RelayTls::Opportunistic => Demand::Opportunistic,
        RelayTls::Forced => Demand::Forced,
        RelayTls::Verified => Demand::Verified,
    }
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
}

/// What came of a mail with one of them.
struct Sent {
    /// Of each recipient.
    said: Vec<Reply>,
    /// Whose word that is; `None`: ours.
    via: Option<Via>,
    tells_of_success: bool,
}

/// By the name of the relay; without one as the settings and the DNS say.
type Ways = BTreeMap<Option<String>, Servers>;

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
        if !unsent.is_empty() {
            self.report(unsent).await;
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
        let stands_in = self.stands_in_for(destination);
        for (relay, places) in by_relay(&parcel, &directory.relays, stands_in) {
            let name = relay.map(|relay| relay.name.clone());
            if !ways.contains_key(&name) {
                let way = match relay {
                    Some(relay) => way_through(relay, &directory),
                    // The relay host is for mail of ours: it might well bring this one back.
                    None if stands_in => Way { relay: None, ..usual_way(&directory) },
                    None => usual_way(&directory),
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
        let (hops, trouble) = match self.hops(&way, destination).await {
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
        Servers { way, hops, dead: BTreeSet::new(), open: None, trouble: (trouble, None) }
    }

    /// Where the mail goes, and what each server must prove.
    async fn hops(&self, way: &Way, destination: &str) -> Result<Vec<Hop>, Reply> {
        let Shared { replica, resolver, policies, .. } = self.shared;
        let hops = route(way, destination, resolver, dice(replica)).await?;
        let by_dane = |hop: &Hop| matches!(hop.demand, Demand::Dane(_));
        // The operator's word holds for a relay, an address has no policy, and DANE needs none.
        if way.relay.is_some() || destination.starts_with('[') || hops.iter().all(by_dane) {
            return Ok(hops);
        }
        let policy = policies.of(destination, replica, resolver).await;
        let policy = policy.map_err(|fault| {
            let why = format!("what is demanded of {destination}'s servers cannot be read now: {fault}");
            Reply::of_ours(451, (4, 3, 0), why)
        })?;
        sts::held_to(policy.as_ref(), destination, hops)
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
                None => self.open(&servers.way, &hop).await,
            };
            match opened {
                Ok(connection) => return Some((at, connection)),
                Err(reply) => {
                    servers.dead.insert(at);
                    servers.trouble = (reply, Some(Via { host: hop.host, tls: None }));
                }
            }
        }
        None
    }

    async fn open(&self, way: &Way, hop: &Hop) -> Result<Connection, Reply> {
        let directory = self.shared.replica.directory();
        let authorities = &directory.authorities;
        let call = Call { hop, way, demand: &hop.demand, authorities, patience: self.patience };
        let since = Instant::now();
        match Connection::open(&call).await {
            Ok(connection) => Ok(connection),
            Err(Trouble { kind: TroubleKind::Silence, reply }) => {
                self.shared.silent.note(hop.address, since, reply.clone());
                Err(reply)
            }
            // RFC 7435: broken encryption protects nobody better than none.
            Err(Trouble { kind: TroubleKind::InTls, reply }) if hop.demand == Demand::Opportunistic => {
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

/// The places of the recipients that each relay takes. `stands_in`: for a domain of others, which may have a relay of its own.
fn by_relay<'a>(
    parcel: &Parcel,
    relays: &'a Relays,
    stands_in: bool,
) -> Vec<(Option<&'a Relay>, Vec<usize>)> {
    let mut groups: Vec<(Option<&Relay>, Vec<usize>)> = Vec::new();
    for (place, (_, recipient)) in parcel.recipients.iter().enumerate() {
        let relay = match stands_in {
            true => relays.of_recipient(&recipient.address),
            false => relays.of(&parcel.mail.sender, &recipient.address),
        };
        match groups.iter_mut().find(|(known, _)| *known == relay) {
            Some((_, places)) => places.push(place),
            None => groups.push((relay, vec![place])),
        }
    }
    groups
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
        needs: Needs::of(&text),
        text,
    }
}

/// Between two tries to report what cannot be reported now.
pub const REPORT_AGAIN: Duration = Duration::from_millis(500);
