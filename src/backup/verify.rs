//! Reads all backups of one place, and names what is not as it was written. Changes nothing.

use std::collections::BTreeSet;

use super::BackupError;
use super::manifest::Manifest;
use super::pack::{Pack, name};
use super::progress::{Phase, Progress};
use super::repository::Repository;
use super::rows::bodies_named;
use crate::mail::ids::BodyId;

/// Faults that are named; there may be more.
pub const FAULTS_MAX: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    pub backups: u64,
    pub packs: u64,
    pub bodies: u64,
    pub bytes: u64,
    /// One line each; none: everything is whole.
    pub faults: Vec<String>,
}

/// `id`: the rows of that backup alone; the packs are read all the same.
pub fn verify(
    repository: &Repository,
    id: Option<&str>,
    progress: &Progress,
) -> Result<Verified, BackupError> {
    let mut found = Verified::default();
    let backups = match id {
        Some(id) => vec![repository.choose(Some(id), None)],
        None => repository.backups()?,
    };
    progress.enter(Phase::Bodies);
    let (packs, sound) = packs(repository, &mut found, progress)?;
    progress.enter(Phase::Rows);
    for backup in backups {
        let checked = backup
            .and_then(|manifest| of_backup(repository, &manifest, (&packs, &sound), &mut found, progress));
        match checked {
            Ok(()) => found.backups += 1,
            Err(error) => found.fault(error.to_string()),
        }
    }
    Ok(found)
}

impl Verified {
    fn fault(&mut self, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(what);
        }
    }
}

/// The packs that there are, and the bodies in them that are whole, ascending.
fn packs(
    repository: &Repository,
    found: &mut Verified,
    progress: &Progress,
) -> Result<(BTreeSet<u32>, Vec<BodyId>), BackupError> {
    let numbers: BTreeSet<u32> = repository.packs()?.into_iter().collect();
    let mut sound = Vec::new();
    for number in &numbers {
        let pack = match Pack::fetch(repository.storage(), *number) {
            Ok(pack) => pack,
            Err(error) => {
                found.fault(error.to_string());
                continue;
            }
        };
        if let Err(error) = pack.check_layout() {
            found.fault(error.to_string());
        }
        for entry in &pack.entries {
            match pack.read(entry) {
                Ok(body) => {
                    found.bytes += body.len() as u64;
                    progress.body(body.len() as u64);
                    sound.push(entry.id);
                }
                Err(error) => found.fault(error.to_string()),
            }
        }
        found.packs += 1;
    }
    sound.sort_unstable();
    sound.dedup();
    found.bodies = sound.len() as u64;
    Ok((numbers, sound))
}

fn of_backup(
    repository: &Repository,
    manifest: &Manifest,
    (packs, sound): (&BTreeSet<u32>, &[BodyId]),
    found: &mut Verified,
    progress: &Progress,
) -> Result<(), BackupError> {
    repository.keys(manifest)?;
    let mut reader = repository.rows(manifest)?;
    let lost: BTreeSet<&str> = manifest.bodies_lost.iter().map(String::as_str).collect();
    let mut lacking = 0_u64;
    loop {
        let rows = reader.next_rows()?;
        if rows.is_empty() {
            break;
        }
        progress.rows(rows.len());
        for id in bodies_named(&rows) {
            let there = sound.binary_search(&id).is_ok() || lost.contains(id.to_string().as_str());
            lacking += u64::from(!there);
        }
    }
    if lacking == 0 {
        return Ok(());
    }
    for gone in manifest.packs.iter().filter(|number| !packs.contains(number)) {
        found.fault(format!("{repository}: {} is missing", name(*gone)));
    }
    Err(BackupError::Damaged(format!(
        "backup {}: {lacking} of its messages are in no pack, or damaged there",
        manifest.id
    )))
}
