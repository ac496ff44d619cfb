//! What nodes ask each other beside the cluster's own affairs, and how this one answers.

use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Rooms, vitals};
use crate::maillog::Query;

/// JSON: one that is older answers nothing to what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inquiry {
    /// What the log of mails has.
    Trace(Query),
    /// How the box's firewall stands to the rules.
    Firewall,
    /// Which virtual addresses are on the box.
    Addresses,
    /// How the node's disk is; asked of witnesses every few seconds, by the node that leads.
    Disk,
}

/// How a node's disk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTold {
    /// Octets, in all and free; `None`: it does not say.
    pub space: Option<(u64, u64)>,
    /// What a sync took, in the mean of the last minute.
    pub sync_ms: Option<u64>,
}

impl Inquiry {
    pub fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Nothing: this node does not understand, or cannot read its log.
pub fn answer(rooms: &Rooms, question: &Bytes) -> BoxFuture<'static, Bytes> {
    let (log, firewall, addresses) = (rooms.log.clone(), rooms.firewall.clone(), rooms.addresses.clone());
    let (dir, syncs) = (rooms.dir.clone(), rooms.syncs.clone());
    let asked = serde_json::from_slice(question);
    Box::pin(async move {
        let said = match asked {
            Ok(Inquiry::Trace(query)) => match log.find(query).await {
                Ok(found) => serde_json::to_vec(&found),
                Err(error) => {
                    tracing::warn!("the log of mails cannot be read: {error}");
                    return Bytes::new();
                }
            },
            Ok(Inquiry::Firewall) => serde_json::to_vec(&firewall.told()),
            Ok(Inquiry::Disk) => {
                let sync_ms = syncs.lock().unwrap_or_else(PoisonError::into_inner).look();
                let space = vitals::disk(&dir).await.ok().map(|space| (space.total, space.free));
                serde_json::to_vec(&DiskTold { space, sync_ms })
            }
            Ok(Inquiry::Addresses) => serde_json::to_vec(&addresses.told()),
            Err(_) => return Bytes::new(),
        };
        said.unwrap_or_default().into()
    })
}
