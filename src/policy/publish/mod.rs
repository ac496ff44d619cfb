//! What a domain's zone should say, so that others find its mail server, trust it, and set themselves up (row 31).
//!
//! [`records`] is pure: settings in, records out. [`compare()`] holds them against what the DNS says.

mod compare;
pub mod sts;
mod tags;
#[cfg(test)]
mod tests;

pub use compare::{Compared, Verdict, compare};

use std::fmt::Write;
use std::net::IpAddr;

use super::signing;
use crate::state::directory::Directory;
use crate::state::relays::RelayFor;
use crate::state::settings::{ListenerName, ListenerSettings, Settings, TlsMode};

/// RFC 1035 3.3: octets of one string.
const STRING_BYTES_MAX: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Without the last dot.
    pub name: String,
    pub data: Data,
    pub purpose: Purpose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Mx { preference: u16, host: String },
    Txt(String),
    Srv { port: u16, host: String },
    Cname(String),
}

/// What a record is for, the most needful first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Where mail for the domain goes.
    Mx,
    Spf,
    Dkim,
    Dmarc,
    MtaSts,
    TlsRpt,
    /// Where mail programs find their servers (RFC 6186, RFC 8314, RFC 5804).
    Service,
    /// Where they ask for all of it.
    Autoconfig,
}

impl Purpose {
    pub fn word(self) -> &'static str {
        match self {
            Self::Mx => "MX",
            Self::Spf => "SPF",
            Self::Dkim => "DKIM",
            Self::Dmarc => "DMARC",
            Self::MtaSts => "MTA-STS",
            Self::TlsRpt => "TLS-RPT",
            Self::Service => "SRV",
            Self::Autoconfig => "autoconfig",
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Mx => "where mail for the domain goes",
            Self::Spf => "which hosts send the domain's mail (RFC 7208)",
            Self::Dkim => "what its signatures are verified by (RFC 6376)",
            Self::Dmarc => {
                "what others do with mail that is neither (RFC 7489); p=none while you watch the reports"
            }
            Self::MtaSts => "that mail comes to it over verified TLS alone (RFC 8461)",
            Self::TlsRpt => "whom others tell of failures of TLS (RFC 8460)",
            Self::Service => "where mail programs find their servers (RFC 6186, RFC 8314, RFC 5804)",
            Self::Autoconfig => "where mail programs ask for their settings",
        }
    }
}

/// In the order of [`Purpose`].
pub fn records(directory: &Directory, domain: &str) -> Vec<Record> {
    let settings = directory.settings();
    let host = settings.hostname();
    let record = |name: String, data, purpose| Record { name, data, purpose };
    let text = |name: String, text: String, purpose| record(name, Data::Txt(text), purpose);
    let mut records = vec![
        record(domain.to_owned(), Data::Mx { preference: 10, host: host.to_owned() }, Purpose::Mx),
        text(domain.to_owned(), spf(directory), Purpose::Spf),
    ];
    // RFC 7208 2.3: a notice has no sender, and is judged by the name that its server gives itself.
    if host.strip_suffix(domain).is_some_and(|label| label.ends_with('.')) {
        records.push(text(host.to_owned(), "v=spf1 a -all".to_owned(), Purpose::Spf));
    }
    for key in directory.dkim.all().iter().filter(|key| key.domain == domain) {
        // A key that cannot be read was refused when it came.
        if let Ok(record) = signing::record(&key.private) {
            records.push(text(format!("{}._domainkey.{domain}", key.selector), record, Purpose::Dkim));
        }
    }
    let reports = format!("rua=mailto:postmaster@{domain}");
    records.push(text(
        format!("_dmarc.{domain}"),
        format!("v=DMARC1; p=quarantine; {reports}"),
        Purpose::Dmarc,
    ));
    if let Some(policy) = sts::policy(directory) {
        let version = format!("v=STSv1; id={}", sts::id(&policy));
        records.push(text(format!("_mta-sts.{domain}"), version, Purpose::MtaSts));
        let name = format!("mta-sts.{domain}");
        records.push(record(name, Data::Cname(host.to_owned()), Purpose::MtaSts));
    }
    records.push(text(format!("_smtp._tls.{domain}"), format!("v=TLSRPTv1; {reports}"), Purpose::TlsRpt));
    records.extend(services(settings, domain));
    if settings.listener(ListenerName::Https).enabled {
        let name = format!("autoconfig.{domain}");
        records.push(record(name, Data::Cname(host.to_owned()), Purpose::Autoconfig));
    }
    records
}

