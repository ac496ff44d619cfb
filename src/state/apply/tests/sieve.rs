//! Scripts, and vacation replies.

use super::*;
use crate::mail::ids::QueueId;
use crate::state::keys;
use crate::state::queue::Submit;
use crate::state::sieve::{self, *};

fn put(account: AccountId, name: &str, text: &str) -> Command {
    Command::PutScript { account, name: name.into(), text: text.into() }
}

fn remove(account: AccountId, name: &str) -> Command {
    Command::RemoveScript { account, name: name.into() }
}

fn rename(account: AccountId, from: &str, to: &str) -> Command {
    Command::RenameScript { account, from: from.into(), to: to.into() }
}

fn activate(account: AccountId, name: Option<&str>) -> Command {
    Command::ActivateScript { account, name: name.map(str::to_owned) }
}

/// `name:octets`, the active one with a star.
fn listed(world: &World, account: AccountId) -> Vec<String> {
    let shown = |it: ScriptRecord| format!("{}:{}{}", it.name, it.bytes, if it.active { "*" } else { "" });
    sieve::scripts(&world.rows, account).unwrap().into_iter().map(shown).collect()
}

fn text(world: &World, account: AccountId, name: &str) -> Option<String> {
    sieve::script(&world.rows, account, name).unwrap()
}

#[test]
fn scripts_are_put_read_renamed_and_removed_and_one_is_active() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", None);
    let long = "\u{20ac}x".repeat(5_000);
    world.done(put(alice, "b", &long));
    world.done(put(alice, "\u{e4}", ""));
    world.done(put(bob, "b", "keep;"));
    assert_eq!(listed(&world, alice), ["b:20000", "\u{e4}:0"]);
    assert_eq!(text(&world, alice, "b").as_deref(), Some(long.as_str()));
    assert_eq!((text(&world, alice, "\u{e4}"), text(&world, alice, "B")), (Some(String::new()), None));
    assert_eq!(sieve::active_script(&world.rows, alice).unwrap(), None);
    world.done(activate(alice, Some("b")));
    assert_eq!(world.refusal(remove(alice, "b")), Refusal::ScriptActive);
    world.done(put(alice, "b", "stop;"));
    assert_eq!(listed(&world, alice), ["b:5*", "\u{e4}:0"]);
    assert!(matches!(world.refusal(rename(alice, "b", "\u{e4}")), Refusal::Exists(_)));
    assert!(matches!(world.refusal(rename(alice, "b", "b")), Refusal::Exists(_)));
    world.done(rename(alice, "b", "a"));
    assert_eq!(listed(&world, alice), ["a:5*", "\u{e4}:0"]);
    assert_eq!(sieve::active_script(&world.rows, alice).unwrap().as_deref(), Some("stop;"));
    for gone in [
        activate(alice, Some("b")),
        remove(alice, "b"),
        rename(alice, "b", "c"),
        put(AccountId(99), "a", ""),
        activate(AccountId(99), None),
    ] {
        assert!(matches!(world.refusal(gone), Refusal::NotFound(_)));
    }
    world.done(activate(alice, None));
    world.done(remove(alice, "a"));
    world.done(remove(alice, "\u{e4}"));
    assert_eq!(listed(&world, alice), Vec::<String>::new());
    assert_eq!(listed(&world, bob), ["b:5"]);
    let left =
        world.rows.0.keys().filter(|key| (keys::SCRIPTS..=keys::SCRIPT_PART).contains(&key[0])).count();
    assert_eq!(left, 3, "bob's");
}

#[test]
fn scripts_end_at_their_bounds() {
    let (mut world, alice) = World::with_alice();
    world.done(put(alice, "0", &"x".repeat(SCRIPT_BYTES_MAX)));
    assert!(matches!(world.refusal(put(alice, "0", &"x".repeat(SCRIPT_BYTES_MAX + 1))), Refusal::Limit(_)));
    let name = "\u{10348}".repeat(NAME_CHARS_MAX);
    world.done(rename(alice, "0", &name));
    assert_eq!(text(&world, alice, &name).map(|text| text.len()), Some(SCRIPT_BYTES_MAX));
    for bad in [String::new(), format!("{name}x"), "a\u{7f}".to_owned()] {
        for command in [
            put(alice, &bad, ""),
            rename(alice, &name, &bad),
            remove(alice, &bad),
            activate(alice, Some(&bad)),
        ] {
            assert!(matches!(world.refusal(command), Refusal::Invalid(_)), "{bad:?}");
        }
    }
    for number in 1..SCRIPTS_PER_ACCOUNT_MAX {
        world.done(put(alice, &number.to_string(), "keep;"));
    }
    assert!(matches!(world.refusal(put(alice, "one more", "")), Refusal::Limit(_)));
    world.done(put(alice, "1", "one that is there"));
    world.done(remove(alice, "1"));
    world.done(put(alice, "one more", ""));
}

