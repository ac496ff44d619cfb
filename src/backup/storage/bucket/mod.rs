//! Backups in a bucket of an object store (Amazon's protocol, S3): every file sealed, and whole or not there, as stores have it.
//! What goes up or comes down whole lies on this box meanwhile, in a file without a name.

mod moving;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};

pub use moving::Remote;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use super::asking::StoreClient;
use super::hold::{self, Claim, Hold};
use super::sealed::{self, CHUNK_BYTES, FileKey, HEAD_BYTES, Layout, Lock, Passphrase, PlaceKey};
use super::{MARK, Stored};
use crate::asking::Asking;
use crate::backup::BackupError;
use crate::backup::location::Access;
use crate::clock::Clock;
use crate::store::files;

const MARK_BYTES_MAX: u64 = 64 << 10;
const MARK_FORMAT: u32 = 1;
const ABOUT: &str =
    "Backups of a Pollux mail server; see 'pollux backup list'. Nothing here is to be changed by hand.";

pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    path: String,
    passphrase: Passphrase,
    key: OnceLock<PlaceKey>,
    spool: PathBuf,
    clock: Clock,
    /// `None` once it is being dropped.
    runtime: Option<Runtime>,
}

/// The only file that is not sealed.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    format: u32,
    about: String,
    lock: Lock,
}

impl Bucket {
    pub fn new(
        (bucket, prefix): (&str, &str),
        access: Access,
        spool: PathBuf,
        clock: Clock,
    ) -> Result<Self, BackupError> {
        let asking = Asking::new(access.authorities.as_deref());
        let asking = asking.map_err(|error| BackupError::Refused(format!("AWS_CA_BUNDLE: {error}")))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(access.region)
            .with_access_key_id(access.key_id)
            .with_secret_access_key(access.secret_key)
            // Not every store knows deletes in bulk.
            .with_disable_bulk_delete(true)
            .with_http_connector(StoreClient(asking));
        if let Some(token) = access.session_token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = access.endpoint {
            // Without TLS where the operator says so: what lies there is sealed.
            builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
        }
        let store = builder.build().map_err(|error| BackupError::Refused(one_line(&error)))?;
        Self::over(Arc::new(store), (bucket, prefix), access.passphrase, spool, clock)
    }

