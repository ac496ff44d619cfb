//! Policies of other domains.

use super::*;
use crate::state::stored::StsTallyRow;
use crate::state::sts::{
    self, AGE_SECONDS_MAX, ID_BYTES_MAX, KeepStsPolicy, PATTERNS_BYTES_MAX, PATTERNS_MAX, POLICIES_MAX,
    StsMode, StsPolicy,
};
use crate::state::{codec, keys};

fn policy(id: &str, (fetched, until): (u64, u64)) -> StsPolicy {
    let (fetched, until) = (Timestamp(fetched), Timestamp(until));
    StsPolicy { id: id.to_owned(), mode: StsMode::Enforce, mx: vec!["mx.a.test".to_owned()], fetched, until }
}

fn keep(domain: &str, policy: StsPolicy) -> Command {
    Command::KeepStsPolicy(Box::new(KeepStsPolicy { domain: domain.to_owned(), policy }))
}

fn kept(world: &World, domain: &str) -> Option<String> {
    sts::kept(&world.rows, domain).unwrap().map(|policy| policy.id)
}

#[test]
fn the_policy_that_was_fetched_last_is_kept_and_one_that_is_over_goes() {
    let mut world = World::new();
    let now = world.at.0;
    world.done(keep("A.Test", policy("1", (now, now + 100))));
    world.done(keep("b.test", policy("b", (now, now + 1_000_000))));
    world.done(keep("a.test", policy("2", (now + 10, now + 200))));
    world.done(keep("a.test", policy("0", (now + 5, now + 300))));
    assert_eq!(kept(&world, "a.test").as_deref(), Some("2"));
    let tally =
        |world: &World| reading::get::<StsTallyRow>(&world.rows, &keys::sts_tally()).unwrap().unwrap();
    assert_eq!(tally(&world).policies, 2);
    world.at.0 += 500;
    world.done(keep("c.test", policy("c", (now, now + 1_000_000))));
    assert_eq!((kept(&world, "a.test"), tally(&world).policies), (None, 2));
    assert_eq!(kept(&world, "b.test").as_deref(), Some("b"));
}

#[test]
fn all_that_is_kept_is_read_in_portions() {
    let mut world = World::new();
    let now = world.at.0;
    for domain in ["a.test", "b.a.test", "a.test.a"] {
        world.done(keep(domain, policy("1", (now, now + 100))));
    }
    let portion = |after: Option<&str>, count_max| -> Vec<String> {
        sts::all_kept(&world.rows, after, count_max).unwrap().into_iter().map(|(domain, _)| domain).collect()
    };
    let all = ["a.test", "a.test.a", "b.a.test"];
    assert_eq!(portion(None, 3), all);
    assert_eq!(portion(None, 2), all[..2]);
    assert_eq!(portion(Some("a.test.a"), 2), all[2..]);
    assert_eq!(portion(Some("a.test"), 9), all[1..]);
    assert_eq!((portion(Some("b.a.test"), 9), portion(Some("z"), 9)), (vec![], vec![]));
}

#[test]
fn lengths_and_times_have_bounds() {
    let year = AGE_SECONDS_MAX * 1_000;
    let with = |mx: Vec<String>| StsPolicy { mx, ..policy("1", (0, 1)) };
    for (policy, taken) in [
        (policy(&"a".repeat(ID_BYTES_MAX), (0, year)), true),
        (policy(&"a".repeat(ID_BYTES_MAX + 1), (0, year)), false),
        (policy("", (0, 1)), false),
        (policy("a b", (0, 1)), false),
        (policy("1", (0, year + 1)), false),
        (with(vec!["m".to_owned(); PATTERNS_MAX]), true),
        (with(vec!["m".to_owned(); PATTERNS_MAX + 1]), false),
        (with(vec!["m".repeat(PATTERNS_BYTES_MAX)]), true),
        (with(vec!["m".repeat(PATTERNS_BYTES_MAX + 1)]), false),
    ] {
        let outcome = World::new().outcome(keep("a.test", policy.clone()));
        assert_eq!(outcome == Outcome::Done, taken, "{policy:?}: {outcome:?}");
    }
}

#[test]
fn there_are_so_many_and_one_that_holds_is_not_forgotten_for_another() {
    let mut world = World::new();
    let now = world.at.0;
    world.done(keep("a.test", policy("a", (now, now + 100))));
    // As if there were so many.
    let tally = StsTallyRow { policies: POLICIES_MAX };
    world.rows.0.insert(keys::sts_tally(), codec::encode(&tally).unwrap());
    assert!(matches!(world.refusal(keep("b.test", policy("b", (now, now + 100)))), Refusal::Limit(_)));
    world.done(keep("a.test", policy("2", (now, now + 200))));
    assert_eq!(kept(&world, "a.test").as_deref(), Some("2"));
    world.at.0 += 300;
    world.done(keep("b.test", policy("b", (now, now + 1_000))));
    assert_eq!(kept(&world, "a.test"), None);
    for table in [keys::STS_END, keys::STS_POLICY] {
        assert_eq!(world.rows.0.keys().filter(|key| key[0] == table).count(), 1);
    }
}
