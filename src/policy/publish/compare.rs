//! Holds what should stand in a zone against what stands there.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Data, Purpose, Record, tags};
use crate::dns::{DnsError, Resolver};
use crate::policy::facts::{Arrival, SpfResult};
use crate::policy::gather::spf;

/// Addresses of the server's name that SPF is asked for.
const ADDRESSES_MAX: usize = 8;
/// All questions together.
const COMPARE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub record: Record,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// It does what it should, and something is to be known of it.
    Remark(String),
    Missing,
    /// Something else stands there, or it does not do what it should.
    Wrong(String),
    /// The DNS does not tell at the moment.
    Unknown(String),
}

/// Each of the records of one domain, in their order.
pub async fn compare(dns: &Resolver, records: Vec<Record>, hostname: &str) -> Vec<Compared> {
    let until = Instant::now() + COMPARE_MAX;
    let comparing = Comparing { dns, hostname, until };
    let mut compared = Vec::with_capacity(records.len());
    for record in records {
        let verdict = match timeout_at(until, comparing.judge(&record)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(DnsError::NoSuchName | DnsError::NoData)) => Verdict::Missing,
            Ok(Err(error)) => Verdict::Unknown(error.to_string()),
            Err(_) => Verdict::Unknown("no answer in time".to_owned()),
        };
        compared.push(Compared { record, verdict });
    }
    compared
}

struct Comparing<'a> {
    dns: &'a Resolver,
    hostname: &'a str,
    until: Instant,
}

impl Comparing<'_> {
    async fn judge(&self, record: &Record) -> Result<Verdict, DnsError> {
        match &record.data {
            Data::Mx { host, .. } => self.mx(&record.name, host).await,
            Data::Srv { port, host } => self.srv(&record.name, *port, host).await,
            Data::Cname(host) => self.same_host(&record.name, host).await,
            Data::Txt(wanted) => {
                let found = self.dns.txt(&record.name).await?;
                let found: Vec<String> =
                    found.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
                match record.purpose {
                    Purpose::Spf => self.spf(&record.name, &found).await,
                    Purpose::Dkim => Ok(dkim(wanted, &found)),
                    Purpose::Dmarc => Ok(dmarc(&found)),
                    Purpose::MtaSts => Ok(alike("STSv1", "id", wanted, &found)),
                    Purpose::TlsRpt => Ok(tls_rpt(&found)),
                    Purpose::Mx | Purpose::Service | Purpose::Autoconfig => Ok(Verdict::Right),
                }
            }
        }
    }

    async fn mx(&self, domain: &str, host: &str) -> Result<Verdict, DnsError> {
        let found = self.dns.mx(domain).await?;
        if found.iter().any(|mx| mx.host.eq_ignore_ascii_case(host)) {
            return Ok(Verdict::Right);
        }
        let hosts: Vec<&str> = found.iter().map(|mx| mx.host.as_str()).collect();
        Ok(match found.iter().all(|mx| mx.is_null()) {
            true => Verdict::Wrong("it says that the domain takes no mail (null MX)".to_owned()),
            false => Verdict::Wrong(format!("mail goes to {}", hosts.join(", "))),
        })
    }

    async fn srv(&self, name: &str, port: u16, host: &str) -> Result<Verdict, DnsError> {
        let found = self.dns.srv(name).await?;
        let is_it = |srv: &&crate::dns::Srv| srv.host.eq_ignore_ascii_case(host) && srv.port == port;
        Ok(match (found.iter().any(|srv| is_it(&srv)), found.first()) {
            (true, _) => Verdict::Right,
            (false, Some(srv)) => Verdict::Wrong(format!("it names port {} of {}", srv.port, srv.host)),
            (false, None) => Verdict::Missing,
        })
    }

    /// By whatever records: what counts is where they lead.
    async fn same_host(&self, name: &str, host: &str) -> Result<Verdict, DnsError> {
        let (found, wanted) = tokio::join!(self.dns.addresses(name), self.dns.addresses(host));
        let (found, wanted) = (found?, wanted?);
        Ok(match found.iter().any(|address| wanted.contains(address)) {
            true => Verdict::Right,
            false => Verdict::Wrong(format!("it leads to {}, not to {host}", listed(&found))),
        })
    }

    /// One record, within its bounds, by which the server's own addresses pass.
    async fn spf(&self, domain: &str, found: &[String]) -> Result<Verdict, DnsError> {
        match found.iter().filter(|text| spf::is_spf(text.as_bytes())).count() {
            0 => return Ok(Verdict::Missing),
            1 => {}
            count => {
                return Ok(Verdict::Wrong(format!(
                    "there are {count} SPF records: others take none of them"
                )));
            }
        }
        // RFC 5737: an address that no record lists, so that all of it is read.
        let terms = spf::terms(self.dns, &self.arrival([192, 0, 2, 255].into(), domain), self.until).await;
        if terms > spf::TERMS_MAX {
            let why = format!("it asks for more than {} look-ups: others take it for broken", spf::TERMS_MAX);
            return Ok(Verdict::Wrong(why));
        }
        let addresses = self.dns.addresses(self.hostname).await?;
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let result = spf::ask(self.dns, &self.arrival(address, domain), self.until).await;
            match result {
                SpfResult::Pass => {}
                SpfResult::TempError => {
                    return Ok(Verdict::Unknown("not all that it names is known".to_owned()));
                }
                SpfResult::PermError => return Ok(Verdict::Wrong("others take it for broken".to_owned())),
                SpfResult::None | SpfResult::Neutral | SpfResult::SoftFail | SpfResult::Fail => {
                    let why = format!("it does not let {address} send, which is {}", self.hostname);
                    return Ok(Verdict::Wrong(why));
                }
            }
        }
        Ok(match found.iter().any(|text| text.to_ascii_lowercase().contains("+all")) {
            true => Verdict::Wrong("it lets everybody send (+all)".to_owned()),
            false => Verdict::Right,
        })
    }

    fn arrival(&self, address: IpAddr, domain: &str) -> Arrival {
        Arrival {
            address,
            helo: self.hostname.to_owned(),
            sender: Some(format!("postmaster@{domain}")),
            receiver: self.hostname.to_owned(),
        }
    }
}

