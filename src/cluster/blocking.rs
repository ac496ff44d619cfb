//! Work that blocks on a disk, off the runtime's threads.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Runs `work` where blocking does no harm: on a thread for that, where the runtime has several. A runtime of one
/// thread runs it in place, so that nothing in it depends on which thread was quicker (a simulation replays exactly).
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await,
    }
}
