//! The metadata rows on disk, in sled: one writer thread, which gets them a portion at a time, a CRC on every row, a
//! real point of durability, exact views while writes go on.

pub(in crate::store) mod engine;
mod overlay;
mod recent;
mod seam;
#[cfg(test)]
mod tests;
mod writer;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

pub use self::engine::Row;
use self::engine::{Engine, check_sizes, io_error};
use self::recent::{Recent, Taken};
pub use self::seam::RowDisk;
use self::writer::{Answer, Core, Ordered, Queue, Turn, Writer};
use super::files::{self, DirLock};
use crate::clock::Clock;
use crate::state::rows::{Batch, Rows, RowsError, scan_under};

/// Names the generation of rows that counts; replaced as a whole by an installation.
const CURRENT_NAME: &str = "CURRENT";
/// Says that the rows beside it are not to be used again, and why.
const CONDEMNED_NAME: &str = "CONDEMNED";
/// Rows a view hands out in one turn, at most.
const VIEW_ROWS_MAX: usize = 500;
/// Rows an installer writes at once.
const INSTALL_ROWS_MAX: usize = 500;

fn generation_name(generation: u64) -> String {
    format!("rows-{generation}")
}

/// Bounds of the tables.
#[derive(Debug, Clone, Copy)]
pub struct TablesLimits {
    pub cache_bytes: u64,
    /// Batches that wait; beyond, `write` waits.
    pub batches_queued_max: usize,
    /// Pre-images a view may hold; beyond, writers wait until the view has read on.
    pub before_images_bytes_max: usize,
    /// A view whose reader takes no turn for this long while writers wait for it is given up.
    pub view_stall: Duration,
}

impl Default for TablesLimits {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            batches_queued_max: 64,
            before_images_bytes_max: 32 << 20,
            view_stall: Duration::from_secs(5),
        }
    }
}

/// Why the tables refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TablesError {
    /// Rows are missing or changed, or the engine cannot read its own files. Set the directory aside
    /// ([`Tables::set_aside`]) and take a snapshot from a peer.
    #[error("the tables are damaged: {0}")]
    Damaged(String),
    #[error("the tables cannot be written or read: {0}")]
    Io(String),
    /// A key over 1 KiB or a value over 6 KiB.
    #[error("a row is too large: {0}")]
    TooLarge(String),
    /// The view was given up: its reader stalled while writers waited, or the rows were replaced.
    #[error("the view was abandoned: {0}")]
    ViewAbandoned(String),
}

/// The rows of one node. Cheap to clone; the last clone that is dropped ends the writer.
#[derive(Clone)]
pub struct Tables {
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    Files(Arc<Handle>),
    Elsewhere(Arc<dyn RowDisk>),
}

impl Tables {
    /// Opens or makes the tables in `dir`. Blocks.
    pub fn open(dir: &Path) -> Result<Self, TablesError> {
        Self::open_with(dir, TablesLimits::default())
    }

    pub fn open_with(dir: &Path, limits: TablesLimits) -> Result<Self, TablesError> {
        let lock = DirLock::acquire(dir).map_err(|error| TablesError::Io(error.to_string()))?;
        let generation = current_generation(dir)?;
        remove_other_generations(dir, generation)?;
        let engine = Engine::open(&dir.join(generation_name(generation)), limits.cache_bytes)?;
        let core = Arc::new(Core {
            dir: dir.to_owned(),
            limits,
            engine: ArcSwap::from_pointee(engine),
            damage: Mutex::new(None),
            queue: Mutex::new(Queue::default()),
            work: Condvar::new(),
            room: Condvar::new(),
            recent: Recent::default(),
        });
        let writer = Writer::new(core.clone(), generation);
        let thread = std::thread::Builder::new()
            .name("tables".into())
            .spawn(move || writer.run())
            .map_err(io_error)?;
        let handle = Handle { core, installing: AtomicBool::new(false), thread: Some(thread), _lock: lock };
        Ok(Self { kept: Kept::Files(Arc::new(handle)) })
    }

    /// Rows that are kept by other means than files: in memory, in a simulation.
    pub fn over(disk: Arc<dyn RowDisk>) -> Self {
        Self { kept: Kept::Elsewhere(disk) }
    }

