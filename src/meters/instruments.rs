//! Counters, counters by a label, and times in buckets.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Only goes up.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub fn one(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// One of a few things that are told apart. Never anything that a client chooses: each is a time series for ever.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    fn at(self) -> usize;

    /// Names and values, as they are shown.
    fn pairs(self) -> &'static [(&'static str, &'static str)];
}

/// A counter for each.
#[derive(Debug)]
pub struct By<L, const N: usize> {
    counters: [Counter; N],
    label: PhantomData<L>,
}

impl<L: Label, const N: usize> By<L, N> {
    pub const fn new() -> Self {
        Self { counters: [const { Counter::new() }; N], label: PhantomData }
    }

    pub fn of(&self, label: L) -> &Counter {
        &self.counters[label.at()]
    }

    pub fn all(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::ALL.iter().map(|label| (*label, self.of(*label).get()))
    }
}

impl<L: Label, const N: usize> Default for By<L, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The upper bounds of the buckets, microseconds: from a fast disk to one that hangs.
pub const BUCKETS_MICROS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];

/// How long something took, each time.
#[derive(Debug)]
pub struct Times {
    /// The last one: beyond all bounds.
    buckets: [Counter; BUCKETS_MICROS.len() + 1],
    micros: Counter,
}

/// All times until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimesSeen {
    /// In each bucket, and not in those before it.
    pub buckets: [u64; BUCKETS_MICROS.len() + 1],
    pub micros: u64,
}

impl Times {
    pub const fn new() -> Self {
        Self { buckets: [const { Counter::new() }; BUCKETS_MICROS.len() + 1], micros: Counter::new() }
    }

    pub fn note(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        self.buckets[BUCKETS_MICROS.partition_point(|bound| *bound < micros)].one();
        self.micros.add(micros);
    }

    pub fn seen(&self) -> TimesSeen {
        let buckets = std::array::from_fn(|at| self.buckets[at].get());
        TimesSeen { buckets, micros: self.micros.get() }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

impl TimesSeen {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Of those since `before`, milliseconds; `None`: there were none.
    pub fn mean_ms_since(&self, before: &TimesSeen) -> Option<u64> {
        let count = self.count().saturating_sub(before.count());
        let micros = self.micros.saturating_sub(before.micros);
        micros.checked_div(count).map(|mean| mean / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let times = Times::new();
        for micros in [0, 250, 251, 5_000_000, 5_000_001] {
            times.note(Duration::from_micros(micros));
        }
        let seen = times.seen();
        assert_eq!((seen.buckets[0], seen.buckets[1]), (2, 1), "a bound belongs to its bucket");
        assert_eq!((seen.buckets[13], seen.buckets[14]), (1, 1));
        assert_eq!((seen.count(), seen.micros), (5, 10_000_502));
    }

    #[test]
    fn the_mean_is_of_what_came_since() {
        let times = Times::new();
        times.note(Duration::from_secs(9));
        let before = times.seen();
        assert_eq!(times.seen().mean_ms_since(&before), None);
        times.note(Duration::from_millis(10));
        times.note(Duration::from_millis(30));
        assert_eq!(times.seen().mean_ms_since(&before), Some(20));
    }
}
