//! When the write and sync that runs now began, so that a watchdog can see a disk that hangs; and how long each one took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::meters::Times;

/// Written by the thread that writes, read by anybody.
#[derive(Debug)]
pub struct SyncWatch {
    base: Instant,
    /// Microseconds since `base` plus one; 0: no sync runs.
    began: AtomicU64,
    took: &'static Times,
}

impl SyncWatch {
    /// Each sync's time is noted in `took`.
    pub fn new(took: &'static Times) -> Self {
        Self { base: Instant::now(), began: AtomicU64::new(0), took }
    }

    /// A sync runs until the guard is dropped.
    pub fn begin(&self) -> Running<'_> {
        let began = self.base.elapsed().as_micros() as u64 + 1;
        self.began.store(began, Ordering::Relaxed);
        Running(self)
    }

    pub fn running_for(&self) -> Option<Duration> {
        let began = self.began.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.base.elapsed().saturating_sub(Duration::from_micros(began)))
    }
}

pub struct Running<'a>(&'a SyncWatch);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(took) = self.0.running_for() {
            self.0.took.note(took);
        }
        self.0.began.store(0, Ordering::Relaxed);
    }
}
