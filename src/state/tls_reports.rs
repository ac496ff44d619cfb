//! How TLS with the servers of other domains went, for reports to those who ask for them (RFC 8460): the counts of a day, over
//! all nodes, and which days were reported. Replicated; what is counted is the affair of whoever proposes it.
//!
//! At each bound something is left out of a report, and nothing else happens.

use core::net::IpAddr;

use bincode::{Decode, Encode};

use super::keys::{self, Span};
use super::queue::Submit;
use super::reading::{first, get, visit};
use super::rows::{Rows, RowsError};
use super::stored::{TlsDayRow, TlsFailureRow, TlsPolicyRow};
use crate::mail::ids::{NodeId, Timestamp};

/// Domains times days that are kept at once; a further one is not counted.
pub const DAYS_MAX: u32 = 10_000;
/// After so many days what was not reported never is.
pub const REMEMBERED_DAYS: u32 = 3;
/// Domains in one command.
pub const DOMAINS_PER_TALLY_MAX: usize = 20;
/// Of one domain and day; sessions under a further one are not counted.
pub const POLICIES_MAX: usize = 8;
/// Of one of these; sessions that fail in a further way are counted, and how they failed is not told.
pub const FAILURES_MAX: usize = 16;
/// What a policy says.
pub const LINES_MAX: usize = 110;
pub const LINES_BYTES_MAX: usize = 4_800;
/// A host's name, or words on what went wrong.
pub const WORDS_BYTES_MAX: usize = 255;
/// Mails that one report makes.
pub const MAILS_MAX: usize = 4;

const DAY_MS: u64 = 86_400_000;

/// A day of UTC, by how many there were since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Day(pub u32);

impl Day {
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.0 / DAY_MS).unwrap_or(u32::MAX))
    }

    pub fn begins(self) -> Timestamp {
        Timestamp(u64::from(self.0) * DAY_MS)
    }

    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What was demanded of a server (RFC 8460 4.4). Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum TlsPolicyKind {
    /// Nothing.
    None,
    Sts,
    Tlsa,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct TlsPolicy {
    pub kind: TlsPolicyKind,
    /// Whose it is: of TLSA records the name at which they are.
    pub domain: String,
    /// What it says.
    pub lines: Vec<String>,
}

/// RFC 8460 4.3. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum TlsResult {
    StarttlsNotSupported,
    CertificateHostMismatch,
    CertificateExpired,
    CertificateNotTrusted,
    ValidationFailure,
    TlsaInvalid,
    StsPolicyFetchError,
    StsPolicyInvalid,
    StsWebpkiInvalid,
}

/// A way in which a session failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct FailedSession {
    pub result: TlsResult,
    pub sending_ip: Option<IpAddr>,
    pub mx: Option<String>,
    pub receiving_ip: Option<IpAddr>,
    /// In words; may be empty.
    pub reason: String,
}

/// Sessions under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicyTally {
    pub policy: TlsPolicy,
    pub successful: u64,
    pub failed: u64,
    /// How they failed, and how often each way; perhaps not of all.
    pub failures: Vec<(FailedSession, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DomainTally {
    pub domain: String,
    pub policies: Vec<PolicyTally>,
}

/// What a node has counted lately.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TlsTally {
    pub node: NodeId,
    pub day: Day,
    pub domains: Vec<DomainTally>,
}

/// Of what a report tells. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Extent {
    /// Of the day until now; the rest of it is told of by another.
    SoFar,
    /// Of what is left of the day: no other follows.
    Whole,
}

/// A report on its way: in the entry that queues its mails what they tell of is done with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TlsReport {
    pub day: Day,
    pub domain: String,
    /// The counts as they were read ([`TlsDayRow::changes`]).
    pub changes: u64,
    pub extent: Extent,
    /// None where nobody is to be told, or by other ways.
    pub mails: Vec<Submit>,
}

/// The counts of a domain and a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayCounts {
    pub day: Day,
    pub domain: String,
    pub row: TlsDayRow,
}

/// Those of days before `before` that are not reported, ascending by day, at most `limit`, from the first behind `after`.
pub fn open(
    rows: &dyn Rows,
    before: Day,
    after: Option<&DayCounts>,
    limit: usize,
) -> Result<Vec<DayCounts>, RowsError> {
    let mut span = Span { from: keys::table(keys::TLS_DAY).from, to: keys::tls_days_from(before) };
    if let Some(after) = after {
        span.from = keys::tls_day(after.day, &after.domain);
        span.from.push(0);
    }
    first::<TlsDayRow, _>(rows, &span, limit, |key, row| {
        let (day, domain) = keys::tls_day_of(key).filter(|_| !row.over)?;
        Some(DayCounts { day, domain: domain.to_owned(), row })
    })
}

/// `None`: nothing was counted.
pub fn counts(
    rows: &dyn Rows,
    day: Day,
    domain: &str,
) -> Result<Option<(TlsDayRow, Vec<PolicyTally>)>, RowsError> {
    let Some(row) = get::<TlsDayRow>(rows, &keys::tls_day(day, domain))? else { return Ok(None) };
    let mut policies = Vec::new();
    visit::<TlsPolicyRow>(rows, &keys::tls_policies(day, domain), |_, row| policies.push(row))?;
    let mut tallies = Vec::with_capacity(policies.len());
    for (number, TlsPolicyRow { policy, successful, failed }) in policies.into_iter().enumerate() {
        let mut failures = Vec::new();
        visit::<TlsFailureRow>(rows, &keys::tls_failures(day, domain, number as u16), |_, row| {
            failures.push((row.failure, row.count));
        })?;
        tallies.push(PolicyTally { policy, successful, failed, failures });
    }
    Ok(Some((row, tallies)))
}
