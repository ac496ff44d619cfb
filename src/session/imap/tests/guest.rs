//! What a guest cannot do is refused before it is asked, whatever command proposes it.

use super::harness::House;
use crate::mail::ids::Uid;
use crate::session::imap::question::Question;
use crate::state::command::{Command, FlagChange, GuestCommand, StoreFlags, UidSet};
use crate::state::outcome::Refusal;

#[tokio::test]
async fn whatever_concerns_anothers_mailbox_goes_as_a_guests() {
    let house = House::new();
    house.deliver("INBOX", "Subject: x\r\n\r\n");
    let mut alice = house.session(true);
    alice.send(b"a LOGIN alice demo-alice\r\nb SETACL INBOX bob lrswipkxtea\r\n").await;
    let mut bob = house.session(true);
    bob.send(b"a LOGIN bob demo-bob\r\nb SELECT user/alice/INBOX\r\n").await;
    let core = bob.machine.core();
    let (me, mailbox) = (core.account(), core.selected.as_ref().unwrap().mailbox);
    let uids = || UidSet::from_ascending([Uid(1)]);
    let proposed = |command| match core.as_guest(Question::Try(command)) {
        Ok(Question::Try(command)) => Ok(command),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal),
    };
    let (change, flags) = (FlagChange::Add, Default::default());
    let store = StoreFlags { mailbox, uids: uids(), change, flags, unchanged_since: None };
    let command = GuestCommand::Store(store.clone());
    assert_eq!(proposed(Command::Store(store)), Ok(Command::AsGuest { guest: me, command }));
    let command = GuestCommand::Expunge { mailbox, uids: uids() };
    let expunge = |only_deleted| Command::Expunge { mailbox, uids: uids(), only_deleted };
    assert_eq!(proposed(expunge(true)), Ok(Command::AsGuest { guest: me, command }));
    // What POP3 does in one's own; what the owner's sessions do.
    assert_eq!(proposed(expunge(false)), Err(Refusal::NotPermitted));
    assert_eq!(proposed(Command::ClaimRecent { mailbox, up_to: Uid(2) }), Err(Refusal::NotPermitted));
    let subscribe = |account| Command::Subscribe { account, name: "x".into(), subscribed: true };
    assert_eq!(proposed(subscribe(house.account)), Err(Refusal::NotPermitted));
    assert_eq!(proposed(subscribe(me)), Ok(subscribe(me)));
    assert_eq!(proposed(Command::RemoveUser { name: "alice".into() }), Err(Refusal::NotPermitted));
}
