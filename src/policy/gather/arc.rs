//! ARC (RFC 8617): asks for the keys of those who passed the mail on, and holds their seals against them.

use mail_auth::{ArcOutput, AuthenticatedMessage, DkimResult as Found, MessageAuthenticator};
use tokio::time::{Instant, timeout_at};

use super::reading::SIGNATURES_MAX;
use crate::policy::facts::{Arc, ArcResult};

pub async fn ask(
    authenticator: &MessageAuthenticator,
    message: Option<&AuthenticatedMessage<'_>>,
    until: Instant,
) -> Arc {
    let none = Arc { result: ArcResult::None, sealer: String::new() };
    let Some(present) = message else { return none };
    // Seals without signatures, which mail-auth takes for no chain at all.
    let is_torn =
        present.ams_headers.is_empty() && !(present.as_headers.is_empty() && present.aar_headers.is_empty());
    if is_torn || present.as_headers.len() > SIGNATURES_MAX {
        return Arc { result: ArcResult::Fail, ..none };
    }
    match timeout_at(until, authenticator.verify_arc(present)).await {
        Ok(found) => result(&found),
        Err(_) => open(message),
    }
}

/// What is known before anybody has answered.
pub fn open(message: Option<&AuthenticatedMessage<'_>>) -> Arc {
    let seals = message.map_or(&[][..], |message| message.as_headers.as_slice());
    let last = seals.iter().max_by_key(|seal| seal.header.i);
    match last {
        Some(seal) => Arc { result: ArcResult::TempError, sealer: seal.header.d.clone() },
        None => Arc { result: ArcResult::None, sealer: String::new() },
    }
}

fn result(found: &ArcOutput<'_>) -> Arc {
    let result = match found.result() {
        Found::Pass => ArcResult::Pass,
        Found::None => ArcResult::None,
        Found::TempError(_) => ArcResult::TempError,
        Found::Fail(_) | Found::Neutral(_) | Found::PermError(_) => ArcResult::Fail,
    };
    let sealer = found.sets().last().map(|set| set.seal.header.d.clone()).unwrap_or_default();
    Arc { result, sealer }
}
