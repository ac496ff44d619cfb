//! Access control lists, and what others may do under them.

use super::*;
use crate::mail::flags::Flags;
use crate::mail::rights::Rights;
use crate::state::acl::{ACL_ENTRIES_MAX, Acl, RightsChange};
use crate::state::apply::acl::GRANTS_MAX;
use crate::state::codec;
use crate::state::command::{Append, GuestCommand, InternalDate, NewMessage, Replace, SetAcl};
use crate::state::keys;
use crate::state::stored::GrantsRow;

fn rights(letters: &str) -> Rights {
    Rights::parse(letters.as_bytes()).unwrap()
}

fn set_acl(by: AccountId, mailbox: MailboxId, identifier: &str, letters: &str) -> Command {
    let (identifier, change) = (identifier.to_owned(), RightsChange::Replace);
    Command::SetAcl(SetAcl { by, mailbox, identifier, change, rights: rights(letters) })
}

fn as_guest(guest: AccountId, command: GuestCommand) -> Command {
    Command::AsGuest { guest, command }
}

/// Alice, and bob, whose mailbox `shared` gives her `letters`.
struct Shared {
    world: World,
    alice: AccountId,
    bob: AccountId,
    shared: MailboxId,
}

impl Shared {
    fn new(letters: &str) -> Self {
        let (mut world, alice) = World::with_alice();
        let bob = world.add_user("bob", None);
        let shared = world.create(bob, "shared");
        world.done(set_acl(bob, shared, "alice", letters));
        Self { world, alice, bob, shared }
    }

    fn grant(&mut self, letters: &str) {
        self.world.done(set_acl(self.bob, self.shared, "alice", letters));
    }

    /// And in the mailboxes below, whose lists are their own.
    fn grant_all(&mut self, letters: &str) {
        let mailboxes = reading::mailboxes(&self.world.rows, self.bob).unwrap();
        for record in mailboxes.iter().filter(|record| record.name.starts_with("shared")) {
            self.world.done(set_acl(self.bob, record.id, "alice", letters));
        }
    }

    fn guest(&mut self, command: GuestCommand) -> Outcome {
        self.world.outcome(as_guest(self.alice, command))
    }

    fn refused(&mut self, command: GuestCommand) -> Refusal {
        self.world.refusal(as_guest(self.alice, command))
    }

    /// Two messages in the shared mailbox.
    fn filled(mut self) -> Self {
        self.world.run(Command::Append(append(self.shared, NamedFlags::default())));
        self
    }

    fn flags(&self, mailbox: MailboxId) -> Vec<Flags> {
        self.world.view(mailbox).messages().iter().map(|message| message.flags).collect()
    }

    fn rights_of_alice(&self) -> Rights {
        self.world.view(self.shared).rights_of(self.alice)
    }
}

fn append(mailbox: MailboxId, flags: NamedFlags) -> Append {
    let internal_date = InternalDate { unix_seconds: 0, zone_minutes: 0 };
    let message = |seed| NewMessage { body: body(seed, 10), flags: flags.clone(), internal_date };
    Append { mailbox, messages: vec![message(1), message(2)] }
}

fn replace((from, uid): (MailboxId, u32), to: MailboxId) -> GuestCommand {
    let message = append(to, NamedFlags::default()).messages.remove(0);
    GuestCommand::Replace(Box::new(Replace { from, uid: Uid(uid), to, message }))
}

fn flag_store(mailbox: MailboxId, change: FlagChange, flags: NamedFlags) -> GuestCommand {
    GuestCommand::Store(StoreFlags { mailbox, uids: set(&[1]), change, flags, unchanged_since: None })
}

/// What alice sees of bob's.
fn seen(world: &World, account: AccountId) -> Vec<(String, Rights)> {
    let visible = reading::visible_mailboxes(&world.rows, account).unwrap();
    let others = visible.into_iter().filter(|record| record.account != account);
    others.map(|record| (record.name, record.rights)).collect()
}

