//! Tells the others how far this disk has come, writes down what they tell, and stops a node that has forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::ticking;
use crate::cluster::blocking::blocking;
use crate::cluster::local::Local;
use crate::cluster::marks::{Mark, Word, advice, forgetful, forgot};
use crate::cluster::network::kinds;
use crate::cluster::transport::{CallError, Lane};
use crate::cluster::wire;
use crate::mail::ids::NodeId;

/// How far the marks lag behind: what a disk lost of its last second only a leader that lives can tell.
const TELL_EACH: Duration = Duration::from_secs(1);
const LOOK_EACH: Duration = Duration::from_millis(100);

impl Local {
    /// A peer's word of its own disk.
    pub fn remember_mark(&self, from: NodeId, body: &[u8]) -> Result<Bytes, CallError> {
        let word: Word = wire::decode(body).map_err(|error| CallError::Protocol(error.to_string()))?;
        self.book.promised(from, word);
        Ok(Bytes::new())
    }
}

/// What each peer has heard last, and which process of it.
type Told = BTreeMap<NodeId, (u64, Mark)>;

pub async fn keep_marks(local: Arc<Local>) {
    let mut ticks = ticking(TELL_EACH);
    let mut told = Told::new();
    loop {
        ticks.tick().await;
        tell(&local, &mut told).await;
        let writing = local.clone();
        let written = blocking(move || {
            let roster = writing.roster.load();
            // Before the first membership is known nobody is a stranger.
            writing.book.write(|peer| roster.is_empty() || roster.iter().any(|entry| entry.id == peer.0))
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!("what the other nodes promised could not be written down: {error}");
        }
    }
}

/// Whoever has not heard the newest hears it, again after a restart, before which it may not have been written down;
/// who does not answer hears it at the next turn.
async fn tell(local: &Local, told: &mut Told) {
    let word = local.book.own_promise(local.look(|metrics| metrics.last_applied));
    let Ok(bytes) = wire::encode(&word).map(Bytes::from) else { return };
    let roster = local.roster.load_full();
    let others = roster.iter().map(|entry| NodeId(entry.id)).filter(|node| *node != local.id);
    let process = |node| local.transport.peer_state(node).hello.map(|hello| (hello.incarnation, word.mark));
    let linked = others.filter_map(|node| process(node).map(|now| (node, now)));
    let due = linked.filter(|(node, now)| told.get(node) != Some(now));
    let calls = due.map(|(node, now)| {
        let bytes = bytes.clone();
        async move {
            let call = local.transport.call(node, Lane::Control, kinds::MARK, bytes, TELL_EACH);
            call.await.ok().map(|_| (node, now))
        }
    });
    let heard = futures_util::future::join_all(calls).await;
    told.extend(heard.into_iter().flatten());
}

/// Any one peer's memory is enough: what it remembers was this node's own word.
pub async fn notice_forgetting(local: Arc<Local>) {
    let mut ticks = ticking(LOOK_EACH);
    let words = forgot(local.id);
    let why = loop {
        ticks.tick().await;
        if let Some(why) = local.refusal(|why| why.contains(&words)) {
            break why;
        }
    };
    let dir = &local.config.dir;
    local.fail_for_good(forgetful(dir), advice(local.id, dir, &why)).await;
}
