//! What this leader is asked to commit, in rounds: whatever comes while one is on its way goes with the next, as one
//! append, one sync and one message to each peer. Whoever comes alone waits for nobody.

use std::time::Duration;

use futures_util::StreamExt;
use openraft::errors::ClientWriteError;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::network::Raft;
use super::propose::{Committed, Missed, PROPOSALS_MAX};
use super::types::Encoded;
use crate::mail::ids::LogIndex;

/// Further ones go with the round after.
const ENTRIES_PER_ROUND_MAX: usize = 256;
/// A round that takes longer holds up no other.
const ROUND_ALONE_MAX: Duration = Duration::from_millis(20);

/// Ends when it is dropped.
pub struct Rounds {
    waiting: mpsc::Sender<Waiting>,
}

struct Waiting {
    entry: Encoded,
    answer: oneshot::Sender<Result<Committed, Missed>>,
}

impl Rounds {
    pub fn start(runtime: &Handle, raft: Raft) -> Self {
        let (waiting, gathering) = mpsc::channel(PROPOSALS_MAX);
        runtime.spawn(run(raft, gathering));
        Self { waiting }
    }

    /// Until it is committed and applied here. Whoever lets go earlier cannot know whether it will be.
    pub async fn commit(&self, entry: Encoded) -> Result<Committed, Missed> {
        let (answer, answered) = oneshot::channel();
        self.waiting.send(Waiting { entry, answer }).await.map_err(|_| Missed::Stopped)?;
        answered.await.unwrap_or(Err(Missed::Stopped))
    }
}

async fn run(raft: Raft, mut gathering: mpsc::Receiver<Waiting>) {
    let mut gathered = Vec::new();
    while gathering.recv_many(&mut gathered, ENTRIES_PER_ROUND_MAX).await > 0 {
        // Who has let go meanwhile asks again, or has given up.
        gathered.retain(|waiting| !waiting.answer.is_closed());
        if !gathered.is_empty() {
            let round = tokio::spawn(round(raft.clone(), std::mem::take(&mut gathered)));
            let _ = tokio::time::timeout(ROUND_ALONE_MAX, round).await;
        }
    }
}

async fn round(raft: Raft, gathered: Vec<Waiting>) {
    let (entries, answers): (Vec<_>, Vec<_>) =
        gathered.into_iter().map(|waiting| (waiting.entry, waiting.answer)).unzip();
    // Who is not answered hears that Raft has stopped.
    let Ok(mut written) = raft.client_write_many(entries).await else { return };
    for answer in answers {
        let Some(Ok(written)) = written.next().await else { return };
        let committed = match written {
            Ok(written) => {
                let index = LogIndex(written.log_id.index);
                written.response.0.map(|outcome| Committed { index, outcome }).ok_or(Missed::NotLeader)
            }
            Err(
                ClientWriteError::ForwardToLeader(_)
                | ClientWriteError::LogEntryDiscarded(_)
                | ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_),
            ) => Err(Missed::NotLeader),
        };
        // Nobody may wait any longer.
        let _ = answer.send(committed);
    }
}
