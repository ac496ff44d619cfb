//! What is expunged is kept for a while, put back, forgotten.

use super::*;
use crate::mail::flags::{KEYWORD_BYTES_MAX, KEYWORDS_PER_MAILBOX_MAX};
use crate::state::command::{InternalDate, NewMessage, Replace};
use crate::state::keys;
use crate::state::removed::{
    ROWS_PER_COMMAND_MAX, Removed, RemovedId, UNDELETE_DAYS, Undelete, any_before, of_account,
};

fn keeping() -> (World, AccountId) {
    let (mut world, alice) = World::with_alice();
    keep(&mut world, Some("7"));
    (world, alice)
}

fn keep(world: &mut World, days: Option<&str>) {
    let changes = vec![(UNDELETE_DAYS.to_owned(), days.map(str::to_owned))];
    world.done(Command::SetSettings { changes });
}

fn expunge(world: &mut World, mailbox: MailboxId, uids: &[u32]) -> Applied {
    world.run(Command::Expunge { mailbox, uids: set(uids), only_deleted: false })
}

fn kept(world: &World, account: AccountId) -> Vec<Removed> {
    of_account(&world.rows, (account, Timestamp(0)), |_| true, usize::MAX).unwrap()
}

fn undelete(from: &[Removed], into: Option<&str>) -> Command {
    let from = from.iter().map(|removed| removed.id).collect();
    Command::Undelete(Undelete { from, into: into.map(str::to_owned) })
}

fn references(world: &World, seed: u8) -> u64 {
    reading::body_references(&world.rows, BodyId([seed; 32])).unwrap()
}

fn used(world: &World, account: AccountId) -> u64 {
    reading::quota(&world.rows, account).unwrap().used_bytes
}

#[test]
fn without_the_setting_nothing_is_kept() {
    let (mut world, alice) = World::with_alice();
    for days in [None, Some("0"), Some("x")] {
        keep(&mut world, days);
        world.deliver(alice, 1);
        let inbox = world.mailbox(alice, "INBOX");
        let applied = expunge(&mut world, inbox.id, &[inbox.uid_next.0 - 1]);
        assert!(applied.changes.contains(&Change::BodyDropped { body: BodyId([0; 32]) }));
        assert_eq!((kept(&world, alice).len(), references(&world, 0)), (0, 0));
    }
}

#[test]
fn what_comes_back_is_what_went_under_a_new_uid() {
    let (mut world, alice) = keeping();
    world.deliver(alice, 2);
    let inbox = world.mailbox(alice, "INBOX").id;
    world.run(store(
        inbox,
        &[1],
        FlagChange::Add,
        named(&[SystemFlag::Seen, SystemFlag::Deleted], &["$Other"]),
    ));
    world.run(store(inbox, &[2], FlagChange::Add, named(&[], &["$Work"])));
    world.run(store(inbox, &[1], FlagChange::Add, named(&[], &["$work"])));
    world.run(store(inbox, &[1], FlagChange::Remove, named(&[], &["$Other"])));
    let before = world.view(inbox).get(Uid(1)).unwrap();
    let applied = expunge(&mut world, inbox, &[1]);
    assert!(!applied.changes.iter().any(|change| matches!(change, Change::BodyDropped { .. })));
    assert_eq!((world.uids(inbox), used(&world, alice), references(&world, 0)), (vec![2], 10, 1));

    let removed = kept(&world, alice);
    assert_eq!((removed.len(), removed[0].name.as_str(), removed[0].id.at), (1, "INBOX", world.at));
    assert_eq!(world.outcome(undelete(&removed, None)), Outcome::Undeleted { messages: 1 });
    let back = world.view(inbox).get(Uid(3)).unwrap();
    assert_eq!((back.body, back.size, back.internal_date), (before.body, before.size, before.internal_date));
    assert!(back.flags.has(SystemFlag::Seen) && !back.flags.has(SystemFlag::Deleted));
    assert_eq!(back.flags.keywords, before.flags.keywords, "of the same mailbox");
    assert_eq!((used(&world, alice), references(&world, 0), kept(&world, alice)), (20, 1, vec![]));
    assert_eq!(
        world.outcome(undelete(&removed, None)),
        Outcome::Undeleted { messages: 0 },
        "it is back already"
    );

    // Elsewhere the keyword has another bit.
    expunge(&mut world, inbox, &[3]);
    let removed = kept(&world, alice);
    assert_eq!(world.outcome(undelete(&removed, Some("Found/again"))), Outcome::Undeleted { messages: 1 });
    let found = world.mailbox(alice, "Found/again");
    assert_eq!((found.messages, found.keywords), (1, vec!["$Work".to_owned()]));
    assert_eq!(world.view(found.id).get(Uid(1)).unwrap().flags.keywords, 1);
    assert!(world.names(alice).contains(&"Found".to_owned()));
}

