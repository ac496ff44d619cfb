//! What mail programs ask to set themselves up (row 9): the autoconfig file of Thunderbird, K-9 and others, Outlook's
//! autodiscover, a profile for Apple's programs. HTTP/1.1, one request a connection, by the same driver as the mail protocols:
//! a pure machine, [`Autoconfig`].
//!
//! Tells what any client finds out by trying: names, ports, TLS; and for a domain that is served here alone. It never
//! looks at whether a user exists.
//!
//! And what an ACME server asks that gives the cluster its certificate (RFC 8555 8.3): whichever node it asks has the answer.

mod apple;
mod backend;
mod machine;
mod mozilla;
mod offer;
mod outlook;
#[cfg(test)]
mod tests;

pub use backend::AutoconfigBackend;
pub use machine::{Autoconfig, Latest, Token};
pub use offer::Policy;
