//! 10,000 bytes of garbage on every port, TCP and UDP, and on the control socket: every node lives and serves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

const GARBAGE_BYTES: usize = 10_000;
const MAIL_PORTS: [u16; 8] = [25, 465, 587, 143, 993, 110, 995, 4190];
const CLUSTER_PORTS: [u16; 2] = [7401, 7402];

#[test]
fn garbage_on_every_port() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut dice = fastrand::Rng::with_seed(22);
    for node in &cluster.nodes {
        for port in CLUSTER_PORTS {
            datagrams((node.address, port).into(), &mut dice);
        }
        let mut socket =
            UnixStream::connect(node.dir.join("control.sock")).expect("the control socket is there");
        pour(&mut socket, &mut dice);
    }
    for node in cluster.data_nodes() {
        for port in MAIL_PORTS {
            for _ in 0..3 {
                let mut socket = TcpStream::connect(node.port(port)).expect("the port is open");
                socket.set_read_timeout(Some(Duration::from_secs(10))).expect("the socket lives");
                socket.set_write_timeout(Some(Duration::from_secs(10))).expect("the socket lives");
                pour(&mut socket, &mut dice);
            }
        }
    }
    assert!(cluster.nodes.iter_mut().all(|node| node.is_running()), "no node went down");
    let traffic = Traffic::start(&cluster, Ledger::default(), 22);
    traffic.wait_for(30);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}

/// The server may close in the middle; that is its right.
fn pour(socket: &mut (impl Read + Write), dice: &mut fastrand::Rng) {
    let garbage: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(GARBAGE_BYTES).collect();
    let _ = socket.write_all(&garbage);
    let _ = socket.write_all(b"\r\n");
    let _ = socket.read(&mut [0; 4096]);
}

fn datagrams(to: SocketAddr, dice: &mut fastrand::Rng) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    for _ in 0..GARBAGE_BYTES / 500 {
        let garbage: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(500).collect();
        let _ = socket.send_to(&garbage, to);
    }
}
