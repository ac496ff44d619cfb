//! The only clock and dice of the product. Everything that needs time or chance is handed a
//! [`Clock`], so that tests can hand a virtual one.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng, TryRng};
use serde::{Deserialize, Serialize};

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
    seed: u64,
    draws: AtomicU64,
}

impl Clock {
    /// The machine's own clock and the operating system's randomness.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A clock that starts at `now` and moves only by [`Clock::advance_ms`]; its dice are a fixed sequence.
    pub fn fixed(now: Timestamp) -> Self {
        Self::seeded(now, 0)
    }

    /// The same, with a sequence of its own for each `seed`.
    pub fn seeded(now: Timestamp, seed: u64) -> Self {
        let clock = VirtualClock { now_ms: AtomicU64::new(now.0), seed, draws: AtomicU64::new(0) };
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
                    let place = [clock.seed.to_le_bytes(), draw.to_le_bytes()].concat();
                    let hash = blake3::hash(&place);
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

/// A moment by the clock that all processes of this machine share, that nobody sets, and that goes on while the machine
/// sleeps (CLOCK_BOOTTIME): nanoseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootTime(u64);

impl BootTime {
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("each Linux since 2.6.39 has this clock");
        Self(Duration::from(now).as_nanos() as u64)
    }

    /// The same moment as `instant`, or one before it, however long this process is paused in between; `None`: it has
    /// passed.
    pub fn not_after(instant: Instant) -> Option<Self> {
        // In this order: a pause between the two makes the moment an earlier one.
        let now = Self::now();
        let left = instant.checked_duration_since(Instant::now())?;
        Some(now.plus(left))
    }

    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time.as_nanos() as u64))
    }

    /// Zero if it is the earlier one.
    pub fn since(self, earlier: BootTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn since_boot(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

thread_local! {
    /// `None`: the operating system's randomness.
    static FIXED_DICE: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// Dice for libraries that roll without being handed a clock (the election time-outs of Raft).
#[derive(Debug, Clone, Copy)]
pub struct ThreadDice(());

/// This thread's dice: the operating system's randomness, unless they were fixed.
pub fn thread_dice() -> ThreadDice {
    ThreadDice(())
}

/// From now on the dice of this thread fall as `seed` says; `None`: by chance again.
pub fn fix_thread_dice(seed: Option<u64>) {
    FIXED_DICE.set(seed.map(SmallRng::seed_from_u64));
}

impl ThreadDice {
    fn roll<T>(self, roll: impl FnOnce(&mut dyn Rng) -> T) -> T {
        FIXED_DICE.with_borrow_mut(|dice| match dice {
            Some(dice) => roll(dice),
            None => roll(&mut rand::rng()),
        })
    }
}

impl TryRng for ThreadDice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.roll(|dice| dice.next_u32()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.roll(|dice| dice.next_u64()))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        self.roll(|dice| dice.fill_bytes(buffer));
        Ok(())
    }
}