#[test]
fn each_command_needs_its_rights() {
    let mut it = Shared::new("l").filled();
    let (shared, bob) = (it.shared, it.bob);
    let own = it.world.mailbox(it.alice, "INBOX").id;
    it.world.deliver(it.alice, 1);
    let seen = || named(&[SystemFlag::Seen], &[]);
    let uids = || set(&[1]);
    let mailbox = shared;
    let table: Vec<(&str, GuestCommand)> = vec![
        ("i", GuestCommand::Append(append(shared, NamedFlags::default()))),
        ("i", GuestCommand::Copy(Transfer { from: own, uids: uids(), to: shared })),
        ("i", GuestCommand::Move(Transfer { from: own, uids: uids(), to: shared })),
        ("r", GuestCommand::Copy(Transfer { from: shared, uids: uids(), to: own })),
        ("i", replace((own, 2), shared)),
        ("rs", flag_store(shared, FlagChange::Add, seen())),
        ("rt", flag_store(shared, FlagChange::Add, named(&[SystemFlag::Deleted], &[]))),
        ("rw", flag_store(shared, FlagChange::Add, named(&[SystemFlag::Flagged], &[]))),
        ("rw", flag_store(shared, FlagChange::Add, named(&[], &["$Work"]))),
        ("re", GuestCommand::Expunge { mailbox, uids: uids() }),
        ("rte", GuestCommand::Move(Transfer { from: shared, uids: set(&[2]), to: own })),
        ("rte", replace((shared, 3), own)),
        ("k", GuestCommand::CreateMailbox { owner: bob, name: "shared/new/deep".into() }),
        (
            "kx",
            GuestCommand::RenameMailbox { owner: bob, from: "shared/new".into(), to: "shared/old".into() },
        ),
        ("x", GuestCommand::DeleteMailbox { owner: bob, name: "shared/old/deep".into() }),
    ];
    for (letters, command) in table {
        // Whoever may look the mailbox up hears that he may not; whoever may not, that it is not there.
        it.grant_all("l");
        assert_eq!(it.refused(command.clone()), Refusal::NotPermitted, "{command:?}");
        it.grant_all("");
        let hidden = it.refused(command.clone());
        let creates = matches!(command, GuestCommand::CreateMailbox { .. });
        assert!(creates || matches!(hidden, Refusal::NotFound(_)), "{command:?}: {hidden:?}");
        for missing in letters.chars() {
            it.grant_all(&format!("lpa{}", letters.replace(missing, "")));
            assert_eq!(it.refused(command.clone()), Refusal::NotPermitted, "{missing} {command:?}");
        }
        it.grant_all(letters);
        let outcome = it.guest(command.clone());
        let undone = matches!(outcome, Outcome::Refused(_) | Outcome::ReplacedNothing);
        assert!(!undone, "{letters} {command:?}: {outcome:?}");
    }
    assert_eq!(it.world.names(bob).iter().filter(|name| name.starts_with("shared")).count(), 2);
}

#[test]
fn what_was_proposed_under_rights_that_are_withdrawn_is_refused() {
    let mut it = Shared::new("lrswit").filled();
    let store = flag_store(it.shared, FlagChange::Add, named(&[SystemFlag::Seen], &[]));
    let late = it.world.proposal(as_guest(it.alice, store.clone()));
    it.grant("lr");
    let late = Proposal { id: CommandId(9_999), ..late };
    assert_eq!(it.world.apply(&late).outcome, Outcome::Refused(Refusal::NotPermitted));
    it.grant("");
    assert!(matches!(it.refused(store), Refusal::NotFound(_)));
    assert_eq!(it.flags(it.shared)[0], Flags::default());
}

