//! Two data nodes alone. One that stops by plan leaves the other in full service, and is taken back when it returns; one
//! that dies leaves the other reading.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::{Ledger, message};
use cluster_tests::node::Role;
use cluster_tests::steps::{append_all, must_be_temporary, session};
use cluster_tests::visitors::{Visitors, told, were_clean};
use cluster_tests::wait::eventually;

fn pair() -> Option<Cluster> {
    let mut cluster = Cluster::start_alone()?;
    cluster.grow("node2", Role::Data, 2);
    whole(&cluster);
    Some(cluster)
}

/// All that is wrong is that there is no witness.
fn whole(cluster: &Cluster) {
    eventually("both vote and are in sync", || {
        let status = cluster.any_status()?;
        let behind = status["nodes"].as_array()?.iter().any(|row| row["lag_entries"] != 0);
        let because = status["because"].as_str()?;
        (!behind && because.contains("no third voter")).then_some(())
    });
}

#[test]
fn one_stops_by_plan_and_the_other_serves_alone() {
    let Some(mut cluster) = pair() else { return };
    let ledger = Ledger::default();
    for round in 0..4 {
        let visitors = Visitors::start(&cluster, ledger.clone(), 71 + round);
        visitors.wait_for(60);
        let leader = cluster.leader();
        let stopped = if round % 2 == 0 { leader } else { cluster.peer_of(leader) };
        cluster.nodes[stopped].stop();
        visitors.wait_for(60);
        cluster.nodes[stopped].start();
        visitors.wait_for(30);
        let ends = visitors.finish();
        were_clean(&ends);
        assert_eq!(told(&ends, &cluster.nodes[stopped]), 4, "each of its clients: {ends:?}");
        whole(&cluster);
    }
    Checker::default().check(&cluster, &ledger);
}

#[test]
fn one_dies_and_the_other_reads_until_it_is_back() {
    let Some(mut cluster) = pair() else { return };
    for dies in [0, 1] {
        let stays = cluster.peer_of(dies);
        let mut imap = session(&cluster, stays, "alice");
        append_all(&mut imap, "INBOX", &[&format!("before-{dies}")]);
        cluster.nodes[dies].kill();
        // It may be done yet, when the other is back.
        must_be_temporary(imap.append("Archive", &message(&format!("while-{dies}"), 100)));
        let selected = imap.select("INBOX").expect("reading goes on");
        assert_eq!(selected.exists as usize, dies + 1);
        assert_eq!(imap.fetch_all().expect("bodies too").len(), dies + 1);
        cluster.nodes[dies].start();
        whole(&cluster);
        append_all(&mut session(&cluster, stays, "alice"), "Archive", &[&format!("after-{dies}")]);
    }
}
