//! Questions and their answers; which server is asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{NameServerPool, TokioResolver};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::error::{DnsError, is_dead, lacks_soa};
use super::servers;
use crate::state::directory::Directory;

/// Answers remembered of each name server.
pub const CACHED_ANSWERS_MAX: u64 = 4_096;
/// Aliases followed to a name's records.
pub(super) const ALIASES_MAX: usize = 8;
/// A server that did not answer is asked last for so long.
const DEAD_SECONDS: u64 = 30;

/// A client of one name server, for a library that asks by itself.
pub type Client = TokioResolver;

/// Connections to one name server.
pub(super) type Pool = NameServerPool<TokioRuntimeProvider>;

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// One try with one server.
    pub attempt_ms_max: u64,
    /// One question, over all servers and tries.
    pub lookup_ms_max: u64,
    /// Questions under way at once; further ones wait, within their own time.
    pub lookups_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { attempt_ms_max: 2_000, lookup_ms_max: 10_000, lookups_max: 256 }
    }
}

/// Asks the name servers of the setting `dns.servers`, those of the system where it is empty; a change is obeyed from the
/// next question on. The first server is preferred; the next ones are asked when it fails. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    directory: watch::Receiver<Arc<Directory>>,
    bounds: Bounds,
    servers: ArcSwapOption<Servers>,
    lookups: Semaphore,
}

pub(super) struct Servers {
    /// The setting's text.
    setting: String,
    each: Vec<Server>,
}

pub(super) struct Server {
    client: Client,
    /// The same server, for questions whose whole answer is wanted.
    pub pool: Pool,
    dead: ArcSwapOption<Instant>,
}

/// RFC 5321 5.1: lower preferences are tried first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    pub preference: u16,
    /// In lower case and A-labels, without the last dot; empty of a null MX.
    pub host: String,
}

/// RFC 2782, without what one server of a service needs not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    pub port: u16,
    /// As of [`Mx`]; empty where the service is not offered.
    pub host: String,
}

impl Mx {
    /// RFC 7505: the domain takes no mail.
    pub fn is_null(&self) -> bool {
        self.host.is_empty()
    }
}

impl Resolver {
    pub fn new(directory: watch::Receiver<Arc<Directory>>, bounds: Bounds) -> Self {
        let (servers, lookups) = (ArcSwapOption::empty(), Semaphore::new(bounds.lookups_max));
        Self(Arc::new(Inner { directory, bounds, servers, lookups }))
    }

