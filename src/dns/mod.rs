//! What the DNS knows, for policy and delivery. hickory-resolver ends here.
//!
//! Whoever asks hears one of three things where there is no answer: the name does not exist, it has nothing of this
//! type, or nobody knows at the moment. Only the first two may ever lead to a refusal for good. No question
//! takes longer than [`Bounds::lookup_ms_max`], no more than [`Bounds::lookups_max`] are under way, and what is remembered of
//! answers is bounded ([`CACHED_ANSWERS_MAX`]).

mod error;
mod resolver;
mod servers;
#[cfg(test)]
mod tests;
mod vouched;

pub use error::DnsError;
pub use resolver::{Bounds, CACHED_ANSWERS_MAX, Client, Mx, Resolver, Srv};
pub use vouched::{Tlsa, Vouched};
