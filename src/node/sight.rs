//! What the watch over the node and the cluster has to see, bound to this node.

use std::time::Duration;

use super::inquiry::{DiskTold, Inquiry};
use super::operator::role;
use super::vitals::{NodeVitals, RecentSyncs};
use crate::admin::alarms::{NodeSeen, Seen, Sight, Whole};
use crate::admin::metrics::Vitals;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::Replica;
use crate::cluster::status::NodeState;
use crate::state::backups::last_backup;
use crate::store::files::Space;

/// How long a witness may take to say how its disk is: longer than that waits for the disk itself.
const WITNESS_ANSWERS_MAX: Duration = Duration::from_secs(3);

pub struct NodeSight {
    cluster: ClusterHandle,
    vitals: NodeVitals,
    syncs: RecentSyncs,
}

impl NodeSight {
    pub fn new(cluster: ClusterHandle, vitals: NodeVitals) -> Self {
        Self { cluster, vitals, syncs: RecentSyncs::default() }
    }

    async fn whole(&self) -> Whole {
        let (status, disks, clocks, queue, backup) = tokio::join!(
            self.cluster.status_without_services(),
            self.cluster.inquire_of_witnesses(Inquiry::Disk.bytes(), WITNESS_ANSWERS_MAX),
            self.cluster.clocks_off(),
            self.vitals.queue(),
            self.cluster.read_queue(last_backup)
        );
        // Rows that cannot be read are told of elsewhere.
        let backup_of = backup.ok().flatten().map(|backup| backup.of);
        let disk = |id| -> DiskTold {
            let told = disks.iter().find(|told| told.id == id).and_then(|told| told.answer.as_ref());
            told.and_then(|answer| serde_json::from_slice(answer).ok()).unwrap_or_default()
        };
        let nodes = status.nodes.into_iter().map(|node| NodeSeen {
            id: node.id,
            clock_off_ms: clocks.iter().find(|(id, _)| *id == node.id).map(|(_, off)| *off),
            role: role(node.role),
            answers: node.state != NodeState::Unreachable,
            in_sync: node.in_sync,
            bodies_missing: node.bodies_missing,
            disk: disk(node.id).space.map(|(total, free)| Space { total, free }),
            sync_ms: disk(node.id).sync_ms,
            name: node.name,
        });
        Whole { nodes: nodes.collect(), queue, backup_of }
    }
}

impl Sight for NodeSight {
    async fn look(&mut self) -> Seen {
        let sync_ms = self.syncs.look();
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
            certificate: self.vitals.validity(),
            damaged: self.cluster.damage(),
            whole,
        }
    }
}
