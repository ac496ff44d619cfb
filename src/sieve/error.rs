//! What is wrong with a script, and where.

/// A place in a script; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u32,
    /// In characters.
    pub column: u32,
}

/// Why a script cannot be taken: a text for the user who wrote it, on one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ScriptError {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub what: String,
}

/// Characters of a script that an error repeats.
const QUOTED_CHARS_MAX: usize = 40;

impl Place {
    pub(super) fn error(self, what: impl Into<String>) -> ScriptError {
        ScriptError { line: self.line, column: self.column, what: what.into() }
    }
}

/// A piece of a script as an error repeats it: short, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    let shown: String =
        text.chars().take(QUOTED_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let more = if text.chars().nth(QUOTED_CHARS_MAX).is_some() { "..." } else { "" };
    format!("\"{shown}{more}\"")
}
