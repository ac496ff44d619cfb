//! Policies of other domains: kept, replaced by later ones, forgotten at their end, a few with each that comes.

use super::names::{domain, invalid};
use super::transaction::{Stop, Transaction};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::stored::{StsEndRow, StsPolicyRow, StsTallyRow};
use crate::state::sts::{
    AGE_SECONDS_MAX, ID_BYTES_MAX, KeepStsPolicy, PATTERNS_BYTES_MAX, PATTERNS_MAX, POLICIES_MAX, StsPolicy,
};

/// With one that comes.
pub const ENDED_PER_POLICY: usize = 8;

pub fn keep(tx: &mut Transaction, kept: &KeepStsPolicy) -> Result<Outcome, Stop> {
    let (name, policy) = (domain(&kept.domain)?, &kept.policy);
    check(policy)?;
    let mut tally: StsTallyRow = tx.get(&keys::sts_tally())?.unwrap_or_default();
    forget_ended(tx, &mut tally)?;
    match tx.get::<StsPolicyRow>(&keys::sts_policy(&name))? {
        // Two nodes fetched it; what came later counts.
        Some(before) if before.policy.fetched > policy.fetched => {
            tx.put(keys::sts_tally(), &tally)?;
            return Ok(Outcome::Done);
        }
        Some(before) => tx.delete(keys::sts_end(before.policy.until, &name)),
        // One that holds is not forgotten for another: whoever has many domains could let it be forgotten.
        None if tally.policies >= POLICIES_MAX => {
            return Err(Refusal::Limit(format!("{POLICIES_MAX} policies")).into());
        }
        None => tally.policies += 1,
    }
    tx.put(keys::sts_end(policy.until, &name), &StsEndRow {})?;
    tx.put(keys::sts_policy(&name), &StsPolicyRow { policy: policy.clone() })?;
    tx.put(keys::sts_tally(), &tally)?;
    Ok(Outcome::Done)
}

fn check(policy: &StsPolicy) -> Result<(), Refusal> {
    let StsPolicy { id, mx, fetched, until, .. } = policy;
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(invalid("id", id));
    }
    let bytes: usize = mx.iter().map(String::len).sum();
    if mx.len() > PATTERNS_MAX || bytes > PATTERNS_BYTES_MAX {
        return Err(Refusal::Limit(format!(
            "{PATTERNS_MAX} patterns of {PATTERNS_BYTES_MAX} bytes together"
        )));
    }
    match until.0.saturating_sub(fetched.0) <= AGE_SECONDS_MAX.saturating_mul(1_000) {
        true => Ok(()),
        false => Err(Refusal::Limit(format!("{AGE_SECONDS_MAX} seconds"))),
    }
}

fn forget_ended(tx: &mut Transaction, tally: &mut StsTallyRow) -> Result<(), Stop> {
    for (key, StsEndRow {}) in tx.first(&keys::table(keys::STS_END), ENDED_PER_POLICY)? {
        if keys::sts_until_of(&key).is_some_and(|until| tx.at < until) {
            break;
        }
        tx.delete(keys::sts_named_by(&key));
        tx.delete(key);
        tally.policies = tally.policies.saturating_sub(1);
    }
    Ok(())
}
