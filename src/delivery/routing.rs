//! Where a destination's mail goes: the relay host, or what the DNS says (RFC 5321 5.1, RFC 7505), as addresses in
//! the order in which they are tried.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use super::care::Care;
use super::client::login::Login;
use super::reply::Reply;
use super::tlsa;
use super::trust::Demand;
use crate::dns::{DnsError, Tlsa, Vouched};

/// Addresses tried for one mail; RFC 5321 5.1 wants two at the least.
pub const HOPS_MAX: usize = 8;
/// Servers of a domain that are looked up.
const SERVERS_MAX: usize = 16;
pub const SMTP_PORT: u16 = 25;

/// What is asked of the DNS.
pub trait Resolve: Clone + Send + Sync + 'static {
    /// Preference and host; an empty host is a null MX.
    fn mx(&self, domain: &str) -> impl Future<Output = Result<Vouched<(u16, String)>, DnsError>> + Send;
    fn addresses(&self, host: &str) -> impl Future<Output = Result<Vouched<IpAddr>, DnsError>> + Send;
    fn tlsa(&self, port: u16, host: &str) -> impl Future<Output = Result<Vouched<Tlsa>, DnsError>> + Send;
    /// Each record's strings joined.
    fn txt(&self, name: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, DnsError>> + Send;
    /// Whether the host's own alias is secure, wherever it leads.
    fn is_secure_alias(&self, host: &str) -> impl Future<Output = Result<bool, DnsError>> + Send;
}

/// One server at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    pub host: String,
    pub address: SocketAddr,
    /// What it must prove.
    pub demand: Demand,
    pub learnt: Learnt,
}

/// How it is known that a server is the one that mail goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// By the operator's word, by the very name of the domain, or by a name server that vouches for it.
    Securely,
    Somehow,
}

/// How mail leaves, from the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Everything goes there (row 22).
    pub relay: Option<(String, u16)>,
    pub demand: Demand,
    pub care: Care,
    /// What the relay lets us in by.
    pub login: Option<Login>,
    /// As others know this server.
    pub own_name: String,
}

/// Never empty. `Err` is what the recipients are told of: for good, or for now. `dice` orders servers of one preference.
pub async fn route(
    way: &Way,
    destination: &str,
    resolver: &impl Resolve,
    dice: u64,
) -> Result<Vec<Hop>, Reply> {
    if let Some((host, port)) = &way.relay {
        return relay((host, *port), way, resolver).await;
    }
    if destination.starts_with('[') {
        let address = literal(destination).ok_or_else(|| {
            Reply::of_ours(550, (5, 1, 2), format!("{destination} is no address that mail can go to"))
        })?;
        let address = SocketAddr::new(address, SMTP_PORT);
        let demand = way.demand.clone();
        return Ok(vec![Hop { host: address.ip().to_string(), address, demand, learnt: Learnt::Securely }]);
    }
    let servers = servers(way, destination, resolver, dice).await?;
    hops(way, destination, &servers, resolver).await
}

async fn relay((host, port): (&str, u16), way: &Way, resolver: &impl Resolve) -> Result<Vec<Hop>, Reply> {
    // An IPv6 address comes in brackets, which TLS would not take for a name.
    let host = host.trim_matches(['[', ']']);
    let hop = |address| Hop {
        host: host.to_owned(),
        address: SocketAddr::new(address, port),
        demand: way.demand.clone(),
        learnt: Learnt::Securely,
    };
    if let Ok(address) = host.parse() {
        return Ok(vec![hop(address)]);
    }
    match resolver.addresses(host).await {
        Ok(answer) if !answer.found.is_empty() => {
            Ok(answer.found.into_iter().take(HOPS_MAX).map(hop).collect())
        }
        // An operator's mistake is not the sender's: it is mended before the mail's life is over.
        Ok(_) | Err(DnsError::NoSuchName | DnsError::NoData) => {
            Err(Reply::of_ours(451, (4, 4, 4), format!("the relay host {host} has no address")))
        }
        Err(DnsError::Temporary(why)) => Err(unknown(host, &why)),
    }
}

