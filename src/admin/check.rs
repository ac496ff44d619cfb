//! `pollux check`: is this box fit to serve? Pure: facts go in, findings come out.

use serde::{Deserialize, Serialize};

use crate::admin::status::rfc3339;
use crate::certificate::read::{self, Facts, Validity};
use crate::config::Config;
use crate::mail::ids::Timestamp;
use crate::state::backups::NoteBackup;
use crate::state::directory::Directory;
use crate::state::settings::Settings;

/// One line of the check-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub level: Level,
    /// What was looked at: `configuration`, `certificate`, …
    pub topic: String,
    /// What was found and, unless all is well, what to do.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

impl Finding {
    pub fn new(level: Level, topic: &str, text: impl Into<String>) -> Self {
        Self { level, topic: topic.to_owned(), text: text.into() }
    }
}

/// As people read it, ending in a line feed.
pub fn render(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.topic.len()).max().unwrap_or(0);
    let line = |finding: &Finding| {
        let word = match finding.level {
            Level::Ok => "ok  ",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        format!("{word}  {:width$}  {}\n", finding.topic, finding.text)
    };
    findings.iter().map(line).collect()
}

/// So long before its end a certificate is worth a warning; one of a short time less.
const EXPIRY_WARN_MS: u64 = 21 * DAY_MS;
const DAY_MS: u64 = 86_400_000;

/// The mail services' certificate as it lies on the disk.
pub fn tls_files(config: &Config, now: Timestamp) -> Vec<Finding> {
    let Some(tls) = &config.tls else { return Vec::new() };
    let finding = match std::fs::read(&tls.cert) {
        Ok(pem) => certificate(&tls.cert.display().to_string(), &pem, now),
        Err(error) => {
            let text = format!("{}: cannot be read ({error}); correct tls.cert", tls.cert.display());
            Finding::new(Level::Fail, "certificate", text)
        }
    };
    vec![finding]
}

/// When the first certificate of `pem` ends.
pub fn certificate(name: &str, pem: &[u8], now: Timestamp) -> Finding {
    let leaf = read::chain(pem).ok().and_then(|chain| Facts::of(&chain[0]));
    match leaf {
        Some(facts) => remaining(name, facts.validity, now, "put a new one in its place"),
        None => {
            let text = format!("{name}: holds no PEM certificate; give a chain, leaf first");
            Finding::new(Level::Fail, "certificate", text)
        }
    }
}

fn remaining(name: &str, validity: Validity, now: Timestamp, mend: &str) -> Finding {
    let days = validity.ends.0.saturating_sub(now.0) / DAY_MS;
    let (level, text) = match validity.ends_within(EXPIRY_WARN_MS, now) {
        _ if validity.ends < now => (Level::Fail, format!("has expired; {mend}")),
        true => (Level::Warn, format!("expires in {days} days; {mend}")),
        false => (Level::Ok, format!("good for {days} days")),
    };
    Finding::new(level, "certificate", format!("{name}: {text}"))
}

/// That of the cluster, and how its orders go; nothing where there is neither.
pub fn of_cluster(directory: &Directory, now: Timestamp) -> Vec<Finding> {
    let settings = directory.settings();
    let finding = |level, text: String| Finding::new(level, "certificate", text);
    let mut findings = Vec::new();
    if let Some(facts) = directory.certificate.as_deref().and_then(Facts::of_leaf) {
        let name = "the cluster's";
        findings.push(remaining(name, facts.validity, now, "see 'pollux certificate show'"));
        let hostname = settings.hostname();
        if !facts.has(hostname) {
            let names = facts.names.join(", ");
            let text = format!(
                "{name}: is for {names}, and clients are told of {hostname}; see 'pollux certificate'"
            );
            findings.push(finding(Level::Warn, text));
        }
    }
    if let (Some(terms), Some(why)) = (settings.acme(), directory.acme.failed()) {
        let text = format!("none can be had of {}: {why}; see 'pollux certificate show'", terms.directory);
        findings.push(finding(Level::Warn, text));
    }
    findings
}

/// A backup may be so old, unless the setting `alarm.backup_days` says something else.
const BACKUP_DAYS_MAX: u64 = 7;

