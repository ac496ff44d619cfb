//! What clients of a node do, all the while: they send mails, each of which is told from all others.

use bytes::Bytes;

use super::dice::Dice;
use super::node::World;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::ids::{AccountId, BodyId};
use crate::state::command::{Command, Deliver, DeliverTo, NewUser};
use crate::state::outcome::Outcome;

/// The account that every mail goes to.
pub const USER: &str = "alice";

/// Runs until it is aborted with its process.
pub async fn run(world: World, handle: ClusterHandle) {
    let dice = Dice::new(world.seed ^ handle.clock().command_id().0 as u64, "client");
    // As the rooms above do, which open their ports then.
    handle.belongs().await;
    loop {
        tokio::time::sleep(dice.ms(20, 500)).await;
        let Some(account) = account(&handle).await else { continue };
        send(&world, &handle, account, dice.roll()).await;
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

/// One mail. Whether it was acknowledged.
pub async fn send(world: &World, handle: &ClusterHandle, account: AccountId, number: u64) -> bool {
    let raw = Bytes::from(format!("Subject: {number}\r\n\r\nfrom {}\r\n", handle.node()));
    let body = BodyId::of(&raw);
    world.ledger.lock().unwrap().sent.insert(body);
    let sent = deliver(handle, account, raw).await;
    world.trace.note(|| format!("{} sent {body}: {}", handle.node(), told(&sent)));
    let mut ledger = world.ledger.lock().unwrap();
    match sent {
        Ok(Outcome::Delivered { .. }) => {
            ledger.acked.insert(body);
            true
        }
        _ => {
            ledger.refused += 1;
            false
        }
    }
}

async fn deliver(handle: &ClusterHandle, account: AccountId, raw: Bytes) -> Result<Outcome, Fault> {
    let mut placing = handle.place().await?;
    placing.push(raw).await?;
    let body = placing.finish().await?;
    let to = vec![DeliverTo { account, mailbox: "INBOX".into(), flags: Default::default() }];
    handle.propose(Command::Deliver(Deliver { body, to })).await
}

fn told(sent: &Result<Outcome, Fault>) -> String {
    match sent {
        Ok(Outcome::Delivered { .. }) => "acknowledged".into(),
        Ok(other) => format!("{other:?}"),
        Err(fault) => fault.to_string(),
    }
}

/// All that was committed before is applied at this node when it returns. (Refused, so that it changes nothing.)
pub async fn barrier(handle: &ClusterHandle) -> Option<Outcome> {
    let refused = Command::MarkInSync { node: handle.node(), complete_to: crate::mail::ids::LogIndex(0) };
    handle.propose(refused).await.ok()
}
