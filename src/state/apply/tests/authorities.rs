//! Certificates that are trusted.

use super::*;
use crate::state::authorities::{
    AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX, HOSTS_BYTES_MAX, NAME_BYTES_MAX, NewAuthority,
};
use crate::state::directory::Directory;

fn new(name: &str) -> NewAuthority {
    NewAuthority { name: name.to_owned(), hosts: Some("corp.test".to_owned()), certificate: vec![0x30] }
}

fn add(new: NewAuthority) -> Command {
    Command::AddAuthority(Box::new(new))
}

fn names(world: &World) -> Vec<String> {
    let directory = Directory::load(&world.rows).unwrap();
    directory.authorities.all().iter().map(|authority| authority.name.clone()).collect()
}

#[test]
fn a_certificate_comes_and_goes_by_its_name() {
    let mut world = World::new();
    world.done(add(new("One")));
    world.done(add(NewAuthority { hosts: None, ..new("two") }));
    assert!(matches!(world.refusal(add(new("one"))), Refusal::Exists(_)));
    assert_eq!(names(&world), ["one", "two"]);
    world.done(Command::RemoveAuthority { name: "ONE".to_owned() });
    let gone = Command::RemoveAuthority { name: "one".to_owned() };
    assert!(matches!(world.refusal(gone), Refusal::NotFound(_)));
    assert_eq!(names(&world), ["two"]);
}

#[test]
fn lengths_have_bounds() {
    let hosts = |length: usize| Some("h".repeat(length));
    for (authority, taken) in [
        (new(&"n".repeat(NAME_BYTES_MAX)), true),
        (new(&"n".repeat(NAME_BYTES_MAX + 1)), false),
        (new(""), false),
        (NewAuthority { hosts: hosts(HOSTS_BYTES_MAX), ..new("a") }, true),
        (NewAuthority { hosts: hosts(HOSTS_BYTES_MAX + 1), ..new("a") }, false),
        (NewAuthority { hosts: hosts(0), ..new("a") }, false),
        (NewAuthority { certificate: vec![1; CERTIFICATE_BYTES_MAX], ..new("a") }, true),
        (NewAuthority { certificate: vec![1; CERTIFICATE_BYTES_MAX + 1], ..new("a") }, false),
        (NewAuthority { certificate: vec![], ..new("a") }, false),
    ] {
        let outcome = World::new().outcome(add(authority.clone()));
        assert_eq!(outcome == Outcome::Done, taken, "{authority:?}: {outcome:?}");
    }
}

#[test]
fn there_are_so_many_and_no_more() {
    let mut world = World::new();
    for at in 0..AUTHORITIES_MAX {
        world.done(add(new(&format!("a{at}"))));
    }
    assert!(matches!(world.refusal(add(new("last"))), Refusal::Limit(_)));
    world.done(Command::RemoveAuthority { name: "a0".to_owned() });
    world.done(add(new("last")));
}
