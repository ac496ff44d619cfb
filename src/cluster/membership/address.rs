//! Where a node is to be found, once its box has another address: its configuration says it, and while the membership
//! says otherwise the node tells everybody whom it reaches, until whoever leads has it written down. The leader cannot
//! reach the node before, which so cannot know who leads.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use openraft::ChangeMembers;

use super::{Tried, answer};
use crate::cluster::local::{Local, peer_address};
use crate::cluster::network::{REFUSED, kinds, roster_of};
use crate::cluster::transport::{CallError, Lane, PeerAddress};
use crate::cluster::types::Member;
use crate::cluster::wire;
use crate::mail::ids::NodeId;

/// How long the leader may take to have it written down.
const TELL_MAX: Duration = Duration::from_secs(5);

impl Local {
    /// Whether the membership names this node, and another address than its own.
    pub fn is_misnamed(&self) -> bool {
        self.member(self.id).is_some_and(|entry| peer_address(&entry) != self.config.address())
    }

    /// `Err`: one line, why the leader does not take it. Where none is reached, nothing is done.
    pub async fn tell_address(&self) -> Result<(), String> {
        let address = self.config.address();
        match self.move_here(self.id, address.clone()).await {
            Ok(()) => return Ok(()),
            Err(Tried::Refused(refusal)) => return Err(refusal),
            Err(Tried::NotLeader) => {}
        }
        let body = Bytes::from(wire::encode(&address).map_err(|error| error.to_string())?);
        let reached = self.transport.peers().into_iter().filter(|node| self.reaches(*node));
        let calls = reached
            .map(|node| self.transport.call(node, Lane::Control, kinds::ADDRESS, body.clone(), TELL_MAX));
        let answers = futures_util::future::join_all(calls).await;
        if answers.iter().any(Result::is_ok) {
            return Ok(());
        }
        // Others do not lead, or answer no longer.
        let refusal = answers.into_iter().find_map(|answer| match answer {
            Err(CallError::Refused { code: REFUSED, message }) => Some(message),
            Ok(_) | Err(_) => None,
        });
        refusal.map_or(Ok(()), Err)
    }

    /// A peer says where it is; nobody says that of another.
    pub async fn move_for_peer(&self, from: NodeId, body: Bytes) -> Result<Bytes, CallError> {
        let address: PeerAddress =
            wire::decode(&body).map_err(|error| CallError::Protocol(error.to_string()))?;
        answer(self.move_here(from, address).await)
    }

    async fn move_here(&self, node: NodeId, address: PeerAddress) -> Result<(), Tried> {
        if !self.leads() {
            return Err(Tried::NotLeader);
        }
        if [&address.control, &address.bulk].iter().any(|text| text.len() > Member::TEXT_BYTES_MAX) {
            return Err(Tried::Refused(format!("an address has at most {} octets", Member::TEXT_BYTES_MAX)));
        }
        let _turn = self.changing.lock().await;
        let members = roster_of(&self.look(|metrics| metrics.membership_config.clone()));
        let Some(entry) = members.iter().find(|entry| entry.id == node.0) else {
            return Err(Tried::Refused(format!("there is no node {node}")));
        };
        if peer_address(entry) == address {
            return Ok(());
        }
        let others = members.iter().filter(|entry| entry.id != node.0);
        if let Some(other) = others.map(|entry| &entry.member).find(|other| shares(other, &address)) {
            return Err(Tried::Refused(format!("{} is to be found there already", other.name)));
        }
        let moved = Member { control: address.control, bulk: address.bulk, ..entry.member.clone() };
        let place = moved.control.clone();
        self.change_raft(ChangeMembers::SetNodes(BTreeMap::from([(node.0, moved)])), true).await?;
        tracing::info!("node {node} is to be found at {place} from now on");
        Ok(())
    }
}

fn shares(other: &Member, address: &PeerAddress) -> bool {
    [&other.control, &other.bulk].iter().any(|taken| **taken == address.control || **taken == address.bulk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_are_never_found_at_one_place() {
        let other = Member { control: "a:1".into(), bulk: "a:2".into(), ..Member::default() };
        let at = |control: &str, bulk: &str| {
            shares(&other, &PeerAddress { control: control.into(), bulk: bulk.into() })
        };
        assert!(at("a:1", "b:2") && at("b:1", "a:2") && at("a:2", "b:2"));
        assert!(!at("a:3", "a:4") && !at("b:1", "b:2"));
    }
}
