//! Asks what is to be known before a mail is read: whether block lists have its client, whether the client's name leads
//! back to it, whether what it says of itself and of the sender is in the DNS.
//!
//! All is asked side by side, at most [`QUESTIONS_MAX`] questions for one mail and within one bound of time; what is not
//! answered by then is unknown. What does not change in a session is asked once in it, and stays unknown if it was. Judges
//! nothing.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::dns::{DnsError, Resolver};
use crate::mail::address::{LABEL_BYTES_MAX, NAME_BYTES_MAX, canonical_domain};
use crate::policy::facts::{Arrival, ClientName, Domain, Listed, Opening};
use crate::state::directory::Directory;
use crate::state::settings::DNSBL_ZONES_MAX;

/// Names of one address that are followed back.
pub const NAMES_MAX: usize = 5;
/// Each list and one's text; the address's names and their addresses; three for HELO, one for the sender's domain.
pub const QUESTIONS_MAX: usize = DNSBL_ZONES_MAX + 1 + 1 + NAMES_MAX + 3 + 1;
/// Of what a list says of an address, as it goes into a reply.
pub const LIST_TEXT_BYTES_MAX: usize = 200;

/// What is asked: settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    pub zones: Vec<String>,
    pub client_name: bool,
    pub helo: bool,
    pub sender_domain: bool,
}