#[test]
fn a_deleted_mailbox_comes_back_with_all_that_was_in_it() {
    let (mut world, alice) = keeping();
    let mailbox = world.create(alice, "Work/2026");
    for _ in 0..30 {
        world.run(deliver(&[alice], body(1, 10)));
    }
    let inbox = world.mailbox(alice, "INBOX").id;
    let uids = UidSet::from_ranges([(Uid(1), Uid(30))]);
    world.run(Command::Move(Transfer { from: inbox, uids, to: mailbox }));
    world.run(store(mailbox, &[3], FlagChange::Add, named(&[SystemFlag::Flagged], &["$Work"])));
    world.done(Command::DeleteMailbox { account: alice, name: "Work/2026".into() });
    let version = reading::cluster_version(&world.rows).unwrap();
    for _ in 0..4 {
        world.run(Command::SetClusterVersion { version });
    }
    let removed = kept(&world, alice);
    assert_eq!(removed.iter().map(|removed| removed.messages.len()).sum::<usize>(), 30);
    assert!(removed.iter().all(|removed| removed.name == "Work/2026"));
    assert_eq!((used(&world, alice), references(&world, 1)), (0, 30));
    assert_eq!(world.outcome(undelete(&removed, None)), Outcome::Undeleted { messages: 30 });
    let back = world.mailbox(alice, "Work/2026");
    assert_ne!(back.id, mailbox);
    assert_eq!((back.messages, back.keywords, used(&world, alice)), (30, vec!["$Work".to_owned()], 300));
    assert_eq!(references(&world, 1), 30);
}

#[test]
fn what_was_replaced_is_kept_too() {
    let (mut world, alice) = keeping();
    world.deliver(alice, 1);
    let inbox = world.mailbox(alice, "INBOX").id;
    let internal_date = InternalDate { unix_seconds: 0, zone_minutes: 0 };
    let message = NewMessage { body: body(9, 50), flags: named(&[], &[]), internal_date };
    world.run(Command::Replace(Box::new(Replace { from: inbox, uid: Uid(1), to: inbox, message })));
    assert_eq!((kept(&world, alice).len(), references(&world, 0), references(&world, 9)), (1, 1, 1));
}

#[test]
fn over_quota_nothing_comes_back() {
    let (mut world, alice) = keeping();
    world.deliver(alice, 2);
    let inbox = world.mailbox(alice, "INBOX").id;
    expunge(&mut world, inbox, &[1, 2]);
    let removed = kept(&world, alice);
    world.done(Command::SetQuota { name: "alice".into(), quota_bytes: Some(19) });
    assert_eq!(world.refusal(undelete(&removed, None)), Refusal::OverQuota);
    world.done(Command::SetQuota { name: "alice".into(), quota_bytes: Some(20) });
    assert_eq!(world.outcome(undelete(&removed, None)), Outcome::Undeleted { messages: 2 });
}

