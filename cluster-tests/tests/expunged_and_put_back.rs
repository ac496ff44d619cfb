//! A user empties a folder and deletes another, on one node; the operator puts all of it back on the other one, with flags and
//! keywords, also after a node died. Without the setting nothing is kept.

use cluster_tests::cluster::Cluster;
use cluster_tests::steps::{agreed, append_all, leader_and_follower, run, session, tokens};
use cluster_tests::wait::eventually;
use serde_json::Value;

#[test]
fn expunged_and_put_back() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, follower) = leader_and_follower(&cluster);
    let mut alice = session(&cluster, follower, "alice");
    append_all(&mut alice, "Archive", &["never-kept"]);
    run(&mut alice, &["SELECT Archive", "STORE 1:* +FLAGS (\\Deleted)", "EXPUNGE", "UNSELECT"]);
    assert_eq!(listed(&cluster, leader), Vec::<String>::new());

    cluster.tell(leader, &["policy", "set", "mail.undelete_days", "7"]);
    append_all(&mut alice, "Archive", &["one", "two", "three"]);
    run(&mut alice, &["CREATE Work/2026"]);
    append_all(&mut alice, "Work/2026", &["four", "five"]);
    run(&mut alice, &["SELECT Work/2026", "STORE 1 +FLAGS (\\Seen $Mine)", "UNSELECT"]);
    run(&mut alice, &["SELECT Archive", "STORE 1:2 +FLAGS (\\Flagged \\Deleted)", "EXPUNGE", "UNSELECT"]);
    run(&mut alice, &["DELETE Work/2026"]);
    let contents = agreed(&cluster);
    assert_eq!(tokens(&contents, "alice", "Archive"), Some(vec!["three".to_owned()]));
    assert_eq!(tokens(&contents, "alice", "Work/2026"), None);
    eventually("what was in the mailbox is kept", || (listed(&cluster, leader).len() == 4).then_some(()));
    assert_eq!(
        listed(&cluster, follower),
        ["Archive one", "Archive two", "Work/2026 five", "Work/2026 four"]
    );

    cluster.nodes[leader].kill();
    cluster.leader_other_than(leader);
    let said = cluster.nodes[follower].must(&["mail", "undelete", "alice", "--folder", "Work"], None);
    assert_eq!(said, "2 messages of alice are back\n");
    let said = cluster.nodes[follower].must(&["mail", "undelete", "alice", "--into", "Found"], None);
    assert_eq!(said, "2 messages of alice are back\n");
    cluster.nodes[leader].start();
    cluster.wait_until_caught_up();
    let contents = agreed(&cluster);
    let shown = |mailbox: &str| {
        let mut shown = tokens(&contents, "alice", mailbox).unwrap_or_default();
        shown.sort();
        shown
    };
    assert_eq!((shown("Work/2026"), shown("Found")), (words(&["five", "four"]), words(&["one", "two"])));
    let flags = |mailbox: &str| {
        let messages = contents[&("alice".to_owned(), mailbox.to_owned())].messages.iter();
        let mut flags: Vec<String> = messages.flat_map(|message| message.flags.clone()).collect();
        flags.retain(|flag| flag != "\\Recent");
        flags.sort();
        flags
    };
    assert_eq!(flags("Work/2026"), ["$Mine", "\\Seen"]);
    assert_eq!(flags("Found"), ["\\Flagged", "\\Flagged"], "and not \\Deleted");
    assert_eq!(listed(&cluster, leader), Vec::<String>::new());
    let again = cluster.nodes[leader].command(&["mail", "undelete", "alice"]);
    assert!(!again.status.success(), "there is nothing more");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `folder subject` of each message that could come back.
fn listed(cluster: &Cluster, at: usize) -> Vec<String> {
    let said = cluster.nodes[at].must(&["mail", "undelete", "alice", "--list", "--json"], None);
    let said: Value = serde_json::from_str(&said).expect("--json is JSON");
    let text = |message: &Value, part: &str| message[part].as_str().expect("a text").to_owned();
    let messages = said["messages"].as_array().expect("messages").iter();
    let mut listed: Vec<String> =
        messages.map(|message| format!("{} {}", text(message, "folder"), text(message, "subject"))).collect();
    listed.sort();
    listed
}
