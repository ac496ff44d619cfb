//! Every replicated setting in one declarative table: key, type, default, bounds, help.
//! Validation, the command line and docs/settings.md all come from it.

use super::directory::Directory;

/// The settings in force: what was set, over the table's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    directory: &'a Directory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenerName {
    Smtp,
    Smtps,
    Submission,
    Imap,
    Imaps,
    Pop3,
    Pop3s,
    Lmtp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never offered.
    Off,
    /// STARTTLS is offered.
    On,
    /// STARTTLS is demanded before anything that matters.
    Forced,
    /// From the first byte (smtps, imaps, pop3s).
    Implicit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerSettings {
    pub name: ListenerName,
    pub enabled: bool,
    pub port: u16,
    pub tls: TlsMode,
    /// Mail is taken only after login (submission, smtps).
    pub auth_required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DegradedAck {
    Allow,
    Refuse,
}

impl Directory {
    pub fn settings(&self) -> Settings<'_> {
        Settings { directory: self }
    }
}

/// `Err` is one line that names key, value and bounds; `Ok` is the canonical text.
pub fn validate(key: &str, value: &str) -> Result<String, String> {
    let _ = (key, value);
    unimplemented!("validate")
}

impl Settings<'_> {
    pub fn listener(&self, name: ListenerName) -> ListenerSettings {
        let _ = (self.directory, name);
        unimplemented!("listener")
    }
    pub fn hostname(&self) -> &str {
        unimplemented!("hostname")
    }
    /// With `$hostname` filled in.
    pub fn smtp_banner(&self) -> String {
        unimplemented!("smtp_banner")
    }
    pub fn imap_banner(&self) -> String {
        unimplemented!("imap_banner")
    }
    pub fn pop3_banner(&self) -> String {
        unimplemented!("pop3_banner")
    }
    pub fn smtp_message_bytes_max(&self) -> u64 {
        unimplemented!("smtp_message_bytes_max")
    }
    pub fn smtp_recipients_max(&self) -> u64 {
        unimplemented!("smtp_recipients_max")
    }
    pub fn smtp_hops_max(&self) -> u64 {
        unimplemented!("smtp_hops_max")
    }
    pub fn smtp_recipient_delimiter(&self) -> Option<char> {
        unimplemented!("smtp_recipient_delimiter")
    }
    pub fn smtp_postmaster(&self) -> Vec<String> {
        unimplemented!("smtp_postmaster")
    }
    pub fn smtp_idle_seconds_max(&self) -> u64 {
        unimplemented!("smtp_idle_seconds_max")
    }
    pub fn imap_idle_seconds_max(&self) -> u64 {
        unimplemented!("imap_idle_seconds_max")
    }
    pub fn pop3_idle_seconds_max(&self) -> u64 {
        unimplemented!("pop3_idle_seconds_max")
    }
    /// Silence allowed before login, any protocol.
    pub fn login_seconds_max(&self) -> u64 {
        unimplemented!("login_seconds_max")
    }
    pub fn session_connections_max(&self) -> u64 {
        unimplemented!("session_connections_max")
    }
    pub fn session_connections_per_address_max(&self) -> u64 {
        unimplemented!("session_connections_per_address_max")
    }
    pub fn auth_plaintext_without_tls(&self) -> bool {
        unimplemented!("auth_plaintext_without_tls")
    }
    pub fn cluster_degraded_ack(&self) -> DegradedAck {
        unimplemented!("cluster_degraded_ack")
    }
    /// For users whose own quota is not set. `None` is unlimited.
    pub fn quota_default_bytes(&self) -> Option<u64> {
        unimplemented!("quota_default_bytes")
    }
}
