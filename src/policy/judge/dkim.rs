//! DKIM: signatures that do not hold. Having none is no fault (RFC 6376 6.3), nor is one that fails beside one that holds.

use super::{DKIM_FAIL, Enhanced, Judgement, Rules};
use crate::policy::facts::{DkimResult, Facts};

/// RFC 7372 3.1: no signature holds.
const FAILED: Enhanced = Enhanced { permanent: "5.7.20", temporary: "4.7.20" };

pub fn opinion(facts: &Facts, rules: &Rules) -> Option<Judgement> {
    let signatures = facts.dkim.as_ref()?;
    let is = |result: DkimResult| signatures.iter().any(|signature| signature.result == result);
    // One that cannot be told yet may be the one that holds.
    if is(DkimResult::Pass) || is(DkimResult::TempError) || !is(DkimResult::Fail) {
        return None;
    }
    let why = "No DKIM signature of the message holds".to_owned();
    Some(rules.dkim_fail.judgement(DKIM_FAIL, FAILED, why))
}
