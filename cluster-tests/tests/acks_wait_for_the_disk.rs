//! The disks of both data nodes hang in a sync, of the log and then of the bodies: nothing is acknowledged that is not
//! on a disk. (A server that says 250 before its sync ends loses the mail with the next power cut, and only then.)

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::disk::{Calls, DiskFault, Effect};
use cluster_tests::ledger::{Fate, Ledger, Message, message};
use cluster_tests::smtp::Smtp;

#[test]
fn acks_wait_for_the_disk() {
    let Some(mut cluster) = Cluster::start_with_disk_faults() else { return };
    let (ledger, mut checker) = (Ledger::default(), Checker::default());
    for part in ["raft/", "bodies/"] {
        let mut clients: Vec<Smtp> = cluster
            .data_nodes()
            .iter()
            .map(|node| Smtp::connect(node.smtp()).expect("SMTP serves"))
            .collect();
        for node in cluster.data_nodes() {
            node.disk().inflict(DiskFault::within(Calls::SYNC, Effect::Hang, part));
        }
        for (at, smtp) in clients.iter_mut().enumerate() {
            let token = format!("{}-{at}", part.trim_end_matches('/'));
            let content = message(&token, 2_000);
            smtp.send_without_waiting(&["alice@example.test"], &content).expect("the node takes the text");
            ledger.record(&token, Message::new("alice", "INBOX", Fate::Unknown, content));
        }
        for smtp in &mut clients {
            let reply = smtp.reply("250");
            assert!(reply.is_err(), "acknowledged, and on no disk: {reply:?}");
        }
        for node in &mut cluster.nodes[..2] {
            node.wait_for_exit();
            node.disk().heal();
            node.start();
        }
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}
