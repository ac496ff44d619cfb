//! A node whose box has another address makes that known, again and again until it is.

use std::sync::Arc;

use super::{LOOK_AGAIN, ticking};
use crate::cluster::local::Local;

pub async fn keep_address(local: Arc<Local>) {
    let mut ticks = ticking(LOOK_AGAIN);
    let mut said = None;
    loop {
        ticks.tick().await;
        if !local.is_misnamed() {
            said = None;
            continue;
        }
        if let Err(why) = local.tell_address().await
            && said.as_ref() != Some(&why)
        {
            let address = &local.config.control_address;
            tracing::warn!("the others do not know yet that this node is at {address}: {why}");
            said = Some(why);
        }
    }
}
