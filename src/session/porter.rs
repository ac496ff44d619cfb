//! Lets clients in, or sees them off: while the node is drained, and when it stops.
//!
//! A port that is shut refuses connections, so that a sender takes the next MX and a mail program the next address at
//! once; a greeting of 421 or BYE would be an answer, after which many try no further.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

use super::admission::Doors;
use crate::cluster::replica::Replica;

/// How clients are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcome {
    Open,
    /// Nobody new comes in; who is here leaves as soon as he is in the middle of nothing.
    Closing,
    /// Who is here leaves at once.
    Closed,
}

/// Once clients of a drained node were told to leave: who is still in the middle of an answer then is cut off.
const DRAINED_LEAVE_MS_MAX: u64 = 10_000;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Porter {
    pub welcome: watch::Sender<Welcome>,
    pub doors: Arc<Doors>,
    pub sessions: Arc<Mutex<JoinSet<()>>>,
}

impl Porter {
    pub fn let_in(&self) {
        self.welcome.send_replace(Welcome::Open);
    }

    /// Returns when nobody is left. Clients get `grace` to end what they are in the middle of, are then told to leave, and
    /// after `wait` cut off. Cancel-safe.
    pub async fn see_off(&self, grace: Duration, wait: Duration) {
        self.welcome.send_replace(Welcome::Closing);
        if timeout(grace, self.doors.empty()).await.is_ok() {
            return;
        }
        self.welcome.send_replace(Welcome::Closed);
        if timeout(wait, self.doors.empty()).await.is_err() {
            info!("{} sessions did not end in time and are cut off", self.doors.connections());
            self.sessions.lock().expect("no holder of this lock panics").abort_all();
            self.doors.empty().await;
        }
    }

    /// As the replicated state says of this node, until it ends.
    pub async fn follow<R: Replica>(self, replica: R) {
        let mut drained = replica.watch_drained();
        let own = replica.node();
        loop {
            if drained.wait_for(|nodes| nodes.contains(&own)).await.is_err() {
                return;
            }
            info!("this node is drained: its mail ports are shut until it is undrained");
            let grace = replica.directory().settings().cluster_drain_seconds_max();
            let seen_off = async {
                let wait = Duration::from_millis(DRAINED_LEAVE_MS_MAX);
                self.see_off(Duration::from_secs(grace), wait).await;
                info!("drained: no client is left");
                std::future::pending::<()>().await
            };
            tokio::select! {
                biased;
                undrained = drained.wait_for(|nodes| !nodes.contains(&own)) => if undrained.is_err() { return },
                () = seen_off => {}
            }
            info!("this node is undrained: its mail ports open");
            self.let_in();
        }
    }
}

/// Resolves when nobody is let in any longer, and also when nobody is left who could say so. Cancel-safe.
pub(super) async fn closes(welcome: &mut watch::Receiver<Welcome>) {
    let _ = welcome.wait_for(|welcome| *welcome != Welcome::Open).await;
}

/// Resolves when all are to leave at once; as above.
pub(super) async fn closed(welcome: &mut watch::Receiver<Welcome>) {
    let _ = welcome.wait_for(|welcome| *welcome == Welcome::Closed).await;
}
