//! From one cluster version to the next ([`state::versions`](crate::state::versions)): which builds the nodes run, and the
//! operator's word that none of them will go back.

use std::sync::Arc;

use super::local::Local;
use super::membership::ClusterError;
use super::start::versions;
use super::transport::{Range, Versions};
use super::types::Role;
use crate::mail::ids::NodeId;
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::state::versions::effective;

/// How far the cluster is with an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    pub cluster_version: u32,
    /// Ascending by id.
    pub nodes: Vec<NodeBuild>,
    pub next: Next,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBuild {
    pub id: NodeId,
    pub name: String,
    pub role: Role,
    /// `None`: it does not answer.
    pub runs: Option<Runs>,
}

/// A build, and the cluster versions that it may yet be run at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    pub build: String,
    pub versions: Range,
}

/// The step to another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// No node knows a newer one.
    None,
    /// All nodes know it.
    Ready(u32),
    /// A node knows a newer one, and not all do: in one line.
    Waits(String),
}

impl Local {
    pub async fn upgrade(&self) -> Upgrade {
        let roster = self.roster.load_full();
        let asked = roster.iter().map(|entry| async {
            let id = NodeId(entry.id);
            // What is known of a node by its last greeting is true while it answers.
            let answers = self.report_of(id).await.is_some();
            let speaks = match id == self.id {
                true => Some(versions()),
                false => self.transport.peer_state(id).hello.map(|hello| hello.versions),
            };
            let runs = speaks
                .filter(|_| answers)
                .map(|Versions { build, command, .. }| Runs { build, versions: command });
            NodeBuild { id, name: entry.member.name.clone(), role: entry.member.role, runs }
        });
        let nodes = futures_util::future::join_all(asked).await;
        let cluster_version = effective(self.cluster_version().await);
        let next = next(cluster_version, &nodes);
        Upgrade { cluster_version, nodes, next }
    }

    /// Raises the cluster version as far as all nodes know it; gives it. From then on no node can go back.
    pub async fn finalize(self: &Arc<Self>) -> Result<u32, ClusterError> {
        let Upgrade { cluster_version, next, .. } = self.upgrade().await;
        let version = match next {
            Next::None => return Ok(cluster_version),
            Next::Waits(why) => return Err(ClusterError::refused(why)),
            Next::Ready(version) => version,
        };
        match self.propose(Command::SetClusterVersion { version }).await {
            Ok(Outcome::Refused(refusal)) => Err(ClusterError::refused(refusal)),
            Ok(_) => Ok(version),
            Err(_) => Err(ClusterError::NoQuorum),
        }
    }
}

fn next(current: u32, nodes: &[NodeBuild]) -> Next {
    let newest = |node: &NodeBuild| node.runs.as_ref().map(|runs| u32::from(runs.versions.max));
    let known = nodes.iter().filter_map(newest);
    let (Some(common), Some(best)) = (known.clone().min(), known.max()) else { return Next::None };
    if best <= current {
        return Next::None;
    }
    let silent = nodes.iter().find(|node| node.runs.is_none());
    let behind = nodes.iter().find(|node| newest(node).is_some_and(|newest| newest <= current));
    match (silent, behind) {
        (Some(node), _) => Next::Waits(format!(
            "{} does not answer, and what it runs is not known: start it, or remove it for good",
            node.name
        )),
        (None, Some(node)) => {
            let build = node.runs.as_ref().map_or("", |runs| runs.build.as_str());
            Next::Waits(format!("{} still runs build {build}: install the newer one there", node.name))
        }
        (None, None) => Next::Ready(common),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, newest: Option<u16>) -> NodeBuild {
        let runs = newest.map(|max| Runs { build: format!("0.{max}"), versions: Range { min: 1, max } });
        NodeBuild { id: NodeId(id), name: format!("node{id}"), role: Role::Data, runs }
    }

    fn of(current: u32, newest: [Option<u16>; 3]) -> Next {
        let nodes: Vec<NodeBuild> = (1..).zip(newest).map(|(id, newest)| node(id, newest)).collect();
        next(current, &nodes)
    }

    #[test]
    fn an_upgrade_is_ready_once_every_node_answers_and_knows_the_next_version() {
        assert_eq!(of(1, [Some(1), Some(1), Some(1)]), Next::None);
        assert_eq!(of(1, [Some(1), Some(1), None]), Next::None, "nobody knows a newer one");
        assert_eq!(of(1, [Some(2), Some(2), Some(2)]), Next::Ready(2));
        assert_eq!(of(2, [Some(2), Some(2), Some(2)]), Next::None, "it is done");
        assert_eq!(of(1, [Some(4), Some(3), Some(2)]), Next::Ready(2), "as far as all of them know");
        let Next::Waits(why) = of(1, [Some(2), Some(1), Some(2)]) else { panic!("node2 is behind") };
        assert!(why.contains("node2 still runs build 0.1"), "{why}");
        let Next::Waits(why) = of(1, [Some(2), Some(2), None]) else { panic!("node3 may run anything") };
        assert!(why.contains("node3 does not answer"), "{why}");
    }
}
