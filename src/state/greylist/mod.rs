//! Greylisting: a stranger's first try for a recipient is put off, and whoever comes back is let through from then on.
//! Replicated rows, so that a first try on one node and the second on another are one story. Pure: what a try comes to is
//! decided here for the session that looks before it proposes, and for apply. Never reads a setting: terms come with the try.

pub mod reading;
#[cfg(test)]
mod tests;

// Of `core`: addresses, and no sockets.
use core::net::IpAddr;

use bincode::{Decode, Encode};

use super::stored::{GreyClientRow, GreyTripletRow};
use crate::mail::ids::Timestamp;

/// Triplets that are remembered; beyond, those go first that never came back, then those that would be forgotten first.
pub const TRIPLETS_MAX: u32 = 200_000;
/// Client networks that are remembered; beyond, those go that would be forgotten first.
pub const CLIENTS_MAX: u32 = 50_000;
/// How often one network's passes count, milliseconds: a single run of retries does not open the door.
pub const COUNT_EVERY_MS: u64 = 3_600_000;
/// How often what is in use is renewed, milliseconds.
pub const RENEW_EVERY_MS: u64 = 86_400_000;

/// One stranger's try to name one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GreyTry {
    pub client: ClientNet,
    pub triplet: TripletId,
    pub terms: GreyTerms,
}

/// The settings, as the node that proposes has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct GreyTerms {
    pub delay_ms: u64,
    /// From the first try on.
    pub retry_window_ms: u64,
    /// From the last use on.
    pub lifetime_ms: u64,
    /// After so many passes a network is let through altogether. 0: never.
    pub client_passes: u32,
}

/// Servers that send for one domain stand side by side: a retry may come from any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum ClientNet {
    /// A /24.
    V4([u8; 3]),
    /// A /64.
    V6([u8; 8]),
}

/// A network, a sender and a recipient, hashed: addresses of strangers are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct TripletId(pub [u8; 16]);

/// What a try comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Told to wait, and remembered.
    First,
    /// Told to wait.
    TooEarly { left_ms: u64 },
    /// Passes for the first time, which is remembered.
    FirstPass,
    /// Passes. `renew`: it is time to remember it anew.
    Known { renew: bool },
    /// Passes for its client's sake.
    KnownClient { renew: bool },
}

impl Decision {
    /// Whether rows change.
    pub fn is_to_be_kept(self) -> bool {
        match self {
            Self::First | Self::FirstPass => true,
            Self::Known { renew } | Self::KnownClient { renew } => renew,
            Self::TooEarly { .. } => false,
        }
    }
}

impl ClientNet {
    pub fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl TripletId {
    /// Addresses in their canonical form; the empty sender is empty.
    pub fn of(client: ClientNet, sender: &str, recipient: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        match client {
            ClientNet::V4(octets) => hasher.update(b"4").update(&octets),
            ClientNet::V6(octets) => hasher.update(b"6").update(&octets),
        };
        // NUL stands in no address.
        hasher.update(sender_key(sender).as_bytes()).update(&[0]).update(recipient.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

/// As Postgrey does: without the detail behind `+` and with numbers blotted out, so that a mailing list, which has another
/// sender for each mail, is known by its second.
fn sender_key(sender: &str) -> String {
    let Some((local, domain)) = sender.rsplit_once('@') else { return sender.to_owned() };
    let local = local.split('+').next().filter(|base| !base.is_empty()).unwrap_or(local);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut key = String::with_capacity(sender.len());
    for part in local.split_inclusive(|c| !is_word(c)) {
        let word = part.trim_end_matches(|c| !is_word(c));
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        key.push_str(if is_number { "#" } else { word });
        key.push_str(&part[word.len()..]);
    }
    key + "@" + domain
}

/// What the try comes to at `at`, by what is remembered.
pub fn decide(
    terms: &GreyTerms,
    triplet: Option<&GreyTripletRow>,
    client: Option<&GreyClientRow>,
    at: Timestamp,
) -> Decision {
    let renew = |expires: Timestamp| is_renewal_due(expires, at, terms.lifetime_ms);
    if let Some(client) = client.filter(|client| is_let_through(client, terms, at)) {
        return Decision::KnownClient { renew: renew(client.expires) };
    }
    let Some(triplet) = triplet.filter(|triplet| at < triplet.expires) else { return Decision::First };
    if triplet.passed {
        return Decision::Known { renew: renew(triplet.expires) };
    }
    // By a clock that was far ahead: nobody waits for that day.
    if triplet.first > later(at, terms.delay_ms) {
        return Decision::First;
    }
    match later(triplet.first, terms.delay_ms).0.saturating_sub(at.0) {
        0 => Decision::FirstPass,
        left_ms => Decision::TooEarly { left_ms },
    }
}

fn is_let_through(client: &GreyClientRow, terms: &GreyTerms, at: Timestamp) -> bool {
    terms.client_passes > 0 && client.passes >= terms.client_passes && at < client.expires
}

fn is_renewal_due(expires: Timestamp, at: Timestamp, lifetime_ms: u64) -> bool {
    let age_ms = lifetime_ms.saturating_sub(expires.0.saturating_sub(at.0));
    age_ms >= RENEW_EVERY_MS.min(lifetime_ms / 2)
}

pub fn later(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp(at.0.saturating_add(ms))
}
