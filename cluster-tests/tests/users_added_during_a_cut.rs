//! A node hears nobody, and a user is added on the other side. It knows no such user, and must not say so for good: the
//! sender would give up, and the mail be lost to somebody who exists. (550 by stale rows, found by the nemesis.)

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::{isolate, leader_and_follower};
use cluster_tests::wait::eventually;

#[test]
fn users_added_during_a_cut() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, stale) = leader_and_follower(&cluster);
    isolate(&mut cluster, stale);
    cluster.nodes[leader].must(&["user", "add", "newcomer", "--password-stdin"], Some("demo-newcomer\n"));

    let mut smtp = Smtp::connect(cluster.nodes[stale].smtp()).expect("it still greets");
    smtp.command("MAIL FROM:<sender@elsewhere.example>", "250").expect("a sender");
    for nobody_here in ["newcomer@example.test", "nobody@example.test", "a@elsewhere.example"] {
        let told = smtp.command(&format!("RCPT TO:<{nobody_here}>"), "451");
        told.unwrap_or_else(|error| panic!("{nobody_here}, cut off: {error}"));
    }

    cluster.lab.heal();
    // From the first moment on: temporary, or as the cluster knows it.
    eventually("the newcomer gets mail", || match smtp.command("RCPT TO:<newcomer@example.test>", "250") {
        Ok(told) => Some(told),
        Err(error) => {
            assert!(error.to_string().contains("451"), "not for good: {error}");
            None
        }
    });
    smtp.command("RCPT TO:<nobody@example.test>", "550").expect("now it is known that there is no such user");
    smtp.command("RCPT TO:<a@elsewhere.example>", "554").expect("and what is not ours");
}
