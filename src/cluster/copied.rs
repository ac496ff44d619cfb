//! An exact copy of what this node holds, taken while it goes on: for whoever makes a backup. A copy reads alone: it
//! changes nothing, and while it lasts no body is forgotten here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::bodies::BodyService;
use super::handle::ClusterHandle;
use super::machine::{VIEW_ROWS_MAX, position_in};
use super::membership::{ClusterError, Files};
use super::replica::{Fault, Replica};
use crate::mail::ids::{BodyId, NodeId};
use crate::store::tables::{Row, TablesError, View};

/// An entry of the log: what is applied up to there is what the rows hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub term: u64,
    pub index: u64,
}

/// The CA of the cluster, with which secrets in the rows are sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct CaPems {
    pub certificate: String,
    pub key: String,
}

/// The rows at one entry, in order of their keys. Read on: others' writes wait for a reader that is too slow.
pub struct ExactRows {
    view: View,
    position: Option<Position>,
}

/// What holds the rows' bodies. Dropping it lets bodies be forgotten again.
pub struct NamedBodies {
    bodies: BodyService,
    _held: Held,
}

impl ClusterHandle {
    /// Everything that was acknowledged before the call, on whichever node, is in it. Refused on a node that is not in sync:
    /// it may lack bodies.
    pub async fn begin_copy(&self) -> Result<(ExactRows, NamedBodies), ClusterError> {
        let Some(data) = &self.local.data else {
            return Err(refused("a witness keeps no mail: ask a data node (--socket)"));
        };
        self.refresh().await.map_err(|fault| refused(&format!("{fault}; try again")))?;
        let in_sync = data.feed.replica_set().borrow().in_sync.clone();
        if !in_sync.contains(&self.local.id) {
            let name = |node: &NodeId| self.local.member(*node).map(|entry| entry.member.name);
            let others: Vec<String> = in_sync.iter().filter_map(name).collect();
            let instead = match others.is_empty() {
                true => "wait until it is (see 'pollux cluster status')".to_owned(),
                false => format!("ask {}, or wait", others.join(" or ")),
            };
            return Err(refused(&format!("this node is not in sync and may lack mail: {instead}")));
        }
        // First held, then looked at: whatever the rows name is here, and stays.
        let bodies = NamedBodies { _held: data.bodies.hold(), bodies: data.bodies.clone() };
        let tables = data.tables.clone();
        let view = super::blocking::blocking(move || tables.begin_view()).await;
        let view = view.map_err(|_| refused("this node is shutting down"))?;
        let view = view.map_err(|error| refused(&error.to_string()))?;
        Ok((ExactRows { view, position: None }, bodies))
    }

    pub fn ca_pems(&self) -> Result<CaPems, ClusterError> {
        let ca = Files::new(&self.local.config.dir).read_ca().map_err(ClusterError::Refused)?;
        Ok(CaPems { certificate: ca.certificate_pem().to_owned(), key: ca.key_pem() })
    }

    pub fn cluster_id(&self) -> String {
        self.local.cluster.to_string()
    }
}

fn refused(why: &str) -> ClusterError {
    ClusterError::Refused(why.to_owned())
}

impl ExactRows {
    /// The next of them; empty at the end. Blocks.
    pub fn next_rows(&mut self) -> Result<Vec<Row>, TablesError> {
        let rows = self.view.next_rows(VIEW_ROWS_MAX)?;
        for row in &rows {
            if let Some(last) = position_in(row).map_err(|error| TablesError::Damaged(error.0))? {
                self.position = Some(Position { term: last.leader_id.term, index: last.index });
            }
        }
        Ok(rows)
    }

    /// Known once all were read. `None`: nothing was ever applied.
    pub fn position(&self) -> Option<Position> {
        self.position
    }
}

impl NamedBodies {
    /// From this disk or, failing that, from a peer.
    pub async fn body(&self, id: BodyId) -> Result<Bytes, Fault> {
        self.bodies.body(id).await
    }
}

/// How many want that nothing is forgotten.
#[derive(Default)]
pub struct Holds(Arc<AtomicUsize>);

/// One of them.
pub struct Held(Arc<AtomicUsize>);

impl Holds {
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::AcqRel);
        Held(self.0.clone())
    }

    pub fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_until_the_last_lets_go() {
        let holds = Holds::default();
        let (first, second) = (holds.hold(), holds.hold());
        drop(first);
        assert!(holds.any());
        drop(second);
        assert!(!holds.any());
    }
}
