//! A node that was away too long is sent a snapshot, and at some moment of it the receiver dies, the sender dies, or the
//! link is cut. Whatever lies half built is never shown and never in the way: the next one comes whole. (Elsewhere a
//! half installed snapshot was taken for a whole one, or kept every later one from being taken.) What is renamed, deleted and made
//! anew while it is under way is so on both nodes afterwards.

use std::path::Path;
use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::disk::{Calls, DiskFault, Effect};
use cluster_tests::imap::Imap;
use cluster_tests::steps::{
    agreed, append_all, keep_a_short_log, leader_and_follower, outgrow_the_log, run, session, tokens,
};
use cluster_tests::wait::eventually;

const SEED: u64 = 4_100;
/// Messages, so that the rows are more than one frame.
const COPIES: u32 = 400;
/// The snapshot takes longer than all that happens meanwhile, by this.
const WRITE_SLOWER_MS: u32 = 100;
const CUT_AFTER_MS_MAX: u64 = 300;

#[derive(Debug, Clone, Copy)]
enum Cut {
    Receiver,
    Sender,
    Link,
}

#[test]
fn snapshot_is_cut() {
    eprintln!("seed {SEED}");
    let mut dice = fastrand::Rng::with_seed(SEED);
    let Some(mut cluster) = Cluster::start_on(keep_a_short_log, |_, node| node.enable_disk_faults()) else {
        return;
    };
    let mut wanted = Vec::new();
    let mut alice = session(&cluster, 0, "alice");
    fill(&mut alice);
    run(&mut alice, &["CREATE Tree/Leaf", "CREATE Again"]);
    append_all(&mut alice, "Tree/Leaf", &["leaf"]);
    append_all(&mut alice, "Again", &["before"]);
    let mut tree = "Tree".to_string();
    agreed(&cluster);
    for (round, cut) in [Cut::Receiver, Cut::Sender, Cut::Link].into_iter().enumerate() {
        let (sender, receiver) = leader_and_follower(&cluster);
        cluster.nodes[receiver].kill();
        let token = format!("round-{round}");
        let mut alice = session(&cluster, sender, "alice");
        append_all(&mut alice, "INBOX", &[&token]);
        outgrow_the_log(&mut alice);
        wanted.push(token);

        let slow = Effect::SlowMs(WRITE_SLOWER_MS);
        let slow = DiskFault::within(Calls::WRITE.and(Calls::SYNC), slow, "tables/");
        cluster.nodes[receiver].disk().inflict(slow);
        cluster.nodes[receiver].start();
        let tables = cluster.nodes[receiver].dir.join("tables");
        eventually("rows are built beside the old ones", || (sets_of_rows(&tables) > 1).then_some(()));
        let renamed = format!("Tree {round}");
        let rename = format!("RENAME \"{tree}\" \"{renamed}\"");
        run(&mut alice, &[&rename, "DELETE Again", "CREATE Again"]);
        tree = renamed;
        std::thread::sleep(Duration::from_millis(dice.u64(..CUT_AFTER_MS_MAX)));
        assert!(sets_of_rows(&tables) > 1, "the snapshot is under way when it is cut");
        strike(&mut cluster, cut, sender, receiver);
        cluster.nodes[receiver].disk().heal();
        let after = agreed(&cluster);
        assert_eq!(tokens(&after, "alice", "INBOX").expect("INBOX is there"), wanted, "after {cut:?}");
        let copies = &after[&("alice".to_string(), "Archive".to_string())];
        assert!(copies.messages.len() >= COPIES as usize, "all rows came");
        assert_eq!(tokens(&after, "alice", &format!("{tree}/Leaf")), Some(vec!["leaf".to_string()]));
        assert_eq!(tokens(&after, "alice", "Again"), Some(vec![]), "it is another one");
        let trees = after.keys().filter(|(_, name)| name.starts_with("Tree")).count();
        assert_eq!(trees, 2, "under no other name");
        assert_eq!(sets_of_rows(&tables), 1, "nothing half built is left");
    }
}

fn strike(cluster: &mut Cluster, cut: Cut, sender: usize, receiver: usize) {
    match cut {
        Cut::Receiver => {
            cluster.nodes[receiver].kill();
            cluster.nodes[receiver].start();
        }
        Cut::Sender => {
            cluster.nodes[sender].kill();
            cluster.nodes[sender].start();
        }
        Cut::Link => {
            let address = |at: usize| cluster.nodes[at].address.to_string();
            let (one, other) = (address(sender), address(receiver));
            cluster.lab.cut(&one, &other);
            // The sender has noticed: it says so, or somebody else leads.
            eventually("the cut is noticed", || {
                let status = cluster.any_status()?;
                (status["protection"] != "protected").then_some(())
            });
            cluster.lab.heal();
        }
    }
}

/// Copies of copies, so that it takes few commands.
fn fill(alice: &mut Imap) {
    append_all(alice, "Archive", &["copy"]);
    run(alice, &["SELECT Archive"]);
    let mut there = 1;
    while there < COPIES {
        run(alice, &["COPY 1:* Archive"]);
        there *= 2;
    }
}

/// 1 but while a snapshot is taken in.
fn sets_of_rows(tables: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(tables) else { return 0 };
    let is_set = |name: String| name.starts_with("rows-");
    entries.filter_map(Result::ok).filter(|entry| is_set(entry.file_name().to_string_lossy().into())).count()
}
