//! What travels over the control socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::authorities::WantedAuthority;
use super::certificate::WantedCertificate;
use super::dkim::WantedKey;
use super::firewall::{WantedFirewallRule, Wished};
use super::relays::WantedRelay;
use super::rules::WantedRule;
use super::srs::WantedSecret;
use super::undelete::WantedRemoved;
use crate::backup::location::{Access, Location};
use crate::config::Role;
use crate::state::scram_keys::NewScramKeys;

/// Raised when a request's meaning changes; a node refuses what it does not know.
pub const PROTOCOL: u16 = 1;
/// Bytes of one request or answer with its line feed.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// One line to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub v: u16,
    pub request: Request,
}

/// Passwords come as argon2id PHC strings and SCRAM keys: the clear one never leaves the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status,
    Check,
    JoinToken {
        role: Role,
        ttl_seconds: u64,
    },
    /// `node` is a name or an id.
    Transfer {
        node: String,
    },
    /// No clients there until it is undrained.
    Drain {
        node: String,
    },
    Undrain {
        node: String,
    },
    /// Whether all data nodes hold the same; `bodies`: each body is read, not only looked up.
    Verify {
        bodies: bool,
    },
    /// `lost`: its disk is, and what only that node has is given up.
    Remove {
        node: String,
        lost: bool,
    },
    /// What follows on this connection is IMAP; AUTHENTICATE EXTERNAL names the user.
    Imap,
    /// Which builds the nodes run; `finalize`: go on to the newest version that all know.
    Upgrade {
        finalize: bool,
    },
    /// What is weak here.
    Security,
    /// This node gives way to one that was told to go on alone.
    Quarantine,
    /// A Message-ID, the id of a Received field, or an address; nothing older than `since_ms` since 1970.
    Trace {
        about: String,
        since_ms: Option<u64>,
    },
    Shutdown,
    /// Begins a backup; a folder is one of this node's box.
    BackupCreate {
        #[serde(rename = "dir")]
        to: Location,
        /// For a bucket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        access: Option<Box<Access>>,
    },
    /// How the last one that was begun stands.
    BackupState,

    DomainAdd {
        name: String,
    },
    DomainList,
    DomainRemove {
        name: String,
    },

    UserAdd {
        name: String,
        password_phc: String,
        /// `None` for a password that SCRAM cannot carry.
        scram: Option<NewScramKeys>,
        quota: Quota,
    },
    UserList,
    UserShow {
        name: String,
    },
    /// What is `None` stays as it is.
    UserSet {
        name: String,
        quota: Option<Quota>,
        enabled: Option<bool>,
    },
    UserPasswd {
        name: String,
        password_phc: String,
        scram: Option<NewScramKeys>,
    },
    UserRemove {
        name: String,
    },

    AliasAdd {
        address: String,
        targets: Vec<String>,
    },
    AliasList,
    AliasShow {
        address: String,
    },
    /// Replaces the targets of an alias that exists.
    AliasSet {
        address: String,
        targets: Vec<String>,
    },
    AliasRemove {
        address: String,
    },

    PolicyList,
    PolicyShow {
        key: String,
    },
    /// All or nothing; `None` goes back to the default.
    PolicySet {
        changes: Vec<(String, Option<String>)>,
    },

    /// What would be made of a mail; nothing is sent, counted or kept.
    PolicyTest {
        wanted: WantedRehearsal,
    },

    RuleAdd {
        rule: WantedRule,
    },
    RuleRemove {
        name: String,
    },
    /// Before that rule, else behind all.
    RuleMove {
        name: String,
        before: Option<String>,
    },
    /// Some rules of the lists, in their order, behind the one of order `after`.
    RuleList {
        after: Option<u64>,
    },

    /// An address, or an IPv6 network of 64 bits.
    BlockAdd {
        address: String,
        seconds: u64,
        note: String,
    },
    /// `None`: all of them.
    BlockClear {
        address: Option<String>,
    },
    /// Some blocks, ascending by address, behind `after`.
    BlockList {
        after: Option<String>,
    },
    RelayAdd {
        relay: WantedRelay,
    },
    RelayRemove {
        name: String,
    },
    RelayList,
    SrsRotate {
        secret: WantedSecret,
    },
    SrsShow,

    FirewallAdd {
        rule: WantedFirewallRule,
        wished: Wished,
    },
    FirewallRemove {
        name: String,
        wished: Wished,
    },
    FirewallList,
    FirewallRender,
    FirewallStatus,

    DnsRecords {
        domain: String,
    },
    DnsCheck {
        domain: String,
    },

    AuthorityAdd {
        authority: WantedAuthority,
    },
    AuthorityRemove {
        name: String,
    },
    AuthorityList,

    CertificateShow,
    CertificateSet {
        certificate: WantedCertificate,
    },
    CertificateRemove,
    CertificateRenew {
        new_key: bool,
    },

    DkimAdd {
        key: WantedKey,
    },
    DkimUse {
        domain: String,
        selector: String,
        signs: bool,
    },
    DkimRemove {
        domain: String,
        selector: String,
    },
    DkimList,
    DkimShow {
        domain: String,
        selector: String,
        /// With the private half.
        private: bool,
    },

    ScriptList {
        user: String,
    },
    /// `None`: the active one.
    ScriptShow {
        user: String,
        name: Option<String>,
    },
    ScriptPut {
        user: String,
        name: String,
        text: String,
        activate: bool,
    },
    ScriptRemove {
        user: String,
        name: String,
    },
    /// `None`: no script.
    ScriptActivate {
        user: String,
        name: Option<String>,
    },

    /// What a user has expunged and could have back.
    RemovedList {
        wanted: WantedRemoved,
    },
    /// Back into its folders, or all of it `into` one.
    Undelete {
        wanted: WantedRemoved,
        into: Option<String>,
    },

    /// Some mails of the outbound queue, oldest first, behind `after`.
    QueueList {
        filter: QueueFilter,
        after: Option<u64>,
    },
    QueueShow {
        id: u64,
    },
    QueueSteer {
        ids: Vec<u64>,
        steering: QueueSteering,
    },
    /// Some MTA-STS policies of other domains that are obeyed, by domain, behind `after`.
    StsList {
        after: Option<String>,
    },
    /// What is to be reported of TLS with other domains' servers.
    TlsReportList,
    /// The same, reported now.
    TlsReportSend,
}

