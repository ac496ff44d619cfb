//! SetMetadata: set, bounded, following its mailbox, gone with it.

use super::*;
use crate::mail::rights::Rights;
use crate::state::acl::RightsChange;
use crate::state::apply::metadata::{
    BYTES_PER_ACCOUNT_MAX, BYTES_PER_MAILBOX_MAX, ENTRIES_MAX, ENTRIES_PER_COMMAND_MAX, VALUE_BYTES_MAX,
};
use crate::state::command::{MetadataEntry, SetAcl, SetMetadata};
use crate::state::keys;
use crate::state::metadata::{Depth, Place, Wanted, read};
use crate::state::stored::MetadataTallyRow;

fn set<'a>(
    account: AccountId,
    mailbox: Option<MailboxId>,
    entries: impl IntoIterator<Item = (&'a str, Option<Vec<u8>>)>,
) -> Command {
    let entry = |(name, value): (&str, _)| MetadataEntry { name: name.to_owned(), value };
    Command::SetMetadata(SetMetadata { account, mailbox, entries: entries.into_iter().map(entry).collect() })
}

/// All that `account` sees there, as `name=value`; a value that is no text is told by its length.
fn seen(world: &World, account: AccountId, mailbox: Option<MailboxId>) -> Vec<String> {
    let wanted = ["/private", "/shared"].map(|name| Wanted { name: name.into(), depth: Depth::Infinity });
    let found = read(&world.rows, Place { account, mailbox }, &wanted).unwrap();
    let shown = |value: Vec<u8>| match String::from_utf8(value) {
        Ok(text) if text.len() < 20 => text,
        Ok(text) => text.len().to_string(),
        Err(error) => error.as_bytes().len().to_string(),
    };
    found.into_iter().map(|it| format!("{}={}", it.name, shown(it.value))).collect()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

fn rows_of(world: &World, table: u8) -> usize {
    world.rows.0.keys().filter(|key| key[0] == table).count()
}

#[test]
fn entries_are_private_or_shared_and_all_or_nothing() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", None);
    let inbox = Some(world.mailbox(alice, "INBOX").id);
    grant(&mut world, inbox, "lr");
    world.done(set(alice, inbox, [("/private/comment", bytes("mine")), ("/Shared/Comment", bytes(""))]));
    world.done(set(bob, inbox, [("/private/comment", bytes("of bob"))]));
    assert_eq!(seen(&world, alice, inbox), ["/private/comment=mine", "/shared/comment="]);
    assert_eq!(seen(&world, bob, inbox), ["/private/comment=of bob", "/shared/comment="]);
    assert_eq!(seen(&world, alice, None), [""; 0]);
    let refused = world.refusal(set(alice, inbox, [("/shared/comment", None), ("/shared", bytes("x"))]));
    assert!(matches!(refused, Refusal::Invalid(_)));
    assert_eq!(seen(&world, alice, inbox).len(), 2, "nothing of it was done");
    // A value of many rows gives way to one of fewer.
    let large: Vec<u8> = (0..VALUE_BYTES_MAX).map(|at| (at % 251) as u8).collect();
    world.done(set(alice, inbox, [("/private/comment", Some(large.clone()))]));
    assert_eq!(seen(&world, alice, inbox)[0], format!("/private/comment={VALUE_BYTES_MAX}"));
    world.done(set(alice, inbox, [("/private/comment", bytes("short")), ("/private/none", None)]));
    assert_eq!(seen(&world, alice, inbox), ["/private/comment=short", "/shared/comment="]);
    world.done(set(alice, inbox, [("/private/comment", None), ("/shared/comment", None)]));
    assert_eq!(seen(&world, alice, inbox), [""; 0]);
    assert_eq!(seen(&world, bob, inbox), ["/private/comment=of bob"]);
    // The server's: private ones alone.
    world.done(set(alice, None, [("/private/vendor/x/y", bytes("s"))]));
    assert_eq!(
        (seen(&world, alice, None), seen(&world, bob, None)),
        (vec!["/private/vendor/x/y=s".into()], vec![])
    );
    assert_eq!(world.refusal(set(alice, None, [("/shared/comment", bytes("x"))])), Refusal::NotAllowed);
    for gone in [set(alice, Some(MailboxId(99)), []), set(AccountId(99), inbox, [])] {
        assert!(matches!(world.refusal(gone), Refusal::NotFound(_)));
    }
}

