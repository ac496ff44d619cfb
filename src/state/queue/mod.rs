//! The outbound queue, as it is replicated: mails, the parcels into which each is parted by destination, and the
//! leases by which nodes hold parcels while they deliver them.
//!
//! A parcel is what goes to one destination in one transaction. One that is due and held by nobody stands in the index
//! of due work; one that is leased stands with its lease. A lease has no time: whoever sees by its own clock that a
//! lease was not renewed for long enough ends it, and apply refuses that if it was renewed meanwhile. So no two clocks
//! are ever compared, and a report under a lease that was ended changes nothing.

pub mod reading;
pub mod way_back;

use bincode::{Decode, Encode};

use super::command::{DeliverTo, PlacedBody};
use crate::mail::address::{Address, canonical_domain};
use crate::mail::dsn::{Notify, Ret};
use crate::mail::ids::{AccountId, LeaseId, NodeId, QueueId, Timestamp};

/// Mails waiting at once; further ones are refused with [`super::outcome::Refusal::QueueFull`].
pub const MESSAGES_MAX: u32 = 1_000_000;
/// Recipients elsewhere of one mail.
pub const RECIPIENTS_MAX: usize = 10_000;
/// RFC 5321 4.5.3.1.8: what every server takes in one transaction.
pub const RECIPIENTS_PER_PARCEL_MAX: usize = 100;
/// Parcels under one lease.
pub const PARCELS_PER_LEASE_MAX: usize = 64;
/// Leases at once, over all nodes.
pub const LEASES_MAX: u32 = 10_000;
/// Leases renewed, or mails steered, by one command.
pub const IDS_PER_COMMAND_MAX: usize = 1_000;
/// Rows that one steering may touch beyond its first mail; the rest is for the next command.
pub const STEERED_ROWS_MAX: usize = 10_000;
/// Octets of a server's reply that are kept.
pub const REPLY_BYTES_MAX: usize = 500;
/// RFC 5321 4.5.3.1.3, and what quoting may add.
pub const ADDRESS_BYTES_MAX: usize = 400;
pub const DESTINATION_BYTES_MAX: usize = 255;
/// RFC 3461 4.4 and 4.2.
pub const ENVID_BYTES_MAX: usize = 100;
pub const ORCPT_BYTES_MAX: usize = 500;

/// One mail with all its recipients, here and elsewhere: all or nothing, one log entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Submit {
    pub body: PlacedBody,
    pub to: Vec<DeliverTo>,
    pub queue: Option<NewQueued>,
}

/// A mail that is taken, and what follows from that: one log entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Acceptance {
    pub mail: Submit,
    /// What of it goes elsewhere was written by others: it is not signed as if it were ours.
    pub passed_on: bool,
    /// As those of a [`Report`].
    pub notices: Vec<Submit>,
}

/// An [`Acceptance`] of a mail whose sender speaks of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcceptanceWithTls {
    pub acceptance: Acceptance,
    pub tls: TlsWish,
}

/// What a mail's sender wants of TLS on its way (RFC 8689 4.1). Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum TlsWish {
    /// Whatever the way demands.
    #[default]
    Usual,
    /// REQUIRETLS: with servers that prove who they are and promise the same, or not at all.
    Required,
    /// `TLS-Required: No`: rather unprotected than late.
    Waived,
}

impl TlsWish {
    /// How much of a mail its notices bring back. RFC 8689 5: of one that is not to be seen the header at most.
    pub fn ret(self, asked: Option<Ret>) -> Option<Ret> {
        match self {
            Self::Required => Some(Ret::Headers),
            Self::Usual | Self::Waived => asked,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewQueued {
    /// Without its angle brackets; empty is the null sender.
    pub sender: String,
    /// Who handed it in; `None` for the server's own notices.
    pub account: Option<AccountId>,
    /// The node that is to try first.
    pub near: NodeId,
    /// As xtext.
    pub envid: Option<String>,
    pub ret: Option<Ret>,
    /// RFC 6531: the sender said that it needs SMTPUTF8.
    pub smtputf8: bool,
    pub parcels: Vec<NewParcel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewParcel {
    /// A domain in A-labels and lower case, or an address literal.
    pub destination: String,
    pub recipients: Vec<NewRecipient>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewRecipient {
    pub address: String,
    /// `type;xtext`.
    pub orcpt: Option<String>,
    pub notify: Option<Notify>,
}

/// A parcel's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ParcelId {
    pub message: QueueId,
    pub number: u16,
}

/// What came of one try with the parcels of a lease, or of some of them; each one goes back to the queue, or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    pub lease: LeaseId,
    pub parcels: Vec<ParcelReport>,
    /// Notices to the sender that follow from it, each delivered here or queued. Quotas do not hold them up.
    pub notices: Vec<Submit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ParcelReport {
    pub parcel: ParcelId,
    /// When what is left of it is due again.
    pub next_attempt: Timestamp,
    /// Recipients by their numbers; those that are not named wait on as they are.
    pub results: Vec<(u16, RecipientResult)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RecipientResult {
    /// Taken by the next server, or given up with whatever notice is owed: no longer in the queue.
    Over,
    Deferred {
        reply: String,
        /// The sender was told that it takes long.
        delay_told: bool,
    },
}

/// What an operator does to mails in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Steering {
    /// Not to be tried until it is released.
    Hold,
    Release,
    /// Due now.
    Retry,
    /// Thrown away, without a notice.
    Remove,
}

/// By what mail is parted: the domain as the DNS knows it, or the address literal.
pub fn destination(address: &Address) -> String {
    canonical_domain(address.domain()).unwrap_or_else(|| address.domain().to_ascii_lowercase())
}

/// Recipients elsewhere, parted by destination, in the order in which these first come.
pub fn parcels(recipients: impl IntoIterator<Item = (String, NewRecipient)>) -> Vec<NewParcel> {
    let mut parcels: Vec<NewParcel> = Vec::new();
    let mut open: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for (destination, recipient) in recipients {
        let full = |at: usize| parcels[at].recipients.len() >= RECIPIENTS_PER_PARCEL_MAX;
        match open.get(&destination).copied().filter(|at| !full(*at)) {
            Some(at) => parcels[at].recipients.push(recipient),
            None => {
                open.insert(destination.clone(), parcels.len());
                parcels.push(NewParcel { destination, recipients: vec![recipient] });
            }
        }
    }
    parcels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_holds_what_every_server_takes_at_once() {
        let to = |local: usize, domain: &str| {
            let address = format!("u{local}@{domain}");
            (domain.to_owned(), NewRecipient { address, orcpt: None, notify: None })
        };
        let mut all = vec![to(0, "b.test")];
        all.extend((0..=RECIPIENTS_PER_PARCEL_MAX).map(|local| to(local, "a.test")));
        all.push(to(1, "b.test"));
        let parcels = parcels(all);
        let shape: Vec<_> = parcels.iter().map(|it| (it.destination.as_str(), it.recipients.len())).collect();
        assert_eq!(shape, [("b.test", 2), ("a.test", 100), ("a.test", 1)]);
    }
}
