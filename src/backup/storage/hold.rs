//! Who writes is alone. A folder is locked by the kernel. A bucket knows no locks: whoever wants to write puts a claim there first,
//! then looks whether there are others, so that of two at once at most one goes on. A claim that nobody renewed for ten minutes,
//! by the store's own clock, is that of a process that died.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::bucket::Bucket;
use crate::backup::BackupError;
use crate::clock::BootTime;
use crate::store::files::DirLock;

pub const PREFIX: &str = "lock-";
const CLAIM: &[u8] = b"A process of Pollux writes here.\n";
const RENEW_EACH: Duration = Duration::from_secs(60);
/// Since it was renewed last: then its holder gives up.
const HELD_MAX: Duration = Duration::from_secs(300);
/// Since it was renewed last: then others do not heed it.
const HEEDED_SECONDS_MAX: i64 = 600;
/// For taking a claim away again.
const LEAVE: Duration = Duration::from_secs(5);

pub enum Hold {
    Folder(DirLock),
    Bucket(Claim),
}

impl Hold {
    /// That it is held still.
    pub fn check(&self) -> Result<(), BackupError> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Bucket(claim) => claim.check(),
        }
    }
}

/// On a bucket; given back when it is dropped.
pub struct Claim {
    bucket: Arc<Bucket>,
    name: String,
    /// When it was renewed last; `None`: it is lost.
    renewed: Renewed,
    renewing: JoinHandle<()>,
}

type Renewed = Arc<Mutex<Option<BootTime>>>;

impl Claim {
    pub fn begin(bucket: &Arc<Bucket>) -> Result<Self, BackupError> {
        let name = format!("{PREFIX}{:016x}", bucket.draw());
        let begun = BootTime::now();
        bucket.put(&name, CLAIM.to_vec())?;
        let renewed = Arc::new(Mutex::new(Some(begun)));
        let renewing =
            bucket.runtime().spawn(renew(Arc::downgrade(bucket), name.clone(), Arc::clone(&renewed)));
        let claim = Self { bucket: Arc::clone(bucket), name, renewed, renewing };
        let listed = bucket.listed()?;
        let mut claims: Vec<_> = listed.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let own = claims.iter().position(|(name, _)| *name == claim.name).map(|at| claims.swap_remove(at).1);
        let own = own.ok_or_else(|| claim.lost())?;
        for (other, meta) in claims {
            if is_heeded(own.last_modified, meta.last_modified) {
                return Err(BackupError::in_use(bucket));
            }
            bucket.remove(&other)?;
        }
        Ok(claim)
    }

    fn check(&self) -> Result<(), BackupError> {
        let (bucket, name, renewed) =
            (Arc::clone(&self.bucket), self.name.clone(), Arc::clone(&self.renewed));
        let (store, at) = (bucket.store(), bucket.at(&name));
        let done = bucket.wait(async move { renew_once(&*store, &at, &renewed).await });
        match (done, self.renewed.lock().unwrap_or_else(PoisonError::into_inner).is_some()) {
            (Ok(()), true) => Ok(()),
            (Err(error), true) => Err(bucket.fault(&name, &error)),
            (_, false) => Err(self.lost()),
        }
    }

    fn lost(&self) -> BackupError {
        BackupError::Unavailable(format!(
            "{}: what this process held there was taken over, for it was silent too long; begin again",
            self.bucket
        ))
    }
}

/// Both by the store's clock.
fn is_heeded(now: DateTime<Utc>, renewed: DateTime<Utc>) -> bool {
    now.signed_duration_since(renewed).num_seconds() < HEEDED_SECONDS_MAX
}

async fn renew(bucket: Weak<Bucket>, name: String, renewed: Renewed) {
    loop {
        sleep(RENEW_EACH).await;
        let Some((store, at)) = bucket.upgrade().map(|bucket| (bucket.store(), bucket.at(&name))) else {
            return;
        };
        // What fails is tried again in a minute; what took too long is seen there.
        let _ = renew_once(&*store, &at, &renewed).await;
    }
}

async fn renew_once(store: &dyn ObjectStore, at: &Path, renewed: &Renewed) -> Result<(), StoreError> {
    let begun = BootTime::now();
    let is_there = match store.head(at).await {
        Ok(_) => store.put(at, PutPayload::from_static(CLAIM)).await.map(|_| true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    let mut renewed = renewed.lock().unwrap_or_else(PoisonError::into_inner);
    // Late it may have been taken for dead between the look and the renewal.
    let in_time = renewed.is_some_and(|last| BootTime::now().since(last) < HELD_MAX);
    match is_there {
        Ok(true) if in_time => *renewed = Some(begun),
        Err(error) if in_time => return Err(error),
        _ => *renewed = None,
    }
    Ok(())
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.renewing.abort();
        let (store, at) = (self.bucket.store(), self.bucket.at(&self.name));
        let _ = self.bucket.wait(async move { tokio::time::timeout(LEAVE, store.delete(&at)).await });
    }
}