#[test]
fn flags_without_their_right_are_left_as_they_are() {
    let mut it = Shared::new("lrsi");
    let all = || named(&SystemFlag::ALL, &["$Work"]);
    it.guest(GuestCommand::Append(append(it.shared, all())));
    assert_eq!(it.flags(it.shared), [Flags::SEEN, Flags::SEEN]);
    assert_eq!(it.world.mailbox(it.bob, "shared").keywords, [] as [&str; 0], "no keyword for nothing");
    // RFC 4314 4: a STORE goes as far as it may.
    it.grant("lrti");
    it.guest(flag_store(it.shared, FlagChange::Replace, all()));
    assert_eq!(it.flags(it.shared)[0], Flags::SEEN.union(Flags::DELETED));
    it.guest(flag_store(it.shared, FlagChange::Replace, NamedFlags::default()));
    assert_eq!(it.flags(it.shared)[0], Flags::SEEN);
    it.guest(flag_store(it.shared, FlagChange::Remove, named(&[SystemFlag::Seen, SystemFlag::Deleted], &[])));
    assert_eq!(it.flags(it.shared)[0], Flags::SEEN);
    // What is copied in comes with the flags that may be set there.
    it.grant("lrwi");
    let own = it.world.create(it.alice, "own");
    it.world.run(Command::Append(append(own, all())));
    it.guest(GuestCommand::Copy(Transfer { from: own, uids: set(&[1]), to: it.shared }));
    let copied = it.flags(it.shared)[2];
    assert!(copied.has(SystemFlag::Flagged) && copied.keywords == 1, "{copied:?}");
    assert!(!copied.has(SystemFlag::Seen) && !copied.has(SystemFlag::Deleted), "{copied:?}");
    it.guest(GuestCommand::Move(Transfer { from: own, uids: set(&[2]), to: it.shared }));
    assert_eq!(it.flags(it.shared)[3], copied);
}

#[test]
fn the_owner_has_all_rights_and_pays() {
    let mut it = Shared::new("lri");
    let inbox = it.world.mailbox(it.bob, "INBOX").id;
    for identifier in ["bob", "-bob"] {
        let refusal = it.world.refusal(set_acl(it.bob, it.shared, identifier, "lr"));
        assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal:?}");
    }
    it.world.done(set_acl(it.bob, it.shared, "-anyone", "lrswipkxtea"));
    assert_eq!(it.world.view(it.shared).rights_of(it.bob), Rights::ALL);
    assert_eq!(it.rights_of_alice(), Rights::NONE);
    it.world.done(set_acl(it.bob, it.shared, "-anyone", ""));
    it.world.done(Command::SetQuota { name: "bob".into(), quota_bytes: Some(25) });
    assert!(matches!(
        it.guest(GuestCommand::Append(append(it.shared, NamedFlags::default()))),
        Outcome::Appended { .. }
    ));
    assert_eq!(
        it.refused(GuestCommand::Append(append(it.shared, NamedFlags::default()))),
        Refusal::OverQuota
    );
    assert_eq!(reading::quota(&it.world.rows, it.bob).unwrap().used_bytes, 20);
    assert_eq!(reading::quota(&it.world.rows, it.alice).unwrap().used_bytes, 0);
    // INBOX is nobody else's to rename or delete, whatever his rights.
    it.world.done(set_acl(it.bob, inbox, "alice", "lrswipkxtea"));
    let (owner, name) = (it.bob, || "INBOX".to_owned());
    assert_eq!(it.refused(GuestCommand::DeleteMailbox { owner, name: name() }), Refusal::NotAllowed);
    let rename = GuestCommand::RenameMailbox { owner, from: name(), to: "INBOX/old".into() };
    assert_eq!(it.refused(rename), Refusal::NotAllowed);
    // And the top of his names is his alone.
    let top = GuestCommand::CreateMailbox { owner, name: "top".into() };
    assert_eq!(it.refused(top), Refusal::NotPermitted);
}

#[test]
fn the_right_to_administer_can_be_given() {
    let mut it = Shared::new("lr");
    let carol = it.world.add_user("carol", None);
    let by_alice = set_acl(it.alice, it.shared, "carol", "lr");
    assert_eq!(it.world.refusal(by_alice.clone()), Refusal::NotPermitted);
    it.grant("a");
    it.world.done(by_alice);
    assert_eq!(it.world.view(it.shared).rights_of(carol), rights("lr"));
    let by_carol = set_acl(carol, it.shared, "carol", "lra");
    assert_eq!(it.world.refusal(by_carol), Refusal::NotPermitted);
    let own = it.world.mailbox(it.alice, "INBOX").id;
    assert!(matches!(it.world.refusal(set_acl(it.bob, own, "bob", "lr")), Refusal::NotFound(_)));
    for nobody in ["nobody", "-nobody", "", "-", "a b", "--alice", "$team"] {
        let refusal = it.world.refusal(set_acl(it.bob, it.shared, nobody, "lr"));
        assert!(matches!(refusal, Refusal::Invalid(_)), "{nobody}: {refusal:?}");
    }
}

