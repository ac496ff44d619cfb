//! Boxes with a network of their own each, on one switch: what one of them lets in is its own affair. The story itself
//! stands beside the switch, under several addresses.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::cluster::{Cluster, Site};
use crate::lab::{Lab, run};
use crate::node::{Node, Role};
use crate::wire::socket_from;

/// Two of the story's own addresses.
pub const DESK: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub const STREET: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 101);

/// Without an answer for so long, somebody drops what is sent: on this switch nothing takes a millisecond.
const SILENCE: Duration = Duration::from_millis(2_500);

/// Made after the story has a namespace of its own; its parts go when it is dropped.
#[derive(Default)]
pub struct Office {
    boxes: Cell<Vec<String>>,
}

/// What became of a try to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    In,
    Refused,
    Silence,
}

impl Office {
    /// A cluster whose nodes stand in boxes of this office.
    pub fn start_cluster(&self) -> Option<Cluster> {
        Cluster::start_on(|_| {}, |_, node| self.plug_in(node))
    }

    /// The same; `prepare` may change each node's configuration before its first start, and `lay` what it is started with.
    pub fn start_cluster_with(&self, prepare: impl Fn(&Node), lay: impl Fn(&mut Node)) -> Option<Cluster> {
        Cluster::start_on(prepare, |_, node| {
            self.plug_in(node);
            lay(node);
        })
    }

    /// Two clusters in this office, each of whose mail servers the world finds at the standard ports.
    pub fn start_two(&self, sites: [Site; 2]) -> Option<[Cluster; 2]> {
        let plug_in = |_: &Lab, node: &mut Node| {
            node.port_offset = 0;
            self.plug_in(node);
        };
        let lab = Lab::enter()?;
        let [first, second] = sites;
        let first = Cluster::start_in(lab, first, |_| {}, plug_in);
        Some([first, Cluster::start_in(Lab::default(), second, |_| {}, plug_in)])
    }

    /// A further node, not yet a member.
    pub fn further_node(&self, cluster: &Cluster, name: &str, host: u8) -> Node {
        let mut node = Node::new(name, Role::Data, Ipv4Addr::new(127, 0, 0, host), cluster.home());
        self.plug_in(&mut node);
        node
    }

    /// Gives the node a box: from now on it lives there, under 10.77.0.N for 127.0.0.N, and fd77::N.
    fn plug_in(&self, node: &mut Node) {
        let mut boxes = self.boxes.take();
        if boxes.is_empty() {
            run("ip", &["link", "add", "switch", "type", "bridge"], None);
            for own in [DESK, STREET] {
                run("ip", &["address", "add", &format!("{own}/24"), "dev", "switch"], None);
            }
            run("ip", &["address", "add", "fd77::100/64", "dev", "switch", "nodad"], None);
            run("ip", &["link", "set", "switch", "up"], None);
        }
        let host = node.address.octets()[3];
        let (name, cable) = (format!("pollux-{}-{host}", std::process::id()), format!("cable{host}"));
        node.address = Ipv4Addr::new(10, 77, 0, host);
        run("ip", &["netns", "add", &name], None);
        run("ip", &["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &name], None);
        run("ip", &["link", "set", &cable, "master", "switch", "up"], None);
        let own = format!("{}/24", node.address);
        run("ip", &["-n", &name, "address", "add", &own, "dev", "eth0"], None);
        let own = format!("fd77::{host}/64");
        run("ip", &["-n", &name, "address", "add", &own, "dev", "eth0", "nodad"], None);
        run("ip", &["-n", &name, "link", "set", "eth0", "up"], None);
        run("ip", &["-n", &name, "link", "set", "lo", "up"], None);
        node.inside = ["ip", "netns", "exec", &name].map(str::to_owned).to_vec();
        boxes.push(name);
        self.boxes.set(boxes);
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        for name in self.boxes.take() {
            // A box in which something still runs goes with its last process.
            let _ = std::process::Command::new("ip").args(["netns", "delete", &name]).status();
        }
    }
}

/// Tries to connect from one of the story's own addresses.
pub fn knock(from: Ipv4Addr, at: SocketAddr) -> Knock {
    let connect = || -> io::Result<()> {
        let socket = socket_from(IpAddr::V4(from))?;
        set_socket_timeout(&socket, Timeout::Send, Some(SILENCE))?;
        Ok(rustix::net::connect(&socket, &at)?)
    };
    match connect() {
        Ok(()) => Knock::In,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Knock::Refused,
        Err(_) => Knock::Silence,
    }
}