/// The domain's servers in the order of trying.
struct Servers {
    hosts: Vec<String>,
    /// That they are the domain's is validated; what a forger names proves nothing.
    secure: bool,
}

async fn servers(way: &Way, domain: &str, resolver: &impl Resolve, dice: u64) -> Result<Servers, Reply> {
    // RFC 5321 5.1: without MX the domain itself is the server. It is what was asked for, whoever says that.
    let itself = || Servers { hosts: vec![domain.to_owned()], secure: true };
    let (mut found, secure) = match resolver.mx(domain).await {
        Ok(answer) => (answer.found, answer.secure),
        Err(DnsError::NoData) => return Ok(itself()),
        Err(DnsError::NoSuchName) => {
            return Err(Reply::of_ours(550, (5, 1, 2), format!("there is no domain {domain}")));
        }
        Err(DnsError::Temporary(why)) => return Err(unknown(domain, &why)),
    };
    if found.is_empty() {
        return Ok(itself());
    }
    if found.iter().all(|(_, host)| host.is_empty()) {
        return Err(Reply::of_ours(556, (5, 1, 10), format!("{domain} takes no mail (null MX)")));
    }
    found.retain(|(_, host)| !host.is_empty());
    // RFC 5321 5.1: what is no better than this server itself would send the mail in a circle.
    let own = found.iter().filter(|(_, host)| host.eq_ignore_ascii_case(&way.own_name));
    if let Some(own) = own.map(|(preference, _)| *preference).min() {
        found.retain(|(preference, _)| *preference < own);
    }
    if found.is_empty() {
        let why = format!("mail for {domain} leads back to this server, which does not know it");
        return Err(Reply::of_ours(554, (5, 4, 6), why));
    }
    found.sort_by_key(|(preference, host)| (*preference, order(host, dice)));
    found.truncate(SERVERS_MAX);
    Ok(Servers { hosts: found.into_iter().map(|(_, host)| host).collect(), secure })
}

/// RFC 5321 5.1: load is spread over servers of one preference.
fn order(host: &str, dice: u64) -> [u8; 8] {
    let hash = blake3::hash(&[host.as_bytes(), &dice.to_be_bytes()].concat());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    first
}

async fn hops(
    way: &Way,
    domain: &str,
    servers: &Servers,
    resolver: &impl Resolve,
) -> Result<Vec<Hop>, Reply> {
    let (mut hops, mut trouble, mut none_exists) = (Vec::new(), None, true);
    let learnt = if servers.secure { Learnt::Securely } else { Learnt::Somehow };
    for host in &servers.hosts {
        if hops.len() >= HOPS_MAX {
            break;
        }
        match resolver.addresses(host).await {
            Ok(answer) => {
                none_exists = none_exists && answer.found.is_empty();
                // RFC 7672 2.2.1: where the MX is not secure, DANE proves nothing. RFC 8689 4.2.2: nor where nobody asks for proof.
                let dane = match servers.secure && way.care != Care::Waived {
                    true => tlsa::demand(host, &answer, domain, resolver).await,
                    false => Ok(None),
                };
                match dane {
                    Ok(dane) => {
                        let demand = dane.unwrap_or_else(|| way.demand.clone());
                        let at = |address| Hop {
                            host: host.clone(),
                            address: SocketAddr::new(address, SMTP_PORT),
                            demand: demand.clone(),
                            learnt,
                        };
                        hops.extend(answer.found.into_iter().map(at));
                    }
                    Err(why) => trouble = Some(unknown(&format!("TLSA of {host}"), &why.to_string())),
                }
            }
            Err(DnsError::NoSuchName | DnsError::NoData) => {}
            Err(DnsError::Temporary(why)) => {
                none_exists = false;
                trouble = Some(unknown(host, &why));
            }
        }
    }
    hops.truncate(HOPS_MAX);
    match (hops.is_empty(), trouble) {
        (false, _) => Ok(hops),
        (true, Some(trouble)) => Err(trouble),
        (true, None) if none_exists && servers.hosts == [domain.to_owned()] => {
            Err(Reply::of_ours(550, (5, 4, 4), format!("{domain} has no mail server and no address")))
        }
        // Servers are named and have no address: a slip in the zone, which is soon mended.
        (true, None) => {
            Err(Reply::of_ours(451, (4, 4, 4), format!("no mail server of {domain} has an address")))
        }
    }
}

