//! Work that blocks on a disk, off the runtime's threads.

use std::cell::Cell;

use tokio::task::JoinError;

thread_local! {
    /// Whether this thread has the whole runtime to itself, and its disks never block: a simulation. What runs
    /// elsewhere comes back sooner or later as the machine has time, and then no simulation replays exactly.
    static IN_PLACE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` where blocking does no harm.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if IN_PLACE.get() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

/// From now on, whether what this thread asks for is done in place.
#[cfg(test)]
pub fn in_place(so: bool) {
    IN_PLACE.set(so);
}
