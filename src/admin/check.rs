//! `pollux check`: is this box fit to serve? Pure: facts go in, findings come out.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::mail::ids::Timestamp;

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

/// Days before its end at which a certificate is worth a warning.
const EXPIRY_DAYS_WARN: i64 = 21;

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
    let finding = |level, text: String| Finding::new(level, "certificate", format!("{name}: {text}"));
    let end = x509_parser::pem::parse_x509_pem(pem).ok().and_then(|(_, pem)| {
        pem.parse_x509().ok().map(|certificate| certificate.validity().not_after.timestamp())
    });
    let Some(end) = end else {
        return finding(Level::Fail, "holds no PEM certificate; give a chain, leaf first".to_owned());
    };
    let days = (end - (now.0 / 1000) as i64).div_euclid(86_400);
    match days {
        ..0 => finding(Level::Fail, "has expired; put a new one in its place".to_owned()),
        0..EXPIRY_DAYS_WARN => {
            finding(Level::Warn, format!("expires in {days} days; put a new one in its place"))
        }
        _ => finding(Level::Ok, format!("good for {days} days")),
    }
}
