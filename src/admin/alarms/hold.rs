//! How long something must be wrong to be an alarm, and well to be none. Pure; times are of this process's own clock.
//!
//! What is wrong for [`RAISE_AFTER_MS`] is raised, what is well for [`CLEAR_AFTER_MS`] is cleared; one that comes again
//! soon must be well for twice as long, up to [`CLEAR_AFTER_MS_MAX`]: so that what flaps costs some entries and mails an hour, not
//! one each time.

use std::collections::BTreeMap;

use super::Mail;
use crate::state::alarms::{Alarm, AlarmId};

/// Longer than any fail-over or restart takes.
pub const RAISE_AFTER_MS: u64 = 10_000;
pub const CLEAR_AFTER_MS: u64 = 20_000;
pub const CLEAR_AFTER_MS_MAX: u64 = 3_600_000;
/// One that comes again within this flaps.
const AGAIN_WITHIN_MS: u64 = 2 * CLEAR_AFTER_MS_MAX;
/// What came to nothing is tried again after so long.
const TRY_AGAIN_MS: u64 = 15_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// With its note. Of one that is raised already: for the mail that it lacks.
    Raise(AlarmId, String),
    Clear(AlarmId),
}

impl Step {
    pub fn id(&self) -> AlarmId {
        match self {
            Self::Raise(id, _) | Self::Clear(id) => *id,
        }
    }
}

/// What this node has seen lately of each alarm that is or was wrong.
#[derive(Debug, Default)]
pub struct Holds(BTreeMap<AlarmId, Hold>);

#[derive(Debug, Default)]
struct Hold {
    /// Since when it is as it is now: wrong or well.
    since_ms: u64,
    wrong: bool,
    /// How often it came again soon.
    flaps: u32,
    cleared_ms: Option<u64>,
    tried_ms: Option<u64>,
}

impl Holds {
    /// What is to be done at `now_ms`. What is another node's affair is forgotten, so that a node that comes to lead sees
    /// for itself for long enough.
    pub fn steps(
        &mut self,
        now_ms: u64,
        wrong: &BTreeMap<AlarmId, String>,
        raised: &BTreeMap<AlarmId, Alarm>,
        (is_mine, mail): (impl Fn(AlarmId) -> bool, Mail),
    ) -> Vec<Step> {
        self.0.retain(|id, hold| {
            is_mine(*id) && (hold.wrong || raised.contains_key(id) || hold.is_fresh(now_ms))
        });
        let ids: Vec<AlarmId> =
            wrong.keys().chain(raised.keys()).copied().filter(|id| is_mine(*id)).collect();
        for id in ids {
            let is_wrong = wrong.contains_key(&id);
            let hold = self.0.entry(id).or_insert_with(|| Hold { since_ms: now_ms, ..Hold::default() });
            if hold.wrong != is_wrong {
                (hold.wrong, hold.since_ms) = (is_wrong, now_ms);
            }
        }
        for (id, hold) in &mut self.0 {
            if hold.wrong && !wrong.contains_key(id) {
                (hold.wrong, hold.since_ms) = (false, now_ms);
            }
        }
        let due = self
            .0
            .iter_mut()
            .filter_map(|(id, hold)| hold.step(now_ms, (*id, wrong.get(id)), (raised.get(id), mail)));
        due.collect()
    }
}

impl Hold {
    fn step(
        &mut self,
        now_ms: u64,
        (id, wrong): (AlarmId, Option<&String>),
        (raised, mail): (Option<&Alarm>, Mail),
    ) -> Option<Step> {
        let lasts_ms = now_ms - self.since_ms;
        let step = match (wrong, raised) {
            (Some(note), None) if lasts_ms >= RAISE_AFTER_MS => Step::Raise(id, note.clone()),
            (Some(_), Some(alarm)) if !alarm.mailed && mail == Mail::Wanted => {
                Step::Raise(id, alarm.note.clone())
            }
            (None, Some(_)) if lasts_ms >= self.clear_after_ms() => Step::Clear(id),
            _ => return None,
        };
        if self.tried_ms.is_some_and(|tried| now_ms - tried < TRY_AGAIN_MS) {
            return None;
        }
        self.tried_ms = Some(now_ms);
        match &step {
            Step::Clear(_) => self.cleared_ms = Some(now_ms),
            Step::Raise(..) if raised.is_none() => {
                // Taken, so that a raise that is tried again does not count again.
                let again = self.cleared_ms.take().is_some_and(|at| now_ms - at < AGAIN_WITHIN_MS);
                self.flaps = if again { self.flaps + 1 } else { self.flaps };
            }
            Step::Raise(..) => {}
        }
        Some(step)
    }

    fn clear_after_ms(&self) -> u64 {
        CLEAR_AFTER_MS.saturating_mul(1 << self.flaps.min(20)).min(CLEAR_AFTER_MS_MAX)
    }

