//! A command is applied once.

use super::*;
use crate::state::apply::idempotency::IDS_REMEMBERED_MAX;

#[test]
fn a_retry_hears_the_first_outcome_and_changes_nothing() {
    let (mut world, alice) = World::with_alice();
    let proposal = world.proposal(deliver(&[alice], body(1, 10)));
    let first = world.apply(&proposal);
    let rows = world.rows.clone();
    let again = world.apply(&proposal);
    assert_eq!(again, Applied { outcome: first.outcome, changes: Vec::new() });
    assert_eq!(world.rows, rows);
    let refused = world.proposal(Command::AddDomain { name: "a b".into() });
    let first = world.apply(&refused);
    assert!(matches!(first.outcome, Outcome::Refused(_)));
    assert_eq!(world.apply(&refused).outcome, first.outcome);
}

#[test]
fn an_outcome_larger_than_a_row_is_remembered_whole() {
    let (mut world, alice) = World::with_alice();
    let proposal = world.proposal(deliver(&vec![alice; 5_000], body(1, 10)));
    let first = world.apply(&proposal);
    assert_eq!(world.apply(&proposal).outcome, first.outcome);
}

#[test]
fn proposals_expire_at_half_the_ring() {
    let (mut world, _) = World::with_alice();
    let mut proposal = world.proposal(Command::AddDomain { name: "x.test".into() });
    let base = proposal.base.0;
    world.index.0 = base + IDS_REMEMBERED_MAX / 2 - 1;
    assert_eq!(world.apply(&proposal).outcome, Outcome::Refused(Refusal::Expired));
    world.index.0 = base + IDS_REMEMBERED_MAX / 2 - 2;
    assert_eq!(world.apply(&proposal).outcome, Outcome::Done);
    // Known is known, however old.
    world.index.0 = base + IDS_REMEMBERED_MAX;
    assert_eq!(world.apply(&proposal).outcome, Outcome::Done);
    proposal.id.0 += 1;
    assert_eq!(world.apply(&proposal).outcome, Outcome::Refused(Refusal::Expired));
}

#[test]
fn a_slot_used_again_forgets_its_command() {
    let mut world = World::new();
    let first = world.proposal(Command::AddDomain { name: "x.test".into() });
    world.apply(&first);
    world.index.0 += IDS_REMEMBERED_MAX - 1;
    world.done(Command::AddDomain { name: "y.test".into() });
    assert_eq!(world.apply(&first).outcome, Outcome::Refused(Refusal::Expired));
    let slots = world.rows.0.keys().filter(|key| key[0] == crate::state::keys::SLOT).count();
    let ids = world.rows.0.keys().filter(|key| key[0] == crate::state::keys::COMMAND).count();
    assert_eq!((slots, ids), (1, 1));
}
