//! DMARC: what the domain in From asks for where neither SPF nor DKIM speaks for it (RFC 7489 6.6, RFC 9989).

use super::{DMARC_AMBIGUOUS, DMARC_QUARANTINE, DMARC_REJECT, DMARC_TEMPORARY, Enhanced, Judgement, Rules};
use crate::policy::facts::{ArcResult, DmarcPolicy, DmarcResult, Facts};

/// RFC 7372 3.4: several checks failed.
const FAILED: Enhanced = Enhanced { permanent: "5.7.26", temporary: "4.7.26" };
const AMBIGUOUS: Enhanced = Enhanced { permanent: "5.7.1", temporary: "4.7.1" };

pub fn opinion(facts: &Facts, rules: &Rules) -> Option<Judgement> {
    let dmarc = facts.dmarc.as_ref()?;
    if dmarc.ambiguous {
        let why = "From must name one domain".to_owned();
        return Some(rules.dmarc_ambiguous.judgement(DMARC_AMBIGUOUS, AMBIGUOUS, why));
    }
    let domain = &dmarc.domain;
    match (dmarc.result, dmarc.policy) {
        (DmarcResult::Fail, _) if has_seal_of_trust(facts, rules, ArcResult::Pass) => None,
        (DmarcResult::Fail, _) if has_seal_of_trust(facts, rules, ArcResult::TempError) => {
            let why =
                "The DNS does not tell at the moment who sealed the message (ARC), try again".to_owned();
            Some(rules.dmarc_temporary.judgement(DMARC_TEMPORARY, FAILED, why))
        }
        (DmarcResult::Fail, DmarcPolicy::Reject) => {
            let why = format!("{domain} asks that mail which it did not send be refused (DMARC)");
            Some(rules.dmarc_reject.judgement(DMARC_REJECT, FAILED, why))
        }
        (DmarcResult::Fail, DmarcPolicy::Quarantine) => {
            let why = format!("{domain} asks that mail which it did not send be distrusted (DMARC)");
            Some(rules.dmarc_quarantine.judgement(DMARC_QUARANTINE, FAILED, why))
        }
        (DmarcResult::TempError, _) => {
            let why = "The DNS does not tell the domain's policy at the moment (DMARC), try again".to_owned();
            Some(rules.dmarc_temporary.judgement(DMARC_TEMPORARY, FAILED, why))
        }
        (DmarcResult::Fail, DmarcPolicy::None)
        | (DmarcResult::None | DmarcResult::Pass | DmarcResult::PermError, _) => None,
    }
}

/// RFC 8617 7.2: who sealed the mail last is trusted to have checked it before.
fn has_seal_of_trust(facts: &Facts, rules: &Rules, result: ArcResult) -> bool {
    let trusted = |sealer: &str| rules.arc_trusted.iter().any(|domain| domain.eq_ignore_ascii_case(sealer));
    facts.arc.as_ref().is_some_and(|arc| arc.result == result && trusted(&arc.sealer))
}
