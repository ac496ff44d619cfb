//! Domains, users, aliases, settings.

use super::*;
use crate::state::apply::accounts::{ALIAS_TARGETS_MAX, SETTING_VALUE_BYTES_MAX};
use crate::state::directory::Directory;
use crate::state::scram_keys::{ITERATIONS_MAX, ITERATIONS_MIN, NewScramKeys, ScramKeys};
use crate::state::settings::QUOTA_DEFAULT;

fn directory(world: &World) -> Directory {
    Directory::load(&world.rows).unwrap()
}

fn alias(address: &str, targets: &[&str]) -> Command {
    let targets = targets.iter().map(|target| target.to_string()).collect();
    Command::SetAlias { address: address.into(), targets }
}

#[test]
fn the_directory_is_what_was_added() {
    let (mut world, alice) = World::with_alice();
    world.done(Command::AddDomain { name: ".Example.TEST".into() });
    assert!(matches!(world.refusal(Command::AddDomain { name: "example.test".into() }), Refusal::Exists(_)));
    world.done(alias("Info@Example.test", &["Alice", "alice", "x@Far.test"]));
    world.done(alias("info", &["bob"]));
    world.done(Command::SetQuota { name: "alice".into(), quota_bytes: Some(5) });
    world.done(Command::SetUserEnabled { name: "alice".into(), enabled: false });
    world.done(Command::SetPassword { name: "ALICE".into(), password_phc: "$new".into() });
    let found = directory(&world);
    assert_eq!(found.domains, ["example.test".to_owned()].into());
    assert_eq!(*found.aliases["info@example.test"], ["alice", "x@far.test"]);
    assert_eq!(*found.aliases["info"], ["bob"]);
    let user = &found.users["alice"];
    assert_eq!((user.account, user.quota_bytes, user.enabled), (alice, Some(5), false));
    assert_eq!(user.password_phc, "$new");
    world.done(Command::RemoveAlias { address: "info".into() });
    world.done(Command::RemoveDomain { name: "example.test".into() });
    let found = directory(&world);
    assert_eq!((found.domains.len(), found.aliases.len()), (0, 1));
}

#[test]
fn a_user_added_again_is_somebody_else() {
    let (mut world, alice) = World::with_alice();
    let again = NewUser { name: "Alice".into(), password_phc: "$x".into(), quota_bytes: None };
    assert!(matches!(world.refusal(Command::AddUser(again)), Refusal::Exists(_)));
    world.done(Command::RemoveUser { name: "alice".into() });
    let twice = world.outcome(Command::RemoveUser { name: "alice".into() });
    assert!(matches!(twice, Outcome::Refused(Refusal::NotFound(_))));
    assert_ne!(world.add_user("alice", None), alice);
}

#[test]
fn an_alias_ends_at_a_thousand_targets() {
    let mut world = World::new();
    let targets: Vec<String> = (0..=ALIAS_TARGETS_MAX).map(|n| format!("user{n}@far.test")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    assert!(matches!(world.refusal(alias("all", &targets)), Refusal::Limit(_)));
    world.done(alias("all", &targets[1..]));
    assert_eq!(*directory(&world).aliases["all"], targets[1..]);
    world.done(alias("all", &targets[..1]));
    assert_eq!(directory(&world).aliases["all"].len(), 1);
    assert!(matches!(world.refusal(alias("all", &[])), Refusal::Invalid(_)));
}

#[test]
fn settings_are_set_together_or_not_at_all() {
    let mut world = World::new();
    let set = |changes: &[(&str, Option<&str>)]| Command::SetSettings {
        changes: changes.iter().map(|(key, value)| (key.to_string(), value.map(str::to_owned))).collect(),
    };
    world.done(set(&[("a", Some("1")), ("b", Some("2"))]));
    let long = "x".repeat(SETTING_VALUE_BYTES_MAX + 1);
    for bad in [("B C", Some("1")), ("b", Some("a\nb")), ("b", Some(long.as_str()))] {
        assert!(matches!(world.refusal(set(&[("a", None), bad])), Refusal::Invalid(_)));
    }
    world.done(set(&[("a", None), ("b", Some(&long[1..]))]));
    let settings = directory(&world).settings;
    assert_eq!((settings.len(), settings["b"].len()), (1, SETTING_VALUE_BYTES_MAX));
}

#[test]
fn the_default_quota_is_for_those_without_one() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", Some(100));
    let changes = vec![(QUOTA_DEFAULT.to_owned(), Some("50".to_owned()))];
    world.done(Command::SetSettings { changes });
    let Outcome::Delivered { results } = world.outcome(deliver(&[alice, bob], body(1, 51))) else { panic!() };
    assert_eq!(results[0], Err(Refusal::OverQuota));
    assert!(results[1].is_ok());
}