/// RFC 7162 3.2.
#[test]
fn what_is_annotated_has_changed() {
    let (mut world, alice) = World::with_alice();
    let inbox = world.mailbox(alice, "INBOX");
    world.done(set(alice, Some(inbox.id), [("/private/comment", bytes("mine"))]));
    assert_eq!(world.mailbox(alice, "INBOX").highest_modseq.0, inbox.highest_modseq.0 + 1);
    world.refusal(set(alice, Some(inbox.id), [("/private/comment", None), ("/shared", bytes("x"))]));
    world.done(set(alice, None, [("/private/comment", bytes("of the server"))]));
    assert_eq!(world.mailbox(alice, "INBOX").highest_modseq.0, inbox.highest_modseq.0 + 1);
    world.done(set(alice, Some(inbox.id), [("/private/comment", None)]));
    assert_eq!(world.mailbox(alice, "INBOX").highest_modseq.0, inbox.highest_modseq.0 + 2);
}

/// Alice gives bob these rights.
fn grant(world: &mut World, mailbox: Option<MailboxId>, letters: &str) {
    let mailbox = mailbox.unwrap();
    let by = reading::mailbox_by_id(&world.rows, mailbox).unwrap().unwrap().account;
    let rights = Rights::parse(letters.as_bytes()).unwrap();
    let set = SetAcl { by, mailbox, identifier: "bob".into(), change: RightsChange::Replace, rights };
    world.done(Command::SetAcl(set));
}

#[test]
fn others_annotate_by_their_rights_at_the_owners_cost() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", None);
    let inbox = Some(world.mailbox(alice, "INBOX").id);
    let try_it = |world: &mut World| world.outcome(set(bob, inbox, [("/shared/comment", bytes("of bob"))]));
    let gone = |outcome| matches!(outcome, Outcome::Refused(Refusal::NotFound(_)));
    assert!(gone(try_it(&mut world)));
    for (letters, is_done) in
        [("r", false), ("l", false), ("lkxteca", false), ("lr", true), ("ls", true), ("lp", true)]
    {
        grant(&mut world, inbox, letters);
        let outcome = try_it(&mut world);
        match is_done {
            true => assert_eq!(outcome, Outcome::Done, "{letters}"),
            false if letters == "r" => assert!(gone(outcome)),
            false => assert_eq!(outcome, Outcome::Refused(Refusal::NotPermitted), "{letters}"),
        }
    }
    assert_eq!(seen(&world, alice, inbox), ["/shared/comment=of bob"]);
    let tallies = [keys::account_metadata_tally(alice), keys::account_metadata_tally(bob)];
    assert_eq!(tallies.map(|key| world.rows.0.contains_key(&key)), [true, false]);
}

#[test]
fn a_depth_is_of_levels() {
    let (mut world, alice) = World::with_alice();
    let mailbox = Some(world.mailbox(alice, "INBOX").id);
    world.done(set(
        alice,
        mailbox,
        ["/private/a", "/private/a/b", "/private/a/b/c", "/private/ab"].map(|name| (name, bytes(""))),
    ));
    let found = |depth, asked: &[&str]| {
        let wanted: Vec<Wanted> = asked.iter().map(|name| Wanted { name: name.to_string(), depth }).collect();
        let found = read(&world.rows, Place { account: alice, mailbox }, &wanted).unwrap();
        found.into_iter().map(|it| it.name).collect::<Vec<_>>()
    };
    assert_eq!(found(Depth::Zero, &["/private/a", "/private/x"]), ["/private/a"]);
    assert_eq!(found(Depth::One, &["/private/a"]), ["/private/a", "/private/a/b"]);
    assert_eq!(
        found(Depth::Infinity, &["/private/a", "/private/a/b"]),
        ["/private/a", "/private/a/b", "/private/a/b/c"]
    );
    assert_eq!(found(Depth::One, &["/private"]), ["/private/a", "/private/ab"]);
}