    pub(super) fn over(
        store: Arc<dyn ObjectStore>,
        (bucket, prefix): (&str, &str),
        passphrase: Passphrase,
        spool: PathBuf,
        clock: Clock,
    ) -> Result<Self, BackupError> {
        // Its own, so that whoever waits for it may be a thread of any other.
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("pollux-bucket").enable_all().build();
        let runtime = runtime.map_err(|error| BackupError::Unavailable(format!("no thread: {error}")))?;
        let slash = if prefix.is_empty() { "" } else { "/" };
        Ok(Self {
            store,
            prefix: format!("{prefix}{slash}"),
            path: format!("s3://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" }),
            passphrase,
            key: OnceLock::new(),
            spool,
            clock,
            runtime: Some(runtime),
        })
    }

    /// Whether a mark is there; opens the key that it holds.
    pub fn unlock(&self) -> Result<bool, BackupError> {
        if self.key.get().is_some() {
            return Ok(true);
        }
        let (store, at) = (Arc::clone(&self.store), self.at(MARK));
        let read = self.wait(async move {
            let found = store.get(&at).await?;
            match found.meta.size {
                0..=MARK_BYTES_MAX => found.bytes().await.map(Some),
                _ => Ok(None),
            }
        });
        let bytes = match read {
            Err(StoreError::NotFound { .. }) => return Ok(false),
            read => read.map_err(|error| self.fault(MARK, &error))?,
        };
        let mark: Option<Mark> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mark = mark.ok_or_else(|| {
            BackupError::Damaged(format!("{}: it is not what was written", self.path(MARK)))
        })?;
        if mark.format != MARK_FORMAT {
            return Err(BackupError::Refused(format!(
                "{}: it has format {}, and this build reads {MARK_FORMAT}: use a newer pollux",
                self.path(MARK),
                mark.format
            )));
        }
        let key = self.passphrase.open(&mark.lock).ok_or_else(|| {
            BackupError::Refused(format!("the passphrase does not open {self}: it is that of other backups"))
        })?;
        let _ = self.key.set(key);
        Ok(true)
    }

    /// Takes it, and makes it one of backups where it is empty.
    pub fn take(self: &Arc<Self>) -> Result<Hold, BackupError> {
        let claim = Claim::begin(self)?;
        if !self.unlock()? {
            if !self.files()?.is_empty() {
                return Err(BackupError::Refused(format!(
                    "{self} is not empty and holds no backups; name another prefix"
                )));
            }
            let (mut drawn, mut salt) = ([0; 32], [0; 16]);
            self.clock.fill(&mut drawn);
            self.clock.fill(&mut salt);
            let key = PlaceKey::new(drawn);
            let lock = self.passphrase.lock(&key, &salt);
            let mark = Mark { format: MARK_FORMAT, about: ABOUT.to_owned(), lock };
            let bytes = serde_json::to_vec(&mark).expect("it consists of numbers and texts");
            self.put(MARK, bytes)?;
            let _ = self.key.set(key);
        }
        Ok(Hold::Bucket(claim))
    }

    pub fn files(&self) -> Result<Vec<Stored>, BackupError> {
        let files = self.listed()?.into_iter().filter(|(name, _)| !name.starts_with(hold::PREFIX));
        Ok(files.map(|(name, meta)| Stored { name, bytes: meta.size }).collect())
    }

    /// Names with what the store knows of them, locks as well.
    pub(super) fn listed(&self) -> Result<Vec<(String, ObjectMeta)>, BackupError> {
        let (store, prefix) = (Arc::clone(&self.store), self.prefix.trim_end_matches('/').to_owned());
        let below = (!prefix.is_empty()).then(|| ObjectPath::from(prefix));
        let listed = self.wait(async move { store.list_with_delimiter(below.as_ref()).await });
        let listed = listed.map_err(|error| self.fault("", &error))?;
        let name = |meta: &ObjectMeta| meta.location.as_ref().strip_prefix(&self.prefix).map(str::to_owned);
        Ok(listed.objects.into_iter().filter_map(|meta| Some((name(&meta)?, meta))).collect())
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let (head, key) = self.new_file(name);
        let mut sealed = head.to_vec();
        let count = bytes.len().div_ceil(CHUNK_BYTES).max(1);
        for number in 0..count {
            let from = number * CHUNK_BYTES;
            let chunk = bytes[from..(from + CHUNK_BYTES).min(bytes.len())].to_vec();
            sealed.extend(key.seal(number as u64, number + 1 == count, chunk));
        }
        self.put(name, sealed)
    }

    /// A file of this box without a name.
    pub fn spooled(&self) -> Result<File, BackupError> {
        let made = files::create_dir_durably(&self.spool).and_then(|()| {
            let path = self.spool.join(format!("pollux-backup-{:016x}", self.draw()));
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        });
        made.map_err(|error| self.spool_fault(&error))
    }

    pub fn spool_fault(&self, error: &std::io::Error) -> BackupError {
        BackupError::at(self.spool.display(), error)
    }

    pub fn remove(&self, name: &str) -> Result<(), BackupError> {
        let (store, at) = (Arc::clone(&self.store), self.at(name));
        match self.wait(async move { store.delete(&at).await }) {
            Err(StoreError::NotFound { .. }) => Ok(()),
            done => done.map_err(|error| self.fault(name, &error)),
        }
    }

    pub fn path(&self, name: &str) -> String {
        match name.is_empty() {
            true => self.path.clone(),
            false => format!("{}/{name}", self.path),
        }
    }

    /// As it is: not sealed.
    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), BackupError> {
        let (store, at) = (Arc::clone(&self.store), self.at(name));
        let put = self.wait(async move { store.put(&at, PutPayload::from(bytes)).await });
        put.map(drop).map_err(|error| self.fault(name, &error))
    }

    pub(super) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    pub(super) fn at(&self, name: &str) -> ObjectPath {
        ObjectPath::from(format!("{}{name}", self.prefix))
    }

    pub(super) fn draw(&self) -> u64 {
        let mut drawn = [0; 8];
        self.clock.fill(&mut drawn);
        u64::from_le_bytes(drawn)
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the bucket is dropped")
    }

    fn new_file(&self, name: &str) -> ([u8; HEAD_BYTES], FileKey) {
        let mut drawn = [0; 32];
        self.clock.fill(&mut drawn);
        (sealed::head(&drawn), self.place_key().of_file(name, &drawn))
    }

    fn opened(&self, name: &str, head: &[u8], size: u64) -> Result<(FileKey, Layout), BackupError> {
        let opened = sealed::drawn_of(head).zip(Layout::of(size));
        let (drawn, layout) = opened.ok_or_else(|| self.changed(name))?;
        Ok((self.place_key().of_file(name, &drawn), layout))
    }

    fn place_key(&self) -> &PlaceKey {
        self.key.get().expect("backups are recognised, or made there, before anything is read or written")
    }

    fn changed(&self, name: &str) -> BackupError {
        BackupError::Damaged(format!("{}: it is not what was written", self.path(name)))
    }

    pub(super) fn fault(&self, name: &str, error: &StoreError) -> BackupError {
        let path = self.path(name);
        BackupError::Unavailable(match error {
            StoreError::NotFound { .. } => format!("{path}: it is not there ({})", one_line(error)),
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                format!("{path}: the store lets this key not in, or not do this ({})", one_line(error))
            }
            error => format!("{path}: {}", one_line(error)),
        })
    }

    /// Whoever calls may be on a thread of another runtime, or of none.
    pub(super) fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (tell, hear) = mpsc::sync_channel(1);
        self.runtime().spawn(async move {
            let _ = tell.send(work.await);
        });
        hear.recv().expect("the work does not panic, and the runtime lives as long as the bucket")
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // May happen on a thread that must not wait.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({self})")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// What the store says where it says something, else all that is known; in one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let all = error.to_string();
    let said = |name: &str| {
        let (_, from) = all.split_once(&format!("<{name}>"))?;
        Some(from.split_once(&format!("</{name}>"))?.0)
    };
    let told = match (said("Code"), said("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => all,
    };
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}
