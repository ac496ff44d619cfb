//! Bob annotates a mailbox and shares it. Alice listens on the other node: she hears of the mailbox, of mail there and of
//! what is annotated, reads what all share, and keeps something to herself. All of it outlives the leader's death; and
//! when the mailbox is withdrawn she hears that, too.

use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::steps::{agreed, append_all, leader_and_follower, run, session};
use cluster_tests::wait::eventually;

const LISTEN: &str = "NOTIFY SET (subtree user (MailboxName MailboxMetadataChange MessageNew MessageExpunge ServerMetadataChange))";

#[test]
fn annotations_on_both_nodes() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, follower) = leader_and_follower(&cluster);
    let mut bob = session(&cluster, leader, "bob");
    let mut alice = session(&cluster, follower, "alice");
    run(&mut alice, &[LISTEN]);
    run(
        &mut bob,
        &["CREATE Shared", "SETMETADATA Shared (/shared/comment \"read me\" /private/comment \"mine\")"],
    );
    run(&mut bob, &["SETACL Shared alice lr"]);
    hears(&mut alice, "* LIST (\\HasNoChildren) \"/\" \"user/bob/Shared\"");
    append_all(&mut bob, "Shared", &["one"]);
    hears(&mut alice, "* STATUS \"user/bob/Shared\" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ");
    run(&mut bob, &["SETMETADATA Shared (/shared/comment \"read this\" /private/comment NIL)"]);
    hears(&mut alice, "* METADATA \"user/bob/Shared\" /shared/comment");

    const READ: &str = "GETMETADATA (DEPTH infinity) user/bob/Shared (/private /shared)";
    assert_eq!(said(&mut alice, READ), ["* METADATA \"user/bob/Shared\" (/shared/comment \"read this\")"]);
    run(
        &mut alice,
        &["SETMETADATA user/bob/Shared (/private/color \"red\")", "SETMETADATA \"\" (/private/a \"b\")"],
    );
    agreed(&cluster);

    // The leader dies, and what was annotated is there; so is whoever listens.
    cluster.nodes[leader].kill();
    eventually("the other node takes commands", || {
        let mut bob = Imap::login(cluster.nodes[follower].imap(), "bob", "demo-bob").ok()?;
        bob.command("SETMETADATA Shared (/shared/comment \"at last\")").ok()
    });
    hears(&mut alice, "* METADATA \"user/bob/Shared\" /shared/comment");
    let kept = ["* METADATA \"user/bob/Shared\" (/private/color \"red\" /shared/comment \"at last\")"];
    assert_eq!(said(&mut alice, READ), kept);
    cluster.nodes[leader].start();
    cluster.wait_until_protected();
    agreed(&cluster);
    let mut back = session(&cluster, leader, "alice");
    assert_eq!(said(&mut back, READ), kept);
    assert_eq!(said(&mut back, "GETMETADATA \"\" /private/a"), ["* METADATA \"\" (/private/a \"b\")"]);

    run(&mut back, &[LISTEN]);
    let mut bob = session(&cluster, follower, "bob");
    run(&mut bob, &["DELETEACL Shared alice"]);
    for alice in [&mut alice, &mut back] {
        hears(alice, "* LIST (\\NonExistent \\HasNoChildren) \"/\" \"user/bob/Shared\"");
    }
}

fn said(imap: &mut Imap, command: &str) -> Vec<String> {
    let (untagged, _) = imap.command(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    untagged.into_iter().map(|response| response.text).collect()
}

/// Reads what comes unasked until a line begins like this. The connection's own bound ends a wait in vain.
fn hears(listener: &mut Imap, wanted: &str) {
    loop {
        let line = listener.response().unwrap_or_else(|error| panic!("waited for {wanted}: {error}")).text;
        assert!(line.starts_with("* "), "nothing was asked: {line}");
        if line.starts_with(wanted) {
            return;
        }
    }
}
