//! Every replicated setting in one declarative table: key, type, default, bounds, help.
//! Validation, the command line and docs/settings.md all come from it.
//!
//! A value that the table of this build does not allow (an older build set it) reads as its default:
//! reading a setting never fails.

mod blocks;
mod check;
mod docs;
mod limits;
mod table;

pub use check::{validate, validate_changes};
pub use docs::markdown;
pub use table::{Kind, Setting, TABLE, find};

// Of `core`: addresses, and no sockets.
use core::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::directory::Directory;
use super::greylist::GreyTerms;
use super::lists::RuleKind;
use super::relays::RelayTls;

/// The settings in force: what was set, over the table's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    directory: &'a Directory,
}

/// Append-only: firewall rules name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub enum ListenerName {
    Smtp,
    Smtps,
    Submission,
    Imap,
    Imaps,
    Pop3,
    Pop3s,
    Lmtp,
    /// What mail programs ask to set themselves up.
    Http,
    Https,
    ManageSieve,
}

impl ListenerName {
    pub const ALL: [ListenerName; 11] = [
        Self::Smtp,
        Self::Smtps,
        Self::Submission,
        Self::Imap,
        Self::Imaps,
        Self::Pop3,
        Self::Pop3s,
        Self::Lmtp,
        Self::Http,
        Self::Https,
        Self::ManageSieve,
    ];

    /// As it stands in keys: `listener.NAME.port`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
            Self::Submission => "submission",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
            Self::Lmtp => "lmtp",
            Self::Http => "http",
            Self::Https => "https",
            Self::ManageSieve => "managesieve",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never offered.
    Off,
    /// STARTTLS is offered.
    On,
    /// STARTTLS is demanded before anything that matters.
    Forced,
    /// From the first byte (smtps, imaps, pop3s, https).
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

/// What certificate is ordered, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeTerms {
    /// The server's address.
    pub directory: String,
    pub names: Vec<String>,
    pub contact: Option<String>,
    pub challenge: AcmeChallenge,
}

/// How the server is shown that names are ours (RFC 8555 8.3, 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeChallenge {
    Http,
    Dns,
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