fn scram(mark: u8) -> Box<NewScramKeys> {
    let keys = ScramKeys {
        salt: [mark; 16],
        iterations: ITERATIONS_MIN,
        stored_key: [mark; 32],
        server_key: [mark; 32],
    };
    Box::new(NewScramKeys { keys, stand_in_secret: [mark; 32] })
}

#[test]
fn scram_keys_go_with_the_password_that_they_are_of() {
    let mut world = World::new();
    let user = NewUser { name: "Alice".into(), password_phc: "$one".into(), quota_bytes: None };
    let alice = |world: &World| directory(world).users["alice"].scram.clone();
    assert_eq!(directory(&world).stand_in_secret, None);
    let added = world.outcome(Command::AddUserWithScram { user: user.clone(), keys: scram(1) });
    assert!(matches!(added, Outcome::UserAdded { .. }), "{added:?}");
    assert!(alice(&world) == Some(scram(1).keys));
    let set = |phc: &str, mark| Command::SetPasswordWithScram {
        name: "ALICE".into(),
        password_phc: phc.into(),
        keys: scram(mark),
    };
    world.done(set("$two", 2));
    assert!(alice(&world) == Some(scram(2).keys));
    world.done(Command::SetPassword { name: "alice".into(), password_phc: "$three".into() });
    assert!(alice(&world).is_none(), "they would be of the password before");

    let add = |phc: &str, mark| Command::AddScramKeys {
        name: "alice".into(),
        password_phc: phc.into(),
        keys: scram(mark),
    };
    assert!(matches!(world.refusal(add("$two", 3)), Refusal::Invalid(_)), "of another password");
    world.done(add("$three", 3));
    assert!(matches!(world.refusal(add("$three", 4)), Refusal::Exists(_)), "the first stay");
    assert!(alice(&world) == Some(scram(3).keys));
    assert_eq!(directory(&world).stand_in_secret, Some([1; 32]), "the first stays for ever");

    world.done(Command::RemoveUser { name: "alice".into() });
    let gone = world.outcome(add("$three", 4));
    assert!(matches!(gone, Outcome::Refused(Refusal::NotFound(_))), "{gone:?}");
    world.outcome(Command::AddUser(user));
    assert!(alice(&world).is_none(), "she is somebody else");
}

#[test]
fn scram_keys_are_bounded_and_come_with_their_user_or_not_at_all() {
    let mut world = World::new();
    for (iterations, fits) in [
        (ITERATIONS_MIN - 1, false),
        (ITERATIONS_MIN, true),
        (ITERATIONS_MAX, true),
        (ITERATIONS_MAX + 1, false),
    ] {
        let name = format!("n{iterations}");
        let user = NewUser { name: name.clone(), password_phc: "$x".into(), quota_bytes: None };
        let mut keys = scram(1);
        keys.keys.iterations = iterations;
        let outcome = world.outcome(Command::AddUserWithScram { user, keys });
        assert_eq!(matches!(outcome, Outcome::UserAdded { .. }), fits, "{iterations}: {outcome:?}");
        assert_eq!(directory(&world).users.contains_key(&name), fits, "{iterations}");
    }
}