/// When the last backup was made, and whether that is too long ago.
pub fn backup(last: Option<NoteBackup>, settings: Settings<'_>, now: Timestamp) -> Finding {
    let days_max = match settings.alarm_backup_days() {
        0 => BACKUP_DAYS_MAX,
        days => days,
    };
    let finding = |level, text: String| Finding::new(level, "backup", text);
    let Some(last) = last else {
        let text = "no backup of this cluster is known; make one with 'pollux backup create'";
        return finding(Level::Warn, text.to_owned());
    };
    let (of, age_ms) = (rfc3339(last.of), now.0.saturating_sub(last.of.0));
    match age_ms > days_max * DAY_MS {
        true => {
            let days = age_ms / DAY_MS;
            let text = format!(
                "the last is of {of}, {days} days ago; make one each day with 'pollux backup create'"
            );
            finding(Level::Warn, text)
        }
        false => finding(Level::Ok, format!("the last is of {of}")),
    }
}

/// `open`: whether a stranger's mail to strangers would be taken.
pub fn relay(open: bool) -> Finding {
    match open {
        true => {
            let text = "anybody can send through this server to anywhere; see relay.open_networks, the whitelists, and 'pollux policy test'";
            Finding::new(Level::Fail, "relay", text)
        }
        false => Finding::new(Level::Ok, "relay", "strangers cannot send through this server"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::mail::ids::NodeId;
    use crate::state::certificate::{Acme, AcmeOrder, Certificate};
    use crate::state::secret::Secret;

    #[test]
    fn a_certificate_is_good_ends_soon_or_has_ended_and_is_for_the_hostname() {
        let mut params = CertificateParams::new(["mx.a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2026, 4, 2);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let ends = Facts::of(made.der()).unwrap().validity.ends;
        let before = |days: u64| Timestamp(ends.0 - days * DAY_MS);
        let (chain, private) = (vec![made.der().to_vec()], Secret("p".to_owned()));
        let known = Certificate { chain, private, from: None, taken: Timestamp(0) };
        let mut directory = Directory { certificate: Some(Arc::new(known)), ..Directory::default() };
        directory.settings.insert("hostname".to_owned(), "mx.a.test".to_owned());
        for (now, level) in [
            (Timestamp(before(21).0 - 1), Level::Ok),
            (before(21), Level::Warn),
            (before(0), Level::Warn),
            (Timestamp(ends.0 + 1), Level::Fail),
        ] {
            assert_eq!(certificate("f", made.pem().as_bytes(), now).level, level);
            let levels: Vec<_> = of_cluster(&directory, now).iter().map(|found| found.level).collect();
            assert_eq!(levels, [level]);
        }
        assert_eq!(certificate("f", b"none", before(30)).level, Level::Fail);
        directory.settings.insert("hostname".to_owned(), "mx.b.test".to_owned());
        let found = of_cluster(&directory, before(30));
        assert!(found[1].text.contains("clients are told of mx.b.test"), "{found:?}");
        directory.settings.insert("acme.directory".to_owned(), "https://ca.test/d".to_owned());
        let order = AcmeOrder { by: NodeId(1), began: Timestamp(0), failed: Some("no route".to_owned()) };
        directory.acme = Arc::new(Acme { order: Some(order), ..Acme::default() });
        let found = of_cluster(&directory, before(30));
        assert!(found[2].text.contains("no route"), "{found:?}");
        assert!(of_cluster(&Directory::default(), before(30)).is_empty());
    }
    #[test]
    fn a_backup_is_there_is_too_old_or_was_never_made() {
        let now = Timestamp(100 * DAY_MS);
        let made = |days: u64| {
            Some(NoteBackup { of: Timestamp(now.0 - days * DAY_MS), by: NodeId(1), id: "b".to_owned() })
        };
        let mut directory = Directory::default();
        let level = |directory: &Directory, last| backup(last, directory.settings(), now).level;
        assert_eq!(level(&directory, None), Level::Warn);
        assert_eq!(level(&directory, made(BACKUP_DAYS_MAX)), Level::Ok);
        assert_eq!(level(&directory, made(BACKUP_DAYS_MAX + 1)), Level::Warn);
        directory.settings.insert("alarm.backup_days".to_owned(), "30".to_owned());
        assert_eq!(level(&directory, made(30)), Level::Ok);
        assert_eq!(level(&directory, made(31)), Level::Warn);
    }

    #[test]
    fn an_open_relay_is_a_failure() {
        assert_eq!((relay(true).level, relay(false).level), (Level::Fail, Level::Ok));
    }
}