impl<'a> Settings<'a> {
    /// The value in force, as canonical text; empty for a key that the table lacks.
    pub fn get(&self, key: &str) -> &'a str {
        let Some(setting) = find(key) else {
            return "";
        };
        match self.directory.settings.get(key) {
            Some(value) if setting.check(value).is_ok_and(|canonical| canonical == *value) => value,
            _ => setting.default,
        }
    }

    /// True if an administrator set it.
    pub fn is_set(&self, key: &str) -> bool {
        self.directory.settings.contains_key(key)
    }

    pub fn listener(&self, name: ListenerName) -> ListenerSettings {
        let key = name.key();
        let tls = match name {
            ListenerName::Smtps | ListenerName::Imaps | ListenerName::Pop3s | ListenerName::Https => {
                TlsMode::Implicit
            }
            ListenerName::Lmtp | ListenerName::Http => TlsMode::Off,
            ListenerName::Smtp
            | ListenerName::Submission
            | ListenerName::Imap
            | ListenerName::Pop3
            | ListenerName::ManageSieve => match self.get(&format!("listener.{key}.tls")) {
                "off" => TlsMode::Off,
                "forced" => TlsMode::Forced,
                _ => TlsMode::On,
            },
        };
        ListenerSettings {
            name,
            enabled: self.flag(&format!("listener.{key}.enabled")),
            port: self.number(&format!("listener.{key}.port")) as u16,
            tls,
            auth_required: self.flag(&format!("listener.{key}.auth_required")),
        }
    }

    pub fn hostname(&self) -> &'a str {
        self.get("hostname")
    }

    /// With `$hostname` filled in.
    pub fn smtp_banner(&self) -> String {
        self.banner("smtp.banner")
    }

    pub fn imap_banner(&self) -> String {
        self.banner("imap.banner")
    }

    pub fn imap_message_limit(&self) -> bool {
        self.flag("imap.message_limit")
    }

    pub fn pop3_banner(&self) -> String {
        self.banner("pop3.banner")
    }

    pub fn smtp_message_bytes_max(&self) -> u64 {
        self.number("smtp.message_bytes_max")
    }

    pub fn smtp_recipients_max(&self) -> u64 {
        self.number("smtp.recipients_max")
    }

    pub fn smtp_hops_max(&self) -> u64 {
        self.number("smtp.hops_max")
    }

    /// `None`: plus-addresses are off.
    pub fn smtp_recipient_delimiter(&self) -> Option<char> {
        self.get("smtp.recipient_delimiter").chars().next()
    }

    pub fn smtp_postmaster(&self) -> Vec<String> {
        self.get("smtp.postmaster").split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()
    }

    /// Host, an IPv6 address in its brackets, and port.
    pub fn relay_host(&self) -> Option<(String, u16)> {
        check::server(self.get("relay.host"))
    }

    pub fn relay_tls(&self) -> RelayTls {
        let word = self.get("relay.tls");
        RelayTls::ALL.into_iter().find(|tls| tls.word() == word).unwrap_or(RelayTls::Opportunistic)
    }

    /// Whether mail for this domain is taken from anybody, and passed on. `domain`: as it is kept.
    pub fn is_inbound(&self, domain: &str) -> bool {
        self.get("relay.inbound_domains").split(',').any(|known| !known.is_empty() && known == domain)
    }

    /// Whether mail of strangers is passed on though it was judged to be junk.
    pub fn forward_junk(&self) -> bool {
        self.flag("forward.junk")
    }

    pub fn delivery_retry_seconds_min(&self) -> u64 {
        self.number("delivery.retry_seconds_min")
    }

    pub fn delivery_retry_seconds_max(&self) -> u64 {
        self.number("delivery.retry_seconds_max")
    }

    pub fn delivery_lifetime_seconds(&self) -> u64 {
        self.number("delivery.lifetime_seconds")
    }

    pub fn delivery_delay_notice_seconds(&self) -> u64 {
        self.number("delivery.delay_notice_seconds")
    }

    pub fn delivery_connections_max(&self) -> u64 {
        self.number("delivery.connections_max")
    }

    pub fn delivery_connections_per_destination_max(&self) -> u64 {
        self.number("delivery.connections_per_destination_max")
    }

    pub fn delivery_mta_sts(&self) -> bool {
        self.flag("delivery.mta_sts")
    }

    pub fn delivery_tls_reports(&self) -> bool {
        self.flag("delivery.tls_reports")
    }

    /// Empty: none was set.
    pub fn delivery_tls_reports_from(&self) -> &'a str {
        self.get("delivery.tls_reports_from")
    }

    pub fn delivery_answer_seconds_max(&self) -> u64 {
        self.number("delivery.answer_seconds_max")
    }

    pub fn trace_days(&self) -> u64 {
        self.number("trace.days")
    }

    pub fn trace_bytes_max(&self) -> u64 {
        self.number("trace.bytes_max")
    }

    pub fn alarm_mail(&self) -> bool {
        self.flag("alarm.mail")
    }

    pub fn alarm_disk_used_percent(&self) -> u64 {
        self.number("alarm.disk_used_percent")
    }

    pub fn alarm_sync_ms(&self) -> u64 {
        self.number("alarm.sync_ms")
    }

    pub fn alarm_certificate_days(&self) -> u64 {
        self.number("alarm.certificate_days")
    }

    pub fn alarm_queue_mails(&self) -> u64 {
        self.number("alarm.queue_mails")
    }

    pub fn alarm_backup_days(&self) -> u64 {
        self.number("alarm.backup_days")
    }

    pub fn mail_undelete_days(&self) -> u64 {
        self.number("mail.undelete_days")
    }

    pub fn alarm_queue_age_seconds(&self) -> u64 {
        self.number("alarm.queue_age_seconds")
    }

    pub fn scrub_interval_days(&self) -> u64 {
        self.number("scrub.interval_days")
    }

    pub fn scrub_mib_per_second(&self) -> u64 {
        self.number("scrub.mib_per_second")
    }

    pub fn smtp_idle_seconds_max(&self) -> u64 {
        self.number("smtp.idle_seconds_max")
    }

    pub fn imap_idle_seconds_max(&self) -> u64 {
        self.number("imap.idle_seconds_max")
    }

    pub fn pop3_idle_seconds_max(&self) -> u64 {
        self.number("pop3.idle_seconds_max")
    }

    pub fn managesieve_idle_seconds_max(&self) -> u64 {
        self.number("managesieve.idle_seconds_max")
    }

    /// Silence allowed before login, any protocol.
    pub fn login_seconds_max(&self) -> u64 {
        self.number("session.login_seconds_max")
    }

    pub fn session_connections_max(&self) -> u64 {
        self.number("session.connections_max")
    }

    pub fn session_connections_per_address_max(&self) -> u64 {
        self.number("session.connections_per_address_max")
    }

    /// The mode of the MTA-STS policy; `None`: there is none.
    pub fn mta_sts_publish(&self) -> Option<&'a str> {
        Some(self.get("mta_sts.publish")).filter(|mode| *mode != "none")
    }

    pub fn firewall_apply(&self) -> bool {
        self.flag("firewall.apply")
    }

    pub fn firewall_heal(&self) -> bool {
        self.flag("firewall.heal")
    }

    pub fn auth_plaintext_without_tls(&self) -> bool {
        self.flag("auth.plaintext_without_tls")
    }

    /// Whether SCRAM is offered, and what it needs of passwords kept.
    pub fn auth_scram(&self) -> bool {
        self.flag("auth.scram")
    }

    /// DNS block lists; empty where none is asked.
    pub fn dnsbl_zones(&self) -> Vec<String> {
        let zones = self.get("dnsbl.zones").split(',');
        zones.filter(|zone| !zone.is_empty()).map(str::to_owned).collect()
    }

    pub fn helo_must_be_full(&self) -> bool {
        self.flag("helo.must_be_full")
    }

    pub fn helo_must_exist(&self) -> bool {
        self.flag("helo.must_exist")
    }

    pub fn sender_domain_must_be_full(&self) -> bool {
        self.flag("sender.domain_must_be_full")
    }

    pub fn sender_domain_must_exist(&self) -> bool {
        self.flag("sender.domain_must_exist")
    }

    pub fn smtp_refuse_early_talk(&self) -> bool {
        self.flag("smtp.refuse_early_talk")
    }

    /// After so many, each further reply takes a second longer. `None`: never.
    pub fn smtp_junk_commands_max(&self) -> Option<u64> {
        Some(self.number("smtp.junk_commands_max")).filter(|count| *count > 0)
    }

    pub fn spf_verify(&self) -> bool {
        self.flag("spf.verify")
    }

    /// DKIM and ARC.
    pub fn dkim_verify(&self) -> bool {
        self.flag("dkim.verify")
    }

    pub fn dmarc_verify(&self) -> bool {
        self.flag("dmarc.verify")
    }

    pub fn arc_trusted_sealers(&self) -> Vec<String> {
        let domains = self.get("arc.trusted_sealers").split(',');
        domains.filter(|domain| !domain.is_empty()).map(str::to_owned).collect()
    }

    /// Whether this is a load balancer, whose connections say for whom they are.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.holds_address("session.proxies", address)
    }

    /// Whether mail of this client is not checked.
    /// Whether a user at this client may send only under addresses of his own.
    pub fn sender_must_be_own(&self, client: Option<IpAddr>) -> bool {
        let free = client.is_some_and(|client| self.holds_address("sender.any_networks", client));
        self.flag("sender.must_be_own") && !free
    }

    pub fn is_exempt(&self, client: IpAddr) -> bool {
        self.holds_address("checks.exempt_networks", client)
    }

    /// Whether this client sends without a login.
    pub fn is_open_to(&self, client: IpAddr) -> bool {
        self.holds_address("relay.open_networks", client)
    }

    /// What a whitelist rule of this kind lets a mail off: `dnsbl`, `spf`, `antivirus`, `dkim`, `dmarc`, `greylist`.
    pub fn whitelist_skips(&self, kind: RuleKind) -> impl Iterator<Item = &'a str> {
        self.get(&format!("whitelist.{}.skips", kind.word())).split(',').filter(|check| !check.is_empty())
    }

    /// `None`: nobody is greylisted.
    pub fn greylist(&self) -> Option<GreyTerms> {
        let ms = |key: &str| self.number(key).saturating_mul(1_000);
        self.flag("greylist.enabled").then(|| GreyTerms {
            delay_ms: ms(GREYLIST_DELAY),
            retry_window_ms: ms(GREYLIST_RETRY_WINDOW),
            lifetime_ms: ms("greylist.lifetime_seconds"),
            client_passes: self.number("greylist.client_passes") as u32,
        })
    }

    /// The preferred one first. Empty: those that the system knows.
    pub fn dns_servers(&self) -> Vec<SocketAddr> {
        self.get("dns.servers").split(',').filter_map(|server| server.parse().ok()).collect()
    }

    /// Those that follow leadership. Empty: there are none.
    pub fn virtual_addresses(&self) -> Vec<IpAddr> {
        self.get("address.virtual").split(',').filter_map(|address| address.parse().ok()).collect()
    }

    /// `None`: no certificate is ordered.
    pub fn acme(&self) -> Option<AcmeTerms> {
        let directory = Some(self.get("acme.directory")).filter(|directory| !directory.is_empty())?;
        let names = match self.get("acme.names") {
            "" => self.hostname(),
            names => names,
        };
        Some(AcmeTerms {
            directory: directory.to_owned(),
            names: names.split(',').map(str::to_owned).collect(),
            contact: Some(self.get("acme.contact")).filter(|it| !it.is_empty()).map(str::to_owned),
            challenge: match self.get("acme.challenge") {
                "dns-01" => AcmeChallenge::Dns,
                _ => AcmeChallenge::Http,
            },
        })
    }

    pub fn dns_servers_validate(&self) -> bool {
        self.flag("dns.servers_validate")
    }

    pub fn cluster_drain_seconds_max(&self) -> u64 {
        self.number("cluster.drain_seconds_max")
    }

    pub fn cluster_degraded_ack(&self) -> DegradedAck {
        match self.get("cluster.degraded_ack") {
            "refuse" => DegradedAck::Refuse,
            _ => DegradedAck::Allow,
        }
    }

    /// For users whose own quota is not set. `None` is unlimited.
    pub fn quota_default_bytes(&self) -> Option<u64> {
        self.get(QUOTA_DEFAULT).parse().ok()
    }

    fn banner(&self, key: &str) -> String {
        self.get(key).replace("$hostname", self.hostname())
    }

    /// Whether one of these networks does.
    fn holds_address(&self, key: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let networks = self.get(key).split(',').filter_map(|network| network.parse().ok());
        networks.into_iter().any(|network: IpNet| network.contains(&address))
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key) == "true"
    }

    fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or(0)
    }
}

const GREYLIST_DELAY: &str = "greylist.delay_seconds";
const GREYLIST_RETRY_WINDOW: &str = "greylist.retry_window_seconds";

/// Virtual addresses that one box can be asked to hold.
pub const VIRTUAL_ADDRESSES_MAX: usize = 8;

/// DNS block lists that may be asked for one client.
pub const DNSBL_ZONES_MAX: usize = 10;

/// The one setting that apply reads: text of a number, or `unlimited`. Its meaning is frozen.
pub const QUOTA_DEFAULT: &str = "quota.default_bytes";

#[cfg(test)]
mod tests;
