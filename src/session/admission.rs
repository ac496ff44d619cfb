//! How many connections a node takes, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

/// Counts the connections that are open now.
#[derive(Debug)]
pub struct Doors {
    open: Mutex<Open>,
    /// Of the same number, for those who wait until nobody is left.
    told: watch::Sender<u64>,
}

impl Default for Doors {
    fn default() -> Self {
        Self { open: Mutex::default(), told: watch::Sender::new(0) }
    }
}

#[derive(Debug, Default)]
struct Open {
    total: u64,
    by_address: HashMap<IpAddr, u64>,
}

/// Taken from the settings at each connection, so that a change holds at once.
#[derive(Debug, Clone, Copy)]
pub struct DoorLimits {
    pub connections_max: u64,
    pub connections_per_address_max: u64,
}

/// A connection's place; dropping it frees it.
#[derive(Debug)]
pub struct Seat {
    doors: Arc<Doors>,
    address: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("too many connections")]
    Node,
    #[error("too many connections from your address")]
    Address,
}

impl Doors {
    /// `None`: from a unix socket, where a scanner carries everyone's mail, or from a load balancer, which has yet to say
    /// for whom. Only the whole is bounded then.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>, limits: DoorLimits) -> Result<Seat, Full> {
        let mut open = self.open();
        if open.total >= limits.connections_max {
            return Err(Full::Node);
        }
        let address = address.map(|address| open.count(address, limits)).transpose()?;
        open.total += 1;
        self.told.send_replace(open.total);
        Ok(Seat { doors: Arc::clone(self), address })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of this lock panics")
    }

    pub fn connections(&self) -> u64 {
        self.open().total
    }

    /// Resolves when no connection is open. Cancel-safe.
    pub async fn empty(&self) {
        let _ = self.told.subscribe().wait_for(|total| *total == 0).await;
    }
}

impl Open {
    /// The address under which it is counted.
    fn count(&mut self, address: IpAddr, limits: DoorLimits) -> Result<IpAddr, Full> {
        let address = address.to_canonical();
        let here = self.by_address.entry(address).or_default();
        if *here >= limits.connections_per_address_max {
            return Err(Full::Address);
        }
        *here += 1;
        Ok(address)
    }
}

impl Seat {
    /// A seat that was taken for nobody is this client's from now on.
    pub fn give_to(&mut self, address: IpAddr, limits: DoorLimits) -> Result<(), Full> {
        debug_assert!(self.address.is_none(), "a seat changes hands once");
        self.address = Some(self.doors.open().count(address, limits)?);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.doors.open();
        open.total -= 1;
        self.doors.told.send_replace(open.total);
        let Some(address) = self.address else { return };
        if let Some(here) = open.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_lets_n_in_and_not_one_more_and_forgets_who_left() {
        let doors = Arc::new(Doors::default());
        let limits = DoorLimits { connections_max: 3, connections_per_address_max: 2 };
        let (a, b): (Option<IpAddr>, Option<IpAddr>) =
            (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into()));
        let first = doors.enter(a, limits).unwrap();
        // The same host by its IPv4-mapped address is no other host.
        let _second = doors.enter(Some("::ffff:10.0.0.1".parse().unwrap()), limits).unwrap();
        assert_eq!(doors.enter(a, limits).unwrap_err(), Full::Address);
        let third = doors.enter(b, limits).unwrap();
        assert_eq!(doors.enter(b, limits).unwrap_err(), Full::Node);
        drop(first);
        drop(doors.enter(a, limits).unwrap());
        drop(third);
        assert_eq!(doors.connections(), 1);
        assert_eq!(doors.open().by_address.len(), 1);
    }

    #[test]
    fn a_seat_taken_for_nobody_counts_for_its_client_once_that_is_known() {
        let doors = Arc::new(Doors::default());
        let limits = DoorLimits { connections_max: 3, connections_per_address_max: 1 };
        let client: IpAddr = [10, 0, 0, 1].into();
        let (mut first, mut second) =
            (doors.enter(None, limits).unwrap(), doors.enter(None, limits).unwrap());
        first.give_to(client, limits).unwrap();
        assert_eq!(second.give_to(client, limits), Err(Full::Address));
        assert_eq!(doors.enter(Some(client), limits).unwrap_err(), Full::Address);
        drop(first);
        second.give_to(client, limits).unwrap();
        drop(second);
        assert_eq!((doors.connections(), doors.open().by_address.len()), (0, 0));
    }

    #[test]
    fn a_scanner_on_a_socket_is_bounded_by_the_whole_alone() {
        let doors = Arc::new(Doors::default());
        let limits = DoorLimits { connections_max: 3, connections_per_address_max: 1 };
        let seats: Vec<Seat> = (0..3).map(|_| doors.enter(None, limits).unwrap()).collect();
        assert_eq!(doors.enter(None, limits).unwrap_err(), Full::Node);
        drop(seats);
        assert_eq!(doors.connections(), 0);
    }
}