#[test]
fn lists_follow_their_mailboxes() {
    let mut it = Shared::new("lr");
    let (bob, alice) = (it.bob, it.alice);
    let shared = |name: &str| (format!("user/bob/{name}"), rights("lr"));
    // Children have the list of what is above, and keep it as their own.
    it.world.create(bob, "shared/a/b");
    assert_eq!(seen(&it.world, alice), [shared("shared"), shared("shared/a"), shared("shared/a/b")]);
    it.grant("");
    assert_eq!(seen(&it.world, alice), [shared("shared/a"), shared("shared/a/b")]);
    it.grant("lr");
    // A new name, the same list.
    it.world.done(Command::RenameMailbox { account: bob, from: "shared".into(), to: "b/c".into() });
    assert_eq!(seen(&it.world, alice), [shared("b/c"), shared("b/c/a"), shared("b/c/a/b")]);
    // The same name, made anew: not the old one's.
    it.world.done(Command::DeleteMailbox { account: bob, name: "b/c/a/b".into() });
    it.world.done(Command::DeleteMailbox { account: bob, name: "b/c/a".into() });
    it.world.done(Command::DeleteMailbox { account: bob, name: "b/c".into() });
    it.world.create(bob, "b/c");
    assert_eq!(seen(&it.world, alice), []);
    // INBOX's list goes with its messages.
    let inbox = it.world.mailbox(bob, "INBOX").id;
    it.world.done(set_acl(bob, inbox, "anyone", "lr"));
    assert_eq!(seen(&it.world, alice), [shared("INBOX")]);
    it.world.done(Command::RenameMailbox { account: bob, from: "INBOX".into(), to: "was".into() });
    assert_eq!(seen(&it.world, alice), [shared("was")]);
}

