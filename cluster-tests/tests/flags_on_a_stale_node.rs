//! Flags are changed on a node that hears nobody. What it cannot commit it refuses; what it was asked just before the
//! link came back is decided by the truth of then, not by what it showed: a condition on the old MODSEQ fails, and the
//! change that the others made is not lost. (Elsewhere the stale side's flags won after the heal.)

use cluster_tests::cluster::Cluster;
use cluster_tests::steps::{
    agreed, append_all, isolate, leader_and_follower, must_be_temporary, run, session,
};

#[test]
fn flags_on_a_stale_node() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, stale) = leader_and_follower(&cluster);
    let mut there = session(&cluster, leader, "alice");
    let uid = append_all(&mut there, "INBOX", &["flagged"])[0];
    run(&mut there, &["SELECT INBOX"]);
    agreed(&cluster);
    let mut here = session(&cluster, stale, "alice");
    here.select("INBOX").expect("INBOX is there");
    let seen_here = here.fetch_all().expect("the message is there")[0].modseq;

    isolate(&mut cluster, stale);
    must_be_temporary(here.command(&format!("UID STORE {uid} FLAGS (\\Flagged)")));
    run(&mut there, &[&format!("UID STORE {uid} FLAGS (\\Seen)")]);
    assert!(here.fetch_all().expect("it can still be read")[0].flags.is_empty(), "it shows what it has");
    let conditional = format!("UID STORE {uid} (UNCHANGEDSINCE {seen_here}) FLAGS.SILENT (\\Draft)");
    let tag = here.begin(&conditional).expect("the session lives");
    cluster.lab.heal();
    match here.finish(&tag) {
        // RFC 7162 3.1.3: the message was changed since, and is named.
        Ok((_, ok)) => assert!(ok.contains(&format!("MODIFIED {uid}")), "not overwritten: {ok}"),
        Err(error) => must_be_temporary::<()>(Err(error)),
    }

    let flags = |cluster: &Cluster| {
        let contents = agreed(cluster);
        let inbox = &contents[&("alice".to_string(), "INBOX".to_string())];
        inbox.messages[0].flags.clone()
    };
    assert_eq!(flags(&cluster), ["\\Seen"], "what was acknowledged, and only that");
    run(&mut here, &[&format!("UID STORE {uid} +FLAGS (\\Flagged)")]);
    assert_eq!(flags(&cluster), ["\\Flagged", "\\Seen"], "the stale session goes on from the truth");
}