    /// Renames a damaged directory to a dated name beside it and removes older ones set aside: one is kept.
    pub fn set_aside(dir: &Path) -> Result<PathBuf, TablesError> {
        let millis = Clock::system().now().0 as i64;
        let date = chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default();
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("tables");
        let prefix = format!("{name}.damaged-");
        let aside = dir.with_file_name(format!("{prefix}{}", date.format("%Y%m%dT%H%M%S%3f")));
        let parent = aside.parent().unwrap_or(Path::new("."));
        for entry in fs::read_dir(parent).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
                fs::remove_dir_all(entry.path()).map_err(io_error)?;
            }
        }
        files::rename_durably(dir, &aside).map_err(io_error)?;
        Ok(aside)
    }

    /// Writes a batch as a whole; readers see it when it returns. Not durable before [`Tables::sync`]: after a crash the
    /// rows are as some batch since then left them. Blocks.
    /// Deletes of many rows are split by the caller (a thousand a batch): the engine holds each in memory.
    pub fn write(&self, batch: Batch) -> Result<(), TablesError> {
        check_sizes(&batch)?;
        match &self.kept {
            Kept::Files(handle) => handle.write(batch),
            Kept::Elsewhere(disk) => disk.write(batch),
        }
    }

    /// As [`Tables::write`], for async callers.
    pub async fn write_async(&self, batch: Batch) -> Result<(), TablesError> {
        let tables = self.clone();
        tokio::task::spawn_blocking(move || tables.write(batch))
            .await
            .unwrap_or_else(|error| Err(TablesError::Io(error.to_string())))
    }

    /// Makes durable all that was written before. The only point of durability. Blocks.
    pub fn sync(&self) -> Result<(), TablesError> {
        match &self.kept {
            Kept::Files(handle) => handle.ask(Ordered::Sync),
            Kept::Elsewhere(disk) => disk.sync(),
        }
    }

    /// All rows as they are at this moment, read in turns while writes go on. Blocks for a turn of the writer.
    pub fn begin_view(&self) -> Result<View, TablesError> {
        let read = match &self.kept {
            Kept::Files(handle) => {
                let core = handle.core.clone();
                let id = ask_turn(&core, Turn::Begin)?;
                Reading::Turns { core, id, ended: false }
            }
            Kept::Elsewhere(disk) => Reading::Copied(disk.all()?.into_iter()),
        };
        Ok(View { read })
    }

    /// Opens an empty set of rows beside the present ones, for a snapshot. One at a time.
    pub fn begin_install(&self) -> Result<Installer, TablesError> {
        let build = match &self.kept {
            Kept::Files(handle) => Build::beside(handle.clone())?,
            Kept::Elsewhere(disk) => Build::Gathered(disk.clone(), Vec::new()),
        };
        Ok(Installer { build })
    }

    /// Notes durably that these rows are wrong, so that the next start does not go on with them. Rows that are found to be
    /// damaged are condemned without that. Blocks.
    pub fn condemn(&self, why: &str) -> Result<(), TablesError> {
        match &self.kept {
            Kept::Files(handle) => condemn(&handle.core.dir, why),
            Kept::Elsewhere(_) => Ok(()),
        }
    }

    /// Why the rows in `dir` are not to be used again; `None`: nothing is known against them.
    pub fn condemned(dir: &Path) -> Option<String> {
        fs::read(dir.join(CONDEMNED_NAME)).ok().map(|why| String::from_utf8_lossy(&why).into_owned())
    }

    /// What was damaged, once something was found to be.
    pub fn damage(&self) -> Option<String> {
        match &self.kept {
            Kept::Files(handle) => handle.core.damage.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Kept::Elsewhere(_) => None,
        }
    }
}

impl Handle {
    fn write(&self, batch: Batch) -> Result<(), TablesError> {
        match self.core.recent.take_in(batch)? {
            Taken::Gathered => Ok(()),
            Taken::First => {
                // Under the queue's lock, so that a writer that is about to wait does not miss it.
                drop(self.core.lock());
                self.core.work.notify_one();
                Ok(())
            }
            Taken::Full => self.ask(Ordered::Flush),
            Taken::Through(batch) => self.ask(|answer| Ordered::Write(batch, answer)),
        }
    }

