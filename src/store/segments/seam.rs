//! What bodies are kept on, where it is not the files of this room: the disk of a simulation. Each method promises
//! what the method of the same name on [`Bodies`](super::Bodies) promises.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{BodyBytes, BodyError, Scrubbed};
use crate::mail::ids::BodyId;

pub trait BodyDisk: Send + Sync + 'static {
    /// Durable when it resolves.
    fn store(&self, id: BodyId, bytes: Bytes) -> BoxFuture<'static, Result<(), BodyError>>;
    /// The same at once, for those who may block.
    fn store_now(&self, id: BodyId, bytes: Bytes) -> Result<(), BodyError>;
    fn sync_running_for(&self) -> Option<Duration>;
    fn get(&self, id: BodyId) -> Result<Option<Bytes>, BodyError>;
    fn contains(&self, id: BodyId) -> Result<bool, BodyError>;
    fn count(&self) -> u64;
    fn bytes(&self) -> BodyBytes;
    fn forget(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, BodyError>;
    fn ids_after(&self, after: Option<BodyId>, max: usize) -> Result<Vec<BodyId>, BodyError>;
    fn scrub(&self, after: Option<BodyId>, bytes_max: u64) -> Result<Scrubbed, BodyError>;
}
