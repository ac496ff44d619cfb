//! Leave to act as the only leader until a moment, for what is not Raft's: who acts on it has to have begun by then.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use openraft::ServerState;
use openraft_rt::Instant as _;

use super::local::Local;
use super::types::Role;

/// How long the rooms above may take to let go of what the leader alone may hold, before leadership is handed over.
const STAND_ASIDE_MAX: Duration = Duration::from_secs(1);

/// This node has led since the beginning of `term`, and has applied an entry of it: it has all that leaders before it
/// committed. Until `until` no other node is elected, unless leadership is handed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeadPermit {
    pub term: u64,
    pub until: Instant,
}

/// Has the rooms above let go of what the leader alone may hold, and keeps them from taking it again while what it gives
/// lives.
pub type StandAside = Box<dyn Fn() -> BoxFuture<'static, Box<dyn Send>> + Send + Sync>;

impl Local {
    /// How long after a heartbeat those who took it elect nobody else: Raft's lease.
    pub fn lease(&self) -> Duration {
        self.election()
    }

    /// `None`: it does not lead, or has yet to apply an entry of its term, or no majority has confirmed it so far.
    pub fn lead_permit(&self) -> Option<LeadPermit> {
        if self.config.role == Role::Witness {
            return None;
        }
        // Before the figures are read: what is later by then is taken for earlier. Where this node is a majority by itself,
        // they say nothing, and it confirms itself.
        let now = Instant::now();
        self.look(|metrics| {
            let term = metrics.current_term;
            let applied = metrics.last_applied.as_ref().map(|id| id.committed_leader_id().term);
            if metrics.state != ServerState::Leader || applied != Some(term) {
                return None;
            }
            let alone = metrics.membership_config.membership().voter_ids().all(|voter| voter == self.id.0);
            // When the heartbeat was sent that a majority took last.
            let confirmed = match alone {
                true => now,
                false => now.checked_sub(metrics.last_quorum_acked?.into_inner().elapsed())?,
            };
            // By so much clocks may differ in rate, and a timer may be late.
            let margin = self.lease() / 8;
            Some(LeadPermit { term, until: confirmed + self.lease() - margin })
        })
    }

    /// Before leadership is handed over: whoever gets it then need not wait. Whoever is not let go of in time is waited for.
    pub(super) async fn stand_aside(&self) -> Option<Box<dyn Send>> {
        let aside = self.standing_aside.get()?;
        let stood = tokio::time::timeout(STAND_ASIDE_MAX, aside()).await;
        stood.inspect_err(|_| tracing::warn!("leadership goes on although something is held still")).ok()
    }
}
