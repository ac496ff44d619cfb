//! Whether a certificate is to be ordered now. Pure.

use super::read::Facts;
use crate::mail::ids::Timestamp;
use crate::state::certificate::{Acme, Certificate, Renewal};
use crate::state::settings::AcmeTerms;

/// After an order that failed; each further one in a row doubles it. Let's Encrypt takes five failures an hour.
const RETRY_MS: u64 = 15 * 60_000;
const RETRY_MS_MAX: u64 = 24 * 3_600_000;
/// At least so long a certificate is kept, whatever times it says: a server that gives old ones is not asked all day.
const KEPT_MS_MIN: u64 = 3_600_000;
/// After the beginning of an order whose node is gone.
pub const LOST_MS: u64 = 30_000;

/// Why one is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is none, or the operator's own is to be replaced.
    First,
    /// It was given by another server.
    OtherServer,
    /// A name is missing in it. One that is no longer wanted leaves with the next one.
    MoreNames,
    /// Two thirds of its time are over.
    Ends,
    Asked(Renewal),
}

impl Reason {
    pub fn words(self) -> &'static str {
        match self {
            Self::First => "there is none of that server yet",
            Self::OtherServer => "the one in use is of another server",
            Self::MoreNames => "the one in use lacks a name",
            Self::Ends => "the one in use will end",
            Self::Asked(_) => "the operator asked for it",
        }
    }
}

/// For a node that leads and has no order under way: one that the state says is under way was lost with its node.
pub fn due(known: Option<&Certificate>, acme: &Acme, terms: &AcmeTerms, now: Timestamp) -> Option<Reason> {
    let reason = reason(known, acme, terms, now)?;
    not_before(acme).is_none_or(|until| until <= now).then_some(reason)
}

/// When the next order may begin, whatever it is for; `None`: at once.
pub fn not_before(acme: &Acme) -> Option<Timestamp> {
    let order = acme.order.as_ref()?;
    let wait = match order.failed {
        Some(_) => {
            let doublings = acme.failures.saturating_sub(1).min(10);
            (RETRY_MS << doublings).min(RETRY_MS_MAX)
        }
        None => LOST_MS,
    };
    Some(Timestamp(order.began.0.saturating_add(wait)))
}

fn reason(known: Option<&Certificate>, acme: &Acme, terms: &AcmeTerms, now: Timestamp) -> Option<Reason> {
    if let Some(renewal) = acme.renewal {
        return Some(Reason::Asked(renewal));
    }
    let (Some(known), Some(from)) = (known, known.and_then(|known| known.from.as_deref())) else {
        return Some(Reason::First);
    };
    if from != terms.directory {
        return Some(Reason::OtherServer);
    }
    let Some(facts) = Facts::of_leaf(known) else { return Some(Reason::First) };
    if !terms.names.iter().all(|name| facts.has(name)) {
        return Some(Reason::MoreNames);
    }
    let kept_until = Timestamp(known.taken.0.saturating_add(KEPT_MS_MIN));
    (renewed_at(&facts).max(kept_until) <= now).then_some(Reason::Ends)
}

/// When a third of its time is left.
pub fn renewed_at(facts: &Facts) -> Timestamp {
    Timestamp(facts.validity.ends.0 - facts.validity.length_ms() / 3)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::mail::ids::NodeId;
    use crate::state::certificate::AcmeOrder;
    use crate::state::secret::Secret;
    use crate::state::settings::AcmeChallenge;

    const DAY_MS: u64 = 86_400_000;

    fn terms() -> AcmeTerms {
        AcmeTerms {
            directory: "https://ca.test/d".to_owned(),
            names: vec!["mx.a.test".to_owned()],
            contact: None,
            challenge: AcmeChallenge::Http,
        }
    }

    /// Of 90 days, and when they begin.
    fn known(from: Option<&str>) -> (Certificate, Timestamp) {
        let mut params = CertificateParams::new(["mx.a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2026, 4, 2);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let begins = Facts::of(made.der()).unwrap().validity.begins;
        let chain = vec![made.der().to_vec()];
        let private = Secret("p".to_owned());
        (Certificate { chain, private, from: from.map(str::to_owned), taken: begins }, begins)
    }

    #[test]
    fn a_certificate_is_ordered_when_it_is_not_what_is_wanted_and_when_it_will_end() {
        let (ours, begins) = known(Some("https://ca.test/d"));
        let at = |days: u64| Timestamp(begins.0 + days * DAY_MS);
        let acme = Acme::default();
        assert_eq!(due(None, &acme, &terms(), at(1)), Some(Reason::First));
        assert_eq!(due(Some(&known(None).0), &acme, &terms(), at(1)), Some(Reason::First));
        let other = AcmeTerms { directory: "https://ca.test/e".to_owned(), ..terms() };
        assert_eq!(due(Some(&ours), &acme, &other, at(1)), Some(Reason::OtherServer));
        let named = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            due(Some(&ours), &acme, &AcmeTerms { names, ..terms() }, at(1))
        };
        assert_eq!(named(&["b.test"]), Some(Reason::MoreNames));
        assert_eq!(named(&["mx.a.test", "b.test"]), Some(Reason::MoreNames));
        assert_eq!(named(&["MX.a.test"]), None);
        assert_eq!(due(Some(&ours), &acme, &terms(), Timestamp(at(60).0 - 1)), None);
        assert_eq!(due(Some(&ours), &acme, &terms(), at(60)), Some(Reason::Ends));
        let old = Certificate { taken: at(60), ..ours.clone() };
        assert_eq!(due(Some(&old), &acme, &terms(), Timestamp(at(60).0 + KEPT_MS_MIN - 1)), None);
        assert_eq!(due(Some(&old), &acme, &terms(), Timestamp(at(60).0 + KEPT_MS_MIN)), Some(Reason::Ends));
        let asked = Acme { renewal: Some(Renewal::NewKey), ..Acme::default() };
        assert_eq!(due(Some(&ours), &asked, &terms(), at(1)), Some(Reason::Asked(Renewal::NewKey)));
        let broken = Certificate { chain: vec![vec![1]], ..ours };
        assert_eq!(due(Some(&broken), &acme, &terms(), at(1)), Some(Reason::First));
    }

    #[test]
    fn orders_that_fail_are_repeated_ever_more_rarely() {
        let began = Timestamp(1_000);
        let after = |failed: Option<&str>, failures: u32| {
            let failed = failed.map(str::to_owned);
            let order = Some(AcmeOrder { by: NodeId(1), began, failed });
            let acme = Acme { order, failures, ..Acme::default() };
            not_before(&acme).unwrap().0 - began.0
        };
        assert_eq!(after(None, 0), LOST_MS);
        let minutes = [1, 2, 3, 7, 8, u32::MAX].map(|failures| after(Some("why"), failures) / 60_000);
        assert_eq!(minutes, [15, 30, 60, 960, 1_440, 1_440]);
        assert_eq!(not_before(&Acme::default()), None);
        let order = Some(AcmeOrder { by: NodeId(1), began, failed: Some("why".to_owned()) });
        let acme = Acme { order, failures: 1, ..Acme::default() };
        let (early, late) = (Timestamp(began.0 + RETRY_MS - 1), Timestamp(began.0 + RETRY_MS));
        assert_eq!(due(None, &acme, &terms(), early), None);
        assert_eq!(due(None, &acme, &terms(), late), Some(Reason::First));
    }
}
