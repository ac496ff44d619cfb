//! The leader is killed at the very 250, and in the next round right after the final dot: the first mail is
//! there, exactly once, on the survivor before anything else happens; the second at most once.

use cluster_tests::checker::{self, Checker};
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::{Fate, Ledger, Message, message};
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::wait::eventually;

#[test]
fn leader_dies_after_data() {
    let Some(mut cluster) = Cluster::start() else { return };
    let ledger = Ledger::default();
    let mut checker = Checker::default();
    for round in 0..4 {
        let leader = cluster.leader();
        let survivor = cluster.peer_of(leader);
        let token = format!("round-{round}");
        let content = message(&token, 3_000);
        let mut smtp = Smtp::connect(cluster.nodes[leader].smtp()).expect("SMTP serves");
        let fate = if round % 2 == 0 {
            let (sent, reply) = smtp.send(&["alice@example.test"], &content);
            assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
            Fate::Acknowledged
        } else {
            smtp.send_without_waiting(&["alice@example.test"], &content).expect("the node takes the text");
            Fate::Unknown
        };
        cluster.nodes[leader].kill();
        ledger.record(&token, Message::new("alice", "INBOX", fate, content));

        let shown = eventually("the survivor is read", || checker::read(&cluster.nodes[survivor]).ok());
        let mut wrong = Vec::new();
        checker::hold_against(&ledger.snapshot(), &shown, &mut wrong);
        assert!(wrong.is_empty(), "on the survivor: {wrong:?}");

        cluster.nodes[leader].start();
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}
