//! `pollux check`: is this box fit to serve? Pure: facts go in, findings come out.

use serde::{Deserialize, Serialize};

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
