//! The table itself. A key, once released, keeps its meaning; the order is that of the documentation.

use super::{DNSBL_ZONES_MAX, QUOTA_DEFAULT, VIRTUAL_ADDRESSES_MAX};
use crate::state::certificate::{DIRECTORY_BYTES_MAX, NAMES_MAX};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub key: &'static str,
    pub kind: Kind,
    /// Canonical text.
    pub default: &'static str,
    /// One or two sentences; row *n* means requirement *n*.
    pub help: &'static str,
    /// The version that brought it.
    pub since: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; `yes`, `on`, `no` and `off` are understood.
    Flag,
    Number {
        unit: &'static str,
        min: u64,
        max: u64,
    },
    /// A number of bytes, also written `50 MiB`.
    Bytes {
        min: u64,
        max: u64,
    },
    /// As [`Kind::Bytes`], or `unlimited`.
    BytesOrUnlimited {
        min: u64,
        max: u64,
    },
    Choice(&'static [&'static str]),
    /// Some of these, parted by commas; may be empty.
    Choices(&'static [&'static str]),
    /// One line of printable ASCII.
    Line {
        bytes_max: usize,
    },
    /// As [`Kind::Line`], or nothing.
    LineOrNone {
        bytes_max: usize,
    },
    /// A URI of printable ASCII without blanks, or nothing.
    UriOrNone {
        bytes_max: usize,
    },
    /// The address of a document on a web server with TLS, or nothing.
    HttpsOrNone {
        bytes_max: usize,
    },
    /// A domain name; kept in A-labels.
    Hostname,
    /// One character of these, or nothing.
    CharacterOrNone(&'static str),
    /// An address in printable ASCII, or nothing.
    AddressOrNone,
    /// Addresses or user names, parted by commas; may be empty.
    Addresses {
        count_max: usize,
    },
    /// IP addresses and networks (`192.0.2.0/24`), parted by commas or line ends; may be empty.
    Networks {
        count_max: usize,
    },
    /// As [`Kind::Networks`], none so wide that everybody were in it.
    RelayNetworks {
        count_max: usize,
    },
    /// Domain names, parted by commas or line ends; may be empty. Kept in A-labels.
    Domains {
        count_max: usize,
    },
    /// `address:port`, parted by commas; may be empty. A port that is left out is `port`.
    Servers {
        count_max: usize,
        port: u16,
    },
    /// `host`, `host:port`, `[IPv6 address]:port`; may be empty.
    ServerOrNone,
    /// IP addresses that a box can be given, each once, parted by commas or line ends; may be empty.
    BoxAddresses {
        count_max: usize,
    },
}

const MIB: u64 = 1 << 20;

const fn setting(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { key, kind, default, help, since: "0.1" }
}

const fn port(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    setting(key, Kind::Number { unit: "port", min: 1, max: 65_535 }, default, help)
}

const fn flag(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    setting(key, Kind::Flag, default, help)
}

/// What a check may come to; what the DNS leaves open is never refused for good.
const STRICT: &[&str] = &["accept", "junk", "discard", "reject", "defer"];
const PATIENT: &[&str] = &["accept", "junk", "defer"];

const fn action(
    key: &'static str,
    choices: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Setting {
    setting(key, Kind::Choice(choices), default, help)
}

/// Checks that a mail may be let off, as [`Kind::Choices`].
const CHECKS: &[&str] = &["dnsbl", "spf", "antivirus", "dkim", "dmarc", "greylist"];

const fn skips(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    setting(key, Kind::Choices(CHECKS), default, help)
}

const fn seconds(key: &'static str, min: u64, default: &'static str, help: &'static str) -> Setting {
    setting(key, Kind::Number { unit: "seconds", min, max: 86_400 }, default, help)
}

const fn seconds_to(key: &'static str, max: u64, default: &'static str, help: &'static str) -> Setting {
    setting(key, Kind::Number { unit: "seconds", min: 1, max }, default, help)
}

pub fn find(key: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.key == key)
}

