//! Which bodies are too young to be forgotten. Pure: time is an argument.
//!
//! A body is placed before the command that names it is applied, so for a while nothing names it. Whoever
//! drops unnamed bodies could drop one that a proposal in flight is about to name. Hence: a body placed,
//! or placed again, within the grace period is not forgotten. Age comes from its position, since
//! segments only grow: marks remember how far they had grown when. Only a body placed *again* needs a pin.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::index::{Location, Mark};
use crate::mail::ids::BodyId;

/// Bodies placed again that are remembered; at the bound they are written again instead.
const PINS_MAX: usize = 1 << 16;
/// Marks within a grace period.
const MARKS: u32 = 16;

pub struct Grace {
    period: Duration,
    /// What was written before this is old.
    old: Mark,
    marks: VecDeque<(Instant, Mark)>,
    pins: HashMap<BodyId, Instant>,
}

impl Grace {
    /// `old`: what was written before it is old from the start.
    pub fn new(period: Duration, old: Mark) -> Self {
        Self { period, old, marks: VecDeque::new(), pins: HashMap::new() }
    }

    /// The segments have grown to `mark`.
    pub fn advance(&mut self, mark: Mark, now: Instant) {
        let due = |(at, _): &(Instant, Mark)| now.duration_since(*at) * MARKS >= self.period;
        if self.marks.back().is_none_or(due) {
            self.marks.push_back((now, mark));
        }
        while let Some((at, mark)) = self.marks.front()
            && now.duration_since(*at) >= self.period
        {
            self.old = *mark;
            self.marks.pop_front();
        }
    }

    /// Begins the grace of a body that is there already anew. False: no more pins fit.
    pub fn pin(&mut self, id: BodyId, now: Instant) -> bool {
        if self.pins.len() >= PINS_MAX && !self.pins.contains_key(&id) {
            let period = self.period;
            self.pins.retain(|_, at| now.duration_since(*at) < period);
        }
        let fits = self.pins.len() < PINS_MAX || self.pins.contains_key(&id);
        if fits {
            self.pins.insert(id, now);
        }
        fits
    }

    pub fn is_young(&self, id: &BodyId, at: &Location, now: Instant) -> bool {
        let pinned = self.pins.get(id).is_some_and(|pinned| now.duration_since(*pinned) < self.period);
        pinned || self.old.is_before(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(160);

    fn at(offset: u64) -> Location {
        Location { segment: 1, offset, length: 0 }
    }

    fn mark(active_bytes: u64) -> Mark {
        Mark { active: 1, active_bytes, next_segment: 2 }
    }

    #[test]
    fn a_body_is_young_for_the_period_and_at_most_a_sixteenth_more() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut grace = Grace::new(PERIOD, mark(0));
        let id = BodyId::of(b"");
        // Written at 5 s, between the marks of 0 s and 10 s.
        grace.advance(mark(100), after(0));
        grace.advance(mark(200), after(5));
        grace.advance(mark(200), after(10));
        for (seconds, young) in [(159, true), (160, true), (169, true), (170, false)] {
            grace.advance(mark(900), after(seconds));
            assert_eq!(grace.is_young(&id, &at(150), after(seconds)), young, "at {seconds} s");
        }
        assert!(grace.is_young(&id, &at(250), after(170)), "written later");
        assert!(grace.is_young(&id, &Location { segment: 2, ..at(0) }, after(170)), "a later segment");
    }

    #[test]
    fn a_pin_begins_the_grace_anew_and_pins_are_bounded() {
        let now = Instant::now();
        let mut grace = Grace::new(PERIOD, mark(1_000));
        let id = |number: usize| BodyId::of(&number.to_le_bytes());
        assert!(!grace.is_young(&id(0), &at(0), now));
        for number in 0..PINS_MAX {
            assert!(grace.pin(id(number), now));
        }
        assert!(grace.is_young(&id(0), &at(0), now + PERIOD - Duration::from_nanos(1)));
        assert!(!grace.is_young(&id(0), &at(0), now + PERIOD));
        assert!(!grace.pin(id(PINS_MAX), now));
        assert!(grace.pin(id(7), now), "renewed");
        assert!(grace.pin(id(PINS_MAX), now + PERIOD), "expired ones make room");
    }
}
