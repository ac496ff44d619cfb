//! SIGTERM under load, of the leader and of a follower: every client hears 421 or BYE between two commands, finds the other
//! node at once, and is refused nothing there. Nothing acknowledged is missing.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::smtp::Smtp;
use cluster_tests::visitors::{Visitors, told, were_clean};

#[test]
fn clients_of_a_node_that_stops_hear_it_and_go_on_elsewhere() {
    let Some(mut cluster) = Cluster::start() else { return };
    let ledger = Ledger::default();
    for round in 0..4 {
        // The crowd is spread anew each time: who was told to leave stays where he went.
        let visitors = Visitors::start(&cluster, ledger.clone(), 41 + round);
        visitors.wait_for(80);
        let leader = cluster.leader();
        let stopped = if round % 2 == 0 { leader } else { cluster.peer_of(leader) };
        cluster.nodes[stopped].stop();
        visitors.wait_for(80);
        cluster.nodes[stopped].start();
        visitors.wait_for(40);
        let ends = visitors.finish();
        were_clean(&ends);
        assert_eq!(told(&ends, &cluster.nodes[stopped]), 4, "each of its clients: {ends:?}");
        cluster.wait_until_caught_up();
    }
    Checker::default().check(&cluster, &ledger);
}

#[test]
fn a_client_in_the_middle_of_a_mail_ends_it_while_the_node_stops() {
    let Some(mut cluster) = Cluster::start() else { return };
    let leader = cluster.leader();
    let mut smtp = Smtp::connect(cluster.nodes[leader].smtp()).expect("SMTP serves");
    for (line, code) in
        [("MAIL FROM:<a@b.test>", "250"), ("RCPT TO:<alice@example.test>", "250"), ("DATA", "354")]
    {
        smtp.command(line, code).expect("it is taken");
    }
    let mut idle = Smtp::connect(cluster.nodes[leader].smtp()).expect("SMTP serves");
    let ended = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| cluster.nodes[leader].stop());
        let said = idle.reply("421").expect("who does nothing is told at once");
        assert!(said.starts_with("421 4.3.2"), "{said}");
        smtp.command("Subject: late\r\n\r\nstill taken\r\n.", "250").expect("the next leader commits it");
        let said = smtp.reply("421").expect("now he is told");
        stopping.join().expect("it stops");
        said
    });
    assert!(ended.starts_with("421 4.3.2"), "{ended}");
    cluster.nodes[leader].start();
    cluster.wait_until_caught_up();
}
