//! The power goes, at full speed: of one box, then of all three. What was written and not synced is lost, or there in part.
//! Everything acknowledged is there, once.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::crash::power;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

/// `POLLUX_SEED` tries another.
const SEED: u64 = 5;
const ROUNDS: u64 = 3;
const SYNC_MS: u32 = 150;

#[test]
fn power_cut() {
    let lay = |_: &_, node: &mut _| power::record(node);
    let Some(mut cluster) = Cluster::start_on(power::is_durable, lay) else { return };
    let seed =
        std::env::var("POLLUX_SEED").ok().map_or(SEED, |seed| seed.parse().expect("POLLUX_SEED is a number"));
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut checker, ledger) = (Checker::default(), Ledger::default());
    for round in 0..ROUNDS {
        let traffic = Traffic::start(&cluster, ledger.clone(), seed * 1_000 + round * 10);
        traffic.wait_for(40);
        let leader = cluster.leader();
        for at in [leader, cluster.peer_of(leader), 2] {
            power::cut(&mut cluster.nodes[at], &mut dice);
            // Those that live go on.
            traffic.wait_for(20);
            cluster.nodes[at].start();
            cluster.wait_until_caught_up();
        }
        // Syncs that take long leave much that only the kernel has.
        cluster.nodes.iter().for_each(|node| node.disk().slow_sync(SYNC_MS));
        traffic.wait_for(40);
        cluster.nodes.iter_mut().for_each(cluster_tests::node::Node::kill);
        traffic.finish();
        for node in &mut cluster.nodes {
            power::cut(node, &mut dice);
            node.disk().heal();
        }
        cluster.nodes.iter_mut().for_each(cluster_tests::node::Node::start);
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}
