//! The replicated state machine as openraft drives it: entries in, rows and answers out.
//!
//! A data node applies commands to its tables. A witness has none: it only remembers how far it heard.

mod exact;
mod rows;
mod snapshot;
mod witness;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};

pub use self::exact::{AwaitedViews, ExactView};
pub use self::rows::{Progress, position_in};
pub use self::snapshot::{Marker, SnapshotData, VIEW_ROWS_MAX};
pub use self::witness::WitnessFile;
use super::feed::Feed;
use super::types::{Answer, Entry, LogId, Payload, SnapshotMeta, StoredMembership, TypeConfig};
use super::watch;
use crate::mail::ids::LogIndex;
use crate::state::apply::{Overlay, apply};
use crate::state::change::Change;
use crate::state::codec::decode_proposal;
use crate::state::command::Command;
use crate::state::digest;
use crate::state::outcome::Outcome;
use crate::state::rows::{Rows, RowsError};
use crate::state::{reading, versions};
use crate::store::tables::{Tables, TablesError};

/// Entries of one batch. Bounds what a crash may leave to be applied again, and the batch's memory.
const BATCH_ENTRIES_MAX: usize = 512;
/// Bytes of one batch's commands.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Digests that are written in one batch, when all are counted.
const DIGESTS_AT_ONCE_MAX: usize = 1_000;

/// What the machine keeps its state in.
#[derive(Clone)]
pub enum Keeping {
    Data { tables: Tables, feed: Arc<Feed> },
    Witness(WitnessFile),
}

/// What other tasks may watch of the machine.
#[derive(Clone)]
pub struct Watched {
    /// Last applied index plus one; 0: nothing. Set after rows, views and answers show the entry.
    pub applied_next: watch::Sender<u64>,
    /// The same, for the log's check that nothing applied is cut. Set before the rows are written.
    pub floor_next: Arc<AtomicU64>,
    /// Index up to which the state is durable without the log, plus one.
    pub durable_next: Arc<AtomicU64>,
    /// Views that are to be opened right behind entries to come.
    pub awaited: Arc<AwaitedViews>,
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            applied_next: watch::Sender::new(0),
            floor_next: Arc::default(),
            durable_next: Arc::default(),
            awaited: Arc::default(),
        }
    }
}

/// The machine. Owned by openraft, which calls it one call at a time.
pub struct Machine {
    keeping: Keeping,
    progress: Progress,
    watched: Watched,
}

type Responders = Vec<(ApplyResponder<TypeConfig>, Answer)>;

impl Machine {
    /// Takes up where the disk left off. Blocks.
    pub fn open(keeping: Keeping, watched: Watched) -> io::Result<Self> {
        let progress = match &keeping {
            Keeping::Data { tables, feed } => {
                // What is read after a crash must be durable before the log may be purged behind it.
                tables.sync().map_err(tables_error)?;
                refuse_other_versions(tables)?;
                feed.resync(tables).map_err(rows_error)?;
                let progress = Progress::read(tables).map_err(rows_error)?;
                keep_digests(tables, &progress)?;
                progress
            }
            Keeping::Witness(file) => file.read()?,
        };
        let machine = Self { keeping, progress, watched };
        machine.watched.durable_next.store(machine.next(), Ordering::Release);
        machine.publish_progress();
        Ok(machine)
    }

    fn next(&self) -> u64 {
        self.progress.last_applied.map_or(0, |last| last.index + 1)
    }

    fn publish_progress(&self) {
        self.watched.floor_next.store(self.next(), Ordering::Release);
        self.watched.applied_next.send_replace(self.next());
    }

