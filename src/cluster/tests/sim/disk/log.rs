//! The log's part: one serial writer that syncs what has gathered, then answers, in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Lie, Open};
use crate::store::log::{LogDisk, LogError, LogPosition, LogState, LogVote, OnDurable};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    pub state: LogState,
    pub entries: BTreeMap<u64, (LogPosition, Bytes)>,
}

pub enum LogOp {
    Vote(LogVote),
    Committed(Option<LogPosition>),
    Append(Vec<(LogPosition, Bytes)>),
    TruncateAfter(Option<LogPosition>),
    Purge(LogPosition),
}

/// Who hears that an operation is durable.
pub enum Waiting {
    Nobody,
    Append(OnDurable),
    Vote(oneshot::Sender<()>),
}

impl Log {
    pub fn take(&mut self, op: &LogOp) {
        let state = &mut self.state;
        match op {
            LogOp::Vote(vote) => state.vote = Some(*vote),
            LogOp::Committed(committed) => state.committed = *committed,
            LogOp::Append(entries) => {
                for (position, payload) in entries {
                    self.entries.insert(position.index, (*position, payload.clone()));
                    state.last = Some(*position);
                }
            }
            LogOp::TruncateAfter(last) => {
                let keep_next = last.map_or(0, |last| last.index + 1);
                self.entries.split_off(&keep_next);
                let purged_next = state.purged.map_or(0, |purged| purged.index + 1);
                if state.last.is_some_and(|end| end.index >= keep_next) {
                    state.last = if keep_next < purged_next { state.purged } else { *last };
                }
            }
            LogOp::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                if state.purged.is_none_or(|purged| purged.index < upto.index) {
                    state.purged = Some(*upto);
                }
                if state.last.is_none_or(|last| last.index <= upto.index) {
                    state.last = state.purged;
                }
            }
        }
    }
}

fn gone() -> LogError {
    LogError::Io("the process is dead".into())
}

impl Open {
    fn queue(&self, op: LogOp, waiting: Waiting) -> Result<(), LogError> {
        let mut state = self.state().ok_or_else(gone)?;
        state.log.take(&op);
        state.log_unsynced.push_back((op, waiting));
        if state.log_syncing_since.is_none() {
            state.log_syncing_since = Some(Instant::now());
            tokio::spawn(self.clone().sync_log());
        }
        Ok(())
    }

    /// Syncs what has gathered until nothing is left.
    async fn sync_log(self) {
        loop {
            let Some(count) = self.state().map(|state| state.log_unsynced.len()) else { return };
            self.shared.sync_time().await;
            let Some(mut state) = self.state() else { return };
            let synced: Vec<_> = state.log_unsynced.drain(..count).collect();
            if state.lie != Lie::ForgetsLog {
                synced.iter().for_each(|(op, _)| state.log_synced.take(op));
            }
            state.log_syncing_since = (!state.log_unsynced.is_empty()).then(Instant::now);
            let ended = state.log_unsynced.is_empty();
            drop(state);
            for (op, waiting) in synced {
                match &op {
                    LogOp::Vote(vote) => self.shared.check.vote(self.shared.node, *vote),
                    LogOp::Append(entries) => self.shared.check.synced(self.shared.node, entries),
                    LogOp::Committed(_) | LogOp::TruncateAfter(_) | LogOp::Purge(_) => {}
                }
                match waiting {
                    Waiting::Nobody => {}
                    Waiting::Append(on_durable) => on_durable(Ok(())),
                    Waiting::Vote(answer) => drop(answer.send(())),
                }
            }
            if ended {
                return;
            }
        }
    }

    async fn vote(self: Arc<Open>, vote: LogVote) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        self.queue(LogOp::Vote(vote), Waiting::Vote(answer))?;
        answered.await.map_err(|_| gone())
    }
}

/// `Arc<Open>` is what the stores hold; the futures outlive the borrow.
impl LogDisk for Open {
    fn state(&self) -> LogState {
        self.state().map(|state| state.log.state).unwrap_or_default()
    }

    fn durable_state(&self) -> LogState {
        self.state().map(|state| state.log_synced.state).unwrap_or_default()
    }

    fn save_vote(&self, vote: LogVote) -> BoxFuture<'static, Result<(), LogError>> {
        Box::pin(Arc::new(self.clone()).vote(vote))
    }

    fn save_committed(&self, committed: Option<LogPosition>) -> Result<(), LogError> {
        if let (Some(committed), Some(state)) = (committed, self.state()) {
            self.shared.check.committed(self.shared.node, state.look(), committed);
        }
        self.queue(LogOp::Committed(committed), Waiting::Nobody)
    }

    fn append(
        &self,
        entries: Vec<(LogPosition, Bytes)>,
        on_durable: OnDurable,
    ) -> BoxFuture<'static, Result<(), LogError>> {
        if let Some(state) = self.state() {
            self.shared.check.append(self.shared.node, &state.log, &entries);
        }
        let queued = self.queue(LogOp::Append(entries), Waiting::Append(on_durable));
        Box::pin(async move { queued })
    }

    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), LogError> {
        if let Some(state) = self.state() {
            self.shared.check.truncate(self.shared.node, &state.log, last);
        }
        self.queue(LogOp::TruncateAfter(last), Waiting::Nobody)
    }

    fn purge(&self, upto: LogPosition) -> Result<(), LogError> {
        self.queue(LogOp::Purge(upto), Waiting::Nobody)
    }

    fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<Vec<(LogPosition, Bytes)>, LogError>> {
        let read = || {
            let state = self.state().ok_or_else(gone)?;
            let end = state.log.state.last.map_or(0, |last| last.index + 1).min(range.end);
            if range.start >= end {
                return Ok(Vec::new());
            }
            if let Some(purged) = state.log.state.purged.filter(|purged| range.start <= purged.index) {
                return Err(LogError::Misuse(format!("{} is purged ({purged:?})", range.start)));
            }
            let mut bytes = 0;
            let within = |(_, entry): &(&u64, &(LogPosition, Bytes))| {
                let fits = bytes <= bytes_max;
                bytes += entry.1.len();
                fits
            };
            let entries = state.log.entries.range(range.start..end).take_while(within);
            Ok(entries.map(|(_, entry)| entry.clone()).collect())
        };
        let read = read();
        Box::pin(async move { read })
    }

    fn bytes_on_disk(&self) -> u64 {
        let bytes = |state: std::sync::MutexGuard<'_, super::State>| {
            state.log.entries.values().map(|(_, payload)| payload.len() as u64).sum()
        };
        self.state().map_or(0, bytes)
    }

    fn sync_running_for(&self) -> Option<Duration> {
        self.state()?.log_syncing_since.map(|since| since.elapsed())
    }
}
