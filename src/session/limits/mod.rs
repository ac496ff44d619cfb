//! Limits that hold over all nodes, as this node keeps to them: it holds tokens of budgets in advance
//! ([`state::limits`](crate::state::limits)) and asks for more when they are gone. Whoever asks for the same waits for
//! one answer. While the cluster cannot be asked this node counts for itself: it never refuses because of that, and never
//! lets more pass than the whole cluster would.

mod budgets;
mod exempt;
mod host;
mod seats;
#[cfg(test)]
mod tests;
mod user;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use crate::clock::Clock;
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::{LogIndex, NodeId};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::limits::{BudgetId, Granted, Limit, TakeTokens};
use crate::state::outcome::Outcome;
use budgets::{Budgets, Purse};
pub use exempt::is_exempt;
pub use host::HostLimits;
pub use seats::{HostSeat, SeatKeeper};
pub use user::UserLimits;

/// A fail-over included; beyond it this node counts for itself for [`BLIND_MS`].
const ASK_MS_MAX: u64 = 5_000;
const BLIND_MS: u64 = 5_000;
/// Time for the other nodes to give back what they hold.
const GIVE_BACK_MS_MAX: u64 = 1_000;
/// Budgets given back at a time.
const GIVING_BACK_MAX: usize = 64;

/// Nothing is left, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    #[error("too many connections from your host")]
    Seats,
    #[error("too many connections from your host within a minute")]
    Connections,
    #[error("too many messages from your host within a minute")]
    Messages,
    #[error("You have sent as many messages today as you may")]
    MessagesSent,
    #[error("You have sent as much today as you may")]
    BytesSent,
}

impl Spent {
    /// RFC 3463.
    pub fn enhanced(self) -> &'static str {
        match self {
            Self::Seats => "4.7.0",
            Self::Connections | Self::Messages | Self::MessagesSent | Self::BytesSent => "4.7.1",
        }
    }
}

/// What limits want of a replica, whichever it is.
trait Cluster: Send + Sync {
    fn propose(&self, command: Command) -> Wish<'_>;
    fn watch_budgets(&self) -> broadcast::Receiver<BudgetId>;
}

type Wish<'a> = Pin<Box<dyn Future<Output = Result<Outcome, Fault>> + Send + 'a>>;

impl<R: Replica> Cluster for R {
    fn propose(&self, command: Command) -> Wish<'_> {
        Box::pin(Replica::propose(self, command))
    }

    fn watch_budgets(&self) -> broadcast::Receiver<BudgetId> {
        Replica::watch_budgets(self)
    }
}

/// The limits of all that this node serves.
pub struct Limits {
    cluster: Arc<dyn Cluster>,
    node: NodeId,
    clock: Clock,
    directory: watch::Receiver<Arc<Directory>>,
    budgets: Budgets,
    /// Until then this node counts for itself; milliseconds as of the clock.
    blind_until: AtomicU64,
}

impl Limits {
    /// Gives back what others want for as long as anybody holds the limits.
    pub fn start<R: Replica>(replica: R) -> Arc<Self> {
        let (node, clock) = (replica.node(), replica.clock().clone());
        Self::of(replica.watch_directory(), Arc::new(replica), (node, clock))
    }

    fn of(
        directory: watch::Receiver<Arc<Directory>>,
        cluster: Arc<dyn Cluster>,
        (node, clock): (NodeId, Clock),
    ) -> Arc<Self> {
        let limits = Arc::new(Self {
            node,
            clock,
            directory,
            cluster,
            budgets: Budgets::default(),
            blind_until: AtomicU64::new(0),
        });
        let wanted = limits.cluster.watch_budgets();
        tokio::spawn(give_back(Arc::downgrade(&limits), wanted));
        limits
    }

    /// Takes one token; false when there is none left in this window. `tokens_max` 0 is unlimited.
    pub async fn take(&self, limit: Limit, key: &[u8], tokens_max: u64) -> bool {
        self.take_some(limit, key, (1, tokens_max)).await
    }

