//! The disk of a node that does not run: its rows, and the log behind them. A process that was killed leaves rows that are
//! behind its log, by some seconds of work at the most.

use std::path::Path;

use bytes::Bytes;

use crate::cluster::codec::payload_from;
use crate::cluster::config::StartError;
use crate::cluster::lineage::End;
use crate::cluster::log::READ_BYTES_MAX;
use crate::cluster::machine::Progress;
use crate::cluster::types::{Membership, Payload};
use crate::mail::ids::{BodyId, LogIndex};
use crate::state::apply::{Overlay, apply};
use crate::state::codec::decode_proposal;
use crate::state::rows::Rows;
use crate::store::files::DirLock;
use crate::store::log::{LogLimits, LogStore};
use crate::store::segments::{Bodies, BodyLimits};
use crate::store::tables::Tables;

/// What the rows and the log behind them come to, whether all of it was committed or not.
pub struct AtTheEnd {
    pub membership: Membership,
    /// What the log changes in the rows.
    pub overlay: Overlay,
}

/// Changes nothing on the disk.
pub async fn at_the_end(log: &LogStore, tables: &Tables) -> Result<AtTheEnd, StartError> {
    let progress = Progress::read(tables).map_err(StartError::new)?;
    let state = log.state();
    let (mut from, end) = (progress.last_applied.map_or(0, |last| last.index + 1), End::of(state).next);
    if state.purged.is_some_and(|purged| purged.index + 1 > from) {
        return Err(StartError::new(
            "the rows of this node are lost or damaged, and only another data node can give them: start one first",
        ));
    }
    let mut membership = progress.membership.membership().clone();
    let mut overlay = Overlay::new();
    while from < end {
        let read = log.read(from..end, READ_BYTES_MAX).await.map_err(StartError::new)?;
        let Some((last, _)) = read.last() else { break };
        from = last.index + 1;
        for (at, payload) in read {
            match payload_from(payload).map_err(StartError::new)? {
                Payload::Membership(newer) => membership = newer,
                Payload::Normal(encoded) => {
                    let proposal = decode_proposal(encoded.proposal()).map_err(StartError::new)?;
                    apply(tables, &mut overlay, LogIndex(at.index), &proposal).map_err(StartError::new)?;
                }
                Payload::Blank => {}
            }
        }
    }
    Ok(AtTheEnd { membership, overlay })
}

/// What a data node that stays off has of mail, to be read. While this is held it cannot be started.
pub struct Left {
    tables: Tables,
    overlay: Overlay,
    bodies: Bodies,
    _lock: DirLock,
}

impl Left {
    /// Blocks.
    pub async fn open(dir: &Path) -> Result<Self, StartError> {
        let within = |name: &str| dir.join(name);
        let told = |name: &str, why: &dyn std::fmt::Display| {
            StartError::new(format!("{}: {why}", within(name).display()))
        };
        if ["raft", "tables", "bodies"].iter().any(|name| !within(name).is_dir()) {
            return Err(StartError::new(format!("{} is not the folder of a data node", dir.display())));
        }
        let lock = DirLock::acquire(dir).map_err(|why| {
            StartError::new(format!("{why}; stop that node: what it has is read while it is off"))
        })?;
        if let Some(why) = Tables::condemned(&within("tables")) {
            return Err(told("tables", &format!("the rows are damaged ({why})")));
        }
        let log = LogStore::open(&within("raft"), LogLimits::DATA_NODE).map_err(|why| told("raft", &why))?;
        let tables = Tables::open(&within("tables")).map_err(|why| told("tables", &why))?;
        let bodies =
            Bodies::open(&within("bodies"), BodyLimits::default()).map_err(|why| told("bodies", &why))?;
        let AtTheEnd { overlay, .. } = at_the_end(&log, &tables).await?;
        Ok(Self { tables, overlay, bodies, _lock: lock })
    }

    pub fn rows(&self) -> impl Rows + '_ {
        self.overlay.over(&self.tables)
    }

    /// `None`: it is not there, or damaged. Blocks.
    pub fn body(&self, id: BodyId) -> Option<Bytes> {
        self.bodies.get(id).ok().flatten()
    }
}
