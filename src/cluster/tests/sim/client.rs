//! What clients of a node do, all the while: they send mails, each of which is told from all others, flag them, move them
//! and expunge them.

use bytes::Bytes;

use super::dice::Dice;
use super::ledger::{Done, Fate};
use super::node::World;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::flags::{NamedFlags, SystemFlag};
use crate::mail::ids::{AccountId, BodyId, LogIndex, MailboxId, Uid};
use crate::state::command::{Command, Deliver, DeliverTo, FlagChange, NewUser, StoreFlags, Transfer, UidSet};
use crate::state::outcome::{Delivered, Outcome};

/// The account that every mail goes to.
pub const USER: &str = "alice";
pub const INBOX: &str = "INBOX";
pub const ARCHIVE: &str = "Archive";

/// A mail that this client alone changes, and only while it knows what became of each change before.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    body: BodyId,
    mailbox: MailboxId,
    uid: Uid,
}

/// Runs until it is aborted with its process.
pub async fn run(world: World, handle: ClusterHandle) {
    let dice = Dice::new(world.seed ^ handle.clock().command_id().0 as u64, "client");
    // As the rooms above do, which open their ports then.
    handle.belongs().await;
    let mut own: Vec<Own> = Vec::new();
    loop {
        tokio::time::sleep(dice.ms(20, 500)).await;
        let Some(account) = account(&handle).await else { continue };
        match own.is_empty() || dice.chance(60) {
            true => own.extend(send(&world, &handle, account, dice.roll()).await),
            false => {
                let one = own.swap_remove(dice.below(own.len() as u64) as usize);
                own.extend(change(&world, &handle, account, &dice, one).await);
            }
        }
    }
}

/// The account, made by whoever comes first.
pub async fn account(handle: &ClusterHandle) -> Option<AccountId> {
    if let Some(user) = handle.directory().users.get(USER) {
        return Some(user.account);
    }
    let user = NewUser { name: USER.into(), password_phc: "$x".into(), quota_bytes: None };
    match handle.propose(Command::AddUser(user)).await {
        Ok(Outcome::UserAdded { account }) => Some(account),
        _ => None,
    }
}

/// One mail, if it was acknowledged.
pub async fn send(world: &World, handle: &ClusterHandle, account: AccountId, number: u64) -> Option<Own> {
    let raw = Bytes::from(format!("Subject: {number}\r\n\r\nfrom {}\r\n", handle.node()));
    let body = BodyId::of(&raw);
    world.ledger.lock().unwrap().change(body, |fate| fate.sent = Done::Perhaps);
    let sent = deliver(handle, account, raw).await;
    world.trace.note(|| format!("{} sent {body}: {}", handle.node(), told(&sent)));
    let Ok(Outcome::Delivered { results }) = sent else { return None };
    world.ledger.lock().unwrap().change(body, |fate| fate.sent = Done::Yes);
    let Some(Ok(Delivered { mailbox, uid })) = results.first().cloned() else { return None };
    Some(Own { body, mailbox, uid })
}

async fn deliver(handle: &ClusterHandle, account: AccountId, raw: Bytes) -> Result<Outcome, Fault> {
    let mut placing = handle.place().await?;
    placing.push(raw).await?;
    let body = placing.finish().await?;
    let to = vec![DeliverTo { account, mailbox: INBOX.into(), flags: Default::default() }];
    handle.propose(Command::Deliver(Deliver { body, to })).await
}

/// \Seen given or taken, a move, or an expunge. The mail, if it is still there and known.
async fn change(
    world: &World,
    handle: &ClusterHandle,
    account: AccountId,
    dice: &Dice,
    own: Own,
) -> Option<Own> {
    let uids = UidSet::from_ascending([own.uid]);
    match dice.below(5) {
        0 => {
            let expunge = Command::Expunge { mailbox: own.mailbox, uids, only_deleted: false };
            do_it(world, handle, own, expunge, (|fate| &mut fate.expunged, Done::Yes)).await;
            None
        }
        1 => {
            let Ok(Some(archive)) = handle.mailbox(account, ARCHIVE).await else { return Some(own) };
            if archive.id == own.mailbox {
                return Some(own);
            }
            let to_archive = Command::Move(Transfer { from: own.mailbox, uids, to: archive.id });
            let done = do_it(world, handle, own, to_archive, (|fate| &mut fate.archived, Done::Yes)).await?;
            let Outcome::Copied { to, .. } = done else { return None };
            let uid = to.ranges().first()?.0;
            Some(Own { mailbox: archive.id, uid, ..own })
        }
        given => {
            let (change, then) = match given {
                2 => (FlagChange::Remove, Done::No),
                _ => (FlagChange::Add, Done::Yes),
            };
            let flags = NamedFlags { system: SystemFlag::Seen as u8, keywords: Vec::new() };
            let store = StoreFlags { mailbox: own.mailbox, uids, change, flags, unchanged_since: None };
            do_it(world, handle, own, Command::Store(store), (|fate| &mut fate.seen, then)).await?;
            Some(own)
        }
    }
}

/// Proposes it; `of` is what it changes, which is `then` if it was done. `None`: nobody knows.
async fn do_it(
    world: &World,
    handle: &ClusterHandle,
    own: Own,
    command: Command,
    (of, then): (fn(&mut Fate) -> &mut Done, Done),
) -> Option<Outcome> {
    let set = |done: Done| world.ledger.lock().unwrap().change(own.body, |fate| *of(fate) = done);
    set(Done::Perhaps);
    world.trace.note(|| format!("{} asks for {command:?} of {}", handle.node(), own.body));
    let done = handle.propose(command).await;
    world.trace.note(|| format!("{} is told of {}: {}", handle.node(), own.body, told(&done)));
    match done {
        Ok(Outcome::Refused(refusal)) => {
            if !refusal.is_temporary() {
                world.check.violated(format!("a change of {} was refused: {refusal}", own.body));
            }
            None
        }
        Ok(outcome) => {
            set(then);
            world.ledger.lock().unwrap().changes += 1;
            Some(outcome)
        }
        Err(_) => None,
    }
}

fn told(done: &Result<Outcome, Fault>) -> String {
    match done {
        Ok(Outcome::Delivered { .. }) => "acknowledged".into(),
        Ok(other) => format!("{other:?}"),
        Err(fault) => fault.to_string(),
    }
}

/// All that was committed before is applied at this node when it returns. (Refused, so that it changes nothing.)
pub async fn barrier(handle: &ClusterHandle) -> Option<Outcome> {
    let refused = Command::MarkInSync { node: handle.node(), complete_to: LogIndex(0) };
    handle.propose(refused).await.ok()
}
