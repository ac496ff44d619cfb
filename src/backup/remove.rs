//! Backups are taken away, and what only they held is given back. The others are as they were: they are
//! read before anything is removed, and a message of theirs lies in a whole pack at every moment.

use super::BackupError;
use super::manifest::Manifest;
use super::pack::{self, Pack, PackWriter};
use super::progress::{Phase, Progress};
use super::repository::{Repository, Writing};
use super::rows::bodies_named;
use crate::mail::ids::BodyId;

/// Which backups are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// That one.
    One(String),
    /// All but so many of the newest.
    AllBut(usize),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Their ids, oldest first.
    pub backups: Vec<String>,
    pub left: usize,
    /// Octets given back.
    pub bytes: u64,
}

/// Blocks. Cut short at any moment it may be asked for again, and goes on.
pub fn remove(writing: &Writing, gone: &Gone, progress: &Progress) -> Result<Removed, BackupError> {
    let repository = writing.repository();
    let all = repository.backups()?.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (gone, left) = split(repository, all, gone)?;
    progress.enter(Phase::Rows);
    // What cannot be read now could lose its messages.
    let mut named = Vec::new();
    for manifest in &left {
        named.extend(bodies_of(repository, manifest, progress)?);
    }
    named.sort_unstable();
    named.dedup();
    let before = bytes_in(repository)?;
    for manifest in &gone {
        writing.unpublish(&manifest.id)?;
    }
    writing.clear()?;
    progress.enter(Phase::Bodies);
    pack_anew(writing, &named, progress)?;
    let bytes = before.saturating_sub(bytes_in(repository)?);
    Ok(Removed { backups: gone.into_iter().map(|manifest| manifest.id).collect(), left: left.len(), bytes })
}

/// Those that go, and those that stay.
fn split(
    repository: &Repository,
    mut all: Vec<Manifest>,
    gone: &Gone,
) -> Result<(Vec<Manifest>, Vec<Manifest>), BackupError> {
    match gone {
        Gone::One(id) => {
            let one = repository.choose(Some(id), None)?;
            all.retain(|manifest| manifest.id != one.id);
            Ok((vec![one], all))
        }
        Gone::AllBut(count) => {
            let left = all.split_off(all.len().saturating_sub(*count));
            Ok((all, left))
        }
    }
}

fn bodies_of(
    repository: &Repository,
    manifest: &Manifest,
    progress: &Progress,
) -> Result<Vec<BodyId>, BackupError> {
    let mut reader = repository.rows(manifest)?;
    let mut named = Vec::new();
    loop {
        let rows = reader.next_rows()?;
        if rows.is_empty() {
            return Ok(named);
        }
        progress.rows(rows.len());
        named.extend(bodies_named(&rows));
    }
}

/// Packs of which nothing is named go. Of one that is half unnamed or more, what is named is written anew first.
fn pack_anew(writing: &Writing, named: &[BodyId], progress: &Progress) -> Result<(), BackupError> {
    let repository = writing.repository();
    let storage = repository.storage();
    let numbers = repository.packs()?;
    let mut next = 1 + numbers.last().copied().unwrap_or(0);
    for number in numbers {
        let pack = Pack::open(storage, number)?;
        let is_named = |id: &BodyId| named.binary_search(id).is_ok();
        let bytes = |wanted: bool| -> u64 {
            let entries = pack.entries.iter().filter(|entry| is_named(&entry.id) == wanted);
            entries.map(|entry| pack::RECORD_HEADER_BYTES + entry.length).sum()
        };
        let kept = pack.entries.iter().filter(|entry| is_named(&entry.id)).collect::<Vec<_>>();
        if bytes(false) == 0 || bytes(false) < bytes(true) {
            continue;
        }
        if !kept.is_empty() {
            let whole = Pack::fetch(storage, number)?;
            let mut writer = PackWriter::begin(storage, next)?;
            next += 1;
            for entry in kept {
                let body = whole.read(entry)?;
                progress.body(body.len() as u64);
                writer.push(entry.id, &body)?;
            }
            writer.finish()?;
        }
        // Whoever took over a place that this process was silent in may rely on the pack.
        writing.check()?;
        storage.remove(&pack::name(number))?;
    }
    Ok(())
}

fn bytes_in(repository: &Repository) -> Result<u64, BackupError> {
    Ok(repository.storage().files()?.iter().map(|file| file.bytes).sum())
}
