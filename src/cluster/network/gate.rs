//! The witness gate (design 3): entries wait for a live data peer before the witness gets them.
//!
//! Without it a fast witness makes commits land on the leader and itself while a healthy peer lags, and when the
//! leader dies the witness rightly refuses that peer: nobody could lead.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

/// A peer that lags more than this is catching up: it could not lead soon anyway, and writes must go on.
pub const LAG_ENTRIES_MAX: u64 = 4_096;
/// The longest an append waits at the gate. Heartbeats never wait.
pub const WAIT_MAX: Duration = Duration::from_secs(1);
/// How often the gate looks again when nothing is heard.
pub const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// A data peer (not the leader), as the gate sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLag {
    /// Since its last answer; `None`: never heard.
    pub heard_ago: Option<Duration>,
    /// What it acknowledged in this leadership, plus one; `None`: nothing yet.
    pub acked_next: Option<u64>,
    /// An append waited for it in vain up to here; until it has that, nothing waits for it.
    pub given_up_next: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Wait,
}

/// Whether an append that ends before `wanted_next` may go to the witness.
pub fn decide(peers: &[PeerLag], wanted_next: u64, alive_within: Duration) -> Verdict {
    let holds_back = |peer: &PeerLag| {
        let alive = peer.heard_ago.is_some_and(|ago| ago <= alive_within);
        let acked_next = peer.acked_next.unwrap_or(0);
        let behind = acked_next < wanted_next;
        let given_up = peer.given_up_next.is_some_and(|upto| acked_next < upto);
        let catching_up =
            peer.acked_next.is_some_and(|next| wanted_next - next.min(wanted_next) > LAG_ENTRIES_MAX);
        alive && behind && !given_up && !catching_up
    };
    if peers.iter().any(holds_back) { Verdict::Wait } else { Verdict::Pass }
}

/// What the peers acknowledged to this leader. Ticks at each acknowledgement.
pub struct Acks {
    peers: Mutex<BTreeMap<u64, Acked>>,
    ticks: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Acked {
    pub next: Option<u64>,
    pub given_up_next: Option<u64>,
}

impl Default for Acks {
    fn default() -> Self {
        Self { peers: Mutex::default(), ticks: watch::Sender::new(0) }
    }
}

impl Acks {
    /// A new leadership: what was acknowledged to an earlier one may have been cut since.
    pub fn forget(&self, peer: u64) {
        self.with(|peers| peers.insert(peer, Acked::default()));
    }

    pub fn acked(&self, peer: u64, next: u64) {
        self.with(|peers| {
            let acked = peers.entry(peer).or_default();
            acked.next = acked.next.max(Some(next));
        });
        self.ticks.send_modify(|ticks| *ticks += 1);
    }

    pub fn give_up(&self, peer: u64, upto_next: u64) {
        self.with(|peers| peers.entry(peer).or_default().given_up_next = Some(upto_next));
    }

    pub fn get(&self, peer: u64) -> Acked {
        self.with(|peers| peers.get(&peer).copied().unwrap_or_default())
    }

    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<u64, Acked>) -> T) -> T {
        work(&mut self.peers.lock().expect("no holder of the acknowledgements panics"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIVE: Duration = Duration::from_millis(250);

    fn peer(heard_ms: Option<u64>, acked_next: Option<u64>) -> PeerLag {
        PeerLag { heard_ago: heard_ms.map(Duration::from_millis), acked_next, given_up_next: None }
    }

    #[test]
    fn entries_wait_for_a_live_peer_that_has_not_acknowledged_them() {
        assert_eq!(decide(&[peer(Some(10), Some(99))], 100, ALIVE), Verdict::Wait);
        assert_eq!(decide(&[peer(Some(10), Some(100))], 100, ALIVE), Verdict::Pass);
        assert_eq!(decide(&[peer(Some(10), None)], 100, ALIVE), Verdict::Wait, "a leadership begins");
    }

    #[test]
    fn a_silent_peer_holds_nothing_back() {
        assert_eq!(decide(&[peer(Some(250), Some(1))], 100, ALIVE), Verdict::Wait, "at the bound");
        assert_eq!(decide(&[peer(Some(251), Some(1))], 100, ALIVE), Verdict::Pass);
        assert_eq!(decide(&[peer(None, None)], 100, ALIVE), Verdict::Pass);
        assert_eq!(decide(&[], 100, ALIVE), Verdict::Pass, "no data peer");
    }

    #[test]
    fn a_peer_that_catches_up_holds_nothing_back() {
        let wanted = LAG_ENTRIES_MAX + 100;
        assert_eq!(decide(&[peer(Some(1), Some(100))], wanted, ALIVE), Verdict::Wait, "at the bound");
        assert_eq!(decide(&[peer(Some(1), Some(99))], wanted, ALIVE), Verdict::Pass);
    }

    #[test]
    fn nothing_waits_twice_for_a_peer_that_was_waited_for_in_vain() {
        let mut slow = peer(Some(1), Some(50));
        slow.given_up_next = Some(60);
        assert_eq!(decide(&[slow], 70, ALIVE), Verdict::Pass);
        slow.acked_next = Some(60);
        assert_eq!(decide(&[slow], 70, ALIVE), Verdict::Wait, "it has come after all");
    }

    #[test]
    fn acknowledgements_only_grow_until_they_are_forgotten() {
        let acks = Acks::default();
        acks.acked(2, 10);
        acks.acked(2, 7);
        assert_eq!(acks.get(2).next, Some(10));
        acks.forget(2);
        assert_eq!(acks.get(2).next, None);
    }
}
