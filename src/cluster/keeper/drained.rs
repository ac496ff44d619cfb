//! A drained node does not lead while another data node can: its box is about to be switched off.

use std::sync::Arc;

use super::{LOOK_AGAIN, ticking};
use crate::cluster::local::Local;
use crate::mail::ids::NodeId;

/// It stands all the same, or a cluster whose other data node dies would have no leader; what it wins so it gives up as
/// soon as the other is back.
pub async fn step_aside(local: Arc<Local>) {
    let Some(data) = &local.data else { return };
    let mut drained = data.feed.drained();
    let mut ticks = ticking(LOOK_AGAIN);
    loop {
        tokio::select! {
            changed = drained.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {}
        }
        if !local.leads() || !drained.borrow_and_update().contains(&local.id) {
            continue;
        }
        let Some(heir) = local.best_heir().filter(|heir: &NodeId| !local.is_drained(*heir)) else { continue };
        match local.give_up_leading(heir).await {
            Ok(()) => tracing::info!("this node is drained: node {heir} leads from now on"),
            Err(why) => tracing::debug!("this node is drained, and leads still: {why}"),
        }
    }
}
