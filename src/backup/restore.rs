//! A backup becomes the first node of a new cluster, in a folder that nobody uses yet.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use tokio::task::spawn_blocking;

use super::manifest::Manifest;
use super::pack::{Entry, Pack, name};
use super::progress::{Phase, Progress};
use super::renew::Renewal;
use super::repository::Repository;
use super::{BackupError, rows_error};
use crate::clock::Clock;
use crate::cluster::config::{ClusterConfig, StartError};
use crate::cluster::membership::{Laid, Refounding};
use crate::mail::ids::BodyId;
use crate::state::reading;
use crate::store::segments::{BodyError, Staged};

/// Bodies that are made durable together.
const STRETCH_BYTES: u64 = 8 << 20;
const STRETCH_BODIES_MAX: usize = 256;
/// Ids looked up in one go.
const IDS_MAX: usize = 1_000;

/// What to do about messages that the folder lacks or that are damaged there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    Refuse,
    /// They are listed, and cannot be read.
    GoOn,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    pub rows: u64,
    pub bodies: u64,
    pub bytes: u64,
    /// Named by messages, and not there.
    pub lacking: u64,
    /// Parts of mails in the queue that wait for a word.
    pub held: u64,
    /// Secrets to be given anew.
    pub secrets_lost: u64,
}

/// Lays the backup down in `config.dir`. On an error what is there is no node.
pub async fn restore(
    repository: &Repository,
    manifest: &Manifest,
    config: ClusterConfig,
    clock: &Clock,
    (lacking, progress): (Lacking, &Progress),
) -> Result<Restored, BackupError> {
    let mut restored = Restored::default();
    progress.enter(Phase::Rows);
    let (from, of, now, told) = (repository.clone(), manifest.clone(), clock.clone(), progress.clone());
    let laid = spawn_blocking(move || rows(&from, &of, config, now, &told)).await.map_err(stopped)?;
    let (laid, renewal) = laid?;
    (restored.rows, restored.held, restored.secrets_lost) =
        (progress.step().rows, renewal.held, laid.unopened);

    progress.enter(Phase::Bodies);
    progress.wants(manifest.bodies);
    let mut damaged = Vec::new();
    let packs = packs(repository.clone()).await?;
    for number in &packs {
        damaged.extend(bodies(repository, *number, &laid, &mut restored, progress).await?);
    }
    restored.lacking = count_lacking(&laid, manifest)?;
    if restored.lacking > 0 && lacking == Lacking::Refuse {
        let missing = manifest
            .packs
            .iter()
            .filter(|it| !packs.contains(it))
            .map(|it| format!("{} is missing", name(*it)));
        let why: Vec<String> = damaged.into_iter().chain(missing).take(3).collect();
        return Err(BackupError::Damaged(format!(
            "{} messages cannot be restored ({}); take another backup (see 'pollux backup verify'), or go on without them \
             with --partial",
            restored.lacking,
            why.join("; ")
        )));
    }
    progress.enter(Phase::Ending);
    laid.finish(manifest.position()).await.map_err(start_error)?;
    Ok(restored)
}

async fn packs(repository: Repository) -> Result<Vec<u32>, BackupError> {
    spawn_blocking(move || repository.packs()).await.map_err(stopped)?
}

/// Blocks.
fn rows(
    repository: &Repository,
    manifest: &Manifest,
    config: ClusterConfig,
    clock: Clock,
    progress: &Progress,
) -> Result<(Laid, Renewal), BackupError> {
    let ca = repository.keys(manifest)?;
    let mut reader = repository.rows(manifest)?;
    let mut renewal = Renewal::new(clock.now());
    let mut laying = Refounding::begin(config, clock, &ca).map_err(start_error)?;
    loop {
        let read = reader.next_rows()?;
        if read.is_empty() {
            break;
        }
        progress.rows(read.len());
        let mut renewed = Vec::with_capacity(read.len());
        for row in read {
            renewed.extend(renewal.row(row).map_err(rows_error)?);
        }
        laying.push(renewed).map_err(start_error)?;
    }
    laying.push(renewal.finish().map_err(rows_error)?.into_iter().collect()).map_err(start_error)?;
    Ok((laying.finish_rows(manifest.position()).map_err(start_error)?, renewal))
}

/// Of one pack, those that the rows name. Returns what is damaged in it.
async fn bodies(
    repository: &Repository,
    number: u32,
    laid: &Laid,
    restored: &mut Restored,
    progress: &Progress,
) -> Result<Vec<String>, BackupError> {
    let storage = repository.storage().clone();
    let pack = match spawn_blocking(move || Pack::fetch(&storage, number)).await.map_err(stopped)? {
        Ok(pack) => pack,
        Err(BackupError::Damaged(what)) => return Ok(vec![what]),
        Err(other) => return Err(other),
    };
    let (mut damaged, mut stretch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in &pack.entries {
        if !laid.names(entry.id).map_err(start_error)? {
            continue;
        }
        match stage(&pack, entry, laid) {
            Ok(staged) => stretch.push(staged),
            Err(BackupError::Damaged(what)) => {
                damaged.push(what);
                continue;
            }
            Err(other) => return Err(other),
        }
        bytes += entry.length;
        restored.bodies += 1;
        restored.bytes += entry.length;
        progress.body(entry.length);
        if bytes >= STRETCH_BYTES || stretch.len() >= STRETCH_BODIES_MAX {
            store(std::mem::take(&mut stretch)).await?;
            bytes = 0;
        }
    }
    store(stretch).await?;
    Ok(damaged)
}

fn stage(pack: &Pack, entry: &Entry, laid: &Laid) -> Result<Staged, BackupError> {
    let body = pack.read(entry)?;
    let mut writer = laid.bodies().begin();
    writer.push(&body).map_err(body_error)?;
    writer.finish().map_err(body_error)
}

/// One sync for all of them.
async fn store(stretch: Vec<Staged>) -> Result<(), BackupError> {
    try_join_all(stretch.into_iter().map(Staged::commit)).await.map_err(body_error)?;
    Ok(())
}

/// Those that were lost before the backup do not count.
fn count_lacking(laid: &Laid, manifest: &Manifest) -> Result<u64, BackupError> {
    let lost: BTreeSet<&str> = manifest.bodies_lost.iter().map(String::as_str).collect();
    let (mut lacking, mut after): (u64, Option<BodyId>) = (0, None);
    loop {
        let ids = reading::bodies(laid.rows(), after, IDS_MAX).map_err(rows_error)?;
        let Some(last) = ids.last() else { return Ok(lacking) };
        after = Some(*last);
        for id in ids {
            let there = laid.bodies().contains(id).map_err(body_error)?;
            lacking += u64::from(!there && !lost.contains(id.to_string().as_str()));
        }
    }
}

fn start_error(error: StartError) -> BackupError {
    BackupError::Unavailable(error.to_string())
}

fn body_error(error: BodyError) -> BackupError {
    BackupError::Unavailable(format!("the new node's messages: {error}; free or mend that disk"))
}

fn stopped(_: tokio::task::JoinError) -> BackupError {
    BackupError::Unavailable("it was stopped".to_owned())
}
