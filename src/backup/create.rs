//! A backup is made: the rows of one moment, then those of their bodies that the folder lacks, then the word that it is there.
//! It reads alone; whatever goes wrong, the cluster and the backups before are as they were.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::location::Location;
use super::manifest::{FORMAT, Manifest};
use super::pack::PackWriter;
use super::progress::{Phase, Progress};
use super::repository::{Repository, Writing};
use super::rows::{RowsWriter, Written};
use super::storage::{Storage, Workplace};
use super::{BackupError, hex};
use crate::clock::Clock;
use crate::cluster::copied::{ExactRows, NamedBodies, Position};
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::Fault;
use crate::mail::ids::BodyId;
use crate::state::codec::decode_row;
use crate::state::keys;
use crate::state::stored::MailboxRow;
use crate::store::tables::{Row, TablesError};

/// What is written at once.
const STRETCH_BYTES: usize = 1 << 20;
const STRETCH_BODIES_MAX: usize = 256;
/// Bodies that are on no node, beyond which it is no backup.
pub const LOST_MAX: usize = 1_000;

/// Makes a backup at `location`, through the node behind `cluster`.
pub async fn create(
    cluster: &ClusterHandle,
    location: Location,
    workplace: Workplace,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let clock = workplace.clock.clone();
    let writing = blocking(move || Writing::begin(&location, workplace)).await?;
    let writing = Arc::new(writing);
    let made = into(cluster, &writing, &clock, progress).await;
    let is_made = made.is_ok();
    // What was begun only takes space. The next backup would clear it away too.
    let _ = blocking(move || if is_made { Ok(()) } else { writing.clear() }).await;
    made
}

async fn into(
    cluster: &ClusterHandle,
    writing: &Arc<Writing>,
    clock: &Clock,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let refused = |error: crate::cluster::membership::ClusterError| BackupError::Refused(error.to_string());
    // What was acknowledged before this moment is in the backup; what is acknowledged from then on may be.
    let (now, of) = (clock.now(), Arc::clone(writing));
    let (id, at) = blocking(move || of.free_id(now)).await?;
    let (rows, bodies) = cluster.begin_copy().await.map_err(refused)?;
    let ca = cluster.ca_pems().map_err(refused)?;
    progress.enter(Phase::Rows);
    let (of, to, told) = (Arc::clone(writing), id.clone(), progress.clone());
    let copied = blocking(move || copy_rows(rows, of.begin_rows(&to)?, &told)).await?;

    progress.enter(Phase::Bodies);
    let named = copied.named.len() as u64;
    let of = Arc::clone(writing);
    let (wanted, packing) = blocking(move || {
        let known = of.known_bodies()?;
        let lacks = |id: &BodyId| known.binary_search(id).is_err();
        let wanted: Vec<_> = copied.named.into_iter().filter(lacks).collect();
        Ok((wanted, Packing::behind(of.repository())?))
    })
    .await?;
    progress.wants(wanted.len() as u64);
    let added = copy_bodies(packing, &bodies, wanted, progress).await?;
    drop(bodies);

    progress.enter(Phase::Ending);
    let (cluster_id, node, writing) = (cluster.cluster_id(), cluster.name(), Arc::clone(writing));
    blocking(move || {
        let manifest = Manifest {
            format: FORMAT,
            at_ms: at.0,
            cluster: cluster_id,
            node,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            term: copied.position.term,
            index: copied.position.index,
            rows: copied.written.rows,
            rows_blake3: hex(&copied.written.digest),
            keys_blake3: writing.write_keys(&id, &ca)?,
            users: copied.users,
            messages: copied.messages,
            bodies: named,
            bodies_added: added.bodies,
            bytes_added: added.bytes,
            bodies_lost: added.lost.iter().map(ToString::to_string).collect(),
            packs: writing.repository().packs()?,
            id,
        };
        writing.publish(&manifest)?;
        Ok(manifest)
    })
    .await
}

struct CopiedRows {
    written: Written,
    position: Position,
    /// Ascending, as their rows are.
    named: Vec<BodyId>,
    users: u64,
    messages: u64,
}

