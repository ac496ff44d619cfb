//! How many connections a node takes, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Counts the connections that are open now.
#[derive(Debug, Default)]
pub struct Doors {
    open: Mutex<Open>,
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
    /// `None`: from a unix socket. A scanner there carries everyone's mail, so only the whole is bounded.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>, limits: DoorLimits) -> Result<Seat, Full> {
        let address = address.map(|address| address.to_canonical());
        let mut open = self.open.lock().expect("no holder of this lock panics");
        if open.total >= limits.connections_max {
            return Err(Full::Node);
        }
        if let Some(address) = address {
            let here = open.by_address.get(&address).copied().unwrap_or(0);
            if here >= limits.connections_per_address_max {
                return Err(Full::Address);
            }
            open.by_address.insert(address, here + 1);
        }
        open.total += 1;
        Ok(Seat { doors: Arc::clone(self), address })
    }

    pub fn open(&self) -> u64 {
        self.open.lock().expect("no holder of this lock panics").total
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.doors.open.lock().expect("no holder of this lock panics");
        open.total -= 1;
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
        assert_eq!(doors.open(), 1);
        assert_eq!(doors.open.lock().unwrap().by_address.len(), 1);
    }

    #[test]
    fn a_scanner_on_a_socket_is_bounded_by_the_whole_alone() {
        let doors = Arc::new(Doors::default());
        let limits = DoorLimits { connections_max: 3, connections_per_address_max: 1 };
        let seats: Vec<Seat> = (0..3).map(|_| doors.enter(None, limits).unwrap()).collect();
        assert_eq!(doors.enter(None, limits).unwrap_err(), Full::Node);
        drop(seats);
        assert_eq!(doors.open(), 0);
    }
}