    async fn apply_batch(&mut self, entries: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let last = last.log_id;
        self.watched.floor_next.store(last.index + 1, Ordering::Release);
        let (entries, responders): (Vec<Entry>, Vec<_>) = entries.into_iter().unzip();
        let before = self.progress.clone();
        self.progress.pass(&entries);
        let answers = match &self.keeping {
            Keeping::Data { tables, feed } => {
                let (tables, feed, awaited) = (tables.clone(), feed.clone(), self.watched.awaited.clone());
                blocking(move || write_batch((&tables, &feed), &awaited, before, &entries)).await?
            }
            Keeping::Witness(_) => vec![Answer::default(); entries.len()],
        };
        let answered: Responders =
            responders.into_iter().zip(answers).filter_map(|(to, answer)| Some((to?, answer))).collect();
        answered.into_iter().for_each(|(to, answer)| to.send(answer));
        self.publish_progress();
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Marker;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.progress.last_applied, self.progress.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = entries.next().await {
            let next = next?;
            if let Payload::Normal(encoded) = &next.0.payload {
                bytes += encoded.0.len();
            }
            batch.push(next);
            if batch.len() >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX {
                self.apply_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        self.apply_batch(batch).await
    }

    async fn get_snapshot_builder(&mut self) -> Marker {
        self.marker()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        self.install(meta, snapshot).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<Snapshot<super::types::CommittedLeaderId, u64, super::types::Member, SnapshotData>>>
    {
        self.current_snapshot().await
    }
}

/// Writes the entries as few batches: one, but where a view is awaited behind an entry, there it is opened before the next
/// is applied.
fn write_batch(
    (tables, feed): (&Tables, &Feed),
    awaited: &AwaitedViews,
    mut progress: Progress,
    mut entries: &[Entry],
) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::with_capacity(entries.len());
    while !entries.is_empty() {
        let (portion, rest) = entries.split_at(awaited.portion(entries));
        progress.pass(portion);
        write_portion((tables, feed), &progress, portion, &mut answers)?;
        awaited.open_behind(portion, tables);
        entries = rest;
    }
    Ok(answers)
}

/// Applies the entries into one overlay, writes it with the machine's own rows, then tells the feed, so that
/// whoever hears the answer finds the change in every view.
fn write_portion(
    (tables, feed): (&Tables, &Feed),
    progress: &Progress,
    entries: &[Entry],
    answers: &mut Vec<Answer>,
) -> io::Result<()> {
    let mut overlay = Overlay::new();
    let mut changes: Vec<Change> = Vec::new();
    for entry in entries {
        answers.push(Answer(apply_entry(tables, &mut overlay, entry, &mut changes)?));
    }
    let mut batch = overlay.into_batch();
    if let Some(applied) = progress.last_applied {
        digest::keep(tables, &mut batch, LogIndex(applied.index)).map_err(rows_error)?;
    }
    progress.write_applied(&mut batch);
    if entries.iter().any(|entry| matches!(entry.payload, Payload::Membership(_))) {
        progress.write_membership(&mut batch);
    }
    tables.write(batch).map_err(tables_error)?;
    feed.publish(tables, changes).map_err(rows_error)
}

/// Rows at a version that this build does not know are not for it to read.
fn refuse_other_versions(rows: &dyn Rows) -> io::Result<()> {
    let version = reading::cluster_version(rows).map_err(rows_error)?;
    versions::why_not(version).map_or(Ok(()), |why| Err(io::Error::other(why)))
}

/// Rows that an older build wrote have no digests, or such as were left behind: they are counted once. Blocks.
fn keep_digests(tables: &Tables, progress: &Progress) -> io::Result<()> {
    let applied = progress.last_applied.map(|last| LogIndex(last.index));
    if digest::are_kept(tables, applied).map_err(rows_error)? {
        return Ok(());
    }
    tracing::info!("the digests of all rows are counted: another build wrote them");
    let counted = digest::count_anew(tables, applied).map_err(rows_error)?;
    // In the order of the keys: what says that they are kept comes last, so that a crash in between has them counted again.
    let mut rows = counted.into_iter().peekable();
    while rows.peek().is_some() {
        tables.write(rows.by_ref().take(DIGESTS_AT_ONCE_MAX).collect()).map_err(tables_error)?;
    }
    Ok(())
}

fn apply_entry(
    rows: &dyn Rows,
    overlay: &mut Overlay,
    entry: &Entry,
    changes: &mut Vec<Change>,
) -> io::Result<Option<Outcome>> {
    let Payload::Normal(encoded) = &entry.payload else { return Ok(None) };
    // Skipping what cannot be read would part the replicas: the node stops, and says why.
    let proposal = decode_proposal(encoded.proposal())
        .map_err(|error| io::Error::other(format!("entry {}: {error}", entry.log_id.index)))?;
    if let Command::SetClusterVersion { version } = &proposal.command
        && let Some(why) = versions::why_not(*version)
    {
        return Err(io::Error::other(why));
    }
    let applied = apply(rows, overlay, LogIndex(entry.log_id.index), &proposal).map_err(rows_error)?;
    changes.extend(applied.changes);
    Ok(Some(applied.outcome))
}

/// Table writes block for a disk; the runtime's threads never do.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    super::blocking::blocking(work).await.map_err(io::Error::other)?
}

fn tables_error(error: TablesError) -> io::Error {
    io::Error::other(error)
}

fn rows_error(error: RowsError) -> io::Error {
    io::Error::other(error)
}