#[test]
fn annotations_are_bounded_in_number_and_size() {
    let (mut world, alice) = World::with_alice();
    let inbox = Some(world.mailbox(alice, "INBOX").id);
    let name = |at: u32| format!("/private/{at:04}");
    let names: Vec<String> = (0..=ENTRIES_MAX).map(name).collect();
    let some = |count: usize| names[..count].iter().map(|name| (name.as_str(), bytes("x")));
    let most = ENTRIES_MAX as usize;
    assert!(matches!(world.refusal(set(alice, inbox, some(most + 1))), Refusal::Limit(_)));
    for place in [inbox, None] {
        world.done(set(alice, place, some(most)));
        let one_more = [(names[most].as_str(), bytes("x"))];
        assert!(matches!(world.refusal(set(alice, place, one_more.clone())), Refusal::Limit(_)));
        world.done(set(alice, place, some(most)));
        world.done(set(alice, place, [(names[0].as_str(), None), one_more[0].clone()]));
        world.done(set(alice, place, names.iter().map(|name| (name.as_str(), None))));
    }
    assert_eq!((rows_of(&world, keys::METADATA), rows_of(&world, keys::METADATA_TALLY)), (0, 0));
    let too_large = vec![0; VALUE_BYTES_MAX + 1];
    assert!(matches!(world.refusal(set(alice, inbox, [("/private/a", Some(too_large))])), Refusal::Limit(_)));
    let many = (0..=ENTRIES_PER_COMMAND_MAX).map(|_| ("/private/a", None));
    assert!(matches!(world.refusal(set(alice, inbox, many)), Refusal::Limit(_)));
    // To the last byte: four names of 10 bytes each.
    let mut left = BYTES_PER_MAILBOX_MAX as usize - 40;
    for at in 0..4 {
        let size = left.min(VALUE_BYTES_MAX);
        left -= size;
        world.done(set(
            alice,
            inbox,
            [(format!("/private/{at}").as_str(), Some(vec![0; size - usize::from(at == 3)]))],
        ));
    }
    assert_eq!(left, 0);
    let last = VALUE_BYTES_MAX - 40;
    assert!(matches!(
        world.refusal(set(alice, inbox, [("/private/3", Some(vec![0; last + 1]))])),
        Refusal::Limit(_)
    ));
    world.done(set(alice, inbox, [("/private/3", Some(vec![0; last]))]));
    world.done(set(alice, inbox, [("/private/0", None)]));
}

#[test]
fn an_account_has_a_bound_of_its_own_and_room_again_when_a_mailbox_goes() {
    let (mut world, alice) = World::with_alice();
    let full = BYTES_PER_ACCOUNT_MAX / BYTES_PER_MAILBOX_MAX;
    let values = |world: &mut World, mailbox| {
        for (at, size) in
            [VALUE_BYTES_MAX, VALUE_BYTES_MAX, VALUE_BYTES_MAX, VALUE_BYTES_MAX - 40].iter().enumerate()
        {
            let name = format!("/private/{at}");
            world.done(set(alice, Some(mailbox), [(name.as_str(), Some(vec![0; *size]))]));
        }
    };
    for at in 0..full {
        let mailbox = world.create(alice, &format!("m{at}"));
        values(&mut world, mailbox);
    }
    let inbox = world.mailbox(alice, "INBOX").id;
    let little = || [("/private/a", bytes(""))];
    for place in [Some(inbox), None] {
        assert!(matches!(world.refusal(set(alice, place, little())), Refusal::Limit(_)));
    }
    world.done(Command::DeleteMailbox { account: alice, name: "m0".into() });
    values(&mut world, inbox);
    assert!(matches!(world.refusal(set(alice, None, little())), Refusal::Limit(_)));
    // No room for both: the renamed one keeps what it has.
    world.done(Command::RenameMailbox { account: alice, from: "INBOX".into(), to: "old".into() });
    assert_eq!(seen(&world, alice, Some(inbox)).len(), 4);
    assert_eq!(seen(&world, alice, Some(world.mailbox(alice, "INBOX").id)), [""; 0]);
}

