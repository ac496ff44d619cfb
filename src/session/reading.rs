//! The large messages that sessions hold while their clients read: bounded in all and for each account, so that
//! clients who ask for much and read slowly cannot fill the node's memory.
//!
//! A place goes with the last slice of its message. Who finds none waits a moment and is then refused for now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::{AccountId, BodyId};

/// Messages up to this size are not counted: the bound on connections bounds them.
pub const UNCOUNTED_BYTES_MAX: u64 = 64 * 1024;
/// Accounts with a share in the map before those without a message in hand are forgotten.
const ACCOUNTS_KEPT_MAX: usize = 256;
/// What one permit stands for, bytes.
const PERMIT_BYTES: u64 = 1024;

#[derive(Debug, Clone, Copy)]
pub struct ReadingBounds {
    /// Bytes of large messages in the hands of all sessions. One that is larger counts as this much.
    pub held_bytes_max: u64,
    /// Bytes of them in the hands of one account's sessions: a share, so that nobody shuts out the rest.
    pub held_bytes_per_account_max: u64,
    pub wait_ms_max: u64,
}

impl Default for ReadingBounds {
    fn default() -> Self {
        Self { held_bytes_max: 256 << 20, held_bytes_per_account_max: 64 << 20, wait_ms_max: 10_000 }
    }
}

/// Shared by all sessions of a node.
pub struct ReadingRoom {
    bounds: ReadingBounds,
    all: Arc<Semaphore>,
    shares: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
}

/// A message and its place, given back together.
struct Held {
    bytes: Bytes,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Default for ReadingRoom {
    fn default() -> Self {
        Self::new(ReadingBounds::default())
    }
}

impl ReadingRoom {
    pub fn new(bounds: ReadingBounds) -> Self {
        let all = Arc::new(Semaphore::new(permits(bounds.held_bytes_max) as usize));
        Self { bounds, all, shares: Mutex::default() }
    }

    /// The raw message of `size` bytes for a session of `account`.
    ///
    /// # Errors
    /// [`Fault::Busy`] when the bounds leave no place for it within the wait; else what the replica says.
    pub async fn read<R: Replica>(
        &self,
        replica: &R,
        account: AccountId,
        (body, size): (BodyId, u64),
    ) -> Result<Bytes, Fault> {
        if size <= UNCOUNTED_BYTES_MAX {
            return replica.body(body).await;
        }
        let wait = Duration::from_millis(self.bounds.wait_ms_max);
        let busy = || Fault::Busy("clients hold as many large messages as they may".to_owned());
        let places = timeout(wait, self.places(account, size)).await.ok().flatten().ok_or_else(busy)?;
        let bytes = replica.body(body).await?;
        Ok(Bytes::from_owner(Held { bytes, _places: places }))
    }

    /// The account's own share first: who has used it up waits without keeping others from theirs.
    async fn places(
        &self,
        account: AccountId,
        size: u64,
    ) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let own = size.min(self.bounds.held_bytes_per_account_max);
        let own = self.share(account).acquire_many_owned(permits(own)).await.ok()?;
        let all = size.min(self.bounds.held_bytes_max);
        let all = Arc::clone(&self.all).acquire_many_owned(permits(all)).await.ok()?;
        Some((own, all))
    }

    fn share(&self, account: AccountId) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().expect("no holder of this lock panics");
        if shares.len() >= ACCOUNTS_KEPT_MAX {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let whole = permits(self.bounds.held_bytes_per_account_max) as usize;
        Arc::clone(shares.entry(account).or_insert_with(|| Arc::new(Semaphore::new(whole))))
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::cluster::memory::MemoryReplica;
    use crate::cluster::replica::Placing;

    const MIB: u64 = 1 << 20;

    async fn with_body(bytes: u64) -> (MemoryReplica, (BodyId, u64)) {
        let replica = MemoryReplica::new(Clock::system());
        let mut placing = replica.place().await.unwrap();
        placing.push(Bytes::from(vec![b'x'; bytes as usize])).await.unwrap();
        let placed = placing.finish().await.unwrap();
        (replica, (placed.id, bytes))
    }

    fn room(all: u64, own: u64) -> ReadingRoom {
        ReadingRoom::new(ReadingBounds {
            held_bytes_max: all,
            held_bytes_per_account_max: own,
            wait_ms_max: 20,
        })
    }

    #[tokio::test]
    async fn one_account_fills_its_share_and_no_more_and_a_slice_keeps_the_place() {
        let (replica, body) = with_body(MIB).await;
        let room = room(10 * MIB, 2 * MIB);
        let (a, b) = (AccountId(1), AccountId(2));
        let first = room.read(&replica, a, body).await.unwrap();
        let second = room.read(&replica, a, body).await.unwrap();
        assert!(matches!(room.read(&replica, a, body).await, Err(Fault::Busy(_))));
        assert_eq!(room.read(&replica, b, body).await.unwrap().len() as u64, MIB, "others are unharmed");
        let slice = first.slice(..10);
        drop(first);
        assert!(room.read(&replica, a, body).await.is_err(), "a part of it is still in hand");
        drop(slice);
        assert!(room.read(&replica, a, body).await.is_ok());
        drop(second);
    }

    #[tokio::test]
    async fn all_together_fill_the_room_and_no_more() {
        let (replica, body) = with_body(MIB).await;
        let room = room(3 * MIB, 2 * MIB);
        let mut held = Vec::new();
        for account in 1..=3 {
            held.push(room.read(&replica, AccountId(account), body).await.unwrap());
        }
        assert!(matches!(room.read(&replica, AccountId(4), body).await, Err(Fault::Busy(_))));
        held.pop();
        assert!(room.read(&replica, AccountId(4), body).await.is_ok());
    }

    #[tokio::test]
    async fn a_message_beyond_the_share_is_read_alone_and_small_ones_are_not_counted() {
        let (replica, large) = with_body(3 * MIB).await;
        let room = room(2 * MIB, MIB);
        let held = room.read(&replica, AccountId(1), large).await.unwrap();
        assert!(room.read(&replica, AccountId(1), large).await.is_err());
        let (replica, small) = with_body(UNCOUNTED_BYTES_MAX).await;
        let mut many = Vec::new();
        for _ in 0..100 {
            many.push(room.read(&replica, AccountId(1), small).await.unwrap());
        }
        drop(held);
    }

    #[tokio::test]
    async fn accounts_with_nothing_in_hand_are_forgotten() {
        let (replica, body) = with_body(UNCOUNTED_BYTES_MAX + 1).await;
        let room = room(MIB, MIB);
        for account in 0..2 * ACCOUNTS_KEPT_MAX as u64 {
            room.read(&replica, AccountId(account), body).await.unwrap();
        }
        assert!(room.shares.lock().unwrap().len() <= ACCOUNTS_KEPT_MAX);
    }
}