impl Wanted {
    pub fn new(directory: &Directory) -> Self {
        let settings = directory.settings();
        Self {
            zones: settings.dnsbl_zones(),
            client_name: settings.get("client.hostname") != "accept",
            helo: settings.helo_must_exist(),
            sender_domain: settings.sender_domain_must_exist(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All questions for one mail.
    pub opening_ms_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { opening_ms_max: 10_000 }
    }
}

/// What was found in one session.
#[derive(Debug, Default)]
pub struct Known {
    listed: Kept<(IpAddr, Vec<String>), Listed>,
    client_name: Kept<IpAddr, ClientName>,
    helo: Kept<String, Domain>,
    sender_domain: Kept<String, Domain>,
}

impl Known {
    /// Asks what is not known yet.
    pub async fn ask(
        &mut self,
        arrival: &Arrival,
        wanted: &Wanted,
        (dns, bounds): (&Resolver, Bounds),
    ) -> Opening {
        let Self {
            listed: known_listed,
            client_name: known_name,
            helo: known_helo,
            sender_domain: known_sender,
        } = self;
        let until = Instant::now() + Duration::from_millis(bounds.opening_ms_max);
        let address = arrival.address.to_canonical();
        let zones = &wanted.zones[..wanted.zones.len().min(DNSBL_ZONES_MAX)];
        let listed = known_listed.or_ask((address, zones.to_vec()), listed(dns, address, zones, until));
        let client_name = async {
            let asking = within(until, ClientName::Unknown, client_name(dns, address));
            match wanted.client_name {
                true => Some(known_name.or_ask(address, asking).await),
                false => None,
            }
        };
        let helo = async {
            match named(&arrival.helo) {
                Ok(name) if wanted.helo => {
                    let asking = within(until, Domain::Unknown, host(dns, &name));
                    known_helo.or_ask(name.clone(), asking).await
                }
                Ok(_) => Domain::Full,
                Err(domain) => domain,
            }
        };
        let sender_domain = async {
            match arrival.sender.as_ref().map_or(Err(Domain::Absent), |_| named(arrival.domain())) {
                Ok(name) if wanted.sender_domain => {
                    let asking = within(until, Domain::Unknown, sender(dns, &name));
                    known_sender.or_ask(name.clone(), asking).await
                }
                Ok(_) => Domain::Full,
                Err(domain) => domain,
            }
        };
        let (listed, client_name, helo, sender_domain) =
            tokio::join!(listed, client_name, helo, sender_domain);
        Opening { listed, client_name, helo, sender_domain }
    }
}

/// The last answer, and to what.
#[derive(Debug)]
struct Kept<K, V>(Option<(K, V)>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: PartialEq, V: Clone> Kept<K, V> {
    async fn or_ask(&mut self, key: K, asking: impl Future<Output = V>) -> V {
        match &self.0 {
            Some((kept, value)) if *kept == key => value.clone(),
            _ => {
                let value = asking.await;
                self.0 = Some((key, value.clone()));
                value
            }
        }
    }
}

async fn within<V>(until: Instant, unknown: V, asking: impl Future<Output = V>) -> V {
    timeout_at(until, asking).await.unwrap_or(unknown)
}

/// The first list that has the address speaks, in the order of the setting; one that is late keeps none of the others
/// from it.
async fn listed(dns: &Resolver, address: IpAddr, zones: &[String], until: Instant) -> Listed {
    if zones.is_empty() {
        return Listed::Unasked;
    }
    let ask = |zone: &String| {
        let name = format!("{}.{zone}", reversed(address));
        async move { within(until, None, is_in_list(dns, &name)).await }
    };
    let answers = join_all(zones.iter().map(ask)).await;
    let Some(at) = answers.iter().position(|answer| *answer == Some(true)) else {
        return if answers.contains(&None) { Listed::Unknown } else { Listed::No };
    };
    let zone = zones[at].clone();
    let name = format!("{}.{zone}", reversed(address));
    let told = within(until, Ok(Vec::new()), dns.txt(&name)).await.unwrap_or_default();
    Listed::Yes { zone, text: told.first().map_or(String::new(), |text| printable(text)) }
}

/// `None`: the list does not tell.
async fn is_in_list(dns: &Resolver, name: &str) -> Option<bool> {
    match dns.a(name).await {
        Ok(answers) if answers.iter().any(|answer| means_listed(*answer)) => Some(true),
        // RFC 5782 2.1: an entry is in 127.0.0.0/8. What else is there is no list's answer.
        Ok(_) => None,
        Err(DnsError::NoSuchName | DnsError::NoData) => Some(false),
        Err(DnsError::Temporary(_)) => None,
    }
}

/// By 127.255.255.0/24 lists say that they do not answer this name server.
fn means_listed(answer: IpAddr) -> bool {
    match answer {
        IpAddr::V4(answer) => {
            let refused = Ipv4Addr::new(127, 255, 255, 0).octets();
            answer.is_loopback() && answer.octets()[..3] != refused[..3]
        }
        IpAddr::V6(_) => false,
    }
}

/// RFC 5782 2.1 and 2.4.
fn reversed(address: IpAddr) -> String {
    let labels: Vec<String> = match address {
        IpAddr::V4(address) => address.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(address) => {
            let nibbles = |octet: &u8| [octet & 15, octet >> 4];
            address.octets().iter().rev().flat_map(nibbles).map(|nibble| format!("{nibble:x}")).collect()
        }
    };
    labels.join(".")
}

/// It stands in a reply: no line ends, and not too long.
fn printable(text: &[u8]) -> String {
    let printable = |byte: &&u8| (b' '..=b'~').contains(*byte);
    text.iter().filter(printable).take(LIST_TEXT_BYTES_MAX).map(|byte| char::from(*byte)).collect()
}

/// One name that leads back is enough.
async fn client_name(dns: &Resolver, address: IpAddr) -> ClientName {
    let names = match dns.ptr(address).await {
        Ok(names) => names,
        Err(DnsError::NoSuchName | DnsError::NoData) => return ClientName::Missing,
        Err(DnsError::Temporary(_)) => return ClientName::Unknown,
    };
    let ask = |name: &String| {
        let name = name.clone();
        async move { dns.addresses_like(address, &name).await }
    };
    let answers = join_all(names.iter().take(NAMES_MAX).map(ask)).await;
    if answers.iter().flatten().flatten().any(|found| *found == address) {
        ClientName::Right
    } else if answers.iter().any(|answer| answer.as_ref().is_err_and(DnsError::is_temporary)) {
        ClientName::Unknown
    } else if answers.iter().any(Result::is_ok) {
        ClientName::OfAnother
    } else {
        ClientName::WithoutAddress
    }
}

/// A name to ask for; `Err` is what is known without asking.
fn named(text: &str) -> Result<String, Domain> {
    if text.starts_with('[') && text.ends_with(']') {
        return Err(Domain::Absent);
    }
    let name = match text.is_ascii() {
        true => Some(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()),
        false => canonical_domain(text),
    };
    name.filter(|name| is_full_name(name)).ok_or(Domain::NotFull)
}

/// Underscores are no host's, and common in HELO. An address without its brackets is no name.
fn is_full_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(fits);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_BYTES_MAX
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host's name has an address, or at least takes mail.
async fn host(dns: &Resolver, name: &str) -> Domain {
    let (addresses, exchangers) = tokio::join!(dns.addresses(name), dns.mx(name));
    match (addresses, exchangers) {
        (Ok(_), _) | (_, Ok(_)) => Domain::Found,
        (Err(DnsError::Temporary(_)), _) | (_, Err(DnsError::Temporary(_))) => Domain::Unknown,
        (Err(_), Err(_)) => Domain::Missing,
    }
}

/// One question tells both that there is no such name and that it takes no mail.
async fn sender(dns: &Resolver, name: &str) -> Domain {
    match dns.mx(name).await {
        Ok(exchangers) if exchangers.iter().all(|exchanger| exchanger.is_null()) => Domain::NullMx,
        // RFC 5321 5.1: without MX, mail goes to the name itself.
        Ok(_) | Err(DnsError::NoData) => Domain::Found,
        Err(DnsError::NoSuchName) => Domain::Missing,
        Err(DnsError::Temporary(_)) => Domain::Unknown,
    }
}
