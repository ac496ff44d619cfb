//! Relays.

use super::*;
use crate::state::directory::Directory;
use crate::state::relays::{
    HOST_BYTES_MAX, LOGIN_BYTES_MAX, NAME_BYTES_MAX, NewRelay, RELAYS_MAX, RelayFor, RelayLogin, RelayTls,
};
use crate::state::secret::Secret;

fn new(name: &str, applies: RelayFor) -> NewRelay {
    let (name, host) = (name.to_owned(), "relay.test".to_owned());
    NewRelay { name, applies, host, port: 587, tls: RelayTls::Forced, login: None }
}

fn add(new: NewRelay) -> Command {
    Command::AddRelay(Box::new(new))
}

fn sender(pattern: &str) -> RelayFor {
    RelayFor::Sender(pattern.to_owned())
}

fn names(world: &World) -> Vec<String> {
    Directory::load(&world.rows).unwrap().relays.all().iter().map(|relay| relay.name.clone()).collect()
}

#[test]
fn a_relay_comes_and_goes_one_for_each_name_and_pattern() {
    let mut world = World::new();
    world.done(add(new("One", RelayFor::All)));
    world.done(add(new("two", sender("@a.test"))));
    assert!(matches!(world.refusal(add(new("one", sender("@b.test")))), Refusal::Exists(_)));
    assert!(matches!(world.refusal(add(new("three", RelayFor::All))), Refusal::Exists(_)));
    world.done(add(new("three", RelayFor::Recipient("@a.test".to_owned()))));
    assert_eq!(names(&world), ["one", "three", "two"]);
    world.done(Command::RemoveRelay { name: "ONE".to_owned() });
    let gone = Command::RemoveRelay { name: "one".to_owned() };
    assert!(matches!(world.refusal(gone), Refusal::NotFound(_)));
    world.done(add(new("four", RelayFor::All)));
    assert_eq!(names(&world), ["four", "three", "two"]);
}

#[test]
fn lengths_have_bounds_and_a_login_needs_protection() {
    let login = |user: usize, password: usize| {
        Some(RelayLogin { user: "u".repeat(user), password: Secret("p".repeat(password)) })
    };
    let (most, sealed) = (LOGIN_BYTES_MAX, Secret::sealed_bytes(LOGIN_BYTES_MAX));
    for (relay, taken) in [
        (new(&"n".repeat(NAME_BYTES_MAX), RelayFor::All), true),
        (new(&"n".repeat(NAME_BYTES_MAX + 1), RelayFor::All), false),
        (new("", RelayFor::All), false),
        (new("a b", RelayFor::All), false),
        (new("r", sender("")), false),
        (NewRelay { host: "h".repeat(HOST_BYTES_MAX), ..new("r", RelayFor::All) }, true),
        (NewRelay { host: "h".repeat(HOST_BYTES_MAX + 1), ..new("r", RelayFor::All) }, false),
        (NewRelay { host: String::new(), ..new("r", RelayFor::All) }, false),
        (NewRelay { login: login(most, sealed), ..new("r", RelayFor::All) }, true),
        (NewRelay { login: login(most + 1, 1), ..new("r", RelayFor::All) }, false),
        (NewRelay { login: login(1, sealed + 1), ..new("r", RelayFor::All) }, false),
        (NewRelay { login: login(1, 0), ..new("r", RelayFor::All) }, false),
        (NewRelay { login: login(1, 1), tls: RelayTls::Opportunistic, ..new("r", RelayFor::All) }, false),
    ] {
        let outcome = World::new().outcome(add(relay.clone()));
        assert_eq!(outcome == Outcome::Done, taken, "{relay:?}: {outcome:?}");
    }
}

#[test]
fn there_are_so_many_relays_and_no_more() {
    let mut world = World::new();
    for at in 0..RELAYS_MAX {
        world.done(add(new(&format!("r{at}"), sender(&format!("@d{at}.test")))));
    }
    assert!(matches!(world.refusal(add(new("last", RelayFor::All))), Refusal::Limit(_)));
    world.done(Command::RemoveRelay { name: "r0".to_owned() });
    world.done(add(new("last", RelayFor::All)));
}
