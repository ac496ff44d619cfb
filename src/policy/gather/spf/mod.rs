//! SPF (RFC 7208): asks whether the sender's domain lets this client send.
//!
//! Ten terms at most may ask the DNS, and two of the questions may find nothing (4.6.4); names of mail exchangers and
//! of the client are ten at most. Each is a bound on what a stranger's record can make us ask.

mod macros;
mod record;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use mail_auth::{SpfOutput, SpfResult as Found};
use tokio::time::{Instant, timeout_at};

use self::macros::{Spec, Values};
pub use self::record::is_spf;
use self::record::{Mechanism, Prefixes, Qualifier, Record};
use crate::dns::{DnsError, Resolver};
use crate::mail::address::{LABEL_BYTES_MAX, NAME_BYTES_MAX};
use crate::policy::facts::{Arrival, SpfResult};

pub const TERMS_MAX: u32 = 10;
const VOID_MAX: u32 = 2;
const NAMES_MAX: usize = 10;

pub async fn ask(dns: &Resolver, arrival: &Arrival, until: Instant) -> SpfResult {
    let mut asking = Asking::new(dns, arrival);
    let checked = timeout_at(until, asking.check_host(arrival.domain().to_owned())).await;
    checked.unwrap_or(SpfResult::TempError)
}

/// How many terms the record of the sender's domain asks the DNS for, one beyond [`TERMS_MAX`] at most; of a client that no
/// term names, all of them.
pub async fn terms(dns: &Resolver, arrival: &Arrival, until: Instant) -> u32 {
    let mut asking = Asking::new(dns, arrival);
    // What was counted until then is counted.
    let _ = timeout_at(until, asking.check_host(arrival.domain().to_owned())).await;
    asking.terms
}

/// As DMARC wants it.
pub fn output(result: SpfResult, arrival: &Arrival) -> SpfOutput {
    let result = match result {
        SpfResult::None => Found::None,
        SpfResult::Neutral => Found::Neutral,
        SpfResult::Pass => Found::Pass,
        SpfResult::Fail => Found::Fail,
        SpfResult::SoftFail => Found::SoftFail,
        SpfResult::TempError => Found::TempError,
        SpfResult::PermError => Found::PermError,
    };
    SpfOutput::new(arrival.domain().to_owned()).with_result(result)
}

struct Asking<'a> {
    dns: &'a Resolver,
    address: IpAddr,
    sender: String,
    helo: &'a str,
    terms: u32,
    void: u32,
}

/// Ends the whole evaluation.
enum Stop {
    Temporary,
    Permanent,
}

type Checking<'a> = Pin<Box<dyn Future<Output = SpfResult> + Send + 'a>>;

impl<'a> Asking<'a> {
    fn new(dns: &'a Resolver, arrival: &'a Arrival) -> Self {
        let sender = match &arrival.sender {
            Some(sender) if sender.starts_with('@') => format!("postmaster{sender}"),
            Some(sender) => sender.clone(),
            None => format!("postmaster@{}", arrival.helo),
        };
        let address = arrival.address.to_canonical();
        Self { dns, address, sender, helo: &arrival.helo, terms: 0, void: 0 }
    }
}

