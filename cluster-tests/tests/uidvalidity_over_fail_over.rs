//! Whoever leads gives out UIDVALIDITY and UIDs: over fail-overs the first only ascends, also for one name that is
//! deleted and made again and again, and the second goes on where the dead leader stopped. (Elsewhere two servers gave
//! one mailbox two of them, or a replica showed 0.)

use cluster_tests::cluster::Cluster;
use cluster_tests::steps::{agreed, append_all, run, selected, session, tokens};

#[test]
fn uidvalidity_over_fail_over() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut setup = session(&cluster, 0, "alice");
    run(&mut setup, &["CREATE Box", "CREATE Kept"]);
    let start = agreed(&cluster);
    let mut last = selected(&start, "alice", "Box").uid_validity;
    let kept = selected(&start, "alice", "Kept").uid_validity;
    let mut kept_uids = Vec::new();
    for round in 0..3 {
        let leader = cluster.leader();
        let survivor = cluster.peer_of(leader);
        for at in [leader, survivor] {
            let mut alice = session(&cluster, at, "alice");
            run(&mut alice, &["DELETE Box", "CREATE Box"]);
            let now = alice.select("Box").expect("Box is there").uid_validity;
            assert!(now > last, "round {round}: UIDVALIDITY {now} after {last}");
            last = now;
            kept_uids.extend(append_all(&mut alice, "Kept", &[&format!("kept-{round}-{at}")]));
            if at == leader {
                cluster.nodes[leader].kill();
            }
        }
        cluster.nodes[leader].start();
        let after = agreed(&cluster);
        assert_eq!(selected(&after, "alice", "Box").uid_validity, last);
        assert_eq!(selected(&after, "alice", "Kept").uid_validity, kept, "fail-over makes nothing anew");
    }
    assert!(kept_uids.is_sorted_by(|a, b| a < b), "UIDs only ascend: {kept_uids:?}");
    assert_eq!(tokens(&agreed(&cluster), "alice", "Kept").expect("it is there").len(), kept_uids.len());
}
