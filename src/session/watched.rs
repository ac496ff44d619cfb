//! What a client does too often, told to the cluster, and whether its host is blocked. A session refuses by what this node
//! knows; whoever is blocked is turned away at the door of every node that has heard of it.
//!
//! Never refuses because the cluster cannot be asked: what is noted then is lost.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::login::{Authenticated, Claim, LoginRefused, Logins};
use crate::clock::Clock;
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::Timestamp;
use crate::state::blocks::{Blocks, Host, NoteOffense, Offense};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::outcome::Outcome;

/// A fail-over included.
const NOTE_MS_MAX: u64 = 5_000;

/// What watching wants of a replica, whichever it is.
trait Cluster: Send + Sync {
    fn propose(&self, command: Command) -> Wish<'_>;
}

type Wish<'a> = Pin<Box<dyn Future<Output = Result<Outcome, Fault>> + Send + 'a>>;

impl<R: Replica> Cluster for R {
    fn propose(&self, command: Command) -> Wish<'_> {
        Box::pin(Replica::propose(self, command))
    }
}

/// Watches over all that this node serves.
pub struct Watchman {
    cluster: Arc<dyn Cluster>,
    clock: Clock,
    directory: watch::Receiver<Arc<Directory>>,
    blocks: watch::Receiver<Arc<Blocks>>,
}

impl Watchman {
    pub fn new<R: Replica>(replica: R) -> Arc<Self> {
        Arc::new(Self {
            clock: replica.clock().clone(),
            directory: replica.watch_directory(),
            blocks: replica.watch_blocks(),
            cluster: Arc::new(replica),
        })
    }

    pub fn is_blocked(&self, address: IpAddr) -> bool {
        let block = self.blocks.borrow().of(Host::of(address), self.clock.now()).is_some();
        block && !self.directory.borrow().settings().is_never_blocked(address)
    }

    async fn note(&self, address: IpAddr, offense: Offense) {
        let Some(noted) = self.noted(address, offense) else { return };
        info!("{address}: {offense:?}");
        let told = self.cluster.propose(Command::NoteOffense(Box::new(noted)));
        match timeout(Duration::from_millis(NOTE_MS_MAX), told).await {
            Ok(Ok(Outcome::Done)) if self.is_blocked(address) => info!("{address} is blocked: {offense:?}"),
            Ok(Ok(Outcome::Done)) => {}
            other => warn!("{offense:?} of {address} is not counted: {other:?}"),
        }
    }

    /// By the settings of the moment. `None`: it does not matter.
    fn noted(&self, address: IpAddr, offense: Offense) -> Option<NoteOffense> {
        let directory = self.directory.borrow();
        let (settings, now) = (directory.settings(), self.clock.now());
        let (tolerated, forget_at, blocked_until) = match offense {
            Offense::FailedLogin => {
                let (window, duration) =
                    (settings.block_failed_logins_seconds(), settings.block_duration_seconds());
                (settings.block_failed_logins_max(), in_seconds(now, window), in_seconds(now, duration))
            }
            Offense::UnknownRecipient => {
                let tomorrow = next_day(now);
                (settings.block_unknown_recipients_max(), tomorrow, tomorrow)
            }
        };
        let host = Host::of(address);
        let matters = tolerated > 0 && !settings.is_never_blocked(address);
        matters.then_some(NoteOffense { host, offense, tolerated, forget_at, blocked_until })
    }
}

/// One client. The default is one that nobody watches.
#[derive(Default)]
pub struct Watched {
    by: Option<(Arc<Watchman>, IpAddr)>,
}

impl Watched {
    /// `None`: it comes from a unix socket, or by LMTP for somebody else.
    pub fn new(watchman: &Arc<Watchman>, address: Option<IpAddr>) -> Self {
        Self { by: address.map(|address| (Arc::clone(watchman), address)) }
    }

    pub fn is_blocked(&self) -> bool {
        self.by.as_ref().is_some_and(|(watchman, address)| watchman.is_blocked(*address))
    }

    /// A login that fails is counted before the client hears of it. Whoever is blocked meanwhile learns nothing more.
    pub async fn check(&self, logins: &Logins, claim: &Claim) -> Result<Authenticated, LoginRefused> {
        if self.is_blocked() {
            return logins.refuse(LoginRefused::Unsure).await;
        }
        match logins.judge(claim).await {
            Err(refused) => {
                if refused == LoginRefused::Wrong {
                    self.note(Offense::FailedLogin).await;
                }
                logins.refuse(refused).await
            }
            verdict => verdict,
        }
    }

    /// In a place of its own: a session that does nothing wrong does not hold the room for it.
    pub async fn note(&self, offense: Offense) {
        if let Some((watchman, address)) = &self.by {
            Box::pin(watchman.note(*address, offense)).await;
        }
    }
}

fn in_seconds(now: Timestamp, seconds: u64) -> Timestamp {
    Timestamp(now.0.saturating_add(seconds.saturating_mul(1_000)))
}

/// Of UTC.
fn next_day(now: Timestamp) -> Timestamp {
    const DAY_MS: u64 = 86_400_000;
    Timestamp((now.0 / DAY_MS).saturating_add(1).saturating_mul(DAY_MS))
}

#[cfg(test)]
mod tests;
