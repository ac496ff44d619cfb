//! A new cluster says at which version it is; and a node speaks with no build that its cluster has left behind.

use std::sync::Arc;

use super::{LOOK_AGAIN, ticking};
use crate::cluster::local::{DataParts, Local};
use crate::cluster::transport::Versions;
use crate::state::command::Command;
use crate::state::versions::{FIRST, NEWEST, effective};

pub async fn keep_version(local: Arc<Local>, data: DataParts) {
    let mut directory = data.feed.directory();
    let mut ticks = ticking(LOOK_AGAIN);
    loop {
        let version = directory.borrow_and_update().cluster_version;
        let min = u16::try_from(effective(version)).unwrap_or(u16::MAX);
        local.versions.rcu(|versions| {
            let mut raised = Versions::clone(versions);
            raised.command.min = min.min(raised.command.max);
            raised
        });
        if version > 0 {
            if directory.changed().await.is_err() {
                return;
            }
            continue;
        }
        let members = local.roster.load().len();
        // One that leads may have yet to read who its members are.
        if local.leads() && members > 0 {
            // Who is alone has nobody whose build he must wait for.
            let alone = members == 1;
            let first = Command::SetClusterVersion { version: if alone { NEWEST } else { FIRST } };
            if let Err(fault) = local.propose(first).await {
                tracing::debug!("the cluster's version is not said yet: {fault}");
            }
        }
        tokio::select! {
            changed = directory.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {}
        }
    }
}
