//! Both sides of a split want to expunge, each another message, and flag the same one. The side without a majority
//! refuses for the time being; after the split the majority's expunge stands, the other did not happen, and a client
//! that repeats it is heard. (Elsewhere this brought expunged mails back, or took both.)

use cluster_tests::cluster::Cluster;
use cluster_tests::steps::{
    agreed, append_all, isolate, leader_and_follower, must_be_temporary, run, session, tokens,
};

#[test]
fn expunged_on_both_sides() {
    let Some(mut cluster) = Cluster::start() else { return };
    for cut_the_leader in [false, true] {
        let mailbox = if cut_the_leader { "Leader" } else { "Follower" };
        let (leader, follower) = leader_and_follower(&cluster);
        let (minority, majority) = if cut_the_leader { (leader, follower) } else { (follower, leader) };
        let mut here = session(&cluster, minority, "alice");
        run(&mut here, &[&format!("CREATE {mailbox}")]);
        let uids = append_all(&mut here, mailbox, &["first", "second", "third"]);
        run(&mut here, &[&format!("SELECT {mailbox}"), "STORE 1:2 +FLAGS.SILENT (\\Deleted)"]);
        agreed(&cluster);

        isolate(&mut cluster, minority);
        must_be_temporary(here.command(&format!("UID EXPUNGE {}", uids[1])));
        assert_eq!(here.fetch_all().expect("what is there can be read").len(), 3, "and nothing has gone");
        let serving = cluster.nodes[majority].name.clone();
        let mut there = session(&cluster, majority, "alice");
        run(&mut there, &[&format!("SELECT {mailbox}"), &format!("UID EXPUNGE {}", uids[0])]);
        run(&mut there, &[&format!("UID STORE {} FLAGS (\\Seen)", uids[2])]);
        cluster.lab.heal();

        let after = agreed(&cluster);
        let left = tokens(&after, "alice", mailbox).expect("the mailbox is there");
        assert_eq!(left, ["second", "third"], "what {serving} acknowledged, and only that");
        run(&mut here, &["NOOP", &format!("UID EXPUNGE {}", uids[1])]);
        let left = tokens(&agreed(&cluster), "alice", mailbox).expect("the mailbox is there");
        assert_eq!(left, ["third"]);
    }
}