/// A mail of a stranger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedRehearsal {
    pub client: IpAddr,
    pub helo: String,
    /// Empty is the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    /// Base64.
    pub text: Option<String>,
}

/// Which mails; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueFilter {
    pub sender: Option<String>,
    pub recipient: Option<String>,
    /// The domain that a mail goes to.
    pub host: Option<String>,
    pub older_than_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueSteering {
    Hold,
    Release,
    Retry,
    Remove,
}

/// Bytes a user may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quota {
    /// None of its own: the setting `quota.default_bytes` counts.
    Default,
    Bytes(u64),
}

impl Quota {
    /// As commands carry it.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Quota::Default => None,
            Quota::Bytes(bytes) => Some(bytes),
        }
    }
}

/// One line back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Done(Value),
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    /// One line: what is wrong and what to do.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The request cannot be granted as it is.
    Refused,
    /// The node or the cluster cannot do it now; later it may.
    Unavailable,
    /// The line was no request that this node knows.
    Malformed,
}

impl Failure {
    pub fn refused(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Refused, message: message.into() }
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Unavailable, message: message.into() }
    }

    /// What needs the mail services of the node, and they are not up.
    pub fn not_serving() -> Self {
        Self::unavailable("the mail services are not up; try again")
    }

    pub fn malformed(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Malformed, message: message.into() }
    }
}