#[test]
fn annotations_follow_their_mailbox_and_go_with_it() {
    let (mut world, alice) = World::with_alice();
    let folder = world.create(alice, "a");
    world.done(set(alice, Some(folder), [("/shared/comment", bytes("of a"))]));
    world.done(Command::RenameMailbox { account: alice, from: "a".into(), to: "b".into() });
    let here = |world: &World, name: &str| seen(world, alice, Some(world.mailbox(alice, name).id));
    assert_eq!(here(&world, "b"), ["/shared/comment=of a"]);
    world.done(Command::DeleteMailbox { account: alice, name: "b".into() });
    assert_eq!(seen(&world, alice, Some(folder)), [""; 0], "at once, though it is still to be swept");
    world.create(alice, "b");
    assert_eq!(here(&world, "b"), [""; 0]);
    // RFC 5464 4.1: INBOX keeps them, and so has what it was renamed to.
    let inbox = Some(world.mailbox(alice, "INBOX").id);
    world.done(set(alice, inbox, [("/private/comment", Some(vec![b'x'; 9_000]))]));
    world.done(Command::RenameMailbox { account: alice, from: "INBOX".into(), to: "old".into() });
    for name in ["INBOX", "old"] {
        assert_eq!(here(&world, name), ["/private/comment=9000"], "{name}");
    }
    world.done(Command::DeleteMailbox { account: alice, name: "old".into() });
    assert_eq!(here(&world, "INBOX"), ["/private/comment=9000"]);
    // A name that cannot be selected may have some; it is another mailbox than the one before.
    world.create(alice, "c/d");
    let parent = Some(world.mailbox(alice, "c").id);
    world.done(set(alice, parent, [("/shared/comment", bytes("x"))]));
    world.done(Command::DeleteMailbox { account: alice, name: "c".into() });
    let parent = world.mailbox(alice, "c");
    assert!(parent.no_select && seen(&world, alice, Some(parent.id)).is_empty());
    world.done(set(alice, Some(parent.id), [("/shared/comment", bytes("y"))]));
    assert_eq!(here(&world, "c"), ["/shared/comment=y"]);
}

/// Not in mailboxes of others, either; what they had is theirs again.
#[test]
fn a_removed_guest_leaves_no_annotations() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", None);
    let inbox = Some(world.mailbox(alice, "INBOX").id);
    grant(&mut world, inbox, "lr");
    world.done(set(alice, inbox, [("/private/a", bytes("of alice"))]));
    let before = world.rows.clone();
    let large = Some(vec![0; 10_000]);
    world.done(set(bob, inbox, [("/private/a", large), ("/private/b", bytes(""))]));
    assert_eq!(rows_of(&world, keys::METADATA_GUEST), 1);
    world.done(set(bob, inbox, [("/private/a", None), ("/private/b", None)]));
    assert_eq!(rows_of(&world, keys::METADATA_GUEST), 0);
    world.done(set(bob, inbox, [("/private/a", Some(vec![0; 10_000])), ("/shared/a", bytes("kept"))]));
    world.done(Command::RenameMailbox { account: alice, from: "INBOX".into(), to: "old".into() });
    assert_eq!(rows_of(&world, keys::METADATA_GUEST), 2);
    world.done(Command::DeleteMailbox { account: alice, name: "old".into() });
    world.run(Command::SetClusterVersion { version: 0 });
    assert_eq!(rows_of(&world, keys::METADATA_GUEST), 1, "swept with the mailbox");
    world.done(Command::RemoveUser { name: "bob".into() });
    while rows_of(&world, keys::SWEEP) > 0 {
        world.run(Command::SetClusterVersion { version: 0 });
    }
    let inbox = Some(world.mailbox(alice, "INBOX").id);
    assert_eq!(seen(&world, alice, inbox), ["/private/a=of alice", "/shared/a=kept"]);
    assert_eq!(rows_of(&world, keys::METADATA_GUEST), 0);
    world.done(set(alice, inbox, [("/shared/a", None)]));
    let tally = |rows: &MemoryRows| {
        reading::get::<MetadataTallyRow>(rows, &keys::account_metadata_tally(alice)).unwrap()
    };
    assert_eq!(tally(&world.rows), tally(&before));
}

#[test]
fn a_removed_user_leaves_no_annotations() {
    let (mut world, alice) = World::with_alice();
    let inbox = Some(world.mailbox(alice, "INBOX").id);
    for at in 0..20 {
        let name = format!("/private/vendor/x/{at}");
        for place in [inbox, None] {
            world.done(set(alice, place, [(name.as_str(), Some(vec![0; 10_000]))]));
        }
    }
    world.done(Command::RemoveUser { name: "alice".into() });
    assert_eq!((seen(&world, alice, inbox), seen(&world, alice, None)), (vec![], vec![]));
    while rows_of(&world, keys::SWEEP) > 0 {
        world.run(Command::SetClusterVersion { version: 0 });
    }
    assert_eq!((rows_of(&world, keys::METADATA), rows_of(&world, keys::METADATA_TALLY)), (0, 0));
    assert!(matches!(world.refusal(set(alice, None, [])), Refusal::NotFound(_)));
}
