//! The servers that a mail program may be sent to, from the settings as they are now.

use std::sync::Arc;

use crate::mail::address::canonical_domain;
use crate::policy::publish::sts;
use crate::state::directory::Directory;
use crate::state::settings::{ListenerName, TlsMode};

/// What holds for one connection.
#[derive(Debug, Clone)]
pub struct Policy {
    pub hostname: String,
    /// Best first.
    pub servers: Vec<Server>,
    pub seconds_max: u64,
    directory: Arc<Directory>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    pub protocol: Protocol,
    pub port: u16,
    pub protection: Protection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Imap,
    Pop3,
    Smtp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    Tls,
    StartTls,
    /// Only where passwords are taken in the clear.
    None,
}

impl Policy {
    /// Whether an ACME server may ask for anything.
    pub fn orders_certificates(&self) -> bool {
        self.directory.settings().acme().is_some()
    }

    /// `port_offset`: of this box, added to every port; `tls`: a certificate is there.
    pub fn new(directory: Arc<Directory>, port_offset: u16, tls: bool) -> Self {
        use ListenerName::*;
        let settings = directory.settings();
        let in_the_clear = settings.auth_plaintext_without_tls();
        // RFC 8314 3: TLS from the first byte before STARTTLS.
        let wanted = [Imaps, Imap, Pop3s, Pop3, Smtps, Submission].map(|name| settings.listener(name));
        let servers = wanted.into_iter().filter(|listener| listener.enabled).filter_map(|listener| {
            let protocol = match listener.name {
                Imap | Imaps => Protocol::Imap,
                Pop3 | Pop3s => Protocol::Pop3,
                Smtp | Smtps | Submission | Lmtp | Http | Https | ManageSieve => Protocol::Smtp,
            };
            let protection = match listener.tls {
                TlsMode::Implicit if tls => Protection::Tls,
                TlsMode::On | TlsMode::Forced if tls => Protection::StartTls,
                TlsMode::Implicit => return None,
                TlsMode::On | TlsMode::Forced | TlsMode::Off if in_the_clear => Protection::None,
                TlsMode::On | TlsMode::Forced | TlsMode::Off => return None,
            };
            Some(Server { protocol, port: listener.port.checked_add(port_offset)?, protection })
        });
        Self {
            hostname: settings.hostname().to_owned(),
            servers: servers.collect(),
            seconds_max: settings.login_seconds_max(),
            directory: Arc::clone(&directory),
        }
    }

    /// The domain in its canonical form, if it is served here.
    pub fn local_domain(&self, domain: &str) -> Option<String> {
        canonical_domain(domain).filter(|domain| self.directory.domains.contains(domain))
    }

    /// What others are told of TLS (RFC 8461); `None`: nothing.
    pub fn mta_sts(&self) -> Option<String> {
        sts::policy(&self.directory)
    }

    pub fn of(&self, protocol: Protocol) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| server.protocol == protocol)
    }

    /// The best of each protocol, in the order given.
    pub fn best<const N: usize>(&self, protocols: [Protocol; N]) -> impl Iterator<Item = &Server> {
        protocols.into_iter().filter_map(|protocol| self.of(protocol).next())
    }
}
