//! POP3 (RFC 1939) with STLS (2595), CAPA and RESP-CODES (2449), SASL (5034), AUTH-RESP-CODE (3206).
//!
//! The maildrop is INBOX as it was at login. It is not locked: IMAP sessions mirror the same mailbox, and
//! a message that another session expunged meanwhile is answered with `-ERR`. UIDL is
//! `uidvalidity.uid`, which is replicated state and so the same on every node for ever.

pub mod backend;
pub mod command;
pub mod machine;
#[cfg(test)]
mod tests;

use crate::state::directory::Directory;
use crate::state::settings::{ListenerSettings, TlsMode};

pub use backend::Pop3Backend;
pub use machine::Pop3;

/// What holds for one session, from the settings as they were when it began.
#[derive(Debug, Clone)]
pub struct Policy {
    pub banner: String,
    pub tls_offered: bool,
    /// Nothing but STLS before TLS.
    pub tls_forced: bool,
    /// USER, PASS and AUTH are taken in the clear (requirement 14).
    pub login_without_tls: bool,
    /// The setting auth.scram.
    pub scram: bool,
    pub idle_seconds_max: u64,
    pub login_seconds_max: u64,
}

impl Policy {
    /// `tls_offered`: a certificate is there for STLS.
    pub fn new(directory: &Directory, listener: &ListenerSettings, tls_offered: bool) -> Self {
        let settings = directory.settings();
        let tls_forced = listener.tls == TlsMode::Forced && tls_offered;
        Self {
            banner: settings.pop3_banner(),
            tls_offered,
            tls_forced,
            scram: settings.auth_scram(),
            login_without_tls: settings.auth_plaintext_without_tls() && !tls_forced,
            idle_seconds_max: settings.pop3_idle_seconds_max(),
            login_seconds_max: settings.login_seconds_max(),
        }
    }
}