    /// The same of so many, or none.
    async fn take_some(&self, limit: Limit, key: &[u8], (needed, tokens_max): (u64, u64)) -> bool {
        if tokens_max == 0 || needed == 0 {
            return true;
        }
        let (key, slot) = self.budgets.slot(limit, key, self.clock.now());
        let mut purse = slot.purse.lock().await;
        let until = limit.window_end(self.clock.now());
        if purse.until != until {
            *purse = Purse { until, ..Purse::default() };
        }
        if purse.tokens < needed {
            if purse.refused_at.is_some_and(|(max, count)| max == tokens_max && count <= needed) {
                return false;
            }
            let budget = BudgetId { until, limit, key };
            match self.ask(&budget, (needed, tokens_max), &mut purse).await {
                Some(true) => {}
                Some(false) => {
                    purse.refused_at = Some((tokens_max, needed));
                    return false;
                }
                None if purse.passed.saturating_add(needed) > tokens_max => return false,
                None => purse.tokens = needed,
            }
        }
        purse.tokens -= needed;
        purse.passed = purse.passed.saturating_add(needed);
        true
    }

    /// Asks until there are as many, or surely not; once others hold some, as long as they may take to give it back.
    /// `None`: nobody can be asked.
    async fn ask(
        &self,
        budget: &BudgetId,
        (needed, tokens_max): (u64, u64),
        purse: &mut Purse,
    ) -> Option<bool> {
        if self.clock.now().0 < self.blind_until.load(Ordering::Relaxed) {
            return None;
        }
        let patience = Instant::now() + Duration::from_millis(GIVE_BACK_MS_MAX);
        loop {
            let mut scarce = self.cluster.watch_budgets();
            let granted = self.propose(budget, tokens_max, purse, needed).await?;
            if purse.tokens >= needed {
                return Some(true);
            }
            if !granted.others_hold {
                return Some(false);
            }
            let given_back = async {
                // Our own word that it is scarce comes first; what else is said of it is theirs.
                while scarce.recv().await.is_ok_and(|said| said != *budget) {}
            };
            if timeout_at(patience, given_back).await.is_err() {
                return Some(false);
            }
        }
    }

    /// `None`: the cluster cannot be asked, and whether it heard is not known; what was held is gone.
    async fn propose(
        &self,
        budget: &BudgetId,
        tokens_max: u64,
        purse: &mut Purse,
        needed: u64,
    ) -> Option<Granted> {
        let ask = TakeTokens {
            node: self.node,
            budget: budget.clone(),
            tokens_max,
            grant: std::mem::replace(&mut purse.grant, LogIndex(0)),
            unused: std::mem::take(&mut purse.tokens),
            needed,
        };
        let asked = self.cluster.propose(Command::TakeTokens(ask));
        match timeout(Duration::from_millis(ASK_MS_MAX), asked).await {
            Ok(Ok(Outcome::TokensTaken(granted))) => {
                purse.grant = granted.grant;
                purse.tokens = granted.tokens;
                Some(granted)
            }
            other => {
                let until = self.clock.now().0.saturating_add(BLIND_MS);
                self.blind_until.store(until, Ordering::Relaxed);
                warn!("limits are counted by this node alone for {BLIND_MS} ms: {other:?}");
                None
            }
        }
    }

    /// What is unused of a budget that is scarce goes to whoever asks next.
    async fn settle(&self, budget: &BudgetId) {
        let Some(slot) = self.budgets.known(budget.limit, &budget.key) else { return };
        let mut purse = slot.purse.lock().await;
        if purse.until == budget.until && purse.grant != LogIndex(0) {
            self.propose(budget, 0, &mut purse, 0).await;
            purse.grant = LogIndex(0);
        }
    }
}

/// Each on its own: one may wait for its turn behind a client that asks for more.
async fn give_back(limits: std::sync::Weak<Limits>, mut wanted: broadcast::Receiver<BudgetId>) {
    let places = Arc::new(Semaphore::new(GIVING_BACK_MAX));
    loop {
        let scarce = match wanted.recv().await {
            Ok(budget) => vec![budget],
            Err(RecvError::Lagged(_)) => match limits.upgrade() {
                Some(limits) => limits.budgets.held().await,
                None => return,
            },
            Err(RecvError::Closed) => return,
        };
        for budget in scarce {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Some(limits) = limits.upgrade() else { return };
            tokio::spawn(async move {
                limits.settle(&budget).await;
                drop(place);
            });
        }
    }
}
