//! What is deleted is gone at once; its rows go in bounded portions.

use super::*;
use crate::state::apply::sweep::ROWS_PER_ENTRY;
use crate::state::keys;

fn rows_of(world: &World, table: u8) -> usize {
    world.rows.0.keys().filter(|key| key[0] == table).count()
}

fn idle(world: &mut World) -> Applied {
    let version = reading::cluster_version(&world.rows).unwrap();
    world.run(Command::SetClusterVersion { version })
}

fn filled(world: &mut World, account: AccountId, rows: usize) {
    for _ in 0..rows {
        world.run(deliver(&[account; 8], body(1, 10)));
    }
}

#[test]
fn a_deleted_mailbox_goes_row_by_row() {
    let (mut world, alice) = World::with_alice();
    filled(&mut world, alice, 2 * ROWS_PER_ENTRY);
    world.done(Command::RenameMailbox { account: alice, from: "INBOX".into(), to: "old".into() });
    let old = world.mailbox(alice, "old").id;
    let rows = rows_of(&world, keys::MESSAGES);
    let deleted = world.run(Command::DeleteMailbox { account: alice, name: "old".into() });
    assert!(deleted.changes.contains(&Change::MailboxDeleted { mailbox: old }));
    assert!(MailboxView::load(&world.rows, old).unwrap().is_none());
    assert_eq!(reading::quota(&world.rows, alice).unwrap().used_bytes, 0);
    let uids = UidSet::from_ranges([(Uid(1), Uid::MAX)]);
    let expunge = world.outcome(Command::Expunge { mailbox: old, uids, only_deleted: false });
    assert!(matches!(expunge, Outcome::Refused(Refusal::NotFound(_))));
    assert_eq!(rows_of(&world, keys::MESSAGES), rows - 2 * ROWS_PER_ENTRY);
    let dropped = idle(&mut world).changes;
    assert_eq!(dropped, [Change::BodyDropped { body: BodyId([1; 32]) }]);
    idle(&mut world);
    assert_eq!((rows_of(&world, keys::MESSAGES), rows_of(&world, keys::SWEEP)), (0, 0));
    assert_eq!((rows_of(&world, keys::BODY), rows_of(&world, keys::KEYWORDS)), (0, 0));
}

#[test]
fn a_removed_user_leaves_nothing() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", None);
    filled(&mut world, alice, 3);
    world.deliver(bob, 1);
    let inbox = world.mailbox(alice, "INBOX").id;
    world.store(inbox, 1, SystemFlag::Deleted);
    world.run(store(inbox, &[2], FlagChange::Add, named(&[], &["$Work"])));
    let uids = UidSet::from_ranges([(Uid(1), Uid(3))]);
    world.run(Command::Expunge { mailbox: inbox, uids, only_deleted: true });
    let removed = world.run(Command::RemoveUser { name: "ALICE".into() });
    let gone = removed.changes.iter().filter(|change| matches!(change, Change::MailboxDeleted { .. }));
    assert_eq!(gone.count(), 6);
    assert_eq!(reading::mailboxes(&world.rows, alice).unwrap(), []);
    assert_eq!(reading::mailbox_by_name(&world.rows, alice, "INBOX").unwrap(), None);
    let late = world.outcome(deliver(&[alice], body(1, 1)));
    assert!(matches!(late, Outcome::Delivered { results } if results[0].is_err()));
    while rows_of(&world, keys::SWEEP) > 0 {
        idle(&mut world);
    }
    let mut only_bob = World::new();
    let again = only_bob.add_user("bob", None);
    only_bob.deliver(again, 1);
    for table in [
        keys::USER,
        keys::ACCOUNT,
        keys::MAILBOX,
        keys::NAME,
        keys::KEYWORDS,
        keys::EXPUNGED,
        keys::MESSAGES,
        keys::BODY,
    ] {
        assert_eq!(rows_of(&world, table), rows_of(&only_bob, table), "table {table:#x}");
    }
}
