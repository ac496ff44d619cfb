//! MTA-STS (RFC 8461): a domain says, on a web server that proves its name, which mail servers are its own, and that
//! they speak TLS and prove theirs.
//!
//! Policies are kept in the replicated state: what one node has heard all obey, until it ends. What it must never do: send
//! as if there were none while one holds, because somebody keeps it from being heard again.

mod fetch;
pub mod policy;
pub mod response;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info};

use super::https::Unheard;
use super::reply::Reply;
use super::routing::{Hop, Resolve};
use super::trust::Demand;
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::Timestamp;
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::state::sts::{self, KeepStsPolicy, StsMode, StsPolicy};
use crate::state::tls_reports::TlsResult;

/// Octets of a policy.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
const HTTPS_PORT: u16 = 443;
/// RFC 8461 10.2: fetched anew so often although its id is the same, so that it does not end.
const REFRESH_MS: u64 = 86_400_000;
/// RFC 8461 3.3: a policy that could not be had is not asked for again for so long.
const AFTER_FAILURE_SECONDS: u64 = 300;
/// Domains of which that is remembered; at the bound all of it is forgotten.
const FAILURES_MAX: usize = 1_000;

/// What this node knows beside the rows.
pub struct Policies {
    /// By domain: which policy could not be had, and when.
    failed: Mutex<BTreeMap<String, (String, Instant)>>,
    port: u16,
}

impl Default for Policies {
    fn default() -> Self {
        Self::at_port(HTTPS_PORT)
    }
}

impl Policies {
    pub fn at_port(port: u16) -> Self {
        Self { failed: Mutex::default(), port }
    }

    /// What holds for a domain now. `Err`: whether a policy was kept cannot be read.
    pub async fn of<R: Replica>(
        &self,
        domain: &str,
        replica: &R,
        resolver: &impl Resolve,
    ) -> Result<Heard, Fault> {
        if !replica.directory().settings().delivery_mta_sts() {
            return Ok(Heard::default());
        }
        let wanted = domain.to_owned();
        let now = replica.clock().now();
        let kept = replica.read_queue(move |rows| sts::kept(rows, &wanted)).await?;
        let kept = kept.filter(|kept| now < kept.until);
        // RFC 8461 5.1: while a policy holds, that its record is gone or cannot be had does not end it.
        let records = resolver.txt(&format!("_mta-sts.{domain}")).await.unwrap_or_default();
        let Some(id) = policy::id(&records) else { return Ok(Heard::of(kept)) };
        let fresh = |kept: &StsPolicy| kept.id == id && now.0 < kept.fetched.0.saturating_add(REFRESH_MS);
        if kept.as_ref().is_some_and(fresh) || self.failed_lately(domain, &id) {
            return Ok(Heard::of(kept));
        }
        match self.fetched((domain, &id), now, replica, resolver).await {
            Ok(policy) => Ok(Heard::of(Some(policy).filter(|policy| now < policy.until))),
            Err((result, why)) => {
                info!("outbound: the MTA-STS policy of {domain} cannot be had: {why}");
                self.note_failure(domain, id);
                Ok(Heard { policy: kept, missed: Some((result, why)) })
            }
        }
    }

    async fn fetched<R: Replica>(
        &self,
        (domain, id): (&str, &str),
        now: Timestamp,
        replica: &R,
        resolver: &impl Resolve,
    ) -> Result<StsPolicy, (TlsResult, String)> {
        let authorities = replica.directory().authorities.clone();
        let text = fetch::fetch(domain, self.port, resolver, &authorities).await;
        let text = text.map_err(|unheard| match unheard {
            Unheard::Unproven(why) => (TlsResult::StsWebpkiInvalid, why),
            Unheard::Broken(why) => (TlsResult::StsPolicyFetchError, why),
        })?;
        let read = policy::read(&text).map_err(|why| (TlsResult::StsPolicyInvalid, why));
        let policy::Read { mode, mx, age_seconds } = read?;
        let until = Timestamp(now.0.saturating_add(age_seconds.saturating_mul(1_000)));
        let policy = StsPolicy { id: id.to_owned(), mode, mx, fetched: now, until };
        let kept = KeepStsPolicy { domain: domain.to_owned(), policy: policy.clone() };
        // It is obeyed now in any case; what is not kept is fetched once more.
        match replica.propose(Command::KeepStsPolicy(Box::new(kept))).await {
            Ok(Outcome::Done) => debug!("outbound: the MTA-STS policy of {domain} is kept"),
            Ok(other) => info!("outbound: the MTA-STS policy of {domain} is not kept: {other:?}"),
            Err(fault) => info!("outbound: the MTA-STS policy of {domain} is not kept: {fault}"),
        }
        Ok(policy)
    }

    fn failed_lately(&self, domain: &str, id: &str) -> bool {
        let within = Duration::from_secs(AFTER_FAILURE_SECONDS);
        let failed = self.failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        failed.get(domain).is_some_and(|(known, since)| known == id && since.elapsed() < within)
    }

    fn note_failure(&self, domain: &str, id: String) {
        let mut failed = self.failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if failed.len() >= FAILURES_MAX {
            failed.clear();
        }
        failed.insert(domain.to_owned(), (id, Instant::now()));
    }
}

/// What was heard of a domain's policy.
#[derive(Debug, Default)]
pub struct Heard {
    pub policy: Option<StsPolicy>,
    /// One that is published and could not be had just now.
    pub missed: Option<(TlsResult, String)>,
}

impl Heard {
    fn of(policy: Option<StsPolicy>) -> Self {
        Self { policy, missed: None }
    }
}

/// The servers that a policy leaves, each with what it must prove. `Err`: it leaves none.
pub fn held_to(policy: Option<&StsPolicy>, domain: &str, hops: Vec<Hop>) -> Result<Vec<Hop>, Reply> {
    let Some(policy) = policy else { return Ok(hops) };
    match policy.mode {
        StsMode::None => return Ok(hops),
        StsMode::Testing => {
            for hop in hops.iter().filter(|hop| !policy.names(&hop.host)) {
                info!(
                    "outbound: {} is none of the servers that {domain} names by MTA-STS (testing)",
                    hop.host
                );
            }
            let tested = |hop: Hop| match hop.demand {
                Demand::Opportunistic => Hop { demand: Demand::StsTesting, ..hop },
                _ => hop,
            };
            return Ok(hops.into_iter().map(tested).collect());
        }
        StsMode::Enforce => {}
    }
    let held = hops.into_iter().filter_map(|hop| match hop.demand {
        // RFC 8461 2: it never overrides what DANE says.
        Demand::Dane(_) => Some(hop),
        _ => policy.names(&hop.host).then_some(Hop { demand: Demand::Sts, ..hop }),
    });
    let held: Vec<Hop> = held.collect();
    if held.is_empty() {
        let why = format!("no mail server of {domain} is one that its MTA-STS policy names");
        return Err(Reply::of_ours(451, (4, 7, 1), why));
    }
    Ok(held)
}