pub const TABLE: &[Setting] = &[
    setting(
        "hostname",
        Kind::Hostname,
        "localhost",
        "The name of the mail server in EHLO, banners and Received (row 15). Must match its A and PTR records.",
    ),
    // Listeners (row 1). Ports are the same on every node; a node's port offset is added.
    port("listener.smtp.port", "25", "Port for mail from other servers (row 1)."),
    flag("listener.smtp.enabled", "true", "Whether mail from other servers is listened for (row 1)."),
    setting(
        "listener.smtp.tls",
        Kind::Choice(&["off", "opportunistic"]),
        "opportunistic",
        "Whether STARTTLS is offered to other servers; it is never demanded of them (row 3).",
    ),
    port("listener.smtps.port", "465", "Port for submission over TLS (row 1)."),
    flag("listener.smtps.enabled", "true", "Whether submission over TLS is listened for (row 1)."),
    flag(
        "listener.smtps.auth_required",
        "true",
        "Whether mail is taken on this port only after login (row 3).",
    ),
    port("listener.submission.port", "587", "Port for submission with STARTTLS (row 1)."),
    flag("listener.submission.enabled", "true", "Whether submission is listened for (row 1)."),
    setting(
        "listener.submission.tls",
        Kind::Choice(&["off", "on", "forced"]),
        "on",
        "Whether STARTTLS is offered or demanded before MAIL (row 3).",
    ),
    flag(
        "listener.submission.auth_required",
        "true",
        "Whether mail is taken on this port only after login (row 3).",
    ),
    port("listener.imap.port", "143", "Port for IMAP with STARTTLS (row 1)."),
    flag("listener.imap.enabled", "true", "Whether IMAP is listened for (row 1)."),
    setting(
        "listener.imap.tls",
        Kind::Choice(&["off", "on", "forced"]),
        "on",
        "Whether STARTTLS is offered, or demanded before login, over IMAP (row 1).",
    ),
    port("listener.imaps.port", "993", "Port for IMAP over TLS (row 1)."),
    flag("listener.imaps.enabled", "true", "Whether IMAP over TLS is listened for (row 1)."),
    port("listener.pop3.port", "110", "Port for POP3 with STLS (row 1)."),
    flag("listener.pop3.enabled", "true", "Whether POP3 is listened for (row 1)."),
    setting(
        "listener.pop3.tls",
        Kind::Choice(&["off", "on", "forced"]),
        "on",
        "Whether STLS is offered, or demanded before login, over POP3 (row 1).",
    ),
    port("listener.pop3s.port", "995", "Port for POP3 over TLS (row 1)."),
    flag("listener.pop3s.enabled", "true", "Whether POP3 over TLS is listened for (row 1)."),
    port("listener.lmtp.port", "24", "Port for LMTP, for a scanner in front of the mailboxes (row 2)."),
    flag("listener.lmtp.enabled", "false", "Whether LMTP is listened for (row 2)."),
    port(
        "listener.http.port",
        "80",
        "Port where mail programs ask how to set themselves up (row 9), in the clear: for a proxy in front.",
    ),
    flag("listener.http.enabled", "false", "Whether mail programs may ask how to set themselves up (row 9)."),
    port("listener.https.port", "443", "The same over TLS (row 9)."),
    flag("listener.https.enabled", "false", "Whether mail programs may ask the same over TLS (row 9)."),
    port(
        "listener.managesieve.port",
        "4190",
        "Port for ManageSieve with STARTTLS, by which users keep their filters.",
    ),
    flag("listener.managesieve.enabled", "true", "Whether ManageSieve is listened for."),
    setting(
        "listener.managesieve.tls",
        Kind::Choice(&["off", "on", "forced"]),
        "on",
        "Whether STARTTLS is offered, or demanded before login, over ManageSieve.",
    ),
    // SMTP.
    setting(
        "smtp.banner",
        Kind::Line { bytes_max: 400 },
        "$hostname ESMTP",
        "The text after 220 (row 16). $hostname stands for the hostname; RFC 5321 wants it first.",
    ),
    setting(
        "smtp.message_bytes_max",
        Kind::Bytes { min: MIB / 16, max: 1_024 * MIB },
        "52428800",
        "The largest message taken; larger ones are refused with 552 (row 17). Shown to clients as SIZE.",
    ),
    setting(
        "smtp.recipients_max",
        Kind::Number { unit: "recipients", min: 1, max: 10_000 },
        "1000",
        "Recipients of one message; further ones are refused with 452 (row 17).",
    ),
    setting(
        "smtp.hops_max",
        Kind::Number { unit: "Received headers", min: 1, max: 1_000 },
        "100",
        "Servers a message may have passed; beyond, it is refused with 554 as a loop (row 17).",
    ),
    setting(
        "smtp.recipient_delimiter",
        Kind::CharacterOrNone("+-_="),
        "+",
        "What parts a user's name from a detail of the sender's choice: alice+lists reaches alice. Empty: off.",
    ),
    setting(
        "smtp.postmaster",
        Kind::Addresses { count_max: 20 },
        "",
        "Who receives mail to postmaster and mailer-daemon (row 18). Empty: the user added first.",
    ),
    seconds(
        "smtp.idle_seconds_max",
        10,
        "300",
        "Silence after which an SMTP session ends (RFC 5321: 5 minutes).",
    ),
    setting(
        "mta_sts.publish",
        Kind::Choice(&["none", "testing", "enforce"]),
        "none",
        "The MTA-STS policy (RFC 8461) that is shown at https://mta-sts.DOMAIN on the https listener and named by `pollux dns records` (row 31): whether others send only over TLS that is verified by the hostname's certificate.",
    ),
    // Who may connect where.
    flag(
        "firewall.apply",
        "true",
        "Whether each node makes the rules of `pollux firewall` its own, in a table of nftables (row 72). Without any rule there is no table.",
    ),
    flag(
        "firewall.heal",
        "true",
        "Whether a table that somebody changed by hand is put right (row 72); otherwise `pollux cluster status` says so.",
    ),
    // Mail to other servers.
    setting(
        "relay.host",
        Kind::ServerOrNone,
        "",
        "The server that all mail to other servers goes through: a host or host:port (row 22). Empty: none.",
    ),
    setting(
        "relay.tls",
        Kind::Choice(&["off", "opportunistic", "forced", "verified"]),
        "opportunistic",
        "Whether the relay host is asked for STARTTLS; if it is forced, mail waits rather than go in the clear, and if verified, rather than to a host that proves no such name (row 22).",
    ),
    flag(
        "sender.must_be_own",
        "true",
        "Whether a user who has logged in may send only under addresses that lead to him, in MAIL FROM and in From; others are refused with 553 (row 12).",
    ),
    setting(
        "sender.any_networks",
        Kind::Networks { count_max: 50 },
        "",
        "Clients whose users may send under any address all the same (row 13).",
    ),
    setting(
        "relay.open_networks",
        Kind::RelayNetworks { count_max: 50 },
        "",
        "Clients that send without a login, to other servers too (row 11): a copier, the local network. Single ones by `pollux policy rule` (rows 25, 26).",
    ),
    setting(
        "relay.inbound_domains",
        Kind::Domains { count_max: 500 },
        "",
        "Domains whose mail is taken from anybody and passed on: to their better servers (MX), or to a relay for them (row 27). Not those that have mailboxes here.",
    ),
    flag(
        "forward.junk",
        "false",
        "Whether mail of strangers that was judged to be junk is passed on all the same, where an address leads to other servers. Else mailboxes here keep it; where there are none, it is refused.",
    ),
    seconds_to(
        "delivery.retry_seconds_min",
        86_400,
        "1000",
        "Time to the second try of a mail; it doubles with each further one (row 19).",
    ),
    seconds_to("delivery.retry_seconds_max", 86_400, "4000", "The longest time between two tries (row 19)."),
    seconds_to(
        "delivery.lifetime_seconds",
        2_592_000,
        "432000",
        "How long a mail is tried before its sender is told that it failed (row 19: 5 days).",
    ),
    seconds_to(
        "delivery.delay_notice_seconds",
        2_592_000,
        "14400",
        "After how long the sender is told, once, that a mail is not delivered yet (row 19: 4 hours).",
    ),
    setting(
        "delivery.connections_max",
        Kind::Number { unit: "connections", min: 2, max: 1_000 },
        "100",
        "Connections to other servers that a node has at once; mail that was tried before gets half of them at most.",
    ),
    setting(
        "delivery.connections_per_destination_max",
        Kind::Number { unit: "connections", min: 1, max: 100 },
        "5",
        "Of these, for mail to one domain.",
    ),
    seconds_to(
        "delivery.answer_seconds_max",
        3_600,
        "300",
        "How long another server may take for an answer (RFC 5321: 5 minutes); to a whole message twice as long.",
    ),
    flag(
        "delivery.mta_sts",
        "true",
        "Whether other domains are asked what they demand of those who send them mail (MTA-STS, RFC 8461), and obeyed (docs/outbound.md).",
    ),
    flag(
        "delivery.tls_reports",
        "true",
        "Whether domains that ask for it are told, once a day, how TLS with their servers went (TLSRPT, RFC 8460; docs/outbound.md).",
    ),
    setting(
        "delivery.tls_reports_from",
        Kind::AddressOrNone,
        "",
        "In whose name these reports are, and who can be asked about them. Empty: postmaster at the first domain.",
    ),
    setting(
        "trace.days",
        Kind::Number { unit: "days", min: 0, max: 3_650 },
        "30",
        "How long each node keeps what 'pollux trace' tells of a mail; 0 writes nothing down.",
    ),
    setting(
        "trace.bytes_max",
        Kind::Bytes { min: MIB, max: 65_536 * MIB },
        "67108864",
        "Octets of it that each node keeps of mail that was taken or sent, and as many of what was refused; the oldest goes first.",
    ),
    // Alarms.
    flag(
        "alarm.mail",
        "true",
        "Whether the addresses of smtp.postmaster are mailed once of each alarm and once of its end; while there are none nobody is.",
    ),
    setting(
        "alarm.disk_used_percent",
        Kind::Number { unit: "per cent", min: 50, max: 99 },
        "90",
        "How full the disk of a node may be before that is an alarm.",
    ),
    setting(
        "alarm.sync_ms",
        Kind::Number { unit: "milliseconds", min: 10, max: 10_000 },
        "500",
        "What a sync of the disk may take, in the mean of a minute.",
    ),
    setting(
        "alarm.certificate_days",
        Kind::Number { unit: "days", min: 0, max: 365 },
        "14",
        "How long before its end the certificate of the mail services is an alarm; at most a quarter of its whole time.",
    ),
    setting(
        "alarm.queue_mails",
        Kind::Number { unit: "mails", min: 1, max: 1_000_000 },
        "10000",
        "How many mails may wait in the outbound queue.",
    ),
    setting(
        "alarm.queue_age_seconds",
        Kind::Number { unit: "seconds", min: 60, max: 31_536_000 },
        "86400",
        "How long one may.",
    ),
    Setting {
        since: "0.2",
        ..setting(
            "alarm.backup_days",
            Kind::Number { unit: "days", min: 0, max: 365 },
            "0",
            "How old the last backup may be; that none was ever made is an alarm, too. 0: never.",
        )
    },
    // What users expunge.
    Setting {
        since: "0.2",
        ..setting(
            "mail.undelete_days",
            Kind::Number { unit: "days", min: 0, max: 365 },
            "0",
            "For how long messages that users expunge, and those of mailboxes that they delete, can be put back by 'pollux mail undelete'. They take space meanwhile and count for no quota. 0: not at all.",
        )
    },
    // One address for the cluster.
    Setting {
        since: "0.2",
        ..setting(
            "address.virtual",
            Kind::BoxAddresses { count_max: VIRTUAL_ADDRESSES_MAX },
            "",
            "Addresses that the data node which leads takes on, beside those of its box; each must lie in a network of the box's own. Empty: none.",
        )
    },
    // The certificate of the mail services, ordered of an ACME server.
    Setting {
        since: "0.2",
        ..setting(
            "acme.directory",
            Kind::HttpsOrNone { bytes_max: DIRECTORY_BYTES_MAX },
            "",
            "The ACME server (RFC 8555) of which the certificate of all nodes is ordered, such as https://acme-v02.api.letsencrypt.org/directory. Setting it agrees to that server's terms of service. Empty: none is ordered.",
        )
    },
    Setting {
        since: "0.2",
        ..setting(
            "acme.names",
            Kind::Domains { count_max: NAMES_MAX },
            "",
            "The names in the certificate that is ordered. Empty: `hostname` alone.",
        )
    },
    Setting {
        since: "0.2",
        ..setting(
            "acme.contact",
            Kind::AddressOrNone,
            "",
            "Whom the ACME server may write to about the account. Counts when the account is made.",
        )
    },
    Setting {
        since: "0.2",
        ..setting(
            "acme.challenge",
            Kind::Choice(&["http-01", "dns-01"]),
            "http-01",
            "How the ACME server is shown that the names are ours: on the http listener, which it must reach at port 80 of each name (http-01), or in the DNS by the program `acme.dns_hook` of pollux.toml (dns-01).",
        )
    },
    // The scrub.
    setting(
        "scrub.interval_days",
        Kind::Number { unit: "days", min: 0, max: 365 },
        "7",
        "How often each data node has all rows verified and reads all message bodies again; what is wrong comes from another node. 0: no further pass is begun.",
    ),
    setting(
        "scrub.mib_per_second",
        Kind::Number { unit: "MiB a second", min: 1, max: 1_000 },
        "4",
        "How fast bodies are read at the most. A pass takes half of its interval, or as long as that needs.",
    ),
    // IMAP and POP3.
    setting(
        "imap.banner",
        Kind::Line { bytes_max: 400 },
        "$hostname IMAP4rev1 ready",
        "The text of IMAP's greeting (row 16).",
    ),
    seconds(
        "imap.idle_seconds_max",
        1_800,
        "1800",
        "Silence after which an IMAP session ends (RFC 3501: at least 30 minutes).",
    ),
    flag(
        "imap.message_limit",
        "false",
        "Whether IMAP clients are told that one command takes 1,000 messages, and are held to it (MESSAGELIMIT, RFC 9738). One that does not know of it takes a part for all.",
    ),
    setting(
        "imap.server_comment",
        Kind::LineOrNone { bytes_max: 1_000 },
        "",
        "What IMAP clients may read as a comment on the server (/shared/comment, RFC 5464). Empty: nothing.",
    ),
    setting(
        "imap.server_admin",
        Kind::UriOrNone { bytes_max: 1_000 },
        "",
        "Where IMAP clients are told to reach the administrator (/shared/admin, RFC 5464), such as mailto:help@example.com. Empty: nowhere.",
    ),
    setting(
        "pop3.banner",
        Kind::Line { bytes_max: 400 },
        "$hostname POP3 ready",
        "The text of POP3's greeting (row 16).",
    ),
    seconds(
        "pop3.idle_seconds_max",
        600,
        "600",
        "Silence after which a POP3 session ends (RFC 1939: at least 10 minutes).",
    ),
    seconds(
        "managesieve.idle_seconds_max",
        1_800,
        "1800",
        "Silence after which a ManageSieve session ends (RFC 5804: at least 30 minutes).",
    ),
    // Sessions of any kind.
    seconds(
        "session.login_seconds_max",
        5,
        "120",
        "Silence allowed to an IMAP, POP3 or ManageSieve client before its login.",
    ),
    setting(
        "session.connections_max",
        Kind::Number { unit: "connections", min: 10, max: 100_000 },
        "10000",
        "Connections a node serves at once, all protocols together.",
    ),
    setting(
        "session.connections_per_address_max",
        Kind::Number { unit: "connections", min: 1, max: 100_000 },
        "2000",
        "Connections a node serves at once to one address. Offices share one: leave room.",
    ),
    setting(
        "session.proxies",
        Kind::Networks { count_max: 50 },
        "",
        "Load balancers in front, whose connections begin with a header of the PROXY protocol (version 1 or 2) that names the client; without one they are closed. Nobody else's header is believed.",
    ),
    flag(
        "auth.plaintext_without_tls",
        "false",
        "Whether passwords are taken on connections that are not protected by TLS (row 14). Unsafe.",
    ),
    flag(
        "auth.scram",
        "true",
        "Whether SCRAM-SHA-256 is offered, and what it needs of passwords is kept beside their argon2id hashes.",
    ),
    setting(
        QUOTA_DEFAULT,
        Kind::BytesOrUnlimited { min: MIB, max: 1 << 50 },
        "unlimited",
        "Space of users whose own quota is not set (row 54).",
    ),
    // Limits over all nodes.
    setting(
        "limits.exempt_networks",
        Kind::Networks { count_max: 50 },
        "127.0.0.0/8,::1/128",
        "Hosts of which nothing is counted (rows 47, 48): a front end, or a relay that everybody uses. So are those of `relay.open_networks` and of rules that let off or let send on.",
    ),
    setting(
        "limits.connections_at_once",
        Kind::Number { unit: "connections", min: 0, max: 100_000 },
        "50",
        "SMTP connections that one host may have open at once, on all nodes together (rows 20, 46). 0 is unlimited.",
    ),
    setting(
        "limits.connections_per_minute",
        Kind::Number { unit: "connections", min: 0, max: 1_000_000 },
        "0",
        "SMTP connections that one host may open in a minute, on all nodes together (row 48); then it waits for the next. 0 is unlimited.",
    ),
    setting(
        "limits.messages_per_minute",
        Kind::Number { unit: "messages", min: 0, max: 1_000_000 },
        "0",
        "Messages that one host may begin by SMTP in a minute, on all nodes together (row 47); then it waits for the next. 0 is unlimited.",
    ),
    setting(
        "send.messages_per_day",
        Kind::Number { unit: "messages", min: 0, max: 10_000_000 },
        "0",
        "Messages that one user may hand in by SMTP in a day (UTC), on all nodes together (row 62). 0 is unlimited.",
    ),
    setting(
        "send.bytes_per_day",
        Kind::Bytes { min: 0, max: 1 << 50 },
        "0",
        "The same in bytes, such as `500 MiB`. 0 is unlimited.",
    ),
    // Hosts that are shut out.
    setting(
        "block.exempt_networks",
        Kind::Networks { count_max: 50 },
        "127.0.0.0/8,::1/128",
        "Hosts that are never blocked, whatever they do: a front end or webmail whose address is that of all its users.",
    ),
    setting(
        "block.failed_logins_max",
        Kind::Number { unit: "logins", min: 0, max: 1_000_000 },
        "20",
        "Failed logins of one host, by all protocols and on all nodes together, that are tolerated within `block.failed_logins_seconds`; with the next one the host is blocked. 0: never.",
    ),
    seconds(
        "block.failed_logins_seconds",
        1,
        "600",
        "From the first failed login of a host on, how long they are counted before the count begins anew.",
    ),
    setting(
        "block.duration_seconds",
        Kind::Number { unit: "seconds", min: 1, max: 31_536_000 },
        "1800",
        "How long a host stays blocked for failed logins.",
    ),
    setting(
        "block.unknown_recipients_max",
        Kind::Number { unit: "recipients", min: 0, max: 1_000_000 },
        "0",
        "Recipients that are nobody here which one host may name to all nodes in a day (UTC); with the next one it is blocked until the next day (row 52). 0: any number.",
    ),
    // What mail of strangers is checked for.
    setting(
        "checks.exempt_networks",
        Kind::Networks { count_max: 50 },
        "127.0.0.0/8,::1/128",
        "Clients of port 25 whose mail is not checked: a scanner or forwarder in front, whose address says nothing of the sender.",
    ),
    setting(
        "dnsbl.zones",
        Kind::Domains { count_max: DNSBL_ZONES_MAX },
        "",
        "DNS block lists that are asked for a client's address, one a line or parted by commas; a client that one of them lists is refused (row 42). Empty: none.",
    ),
    action(
        "client.hostname",
        &["accept", "defer", "reject"],
        "accept",
        "What becomes of mail of a client whose address has no name, or one that does not lead back to the address (row 45).",
    ),
    flag(
        "helo.must_be_full",
        "true",
        "Whether a client that gives itself no full name in HELO or EHLO, nor an address literal, is refused (row 50).",
    ),
    flag(
        "helo.must_exist",
        "false",
        "Whether a client that gives itself a name with neither address nor MX in the DNS is refused for now (row 51).",
    ),
    flag(
        "sender.domain_must_be_full",
        "true",
        "Whether mail is refused whose sender's domain is no full name (row 43).",
    ),
    flag(
        "sender.domain_must_exist",
        "true",
        "Whether mail is refused whose sender's domain does not exist or takes no mail; for now, where the DNS does not tell (row 44).",
    ),
    flag(
        "smtp.refuse_early_talk",
        "true",
        "Whether a client of port 25 that does not wait for the greeting, or for a reply that it has to wait for, is refused (row 49).",
    ),
    setting(
        "smtp.junk_commands_max",
        Kind::Number { unit: "commands", min: 0, max: 1_000 },
        "10",
        "So many NOOP, RSET, VRFY, EXPN, ETRN and HELP without a mail add one second before each further reply to a client of port 25, up to 10 s (row 53). 0: none.",
    ),
    skips(
        "whitelist.ip.skips",
        "dnsbl,spf,antivirus,dkim,dmarc,greylist",
        "What mail is let off whose client a whitelist rule names by its address (row 40).",
    ),
    skips(
        "whitelist.mask.skips",
        "dnsbl,spf,antivirus,dkim,greylist",
        "The same by a network, range or mask (row 40).",
    ),
    skips(
        "whitelist.sender.skips",
        "dnsbl,spf,greylist",
        "The same where the rule names the sender's address (row 40).",
    ),
    skips(
        "whitelist.recipient.skips",
        "dnsbl,spf,greylist",
        "The same where it names the recipient; of a mail to several, what all of them are let off (row 40).",
    ),
    skips(
        "whitelist.domain.skips",
        "dnsbl,spf,antivirus,dkim,greylist",
        "The same where it names the sender's domain (row 40).",
    ),
    flag(
        "greylist.enabled",
        "false",
        "Whether the first mail from a client network, by a sender, to a recipient is put off (450), and taken when it is sent again.",
    ),
    seconds_to("greylist.delay_seconds", 86_400, "300", "How long after the first try a mail is taken."),
    seconds_to(
        "greylist.retry_window_seconds",
        2_592_000,
        "172800",
        "How long after the first try it may come again; later, it counts as the first. More than greylist.delay_seconds.",
    ),
    seconds_to(
        "greylist.lifetime_seconds",
        31_536_000,
        "3024000",
        "How long whoever passed is remembered after the last mail (35 days).",
    ),
    setting(
        "greylist.client_passes",
        Kind::Number { unit: "passes", min: 0, max: 1_000 },
        "5",
        "So many passes, of which one an hour counts, and a client network is let through altogether. 0: never.",
    ),
    flag(
        "spf.verify",
        "true",
        "Whether the sender's domain is asked if it lets the client send (SPF, row 32).",
    ),
    action(
        "spf.fail",
        STRICT,
        "junk",
        "What becomes of mail whose domain does not let the client send (row 32). Not where DMARC passes.",
    ),
    action("spf.softfail", STRICT, "accept", "The same where the domain is not sure (row 32)."),
    action(
        "spf.temporary",
        PATIENT,
        "accept",
        "The same where the DNS does not tell at the moment (row 32).",
    ),
    flag("dkim.verify", "true", "Whether signatures are verified (DKIM and ARC, row 33)."),
    action(
        "dkim.fail",
        STRICT,
        "accept",
        "What becomes of mail of which no signature holds, though it has some (row 33).",
    ),
    flag(
        "dmarc.verify",
        "true",
        "Whether the policy of the domain in From is asked for (DMARC, row 33); SPF and DKIM come with it.",
    ),
    action(
        "dmarc.reject",
        STRICT,
        "reject",
        "What becomes of mail that fails DMARC where the domain asks to refuse it (row 33).",
    ),
    action("dmarc.quarantine", STRICT, "junk", "The same where the domain asks to distrust it (row 33)."),
    action(
        "dmarc.temporary",
        PATIENT,
        "accept",
        "The same where the DNS does not tell at the moment (row 33).",
    ),
    action(
        "dmarc.ambiguous",
        STRICT,
        "junk",
        "What becomes of mail whose From names several domains, so that nobody's policy holds (row 33).",
    ),
    setting(
        "arc.trusted_sealers",
        Kind::Domains { count_max: 50 },
        "",
        "Domains that pass mail on and whose ARC seal outweighs a failure of DMARC: mailing lists, a former provider (row 33).",
    ),
    setting(
        "dns.servers",
        Kind::Servers { count_max: 4, port: 53 },
        "",
        "The name servers, the preferred one first (row 28). Empty: those in each node's /etc/resolv.conf.",
    ),
    flag(
        "dns.servers_validate",
        "false",
        "Whether all of them validate (DNSSEC) and what they say cannot be changed on its way here, as on the same box. Then DANE protects mail to other servers (docs/outbound.md).",
    ),
    setting(
        "cluster.degraded_ack",
        Kind::Choice(&["allow", "refuse"]),
        "allow",
        "Whether mail is taken of which only one copy can be made: no other data node takes it, and no witness keeps it meanwhile (row A).",
    ),
    seconds_to(
        "cluster.drain_seconds_max",
        3_600,
        "60",
        "How long clients of a node that is drained may take to the end of what they are in the middle of. In a minute 25 MiB come over 4 Mbit/s.",
    ),
];
