//! What other domains demand of those who send them mail (MTA-STS, RFC 8461): policies that were fetched, which all nodes
//! obey until they end. Replicated; that a domain said so is the affair of whoever proposes it.

use bincode::{Decode, Encode};

use super::keys;
use super::reading::{first, get};
use super::rows::{Rows, RowsError};
use super::stored::StsPolicyRow;
use crate::mail::ids::Timestamp;

/// Of the whole cluster.
pub const POLICIES_MAX: u32 = 10_000;
/// RFC 8461 3.1: of an id.
pub const ID_BYTES_MAX: usize = 32;
/// Patterns of one policy, and octets of all of them together.
pub const PATTERNS_MAX: usize = 100;
pub const PATTERNS_BYTES_MAX: usize = 4_096;
/// RFC 8461 3.2: some more than a year.
pub const AGE_SECONDS_MAX: u64 = 31_557_600;

/// Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum StsMode {
    /// As if there were none.
    None,
    /// The same; whoever sends may tell what would not have been sent.
    Testing,
    Enforce,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StsPolicy {
    /// Which of the domain's policies it is.
    pub id: String,
    pub mode: StsMode,
    /// Hosts, or `*.` and what stands behind their first label.
    pub mx: Vec<String>,
    pub fetched: Timestamp,
    /// Obeyed until then.
    pub until: Timestamp,
}

/// A policy that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeepStsPolicy {
    pub domain: String,
    pub policy: StsPolicy,
}

impl StsPolicy {
    /// RFC 8461 4.1: whether the policy names this host.
    pub fn names(&self, host: &str) -> bool {
        let below = host.split_once('.').map(|(_, below)| below);
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => below.is_some_and(|below| below.eq_ignore_ascii_case(domain)),
            None => host.eq_ignore_ascii_case(pattern),
        })
    }
}

/// What was kept of a domain, over or not.
pub fn kept(rows: &dyn Rows, domain: &str) -> Result<Option<StsPolicy>, RowsError> {
    Ok(get::<StsPolicyRow>(rows, &keys::sts_policy(domain))?.map(|row| row.policy))
}

/// Up to `count_max` of what was kept, over or not, by domain, behind `after`.
pub fn all_kept(
    rows: &dyn Rows,
    after: Option<&str>,
    count_max: usize,
) -> Result<Vec<(String, StsPolicy)>, RowsError> {
    let mut span = keys::table(keys::STS_POLICY);
    if let Some(after) = after {
        // Nothing stands between a key and itself with a zero behind it.
        span.from = keys::sts_policy(after);
        span.from.push(0);
    }
    first::<StsPolicyRow, _>(rows, &span, count_max, |key, row| {
        keys::sts_domain_of(key).map(|domain| (domain.to_owned(), row.policy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_a_host_or_those_one_label_below_it() {
        let (fetched, until) = (Timestamp(0), Timestamp(1));
        let mx = vec!["mx.a.test".to_owned(), "*.b.test".to_owned()];
        let policy = StsPolicy { id: "1".to_owned(), mode: StsMode::Enforce, mx, fetched, until };
        for (host, named) in [
            ("mx.a.test", true),
            ("MX.A.Test", true),
            ("a.test", false),
            ("x.mx.a.test", false),
            ("mx.b.test", true),
            ("b.test", false),
            ("x.mx.b.test", false),
            ("mxb.test", false),
            ("", false),
        ] {
            assert_eq!(policy.names(host), named, "{host}");
        }
    }
}
