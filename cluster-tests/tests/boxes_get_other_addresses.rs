//! Nodes that know each other by names go on when their boxes get other addresses: one after the other while mail comes in, and all
//! at once, when the office gets another network. Nothing but the names' addresses and each box's own `listen` is changed.

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
    hosts: tempfile::NamedTempFile,
    sent: usize,
}

impl Story {
    /// In the name of the box, as its operator does.
    fn move_to(&mut self, at: usize, last: u8) {
        self.cluster.nodes[at].move_to(Ipv4Addr::new(127, 0, 0, last));
        write_hosts(
            self.hosts.path(),
            &self.cluster.nodes.iter().map(|node| node.address).collect::<Vec<_>>(),
        );
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
    let mut story = Story { cluster, hosts, sent: 0 };
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
