//! Snapshots are markers: the rows themselves, made durable. A view of them is streamed only when a node is too
//! far behind for the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::storage::{RaftSnapshotBuilder, Snapshot};

use super::{
    Keeping, Machine, Progress, blocking, keep_digests, refuse_other_versions, rows_error, tables_error,
};
use crate::cluster::types::{CommittedLeaderId, Member, SnapshotMeta, TypeConfig};
use crate::state::rows::Batch;
use crate::store::tables::{Installer, Tables, View};

/// Rows of one turn of a view.
pub const VIEW_ROWS_MAX: usize = 500;

/// What a snapshot is made of, on either side of the wire.
pub enum SnapshotData {
    /// The sender's rows at the marker's index. Nothing is read before it is asked for.
    View(Box<View>),
    /// The receiver's rows, all taken in, not yet in place.
    Received(Box<Installer>),
    /// A witness has no rows; and a marker that was just built is not read.
    Empty,
}

type MachineSnapshot = Snapshot<CommittedLeaderId, u64, Member, SnapshotData>;

/// Makes durable what was applied when it was made; openraft may then purge the log behind it.
pub struct Marker {
    keeping: Keeping,
    progress: Progress,
    durable_next: Arc<AtomicU64>,
}

impl RaftSnapshotBuilder<TypeConfig> for Marker {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<MachineSnapshot> {
        let (keeping, progress) = (self.keeping.clone(), self.progress.clone());
        blocking(move || match keeping {
            Keeping::Data { tables, .. } => tables.sync().map_err(tables_error),
            Keeping::Witness(file) => file.write(&progress),
        })
        .await?;
        let next = self.progress.last_applied.map_or(0, |last| last.index + 1);
        self.durable_next.fetch_max(next, Ordering::AcqRel);
        Ok(Snapshot { meta: meta(&self.progress), snapshot: SnapshotData::Empty })
    }
}

impl Machine {
    pub(super) fn marker(&self) -> Marker {
        Marker {
            keeping: self.keeping.clone(),
            progress: self.progress.clone(),
            durable_next: self.watched.durable_next.clone(),
        }
    }

    /// The rows as they are between two applies, with exactly their index.
    pub(super) async fn current_snapshot(&mut self) -> io::Result<Option<MachineSnapshot>> {
        if self.progress.last_applied.is_none() {
            return Ok(None);
        }
        let snapshot = match &self.keeping {
            Keeping::Data { tables, .. } => {
                let tables = tables.clone();
                let view = blocking(move || tables.begin_view().map_err(tables_error)).await?;
                SnapshotData::View(Box::new(view))
            }
            Keeping::Witness(_) => SnapshotData::Empty,
        };
        Ok(Some(Snapshot { meta: meta(&self.progress), snapshot }))
    }

    pub(super) async fn install(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let progress = Progress { last_applied: meta.last_log_id, membership: meta.last_membership.clone() };
        let (keeping, written) = (self.keeping.clone(), progress.clone());
        blocking(move || match keeping {
            Keeping::Data { tables, feed } => {
                put_in_place(&tables, snapshot)?;
                refuse_other_versions(&tables)?;
                // The rows of the sender hold the same; writing ours makes sure of it.
                let mut batch = Batch::new();
                written.write_applied(&mut batch);
                written.write_membership(&mut batch);
                tables.write(batch).map_err(tables_error)?;
                keep_digests(&tables, &written)?;
                tables.sync().map_err(tables_error)?;
                feed.resync(&tables).map_err(rows_error)
            }
            Keeping::Witness(file) => file.write(&written),
        })
        .await?;
        self.progress = progress;
        self.watched.durable_next.store(self.next(), Ordering::Release);
        self.publish_progress();
        Ok(())
    }
}

fn put_in_place(tables: &Tables, snapshot: SnapshotData) -> io::Result<()> {
    match snapshot {
        SnapshotData::Received(installer) => installer.finish().map_err(tables_error),
        SnapshotData::View(mut view) => {
            let mut installer = tables.begin_install().map_err(tables_error)?;
            loop {
                let rows = view.next_rows(VIEW_ROWS_MAX).map_err(tables_error)?;
                if rows.is_empty() {
                    return installer.finish().map_err(tables_error);
                }
                installer.push(rows).map_err(tables_error)?;
            }
        }
        SnapshotData::Empty => Err(io::Error::other("a data node was sent a snapshot without rows")),
    }
}

fn meta(progress: &Progress) -> SnapshotMeta {
    SnapshotMeta { last_log_id: progress.last_applied, last_membership: progress.membership.clone() }
}
