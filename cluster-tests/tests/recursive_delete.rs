//! A parent is deleted while it has children, a node being away; then the children, then what is left of the parent.
//! The children keep their mail until they go themselves, and nothing comes back with the node.
//! (Elsewhere children went with their parent, stayed as orphans on one side, or came back.)

use cluster_tests::cluster::Cluster;
use cluster_tests::steps::{agreed, append_all, leader_and_follower, listed, run, session, tokens};

#[test]
fn recursive_delete() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, away) = leader_and_follower(&cluster);
    let mut alice = session(&cluster, leader, "alice");
    for name in ["Parent", "Parent/One", "Parent/One/Deep", "Parent/Two"] {
        run(&mut alice, &[&format!("CREATE {name}")]);
        append_all(&mut alice, name, &[&format!("{name}-mail")]);
    }
    agreed(&cluster);

    cluster.nodes[away].kill();
    run(&mut alice, &["DELETE Parent", "DELETE Parent/One"]);
    cluster.nodes[away].start();
    let after = agreed(&cluster);
    assert_eq!(tokens(&after, "alice", "Parent/One/Deep").expect("a child stays"), ["Parent/One/Deep-mail"]);
    assert_eq!(tokens(&after, "alice", "Parent/Two").expect("a child stays"), ["Parent/Two-mail"]);
    for at in [leader, away] {
        let shown = listed(&mut session(&cluster, at, "alice"), "LIST").join("\n");
        for name in ["Parent", "Parent/One"] {
            let row = shown.lines().find(|row| row.ends_with(&format!(") {name}")));
            let row = row.unwrap_or_else(|| panic!("{name} is a name with inferiors: {shown}"));
            assert!(row.contains("\\Noselect") && row.contains("\\HasChildren"), "{row}");
        }
    }

    let leader = cluster.leader();
    cluster.nodes[leader].kill();
    let survivor = cluster.peer_of(leader);
    let mut alice = session(&cluster, survivor, "alice");
    run(&mut alice, &["DELETE Parent/One/Deep", "DELETE Parent/One", "DELETE Parent/Two", "DELETE Parent"]);
    run(&mut alice, &["CREATE Parent"]);
    cluster.nodes[leader].start();
    let after = agreed(&cluster);
    assert!(after.keys().all(|(_, name)| !name.starts_with("Parent/")), "no child came back");
    assert_eq!(tokens(&after, "alice", "Parent").expect("made anew"), Vec::<String>::new());
}