    /// Queues and waits for the answer; waits for room first.
    fn ask(&self, job: impl FnOnce(Answer<()>) -> Ordered) -> Result<(), TablesError> {
        let core = &self.core;
        let (answer, answered) = sync_channel(1);
        let mut queue = core.lock();
        while queue.ordered.len() >= core.limits.batches_queued_max {
            queue = core.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.ordered.push_back(job(answer));
        drop(queue);
        core.work.notify_one();
        answered.recv().unwrap_or_else(|_| Err(ended()))
    }
}

impl Rows for Tables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        match &self.kept {
            Kept::Files(handle) => {
                let core = &handle.core;
                if let Some(recent) = core.recent.get(key) {
                    return Ok(recent);
                }
                core.noting(core.engine.load().get(key)).map_err(rows_error)
            }
            Kept::Elsewhere(disk) => disk.get(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsError> {
        if from >= to {
            return Ok(());
        }
        match &self.kept {
            Kept::Files(handle) => {
                let core = &handle.core;
                // Before the engine is looked at: what leaves for it meanwhile is seen twice, not missed.
                let recent = core.recent.between(from, to);
                let engine = core.engine.load_full();
                let scanned =
                    scan_under(&recent, (from, to), visit, |visit| engine.scan(from, Some(to), visit));
                core.noting(scanned).map_err(rows_error)
            }
            Kept::Elsewhere(disk) => disk.scan(from, to, visit),
        }
    }
}

fn condemn(dir: &Path, why: &str) -> Result<(), TablesError> {
    files::write_atomically(&dir.join(CONDEMNED_NAME), why.as_bytes()).map_err(io_error)
}

fn rows_error(error: TablesError) -> RowsError {
    RowsError(error.to_string())
}

fn ended() -> TablesError {
    TablesError::Io("the tables are closed".into())
}

/// What the clones share. Its end is the end of the thread, after all that was queued is written.
struct Handle {
    core: Arc<Core>,
    installing: AtomicBool,
    thread: Option<JoinHandle<()>>,
    _lock: DirLock,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.lock().closed = true;
        self.core.work.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the tables' thread panicked");
        }
    }
}

/// The generation that counts. Its name is written before its directory is made, so that a directory
/// without a name is never the first start but a loss.
fn current_generation(dir: &Path) -> Result<u64, TablesError> {
    let path = dir.join(CURRENT_NAME);
    let damaged = |what: &str| TablesError::Damaged(format!("{}: {what}", path.display()));
    match fs::read_to_string(&path) {
        Ok(name) => {
            let number = name.strip_prefix("rows-").and_then(|number| number.parse().ok());
            let generation = number.ok_or_else(|| damaged("it names no rows"))?;
            if generation != 1 && !dir.join(&name).is_dir() {
                return Err(damaged("the rows it names are missing"));
            }
            Ok(generation)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if generations(dir)?.next().is_some() {
                return Err(damaged("it is missing"));
            }
            files::write_atomically(&path, generation_name(1).as_bytes()).map_err(io_error)?;
            Ok(1)
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(damaged("it is not text")),
        Err(error) => Err(io_error(error)),
    }
}

fn generations(dir: &Path) -> Result<impl Iterator<Item = PathBuf>, TablesError> {
    let entries = fs::read_dir(dir).map_err(io_error)?.flatten();
    let named =
        |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.starts_with("rows-"));
    Ok(entries.filter(named).map(|entry| entry.path()))
}

/// What an installation left behind when the process died in it.
fn remove_other_generations(dir: &Path, current: u64) -> Result<(), TablesError> {
    let current = dir.join(generation_name(current));
    for path in generations(dir)?.filter(|path| *path != current) {
        fs::remove_dir_all(path).map_err(io_error)?;
    }
    Ok(())
}

/// Asks for a turn between two writes.
fn ask_turn<T>(core: &Core, turn: impl FnOnce(Answer<T>) -> Turn) -> Result<T, TablesError> {
    let (answer, answered) = sync_channel(1);
    let mut queue = core.lock();
    if queue.closed {
        return Err(ended());
    }
    queue.turns.push_back(turn(answer));
    drop(queue);
    core.work.notify_one();
    answered.recv().unwrap_or_else(|_| Err(ended()))
}

