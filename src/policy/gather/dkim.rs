//! DKIM (RFC 6376, RFC 8463): asks for the keys and holds the signatures against them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult as Found, DnsError, Error, MessageAuthenticator,
};
use tokio::time::{Instant, timeout_at};

use crate::policy::facts::{Dkim, DkimResult};

/// Octets of a signature that tell it apart: eight digits of base64 (RFC 6008).
const BEGINS_BYTES: usize = 6;

pub async fn ask<'x>(
    authenticator: &MessageAuthenticator,
    message: Option<&'x AuthenticatedMessage<'x>>,
    until: Instant,
) -> Vec<DkimOutput<'x>> {
    let Some(present) = message else { return Vec::new() };
    match timeout_at(until, authenticator.verify_dkim(present)).await {
        Ok(found) => found,
        Err(_) => open(message),
    }
}

/// What is known before anybody has answered.
pub fn open<'x>(message: Option<&'x AuthenticatedMessage<'x>>) -> Vec<DkimOutput<'x>> {
    let signatures = message.map_or(&[][..], |message| message.dkim_headers.as_slice());
    let late = || Error::Dns(DnsError::Resolver("no answer in time".to_owned()));
    signatures.iter().map(|it| DkimOutput::temp_err(late()).with_signature(&it.header)).collect()
}

pub fn results(found: &[DkimOutput<'_>]) -> Vec<Dkim> {
    found.iter().map(result).collect()
}

fn result(found: &DkimOutput<'_>) -> Dkim {
    let (result, why) = match found.result() {
        Found::Pass => (DkimResult::Pass, String::new()),
        Found::Fail(why) => (DkimResult::Fail, why.to_string()),
        // Its body is not the one that was signed.
        Found::Neutral(why @ Error::Dkim(mail_auth::dkim::DkimError::FailedBodyHashMatch)) => {
            (DkimResult::Fail, why.to_string())
        }
        Found::Neutral(why) => (DkimResult::Neutral, why.to_string()),
        Found::TempError(why) => (DkimResult::TempError, why.to_string()),
        Found::PermError(why) => (DkimResult::PermError, why.to_string()),
        Found::None => (DkimResult::Neutral, String::new()),
    };
    let signature = found.signature();
    let begins = signature.map_or(&[][..], |signature| &signature.b[..signature.b.len().min(BEGINS_BYTES)]);
    Dkim {
        result,
        domain: signature.map(|signature| signature.d.clone()).unwrap_or_default(),
        selector: signature.map(|signature| signature.s.clone()).unwrap_or_default(),
        begins: STANDARD.encode(begins),
        why,
    }
}
