//! How slow a client may be: pauses within a command add up, and each byte buys a little more time.
//!
//! Silence between commands is bounded elsewhere. Without this, one byte just before each time-out would hold
//! a session, and what it has begun, for ever.

use std::time::Duration;

/// Of the command under way.
#[derive(Debug, Default, Clone, Copy)]
pub struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// `bytes` came after a wait of `waited`.
    pub fn note(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.bytes += bytes as u64;
    }

    /// How long the next wait may be: `patience` for all pauses together, and what the bytes have bought.
    pub fn left(&self, patience: Duration, rate_bytes_per_second_min: u64) -> Duration {
        (patience + bought(self.bytes, rate_bytes_per_second_min)).saturating_sub(self.waited)
    }
}

/// The time that `bytes` may take beyond the patience.
pub fn bought(bytes: u64, rate_bytes_per_second_min: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1_000) / rate_bytes_per_second_min.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_at_a_time_uses_up_the_patience_and_the_least_rate_never_does() {
        let patience = Duration::from_secs(10);
        let mut trickle = Pace::default();
        let mut seconds = 0;
        while trickle.left(patience, 500) > Duration::from_secs(1) {
            trickle.note(Duration::from_secs(1), 1);
            seconds += 1;
        }
        assert_eq!(seconds, 10);
        let mut slow = Pace::default();
        for _ in 0..100_000 {
            slow.note(Duration::from_secs(1), 500);
            assert_eq!(slow.left(patience, 500), patience);
        }
    }
}
