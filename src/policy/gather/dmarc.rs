//! DMARC (RFC 7489, RFC 9989): asks what the domain in From wants, and whether SPF or DKIM speaks for it.

use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DmarcOutput, DmarcResult as Answer, MessageAuthenticator, SpfOutput,
};
use tokio::time::{Instant, timeout_at};

use crate::policy::facts::{Arrival, Dmarc, DmarcPolicy, DmarcResult};

/// What the checks before found.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    pub spf: &'a SpfOutput,
    pub dkim: &'a [DkimOutput<'a>],
}

pub async fn ask(
    authenticator: &MessageAuthenticator,
    (arrival, message): (&Arrival, Option<&AuthenticatedMessage<'_>>),
    found: Found<'_>,
    until: Instant,
) -> Dmarc {
    let Some(present) = message else { return none() };
    if is_ambiguous(present) {
        return Dmarc { result: DmarcResult::PermError, ambiguous: true, ..none() };
    }
    let parameters = DmarcParameters {
        message: present,
        dkim_output: found.dkim,
        dkim2_output: None,
        rfc5321_mail_from_domain: arrival.domain(),
        spf_output: found.spf,
    };
    match timeout_at(until, authenticator.verify_dmarc(parameters)).await {
        Ok(answer) => result(&answer),
        Err(_) => open(message),
    }
}

/// What is known before anybody has answered.
pub fn open(message: Option<&AuthenticatedMessage<'_>>) -> Dmarc {
    let domain = message.map(|message| domains(message).next().unwrap_or_default()).unwrap_or_default();
    match domain.is_empty() {
        true => none(),
        false => Dmarc { result: DmarcResult::TempError, domain, ..none() },
    }
}

fn none() -> Dmarc {
    Dmarc { result: DmarcResult::None, domain: String::new(), policy: DmarcPolicy::None, ambiguous: false }
}

fn domains(message: &AuthenticatedMessage<'_>) -> impl Iterator<Item = String> {
    message.from.iter().filter_map(|from| from.rsplit_once('@')).map(|(_, domain)| domain.to_lowercase())
}

/// Several From fields, or several domains in one: each reader would see another author.
fn is_ambiguous(message: &AuthenticatedMessage<'_>) -> bool {
    let is_from = |name: &[u8]| name.trim_ascii().eq_ignore_ascii_case(b"from");
    let fields = message.headers.iter().filter(|(name, _)| is_from(name)).count();
    let mut domains = domains(message);
    let first = domains.next();
    fields > 1 || domains.any(|other| Some(other) != first)
}

fn result(answer: &DmarcOutput) -> Dmarc {
    let result = match answer.result() {
        Answer::Pass => DmarcResult::Pass,
        Answer::Fail(_) => DmarcResult::Fail,
        Answer::TempError(_) => DmarcResult::TempError,
        Answer::PermError(_) => DmarcResult::PermError,
        Answer::None => DmarcResult::None,
    };
    let policy = match answer.policy() {
        Policy::Reject => DmarcPolicy::Reject,
        Policy::Quarantine => DmarcPolicy::Quarantine,
        Policy::None | Policy::Unspecified => DmarcPolicy::None,
    };
    Dmarc { result, domain: answer.domain().to_owned(), policy, ambiguous: false }
}
