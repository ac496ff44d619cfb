//! The only clock and dice of the product. Everything that needs time or chance is handed a
//! [`Clock`], so that tests can hand a virtual one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::RngCore;

use crate::mail::ids::{CommandId, Timestamp};

/// A source of wall-clock time and random numbers. Cheap to clone.
#[derive(Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Clone)]
enum Source {
    System,
    Virtual(Arc<VirtualClock>),
}

/// A clock that stands still until told otherwise, with a seeded sequence for dice.
struct VirtualClock {
    now_ms: AtomicU64,
    draws: AtomicU64,
}

impl Clock {
    /// The machine's own clock and the operating system's randomness.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A clock that starts at `now` and moves only by [`Clock::advance_ms`]; its dice are a fixed sequence.
    pub fn fixed(now: Timestamp) -> Self {
        let clock = VirtualClock { now_ms: AtomicU64::new(now.0), draws: AtomicU64::new(0) };
        Self { source: Source::Virtual(Arc::new(clock)) }
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(since.as_millis() as u64)
            }
            Source::Virtual(clock) => Timestamp(clock.now_ms.load(Ordering::Relaxed)),
        }
    }

    /// Moves a virtual clock forward. Does nothing to the system clock.
    pub fn advance_ms(&self, ms: u64) {
        if let Source::Virtual(clock) = &self.source {
            clock.now_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }

    /// Fills `buffer` with random bytes (from the operating system, or the fixed sequence).
    pub fn fill(&self, buffer: &mut [u8]) {
        match &self.source {
            Source::System => rand::rng().fill_bytes(buffer),
            Source::Virtual(clock) => {
                for chunk in buffer.chunks_mut(32) {
                    let draw = clock.draws.fetch_add(1, Ordering::Relaxed);
                    let hash = blake3::hash(&draw.to_le_bytes());
                    chunk.copy_from_slice(&hash.as_bytes()[..chunk.len()]);
                }
            }
        }
    }

    /// A fresh idempotency id for one command.
    pub fn command_id(&self) -> CommandId {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        CommandId(u128::from_le_bytes(bytes))
    }
}
