//! What became of each mail on this node: who sent it, what each check found, what was said, where it went. For operators
//! (`pollux trace`), who ask all nodes at once.
//!
//! Each event is counted as well (`meters`), also where nothing is written down.
//!
//! It is this node's own, and no part of what is promised: a line may be lost in a crash, and where the disk cannot take
//! them in time lines are left out. No mail ever waits for it. Two kinds of files, so that a flood of what is refused
//! does not push out what was taken; each is bounded in octets and in age.

mod counted;
mod event;
mod files;
mod query;
mod told;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

pub use self::event::{
    Check, Client, DISCARDED, Event, Fate, Heard, JUNK, Received, Recipient, Refused, Sent, TAKEN, What,
};
use self::files::Files;
pub use self::query::{Found, LINE_BYTES_MAX, Query};
use crate::mail::ids::Timestamp;
use crate::meters::METERS;

/// Lines that wait for the disk; a further one is left out.
const WAITING_MAX: usize = 4_096;
/// A disk that takes longer is not waited for.
const FLUSH_MS_MAX: u64 = 5_000;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Octets of each of the two kinds of files.
    pub bytes_max: u64,
    /// Older lines are dropped. 0: nothing is written down.
    pub days_max: u64,
}

/// The log of this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct MailLog {
    /// `None`: nothing is written down.
    inner: Option<Arc<Inner>>,
}

struct Inner {
    folder: PathBuf,
    orders: SyncSender<Order>,
    /// Since the start.
    left_out: AtomicU64,
    listener: Arc<OnceLock<mpsc::Sender<Event>>>,
}

enum Order {
    Write(Box<Event>),
    Flush(oneshot::Sender<()>),
}

impl MailLog {
    /// `node` is told with each line; `bounds` is asked at each, so that a change of the settings counts at once.
    pub fn open(folder: PathBuf, node: &str, bounds: impl Fn() -> Bounds + Send + 'static) -> Self {
        let (orders, taken) = sync_channel(WAITING_MAX);
        let (files, listener) = (Files::new(folder.clone()), Arc::<OnceLock<_>>::default());
        let (listens, node) = (Arc::clone(&listener), node.to_owned());
        let spawned = std::thread::Builder::new()
            .name("maillog".to_owned())
            .spawn(move || write(&taken, files, &node, &bounds, &listens));
        match spawned {
            Ok(_) => {
                let inner = Inner { folder, orders, left_out: AtomicU64::new(0), listener };
                Self { inner: Some(Arc::new(inner)) }
            }
            Err(error) => {
                warn!("the log of mails cannot be kept: {error}");
                Self::default()
            }
        }
    }

    /// Whatever is written down from now on, to one who listens; what he does not take in time is left out and counted.
    pub fn listen(&self, waiting_max: usize) -> mpsc::Receiver<Event> {
        let (tell, hear) = mpsc::channel(waiting_max);
        if let Some(inner) = &self.inner {
            let _ = inner.listener.set(tell);
        }
        hear
    }

    /// Never waits.
    pub fn note(&self, at: Timestamp, what: What) {
        counted::count(&what);
        let Some(inner) = &self.inner else { return };
        if let Err(TrySendError::Full(_)) =
            inner.orders.try_send(Order::Write(Box::new(Event { at: at.0, what })))
            && inner.left_out.fetch_add(1, Ordering::Relaxed).is_multiple_of(10_000)
        {
            warn!("the disk does not keep up with the log of mails: lines of it are left out");
        }
    }

    /// Everything that fits and was noted before, oldest first; the newest of it where that is too much.
    pub async fn find(&self, query: Query) -> io::Result<Found> {
        let Some(inner) = self.inner.clone() else { return Ok(Found::default()) };
        self.flush().await?;
        let found = tokio::task::spawn_blocking(move || files::find(&inner.folder, &query));
        found.await.map_err(io::Error::other)?
    }

    /// What was noted is with the system when this returns.
    pub async fn flush(&self) -> io::Result<()> {
        let Some(inner) = &self.inner else { return Ok(()) };
        let (done, flushed) = oneshot::channel();
        let busy = || io::Error::other("the disk does not keep up with the log of mails");
        inner.orders.try_send(Order::Flush(done)).map_err(|_| busy())?;
        let flushed = timeout(Duration::from_millis(FLUSH_MS_MAX), flushed).await;
        flushed.map_err(|_| busy())?.map_err(|_| io::Error::other("the log of mails has ended"))
    }
}

/// Until nobody is left who could write.
fn write(
    orders: &Receiver<Order>,
    mut files: Files,
    node: &str,
    bounds: &dyn Fn() -> Bounds,
    listener: &OnceLock<mpsc::Sender<Event>>,
) {
    loop {
        let order = match orders.try_recv() {
            Ok(order) => order,
            Err(TryRecvError::Disconnected) => return files.flush(),
            Err(TryRecvError::Empty) => {
                files.flush();
                let Ok(order) = orders.recv() else { return };
                order
            }
        };
        match order {
            Order::Write(event) => {
                let bounds = bounds();
                if bounds.days_max > 0 {
                    told::tell(&event.what, node);
                    files.write(&event, bounds);
                    if let Some(listener) = listener.get()
                        && let Err(mpsc::error::TrySendError::Full(_)) = listener.try_send(*event)
                    {
                        METERS.telemetry_left_out.one();
                    }
                }
            }
            Order::Flush(done) => {
                files.flush();
                // Who asked may be gone.
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
