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

/// Ranges as the client gave them: in any order, either end first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SequenceSet(pub Vec<(SetNumber, SetNumber)>);

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
        Some(Self(ranges))
    }

    /// Ascending inclusive ranges that do not touch, `*` being `last` (the largest number in use; 0 for none, when `*` names nothing).
    pub fn resolve(&self, last: u32) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> =
            self.0.iter().filter_map(|range| resolve_range(*range, last)).collect();
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
        self.0
            .iter()
            .filter_map(|range| resolve_range(*range, last))
            .any(|(low, high)| low <= number && number <= high)
    }
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
