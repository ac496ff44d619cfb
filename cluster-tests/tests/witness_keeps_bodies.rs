//! One data node is away, the other acknowledges mail with the witness and is then lost with its disk: the first one comes back
//! and has every acknowledged mail, with its body, out of the witness's journal. The witness cannot read what it keeps; its
//! journal is bounded, and what it does not take is said, or refused where the policy wants two copies.

use std::path::Path;

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::{Fate, Ledger, Message, message};
use cluster_tests::node::Node;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::traffic::Traffic;
use cluster_tests::wait::eventually;

const WITNESS: usize = 2;

#[test]
fn the_survivor_s_disk_is_lost() {
    let Some(mut cluster) = Cluster::start() else { return };
    let ledger = Ledger::default();
    let survivor = cluster.leader();
    let away = cluster.peer_of(survivor);
    cluster.nodes[away].kill();

    let traffic = Traffic::start(&cluster, ledger.clone(), 23);
    traffic.wait_for(100);
    for (token, octets) in [("large-1", 300_000), ("large-2", 3_000_000)] {
        let content = message(token, octets);
        assert_eq!(deliver(&cluster.nodes[survivor], "bob", &content), Sent::Acknowledged);
        ledger.record(token, Message::new("bob", "INBOX", Fate::Acknowledged, content));
    }
    let kept = journal_bytes(&cluster.nodes[survivor]);
    assert!(kept > 3_300_000, "{kept} octets in the journal");
    let said = cluster.nodes[survivor].must(&["cluster", "status"], None);
    assert!(said.contains("keeps a second copy of new mail"), "{said}");
    assert!(
        !anything_in(&cluster.nodes[WITNESS].dir.join("journal"), b"leading dot"),
        "the witness can read it"
    );

    cluster.nodes[survivor].kill();
    traffic.finish();
    let acknowledged = ledger.surely_there();
    std::fs::remove_dir_all(&cluster.nodes[survivor].dir).expect("the folder is ours");

    cluster.nodes[away].start();
    assert_eq!(cluster.leader_other_than(survivor), away, "the witness hands over");
    let id = eventually("the lost one is known", || cluster.id_of(survivor)).to_string();
    // Not before the one that came back has all there is, or what is lacking could count as lost.
    eventually("no body is missing", || {
        let status = cluster.nodes[away].status()?;
        let row = status["nodes"]
            .as_array()?
            .iter()
            .find(|row| row["name"] == cluster.nodes[away].name.as_str())?;
        (row["in_sync"] == true && row["bodies_missing"] == 0).then_some(())
    });
    let seen = cluster_tests::checker::listed(&cluster.nodes[away]);
    assert!(seen >= acknowledged, "{seen} messages are listed, {acknowledged} were acknowledged");
    assert!(cluster.nodes[away].said().contains("bodies came from the journal of the witness"), "it says so");

    let remove = ["cluster", "remove", &id];
    eventually("it is removed", || cluster.nodes[away].command(&remove).status.success().then_some(()));
    cluster.join_through(away, survivor, &|_| {});
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}

#[test]
fn a_full_journal_is_said_and_heeded() {
    let small = |node: &Node| {
        if node.name == "witness" {
            node.configure("witness", "journal_bytes_max = 100000");
        }
    };
    let Some(mut cluster) = Cluster::start_with(small) else { return };
    let survivor = cluster.leader();
    let away = cluster.peer_of(survivor);
    cluster.nodes[away].kill();
    let survivor = &cluster.nodes[survivor];

    assert_eq!(deliver(survivor, "alice", &message("fits", 50_000)), Sent::Acknowledged);
    assert!((50_000..=100_000).contains(&journal_bytes(survivor)));
    assert_eq!(
        deliver(survivor, "alice", &message("does-not", 80_000)),
        Sent::Acknowledged,
        "degraded_ack = allow"
    );
    let said = survivor.must(&["cluster", "status"], None);
    assert!(
        said.contains("1 new messages are on") && said.contains("100000 octets that it may have"),
        "{said}"
    );

    survivor.must(&["policy", "set", "cluster.degraded_ack", "refuse"], None);
    eventually("a message without a second copy is refused for now", || {
        (deliver(survivor, "alice", &message("refused", 80_000)) == Sent::Refused).then_some(())
    });
    eventually("one that the journal takes is acknowledged", || {
        (deliver(survivor, "alice", &message("small", 100)) == Sent::Acknowledged).then_some(())
    });
}

fn deliver(node: &Node, user: &str, content: &[u8]) -> Sent {
    let mut smtp = Smtp::connect(node.smtp()).expect("it greets");
    smtp.send(&[&format!("{user}@example.test")], content).0
}

/// By the word of the witness.
fn journal_bytes(node: &Node) -> u64 {
    let status = node.status().expect("it answers");
    let rows = status["nodes"].as_array().expect("nodes").iter();
    rows.filter_map(|row| row["journal"]["bytes"].as_u64()).sum()
}

/// Whether the octets stand in any file of the folder.
fn anything_in(folder: &Path, octets: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("an entry").path());
    let contents: Vec<Vec<u8>> = files.map(|file| std::fs::read(file).expect("it can be read")).collect();
    assert!(contents.iter().any(|content| !content.is_empty()), "nothing is kept in {}", folder.display());
    contents.iter().any(|content| content.windows(octets.len()).any(|window| window == octets))
}
