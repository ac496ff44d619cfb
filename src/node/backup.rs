//! The backup that this node makes: one at a time, whether or not whoever asked for it still waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use crate::admin::control::backup::Job;
use crate::admin::control::request::Failure;
use crate::backup::BackupError;
use crate::backup::create::create;
use crate::backup::location::Location;
use crate::backup::manifest::Manifest;
use crate::backup::progress::Progress;
use crate::backup::storage::Workplace;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::Replica;
use crate::mail::ids::Timestamp;
use crate::state::backups::NoteBackup;
use crate::state::command::Command;
use crate::state::outcome::Outcome;

#[derive(Clone, Default)]
pub struct Backups(Arc<Mutex<Last>>);

#[derive(Default)]
struct Last {
    number: u64,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Running(Progress),
    Ended(Box<Result<Manifest, BackupError>>),
}

impl Backups {
    /// Begins one; gives its number.
    pub fn begin(&self, cluster: ClusterHandle, to: Location, workplace: Workplace) -> Result<u64, Failure> {
        let progress = Progress::default();
        let number = {
            let mut last = self.last();
            if matches!(last.state, State::Running(_)) {
                return Err(Failure::unavailable(
                    "this node is making a backup already; wait until it is done",
                ));
            }
            last.number += 1;
            last.state = State::Running(progress.clone());
            last.number
        };
        let backups = self.clone();
        tokio::spawn(async move {
            let shown = to.to_string();
            let made = create(&cluster, to, workplace, &progress).await;
            match &made {
                Ok(manifest) => {
                    info!("backup {} is made in {shown}", manifest.id);
                    note(&cluster, manifest).await;
                }
                Err(error) => warn!("no backup was made in {shown}: {error}"),
            }
            backups.last().state = State::Ended(Box::new(made));
        });
        Ok(number)
    }

    pub fn job(&self) -> (u64, Job) {
        let last = self.last();
        let job = match &last.state {
            State::None => Job::None,
            State::Running(progress) => Job::Running(progress.step()),
            State::Ended(made) => Job::Ended(made.clone()),
        };
        (last.number, job)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It is made all the same where that fails.
async fn note(cluster: &ClusterHandle, manifest: &Manifest) {
    let made = NoteBackup { of: Timestamp(manifest.at_ms), by: cluster.node(), id: manifest.id.clone() };
    match cluster.propose(Command::NoteBackup(made)).await {
        Ok(Outcome::Refused(refusal)) => info!("the backup is not noted: {refusal}"),
        Ok(_) => {}
        Err(fault) => warn!("the backup is not noted: {fault}"),
    }
}
