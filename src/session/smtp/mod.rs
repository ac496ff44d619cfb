//! SMTP on ports 25, 465 and 587, and LMTP (RFC 5321, 6409, 2033), as one pure machine.
//!
//! What is accepted is answered with 250 only after it is committed and applied. Extensions: STARTTLS,
//! AUTH, PIPELINING, 8BITMIME, SIZE, ENHANCEDSTATUSCODES, SMTPUTF8, CHUNKING, DSN, REQUIRETLS.

pub mod backend;
pub mod body;
pub mod checked;
pub mod command;
pub mod delays;
mod delivering;
pub mod envelope;
pub mod filtering;
pub mod greylisting;
pub mod listed;
pub mod machine;
pub mod noted;
pub mod opened;
mod passing_on;
pub mod received;
pub mod rehearsal;
pub mod reply;
pub mod spool;
mod telling;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::state::directory::Directory;
use crate::state::settings::{ListenerName, ListenerSettings, TlsMode};

pub use backend::SmtpBackend;
pub use machine::Smtp;

/// Who speaks on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Other servers, and clients that log in: port 25.
    Mx,
    /// Our users: ports 465 and 587.
    Submission,
    /// A scanner or another front end on the same host (RFC 2033).
    Lmtp,
}

/// What holds for one session, from the settings as they were when it began.
#[derive(Debug, Clone)]
pub struct Policy {
    pub flavor: Flavor,
    pub hostname: String,
    pub node_name: String,
    pub banner: String,
    pub message_bytes_max: u64,
    pub recipients_max: u64,
    pub hops_max: u64,
    pub tls_offered: bool,
    pub tls_forced: bool,
    pub auth_required: bool,
    /// AUTH is taken in the clear.
    pub auth_without_tls: bool,
    /// The setting auth.scram.
    pub scram: bool,
    /// Mail is judged before it is taken, unless its sender logs in.
    pub checked: bool,
    /// Of these clients: those that do not wait for what they have to wait for.
    pub refuse_early_talk: bool,
    /// So many commands that do nothing for a mail add a second before each further reply to these clients.
    pub junk_commands_max: Option<u64>,
    pub idle_seconds_max: u64,
}

impl Policy {
    /// `client`: its address, if it came by the net. `tls_offered`: a certificate is there for STARTTLS.
    pub fn new(
        directory: &Directory,
        listener: &ListenerSettings,
        node_name: &str,
        (client, tls_offered): (Option<IpAddr>, bool),
    ) -> Self {
        let settings = directory.settings();
        let flavor = match listener.name {
            ListenerName::Submission | ListenerName::Smtps => Flavor::Submission,
            ListenerName::Lmtp => Flavor::Lmtp,
            _ => Flavor::Mx,
        };
        Self {
            flavor,
            hostname: settings.hostname().to_owned(),
            node_name: node_name.to_owned(),
            banner: settings.smtp_banner(),
            message_bytes_max: settings.smtp_message_bytes_max(),
            recipients_max: settings.smtp_recipients_max(),
            hops_max: settings.smtp_hops_max(),
            tls_offered,
            // Row 3: port 25 never forces TLS; and what is not there cannot be demanded.
            tls_forced: listener.tls == TlsMode::Forced && flavor != Flavor::Mx && tls_offered,
            auth_required: listener.auth_required && flavor == Flavor::Submission,
            auth_without_tls: settings.auth_plaintext_without_tls(),
            scram: settings.auth_scram(),
            checked: flavor == Flavor::Mx && client.is_some_and(|client| !settings.is_exempt(client)),
            refuse_early_talk: settings.smtp_refuse_early_talk(),
            junk_commands_max: settings.smtp_junk_commands_max(),
            idle_seconds_max: settings.smtp_idle_seconds_max(),
        }
    }
}
