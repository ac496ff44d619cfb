//! A user is removed while a node is away, and another gets the name. When the node is back nothing of the first one
//! is the second one's: no subscription, no mailbox, no mail, no UIDVALIDITY, no session. (Elsewhere the second got the
//! first one's subscriptions, or one side kept the old user's mail under the new one.)

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::steps::{agreed, append_all, leader_and_follower, names, run, selected, session, tokens};

#[test]
fn users_made_anew() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, away) = leader_and_follower(&cluster);
    let mut first = session(&cluster, leader, "carol");
    let untouched = names(&mut first, "LSUB");
    run(&mut first, &["CREATE Private", "SUBSCRIBE Private", "SUBSCRIBE Nowhere", "UNSUBSCRIBE Sent"]);
    append_all(&mut first, "Private", &["private"]);
    append_all(&mut first, "INBOX", &["inbox"]);
    let before = agreed(&cluster);

    cluster.nodes[away].kill();
    cluster.nodes[leader].must(&["user", "remove", "carol"], None);
    let add = ["user", "add", "carol", "--password-stdin"];
    cluster.nodes[leader].must(&add, Some(&format!("{}\n", password("carol"))));
    assert!(
        first.command("SELECT Private").is_err() || first.select("INBOX").is_err(),
        "the first one's session is not the second one's"
    );
    cluster.nodes[away].start();

    let after = agreed(&cluster);
    assert_eq!(tokens(&after, "carol", "INBOX").expect("every user has one"), Vec::<String>::new());
    assert!(tokens(&after, "carol", "Private").is_none());
    let uid_validity = |contents| selected(contents, "carol", "INBOX").uid_validity;
    assert!(uid_validity(&after) > uid_validity(&before), "a client sees that this is another INBOX");
    for at in [leader, away] {
        assert_eq!(names(&mut session(&cluster, at, "carol"), "LSUB"), untouched, "as any new user");
    }
}
