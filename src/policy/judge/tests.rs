//! Every check against every action, and which of several opinions decides.

use super::*;
use crate::policy::facts::{Arc, ArcResult, Dkim, DkimResult, Dmarc, DmarcPolicy, DmarcResult, SpfResult};

fn rules() -> Rules {
    Rules::new(&Directory::default())
}

fn dkim(result: DkimResult) -> Dkim {
    let (domain, selector) = ("a.test".to_owned(), "s".to_owned());
    Dkim { result, domain, selector, begins: String::new(), why: String::new() }
}

fn signed(results: &[DkimResult]) -> Facts {
    Facts { dkim: Some(results.iter().copied().map(dkim).collect()), ..Facts::default() }
}

fn from(result: DmarcResult, policy: DmarcPolicy) -> Dmarc {
    Dmarc { result, domain: "a.test".to_owned(), policy, ambiguous: false }
}

fn claimed(result: DmarcResult, policy: DmarcPolicy) -> Facts {
    Facts { dmarc: Some(from(result, policy)), ..Facts::default() }
}

fn sent(spf: SpfResult) -> Facts {
    Facts { spf: Some(spf), ..Facts::default() }
}

/// `accept`, `junk`, `discard` or the codes, and the rule.
fn said(facts: &Facts, rules: &Rules) -> String {
    let Judgement { verdict, rule } = judge(facts, rules);
    let verdict = match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Junk => "junk".to_owned(),
        Verdict::Discard => "discard".to_owned(),
        Verdict::Refuse(refusal) => format!("{} {}", refusal.code, refusal.enhanced),
    };
    format!("{verdict} {rule}").trim_end().to_owned()
}

#[test]
fn by_default_a_forged_mail_is_refused_and_a_doubtful_one_is_junk() {
    use {DmarcPolicy as Policy, DmarcResult as Result};
    let ambiguous = Dmarc { ambiguous: true, ..from(Result::None, Policy::None) };
    for (facts, expected) in [
        (Facts::default(), "accept"),
        (sent(SpfResult::None), "accept"),
        (sent(SpfResult::Neutral), "accept"),
        (sent(SpfResult::Pass), "accept"),
        (sent(SpfResult::Fail), "junk spf.fail"),
        (sent(SpfResult::SoftFail), "accept"),
        (sent(SpfResult::TempError), "accept"),
        (sent(SpfResult::PermError), "accept"),
        (signed(&[]), "accept"),
        (signed(&[DkimResult::Fail]), "accept"),
        (claimed(Result::Fail, Policy::Reject), "550 5.7.26 dmarc.reject"),
        (claimed(Result::Fail, Policy::Quarantine), "junk dmarc.quarantine"),
        (claimed(Result::Fail, Policy::None), "accept"),
        (claimed(Result::Pass, Policy::Reject), "accept"),
        (claimed(Result::None, Policy::None), "accept"),
        (claimed(Result::PermError, Policy::None), "accept"),
        (claimed(Result::TempError, Policy::None), "accept"),
        (Facts { dmarc: Some(ambiguous), ..Facts::default() }, "junk dmarc.ambiguous"),
    ] {
        assert_eq!(said(&facts, &rules()), expected, "{facts:?}");
    }
}

#[test]
fn each_action_is_obeyed() {
    for (action, expected) in [
        (Action::Accept, "accept"),
        (Action::Junk, "junk spf.fail"),
        (Action::Discard, "discard spf.fail"),
        (Action::Reject, "550 5.7.23 spf.fail"),
        (Action::Defer, "451 4.7.23 spf.fail"),
    ] {
        assert_eq!(said(&sent(SpfResult::Fail), &Rules { spf_fail: action, ..rules() }), expected);
    }
    let strict = Rules { spf_softfail: Action::Reject, dkim_fail: Action::Reject, ..rules() };
    assert_eq!(said(&sent(SpfResult::SoftFail), &strict), "550 5.7.23 spf.softfail");
    assert_eq!(said(&signed(&[DkimResult::Fail, DkimResult::Neutral]), &strict), "550 5.7.20 dkim.fail");
    let patient = Rules { spf_temporary: Action::Defer, dmarc_temporary: Action::Defer, ..rules() };
    assert_eq!(said(&sent(SpfResult::TempError), &patient), "451 4.7.24 spf.temporary");
    let open = claimed(DmarcResult::TempError, DmarcPolicy::None);
    assert_eq!(said(&open, &patient), "451 4.7.26 dmarc.temporary");
}

