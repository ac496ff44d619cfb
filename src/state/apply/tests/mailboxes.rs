//! Create, delete, rename, subscribe.

use super::*;

fn delete(account: AccountId, name: &str) -> Command {
    Command::DeleteMailbox { account, name: name.into() }
}

fn rename(account: AccountId, from: &str, to: &str) -> Command {
    Command::RenameMailbox { account, from: from.into(), to: to.into() }
}

#[test]
fn an_account_begins_with_its_special_mailboxes() {
    let (world, alice) = World::with_alice();
    assert_eq!(world.names(alice), ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    assert_eq!(reading::subscriptions(&world.rows, alice).unwrap(), world.names(alice));
    let mailboxes = reading::mailboxes(&world.rows, alice).unwrap();
    assert_eq!(mailboxes.iter().filter(|mailbox| mailbox.special_use.is_some()).count(), 5);
}

#[test]
fn a_name_created_again_never_shows_an_old_uid_validity() {
    let (mut world, alice) = World::with_alice();
    world.create(alice, "a/b");
    assert!(world.names(alice).contains(&"a".to_owned()));
    let first = world.mailbox(alice, "a/b").uid_validity;
    world.done(delete(alice, "a/b"));
    // Even when the clock goes back.
    world.at = Timestamp(0);
    world.create(alice, "a/b");
    assert!(world.mailbox(alice, "a/b").uid_validity > first);
    world.create(alice, "c");
    let taken = world.mailbox(alice, "c").uid_validity;
    world.done(rename(alice, "a/b", "d"));
    world.done(rename(alice, "c", "a/b"));
    assert_eq!(world.mailbox(alice, "a/b").uid_validity, taken);
    assert!(matches!(
        world.refusal(Command::CreateMailbox { account: alice, name: "inbox".into(), special_use: None }),
        Refusal::Exists(_)
    ));
}

#[test]
fn deleting_leaves_a_name_while_there_are_inferiors() {
    let (mut world, alice) = World::with_alice();
    world.create(alice, "a/b");
    let old = world.mailbox(alice, "a");
    world.done(delete(alice, "a"));
    assert!(world.mailbox(alice, "a").no_select);
    assert!(MailboxView::load(&world.rows, world.mailbox(alice, "a").id).unwrap().is_none());
    assert_eq!(world.refusal(delete(alice, "a")), Refusal::NotAllowed);
    world.create(alice, "a");
    let new = world.mailbox(alice, "a");
    assert!(!new.no_select && new.uid_validity > old.uid_validity);
    assert_eq!(world.refusal(delete(alice, "INBOX")), Refusal::NotAllowed);
    assert!(matches!(world.refusal(delete(alice, "none")), Refusal::NotFound(_)));
    // A sibling whose name only begins alike is no inferior.
    world.create(alice, "ab");
    world.done(delete(alice, "a/b"));
    world.done(delete(alice, "a"));
    assert!(!world.names(alice).contains(&"a".to_owned()));
}

#[test]
fn renaming_takes_inferiors_along() {
    let (mut world, alice) = World::with_alice();
    let leaf = world.create(alice, "a/b/c");
    world.create(alice, "ab");
    world.done(rename(alice, "a", "x/y"));
    let names = world.names(alice);
    assert!(["ab", "x", "x/y", "x/y/b", "x/y/b/c"].iter().all(|name| names.contains(&name.to_string())));
    assert!(!names.iter().any(|name| name == "a" || name.starts_with("a/")));
    assert_eq!(world.mailbox(alice, "x/y/b/c").id, leaf);
    assert_eq!(world.refusal(rename(alice, "x", "x/z")), Refusal::NotAllowed);
    assert!(matches!(world.refusal(rename(alice, "x", "Sent")), Refusal::Exists(_)));
    assert!(matches!(world.refusal(rename(alice, "none", "z")), Refusal::NotFound(_)));
    // Inferiors would become too deep: all stays.
    let deep = vec!["d"; 18].join("/");
    assert!(matches!(world.refusal(rename(alice, "x", &deep)), Refusal::Limit(_)));
}

#[test]
fn renaming_inbox_moves_its_messages_only() {
    let (mut world, alice) = World::with_alice();
    world.create(alice, "INBOX/sub");
    world.deliver(alice, 2);
    let old = world.mailbox(alice, "INBOX");
    world.done(rename(alice, "inbox", "old"));
    assert_eq!(world.uids(world.mailbox(alice, "old").id), [1, 2]);
    let new = world.mailbox(alice, "INBOX");
    assert_eq!(new.messages, 0);
    assert!(new.uid_validity > old.uid_validity && new.subscribed);
    assert!(world.names(alice).contains(&"INBOX/sub".to_owned()));
    world.deliver(alice, 1);
    world.done(rename(alice, "INBOX", "INBOX/old"));
    assert_eq!(world.mailbox(alice, "INBOX/old").messages, 1);
}

#[test]
fn a_subscription_outlives_its_mailbox() {
    let (mut world, alice) = World::with_alice();
    let subscribe = |subscribed| Command::Subscribe { account: alice, name: "a".into(), subscribed };
    world.done(subscribe(true));
    assert!(!world.names(alice).contains(&"a".to_owned()));
    world.create(alice, "a");
    assert!(world.mailbox(alice, "a").subscribed);
    world.done(delete(alice, "a"));
    let subscriptions = |world: &World| reading::subscriptions(&world.rows, alice).unwrap();
    assert!(subscriptions(&world).contains(&"a".to_owned()));
    world.done(subscribe(false));
    assert!(!subscriptions(&world).contains(&"a".to_owned()));
    assert_eq!(world.run(subscribe(false)).changes, []);
}
