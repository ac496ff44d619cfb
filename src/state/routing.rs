//! Where an address leads: users, aliases, plus-addresses, postmaster. Pure over the directory.

use super::directory::Directory;
use crate::mail::address::Address;
use crate::mail::ids::AccountId;

/// Where mail for one address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Ours. Both lists without doubles; not both empty.
    Ours { local: Vec<LocalTarget>, remote: Vec<Address> },
    /// A domain of ours, but nobody there by that name: 550.
    Unknown,
    /// The domain is not ours: relaying is for those who logged in.
    NotOurs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTarget {
    pub account: AccountId,
    /// What followed the recipient delimiter (`alice+lists` -> `lists`).
    pub detail: Option<String>,
}

/// Where a RCPT TO address leads.
pub fn route(directory: &Directory, address: &Address) -> Route {
    let _ = (directory, address);
    unimplemented!("route")
}

/// Where `<postmaster>` without a domain leads; never refused.
pub fn route_postmaster(directory: &Directory) -> Route {
    let _ = directory;
    unimplemented!("route_postmaster")
}

/// The user a login name means: bare or with any of our domains (requirement 5).
pub fn login<'a>(directory: &'a Directory, name: &str) -> Option<&'a std::sync::Arc<super::directory::User>> {
    let _ = (directory, name);
    unimplemented!("login")
}