#[test]
fn what_the_dns_leaves_open_is_never_refused_for_good() {
    let strictest = Rules {
        spf_fail: Action::Reject,
        spf_softfail: Action::Reject,
        dkim_fail: Action::Reject,
        dmarc_quarantine: Action::Reject,
        dmarc_ambiguous: Action::Reject,
        spf_temporary: Action::Defer,
        dmarc_temporary: Action::Defer,
        ..rules()
    };
    let mut open = signed(&[DkimResult::TempError, DkimResult::Fail]);
    assert_eq!(said(&open, &strictest), "accept", "the open one may be the one that holds");
    open.spf = Some(SpfResult::TempError);
    open.dmarc = Some(from(DmarcResult::TempError, DmarcPolicy::Reject));
    assert_eq!(said(&open, &strictest), "451 4.7.24 spf.temporary");
    assert!(open.are_open());
    open.spf = Some(SpfResult::Fail);
    assert_eq!(said(&open, &strictest), "451 4.7.23 spf.fail", "DMARC may yet pass");
}

#[test]
fn a_signature_that_holds_is_enough() {
    let strict = Rules { dkim_fail: Action::Reject, spf_fail: Action::Reject, ..rules() };
    assert_eq!(said(&signed(&[DkimResult::Fail, DkimResult::Pass]), &strict), "accept");
    let mut forwarded = claimed(DmarcResult::Pass, DmarcPolicy::Reject);
    forwarded.spf = Some(SpfResult::Fail);
    assert_eq!(
        said(&forwarded, &strict),
        "accept",
        "SPF fails for who forwards; the signature is the author's"
    );
}

#[test]
fn the_most_severe_opinion_decides_the_first_of_equals() {
    let mut facts = claimed(DmarcResult::Fail, DmarcPolicy::Reject);
    facts.spf = Some(SpfResult::Fail);
    let with = |spf_fail, dmarc_reject| Rules { spf_fail, dmarc_reject, ..rules() };
    for (spf, dmarc, expected) in [
        (Action::Junk, Action::Junk, "junk spf.fail"),
        (Action::Junk, Action::Discard, "discard dmarc.reject"),
        (Action::Defer, Action::Discard, "451 4.7.23 spf.fail"),
        (Action::Defer, Action::Reject, "550 5.7.26 dmarc.reject"),
        (Action::Reject, Action::Reject, "550 5.7.23 spf.fail"),
    ] {
        assert_eq!(said(&facts, &with(spf, dmarc)), expected);
    }
}

#[test]
fn what_a_mail_is_let_off_does_not_decide_and_all_else_does() {
    let mut facts = claimed(DmarcResult::Fail, DmarcPolicy::Reject);
    facts.spf = Some(SpfResult::Fail);
    facts.dkim = Some(vec![dkim(DkimResult::Fail)]);
    let strict = Rules { spf_fail: Action::Defer, dkim_fail: Action::Discard, ..rules() };
    let (spf, dkim, dmarc) = (
        Skip { spf: true, ..Skip::default() },
        Skip { dkim: true, ..Skip::default() },
        Skip { dmarc: true, ..Skip::default() },
    );
    for (skip, expected) in [
        (Skip { dnsbl: true, antivirus: true, ..Skip::default() }, "550 5.7.26 dmarc.reject"),
        (spf.or(dkim), "550 5.7.26 dmarc.reject"),
        (dmarc, "451 4.7.23 spf.fail"),
        (dmarc.or(spf), "discard dkim.fail"),
        (dmarc.or(dkim), "451 4.7.23 spf.fail"),
        (dmarc.or(dkim).or(spf), "accept"),
    ] {
        assert_eq!(said(&facts, &strict.clone().without(skip)), expected, "{skip:?}");
    }
}

#[test]
fn a_trusted_sealer_outweighs_dmarc_and_nobody_else_does() {
    let mut facts = claimed(DmarcResult::Fail, DmarcPolicy::Reject);
    let (arc_trusted, dmarc_temporary) = (vec!["lists.test".to_owned()], Action::Defer);
    let trusting = Rules { arc_trusted, dmarc_temporary, ..rules() };
    for (result, sealer, expected) in [
        (ArcResult::Pass, "Lists.Test", "accept"),
        (ArcResult::Pass, "evil.lists.test", "550 5.7.26 dmarc.reject"),
        (ArcResult::Fail, "lists.test", "550 5.7.26 dmarc.reject"),
        (ArcResult::TempError, "lists.test", "451 4.7.26 dmarc.temporary"),
        (ArcResult::TempError, "evil.test", "550 5.7.26 dmarc.reject"),
        (ArcResult::None, "", "550 5.7.26 dmarc.reject"),
    ] {
        facts.arc = Some(Arc { result, sealer: sealer.to_owned() });
        assert_eq!(said(&facts, &trusting), expected, "{result:?} {sealer}");
    }
    facts.arc = Some(Arc { result: ArcResult::Pass, sealer: "lists.test".to_owned() });
    assert_eq!(said(&facts, &rules()), "550 5.7.26 dmarc.reject", "nobody is trusted unasked");
}
