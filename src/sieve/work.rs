//! What a run may cost, and what ends one early.

/// Steps of one run: about an octet looked at each.
pub const STEPS_MAX: u64 = 32 * 1024 * 1024;

/// Why a run ends before its script does (RFC 5228 2.10.6).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// For the user.
    what: String,
    /// Of the command, as soon as that is known.
    line: Option<u32>,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), line: None }
    }

    /// In that line, unless it is known to be in one further inside.
    pub(super) fn in_line(self, line: u32) -> Self {
        Self { line: self.line.or(Some(line)), ..self }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

#[derive(Debug)]
pub(super) struct Work {
    left: u64,
}

impl Work {
    pub(super) fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        match self.left.checked_sub(steps as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault::new("the script takes too much work for this mail")),
        }
    }
}