/// Blocks.
fn copy_rows(
    mut rows: ExactRows,
    mut writer: RowsWriter,
    progress: &Progress,
) -> Result<CopiedRows, BackupError> {
    let mut counts = Counts::default();
    loop {
        let read = rows.next_rows().map_err(|error| tables_error(&error))?;
        if read.is_empty() {
            break;
        }
        read.iter().for_each(|row| counts.see(row));
        writer.push(&read)?;
        progress.rows(read.len());
    }
    let position = rows.position().ok_or_else(|| {
        BackupError::Unavailable(
            "nothing was ever committed in this cluster: there is nothing to back up".to_owned(),
        )
    })?;
    // On its way to a store it no longer holds up what the node does.
    drop(rows);
    let Counts { named, users, messages } = counts;
    Ok(CopiedRows { written: writer.finish()?, position, named, users, messages })
}

#[derive(Default)]
struct Counts {
    named: Vec<BodyId>,
    users: u64,
    messages: u64,
}

impl Counts {
    fn see(&mut self, (key, value): &Row) {
        match key.first() {
            Some(&keys::BODY) => self.named.extend(keys::body_of(key)),
            Some(&keys::USER) => self.users += 1,
            Some(&keys::MAILBOX) => {
                let row = decode_row::<MailboxRow>(key, value);
                self.messages += row.map_or(0, |row| u64::from(row.messages));
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Added {
    bodies: u64,
    bytes: u64,
    lost: Vec<BodyId>,
}

/// The numbers of packs that are whole stay; new ones come behind them.
async fn copy_bodies(
    mut packing: Packing,
    bodies: &NamedBodies,
    wanted: Vec<BodyId>,
    progress: &Progress,
) -> Result<Added, BackupError> {
    let (mut added, mut stretch, mut bytes) = (Added::default(), Vec::new(), 0);
    for id in wanted {
        match bodies.body(id).await {
            Ok(body) => {
                bytes += body.len();
                added.bodies += 1;
                added.bytes += body.len() as u64;
                progress.body(body.len() as u64);
                stretch.push((id, body));
            }
            Err(Fault::BodyUnavailable(_)) if added.lost.len() < LOST_MAX => added.lost.push(id),
            Err(fault) => {
                let what = format!(
                    "message {id} cannot be read ({fault}); see 'pollux cluster status', then try again"
                );
                return Err(BackupError::Unavailable(what));
            }
        }
        if bytes >= STRETCH_BYTES || stretch.len() >= STRETCH_BODIES_MAX {
            packing = packing.push(std::mem::take(&mut stretch)).await?;
            bytes = 0;
        }
    }
    packing.push(stretch).await?.finish().await?;
    Ok(added)
}

/// Packs being written, one after the other.
struct Packing {
    storage: Storage,
    next: u32,
    open: Option<PackWriter>,
}

impl Packing {
    /// Blocks.
    fn behind(repository: &Repository) -> Result<Self, BackupError> {
        let next = 1 + repository.packs()?.last().copied().unwrap_or(0);
        Ok(Self { storage: repository.storage().clone(), next, open: None })
    }

    async fn push(mut self, bodies: Vec<(BodyId, Bytes)>) -> Result<Self, BackupError> {
        blocking(move || {
            for (id, body) in bodies {
                let mut pack = match self.open.take() {
                    Some(pack) => pack,
                    None => {
                        self.next += 1;
                        PackWriter::begin(&self.storage, self.next - 1)?
                    }
                };
                pack.push(id, &body)?;
                match pack.is_full() {
                    true => pack.finish()?,
                    false => self.open = Some(pack),
                }
            }
            Ok(self)
        })
        .await
    }

    async fn finish(self) -> Result<(), BackupError> {
        blocking(move || self.open.map_or(Ok(()), PackWriter::finish)).await
    }
}

fn tables_error(error: &TablesError) -> BackupError {
    BackupError::Unavailable(match error {
        TablesError::ViewAbandoned(_) => {
            "the folder is too slow for this node's traffic: what is new could not wait; try again when there is less, or \
             name a folder on a faster disk"
                .to_owned()
        }
        other => format!("this node's rows: {other}"),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let stopped = |_| BackupError::Unavailable("this node is shutting down".to_owned());
    spawn_blocking(work).await.map_err(stopped)?
}
