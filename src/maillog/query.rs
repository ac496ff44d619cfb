//! What is asked of the log.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::event::Event;

/// Octets of one line; a longer one is not written.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Events of one answer, and octets of them all: the newest are kept.
const EVENTS_MAX: usize = 500;
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What fits one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Query {
    /// A Message-ID, with or without its angle brackets, the id of a Received field, or an address.
    #[serde(default)]
    pub about: Option<String>,
    /// Numbers in the queue.
    #[serde(default)]
    pub queued: Vec<u64>,
    /// Milliseconds since 1970: nothing older.
    #[serde(default)]
    pub since: u64,
}

/// Oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Found {
    pub events: Vec<Event>,
    /// There were older ones, which are left out.
    pub more: bool,
}

impl Query {
    pub fn fits(&self, event: &Event) -> bool {
        let by_text = || self.wanted().is_some_and(|wanted| event.what.is_about(wanted));
        let by_queue = || event.what.queued().is_some_and(|queued| self.queued.contains(&queued));
        event.at >= self.since && (by_text() || by_queue())
    }

    fn wanted(&self) -> Option<&str> {
        let about = self.about.as_deref()?.trim();
        let bare = about.strip_prefix('<').and_then(|about| about.strip_suffix('>')).unwrap_or(about);
        Some(bare).filter(|bare| !bare.is_empty())
    }

    /// Of lines of JSON: quickly passes over most that do not fit.
    pub(super) fn may_fit(&self, line: &[u8]) -> bool {
        // Quotes and control characters are written otherwise in JSON.
        let plain = self
            .wanted()
            .filter(|wanted| wanted.bytes().all(|byte| byte >= b' ' && !b"\"\\".contains(&byte)));
        if !self.queued.is_empty() || (self.wanted().is_some() && plain.is_none()) {
            return true;
        }
        plain.is_some_and(|wanted| contains_ignoring_case(line, wanted.as_bytes()))
    }
}

fn contains_ignoring_case(line: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return true };
    let mut from = 0;
    while let Some(at) = line[from..].iter().position(|byte| byte.eq_ignore_ascii_case(first)) {
        let rest = &line[from + at..];
        if rest.len() < wanted.len() {
            return false;
        }
        if rest[..wanted.len()].eq_ignore_ascii_case(wanted) {
            return true;
        }
        from += at + 1;
    }
    false
}

/// The newest events of those that come in, oldest first: as many as an answer holds.
#[derive(Debug, Default)]
pub(super) struct Newest {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    more: bool,
}

impl Newest {
    /// Later than all before, with its octets.
    pub fn push(&mut self, event: Event, bytes: usize) {
        self.bytes += bytes;
        self.events.push_back((event, bytes));
        while self.events.len() > EVENTS_MAX || self.bytes > ANSWER_BYTES_MAX {
            let Some((_, bytes)) = self.events.pop_front() else { break };
            self.bytes -= bytes;
            self.more = true;
        }
    }

    /// The newest of both.
    pub fn with(self, other: Self) -> Self {
        let mut both = Self { more: self.more || other.more, ..Self::default() };
        let mut events: Vec<_> = self.events.into_iter().chain(other.events).collect();
        // Stable: lines of one moment stay as they were written.
        events.sort_by_key(|(event, _)| event.at);
        events.into_iter().for_each(|(event, bytes)| both.push(event, bytes));
        both
    }

    pub fn found(self) -> Found {
        Found { events: self.events.into_iter().map(|(event, _)| event).collect(), more: self.more }
    }
}
