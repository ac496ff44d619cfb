//! How often rules of the lists were met: on this node, since it started. In memory alone: a commit for each mail would
//! cost more than the number is worth.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::mail::ids::Timestamp;
use crate::state::lists::{Lists, RULES_MAX, Rule};

/// A rule that is made anew under its name is another one.
type Key = (String, Timestamp);

#[derive(Debug, Default)]
pub struct Hits(Mutex<BTreeMap<Key, u64>>);

impl Hits {
    /// At [`RULES_MAX`], those that are no longer in `lists` are forgotten.
    pub fn count(&self, rule: &Rule, lists: &Lists) {
        let mut hits = self.lock();
        if hits.len() >= RULES_MAX as usize && !hits.contains_key(&key(rule)) {
            let rules = lists.rules().iter().map(key);
            let kept: BTreeMap<Key, u64> = rules.filter_map(|key| hits.remove_entry(&key)).collect();
            *hits = kept;
        }
        *hits.entry(key(rule)).or_default() += 1;
    }

    pub fn of(&self, rule: &Rule) -> u64 {
        self.lock().get(&key(rule)).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, u64>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

fn key(rule: &Rule) -> Key {
    (rule.name.clone(), rule.created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::lists::{RuleAction, RuleKind};

    fn rule(name: &str, created: u64) -> Rule {
        Rule {
            name: name.to_owned(),
            order: created,
            kind: RuleKind::Ip,
            pattern: "192.0.2.1".to_owned(),
            action: RuleAction::Allow,
            created: Timestamp(created),
        }
    }

    #[test]
    fn a_rule_made_anew_begins_at_nothing_and_what_is_gone_is_forgotten_at_the_bound() {
        let (hits, one) = (Hits::default(), rule("one", 1));
        let lists = Lists::new(vec![one.clone()]);
        hits.count(&one, &lists);
        hits.count(&one, &lists);
        assert_eq!((hits.of(&one), hits.of(&rule("one", 2)), hits.of(&rule("other", 1))), (2, 0, 0));
        for at in 1..u64::from(RULES_MAX) {
            hits.count(&rule("gone", at), &lists);
        }
        assert_eq!(hits.lock().len(), RULES_MAX as usize);
        hits.count(&rule("new", 1), &lists);
        let left = hits.lock().len();
        assert_eq!((left, hits.of(&one), hits.of(&rule("new", 1))), (2, 2, 1));
    }
}
