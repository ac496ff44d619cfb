//! SORT (RFC 5256 3, RFC 5957): what messages are compared by.

use std::cmp::Ordering;

use super::Facts;
use crate::state::record::MessageRecord;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortField {
    Arrival,
    Cc,
    Date,
    DisplayFrom,
    DisplayTo,
    From,
    Size,
    Subject,
    To,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Criterion {
    pub field: SortField,
    pub reverse: bool,
}

/// A value to compare by. Those of one criterion are all of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Number(i64),
    Text(Box<str>),
}

/// A message with its keys, one for each criterion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sortable<T> {
    pub keys: Box<[Key]>,
    /// What stands for the message; at last messages are in its order (their numbers).
    pub message: T,
}

impl SortField {
    /// True when the record does not tell.
    pub fn needs_facts(self) -> bool {
        !matches!(self, Self::Arrival | Self::Size)
    }
}

impl Key {
    fn of(field: SortField, record: &MessageRecord, facts: &Facts) -> Self {
        let text = |text: &str| Self::Text(text.into());
        match field {
            SortField::Arrival => Self::Number(record.internal_date.unix_seconds),
            SortField::Size => Self::Number(i64::from(record.size)),
            // RFC 5256 2.2: without a date of its own, a message was sent when it came.
            SortField::Date => Self::Number(facts.sent.unwrap_or(record.internal_date.unix_seconds)),
            SortField::Cc => text(&facts.cc),
            SortField::From => text(&facts.from),
            SortField::To => text(&facts.to),
            SortField::Subject => text(&facts.subject),
            SortField::DisplayFrom => text(&facts.display_from),
            SortField::DisplayTo => text(&facts.display_to),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Number(_) => 0,
                Self::Text(text) => text.len(),
            }
    }
}

impl<T> Sortable<T> {
    pub fn new(criteria: &[Criterion], message: T, record: &MessageRecord, facts: &Facts) -> Self {
        let keys = criteria.iter().map(|criterion| Key::of(criterion.field, record, facts)).collect();
        Self { keys, message }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.keys.iter().map(Key::bytes).sum::<usize>()
    }
}

/// By the criteria, then by message.
pub fn compare<T: Ord>(criteria: &[Criterion], one: &Sortable<T>, other: &Sortable<T>) -> Ordering {
    for (at, criterion) in criteria.iter().enumerate() {
        let ordering = one.keys[at].cmp(&other.keys[at]);
        let ordering = if criterion.reverse { ordering.reverse() } else { ordering };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    one.message.cmp(&other.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_count_in_their_order() {
        let sortable = |subject: &str, size: i64, message: u32| Sortable {
            keys: [Key::Text(subject.into()), Key::Number(size)].into(),
            message,
        };
        let mut messages =
            [sortable("B", 1, 1), sortable("A", 1, 2), sortable("A", 2, 3), sortable("A", 2, 4)];
        let criterion = |field, reverse| Criterion { field, reverse };
        let order = |messages: &mut [Sortable<u32>], criteria: &[Criterion]| {
            messages.sort_by(|one, other| compare(criteria, one, other));
            messages.iter().map(|sortable| sortable.message).collect::<Vec<_>>()
        };
        let both = [criterion(SortField::Subject, false), criterion(SortField::Size, true)];
        assert_eq!(order(&mut messages, &both), [3, 4, 2, 1]);
        let reversed = [criterion(SortField::Subject, true), criterion(SortField::Size, false)];
        assert_eq!(order(&mut messages, &reversed), [1, 2, 3, 4]);
    }
}
