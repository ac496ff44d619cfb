//! Nodes go on when their boxes get other addresses, and nothing but what the names say and each box's own `listen` is changed.
//! Those that know each other by names may move one after the other while mail comes in, and all at once, when the office gets
//! another network; those that know each other by their addresses, one after the other: each makes its new one known.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::steps::{agreed, tokens};
use cluster_tests::wait::eventually;

const NAMES: [&str; 3] = ["one.cluster.test", "two.cluster.test", "three.cluster.test"];

struct Story {
    cluster: Cluster,
    /// Where nodes know each other by names.
    hosts: Option<tempfile::NamedTempFile>,
    sent: usize,
}

impl Story {
    /// As its operator does.
    fn move_to(&mut self, at: usize, last: u8) {
        self.cluster.nodes[at].move_to(Ipv4Addr::new(127, 0, 0, last));
        if let Some(hosts) = &self.hosts {
            let addresses: Vec<_> = self.cluster.nodes.iter().map(|node| node.address).collect();
            write_hosts(hosts.path(), &addresses);
        }
    }

    /// Acknowledged by that node.
    fn send(&mut self, at: usize) {
        self.sent += 1;
        let content = message(&format!("mail-{}", self.sent), 500);
        let node = &self.cluster.nodes[at];
        eventually("a mail is acknowledged", || {
            let mut smtp = Smtp::connect(node.smtp()).ok()?;
            matches!(smtp.send(&["bob@example.test"], &content).0, Sent::Acknowledged).then_some(())
        });
    }

    /// All that was acknowledged, on both; who tried again may have sent a second one.
    fn all_is_there(&self) {
        let there = tokens(&agreed(&self.cluster), "bob", "INBOX").expect("INBOX is there");
        for at in 1..=self.sent {
            assert!(there.contains(&format!("mail-{at}")), "mail-{at} is not among {there:?}");
        }
    }
}

fn write_hosts(path: &Path, addresses: &[Ipv4Addr]) {
    let lines = addresses.iter().zip(NAMES).map(|(address, name)| format!("{address} {name}\n"));
    fs::write(path, format!("127.0.0.1 localhost\n{}", lines.collect::<String>())).expect("the file is ours");
}

#[test]
fn boxes_get_other_addresses() {
    let hosts = tempfile::NamedTempFile::new().expect("a file");
    write_hosts(hosts.path(), &[1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last)));
    let lay = |lab: &cluster_tests::lab::Lab, node: &mut cluster_tests::node::Node| {
        if node.name == "node1" {
            lab.mount_hosts(hosts.path());
        }
        let at = ["node1", "node2", "witness"].iter().position(|name| *name == node.name);
        node.host_name = at.map(|at| NAMES[at].to_string());
    };
    let Some(cluster) = Cluster::start_on(|_| {}, lay) else { return };
    let mut story = Story { cluster, hosts: Some(hosts), sent: 0 };
    story.send(0);

    // One after the other: the others go on.
    for (at, last) in [(1, 12), (2, 13), (0, 11)] {
        story.cluster.nodes[at].stop();
        story.move_to(at, last);
        let other = if at == 0 { 1 } else { 0 };
        story.send(other);
        story.cluster.nodes[at].start();
        story.cluster.wait_until_protected();
        story.send(if at == 2 { 1 } else { at });
    }
    story.all_is_there();

    // All at once.
    story.cluster.nodes.iter_mut().for_each(|node| node.stop());
    for (at, last) in [(0, 21), (1, 22), (2, 23)] {
        story.move_to(at, last);
    }
    story.cluster.nodes.iter_mut().for_each(|node| node.start());
    story.cluster.wait_until_protected();
    [0, 1].into_iter().for_each(|at| story.send(at));
    story.all_is_there();
}

#[test]
fn boxes_known_by_their_addresses_get_others() {
    let Some(cluster) = Cluster::start() else { return };
    let mut story = Story { cluster, hosts: None, sent: 0 };
    story.send(0);

    // The second node is away while the first moves, and comes back from another place itself: neither finds the other where
    // it was, and the witness tells.
    story.cluster.nodes[1].stop();
    story.send(0);
    story.cluster.nodes[0].stop();
    story.move_to(0, 11);
    story.cluster.nodes[0].start();
    story.send(0);
    story.move_to(1, 12);
    story.cluster.nodes[1].start();
    story.cluster.wait_until_protected();
    [0, 1].into_iter().for_each(|at| story.send(at));

    story.cluster.nodes[2].stop();
    story.move_to(2, 13);
    story.cluster.nodes[2].start();
    story.cluster.wait_until_protected();

    // What they know of each other now, they know after the next start as well.
    story.cluster.nodes.iter_mut().for_each(|node| node.stop());
    story.cluster.nodes.iter_mut().for_each(|node| node.start());
    story.cluster.wait_until_protected();
    [0, 1].into_iter().for_each(|at| story.send(at));
    story.all_is_there();
}

#[test]
fn an_address_that_is_anothers_is_refused_and_said() {
    let Some(mut cluster) = Cluster::start() else { return };
    let taken = cluster.nodes[1].address;
    cluster.nodes[2].stop();
    let own = cluster.nodes[2].address;
    let place = |address: Ipv4Addr| format!("advertise = \"{address}:7401\"");
    cluster.nodes[2].configure("cluster", &place(taken));
    cluster.nodes[2].start();
    let said =
        |cluster: &Cluster| cluster.nodes[2].said().matches("node2 is to be found there already").count();
    eventually("it says why", || (said(&cluster) == 1).then_some(()));
    // Nothing has changed for the others, and it serves on.
    cluster.wait_until_protected();
    cluster.nodes[2].stop();
    let path = cluster.nodes[2].dir.join("pollux.toml");
    let text = fs::read_to_string(&path).expect("the configuration was written");
    fs::write(&path, text.replace(&place(taken), &place(own))).expect("the configuration can be written");
    cluster.nodes[2].start();
    cluster.wait_until_protected();
    assert_eq!(said(&cluster), 1, "once is enough, and at its own place it is welcome");
}
