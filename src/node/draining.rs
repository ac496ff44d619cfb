//! What this node has in hand, for whoever waits until it may be switched off.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::Rooms;
use crate::cluster::drain::OpenWork;
use crate::delivery::UnderWay;

/// The deliveries once they run.
#[derive(Clone, Default)]
pub(crate) struct SharedDeliveries(Arc<OnceLock<watch::Receiver<UnderWay>>>);

impl SharedDeliveries {
    /// Counts once.
    pub fn are(&self, under_way: watch::Receiver<UnderWay>) {
        let _ = self.0.set(under_way);
    }
}

/// A node that is starting has nothing in hand: before it opens a port it reads whether it is drained.
pub(crate) fn work(rooms: &Rooms) -> OpenWork {
    let (lets_in, sessions) = rooms.services.clients();
    let under_way = rooms.deliveries.0.get().map(|told| *told.borrow());
    let sends = under_way.is_some_and(|under_way| !under_way.holds);
    let deliveries = under_way.map_or(0, |under_way| under_way.deliveries);
    OpenWork { takes_more: lets_in || sends, sessions, deliveries, ..OpenWork::default() }
}
