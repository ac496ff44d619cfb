//! Keys for signing.

use super::*;
use crate::state::directory::Directory;
use crate::state::dkim::{DkimAlgorithm, KEYS_MAX, NewDkimKey, PRIVATE_BYTES_MAX, SIGNING_MAX};
use crate::state::secret::Secret;

fn new(domain: &str, selector: &str) -> NewDkimKey {
    NewDkimKey {
        domain: domain.to_owned(),
        selector: selector.to_owned(),
        algorithm: DkimAlgorithm::Ed25519Sha256,
        private: Secret("pem".to_owned()),
        signs: false,
    }
}

fn add(world: &mut World, key: NewDkimKey) -> Outcome {
    world.outcome(Command::AddDkimKey(Box::new(key)))
}

fn put_to_use(world: &mut World, selector: &str, signs: bool) -> Outcome {
    let (domain, selector) = ("a.test".to_owned(), selector.to_owned());
    world.outcome(Command::UseDkimKey { domain, selector, signs })
}

/// Domain, selector and whether it signs.
fn keys(world: &World) -> Vec<(String, String, bool)> {
    let directory = Directory::load(&world.rows).unwrap();
    let all = directory.dkim.all().iter();
    all.map(|key| (key.domain.clone(), key.selector.clone(), key.signs)).collect()
}

fn world() -> World {
    let mut world = World::new();
    for name in ["a.test", "b.test"] {
        world.outcome(Command::AddDomain { name: name.to_owned() });
    }
    world
}

#[test]
fn keys_come_sign_rest_and_go_and_go_with_their_domain() {
    let mut world = world();
    assert_eq!(add(&mut world, new(".A.Test", "S1")), Outcome::Done);
    assert_eq!(add(&mut world, new("a.test", "s2.mail")), Outcome::Done);
    assert_eq!(add(&mut world, NewDkimKey { signs: true, ..new("b.test", "s1") }), Outcome::Done);
    assert!(matches!(add(&mut world, new("a.test", "s1")), Outcome::Refused(Refusal::Exists(_))));
    assert_eq!(put_to_use(&mut world, "s1", true), Outcome::Done);
    let shown = |all: &[(&str, &str, bool)]| -> Vec<(String, String, bool)> {
        all.iter()
            .map(|(domain, selector, signs)| (domain.to_string(), selector.to_string(), *signs))
            .collect()
    };
    assert_eq!(
        keys(&world),
        shown(&[("a.test", "s1", true), ("a.test", "s2.mail", false), ("b.test", "s1", true)])
    );
    assert_eq!(put_to_use(&mut world, "s1", false), Outcome::Done);
    let gone = Command::RemoveDkimKey { domain: "a.test".to_owned(), selector: "s2.mail".to_owned() };
    assert_eq!(world.outcome(gone.clone()), Outcome::Done);
    assert!(matches!(world.outcome(gone), Outcome::Refused(Refusal::NotFound(_))));
    assert!(matches!(put_to_use(&mut world, "s3", true), Outcome::Refused(Refusal::NotFound(_))));
    assert_eq!(keys(&world), shown(&[("a.test", "s1", false), ("b.test", "s1", true)]));
    world.outcome(Command::RemoveDomain { name: "b.test".to_owned() });
    assert_eq!(keys(&world), shown(&[("a.test", "s1", false)]));
}

#[test]
fn names_and_lengths_have_bounds() {
    let mut world = world();
    let private = |bytes: usize| Secret("x".repeat(bytes));
    for (key, taken) in [
        (new("c.test", "s"), false),
        (new("a.test", ""), false),
        (new("a.test", "-s"), false),
        (new("a.test", "s s"), false),
        (new("a.test", &"s".repeat(63)), true),
        (new("a.test", &format!("{}.{}", "s".repeat(31), "t".repeat(32))), false),
        (NewDkimKey { private: private(0), ..new("a.test", "p") }, false),
        (
            NewDkimKey { private: private(Secret::sealed_bytes(PRIVATE_BYTES_MAX)), ..new("a.test", "p") },
            true,
        ),
        (
            NewDkimKey {
                private: private(Secret::sealed_bytes(PRIVATE_BYTES_MAX) + 1),
                ..new("a.test", "q")
            },
            false,
        ),
    ] {
        assert_eq!(add(&mut world, key.clone()) == Outcome::Done, taken, "{key:?}");
    }
}

#[test]
fn some_keys_of_a_domain_sign_and_no_more_and_there_is_a_bound_for_all() {
    let mut world = world();
    for at in 0..SIGNING_MAX {
        let key = NewDkimKey { signs: true, ..new("a.test", &format!("s{at}")) };
        assert_eq!(add(&mut world, key), Outcome::Done);
    }
    let further = NewDkimKey { signs: true, ..new("a.test", "more") };
    assert!(matches!(add(&mut world, further), Outcome::Refused(Refusal::Limit(_))));
    assert_eq!(add(&mut world, new("a.test", "more")), Outcome::Done);
    assert!(matches!(put_to_use(&mut world, "more", true), Outcome::Refused(Refusal::Limit(_))));
    assert_eq!(put_to_use(&mut world, "s0", true), Outcome::Done, "it does already");
    assert_eq!(put_to_use(&mut world, "s0", false), Outcome::Done);
    assert_eq!(put_to_use(&mut world, "more", true), Outcome::Done);
    for at in SIGNING_MAX + 1..KEYS_MAX {
        assert_eq!(add(&mut world, new("b.test", &format!("t{at}"))), Outcome::Done);
    }
    assert!(matches!(add(&mut world, new("b.test", "last")), Outcome::Refused(Refusal::Limit(_))));
}