fn dkim(wanted: &str, found: &[String]) -> Verdict {
    let key = |text: &str| {
        let tags = tags::read(text, "DKIM1")?;
        Some((tags::get(&tags, "p")?.to_owned(), tags::has_flag(&tags, "t", "y")))
    };
    let Some((wanted, _)) = key(wanted) else { return Verdict::Missing };
    let keys: Vec<(String, bool)> = found.iter().filter_map(|text| key(text)).collect();
    match keys.iter().find(|(key, _)| *key == wanted) {
        Some((_, true)) => {
            Verdict::Remark("it says that signatures are a test (t=y): others need not heed them".to_owned())
        }
        Some((_, false)) => Verdict::Right,
        None if keys.iter().any(|(key, _)| key.is_empty()) => {
            Verdict::Wrong("the key is revoked there (p= is empty)".to_owned())
        }
        None => Verdict::Wrong("another key stands there: what is signed here does not verify".to_owned()),
    }
}

fn dmarc(found: &[String]) -> Verdict {
    let records: Vec<_> = found.iter().filter_map(|text| tags::read(text, "DMARC1")).collect();
    let [record] = records.as_slice() else {
        return match records.len() {
            0 => Verdict::Missing,
            count => Verdict::Wrong(format!("there are {count} DMARC records: others take none of them")),
        };
    };
    match tags::get(record, "p").map(str::to_ascii_lowercase).as_deref() {
        Some("quarantine" | "reject") if tags::has_flag(record, "t", "y") => {
            Verdict::Remark("it is a test (t=y): others only report".to_owned())
        }
        Some("quarantine" | "reject") => Verdict::Right,
        Some("none") => Verdict::Remark("others only report forged mail (p=none)".to_owned()),
        _ => Verdict::Wrong("it has no policy (p=)".to_owned()),
    }
}

fn tls_rpt(found: &[String]) -> Verdict {
    let mut records = found.iter().filter_map(|text| tags::read(text, "TLSRPTv1"));
    match records.next() {
        None => Verdict::Missing,
        Some(record) if tags::get(&record, "rua").is_some_and(|rua| !rua.is_empty()) => Verdict::Right,
        Some(_) => Verdict::Wrong("it names nobody to report to (rua=)".to_owned()),
    }
}

/// Whether one of what was found has the tag as it is wanted.
fn alike(version: &str, tag: &str, wanted: &str, found: &[String]) -> Verdict {
    let value = |text: &str| Some(tags::get(&tags::read(text, version)?, tag)?.to_owned());
    let values: Vec<String> = found.iter().filter_map(|text| value(text)).collect();
    match (values.iter().any(|found| Some(found) == value(wanted).as_ref()), values.first()) {
        (true, _) => Verdict::Right,
        (false, Some(found)) => Verdict::Wrong(format!("it has {tag}={found}")),
        (false, None) => Verdict::Missing,
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
