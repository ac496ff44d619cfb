//! One other node as this one knows it: its address, our connections to it and its to us, and what
//! was heard of it. Decides nothing; [`super::dial`] and [`super::serve`] keep it up to date.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quinn::{Connection, VarInt};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::hello::PeerHello;
use super::{CallError, Lane, PeerAddress, PeerState};
use crate::mail::ids::NodeId;

/// Codes of closed connections; the reason beside them is for people.
pub(super) const CLOSE_BYE: VarInt = VarInt::from_u32(0);
pub(super) const CLOSE_REFUSED: VarInt = VarInt::from_u32(1);
pub(super) const CLOSE_REMOVED: VarInt = VarInt::from_u32(2);
pub(super) const CLOSE_REPLACED: VarInt = VarInt::from_u32(3);

pub(super) struct Peer {
    pub(super) node: NodeId,
    address: Mutex<PeerAddress>,
    links: [Link; 2],
    /// Its connections to us, one a lane.
    incoming: Mutex<[Option<Connection>; 2]>,
    since: Instant,
    /// Milliseconds after `since`, plus one; 0: never.
    heard_at_ms: AtomicU64,
    notes: Mutex<Notes>,
}

/// Our connection to the peer on one lane.
pub(super) struct Link {
    pub(super) state: watch::Sender<LinkState>,
    /// Ends a back-off at once.
    pub(super) kick: Notify,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Clone)]
pub(super) enum LinkState {
    Dialling,
    Up(Connection),
    Down(String),
}

#[derive(Default)]
struct Notes {
    refused_because: Option<String>,
    hello: Option<PeerHello>,
}

impl Peer {
    pub(super) fn new(node: NodeId, address: PeerAddress) -> Self {
        let link = || Link {
            state: watch::Sender::new(LinkState::Dialling),
            kick: Notify::new(),
            task: Mutex::new(None),
        };
        Self {
            node,
            address: Mutex::new(address),
            links: [link(), link()],
            incoming: Mutex::new([None, None]),
            since: Instant::now(),
            heard_at_ms: AtomicU64::new(0),
            notes: Mutex::new(Notes::default()),
        }
    }

    pub(super) fn link(&self, lane: Lane) -> &Link {
        &self.links[lane as usize]
    }

    pub(super) fn address(&self) -> PeerAddress {
        locked(&self.address).clone()
    }

    /// Leaves connections to an old address.
    pub(super) fn move_to(&self, address: PeerAddress) {
        let mut own = locked(&self.address);
        if *own == address {
            return;
        }
        *own = address;
        drop(own);
        self.redial("its address changed");
    }

    /// Drops our connections and dials anew, without back-off.
    pub(super) fn redial(&self, why: &str) {
        for link in &self.links {
            if let LinkState::Up(connection) = &*link.state.borrow() {
                connection.close(CLOSE_REPLACED, why.as_bytes());
            }
            link.kick.notify_one();
        }
    }

    /// Ends all connections both ways, to dial anew.
    pub(super) fn greet_anew(&self) {
        let why = "its history changed";
        for connection in locked(&self.incoming).iter_mut().filter_map(Option::take) {
            connection.close(CLOSE_REPLACED, why.as_bytes());
        }
        self.redial(why);
    }

    pub(super) fn set_task(&self, lane: Lane, task: AbortHandle) {
        *locked(&self.link(lane).task) = Some(task);
    }

    /// Ends all connections with this peer, for ever.
    pub(super) fn cut(&self, code: VarInt, why: &str) {
        for link in &self.links {
            if let Some(task) = locked(&link.task).take() {
                task.abort();
            }
            let last = link.state.send_replace(LinkState::Down(why.to_owned()));
            if let LinkState::Up(connection) = last {
                connection.close(code, why.as_bytes());
            }
        }
        for connection in locked(&self.incoming).iter_mut().filter_map(Option::take) {
            connection.close(code, why.as_bytes());
        }
    }

    /// Takes the peer's new connection in place of its last one on that lane.
    pub(super) fn came_in(&self, lane: Lane, connection: Connection, hello: PeerHello) {
        self.accepted(hello);
        let old = locked(&self.incoming)[lane as usize].replace(connection);
        if let Some(old) = old {
            old.close(CLOSE_REPLACED, b"a newer connection took its place");
        }
        for link in &self.links {
            // It lives: no reason to wait out a back-off.
            link.kick.notify_one();
        }
    }

    /// Both hellos were accepted. The first word of a new process tells that connections to the last
    /// one are dead, which the bulk lane would notice only after 15 s.
    pub(super) fn accepted(&self, hello: PeerHello) {
        let mut notes = locked(&self.notes);
        let restarted = notes.hello.as_ref().is_some_and(|known| known.incarnation != hello.incarnation);
        notes.refused_because = None;
        notes.hello = Some(hello);
        drop(notes);
        self.heard();
        if restarted {
            self.redial("it has restarted");
        }
    }

    /// Remembers a refusal, and logs it unless it is the one that was logged last.
    pub(super) fn refused(&self, why: &str) {
        let mut notes = locked(&self.notes);
        if notes.refused_because.as_deref() != Some(why) {
            tracing::warn!(node = self.node.0, "no connection with node {}: {why}", self.node);
            notes.refused_because = Some(why.to_owned());
        }
    }

    pub(super) fn heard(&self) {
        let now_ms = self.since.elapsed().as_millis() as u64 + 1;
        self.heard_at_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> PeerState {
        let links = [self.links[0].state.borrow().clone(), self.links[1].state.borrow().clone()];
        let heard_at_ms = self.heard_at_ms.load(Ordering::Relaxed);
        let notes = locked(&self.notes);
        PeerState {
            connected: [0, 1].map(|lane| matches!(links[lane], LinkState::Up(_))),
            heard_ago: heard_at_ms
                .checked_sub(1)
                .map(|at_ms| self.since.elapsed().saturating_sub(Duration::from_millis(at_ms))),
            round_trip: links.iter().find_map(|link| match link {
                LinkState::Up(connection) => Some(connection.rtt()),
                LinkState::Dialling | LinkState::Down(_) => None,
            }),
            refused_because: notes.refused_because.clone(),
            hello: notes.hello.clone(),
        }
    }

    pub(super) fn unreachable(&self, why: impl std::fmt::Display) -> CallError {
        CallError::Unreachable { node: self.node, why: why.to_string() }
    }
}

/// A panic elsewhere leaves these plain values whole.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
