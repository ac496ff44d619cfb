//! A new cluster whose first node begins with rows and bodies that another cluster left: what a backup is put back as. In
//! a folder that belongs to no cluster yet, and that nobody starts before all is laid down.
//!
//! The log begins empty, behind the entry at which the rows are: indexes that rows hold stay in the past, and whoever
//! joins is sent the rows, for there are no entries from which they could be made.

use super::files::{Beginning, found_beginning};
use crate::clock::Clock;
use crate::cluster::config::{ClusterConfig, StartError};
use crate::cluster::copied::{CaPems, Position};
use crate::cluster::machine::Progress;
use crate::cluster::pki::ClusterCa;
use crate::cluster::sealing::Sealer;
use crate::cluster::types::{Membership, StoredMembership, log_id};
use crate::mail::ids::{BodyId, NodeId};
use crate::state::keys;
use crate::state::rows::{Batch, Rows};
use crate::store::log::{LogLimits, LogPosition, LogStore, LogVote};
use crate::store::segments::{Bodies, BodyLimits};
use crate::store::tables::{Installer, Row, Tables};

/// The first node of every cluster.
const FIRST: NodeId = NodeId(1);

/// The rows come first, in any order, then their bodies.
pub struct Refounding {
    config: ClusterConfig,
    clock: Clock,
    tables: Tables,
    installer: Installer,
    from: Sealer,
    to: Sealer,
    unopened: u64,
}

/// The rows are laid down.
pub struct Laid {
    config: ClusterConfig,
    tables: Tables,
    bodies: Bodies,
    /// Secrets that could not be opened, and are of no use.
    pub unopened: u64,
}

impl Refounding {
    /// `ca` sealed the secrets in the rows. Blocks.
    pub fn begin(config: ClusterConfig, clock: Clock, ca: &CaPems) -> Result<Self, StartError> {
        let from = ClusterCa::from_pem(&ca.certificate, &ca.key)
            .map_err(|error| StartError::new(format!("the CA of the old cluster: {error}")))?;
        let to = found_beginning(&config, &clock, Beginning::Rows)?;
        let tables = Tables::open(&config.dir.join("tables")).map_err(StartError::new)?;
        let installer = tables.begin_install().map_err(StartError::new)?;
        let (from, to) = (Sealer::new(&from), Sealer::new(&to));
        Ok(Self { config, clock, tables, installer, from, to, unopened: 0 })
    }

    /// Blocks.
    pub fn push(&mut self, rows: Vec<Row>) -> Result<(), StartError> {
        let mut anew = Vec::with_capacity(rows.len());
        for row in rows {
            anew.push(self.to.sealed_anew(&self.from, row, &self.clock).unwrap_or_else(|row| {
                self.unopened += 1;
                row
            }));
        }
        self.installer.push(anew).map_err(StartError::new)
    }

    /// They are all there, as of `at`; this node is the only member. Durable when it returns. Blocks.
    pub fn finish_rows(self, at: Position) -> Result<Laid, StartError> {
        let Self { config, tables, installer, unopened, .. } = self;
        installer.finish().map_err(StartError::new)?;
        let last = log_id(at.term, at.index);
        let members = std::collections::BTreeMap::from([(FIRST.0, config.member())]);
        let membership = Membership::new(vec![[FIRST.0].into()], members).map_err(StartError::new)?;
        let progress =
            Progress { last_applied: Some(last), membership: StoredMembership::new(Some(last), membership) };
        let mut batch = Batch::new();
        progress.write_applied(&mut batch);
        progress.write_membership(&mut batch);
        let written = tables.write(batch).and_then(|()| tables.sync());
        written.map_err(StartError::new)?;
        let dir = config.dir.join("bodies");
        let bodies = Bodies::open(&dir, BodyLimits::default())
            .map_err(|error| StartError::new(format!("{}: {error}", dir.display())))?;
        Ok(Laid { config, tables, bodies, unopened })
    }
}

impl Laid {
    pub fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// Whether a message or a mail in the queue is made of it.
    pub fn names(&self, body: BodyId) -> Result<bool, StartError> {
        let row = self.tables.get(&keys::body(body)).map_err(StartError::new)?;
        Ok(row.is_some())
    }

    pub fn rows(&self) -> &Tables {
        &self.tables
    }

    /// The log that goes on behind the rows. With it the node may be started.
    pub async fn finish(self, at: Position) -> Result<(), StartError> {
        let dir = self.config.dir.join("raft");
        let opening = super::super::blocking::blocking(move || LogStore::open(&dir, LogLimits::DATA_NODE));
        let log = opening.await.map_err(StartError::new)?.map_err(StartError::new)?;
        log.purge(LogPosition { term: at.term, leader: 0, index: at.index }).map_err(StartError::new)?;
        // In order: with the vote the purge is durable too.
        let vote = LogVote { term: at.term, voted_for: FIRST.0, committed: false };
        log.save_vote(vote).await.map_err(StartError::new)
    }
}
