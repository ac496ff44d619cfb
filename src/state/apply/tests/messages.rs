//! Deliver, Append, Store, Expunge, ClaimRecent.

use super::*;
use crate::mail::ids::ModSeq;
use crate::state::command::{Append, InternalDate, NewMessage};
use crate::state::outcome::Delivered;
use crate::state::record::Quota;
use crate::state::view::EXPUNGES_REMEMBERED_MAX;

fn append(mailbox: MailboxId, bodies: Vec<PlacedBody>, flags: NamedFlags) -> Command {
    let internal_date = InternalDate { unix_seconds: -1, zone_minutes: 60 };
    let message = |body| NewMessage { body, flags: flags.clone(), internal_date };
    Command::Append(Append { mailbox, messages: bodies.into_iter().map(message).collect() })
}

#[test]
fn a_mail_for_three_is_one_body_and_three_results() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", Some(9));
    let applied = world.run(deliver(&[alice, bob, AccountId(99), alice], body(1, 10)));
    let inbox = world.mailbox(alice, "INBOX");
    let Outcome::Delivered { results } = &applied.outcome else { panic!("{applied:?}") };
    assert_eq!(results[0], Ok(Delivered { mailbox: inbox.id, uid: Uid(1) }));
    assert_eq!(results[1], Err(Refusal::OverQuota));
    assert!(matches!(results[2], Err(Refusal::NotFound(_))));
    assert_eq!(results[3], Ok(Delivered { mailbox: inbox.id, uid: Uid(2) }));
    assert_eq!((inbox.messages, inbox.unseen, inbox.deleted, inbox.bytes), (2, 2, 0, 20));
    assert_eq!(reading::body_references(&world.rows, BodyId([1; 32])).unwrap(), 2);
    let named = applied.changes.iter().filter(|it| matches!(it, Change::BodyNamed { .. })).count();
    assert_eq!(named, 1);
}

#[test]
fn a_change_says_how_the_mailbox_stands_and_whether_flags_changed() {
    let (mut world, alice) = World::with_alice();
    let inbox = world.mailbox(alice, "INBOX").id;
    let mut change = |command| {
        let changes = world.run(command).changes.into_iter();
        let mut messages = changes.filter_map(|change| match change {
            Change::Messages(change) => Some(change),
            _ => None,
        });
        let change = messages.next().expect("the mailbox changed");
        assert_eq!((change.account, change.mailbox), (alice, inbox));
        (change.messages, change.unseen, change.flags_changed)
    };
    assert_eq!(change(append(inbox, vec![body(1, 10), body(2, 10)], NamedFlags::default())), (2, 2, false));
    let store = |uids: &[u32]| {
        Command::Store(StoreFlags {
            mailbox: inbox,
            uids: set(uids),
            change: FlagChange::Add,
            flags: named(&[SystemFlag::Seen], &[]),
            unchanged_since: None,
        })
    };
    assert_eq!(change(store(&[2])), (2, 1, true), "the last one is no new one");
    assert_eq!(
        change(Command::Expunge { mailbox: inbox, uids: set(&[2]), only_deleted: false }),
        (1, 1, false)
    );
    let both = Command::Copy(Transfer { from: inbox, uids: set(&[1]), to: inbox });
    assert_eq!(change(both), (2, 2, false));
    assert_eq!(change(Command::ClaimRecent { mailbox: inbox, up_to: Uid(2) }), (2, 2, false));
}

#[test]
fn a_quota_counts_all_mailboxes_and_ends_at_its_last_byte() {
    let mut world = World::new();
    let alice = world.add_user("alice", Some(30));
    let sent = world.mailbox(alice, "Sent").id;
    world.deliver(alice, 2);
    let appended = world.outcome(append(sent, vec![body(9, 10)], NamedFlags::default()));
    assert!(matches!(appended, Outcome::Appended { .. }), "{appended:?}");
    assert_eq!(reading::quota(&world.rows, alice).unwrap().used_bytes, 30);
    assert_eq!(world.refusal(append(sent, vec![body(8, 1)], NamedFlags::default())), Refusal::OverQuota);
    let refused = world.outcome(deliver(&[alice], body(8, 1)));
    assert_eq!(refused, Outcome::Delivered { results: vec![Err(Refusal::OverQuota)] });
    world.run(Command::Expunge { mailbox: sent, uids: set(&[1]), only_deleted: false });
    world.deliver(alice, 1);
}

