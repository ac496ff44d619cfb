//! How far a backup or a restore has come, for whoever waits for it.

use tokio::sync::watch;

/// What is done just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Beginning,
    Rows,
    Bodies,
    Ending,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Phase::Beginning => "beginning",
            Phase::Rows => "rows",
            Phase::Bodies => "messages",
            Phase::Ending => "ending",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    pub phase: Phase,
    pub rows: u64,
    pub bodies: u64,
    /// Of how many.
    pub bodies_wanted: u64,
    pub bytes: u64,
}

/// Told by whoever works, looked at by whoever waits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Progress(watch::Sender<Step>);

impl Progress {
    pub fn step(&self) -> Step {
        *self.0.borrow()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_modify(|step| step.phase = phase);
    }

    pub(super) fn rows(&self, more: usize) {
        self.0.send_modify(|step| step.rows += more as u64);
    }

    pub(super) fn wants(&self, bodies: u64) {
        self.0.send_modify(|step| step.bodies_wanted = bodies);
    }

    pub(super) fn body(&self, bytes: u64) {
        self.0.send_modify(|step| {
            step.bodies += 1;
            step.bytes += bytes;
        });
    }
}
