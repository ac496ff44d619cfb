//! Rules of the lists.

use super::*;
use crate::state::directory::Directory;
use crate::state::lists::{NAME_BYTES_MAX, NewRule, PATTERN_BYTES_MAX, RULES_MAX, RuleAction, RuleKind};

fn rule(name: &str, before: Option<&str>) -> NewRule {
    NewRule {
        name: name.into(),
        kind: RuleKind::Sender,
        pattern: "@a.test".into(),
        action: RuleAction::Reject,
        before: before.map(str::to_owned),
    }
}

fn add(name: &str, before: Option<&str>) -> Command {
    Command::AddRule(Box::new(rule(name, before)))
}

fn remove(name: &str) -> Command {
    Command::RemoveRule { name: name.into() }
}

fn move_to(name: &str, before: Option<&str>) -> Command {
    Command::MoveRule { name: name.into(), before: before.map(str::to_owned) }
}

fn names(world: &World) -> Vec<String> {
    let directory = Directory::load(&world.rows).unwrap();
    directory.lists.rules().iter().map(|rule| rule.name.clone()).collect()
}

#[test]
fn rules_stand_where_they_are_put() {
    let mut world = World::new();
    world.done(add("B", None));
    world.done(add("c", None));
    world.done(add("a", Some("b")));
    assert_eq!(names(&world), ["a", "b", "c"]);
    world.done(move_to("C", Some("a")));
    world.done(move_to("a", None));
    assert_eq!(names(&world), ["c", "b", "a"]);
    world.done(move_to("b", Some("B")));
    assert_eq!(names(&world), ["c", "b", "a"]);
    world.done(remove("b"));
    world.done(add("b", None));
    assert_eq!(names(&world), ["c", "a", "b"]);
    let directory = Directory::load(&world.rows).unwrap();
    let kept = &directory.lists.rules()[0];
    assert_eq!((kept.kind, kept.action), (RuleKind::Sender, RuleAction::Reject));
    assert_eq!((kept.pattern.as_str(), kept.created), ("@a.test", world.at), "by the proposer's clock");
}

#[test]
fn what_cannot_be_done_is_not_done_by_half() {
    let mut world = World::new();
    world.done(add("a", None));
    world.done(add("b", None));
    assert!(matches!(world.refusal(add("A", None)), Refusal::Exists(_)));
    assert!(matches!(world.refusal(add("c", Some("nobody"))), Refusal::NotFound(_)));
    assert!(matches!(world.refusal(remove("nobody")), Refusal::NotFound(_)));
    assert!(matches!(world.refusal(move_to("nobody", None)), Refusal::NotFound(_)));
    assert!(matches!(world.refusal(move_to("a", Some("nobody"))), Refusal::NotFound(_)));
    assert_eq!(names(&world), ["a", "b"], "it did not lose its place on the way");
}

#[test]
fn names_and_patterns_end_at_their_bounds() {
    let mut world = World::new();
    let with =
        |pattern: &str| Command::AddRule(Box::new(NewRule { pattern: pattern.into(), ..rule("p", None) }));
    assert!(matches!(world.refusal(with(&"x".repeat(PATTERN_BYTES_MAX + 1))), Refusal::Limit(_)));
    assert!(matches!(world.refusal(with("")), Refusal::Invalid(_)));
    assert!(matches!(world.refusal(with("a\nb")), Refusal::Invalid(_)));
    world.done(with(&"x".repeat(PATTERN_BYTES_MAX)));
    for bad in ["", "a b", "\0", &"x".repeat(NAME_BYTES_MAX + 1)] {
        assert!(matches!(world.refusal(add(bad, None)), Refusal::Invalid(_)), "{bad}");
    }
    world.done(add(&"x".repeat(NAME_BYTES_MAX), None));
}

#[test]
fn there_are_ten_thousand_at_most_and_room_for_another_once_one_is_gone() {
    let mut world = World::new();
    let name = |at: u32| format!("r{at:05}");
    for at in 0..RULES_MAX {
        // As `done`, which would compare all rows each time.
        assert_eq!(world.outcome(add(&name(at), None)), Outcome::Done);
    }
    assert!(matches!(world.refusal(add("more", None)), Refusal::Limit(_)));
    world.done(remove(&name(5)));
    world.done(add("more", Some(&name(0))));
    assert!(matches!(world.refusal(add("yet-more", None)), Refusal::Limit(_)));
    let names = names(&world);
    assert_eq!((names.len(), names[0].as_str(), names[6].as_str()), (RULES_MAX as usize, "more", "r00006"));
}

#[test]
fn where_no_place_is_left_between_two_all_get_new_ones_and_keep_their_order() {
    let mut world = World::new();
    world.done(add("first", None));
    world.done(add("last", None));
    // Each halves what is left.
    let added: Vec<String> = (0..70).map(|at| format!("r{at}")).collect();
    added.iter().for_each(|name| world.done(add(name, Some("last"))));
    let expected: Vec<String> = [&["first".to_owned()][..], &added, &["last".to_owned()]].concat();
    assert_eq!(names(&world), expected);
    world.done(add("behind", None));
    assert_eq!(names(&world).last().map(String::as_str), Some("behind"));
    (0..70).for_each(|at| world.done(add(&format!("s{at}"), Some("first"))));
    let names = names(&world);
    assert_eq!((names[0].as_str(), names[69].as_str(), names[70].as_str()), ("s0", "s69", "first"));
}

#[test]
fn the_same_log_gives_the_same_rules_again() {
    let build = || {
        let mut world = World::new();
        for at in 0..60 {
            let before = (at % 3 == 2).then(|| format!("r{}", at - 1));
            world.outcome(add(&format!("r{at}"), before.as_deref()));
            if at % 5 == 4 {
                world.outcome(move_to(&format!("r{}", at - 4), Some("r1")));
                world.outcome(remove(&format!("r{}", at - 2)));
            }
        }
        world
    };
    let (one, other) = (build(), build());
    assert!(one.rows == other.rows);
    assert!(names(&one).len() > 40);
}