/// A consistent picture of all rows. Dropping it ends it.
pub struct View {
    read: Reading,
}

enum Reading {
    /// In turns of the writer.
    Turns {
        core: Arc<Core>,
        id: u64,
        ended: bool,
    },
    Copied(std::vec::IntoIter<Row>),
}

impl View {
    /// The next rows in key order, about `rows_max` (at most 500) of them; empty at the end. Blocks for
    /// a turn of the writer. Whoever reads slower than others write holds them up, so read on.
    pub fn next_rows(&mut self, rows_max: usize) -> Result<Vec<Row>, TablesError> {
        let rows_max = rows_max.clamp(1, VIEW_ROWS_MAX);
        let (core, id, ended) = match &mut self.read {
            Reading::Turns { core, id, ended } => (core, *id, ended),
            Reading::Copied(rows) => return Ok(rows.by_ref().take(rows_max).collect()),
        };
        while !*ended {
            let (rows, end) = ask_turn(core, |answer| Turn::Next { view: id, rows_max, answer })?;
            *ended = end;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
        Ok(Vec::new())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Reading::Turns { core, id, .. } = &self.read {
            core.lock().turns.push_back(Turn::End(*id));
            core.work.notify_one();
        }
    }
}

/// A set of rows being built beside the present ones. Dropping it unfinished leaves nothing behind.
pub struct Installer {
    build: Build,
}

enum Build {
    Beside(Generation),
    Gathered(Arc<dyn RowDisk>, Vec<Row>),
}

impl Build {
    fn beside(handle: Arc<Handle>) -> Result<Self, TablesError> {
        if handle.installing.swap(true, Ordering::AcqRel) {
            return Err(TablesError::Io("an installation is already running".into()));
        }
        Generation::begin(handle).map(Self::Beside)
    }
}

impl Installer {
    pub fn push(&mut self, rows: Vec<Row>) -> Result<(), TablesError> {
        match &mut self.build {
            Build::Beside(generation) => generation.push(rows),
            Build::Gathered(_, gathered) => {
                gathered.extend(rows);
                Ok(())
            }
        }
    }

    /// Syncs the new rows and puts them in place of the old for every clone of the [`Tables`]. A crash at
    /// any point leaves the old rows or the new ones, whole. Durable when it returns. Open views end.
    pub fn finish(self) -> Result<(), TablesError> {
        match self.build {
            Build::Beside(generation) => generation.finish(),
            Build::Gathered(disk, rows) => disk.replace(rows),
        }
    }
}

/// The directory of rows that an installer builds.
struct Generation {
    handle: Arc<Handle>,
    number: u64,
    engine: Option<Engine>,
}

impl Generation {
    fn begin(handle: Arc<Handle>) -> Result<Self, TablesError> {
        let mut begun = Self { handle, number: 0, engine: None };
        let core = &begun.handle.core;
        begun.number = current_generation(&core.dir)? + 1;
        remove_other_generations(&core.dir, begun.number - 1)?;
        begun.engine = Some(Engine::open(&begun.path(), core.limits.cache_bytes)?);
        Ok(begun)
    }

    fn push(&mut self, rows: Vec<Row>) -> Result<(), TablesError> {
        let engine = self.engine.as_ref().ok_or_else(ended)?;
        let mut rows = rows.into_iter().map(|(key, value)| (key, Some(value))).peekable();
        while rows.peek().is_some() {
            let batch: Batch = rows.by_ref().take(INSTALL_ROWS_MAX).collect();
            check_sizes(&batch)?;
            engine.apply(&batch)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), TablesError> {
        let engine = self.engine.take().ok_or_else(ended)?;
        engine.sync()?;
        let generation = self.number;
        self.handle.ask(|answer| Ordered::Install { engine, generation, answer })
    }

    fn path(&self) -> PathBuf {
        self.handle.core.dir.join(generation_name(self.number))
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.engine.take().is_some() {
            // What stays is removed at the next installation or start.
            let _ = fs::remove_dir_all(self.path());
        }
        self.handle.installing.store(false, Ordering::Release);
    }
}
