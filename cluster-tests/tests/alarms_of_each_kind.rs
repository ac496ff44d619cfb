//! What is wrong with one box (its clock, its disk, its certificate) and with the queue: each is an alarm that both nodes show, about
//! the node that it is about, and is over once it is put right.

use std::fs;
use std::time::Duration;

use cluster_tests::certificates::of_its_own;
use cluster_tests::clock::{give_clock, set_clock};
use cluster_tests::cluster::Cluster;
use cluster_tests::lab::Lab;
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::within;

const DISK_MEBIBYTES: u32 = 256;
/// What is raised and cleared must last for a while before that.
const HOLD: Duration = Duration::from_secs(120);

/// Kind and node of each, as the node shows them.
fn alarms(node: &Node) -> Option<Vec<(String, String)>> {
    let status = node.status()?;
    let text = |alarm: &serde_json::Value, key: &str| alarm[key].as_str().unwrap_or("all").to_owned();
    let pair = |alarm: &serde_json::Value| (text(alarm, "kind"), text(alarm, "node"));
    let mut pairs: Vec<_> = status["alarms"].as_array()?.iter().map(pair).collect();
    pairs.sort();
    Some(pairs)
}

fn both_show(cluster: &Cluster, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(kind, node)| ((*kind).to_owned(), (*node).to_owned())).collect();
    for node in cluster.data_nodes() {
        within(HOLD, &format!("{} shows {wanted:?}", node.name), || {
            alarms(node).filter(|shown| *shown == wanted).map(drop)
        });
    }
}

#[test]
fn each_kind_is_raised_and_is_over_once_it_is_put_right() {
    let lay = |lab: &Lab, node: &mut Node| match node.name.as_str() {
        "node1" => give_clock(node),
        "node2" | "witness" => lab.mount_small_disk(&node.dir, DISK_MEBIBYTES),
        _ => {}
    };
    let Some(cluster) = Cluster::start_on(|_| {}, lay) else { return };
    // Of this machine's disk, whatever it is, nothing is to be said here.
    for (key, value) in [("alarm.sync_ms", "10000"), ("alarm.disk_used_percent", "99")] {
        cluster.tell(0, &["policy", "set", key, value]);
    }
    // Who leads says of others that their clocks are wrong.
    if cluster.leader() != 1 {
        let to = cluster.id_of(1).expect("it is a member").to_string();
        cluster.nodes[0].must(&["cluster", "transfer", &to], None);
    }
    both_show(&cluster, &[]);

    let give = |until: i32| {
        let identity = of_its_own("mx.example.test", until);
        let (cert, key) = (cluster.home().join("cert.pem"), cluster.home().join("key.pem"));
        fs::write(&cert, identity.chain_pem()).expect("the folder is ours");
        fs::write(&key, identity.private_pem()).expect("the folder is ours");
        let files = [&cert, &key].map(|file| file.to_str().expect("plain"));
        cluster.tell(0, &[&["certificate", "set"], &files[..]].concat());
    };
    // It has ended.
    give(2001);
    cluster.tell(0, &["policy", "set", "relay.host", "127.0.0.1:9"]);
    cluster.tell(0, &["policy", "set", "alarm.queue_mails", "1"]);
    let mut smtp = Smtp::login(cluster.nodes[0].port(587), "alice").expect("alice logs in");
    for token in ["one", "two"] {
        smtp.submit("alice", &["joe@far.test"], &message(token, 100)).expect("it is queued");
    }
    set_clock(&cluster.nodes[0].dir, 30);
    let fillers = [1, 2].map(|at: usize| cluster.nodes[at].dir.join("filler"));
    fillers.iter().for_each(|filler| fill(filler));
    both_show(
        &cluster,
        &[
            ("certificate-ends", "node1"),
            ("certificate-ends", "node2"),
            ("clock-skew", "node1"),
            ("disk-nearly-full", "node2"),
            ("disk-nearly-full", "witness"),
            ("queue-large", "all"),
        ],
    );

    give(2100);
    cluster.nodes[1].must(&["queue", "remove", "--all"], None);
    set_clock(&cluster.nodes[0].dir, 0);
    fillers.iter().for_each(|filler| fs::remove_file(filler).expect("the filler is ours"));
    both_show(&cluster, &[]);
}

/// All but a little: what is still to be written has its room.
fn fill(path: &std::path::Path) {
    let left = rustix::fs::statvfs(path.parent().expect("it lies in a folder")).expect("the disk tells");
    let bytes = (left.f_bavail * left.f_frsize).saturating_sub(u64::from(DISK_MEBIBYTES) * (1 << 20) / 200);
    fs::write(path, vec![0x55; bytes as usize]).expect("there is room for it");
}
