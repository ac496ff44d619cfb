//! Bob shares a mailbox with alice. She reads and changes it through the other node; he takes the rights away, and both
//! nodes obey: sessions that have it open, and what she asks for anew. What was granted outlives the leader's death, and
//! so does what was withdrawn.

use std::io;

use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::steps::{agreed, append_all, leader_and_follower, run, session};
use cluster_tests::wait::eventually;

const SHARED: &str = "user/bob/Shared";

#[test]
fn rights_are_withdrawn() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, follower) = leader_and_follower(&cluster);
    let mut bob = session(&cluster, leader, "bob");
    run(&mut bob, &["CREATE Shared"]);
    append_all(&mut bob, "Shared", &["one", "two"]);
    run(&mut bob, &["SETACL Shared alice lrst"]);
    agreed(&cluster);

    let mut there = session(&cluster, follower, "alice");
    assert_eq!(there.select(SHARED).expect("alice may read").exists, 2);
    run(&mut there, &["STORE 1 +FLAGS (\\Seen \\Deleted)"]);
    refused(there.command("EXPUNGE"), "NOPERM");
    refused(there.command("STORE 1 +FLAGS (\\Flagged)"), "NOPERM");
    let mut here = session(&cluster, leader, "alice");
    here.select(SHARED).expect("alice may read on both nodes");
    assert_eq!(here.fetch_all().expect("it can be read")[0].flags, ["\\Deleted", "\\Seen"]);

    // Less than before, in sessions that have the mailbox open.
    run(&mut bob, &["SETACL Shared alice lr"]);
    agreed(&cluster);
    for imap in [&mut here, &mut there] {
        refused(imap.command("STORE 2 +FLAGS (\\Seen)"), "NOPERM");
        assert_eq!(imap.fetch_all().expect("it can still be read").len(), 2);
    }

    // The leader dies; the list is where it was.
    cluster.nodes[leader].kill();
    eventually("the other node takes commands", || {
        let mut bob = Imap::login(cluster.nodes[follower].imap(), "bob", "demo-bob").ok()?;
        bob.command("SETACL Shared -alice s").ok()
    });
    let mut bob = session(&cluster, follower, "bob");
    assert_eq!(
        said(&mut bob, "GETACL Shared"),
        ["* ACL \"Shared\" \"bob\" lrswipkxteacd \"alice\" lr \"-alice\" s"]
    );
    refused(there.command("STORE 2 +FLAGS (\\Seen)"), "NOPERM");
    cluster.nodes[leader].start();
    cluster.wait_until_protected();
    agreed(&cluster);

    // All of it gone: who has it open is sent away, and for all others it is not there, on both nodes.
    let mut here = session(&cluster, leader, "alice");
    here.select(SHARED).expect("the node that came back has the list");
    run(&mut bob, &["DELETEACL Shared alice"]);
    agreed(&cluster);
    for imap in [&mut here, &mut there] {
        refused(imap.command("FETCH 1:* FLAGS"), "NOPERM");
        assert!(imap.response().expect("a farewell").text.starts_with("* BYE"));
    }
    for at in [leader, follower] {
        let mut imap = session(&cluster, at, "alice");
        refused(imap.command(&format!("SELECT {SHARED}")), "NONEXISTENT");
        refused(imap.command(&format!("MYRIGHTS {SHARED}")), "NONEXISTENT");
        assert_eq!(said(&mut imap, "LIST \"\" user*"), [] as [&str; 0]);
    }
}

fn said(imap: &mut Imap, command: &str) -> Vec<String> {
    let (untagged, _) = imap.command(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    untagged.into_iter().map(|response| response.text).collect()
}

fn refused<T: std::fmt::Debug>(answer: io::Result<T>, code: &str) {
    let text = answer.expect_err("this is not allowed").to_string();
    assert!(text.starts_with(&format!("NO [{code}]")), "{text}");
}
