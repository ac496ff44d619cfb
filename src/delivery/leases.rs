//! The leases of this node, and a watch over all others.
//!
//! A holder renews every few seconds and reckons its hold from before it proposed; whoever ends a lease reckons from
//! after it saw the last renewal. So a holder knows that it lost its hold before anybody else may take the work, as
//! long as two clocks run about equally fast; what they show does not matter.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::replica::Replica;
use crate::mail::ids::LeaseId;
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::state::queue::IDS_PER_COMMAND_MAX;
use crate::state::queue::reading;

/// Between two renewals, and between two looks at others.
const TICK: Duration = Duration::from_millis(1_000);
const RENEW_EACH: Duration = Duration::from_millis(2_500);
/// A holder that was not renewed for so long sends nothing more.
const HELD_FOR: Duration = Duration::from_millis(6_000);
/// Whose renewals stand still for so long has lost them.
const LOST_AFTER: Duration = Duration::from_millis(8_000);

/// What this node holds. Cheap to clone.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<HashMap<LeaseId, Instant>>>);

/// A hold while it lasts; dropped, it is renewed no longer.
pub struct Held {
    leases: Leases,
    pub lease: LeaseId,
}

impl Leases {
    /// `since`: before the lease was proposed.
    pub fn hold(&self, lease: LeaseId, since: Instant) -> Held {
        self.lock().insert(lease, since);
        Held { leases: self.clone(), lease }
    }

    fn all(&self) -> Vec<LeaseId> {
        self.lock().keys().copied().collect()
    }

    fn renewed(&self, asked: &[LeaseId], renewed: &[LeaseId], at: Instant) {
        let mut held = self.lock();
        for lease in asked {
            match held.get_mut(lease) {
                Some(since) if renewed.contains(lease) => *since = at,
                Some(_) => drop(held.remove(lease)),
                None => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, Instant>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Held {
    pub fn lasts(&self) -> bool {
        self.leases.lock().get(&self.lease).is_some_and(|since| since.elapsed() < HELD_FOR)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.lease);
    }
}

/// Renewals as they were seen to stand, and since when.
#[derive(Default)]
struct Seen(HashMap<LeaseId, (u64, Instant)>);

impl Seen {
    /// Those that stood still for too long.
    fn look(
        &mut self,
        leases: impl IntoIterator<Item = (LeaseId, u64)>,
        now: Instant,
    ) -> Vec<(LeaseId, u64)> {
        let before = std::mem::take(&mut self.0);
        for (lease, renewals) in leases {
            let since = match before.get(&lease) {
                Some((known, since)) if *known == renewals => *since,
                _ => now,
            };
            self.0.insert(lease, (renewals, since));
        }
        let lost = self.0.iter().filter(|(_, (_, since))| now.duration_since(*since) >= LOST_AFTER);
        lost.map(|(lease, (renewals, _))| (*lease, *renewals)).collect()
    }
}

/// Renews what this node holds and ends what its holder has lost, until `stop` turns true.
pub async fn keep<R: Replica>(replica: R, leases: Leases, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut renewed_at) = (Seen::default(), Instant::now());
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        if renewed_at.elapsed() >= RENEW_EACH {
            renewed_at = Instant::now();
            renew(&replica, &leases).await;
        }
        let Ok(all) = replica.read_queue(reading::leases).await else { continue };
        let all = all.into_iter().map(|(lease, row)| (lease, row.renewals));
        for (lease, renewals) in seen.look(all, Instant::now()) {
            // Whoever else saw it too may have been first.
            if let Ok(Outcome::Done) = replica.propose(Command::EndLease { lease, renewals }).await {
                tracing::info!("outbound: work that a node no longer held goes back to the queue");
            }
        }
    }
}

async fn renew<R: Replica>(replica: &R, leases: &Leases) {
    for some in leases.all().chunks(IDS_PER_COMMAND_MAX) {
        let at = Instant::now();
        let command = Command::RenewLeases { leases: some.to_vec() };
        if let Ok(Outcome::Renewed { leases: renewed }) = replica.propose(command).await {
            leases.renewed(some, &renewed, at);
        }
    }
}

/// Gives back what this node held before it was started anew: it works on none of it.
pub async fn end_own<R: Replica>(replica: &R) {
    let Ok(all) = replica.read_queue(reading::leases).await else { return };
    let own = replica.node();
    for (lease, row) in all.into_iter().filter(|(_, row)| row.node == own) {
        // Failing that, it is seen to stand still.
        let _ = replica.propose(Command::EndLease { lease, renewals: row.renewals }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LeaseId = LeaseId(1);

    #[tokio::test(start_paused = true)]
    async fn a_hold_ends_before_anybody_may_end_the_lease() {
        let (leases, mut seen) = (Leases::default(), Seen::default());
        let held = leases.hold(ONE, Instant::now());
        assert!(seen.look([(ONE, 0)], Instant::now()).is_empty() && held.lasts());
        tokio::time::advance(HELD_FOR - Duration::from_millis(1)).await;
        assert!(held.lasts());
        leases.renewed(&[ONE], &[ONE], Instant::now());
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(held.lasts());
        assert!(seen.look([(ONE, 1)], Instant::now()).is_empty());
        tokio::time::advance(HELD_FOR).await;
        assert!(!held.lasts());
        assert!(seen.look([(ONE, 1)], Instant::now()).is_empty(), "not yet anybody's");
        tokio::time::advance(LOST_AFTER - HELD_FOR).await;
        assert_eq!(seen.look([(ONE, 1)], Instant::now()), [(ONE, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_somebody_ended_is_held_no_longer() {
        let leases = Leases::default();
        let held = leases.hold(ONE, Instant::now());
        leases.renewed(&[ONE], &[], Instant::now());
        assert!(!held.lasts());
        let again = leases.hold(LeaseId(2), Instant::now());
        drop(again);
        assert_eq!(leases.all(), []);
    }
}