    /// Whether it would flap if it came again.
    fn is_fresh(&self, now_ms: u64) -> bool {
        self.cleared_ms.is_some_and(|at| now_ms - at < AGAIN_WITHIN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::{NodeId, Timestamp};
    use crate::state::alarms::AlarmKind;

    const ID: AlarmId = AlarmId { kind: AlarmKind::Degraded, about: Some(NodeId(2)) };

    /// A node that looks every two seconds, and a cluster that does what it says.
    struct World {
        holds: Holds,
        now_ms: u64,
        raised: BTreeMap<AlarmId, Alarm>,
        mine: bool,
        mail: Mail,
    }

    impl World {
        fn new() -> Self {
            let (holds, raised) = (Holds::default(), BTreeMap::new());
            Self { holds, now_ms: 0, raised, mine: true, mail: Mail::Wanted }
        }

        fn look(&mut self, is_wrong: bool) -> Vec<Step> {
            self.now_ms += 2_000;
            let wrong = if is_wrong { BTreeMap::from([(ID, "note".to_owned())]) } else { BTreeMap::new() };
            let mine = self.mine;
            self.holds.steps(self.now_ms, &wrong, &self.raised, (|_| mine, self.mail))
        }

        fn obey(&mut self, steps: &[Step]) {
            for step in steps {
                match step {
                    Step::Raise(id, note) => {
                        let (since, by, note) = (Timestamp(0), NodeId(1), note.clone());
                        let mailed = self.mail == Mail::Wanted;
                        self.raised.insert(*id, Alarm { id: *id, since, by, note, mailed });
                    }
                    Step::Clear(id) => drop(self.raised.remove(id)),
                }
            }
        }

        /// Looks until there is something to do, and does it; after how many milliseconds.
        fn until_step(&mut self, is_wrong: bool) -> (u64, Step) {
            let began = self.now_ms;
            loop {
                let steps = self.look(is_wrong);
                self.obey(&steps);
                if let [step] = &steps[..] {
                    return (self.now_ms - began - 2_000, step.clone());
                }
                assert!(steps.is_empty() && self.now_ms - began < 10_000_000);
            }
        }
    }

    fn raise() -> Step {
        Step::Raise(ID, "note".into())
    }

    #[test]
    fn an_alarm_is_raised_and_cleared_after_its_time_and_not_before() {
        let mut world = World::new();
        for _ in 0..5 {
            assert_eq!(world.look(true), []);
        }
        assert_eq!(world.look(false), [], "well again before it was an alarm");
        assert_eq!(world.until_step(true), (RAISE_AFTER_MS, raise()));
        assert_eq!(world.look(true), []);
        assert_eq!(world.look(false), []);
        assert_eq!(world.look(true), [], "not well for long enough");
        assert_eq!(world.until_step(false), (CLEAR_AFTER_MS, Step::Clear(ID)));
        assert_eq!(world.look(false), []);
    }

    #[test]
    fn what_flaps_must_be_well_for_ever_longer() {
        let mut world = World::new();
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert_eq!(world.until_step(true).1, raise());
            waits.push(world.until_step(false).0);
        }
        assert_eq!(waits[..4], [20_000, 40_000, 80_000, 160_000]);
        assert_eq!(waits[8..], [CLEAR_AFTER_MS_MAX; 2]);
        // After a long peace it is as new.
        world.now_ms += AGAIN_WITHIN_MS;
        assert_eq!(world.look(false), []);
        world.until_step(true);
        assert_eq!(world.until_step(false).0, CLEAR_AFTER_MS);
    }

    #[test]
    fn what_came_to_nothing_is_tried_again_later() {
        let mut world = World::new();
        let mut raised_at = Vec::new();
        for _ in 0..20 {
            if world.look(true) == [raise()] {
                raised_at.push(world.now_ms);
            }
        }
        assert_eq!(raised_at, [12_000, 28_000], "a look is every two seconds");
    }

    #[test]
    fn a_mail_that_an_alarm_lacks_is_sent_once_somebody_wants_it() {
        let mut world = World::new();
        world.mail = Mail::Unwanted;
        world.until_step(true);
        for _ in 0..20 {
            assert_eq!(world.look(true), []);
        }
        world.mail = Mail::Wanted;
        assert_eq!(world.until_step(true).1, raise());
        for _ in 0..20 {
            assert_eq!(world.look(true), []);
        }
    }

    #[test]
    fn who_comes_to_lead_looks_for_himself_first() {
        let mut world = World::new();
        world.mine = false;
        for _ in 0..20 {
            assert_eq!(world.look(true), []);
        }
        world.mine = true;
        assert_eq!(world.until_step(true), (RAISE_AFTER_MS, raise()));
        // One that another raised, and that is over, is cleared by whoever leads now.
        world.holds = Holds::default();
        assert_eq!(world.until_step(false), (CLEAR_AFTER_MS, Step::Clear(ID)));
    }
}