#[test]
fn what_is_told_of_a_quota_is_what_apply_goes_by() {
    let mut world = World::new();
    let alice = world.add_user("alice", Some(30));
    let bob = world.add_user("bob", None);
    world.deliver(alice, 2);
    let set_default = |value: Option<&str>| Command::SetSettings {
        changes: vec![("quota.default_bytes".into(), value.map(str::to_owned))],
    };
    let told = |world: &World, account| reading::quota(&world.rows, account).unwrap();
    let of_alice = Quota { used_bytes: 20, bytes_max: Some(30), mailboxes: 6 };
    for (value, bytes_max) in [(None, None), (Some("9"), Some(9)), (Some("unlimited"), None)] {
        world.done(set_default(value));
        assert_eq!(told(&world, alice), of_alice, "her own counts");
        assert_eq!(told(&world, bob), Quota { used_bytes: 0, bytes_max, mailboxes: 6 });
        let delivered = world.outcome(deliver(&[bob], body(8, 10)));
        let Outcome::Delivered { results } = delivered else { panic!("{delivered:?}") };
        assert_eq!(results[0].is_ok(), told(&world, bob).has_room(0) && bytes_max.is_none());
        let uids = UidSet::from_ranges([(Uid(1), Uid::MAX)]);
        world.run(Command::Expunge { mailbox: world.mailbox(bob, "INBOX").id, uids, only_deleted: false });
    }
    let (full, almost) = (of_alice.has_room(10), of_alice.has_room(11));
    assert!(full && !almost);
    world.done(Command::RemoveUser { name: "alice".into() });
    assert_eq!(told(&world, alice), Quota::default());
}

#[test]
fn a_wanted_mailbox_that_is_missing_means_inbox() {
    let (mut world, alice) = World::with_alice();
    let lists = world.create(alice, "lists");
    for (wanted, got) in [("lists", lists), ("none", world.mailbox(alice, "INBOX").id)] {
        let to = vec![DeliverTo { account: alice, mailbox: wanted.into(), flags: NamedFlags::default() }];
        let delivered = world.outcome(Command::Deliver(Deliver { body: body(1, 1), to }));
        assert_eq!(
            delivered,
            Outcome::Delivered { results: vec![Ok(Delivered { mailbox: got, uid: Uid(1) })] }
        );
    }
}

#[test]
fn an_append_is_all_or_nothing() {
    let (mut world, alice) = World::with_alice();
    let inbox = world.mailbox(alice, "INBOX").id;
    let lost = PlacedBody { on: Vec::new(), ..body(2, 10) };
    let bodies = vec![body(1, 10), lost];
    assert_eq!(world.refusal(append(inbox, bodies, NamedFlags::default())), Refusal::NotPlaced);
    let both = append(inbox, vec![body(1, 10), body(2, 10)], named(&[SystemFlag::Seen], &["$Work"]));
    let applied = world.run(both);
    let Outcome::Appended { uids, .. } = &applied.outcome else { panic!("{applied:?}") };
    assert_eq!(uids, &[Uid(1), Uid(2)]);
    let change = messages_changed(&applied)[0];
    assert_eq!(change.keywords.as_deref(), Some(&vec!["$Work".to_owned()]));
    let view = world.view(inbox);
    let [one, other] = [1, 2].map(|uid| view.get(Uid(uid)).unwrap());
    assert_eq!(other.flags.keywords, 1);
    assert_eq!(one.modseq, other.modseq);
    assert_eq!(world.mailbox(alice, "INBOX").unseen, 0);
}

#[test]
fn keywords_are_compared_without_case_and_end_at_sixty_four() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 1);
    let inbox = world.mailbox(alice, "INBOX").id;
    let names: Vec<String> = (0..64).map(|n| format!("{n:0>100}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.run(store(inbox, &[1], FlagChange::Add, named(&[], &names)));
    assert_eq!(world.view(inbox).get(Uid(1)).unwrap().flags.keywords, u64::MAX);
    assert_eq!(world.mailbox(alice, "INBOX").keywords.len(), 64);
    let more = world.refusal(store(inbox, &[1], FlagChange::Add, named(&[], &["more"])));
    assert!(matches!(more, Refusal::Limit(_)));
    let unknown = world.outcome(store(inbox, &[1], FlagChange::Remove, named(&[], &["more"])));
    assert!(matches!(unknown, Outcome::StoredNothing { .. }));
    for bad in ["", "a b", "\\Seen", "a]", "ü", &"x".repeat(101)] {
        let refusal = world.refusal(store(inbox, &[1], FlagChange::Add, named(&[], &[bad])));
        assert!(matches!(refusal, Refusal::Invalid(_)), "{bad}: {refusal:?}");
    }
    let drafts = world.mailbox(alice, "Drafts").id;
    world.run(append(drafts, vec![body(3, 1)], named(&[], &["Forwarded"])));
    world.run(store(drafts, &[1], FlagChange::Add, named(&[], &["FORWARDED"])));
    assert_eq!(world.mailbox(alice, "Drafts").keywords, ["Forwarded"]);
}

#[test]
fn store_changes_counts_and_spares_what_changed_since() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 3);
    let inbox = world.mailbox(alice, "INBOX").id;
    let since = world.view(inbox).highest_modseq;
    world.store(inbox, 2, SystemFlag::Seen);
    let flags = named(&[SystemFlag::Deleted], &[]);
    let applied = world.run(Command::Store(StoreFlags {
        mailbox: inbox,
        uids: set(&[1, 2, 3, 77]),
        change: FlagChange::Replace,
        flags,
        unchanged_since: Some(since),
    }));
    let modseq = ModSeq(since.0 + 2);
    assert_eq!(applied.outcome, Outcome::Stored { modseq, modified: set(&[2]) });
    assert_eq!(messages_changed(&applied)[0].put.len(), 2);
    let record = world.mailbox(alice, "INBOX");
    assert_eq!((record.messages, record.unseen, record.deleted), (3, 2, 2));
    // What changes nothing has no mod-sequence and tells nobody.
    let again = world.run(store(inbox, &[2], FlagChange::Add, named(&[SystemFlag::Seen], &[])));
    assert_eq!(again.outcome, Outcome::StoredNothing { modseq, modified: UidSet::default() });
    assert_eq!(again.changes, []);
}

