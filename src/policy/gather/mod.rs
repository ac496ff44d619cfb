//! Asks what is not known of a mail, and gives [`Facts`]. One file per check.
//!
//! The message is read as it comes in ([`Reading`]): its header is kept, its body only hashed, so that a mail of any
//! size takes the memory of its header. Questions have one bound in time for all ([`Bounds::gather_ms_max`]) and each
//! check one in number; what is not answered by then is open, which the judge takes for what it is.

mod arc;
mod dkim;
mod dmarc;
mod host;
pub mod opening;
mod reading;
pub(in crate::policy) mod spf;
#[cfg(test)]
mod tests;

use std::time::Duration;

use mail_auth::MessageAuthenticator;
use tokio::time::Instant;

pub use self::host::{HOST_NAMES_MAX, verified};
pub use self::reading::{HEAD_BYTES_MAX, Read, Reading};
use super::facts::{Arrival, Facts, SpfResult};
use crate::dns::{Client, Resolver};

/// Which checks are made: settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub spf: bool,
    /// And ARC, which is made of the same signatures.
    pub dkim: bool,
    /// Asks for the other two as well.
    pub dmarc: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All questions for one mail.
    pub gather_ms_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { gather_ms_max: 20_000 }
    }
}

/// Name servers that are asked for one mail.
const SERVERS_MAX: usize = 2;

/// All that the checks find. Where the preferred name server leaves something open, the alternative is asked.
pub async fn gather(
    arrival: &Arrival,
    read: &Read,
    wanted: Wanted,
    (dns, bounds): (&Resolver, Bounds),
) -> Facts {
    let until = Instant::now() + Duration::from_millis(bounds.gather_ms_max);
    // First: a name server that does not answer is known from then on, and asked last.
    let spf = match wanted.spf || wanted.dmarc {
        true => Some(spf::ask(dns, arrival, until).await),
        false => None,
    };
    if !wanted.dkim && !wanted.dmarc {
        return Facts { spf, ..Facts::default() };
    }
    let mut facts = None;
    for client in dns.clients().await.unwrap_or_default().into_iter().take(SERVERS_MAX) {
        let found = facts.insert(ask(arrival, (read, spf), wanted, (client, until)).await);
        if !found.are_open() || Instant::now() >= until {
            break;
        }
    }
    facts.unwrap_or_else(|| nothing_known(read, wanted, spf))
}

/// What is in the message itself, of one name server.
async fn ask(
    arrival: &Arrival,
    (read, spf): (&Read, Option<SpfResult>),
    wanted: Wanted,
    (client, until): (Client, Instant),
) -> Facts {
    let authenticator = MessageAuthenticator(client);
    let message = read.message();
    let (dkim, arc) = tokio::join!(
        dkim::ask(&authenticator, message.as_ref(), until),
        arc::ask(&authenticator, message.as_ref(), until),
    );
    let output = spf::output(spf.unwrap_or(SpfResult::None), arrival);
    let found = dmarc::Found { spf: &output, dkim: &dkim };
    let dmarc = match wanted.dmarc {
        true => Some(dmarc::ask(&authenticator, (arrival, message.as_ref()), found, until).await),
        false => None,
    };
    Facts { spf, dkim: Some(dkim::results(&dkim)), arc: Some(arc), dmarc }
}

/// Where there is nobody to ask.
fn nothing_known(read: &Read, wanted: Wanted, spf: Option<SpfResult>) -> Facts {
    let message = read.message();
    Facts {
        spf,
        dkim: Some(dkim::results(&dkim::open(message.as_ref()))),
        arc: Some(arc::open(message.as_ref())),
        dmarc: wanted.dmarc.then(|| dmarc::open(message.as_ref())),
    }
}
