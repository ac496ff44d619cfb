//! How many bodies are known to be missing here, counted by passes that may run beside each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Missing(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// Being fetched by a pass.
    wanted: u64,
    /// Not to be had by passes that ended.
    left: u64,
}

/// One pass's share. What it did not fetch stays counted when it ends, however it ends.
pub(super) struct Pass<'a> {
    missing: &'a Missing,
    wanted: u64,
}

impl Missing {
    pub fn count(&self) -> u64 {
        let counts = self.counts();
        counts.wanted + counts.left
    }

    /// A pass over some of the named bodies.
    pub fn pass(&self) -> Pass<'_> {
        Pass { missing: self, wanted: 0 }
    }

    /// A pass over all of them finds anew what passes before it left. Those that run beside it keep their own.
    pub fn whole_pass(&self) -> Pass<'_> {
        self.counts().left = 0;
        self.pass()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    pub fn wants(&mut self, more: u64) {
        self.wanted += more;
        self.missing.counts().wanted += more;
    }

    /// One of those wanted.
    pub fn fetched(&mut self) {
        self.wanted -= 1;
        self.missing.counts().wanted -= 1;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut counts = self.missing.counts();
        counts.wanted -= self.wanted;
        counts.left += self.wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_pass_beside_another_takes_nothing_from_its_count() {
        let missing = Missing::default();
        let mut some = missing.pass();
        some.wants(2);
        let mut whole = missing.whole_pass();
        whole.wants(1);
        assert_eq!(missing.count(), 3);
        some.fetched();
        some.fetched();
        whole.fetched();
        drop((some, whole));
        assert_eq!(missing.count(), 0);
    }

    #[test]
    fn what_could_not_be_had_stays_counted_until_the_next_whole_pass() {
        let missing = Missing::default();
        let mut some = missing.pass();
        some.wants(3);
        some.fetched();
        drop(some);
        assert_eq!(missing.count(), 2);
        let mut whole = missing.whole_pass();
        assert_eq!(missing.count(), 0);
        whole.wants(1);
        drop(whole);
        assert_eq!(missing.count(), 1);
    }
}
