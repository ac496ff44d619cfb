//! While a node is away its users' mailboxes are deleted and made anew, renamed, renamed onto names that others had,
//! and deleted. When it is back, by the log or by a snapshot, each name shows what the others show, with a UIDVALIDITY
//! that tells a client whether it is the mailbox it knew. (Elsewhere a name that was used again got the old mailbox's
//! mails, its UIDVALIDITY, or was deleted in place of the one that had it before.)

use cluster_tests::checker::Contents;
use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::steps::{
    agreed, append_all, keep_a_short_log, leader_and_follower, names, outgrow_the_log, run, selected,
    session, tokens,
};

#[test]
fn back_by_the_log() {
    names_change_while_a_node_is_away(false);
}

#[test]
fn back_by_a_snapshot() {
    names_change_while_a_node_is_away(true);
}

fn names_change_while_a_node_is_away(by_snapshot: bool) {
    let Some(mut cluster) = Cluster::start_with(keep_a_short_log) else { return };
    let (leader, away) = leader_and_follower(&cluster);
    let mut alice = session(&cluster, leader, "alice");
    for name in ["Anew", "Old", "Taken", "Gone", "Tree", "Tree/Branch", "Tree/Branch/Leaf"] {
        run(&mut alice, &[&format!("CREATE {name}")]);
        append_all(&mut alice, name, &[&format!("{name}-1"), &format!("{name}-2")]);
    }
    run(&mut alice, &["SUBSCRIBE Gone", "SUBSCRIBE Tree/Branch/Leaf"]);
    let inbox = append_all(&mut alice, "INBOX", &["inbox-1", "inbox-2"]);
    assert_eq!(inbox.len(), 2);
    let before = agreed(&cluster);

    cluster.nodes[away].kill();
    change_names(&mut alice);
    if by_snapshot {
        outgrow_the_log(&mut alice);
    }
    cluster.nodes[away].start();
    let after = agreed(&cluster);
    must_be_as_changed(&before, &after);
    // As its own clients see it too, subscriptions included.
    for at in [leader, away] {
        let mut imap = session(&cluster, at, "alice");
        // RFC 3501 6.3.9: a name stays subscribed whatever becomes of the mailbox.
        let subscribed = names(&mut imap, "LSUB");
        for name in ["Gone", "Tree/Branch/Leaf"] {
            assert!(subscribed.iter().any(|shown| shown == name), "{name} is not in {subscribed:?}");
        }
        assert!(
            !subscribed.iter().any(|name| name == "Filler"),
            "what was unsubscribed stays so: {subscribed:?}"
        );
        let tree: Vec<_> =
            names(&mut imap, "LIST").into_iter().filter(|name| name.contains("Branch")).collect();
        assert_eq!(tree, ["Elsewhere/Wood/Branch", "Elsewhere/Wood/Branch/Leaf"]);
    }
}

fn change_names(alice: &mut Imap) {
    run(alice, &["DELETE Anew", "CREATE Anew"]);
    append_all(alice, "Anew", &["anew"]);
    // The name `Old` goes on as `New`; another mailbox takes it.
    run(alice, &["RENAME Old New", "CREATE Old"]);
    append_all(alice, "Old", &["old-anew"]);
    // A mailbox is renamed onto a name that was freed by a deletion.
    run(alice, &["DELETE Taken", "CREATE Taker"]);
    append_all(alice, "Taker", &["taker"]);
    run(alice, &["RENAME Taker Taken", "DELETE Gone"]);
    // A parent goes with all its children, under a name whose own parent is made on the way; then INBOX.
    run(alice, &["RENAME Tree Elsewhere/Wood", "RENAME INBOX Saved"]);
    append_all(alice, "INBOX", &["inbox-anew"]);
}

fn must_be_as_changed(before: &Contents, after: &Contents) {
    let shows = |name: &str, wanted: &[&str]| {
        let found = tokens(after, "alice", name).unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!(found, wanted, "{name}");
    };
    shows("Anew", &["anew"]);
    shows("New", &["Old-1", "Old-2"]);
    shows("Old", &["old-anew"]);
    shows("Taken", &["taker"]);
    shows("Elsewhere/Wood/Branch/Leaf", &["Tree/Branch/Leaf-1", "Tree/Branch/Leaf-2"]);
    shows("Saved", &["inbox-1", "inbox-2"]);
    shows("INBOX", &["inbox-anew"]);
    for gone in ["Gone", "Taker", "Tree", "Tree/Branch"] {
        assert!(tokens(after, "alice", gone).is_none(), "{gone} is still there");
    }
    let was = |name: &str| selected(before, "alice", name).uid_validity;
    let is = |name: &str| selected(after, "alice", name).uid_validity;
    for (name, why) in
        [("Anew", "made anew"), ("Old", "another's"), ("Taken", "taken over"), ("INBOX", "emptied by RENAME")]
    {
        assert!(
            is(name) > was(name),
            "{name} is {why}: UIDVALIDITY {} must be above {}",
            is(name),
            was(name)
        );
    }
    assert_eq!(is("New"), was("Old"), "a renamed mailbox stays itself");
    assert_eq!(is("Elsewhere/Wood/Branch"), was("Tree/Branch"));
    let mut all: Vec<u32> = after.values().map(|mailbox| mailbox.selected.uid_validity).collect();
    all.sort_unstable();
    let mailboxes = all.len();
    all.dedup();
    assert_eq!(all.len(), mailboxes, "no two mailboxes share a UIDVALIDITY");
}
