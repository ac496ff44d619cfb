//! What the witness gate promises: the witness gets no entry that a data node which answers does not have. Looked at
//! as the entry comes to the witness, so that whoever takes the gate away is told at once, and not by an election that
//! nobody wins some day.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::config::Timing;

/// The longest that an append waits at the gate (`network::gate`); a peer that is waited for in vain counts no longer.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// An acknowledgement that a leader waits for in vain is there by then, if whoever gives it answers at all.
const LATE_FOR: Duration = Duration::from_secs(3);
/// What the leader knows of the membership and of its peers is this much behind at most.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A data node that votes and does not lead, as an entry of the leader comes to the witness.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Since when the leader has heard of it, never for longer silent than the gate allows; `None`: silent now.
    pub heard_since: Option<Instant>,
    /// When the leader appended the oldest entry that the peer lacks, of those up to this one; `None`: it has all.
    pub lacks_since: Option<Instant>,
    /// When it last synced an entry that may have been waited for in vain; the leader may not have heard yet.
    pub late: Option<Instant>,
    /// When the membership came into force by which it votes.
    pub votes_since: Instant,
}

pub fn silence_max() -> Duration {
    Duration::from_millis(Timing::normal().gate_alive_ms)
}

pub fn may_be_in_vain(age: Duration) -> bool {
    age >= WAIT_MAX * 9 / 10
}

/// Whether the gate had to hold the entry back; `appended`: by the leader.
pub fn holds_back(peer: Peer, appended: Instant, now: Instant) -> bool {
    let answers = peer.heard_since.is_some_and(|since| since <= appended);
    let waited_in_vain = |since: Instant| now.duration_since(since) >= WAIT_MAX;
    let settled = appended.duration_since(peer.votes_since) >= SETTLED_AFTER;
    let late = peer.late.is_some_and(|late| now.duration_since(late) < LATE_FOR);
    answers && settled && !late && peer.lacks_since.is_some_and(|since| !waited_in_vain(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_waits_for_who_answers_until_it_was_waited_for_in_vain() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let peer = Peer {
            heard_since: Some(at(2_000)),
            lacks_since: Some(at(2_000)),
            late: None,
            votes_since: start,
        };
        assert!(holds_back(peer, at(2_000), at(2_010)));
        assert!(holds_back(peer, at(2_000), at(2_999)));
        assert!(!holds_back(peer, at(2_000), at(3_000)), "waited for in vain");
        assert!(!holds_back(Peer { heard_since: None, ..peer }, at(2_000), at(2_010)), "silent");
        assert!(
            !holds_back(Peer { heard_since: Some(at(2_001)), ..peer }, at(2_000), at(2_010)),
            "was silent"
        );
        assert!(!holds_back(Peer { lacks_since: None, ..peer }, at(2_000), at(2_010)), "it has all");
        assert!(!holds_back(Peer { late: Some(start), ..peer }, at(2_000), at(2_010)), "waited for just now");
        assert!(
            !holds_back(Peer { votes_since: at(1_001), ..peer }, at(2_000), at(2_010)),
            "votes since now"
        );
    }
}
