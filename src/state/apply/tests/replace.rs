//! Replace.

use super::*;
use crate::state::command::{InternalDate, NewMessage, Replace};

fn replace(from: MailboxId, uid: u32, to: MailboxId, body: PlacedBody) -> Command {
    let internal_date = InternalDate { unix_seconds: 0, zone_minutes: 0 };
    let message = NewMessage { body, flags: named(&[SystemFlag::Draft], &["$New"]), internal_date };
    Command::Replace(Box::new(Replace { from, uid: Uid(uid), to, message }))
}

#[test]
fn a_message_replaces_another_in_one_change() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 2);
    let inbox = world.mailbox(alice, "INBOX").id;
    world.run(store(inbox, &[1], FlagChange::Add, named(&[SystemFlag::Seen], &[])));
    let applied = world.run(replace(inbox, 1, inbox, body(9, 50)));
    let uid_validity = world.mailbox(alice, "INBOX").uid_validity;
    assert_eq!(applied.outcome, Outcome::Replaced { uid_validity, uid: Uid(3) });
    assert_eq!(messages_changed(&applied).len(), 1);
    assert_eq!(world.uids(inbox), [2, 3]);
    let new = world.view(inbox).get(Uid(3)).unwrap();
    assert!(new.flags.has(SystemFlag::Draft) && !new.flags.has(SystemFlag::Seen), "nothing is inherited");
    assert_eq!(reading::quota(&world.rows, alice).unwrap().used_bytes, 60);
}

#[test]
fn a_retry_replaces_once_and_a_second_replaces_nothing() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 1);
    let inbox = world.mailbox(alice, "INBOX").id;
    let proposal = world.proposal(replace(inbox, 1, inbox, body(9, 50)));
    let outcome = world.apply(&proposal).outcome;
    assert_eq!(world.apply(&proposal).outcome, outcome);
    assert_eq!(world.uids(inbox), [2]);
    let second = world.run(replace(inbox, 1, inbox, body(8, 50)));
    assert_eq!((second.outcome, second.changes.len()), (Outcome::ReplacedNothing, 0));
    assert_eq!(world.uids(inbox), [2]);
}

#[test]
fn in_another_mailbox_and_with_the_same_body() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 1);
    let (inbox, sent) = (world.mailbox(alice, "INBOX").id, world.mailbox(alice, "Sent").id);
    let same = world.view(inbox).get(Uid(1)).unwrap();
    let applied =
        world.run(replace(inbox, 1, sent, PlacedBody { id: same.body, size: same.size, on: vec![NODE] }));
    assert!(matches!(applied.outcome, Outcome::Replaced { uid: Uid(1), .. }));
    assert_eq!(messages_changed(&applied).len(), 2);
    assert!(!applied.changes.iter().any(|change| matches!(change, Change::BodyDropped { .. })));
    assert_eq!((world.uids(inbox), world.uids(sent)), (vec![], vec![1]));
    assert_eq!(reading::body_references(&world.rows, same.body).unwrap(), 1);
}

/// RFC 8508 3.4: only the net counts.
#[test]
fn the_quota_counts_the_difference() {
    let mut world = World::new();
    let alice = world.add_user("alice", Some(30));
    world.deliver(alice, 3);
    let (inbox, sent) = (world.mailbox(alice, "INBOX").id, world.mailbox(alice, "Sent").id);
    assert_eq!(world.refusal(replace(inbox, 1, sent, body(9, 11))), Refusal::OverQuota);
    assert!(matches!(world.outcome(replace(inbox, 1, sent, body(9, 10))), Outcome::Replaced { .. }));
    world.done(Command::SetQuota { name: "alice".into(), quota_bytes: Some(5) });
    assert!(matches!(world.outcome(replace(inbox, 2, inbox, body(8, 10))), Outcome::Replaced { .. }));
    assert_eq!(world.refusal(replace(inbox, 3, inbox, body(8, 11))), Refusal::OverQuota);
}

#[test]
fn what_cannot_come_in_leaves_what_is_there() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 1);
    let inbox = world.mailbox(alice, "INBOX").id;
    assert!(matches!(world.refusal(replace(inbox, 1, MailboxId(999), body(9, 1))), Refusal::NotFound(_)));
    let nowhere = PlacedBody { on: vec![], ..body(9, 1) };
    assert_eq!(world.refusal(replace(inbox, 1, inbox, nowhere)), Refusal::NotPlaced);
    assert_eq!(world.uids(inbox), [1]);
}
