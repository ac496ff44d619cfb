//! openraft's view of the log in [`crate::store::log`]: our bytes on one side, its types on the other.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};

use super::codec::{payload_bytes, payload_from};
use super::types::{Entry, LogId, TypeConfig, Vote, log_id};
use crate::store::log::{LogPosition, LogStore, LogVote};

/// Bytes of one append message's entries, and of one stretch read for apply.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// Entries read for apply in one stretch.
const READ_ENTRIES_MAX: u64 = 1024;

/// The log as openraft wants it. Cheap to clone: a clone is a reader.
#[derive(Clone)]
pub struct RaftLog {
    store: LogStore,
    /// The machine's last applied index plus one; 0: nothing.
    applied_next: Arc<AtomicU64>,
}

impl RaftLog {
    /// `applied_next` is kept by the machine.
    pub fn new(store: LogStore, applied_next: Arc<AtomicU64>) -> Self {
        Self { store, applied_next }
    }

    pub fn store(&self) -> &LogStore {
        &self.store
    }

    async fn read(&self, mut from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        while from < to {
            let read = self.store.read(from..to, bytes_max).await?;
            if !read.is_empty() || self.store.state().purged.is_some() {
                return read.into_iter().map(|(position, payload)| entry(position, payload)).collect();
            }
            // A log that was never purged may begin behind the index asked for; ours begins at 0.
            from += 1;
        }
        Ok(Vec::new())
    }

    fn bounds<RB: RangeBounds<u64>>(&self, range: &RB) -> (u64, u64) {
        let from = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let state = self.store.state();
        let first = state.purged.map_or(0, |purged| purged.index + 1);
        let end = state.last.map_or(0, |last| last.index + 1);
        (from.max(first), to.min(end))
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (mut from, to) = self.bounds(&range);
        let mut entries = Vec::new();
        while from < to {
            let read = self.read(from, to, READ_BYTES_MAX).await?;
            let Some(last) = read.last() else { break };
            from = last.log_id.index + 1;
            entries.extend(read);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        // A node that comes back applies hundreds of thousands of entries in one go: read in stretches.
        let (from, to) = self.bounds(&range);
        let start = Stretch { log: self.clone(), from, to, read: VecDeque::new() };
        futures_util::stream::unfold(Some(start), |stretch| async move {
            let mut stretch = stretch?;
            match stretch.next().await {
                Ok(Some(entry)) => Some((Ok(entry), Some(stretch))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.store.state().vote.map(vote_from))
    }
}

struct Stretch {
    log: RaftLog,
    from: u64,
    to: u64,
    read: VecDeque<Entry>,
}

impl Stretch {
    async fn next(&mut self) -> io::Result<Option<Entry>> {
        if self.read.is_empty() && self.from < self.to {
            let to = self.to.min(self.from + READ_ENTRIES_MAX);
            self.read = self.log.read(self.from, to, READ_BYTES_MAX).await?.into();
            match self.read.back() {
                Some(last) => self.from = last.log_id.index + 1,
                None => return Err(io::Error::other(format!("the log lacks entry {}", self.from))),
            }
        }
        Ok(self.read.pop_front())
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.store.state();
        Ok(LogState {
            last_purged_log_id: state.purged.map(log_id_from),
            last_log_id: state.last.map(log_id_from),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = LogVote {
            term: vote.leader_id.term,
            voted_for: vote.leader_id.voted_for,
            committed: vote.committed,
        };
        Ok(self.store.save_vote(vote).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        Ok(self.store.save_committed(committed.map(position))?)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.store.state().committed.map(log_id_from))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<(LogPosition, Bytes)> = entries
            .into_iter()
            .map(|entry| (position(entry.log_id), payload_bytes(&entry.payload)))
            .collect();
        let durable = Box::new(move |result| callback.io_completed(result));
        Ok(self.store.append(entries, durable).await?)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let keep_next = last.map_or(0, |last| last.index + 1);
        let applied_next = self.applied_next.load(Ordering::Acquire);
        if keep_next < applied_next {
            // What is applied is committed, and what is committed is never cut: stop rather than part.
            return Err(io::Error::other(format!(
                "bug: asked to cut the log behind entry {keep_next}, but {applied_next} are applied; stopping"
            )));
        }
        Ok(self.store.truncate_after(last.map(position))?)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        Ok(self.store.purge(position(upto))?)
    }
}

fn entry(position: LogPosition, payload: Bytes) -> io::Result<Entry> {
    Ok(Entry { log_id: log_id_from(position), payload: payload_from(payload)? })
}

/// The term has one leader, so that the log need not name it.
fn position(id: LogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, leader: 0, index: id.index }
}

pub fn log_id_from(position: LogPosition) -> LogId {
    log_id(position.term, position.index)
}

fn vote_from(vote: LogVote) -> Vote {
    if vote.committed {
        Vote::new_committed(vote.term, vote.voted_for)
    } else {
        Vote::new(vote.term, vote.voted_for)
    }
}
