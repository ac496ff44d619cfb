//! The secret of return addresses.

use super::*;
use crate::state::directory::Directory;
use crate::state::secret::Secret;
use crate::state::srs::{NewSrsSecret, SECRET_BYTES, SrsSecrets};

fn keep(mark: u8, replaces: bool) -> Command {
    Command::KeepSrsSecret(Box::new(NewSrsSecret::of([mark; SECRET_BYTES], replaces)))
}

fn known(world: &World) -> SrsSecrets {
    (*Directory::load(&world.rows).unwrap().srs.unwrap()).clone()
}

fn begins(secrets: &SrsSecrets) -> (&str, Option<&str>) {
    let previous = secrets.previous.as_ref();
    (&secrets.current.secret.0[..2], previous.map(|previous| &previous.secret.0[..2]))
}

#[test]
fn the_first_secret_stays_until_it_is_replaced() {
    let mut world = World::new();
    assert_eq!(Directory::load(&world.rows).unwrap().srs, None);
    world.done(keep(1, false));
    world.done(keep(2, false));
    assert_eq!(begins(&known(&world)), ("01", None));
    world.done(keep(3, true));
    assert_eq!(begins(&known(&world)), ("03", Some("01")));
    world.done(keep(4, true));
    assert_eq!(begins(&known(&world)), ("04", Some("03")));
}

#[test]
fn a_secret_has_its_length_and_is_not_shown() {
    let mut world = World::new();
    for length in [0, 2 * SECRET_BYTES - 1, 2 * SECRET_BYTES + 1] {
        let new = NewSrsSecret { secret: Secret("5".repeat(length)), replaces: false };
        let refusal = world.refusal(Command::KeepSrsSecret(Box::new(new)));
        assert!(matches!(refusal, Refusal::Invalid(_)), "{length}: {refusal}");
    }
    world.done(keep(0x55, true));
    assert!(!format!("{:?}", known(&world)).contains("5555"));
}
