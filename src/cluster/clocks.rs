//! How far other nodes' clocks are off, for an alarm. Nothing in replication compares clocks.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::local::Local;
use super::network::kinds;
use super::transport::Lane;
use super::wire;
use crate::mail::ids::{NodeId, Timestamp};

/// A slower answer says little of the time.
const ANSWER_MAX: Duration = Duration::from_millis(500);

impl Local {
    /// Of each member but this one that tells its time.
    pub async fn clocks_off(&self) -> Vec<(NodeId, u64)> {
        let roster = self.roster.load_full();
        let others = roster.iter().map(|entry| NodeId(entry.id)).filter(|node| *node != self.id);
        let asked = others.map(|node| async move { Some((node, self.clock_off(node).await?)) });
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }

    async fn clock_off(&self, node: NodeId) -> Option<u64> {
        let (asked, began) = (self.clock.now(), Instant::now());
        let answer = self.transport.call(node, Lane::Control, kinds::CLOCK, Bytes::new(), ANSWER_MAX).await;
        let took_ms = began.elapsed().as_millis() as u64;
        let said: u64 = wire::decode(&answer.ok()?).ok()?;
        Some(certainly_off(asked, took_ms, Timestamp(said)))
    }
}

/// When it was said is known to lie between the question and its answer.
fn certainly_off(asked: Timestamp, took_ms: u64, said: Timestamp) -> u64 {
    let answered = asked.0.saturating_add(took_ms);
    if said < asked { asked.0 - said.0 } else { said.0.saturating_sub(answered) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_way_may_have_taken_is_no_difference() {
        let off = |said| certainly_off(Timestamp(10_000), 300, Timestamp(said));
        assert_eq!([10_000, 10_150, 10_300].map(off), [0, 0, 0]);
        assert_eq!([8_500, 11_800].map(off), [1_500, 1_500]);
        assert_eq!(certainly_off(Timestamp(u64::MAX), 1, Timestamp(0)), u64::MAX);
    }
}
