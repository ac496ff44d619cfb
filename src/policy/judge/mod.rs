//! What becomes of a mail: pure, of its facts and the rules in force. One file per check.
//!
//! Each check may have an opinion. The most severe one decides, the first of equals; a refusal for good weighs more
//! than one for now, which weighs more than a silent drop, then Junk.

mod dkim;
mod dmarc;
pub mod opening;
mod spf;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use super::skip::Skip;
use crate::state::directory::Directory;

/// What is done, and the setting that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Empty where no rule had anything against the mail.
    pub rule: &'static str,
}

impl Judgement {
    /// Somebody may get the mail.
    pub fn is_taken(&self) -> bool {
        matches!(self.verdict, Verdict::Accept | Verdict::Junk)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Junk,
    /// The client hears 250, and nobody gets the mail.
    Discard,
    Refuse(Refusal),
}

/// What the client hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub enhanced: &'static str,
    pub text: String,
}

/// What is done when a check speaks against a mail: a value of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Accept,
    Junk,
    Discard,
    Reject,
    /// Refused for now.
    Defer,
}

/// The settings that judge, as they are when a mail is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub spf_fail: Action,
    pub spf_softfail: Action,
    pub spf_temporary: Action,
    pub dkim_fail: Action,
    pub dmarc_reject: Action,
    pub dmarc_quarantine: Action,
    pub dmarc_temporary: Action,
    pub dmarc_ambiguous: Action,
    /// Domains whose ARC seal outweighs a failure of DMARC.
    pub arc_trusted: Vec<String>,
    /// Checks that have no say.
    pub skip: Skip,
}

impl Rules {
    pub fn new(directory: &Directory) -> Self {
        let settings = directory.settings();
        let action = |key: &str| Action::parse(settings.get(key));
        Self {
            spf_fail: action(SPF_FAIL),
            spf_softfail: action(SPF_SOFTFAIL),
            spf_temporary: action(SPF_TEMPORARY),
            dkim_fail: action(DKIM_FAIL),
            dmarc_reject: action(DMARC_REJECT),
            dmarc_quarantine: action(DMARC_QUARANTINE),
            dmarc_temporary: action(DMARC_TEMPORARY),
            dmarc_ambiguous: action(DMARC_AMBIGUOUS),
            arc_trusted: settings.arc_trusted_sealers(),
            skip: Skip::default(),
        }
    }

    /// The same for a mail that is let off some checks.
    pub fn without(self, skip: Skip) -> Self {
        Self { skip, ..self }
    }
}

const SPF_FAIL: &str = "spf.fail";
const SPF_SOFTFAIL: &str = "spf.softfail";
const SPF_TEMPORARY: &str = "spf.temporary";
const DKIM_FAIL: &str = "dkim.fail";
const DMARC_REJECT: &str = "dmarc.reject";
const DMARC_QUARANTINE: &str = "dmarc.quarantine";
const DMARC_TEMPORARY: &str = "dmarc.temporary";
const DMARC_AMBIGUOUS: &str = "dmarc.ambiguous";

impl Action {
    fn parse(text: &str) -> Self {
        match text {
            "junk" => Self::Junk,
            "discard" => Self::Discard,
            "reject" => Self::Reject,
            "defer" => Self::Defer,
            _ => Self::Accept,
        }
    }

    /// The opinion that this action comes to.
    fn judgement(self, rule: &'static str, enhanced: Enhanced, why: String) -> Judgement {
        let verdict = match self {
            Self::Accept => Verdict::Accept,
            Self::Junk => Verdict::Junk,
            Self::Discard => Verdict::Discard,
            Self::Reject => Verdict::Refuse(Refusal { code: 550, enhanced: enhanced.permanent, text: why }),
            Self::Defer => Verdict::Refuse(Refusal { code: 451, enhanced: enhanced.temporary, text: why }),
        };
        Judgement { verdict, rule }
    }
}

/// One detail of RFC 7372 as a permanent and as a temporary code.
#[derive(Clone, Copy)]
struct Enhanced {
    permanent: &'static str,
    temporary: &'static str,
}

/// What becomes of the mail.
pub fn judge(facts: &Facts, rules: &Rules) -> Judgement {
    let Skip { spf, dkim, dmarc, dnsbl: _, antivirus: _, greylist: _ } = rules.skip;
    let opinions = [
        spf::opinion(facts, rules).filter(|_| !spf),
        dkim::opinion(facts, rules).filter(|_| !dkim),
        dmarc::opinion(facts, rules).filter(|_| !dmarc),
    ];
    let mut decided = Judgement { verdict: Verdict::Accept, rule: "" };
    for opinion in opinions.into_iter().flatten() {
        if weight(&opinion.verdict) > weight(&decided.verdict) {
            decided = opinion;
        }
    }
    decided
}

fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Accept => 0,
        Verdict::Junk => 1,
        Verdict::Discard => 2,
        Verdict::Refuse(refusal) if refusal.code < 500 => 3,
        Verdict::Refuse(_) => 4,
    }
}