#[test]
fn what_is_due_is_forgotten_a_portion_at_a_time() {
    let (mut world, alice) = keeping();
    for _ in 0..=ROWS_PER_COMMAND_MAX {
        world.deliver(alice, 1);
        let inbox = world.mailbox(alice, "INBOX");
        expunge(&mut world, inbox.id, &[inbox.uid_next.0 - 1]);
        world.at.0 += 1;
    }
    let last = Timestamp(world.at.0 - 1);
    assert!(any_before(&world.rows, last).unwrap());
    assert_eq!(world.outcome(Command::ForgetRemoved { before: last }), Outcome::Forgotten { more: true });
    assert_eq!(kept(&world, alice).len(), 1, "not the one that went at that moment");
    assert_eq!(world.outcome(Command::ForgetRemoved { before: last }), Outcome::Forgotten { more: false });
    assert!(!any_before(&world.rows, last).unwrap() && any_before(&world.rows, world.at).unwrap());
    let applied = world.run(Command::ForgetRemoved { before: world.at });
    assert_eq!(applied.outcome, Outcome::Forgotten { more: false });
    assert!(applied.changes.contains(&Change::BodyDropped { body: BodyId([0; 32]) }));
    assert_eq!((kept(&world, alice).len(), references(&world, 0)), (0, 0));
}

#[test]
fn of_a_user_who_is_gone_nothing_comes_back_and_all_is_forgotten_in_time() {
    let (mut world, alice) = keeping();
    let bob = world.add_user("bob", None);
    world.deliver(alice, 1);
    world.deliver(bob, 1);
    for account in [alice, bob] {
        let inbox = world.mailbox(account, "INBOX").id;
        expunge(&mut world, inbox, &[1]);
    }
    world.done(Command::RemoveUser { name: "alice".into() });
    let removed = kept(&world, alice);
    assert_eq!((removed.len(), kept(&world, bob).len()), (1, 1), "each one's own");
    // What he left is swept meanwhile.
    let refused = world.outcome(undelete(&removed, None));
    assert!(matches!(refused, Outcome::Refused(Refusal::NotFound(_))), "{refused:?}");
    world.run(Command::ForgetRemoved { before: Timestamp(u64::MAX) });
    assert_eq!((kept(&world, alice).len(), references(&world, 0)), (0, 0));
}

#[test]
fn the_bounds_of_a_command_and_of_a_row() {
    let (mut world, alice) = keeping();
    let id = |uid| RemovedId { at: Timestamp(1), account: alice, mailbox: MailboxId(1), uid: Uid(uid) };
    let from = |count: usize| (0..count as u32).map(id).collect();
    let many = |count| Command::Undelete(Undelete { from: from(count), into: None });
    assert_eq!(world.outcome(many(ROWS_PER_COMMAND_MAX)), Outcome::Undeleted { messages: 0 });
    assert!(matches!(world.refusal(many(ROWS_PER_COMMAND_MAX + 1)), Refusal::Limit(_)));
    assert_eq!(keys::removed_of(&keys::removed(id(7))), Some(id(7)));

    // Eight messages with as many keywords as there can be, as long as they can be.
    world.deliver(alice, 8);
    let inbox = world.mailbox(alice, "INBOX").id;
    let long: Vec<String> =
        (0..KEYWORDS_PER_MAILBOX_MAX).map(|at| format!("{at:0>width$}", width = KEYWORD_BYTES_MAX)).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    world.run(store(inbox, &[1, 2, 3, 4, 5, 6, 7, 8], FlagChange::Add, named(&[], &long)));
    expunge(&mut world, inbox, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let removed = kept(&world, alice);
    assert_eq!((removed.len(), removed[0].messages.len()), (1, 8));
    world.run(undelete(&removed, Some("Back")));
    let keywords = world.mailbox(alice, "Back").keywords.len();
    assert_eq!(keywords, 40, "what fits a row comes along");
}
