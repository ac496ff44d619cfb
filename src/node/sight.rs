//! What the watch over the node and the cluster has to see, bound to this node.

use std::collections::VecDeque;

use super::operator::role;
use super::vitals::NodeVitals;
use crate::admin::alarms::{NodeSeen, Seen, Sight, Whole};
use crate::admin::metrics::Vitals;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::Replica;
use crate::cluster::status::NodeState;
use crate::meters::{METERS, TimesSeen};
use crate::state::backups::last_backup;

/// Looks over which the mean of syncs is taken: a minute.
const SYNC_LOOKS: usize = 30;

pub struct NodeSight {
    cluster: ClusterHandle,
    vitals: NodeVitals,
    /// Of log and bodies, the oldest first.
    syncs: VecDeque<[TimesSeen; 2]>,
}

impl NodeSight {
    pub fn new(cluster: ClusterHandle, vitals: NodeVitals) -> Self {
        Self { cluster, vitals, syncs: VecDeque::new() }
    }

    /// The slower of log and bodies, in the mean.
    fn sync_ms(&mut self) -> Option<u64> {
        let now = [METERS.log_syncs.seen(), METERS.body_syncs.seen()];
        if self.syncs.len() == SYNC_LOOKS {
            self.syncs.pop_front();
        }
        self.syncs.push_back(now);
        let before = self.syncs.front()?;
        now.iter().zip(before).filter_map(|(now, before)| now.mean_ms_since(before)).max()
    }

    async fn whole(&self) -> Whole {
        let (status, clocks, queue, backup) = tokio::join!(
            self.cluster.status_without_services(),
            self.cluster.clocks_off(),
            self.vitals.queue(),
            self.cluster.read_queue(last_backup)
        );
        // Rows that cannot be read are told of elsewhere.
        let backup_of = backup.ok().flatten().map(|backup| backup.of);
        let nodes = status.nodes.into_iter().map(|node| NodeSeen {
            id: node.id,
            clock_off_ms: clocks.iter().find(|(id, _)| *id == node.id).map(|(_, off)| *off),
            role: role(node.role),
            answers: node.state != NodeState::Unreachable,
            in_sync: node.in_sync,
            bodies_missing: node.bodies_missing,
            name: node.name,
        });
        Whole { nodes: nodes.collect(), queue, backup_of }
    }
}

impl Sight for NodeSight {
    async fn look(&mut self) -> Seen {
        let sync_ms = self.sync_ms();
        let disk = self.vitals.disk().await.ok();
        let whole = match self.cluster.figures().leads {
            true => Some(self.whole().await),
            false => None,
        };
        Seen {
            now: self.vitals.clock().now(),
            own: self.cluster.node(),
            own_name: self.cluster.name(),
            disk,
            sync_ms,
            certificate_ends: self.vitals.certificate_ends(),
            damaged: self.cluster.damage(),
            whole,
        }
    }
}
