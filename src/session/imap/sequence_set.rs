//! Sequence sets (RFC 9051 9, `sequence-set`): message numbers or UIDs, `*` for the last.

/// Ranges of one set: what a command line may hold and more.
pub const RANGES_MAX: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetNumber {
    /// Never 0.
    Number(u32),
    /// `*`: the largest number in use.
    Last,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SequenceSet {
    /// As the client gave them: in any order, either end first.
    Ranges(Vec<(SetNumber, SetNumber)>),
    /// `$`: what the last SEARCH saved (RFC 5182). Only the session knows what that is.
    Saved,
}

impl SequenceSet {
    /// Parses `1,3:5,*`. `None` when malformed, or beyond [`RANGES_MAX`].
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut ranges = Vec::new();
        for range in text.split(|byte| *byte == b',') {
            if ranges.len() == RANGES_MAX {
                return None;
            }
            let mut ends = range.splitn(2, |byte| *byte == b':');
            let first = SetNumber::parse(ends.next()?)?;
            let last = ends.next().map_or(Some(first), SetNumber::parse)?;
            ranges.push((first, last));
        }
        Some(Self::Ranges(ranges))
    }

    fn ranges(&self) -> &[(SetNumber, SetNumber)] {
        match self {
            Self::Ranges(ranges) => ranges,
            Self::Saved => &[],
        }
    }

    /// True where the set depends on the mailbox or the session: `*`, `$`.
    pub fn names_last_or_saved(&self) -> bool {
        let last =
            |(one, other): &(SetNumber, SetNumber)| *one == SetNumber::Last || *other == SetNumber::Last;
        *self == Self::Saved || self.ranges().iter().any(last)
    }

    /// These numbers, which ascend.
    pub fn of_ascending(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        let number = SetNumber::Number;
        Self::Ranges(runs.into_iter().map(|(first, last)| (number(first), number(last))).collect())
    }

    /// The numbers from `low` to `high`.
    pub fn between(low: u32, high: u32) -> Self {
        Self::Ranges(vec![(SetNumber::Number(low), SetNumber::Number(high))])
    }

    /// Ascending inclusive ranges that do not touch, `*` being `last` (the largest number in use; 0 for none, when `*` names nothing).
    pub fn resolve(&self, last: u32) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> =
            self.ranges().iter().filter_map(|range| resolve_range(*range, last)).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some((_, end)) if low <= end.saturating_add(1) => *end = high.max(*end),
                _ => merged.push((low, high)),
            }
        }
        merged
    }

    pub fn contains(&self, number: u32, last: u32) -> bool {
        self.ranges()
            .iter()
            .filter_map(|range| resolve_range(*range, last))
            .any(|(low, high)| low <= number && number <= high)
    }
}

/// Whether resolved ranges hold `number`.
pub fn covers(ranges: &[(u32, u32)], number: u32) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= number);
    after > 0 && number <= ranges[after - 1].1
}

fn resolve_range((one, other): (SetNumber, SetNumber), last: u32) -> Option<(u32, u32)> {
    let (one, other) = (one.resolve(last)?, other.resolve(last)?);
    Some((one.min(other), one.max(other)))
}

impl SetNumber {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"*" => Some(Self::Last),
            [b'1'..=b'9', rest @ ..] if rest.len() < 10 && rest.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(text).ok()?.parse().ok().map(Self::Number)
            }
            _ => None,
        }
    }

    fn resolve(self, last: u32) -> Option<u32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Last => (last > 0).then_some(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_are_parsed() {
        for wrong in ["", ",", "1,", "0", "1:", ":1", "1:2:3", "01", "4294967296", "a", "1 ", "-1", "**"] {
            assert_eq!(SequenceSet::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let resolve = |text: &str, last| SequenceSet::parse(text.as_bytes()).unwrap().resolve(last);
        assert_eq!(resolve("5:2,7,1,*", 9), [(1, 5), (7, 7), (9, 9)]);
        assert_eq!(resolve("*:3", 5), [(3, 5)]);
        assert_eq!(resolve("8:*", 5), [(5, 8)]);
        assert_eq!(resolve("*", 0), []);
        assert_eq!(resolve("1:4294967295,4294967295", 0), [(1, u32::MAX)]);
    }

    #[test]
    fn sets_are_bounded() {
        let ranges = |count| vec!["1"; count].join(",");
        assert!(SequenceSet::parse(ranges(RANGES_MAX).as_bytes()).is_some());
        assert!(SequenceSet::parse(ranges(RANGES_MAX + 1).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn resolved_ranges_hold_what_the_set_holds(text in "([1-9]|\\*)(:([1-9]|\\*))?(,([1-9]|\\*)(:([1-9]|\\*))?){0,5}", last in 0u32..12) {
            let set = SequenceSet::parse(text.as_bytes()).unwrap();
            let ranges = set.resolve(last);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            for number in 0..12 {
                prop_assert_eq!(set.contains(number, last), covers(&ranges, number));
            }
        }
    }
}
