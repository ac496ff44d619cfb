//! Gives the witness's journal back once its bodies have two copies on data nodes again.

use std::sync::Arc;

use tokio::time::sleep;

use crate::cluster::local::{DataParts, Local};
use crate::cluster::replica::Fault;

/// The leader asks how far a journal goes, waits for as long as a body may wait for the message that names it, and if another
/// data node is in sync then, drops what lay before. Every message that names one of those bodies was decided by then, and so
/// lay before the other node's word that it has all that is named, or was brought there itself.
pub async fn drop_journals(local: Arc<Local>, data: DataParts) {
    let grace = local.config.upkeep.grace();
    loop {
        let mut ends = Vec::new();
        if local.leads() {
            for witness in local.witnesses() {
                if let Ok(Some(state)) = data.bodies.journal_state(witness, None).await
                    && state.bytes > 0
                {
                    ends.push((witness, state.end()));
                }
            }
        }
        sleep(grace).await;
        for (witness, end) in ends {
            match is_pair(&local, &data).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(Fault::ShuttingDown) => return,
                Err(fault) => {
                    tracing::info!("whether the witness's journal is needed is not known: {fault}");
                    break;
                }
            }
            match data.bodies.journal_state(witness, Some(end)).await {
                Ok(Some(left)) => {
                    tracing::info!(
                        "the journal of the witness {witness} is needed no longer: {} octets are left",
                        left.bytes
                    );
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::info!("the journal of the witness {witness} was not given back: {error}")
                }
            }
        }
    }
}

/// Whether another data node has all that is named, by what is committed now.
async fn is_pair(local: &Arc<Local>, data: &DataParts) -> Result<bool, Fault> {
    local.propose(Local::barrier_command()).await?;
    Ok(data.feed.replica_set().borrow().in_sync.len() > 1)
}
