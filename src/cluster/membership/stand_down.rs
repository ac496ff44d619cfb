//! Two voters alone: the one that stops by plan ceases to vote first, so that the other is a majority by itself and goes on
//! with full service. It votes again once it is back and has caught up, as any learner does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;

use super::{MembershipCall, Tried};
use crate::cluster::local::Local;
use crate::mail::ids::NodeId;

impl Local {
    /// Before a planned stop, once somebody else leads. Nothing is done where the others are a majority without it.
    pub async fn stand_down(self: &Arc<Self>, within: Duration) {
        if self.leads() || !self.is_freed_by(self.id) {
            return;
        }
        let call = MembershipCall::StandDown { node: self.id };
        match tokio::time::timeout(within, self.at_leader(call)).await {
            Ok(Ok(_)) => tracing::info!("this node votes no longer: the other one goes on by itself"),
            Ok(Err(why)) => {
                tracing::warn!("this node votes still, and nothing can be changed without it: {why}")
            }
            Err(_) => tracing::warn!(
                "this node votes still, and nothing can be changed without it: no answer in time"
            ),
        }
    }

    /// As the leader.
    pub(super) async fn stand_down_here(&self, node: NodeId) -> Result<u64, Tried> {
        match self.member(node) {
            Some(entry) if entry.voter => {}
            Some(_) => return Ok(0),
            None => return Err(Tried::Refused(format!("there is no node {node}"))),
        }
        if node == self.id || !self.is_freed_by(node) {
            return Err(Tried::Refused(format!("node {node} votes on: the others would gain nothing")));
        }
        self.change_raft(ChangeMembers::RemoveVoters(BTreeSet::from([node.0])), true).await?;
        tracing::info!("node {node} stops: it votes no longer, until it is back");
        Ok(0)
    }

    /// Whether the voters that can be reached are no majority without `node`, and would be one if it did not vote.
    fn is_freed_by(&self, node: NodeId) -> bool {
        let roster = self.roster.load();
        let voters: Vec<u64> = roster.iter().filter(|entry| entry.voter).map(|entry| entry.id).collect();
        let others = voters.iter().filter(|id| **id != node.0 && self.reaches(NodeId(**id))).count();
        voters.contains(&node.0) && frees(voters.len(), others)
    }
}

fn frees(voters: usize, others: usize) -> bool {
    others * 2 <= voters && others * 2 > voters - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_helps_half_of_an_even_number_and_nobody_else() {
        let helps: Vec<_> = (1..=5)
            .flat_map(|voters| (0..voters).map(move |others| (voters, others)))
            .filter(|it| frees(it.0, it.1))
            .collect();
        assert_eq!(helps, [(2, 1), (4, 2)]);
    }
}
