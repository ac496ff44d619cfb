//! Messages that a command goes through in portions, each of which one command of the state takes.

use crate::session::imap::core::Progress;
use crate::state::command::UidSet;

#[derive(Debug, Default)]
pub struct Portions {
    /// The last first.
    left: Vec<UidSet>,
    /// Messages of the portion under way.
    under_way: u64,
    /// Messages of all portions.
    messages: u64,
}

impl Portions {
    /// Of messages that are there, ascending.
    pub fn of(mut left: Vec<UidSet>) -> Self {
        let messages = left.iter().map(UidSet::len).sum();
        left.reverse();
        Self { left, under_way: 0, messages }
    }

    /// The next, which is then under way.
    pub fn next(&mut self) -> Option<UidSet> {
        let next = self.left.pop();
        self.under_way = next.as_ref().map_or(0, UidSet::len);
        next
    }

    /// Nothing is left but what is under way.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub fn progress(&self) -> Progress {
        let to_do = self.left.iter().map(UidSet::len).sum::<u64>() + self.under_way;
        let count = |messages: u64| usize::try_from(messages).unwrap_or(usize::MAX);
        Progress { done: count(self.messages - to_do), goal: count(self.messages) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::Uid;

    #[test]
    fn what_is_done_is_what_is_answered_for() {
        let portion = |uids: std::ops::Range<u32>| UidSet::from_ascending(uids.map(Uid));
        let mut portions = Portions::of(vec![portion(1..4), portion(7..9)]);
        let mut seen = Vec::new();
        while let Some(uids) = portions.next() {
            seen.push((uids.len(), portions.progress().done, portions.is_empty()));
        }
        assert_eq!(seen, [(3, 0, false), (2, 3, true)]);
        assert_eq!(portions.progress(), Progress { done: 5, goal: 5 });
    }
}