#[test]
fn nobody_inherits_from_a_user_who_was_removed() {
    let mut it = Shared::new("lrswipkxtea");
    it.world.done(set_acl(it.bob, it.shared, "-alice", "w"));
    it.world.done(set_acl(it.bob, it.shared, "anyone", "l"));
    it.world.done(Command::RemoveUser { name: "alice".into() });
    let identifiers = |world: &World, mailbox| -> Vec<String> {
        reading::named_acl(&world.rows, mailbox).unwrap().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(identifiers(&it.world, it.shared), ["bob", "anyone"], "at once");
    let again = it.world.add_user("alice", None);
    assert_eq!(it.world.view(it.shared).rights_of(again), rights("l"));
    let copy = GuestCommand::Copy(Transfer { from: it.shared, uids: set(&[1]), to: it.shared });
    let gone = it.guest(copy);
    assert!(matches!(gone, Outcome::Refused(Refusal::NotFound(_))), "the one that is gone can do nothing");
    // The remains are swept.
    it.world.done(set_acl(it.bob, it.shared, "anyone", ""));
    for _ in 0..20 {
        it.world.run(Command::SetClusterVersion { version: 0 });
    }
    let left = |table: u8| it.world.rows.0.keys().filter(|key| key[0] == table).count();
    assert_eq!((left(keys::ACL), left(keys::GRANT), left(keys::GRANTS)), (0, 0, 0));
}

#[test]
fn an_owner_who_is_removed_takes_his_lists_along() {
    let mut it = Shared::new("lr");
    it.world.done(set_acl(it.bob, it.shared, "anyone", "lr"));
    it.world.done(Command::RemoveUser { name: "bob".into() });
    assert_eq!(seen(&it.world, it.alice), []);
    assert_eq!(reading::reach(&it.world.rows, it.alice, "user/bob/shared").unwrap(), None);
    for _ in 0..20 {
        it.world.run(Command::SetClusterVersion { version: 0 });
    }
    let left = |table: u8| it.world.rows.0.keys().filter(|key| key[0] == table).count();
    assert_eq!((left(keys::ACL), left(keys::GRANT), left(keys::GRANTS)), (0, 0, 0));
}

#[test]
fn mailboxes_are_reached_by_the_names_that_others_write() {
    let it = Shared::new("lrx");
    let reach = |account, name: &str| reading::reach(&it.world.rows, account, name).unwrap();
    let record = reach(it.alice, "user/bob/shared").unwrap();
    assert_eq!((record.id, record.account, record.rights), (it.shared, it.bob, rights("lrx")));
    assert_eq!(record.name, "user/bob/shared");
    assert_eq!(reach(it.alice, "user/bob/INBOX").unwrap().rights, Rights::NONE);
    assert_eq!(reach(it.alice, "user/bob/Sent").unwrap().special_use, None);
    for none in ["user", "user/bob", "user/bob/none", "user/nobody/INBOX", "shared"] {
        assert_eq!(reach(it.alice, none), None, "{none}");
    }
    // By one's own name: one's own.
    let own = reach(it.bob, "user/bob/shared").unwrap();
    assert_eq!((own.name.as_str(), own.rights), ("shared", Rights::ALL));
}

#[test]
fn a_name_with_a_separator_cannot_share() {
    let (mut world, _) = World::with_alice();
    let odd = world.add_user("a/b", None);
    let inbox = world.mailbox(odd, "INBOX").id;
    assert!(matches!(world.refusal(set_acl(odd, inbox, "alice", "lr")), Refusal::Invalid(_)));
}

#[test]
fn lists_and_grants_end_at_their_bounds() {
    let mut it = Shared::new("lr");
    for number in 1..ACL_ENTRIES_MAX {
        it.world.add_user(&format!("u{number}"), None);
        it.world.done(set_acl(it.bob, it.shared, &format!("u{number}"), "lrswipkxtea"));
    }
    let more = it.world.refusal(set_acl(it.bob, it.shared, "anyone", "l"));
    assert!(matches!(more, Refusal::Limit(_)), "{more:?}");
    it.grant("");
    it.world.done(set_acl(it.bob, it.shared, "anyone", "l"));
    // One mailbox less than the most that may name alice.
    let key = keys::grants(crate::state::acl::Grantee::Account(it.alice));
    let row = GrantsRow { mailboxes: GRANTS_MAX - 1 };
    it.world.rows.0.insert(key.clone(), codec::encode_row(&key, &row).unwrap());
    let drafts = it.world.mailbox(it.bob, "Drafts").id;
    let sent = it.world.mailbox(it.bob, "Sent").id;
    it.world.done(set_acl(it.bob, drafts, "alice", "lr"));
    assert!(matches!(it.world.refusal(set_acl(it.bob, sent, "alice", "lr")), Refusal::Limit(_)));
    let below = Command::CreateMailbox { account: it.bob, name: "Drafts/x".into(), special_use: None };
    assert!(matches!(it.world.refusal(below), Refusal::Limit(_)));
    it.world.done(set_acl(it.bob, drafts, "alice", "lrs"));
    it.world.done(set_acl(it.bob, drafts, "alice", ""));
    it.world.done(set_acl(it.bob, sent, "alice", "lr"));
}

#[test]
fn a_view_hears_of_its_list() {
    let mut it = Shared::new("lr");
    let applied = it.world.run(set_acl(it.bob, it.shared, "alice", "lrs"));
    let told: Vec<&Acl> = applied
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Acl { mailbox, acl } if *mailbox == it.shared => Some(acl.as_ref()),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0], it.world.view(it.shared).acl.as_ref());
    assert!(applied.changes.contains(&Change::Mailboxes { account: it.alice }));
    assert_eq!(it.world.run(set_acl(it.bob, it.shared, "alice", "lrs")).changes, [], "nothing changed");
}
