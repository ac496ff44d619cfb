//! Clients: one driver (TLS, timeouts, shutdown, limits) feeding pure machines for SMTP, LMTP, IMAP, POP3, ManageSieve,
//! and what mail programs ask to set themselves up.

pub mod admission;
pub mod autoconfig;
pub mod channel;
pub mod compressed;
pub mod deflate;
pub mod driver;
pub mod imap;
pub mod limits;
pub mod listener;
pub mod local_listener;
pub mod login;
pub mod machine;
pub mod managesieve;
pub mod metered;
pub mod pace;
pub mod pop3;
pub mod porter;
pub mod proxied;
pub mod reading;
pub mod sasl;
pub mod scram;
pub mod services;
pub mod smtp;
#[cfg(test)]
mod tests;
pub mod tls;
#[cfg(test)]
pub mod transcript;
pub mod watched;
pub mod wire;
