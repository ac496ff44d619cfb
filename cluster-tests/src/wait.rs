//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long a cluster may take for anything a story waits for, on a busy two-core machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls `look` until it gives a value. Panics with `what` when [`PATIENCE`] is over.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Polls `look` until it gives a value. Panics with `what` when `patience` is over.
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(started.elapsed() < patience, "waited {patience:?} in vain: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
