//! The limits of one host, by the settings of the moment.

use std::net::IpAddr;
use std::sync::Arc;

use super::{HostSeat, Limits, SeatKeeper, Spent};
use crate::state::blocks::Host;
use crate::state::limits::Limit;

pub struct HostLimits {
    limits: Arc<Limits>,
    seats: Arc<SeatKeeper>,
    host: Host,
}

impl HostLimits {
    pub fn new(limits: Arc<Limits>, seats: Arc<SeatKeeper>, address: IpAddr) -> Self {
        Self { limits, seats, host: Host::of(address) }
    }

    /// Counts while it is open for as long as the seat is kept. `None`: it is not counted so.
    pub async fn connection(&self) -> Result<Option<HostSeat>, Spent> {
        let (at_once_max, tokens_max) = {
            let directory = self.limits.directory.borrow();
            let settings = directory.settings();
            (settings.limits_connections_at_once(), settings.limits_connections_per_minute())
        };
        let seat = match at_once_max {
            0 => None,
            most => Some(self.seats.admit(self.host, most).await.ok_or(Spent::Seats)?),
        };
        let taken = self.limits.take(Limit::ConnectionsPerMinute, self.host.octets(), tokens_max).await;
        if taken { Ok(seat) } else { Err(Spent::Connections) }
    }

    pub async fn message(&self) -> Result<(), Spent> {
        let tokens_max = self.limits.directory.borrow().settings().limits_messages_per_minute();
        let taken = self.limits.take(Limit::MessagesPerMinute, self.host.octets(), tokens_max).await;
        taken.then_some(()).ok_or(Spent::Messages)
    }
}