fn reply(account: AccountId, reply: ReplyId, until: u64, seed: u8) -> Command {
    let Command::Deliver(Deliver { body, to }) = deliver(&[account], body(seed, 10)) else { unreachable!() };
    let submit = Submit { body, to, queue: None };
    Command::Vacation(Box::new(VacationReply { account, reply, until: Timestamp(until), submit }))
}

fn count(world: &World, table: u8) -> usize {
    world.rows.0.keys().filter(|key| key[0] == table).count()
}

#[test]
fn whoever_had_a_reply_has_none_again_before_its_time() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", None);
    let start = world.at.0;
    let (one, two) = (ReplyId::of("h", "a@x.test"), ReplyId::of("h", "b@x.test"));
    let submitted = |outcome| matches!(outcome, Outcome::Submitted { queued: None::<QueueId>, .. });
    assert!(submitted(world.outcome(reply(alice, one, start + 10, 1))));
    assert_eq!(world.outcome(reply(alice, one, start + 99, 2)), Outcome::AlreadyAnswered);
    assert!(submitted(world.outcome(reply(alice, two, start + 20, 3))));
    assert!(submitted(world.outcome(reply(bob, one, start + 20, 4))), "another's are another's");
    world.at.0 += 9;
    assert_eq!(world.outcome(reply(alice, one, start + 99, 5)), Outcome::AlreadyAnswered);
    world.at.0 += 1;
    assert!(submitted(world.outcome(reply(alice, one, start + 99, 6))));
    let inbox = world.mailbox(alice, "INBOX").id;
    assert_eq!(world.view(inbox).messages().len(), 3);
    // What is not placed, or is refused, is not remembered either.
    let three = ReplyId::of("h", "c@x.test");
    let Command::Vacation(mut unplaced) = reply(alice, three, start + 99, 7) else { unreachable!() };
    unplaced.submit.body.on.clear();
    assert_eq!(world.refusal(Command::Vacation(unplaced.clone())), Refusal::NotPlaced);
    unplaced.submit.to.clear();
    assert!(matches!(world.refusal(Command::Vacation(unplaced)), Refusal::Invalid(_)));
    assert!(submitted(world.outcome(reply(alice, three, start + 99, 7))));
    assert!(matches!(world.refusal(reply(AccountId(99), one, start + 99, 7)), Refusal::NotFound(_)));
    // One that is to be forgotten at once is not remembered.
    assert!(submitted(world.outcome(reply(alice, ReplyId([7; 16]), world.at.0, 8))));
    assert_eq!((count(&world, keys::REPLY), count(&world, keys::REPLY_END)), (4, 4));
    world.at.0 += 1_000;
    assert!(submitted(world.outcome(reply(alice, one, start, 9))));
    assert_eq!((count(&world, keys::REPLY), count(&world, keys::REPLIES)), (1, 1), "bob's");
}

#[test]
fn replies_are_remembered_up_to_the_bound_and_those_go_first_that_end_first() {
    let (mut world, alice) = World::with_alice();
    let at = world.at.0;
    let id = |number: u32| ReplyId::of("h", &number.to_string());
    for number in 0..REPLIES_PER_ACCOUNT_MAX {
        // The second is the first to end.
        let until = if number == 1 { at + 5 } else { at + 100 + u64::from(number) };
        world.outcome(reply(alice, id(number), until, 1));
    }
    assert_eq!(world.outcome(reply(alice, id(1), at + 900, 1)), Outcome::AlreadyAnswered);
    world.outcome(reply(alice, id(REPLIES_PER_ACCOUNT_MAX), at + 900, 1));
    assert_eq!(count(&world, keys::REPLY), REPLIES_PER_ACCOUNT_MAX as usize);
    assert_eq!(world.outcome(reply(alice, id(0), at + 900, 1)), Outcome::AlreadyAnswered);
    assert!(matches!(world.outcome(reply(alice, id(1), at + 900, 1)), Outcome::Submitted { .. }));
}

#[test]
fn a_removed_user_leaves_no_scripts() {
    let (mut world, alice) = World::with_alice();
    for number in 0..SCRIPTS_PER_ACCOUNT_MAX {
        world.done(put(alice, &number.to_string(), &"x".repeat(9_000)));
    }
    world.done(activate(alice, Some("7")));
    for number in 0..40 {
        world.outcome(reply(alice, ReplyId([number; 16]), u64::MAX, 1));
    }
    world.done(Command::RemoveUser { name: "alice".into() });
    assert_eq!(listed(&world, alice), Vec::<String>::new());
    assert_eq!((text(&world, alice, "7"), sieve::active_script(&world.rows, alice).unwrap()), (None, None));
    let late = world.outcome(put(alice, "8", ""));
    assert!(matches!(late, Outcome::Refused(Refusal::NotFound(_))), "{late:?}");
    while count(&world, keys::SWEEP) > 0 {
        let version = reading::cluster_version(&world.rows).unwrap();
        world.done(Command::SetClusterVersion { version });
    }
    for table in keys::SCRIPTS..=keys::REPLY_END {
        assert_eq!(count(&world, table), 0, "table {table:#x}");
    }
}
