//! Copy and Move.

use super::*;

#[test]
fn copies_get_new_uids_in_order_and_count_their_bodies() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 3);
    let (inbox, sent) = (world.mailbox(alice, "INBOX").id, world.mailbox(alice, "Sent").id);
    world.run(store(inbox, &[3], FlagChange::Add, named(&[SystemFlag::Seen], &["$Work"])));
    world.run(store(sent, &[1], FlagChange::Add, named(&[], &["Other"])));
    let applied = world.run(Command::Copy(Transfer { from: inbox, uids: set(&[1, 3, 9]), to: sent }));
    let uid_validity = world.mailbox(alice, "Sent").uid_validity;
    assert_eq!(applied.outcome, Outcome::Copied { uid_validity, from: set(&[1, 3]), to: set(&[1, 2]) });
    assert_eq!(world.mailbox(alice, "Sent").keywords, ["$Work"]);
    assert_eq!(world.view(sent).get(Uid(2)).unwrap().flags.keywords, 1);
    assert_eq!(world.mailbox(alice, "Sent").unseen, 1);
    assert_eq!(reading::body_references(&world.rows, BodyId([2; 32])).unwrap(), 2);
    assert_eq!(reading::quota(&world.rows, alice).unwrap().used_bytes, 50);
}

#[test]
fn a_move_is_seen_in_one_place_and_costs_no_quota() {
    let mut world = World::new();
    let alice = world.add_user("alice", Some(30));
    world.deliver(alice, 3);
    let (inbox, sent) = (world.mailbox(alice, "INBOX").id, world.mailbox(alice, "Sent").id);
    let all = || UidSet::from_ranges([(Uid(1), Uid::MAX)]);
    assert_eq!(
        world.refusal(Command::Copy(Transfer { from: inbox, uids: all(), to: sent })),
        Refusal::OverQuota
    );
    let applied = world.run(Command::Move(Transfer { from: inbox, uids: all(), to: sent }));
    assert!(matches!(applied.outcome, Outcome::Copied { .. }));
    assert_eq!(messages_changed(&applied).len(), 2);
    assert!(!applied.changes.iter().any(|change| matches!(change, Change::BodyDropped { .. })));
    assert_eq!((world.uids(inbox), world.uids(sent)), (vec![], vec![1, 2, 3]));
    assert_eq!(reading::quota(&world.rows, alice).unwrap().used_bytes, 30);
}

#[test]
fn a_move_within_a_mailbox_is_one_change() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 2);
    let inbox = world.mailbox(alice, "INBOX").id;
    let applied = world.run(Command::Move(Transfer { from: inbox, uids: set(&[1]), to: inbox }));
    assert_eq!(world.uids(inbox), [2, 3]);
    assert_eq!(messages_changed(&applied).len(), 1);
    world.run(Command::Copy(Transfer { from: inbox, uids: set(&[2]), to: inbox }));
    assert_eq!(world.uids(inbox), [2, 3, 4]);
}