fn unknown(name: &str, why: &str) -> Reply {
    Reply::of_ours(451, (4, 4, 3), format!("{name} cannot be looked up: {why}"))
}

/// RFC 5321 4.1.3.
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")) {
        Some(_) => inner[5..].parse().ok().map(IpAddr::V6),
        None => inner.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// `domain MX 10 host`, `host A address`, `name NXDOMAIN`, `name SERVFAIL`; what is not named has no record.
    #[derive(Clone)]
    struct Zone(BTreeMap<String, Vec<Vec<String>>>);

    fn zone(lines: &[&str]) -> Zone {
        let mut zone = BTreeMap::<String, Vec<Vec<String>>>::new();
        for line in lines {
            let mut words = line.split(' ').map(str::to_owned);
            zone.entry(words.next().unwrap()).or_default().push(words.collect());
        }
        Zone(zone)
    }

    impl Zone {
        fn records(&self, name: &str, kind: &str) -> Result<Vec<&[String]>, DnsError> {
            let all = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
            match all.first().map(|first| first[0].as_str()) {
                Some("NXDOMAIN") => return Err(DnsError::NoSuchName),
                Some("SERVFAIL") => return Err(DnsError::Temporary("SERVFAIL".into())),
                _ => {}
            }
            let found: Vec<_> = all.iter().filter(|it| it[0] == kind).map(|it| &it[1..]).collect();
            if found.is_empty() { Err(DnsError::NoData) } else { Ok(found) }
        }
    }

    impl Resolve for Zone {
        async fn mx(&self, domain: &str) -> Result<Vouched<(u16, String)>, DnsError> {
            let found = self.records(domain, "MX")?;
            let host = |it: &[String]| it.get(1).filter(|host| *host != ".").cloned().unwrap_or_default();
            Ok(Vouched::insecure(found.into_iter().map(|it| (it[0].parse().unwrap(), host(it))).collect()))
        }

        async fn addresses(&self, host: &str) -> Result<Vouched<IpAddr>, DnsError> {
            let found = self.records(host, "A")?;
            Ok(Vouched::insecure(found.into_iter().map(|it| it[0].parse().unwrap()).collect()))
        }

        async fn tlsa(&self, _: u16, host: &str) -> Result<Vouched<Tlsa>, DnsError> {
            panic!("{host} is not secure")
        }

        async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
            panic!("{name} leads nowhere")
        }

        async fn is_secure_alias(&self, host: &str) -> Result<bool, DnsError> {
            panic!("{host} is no alias")
        }
    }

    async fn routed(relay: Option<(&str, u16)>, destination: &str, zone: &Zone) -> String {
        let relay = relay.map(|(host, port)| (host.to_owned(), port));
        let (demand, care) = (Demand::Opportunistic, Care::Usual);
        let way = Way { relay, demand, care, login: None, own_name: "mx.own.test".into() };
        match route(&way, destination, zone, 0).await {
            Ok(hops) => {
                hops.iter().map(|hop| format!("{}={}", hop.host, hop.address)).collect::<Vec<_>>().join(" ")
            }
            Err(reply) => reply.to_string(),
        }
    }

    #[tokio::test]
    async fn a_domain_leads_to_its_servers_by_preference() {
        let zone = zone(&[
            "x.test MX 20 b.x.test",
            "x.test MX 10 a.x.test",
            "a.x.test A 192.0.2.1",
            "a.x.test A 2001:db8::1",
            "b.x.test A 192.0.2.2",
            "plain.test A 192.0.2.3",
            "null.test MX 0 .",
            "gone.test NXDOMAIN",
            "sick.test SERVFAIL",
            "half.test MX 10 sick.test",
            "half.test MX 20 b.x.test",
            "bad.test MX 10 nowhere.test",
            "sicker.test MX 10 sick.test",
            "backup.test MX 10 a.x.test",
            "backup.test MX 20 MX.own.test",
            "backup.test MX 30 b.x.test",
            "loop.test MX 10 mx.own.test",
            "loop.test MX 10 b.x.test",
        ]);
        for (destination, to) in [
            ("x.test", "a.x.test=192.0.2.1:25 a.x.test=[2001:db8::1]:25 b.x.test=192.0.2.2:25"),
            ("plain.test", "plain.test=192.0.2.3:25"),
            ("null.test", "556 5.1.10 null.test takes no mail (null MX)"),
            ("gone.test", "550 5.1.2 there is no domain gone.test"),
            ("sick.test", "451 4.4.3 sick.test cannot be looked up: SERVFAIL"),
            ("half.test", "b.x.test=192.0.2.2:25"),
            ("bad.test", "451 4.4.4 no mail server of bad.test has an address"),
            ("sicker.test", "451 4.4.3 sick.test cannot be looked up: SERVFAIL"),
            ("empty.test", "550 5.4.4 empty.test has no mail server and no address"),
            ("backup.test", "a.x.test=192.0.2.1:25 a.x.test=[2001:db8::1]:25"),
            ("loop.test", "554 5.4.6 mail for loop.test leads back to this server, which does not know it"),
            ("[192.0.2.9]", "192.0.2.9=192.0.2.9:25"),
            ("[IPv6:2001:db8::9]", "2001:db8::9=[2001:db8::9]:25"),
            ("[x-tag:y]", "550 5.1.2 [x-tag:y] is no address that mail can go to"),
        ] {
            assert_eq!(routed(None, destination, &zone).await, to, "{destination}");
        }
    }

    #[tokio::test]
    async fn the_relay_takes_everything() {
        let zone = zone(&["relay.test A 192.0.2.1", "gone.test NXDOMAIN", "sick.test SERVFAIL"]);
        for (relay, to) in [
            (("relay.test", 587), "relay.test=192.0.2.1:587"),
            (("192.0.2.7", 2525), "192.0.2.7=192.0.2.7:2525"),
            (("[2001:db8::1]", 25), "2001:db8::1=[2001:db8::1]:25"),
            (("gone.test", 25), "451 4.4.4 the relay host gone.test has no address"),
            (("sick.test", 25), "451 4.4.3 sick.test cannot be looked up: SERVFAIL"),
        ] {
            assert_eq!(routed(Some(relay), "x.test", &zone).await, to);
        }
    }

    #[tokio::test]
    async fn servers_and_addresses_are_bounded_and_load_is_spread() {
        let mx: Vec<String> = (0..40).map(|n| format!("many.test MX 10 h{n}.test")).collect();
        let a: Vec<String> = (0..40).map(|n| format!("h{n}.test A 192.0.2.{n}")).collect();
        let zone = zone(&mx.iter().chain(&a).map(String::as_str).collect::<Vec<_>>());
        let (demand, care) = (Demand::Clear, Care::Usual);
        let way = Way { relay: None, demand, care, login: None, own_name: "o".into() };
        let first = async |dice| route(&way, "many.test", &zone, dice).await.unwrap();
        assert_eq!(first(0).await.len(), HOPS_MAX);
        let mut firsts = std::collections::BTreeSet::new();
        for dice in 0..20 {
            firsts.insert(first(dice).await[0].host.clone());
        }
        assert!(firsts.len() > 5, "{firsts:?}");
    }
}