impl Asking<'_> {
    /// RFC 7208 4. Calls itself for `include` and `redirect`, whose number is bounded with the terms.
    fn check_host(&mut self, domain: String) -> Checking<'_> {
        Box::pin(async move {
            if !is_full_name(&domain) {
                return SpfResult::None;
            }
            let records = match self.dns.txt(&domain).await {
                Ok(records) => records,
                Err(DnsError::NoSuchName | DnsError::NoData) => return SpfResult::None,
                Err(DnsError::Temporary(_)) => return SpfResult::TempError,
            };
            let mut records = records.iter().filter(|record| is_spf(record));
            let record = match (records.next(), records.next()) {
                (None, _) => return SpfResult::None,
                (Some(record), None) => Record::parse(record),
                (Some(_), Some(_)) => return SpfResult::PermError,
            };
            let Ok(record) = record else { return SpfResult::PermError };
            match self.evaluate(&record, &domain).await {
                Ok(result) => result,
                Err(Stop::Temporary) => SpfResult::TempError,
                Err(Stop::Permanent) => SpfResult::PermError,
            }
        })
    }

    async fn evaluate(&mut self, record: &Record, domain: &str) -> Result<SpfResult, Stop> {
        for directive in &record.directives {
            if self.matches(&directive.mechanism, domain).await? {
                return Ok(match directive.qualifier {
                    Qualifier::Pass => SpfResult::Pass,
                    Qualifier::Fail => SpfResult::Fail,
                    Qualifier::SoftFail => SpfResult::SoftFail,
                    Qualifier::Neutral => SpfResult::Neutral,
                });
            }
        }
        let Some(redirect) = &record.redirect else { return Ok(SpfResult::Neutral) };
        self.count_term()?;
        let target = self.expand(redirect, domain).await;
        match self.check_host(target).await {
            // RFC 7208 6.1.
            SpfResult::None => Err(Stop::Permanent),
            other => Ok(other),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, bits) => Ok(same_network(self.address, IpAddr::V4(*network), *bits, 128)),
            Mechanism::Ip6(network, bits) => Ok(same_network(self.address, IpAddr::V6(*network), 32, *bits)),
            Mechanism::Include(spec) => {
                self.count_term()?;
                let target = self.expand(spec, domain).await;
                match self.check_host(target).await {
                    SpfResult::Pass => Ok(true),
                    SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
                    SpfResult::TempError => Err(Stop::Temporary),
                    SpfResult::PermError | SpfResult::None => Err(Stop::Permanent),
                }
            }
            Mechanism::A(spec, prefixes) => {
                self.count_term()?;
                let target = self.target(spec.as_ref(), domain).await;
                self.is_address_of(&target, *prefixes).await
            }
            Mechanism::Mx(spec, prefixes) => {
                self.count_term()?;
                let target = self.target(spec.as_ref(), domain).await;
                let asked = self.dns.mx(&target).await;
                let exchangers = self.found(asked)?;
                if exchangers.len() > NAMES_MAX {
                    return Err(Stop::Permanent);
                }
                for exchanger in exchangers.iter().filter(|exchanger| !exchanger.is_null()) {
                    if self.is_address_of(&exchanger.host, *prefixes).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Ptr(spec) => {
                self.count_term()?;
                let target = self.target(spec.as_ref(), domain).await.to_lowercase();
                Ok(self.validated().await.iter().any(|name| is_within(name, &target)))
            }
            Mechanism::Exists(spec) => {
                self.count_term()?;
                let target = self.expand(spec, domain).await;
                // RFC 7208 5.7: of type A, whatever the client's family.
                let asked = self.dns.a(&target).await;
                Ok(!self.found(asked)?.is_empty())
            }
        }
    }

    async fn is_address_of(&mut self, host: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        let asked = self.dns.addresses_like(self.address, host).await;
        let addresses = self.found(asked)?;
        let client = self.address;
        Ok(addresses.into_iter().any(|address| same_network(client, address, prefixes.v4, prefixes.v6)))
    }

    /// RFC 7208 5.5: the client's names that lead back to it. What fails on the way is as if it were not there.
    async fn validated(&self) -> Vec<String> {
        let names = self.dns.ptr(self.address).await.unwrap_or_default();
        let mut validated = Vec::new();
        for name in names.into_iter().take(NAMES_MAX) {
            let addresses = self.dns.addresses_like(self.address, &name).await;
            if addresses.is_ok_and(|addresses| addresses.contains(&self.address)) {
                validated.push(name.to_lowercase());
            }
        }
        validated
    }

    async fn target(&self, spec: Option<&Spec>, domain: &str) -> String {
        match spec {
            Some(spec) => self.expand(spec, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn expand(&self, spec: &Spec, domain: &str) -> String {
        let names = if spec.needs_validated() { self.validated().await } else { Vec::new() };
        let lower = domain.to_lowercase();
        // RFC 7208 7.3: the domain itself, or else one below it, or else any.
        let best = names.iter().find(|name| **name == lower);
        let best = best.or_else(|| names.iter().find(|name| is_within(name, &lower))).or(names.first());
        let (address, sender, helo) = (self.address, &*self.sender, self.helo);
        let validated = best.map_or("unknown", String::as_str);
        spec.expand(&Values { address, sender, domain, helo, validated })
    }

    fn count_term(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > TERMS_MAX { Err(Stop::Permanent) } else { Ok(()) }
    }

    /// What is not there is an empty answer, and counted.
    fn found<T>(&mut self, asked: Result<Vec<T>, DnsError>) -> Result<Vec<T>, Stop> {
        match asked {
            Ok(found) => Ok(found),
            Err(DnsError::Temporary(_)) => Err(Stop::Temporary),
            Err(DnsError::NoSuchName | DnsError::NoData) => {
                self.void += 1;
                if self.void > VOID_MAX { Err(Stop::Permanent) } else { Ok(Vec::new()) }
            }
        }
    }
}

/// RFC 7208 4.3: of two labels at least, none of them empty or too long.
fn is_full_name(domain: &str) -> bool {
    let name = domain.strip_suffix('.').unwrap_or(domain);
    let fits = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len());
    name.len() <= NAME_BYTES_MAX && name.contains('.') && !name.starts_with('[') && name.split('.').all(fits)
}

fn is_within(name: &str, domain: &str) -> bool {
    let domain = domain.trim_end_matches('.');
    name.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn same_network(one: IpAddr, other: IpAddr, v4: u8, v6: u8) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(v4)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(v6)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