#[test]
fn expunge_takes_the_deleted_ones_and_is_remembered() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 10);
    let inbox = world.mailbox(alice, "INBOX").id;
    let before = world.view(inbox).highest_modseq;
    world.store(inbox, 3, SystemFlag::Deleted);
    world.store(inbox, 9, SystemFlag::Deleted);
    let all = UidSet::from_ranges([(Uid(1), Uid::MAX)]);
    let applied = world.run(Command::Expunge { mailbox: inbox, uids: all.clone(), only_deleted: true });
    assert!(matches!(&applied.outcome, Outcome::Expunged { uids, .. } if *uids == set(&[3, 9])));
    assert_eq!(applied.changes.iter().filter(|it| matches!(it, Change::BodyDropped { .. })).count(), 2);
    assert_eq!(world.uids(inbox), [1, 2, 4, 5, 6, 7, 8, 10]);
    assert_eq!(world.view(inbox).expunged_since(before), Some(vec![Uid(3), Uid(9)]));
    let none = world.run(Command::Expunge { mailbox: inbox, uids: all.clone(), only_deleted: true });
    assert_eq!(none.changes, []);
    world.run(Command::Expunge { mailbox: inbox, uids: all, only_deleted: false });
    let record = world.mailbox(alice, "INBOX");
    assert_eq!((record.messages, record.unseen, record.deleted, record.bytes), (0, 0, 0, 0));
    assert_eq!(record.uid_next, Uid(11));
    assert_eq!(reading::bodies(&world.rows, None, 10).unwrap(), []);
}

#[test]
fn expunges_are_remembered_up_to_their_bound() {
    let (mut world, alice) = World::with_alice();
    let inbox = world.mailbox(alice, "INBOX").id;
    let count = EXPUNGES_REMEMBERED_MAX + 1;
    for from in (0..count).step_by(1_000) {
        let bodies = (from..count.min(from + 1_000)).map(|_| body(1, 1)).collect();
        world.run(append(inbox, bodies, NamedFlags::default()));
    }
    let before = world.view(inbox).highest_modseq;
    let expunge = |first: usize, last: usize| Command::Expunge {
        mailbox: inbox,
        uids: UidSet::from_ranges([(Uid(first as u32), Uid(last as u32))]),
        only_deleted: false,
    };
    world.run(expunge(1, 1));
    world.run(expunge(2, EXPUNGES_REMEMBERED_MAX));
    let known = world.view(inbox).expunged_since(before).map(|uids| uids.len());
    assert_eq!(known, Some(EXPUNGES_REMEMBERED_MAX));
    world.run(expunge(count, count));
    let view = world.view(inbox);
    assert_eq!(view.expunged_since(before), None);
    assert_eq!(
        view.expunged_since(ModSeq(before.0 + 1)).map(|uids| uids.len()),
        Some(EXPUNGES_REMEMBERED_MAX)
    );
}

#[test]
fn recent_is_claimed_once_and_told() {
    let (mut world, alice) = World::with_alice();
    world.deliver(alice, 2);
    let inbox = world.mailbox(alice, "INBOX").id;
    let mut view = world.view(inbox);
    let claimed = world.run(Command::ClaimRecent { mailbox: inbox, up_to: Uid::MAX });
    assert_eq!(claimed.outcome, Outcome::Done);
    let _ = view.take_in(messages_changed(&claimed)[0]);
    assert_eq!(view.recent_from, Uid(3));
    assert_eq!(world.mailbox(alice, "INBOX").recent_from, Uid(3));
    assert_eq!(world.run(Command::ClaimRecent { mailbox: inbox, up_to: Uid(2) }).changes, []);
}
