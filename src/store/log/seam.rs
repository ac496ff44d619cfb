//! What a log is kept on, where it is not the files of this room: the disk of a simulation. Each method promises
//! what the method of the same name on [`LogStore`](super::LogStore) promises.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{LogError, LogPosition, LogState, LogVote, OnDurable};

pub trait LogDisk: Send + Sync + 'static {
    fn state(&self) -> LogState;
    fn durable_state(&self) -> LogState;
    fn save_vote(&self, vote: LogVote) -> BoxFuture<'static, Result<(), LogError>>;
    fn save_committed(&self, committed: Option<LogPosition>) -> Result<(), LogError>;
    fn append(
        &self,
        entries: Vec<(LogPosition, Bytes)>,
        on_durable: OnDurable,
    ) -> BoxFuture<'static, Result<(), LogError>>;
    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), LogError>;
    fn purge(&self, upto: LogPosition) -> Result<(), LogError>;
    fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<Vec<(LogPosition, Bytes)>, LogError>>;
    fn bytes_on_disk(&self) -> u64;
    fn sync_running_for(&self) -> Option<Duration>;
}
