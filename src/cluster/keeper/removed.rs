//! What users have expunged is kept for the days that the setting says, and no longer.

use std::sync::Arc;

use tokio::time::sleep;

use super::sync::disk;
use crate::cluster::blocking::blocking;
use crate::cluster::local::{DataParts, Local};
use crate::cluster::replica::Fault;
use crate::mail::ids::Timestamp;
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::state::removed;

const DAY_MS: u64 = 86_400_000;

/// The leader has what is due forgotten, a portion at a time.
pub async fn forget_removed(local: Arc<Local>, data: DataParts) {
    loop {
        sleep(local.config.upkeep.grace()).await;
        if !local.leads() {
            continue;
        }
        match forget_due(&local, &data).await {
            Ok(()) => {}
            Err(Fault::ShuttingDown) => return,
            Err(fault) => tracing::info!("expunged messages that are due could not be forgotten: {fault}"),
        }
    }
}

async fn forget_due(local: &Arc<Local>, data: &DataParts) -> Result<(), Fault> {
    let days = data.feed.directory().borrow().settings().mail_undelete_days();
    let before = Timestamp(local.clock.now().0.saturating_sub(days * DAY_MS));
    let tables = data.tables.clone();
    let due = blocking(move || removed::any_before(&tables, before)).await;
    let mut more = due.map_err(|_| Fault::ShuttingDown)?.map_err(disk)?;
    while more {
        more = matches!(
            local.propose(Command::ForgetRemoved { before }).await?,
            Outcome::Forgotten { more: true }
        );
    }
    Ok(())
}
