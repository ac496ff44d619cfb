//! What data nodes ask each other beside the cluster's own affairs, and how this one answers.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Rooms;
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
}

impl Inquiry {
    pub fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Nothing: this node does not understand, or cannot read its log.
pub fn answer(rooms: &Rooms, question: &Bytes) -> BoxFuture<'static, Bytes> {
    let (log, firewall, addresses) = (rooms.log.clone(), rooms.firewall.clone(), rooms.addresses.clone());
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
            Ok(Inquiry::Addresses) => serde_json::to_vec(&addresses.told()),
            Err(_) => return Bytes::new(),
        };
        said.unwrap_or_default().into()
    })
}
