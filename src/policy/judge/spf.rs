//! SPF: whether the sender's domain lets this client send (RFC 7208 8).

use super::{Action, Enhanced, Judgement, Rules, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPORARY};
use crate::policy::facts::{DmarcResult, Facts, SpfResult};

/// RFC 7372 3.2.
const FAILED: Enhanced = Enhanced { permanent: "5.7.23", temporary: "4.7.23" };
const NOT_KNOWN: Enhanced = Enhanced { permanent: "5.7.24", temporary: "4.7.24" };

pub fn opinion(facts: &Facts, rules: &Rules) -> Option<Judgement> {
    let dmarc = facts.dmarc.as_ref().map(|dmarc| dmarc.result);
    // A mail that was forwarded fails SPF; where its signature shows whose it is, that is no fault of its own.
    if dmarc == Some(DmarcResult::Pass) {
        return None;
    }
    let (action, rule, enhanced, why) = match facts.spf? {
        SpfResult::Fail => {
            (rules.spf_fail, SPF_FAIL, FAILED, "The sender's domain does not let this host send (SPF)")
        }
        SpfResult::SoftFail => {
            let why = "The sender's domain does not expect this host to send (SPF)";
            (rules.spf_softfail, SPF_SOFTFAIL, FAILED, why)
        }
        SpfResult::TempError => {
            let why = "The DNS does not tell at the moment whether this host may send (SPF), try again";
            (rules.spf_temporary, SPF_TEMPORARY, NOT_KNOWN, why)
        }
        SpfResult::None | SpfResult::Neutral | SpfResult::Pass | SpfResult::PermError => return None,
    };
    // Where a signature could not be looked up, it may yet show that.
    let action = match (action, dmarc) {
        (Action::Reject, Some(DmarcResult::TempError)) => Action::Defer,
        (action, _) => action,
    };
    Some(action.judgement(rule, enhanced, why.to_owned()))
}