    /// Ascending by preference.
    pub async fn mx(&self, domain: &str) -> Result<Vec<Mx>, DnsError> {
        let of = |data: &RData| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, host: text_of(&mx.exchange) }),
            _ => None,
        };
        let mut found = self.lookup(domain, RecordType::MX, of).await?;
        found.sort();
        Ok(found)
    }

    pub async fn a(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let of = |data: &RData| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            _ => None,
        };
        self.lookup(host, RecordType::A, of).await
    }

    pub async fn aaaa(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let of = |data: &RData| match data {
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        self.lookup(host, RecordType::AAAA, of).await
    }

    /// A, then AAAA. Where one of them is not known at the moment and the other is, what is known.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let both = |a: Vec<IpAddr>, aaaa: Vec<IpAddr>| [a, aaaa].concat();
        of_both_families(tokio::join!(self.a(host), self.aaaa(host)), both)
    }

    /// Those of the family of `like`, which is looked for among them.
    pub async fn addresses_like(&self, like: IpAddr, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        match like {
            IpAddr::V4(_) => self.a(host).await,
            IpAddr::V6(_) => self.aaaa(host).await,
        }
    }

    /// Each record's strings joined (RFC 7208 3.3, RFC 6376 3.6.2.2).
    pub async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        let of = |data: &RData| match data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        };
        self.lookup(name, RecordType::TXT, of).await
    }

    pub async fn srv(&self, name: &str) -> Result<Vec<Srv>, DnsError> {
        let of = |data: &RData| match data {
            RData::SRV(srv) => Some(Srv { port: srv.port, host: text_of(&srv.target) }),
            _ => None,
        };
        self.lookup(name, RecordType::SRV, of).await
    }

    /// The names of an address, as whoever holds the address says.
    pub async fn ptr(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        let of = |data: &RData| match data {
            RData::PTR(name) => Some(text_of(&name.0)),
            _ => None,
        };
        self.lookup_name(Name::from(address.to_canonical()), RecordType::PTR, of).await
    }

    /// One client for each server, in the order in which they should be asked.
    pub async fn clients(&self) -> Result<Vec<Client>, DnsError> {
        Ok(self.servers().await?.in_order().into_iter().map(|server| server.client.clone()).collect())
    }

    async fn lookup<T>(
        &self,
        name: &str,
        kind: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, DnsError> {
        self.lookup_name(Self::absolute(name)?, kind, of).await
    }

    pub(super) fn absolute(name: &str) -> Result<Name, DnsError> {
        // An underscore is no host's, and yet stands in names that are there: IDNA would know none of them.
        let read = if name.is_ascii() { Name::from_ascii(name) } else { Name::from_utf8(name) };
        let mut name = read.map_err(|_| DnsError::NoSuchName)?;
        // Absolute, so that no search list of the box is appended.
        name.set_fqdn(true);
        Ok(name)
    }

    async fn lookup_name<T>(
        &self,
        name: Name,
        kind: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, DnsError> {
        self.bounded((&name, kind), self.ask(&name, kind, of)).await
    }

    /// A question waits for its turn and takes its time within the bounds.
    pub(super) async fn bounded<T>(
        &self,
        (name, kind): (&Name, RecordType),
        ask: impl Future<Output = Result<T, DnsError>>,
    ) -> Result<T, DnsError> {
        let asking = async {
            let _permit = self.0.lookups.acquire().await.map_err(|_| DnsError::temporary("closed"))?;
            ask.await
        };
        let bound = Duration::from_millis(self.0.bounds.lookup_ms_max);
        let late = |_| Err(DnsError::temporary("no name server answers in time"));
        let answer = timeout(bound, asking).await.unwrap_or_else(late);
        if let Err(DnsError::Temporary(why)) = &answer {
            debug!(%name, %kind, "no answer from the DNS: {why}");
        }
        answer
    }

    async fn ask<T>(
        &self,
        name: &Name,
        kind: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, DnsError> {
        let servers = self.servers().await?;
        let mut failure = DnsError::temporary("there is no name server");
        for server in servers.in_order() {
            let error = match server.client.lookup(name.clone(), kind).await {
                Ok(answer) => {
                    server.is_alive();
                    let found: Vec<T> = answer.answers().iter().filter_map(|it| of(&it.data)).collect();
                    return if found.is_empty() { Err(DnsError::NoData) } else { Ok(found) };
                }
                Err(error) => error,
            };
            failure = DnsError::from(&error);
            server.note(&error);
            if failure == DnsError::NoData && lacks_soa(&error) && server.aliases_do_not_end(name).await {
                failure = DnsError::temporary("its aliases do not come to an end");
            }
            if !failure.is_temporary() {
                break;
            }
        }
        Err(failure)
    }

    /// Whether the setting says that the name servers validate, and that their word arrives here as they gave it.
    pub(super) fn validates(&self) -> bool {
        self.0.directory.borrow().settings().dns_servers_validate()
    }

    pub(super) async fn servers(&self) -> Result<Arc<Servers>, DnsError> {
        let (setting, wanted) = {
            let directory = self.0.directory.borrow();
            let settings = directory.settings();
            (settings.get("dns.servers").to_owned(), settings.dns_servers())
        };
        if let Some(servers) = self.0.servers.load_full()
            && servers.setting == setting
        {
            return Ok(servers);
        }
        let bounds = self.0.bounds;
        // The system's file is read: not on a thread of the runtime.
        let made = tokio::task::spawn_blocking(move || servers::clients(&wanted, &bounds)).await;
        let clients = made.map_err(|error| DnsError::temporary(error.to_string()))?;
        let clients = clients.map_err(DnsError::temporary)?;
        let server = |(client, pool)| Server { client, pool, dead: ArcSwapOption::empty() };
        let servers = Arc::new(Servers { setting, each: clients.into_iter().map(server).collect() });
        self.0.servers.store(Some(Arc::clone(&servers)));
        Ok(servers)
    }
}

impl Servers {
    /// The preferred one first; those that lately failed last.
    pub(super) fn in_order(&self) -> Vec<&Server> {
        let (dead, alive): (Vec<_>, Vec<_>) = self.each.iter().partition(|server| server.is_dead());
        alive.into_iter().chain(dead).collect()
    }
}

impl Server {
    fn is_dead(&self) -> bool {
        let dead = self.dead.load();
        dead.as_ref().is_some_and(|since| since.elapsed() < Duration::from_secs(DEAD_SECONDS))
    }

    pub(super) fn is_alive(&self) {
        self.dead.store(None);
    }

    pub(super) fn note(&self, error: &NetError) {
        self.dead.store(is_dead(error).then(|| Arc::new(Instant::now())));
    }

    /// Of a name without the record asked for: whether its aliases go round, or are more than are followed.
    async fn aliases_do_not_end(&self, name: &Name) -> bool {
        let mut name = name.clone();
        for _ in 0..=ALIASES_MAX {
            let Ok(answer) = self.client.lookup(name.clone(), RecordType::CNAME).await else { return false };
            let target = answer.answers().iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == name => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = target else { return false };
            name = target;
        }
        true
    }
}

/// What is known of a host by its A and its AAAA records.
pub(super) fn of_both_families<T>(
    families: (Result<T, DnsError>, Result<T, DnsError>),
    both: impl FnOnce(T, T) -> T,
) -> Result<T, DnsError> {
    match families {
        (Ok(a), Ok(aaaa)) => Ok(both(a, aaaa)),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(error), Err(_)) if error.is_temporary() => Err(error),
        (Err(DnsError::NoSuchName), Err(DnsError::NoSuchName)) => Err(DnsError::NoSuchName),
        (Err(_), Err(error)) if error.is_temporary() => Err(error),
        (Err(_), Err(_)) => Err(DnsError::NoData),
    }
}

/// In lower case, without the last dot.
pub(super) fn text_of(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}
