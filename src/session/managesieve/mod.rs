//! ManageSieve (RFC 5804): a user's scripts, put, listed, read, made active. They are replicated state, and so the same on
//! every node.
//!
//! Literals of a client never wait for leave (`{n+}`): one that is too long is swallowed and refused, or ends the session.

pub mod backend;
pub mod command;
pub mod machine;
pub mod reader;
pub mod reply;
#[cfg(test)]
mod tests;

use crate::state::directory::Directory;
use crate::state::settings::{ListenerSettings, TlsMode};

pub use backend::ManageSieveBackend;
pub use machine::ManageSieve;

/// What holds for one session, from the settings as they were when it began.
#[derive(Debug, Clone)]
pub struct Policy {
    pub hostname: String,
    pub tls_offered: bool,
    /// Logins are taken in the clear (requirement 14).
    pub login_without_tls: bool,
    /// The setting auth.scram.
    pub scram: bool,
    pub idle_seconds_max: u64,
    pub login_seconds_max: u64,
}

impl Policy {
    /// `tls_offered`: a certificate is there for STARTTLS.
    pub fn new(directory: &Directory, listener: &ListenerSettings, tls_offered: bool) -> Self {
        let settings = directory.settings();
        let tls_forced = listener.tls == TlsMode::Forced && tls_offered;
        Self {
            hostname: settings.hostname().to_owned(),
            tls_offered,
            login_without_tls: settings.auth_plaintext_without_tls() && !tls_forced,
            scram: settings.auth_scram(),
            idle_seconds_max: settings.managesieve_idle_seconds_max(),
            login_seconds_max: settings.login_seconds_max(),
        }
    }
}
