//! The control socket: how the command line speaks to the running node. A Unix socket of mode 0600 in
//! the node's directory; one JSON object a line, one answer a line, in order.
//!
//! [`request`] is the vocabulary, [`plan`] turns a request into commands (pure), [`server`] and
//! [`client`] own the socket. Whoever can open the socket is the operator: it never asks for a password.

pub mod authorities;
pub mod backup;
pub mod blocks;
pub mod certificate;
pub mod client;
pub mod dkim;
pub mod dns;
pub mod firewall;
pub mod plan;
pub mod policy;
pub mod queue;
pub mod rehearsal;
pub mod relays;
pub mod request;
pub mod rules;
pub mod server;
pub mod sieve;
pub mod srs;
pub mod sts;
#[cfg(test)]
mod tests;
pub mod tls_reports;
pub mod trace;
pub mod undelete;