/// The hosts that mail to others leaves by: the relay that takes all of it, else the domain's own servers.
fn spf(directory: &Directory) -> String {
    let for_all = directory.relays.all().iter().find(|relay| relay.applies == RelayFor::All);
    let relay = for_all.map(|relay| relay.host.clone());
    let relay = relay.or_else(|| directory.settings().relay_host().map(|(host, _)| host));
    let relay = relay.map(|host| {
        let bare = host.trim_matches(['[', ']']);
        match bare.parse() {
            Ok(IpAddr::V4(address)) => format!("ip4:{address} "),
            Ok(IpAddr::V6(address)) => format!("ip6:{address} "),
            Err(_) => format!("a:{bare} "),
        }
    });
    format!("v=spf1 mx {}-all", relay.unwrap_or_default())
}

/// Of each service its label, and what it is where it is not offered: RFC 6186 3.4 has a dot for "not here".
fn services(settings: Settings, domain: &str) -> Vec<Record> {
    use ListenerName::{Https, Imap, Imaps, ManageSieve, Pop3, Pop3s, Smtps, Submission};
    let offered = |listener: &ListenerSettings| {
        let protected = listener.tls != TlsMode::Off || settings.auth_plaintext_without_tls();
        listener.enabled && protected
    };
    let labels = [
        ("_submissions._tcp", Smtps),
        ("_submission._tcp", Submission),
        ("_imaps._tcp", Imaps),
        ("_imap._tcp", Imap),
        ("_pop3s._tcp", Pop3s),
        ("_pop3._tcp", Pop3),
        ("_sieve._tcp", ManageSieve),
        ("_autodiscover._tcp", Https),
    ];
    let record = |(label, listener): (&str, ListenerName)| {
        let listener = settings.listener(listener);
        let host = settings.hostname().to_owned();
        let purpose = if listener.name == Https { Purpose::Autoconfig } else { Purpose::Service };
        let data = Data::Srv { port: listener.port, host };
        offered(&listener).then(|| Record { name: format!("{label}.{domain}"), data, purpose })
    };
    labels.into_iter().filter_map(record).collect()
}

/// As it stands in a zone file (RFC 1035 5), each kind under a comment.
pub fn zone(records: &[Record], hostname: &str) -> String {
    let mut text = format!(
        "; {hostname}. needs an A record, and AAAA where there is IPv6, for each address by which your boxes\n\
         ; are reached; each of these addresses a PTR record back to {hostname}., set by whoever gave it to you.\n"
    );
    let mut above = None;
    for record in records {
        if above.replace(record.purpose) != Some(record.purpose) {
            let _ = writeln!(text, "\n; {}: {}", record.purpose.word(), record.purpose.why());
        }
        let _ = writeln!(text, "{}. {}", record.name, record.data.words());
    }
    text
}

impl Data {
    /// Type and data, as in a zone file.
    pub fn words(&self) -> String {
        match self {
            Self::Mx { preference, host } => format!("MX {preference} {host}."),
            Self::Txt(text) => format!("TXT {}", strings(text)),
            Self::Srv { port, host } => format!("SRV 0 1 {port} {host}."),
            Self::Cname(host) => format!("CNAME {host}."),
        }
    }
}

/// As it stands in a zone file.
pub fn strings(text: &str) -> String {
    let parts = text.as_bytes().chunks(STRING_BYTES_MAX);
    let quoted = parts.map(|part| format!("\"{}\"", String::from_utf8_lossy(part)));
    quoted.collect::<Vec<_>>().join(" ")
}
