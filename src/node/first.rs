//! The first start after `init`: what the operator gave on the command line becomes replicated state.

use std::fs;
use std::path::Path;

use tracing::{info, warn};

use crate::admin::cli::identity::{FIRST_SETTINGS_FILE, FirstSettings};
use crate::cluster::replica::Replica;
use crate::state::command::Command;
use crate::state::outcome::Outcome;

/// Proposes what `init` left in the directory, then forgets it. What cannot be committed now is tried
/// at the next start.
pub async fn apply<R: Replica>(dir: &Path, replica: &R) {
    let path = dir.join(FIRST_SETTINGS_FILE);
    let Ok(bytes) = fs::read(&path) else { return };
    let first = match serde_json::from_slice::<FirstSettings>(&bytes) {
        Ok(first) => first,
        Err(error) => {
            warn!("{} is damaged ({error}); add domain and hostname by hand, then remove it", path.display());
            return;
        }
    };
    for command in commands(first) {
        match replica.propose(command).await {
            // It may have been committed before a crash: then it exists, and that is what was wanted.
            Ok(Outcome::Refused(refusal)) => info!("from init: {refusal}"),
            Ok(_) => {}
            Err(fault) => {
                warn!("domain and hostname given to init wait for the next start: {fault}");
                return;
            }
        }
    }
    if let Err(error) = fs::remove_file(&path) {
        warn!("{} cannot be removed: {error}", path.display());
    }
}

fn commands(first: FirstSettings) -> Vec<Command> {
    let mut commands = Vec::new();
    if let Some(name) = first.domain {
        commands.push(Command::AddDomain { name });
    }
    if let Some(hostname) = first.hostname {
        commands.push(Command::SetSettings { changes: vec![("hostname".to_owned(), Some(hostname))] });
    }
    commands
}
