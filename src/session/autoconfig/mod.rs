//! What mail programs ask to set themselves up (row 9): the autoconfig file of Thunderbird, K-9 and others, Outlook's
//! autodiscover, a profile for Apple's programs. HTTP/1.1, one request a connection, by the same driver as the mail protocols:
//! a pure machine, [`Autoconfig`].
//!
//! Tells what any client finds out by trying: names, ports, TLS; and for a domain that is served here alone. It never
//! looks at whether a user exists.

mod apple;
mod machine;
mod mozilla;
mod offer;
mod outlook;
#[cfg(test)]
mod tests;

pub use machine::{Autoconfig, Never, Silent};
pub use offer::Policy;
