//! A domain for which the cluster stands in: taken from anybody on either node, sent on to its better server under its own sender,
//! waiting while that one cannot take it, and over the leader's death; nothing else is relayed, and what leads nowhere but back
//! waits with a word to the operator.

use std::io;

use cluster_tests::cluster::Cluster;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const ZONES: &str = "
backup.test          MX 5 primary.backup.test
backup.test          MX 10 node1.example.test
backup.test          MX 20 worse.backup.test
primary.backup.test  A 127.0.0.9
worse.backup.test    A 127.0.0.8
circle.test          MX 10 node1.example.test
";
const TEXT: &str = "From: joe@far.test\r\nSubject: on\r\n\r\nHi.\r\n.";

fn send(cluster: &Cluster, at: usize, to: &str) -> io::Result<String> {
    let mut smtp = Smtp::connect(cluster.nodes[at].smtp())?;
    smtp.command("MAIL FROM:<joe@far.test>", "250")?;
    smtp.command(&format!("RCPT TO:<{to}>"), "250")?;
    smtp.command("DATA", "354")?;
    smtp.command(TEXT, "250")
}

#[test]
fn backup_mx() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (dns, sink) = (fixture_dns::Server::start(ZONES), Sink::start("127.0.0.9:25"));
    let worse = Sink::start("127.0.0.8:25");
    let set = |cluster: &Cluster, at: usize, key: &str, value: &str| {
        cluster.nodes[at].must(&["policy", "set", key, value], None);
        cluster.wait_until_caught_up();
    };
    set(&cluster, 0, "dns.servers", &dns.address().to_string());
    set(&cluster, 0, "sender.domain_must_exist", "false");
    set(&cluster, 0, "delivery.retry_seconds_min", "1");
    set(&cluster, 0, "delivery.retry_seconds_max", "1");
    let refused = send(&cluster, 1, "a@backup.test").expect_err("it is not ours").to_string();
    assert!(refused.starts_with("554 5.7.1"), "{refused}");
    set(&cluster, 1, "relay.inbound_domains", "backup.test,circle.test");

    for at in [0, 1] {
        let to = format!("a{at}@backup.test");
        send(&cluster, at, &to).expect("it is taken");
        let mail = eventually("the better server has it", || {
            sink.taken().into_iter().find(|mail| mail.to == [to.as_str()])
        });
        assert_eq!(mail.from, "joe@far.test");
        let text = String::from_utf8_lossy(&mail.content).into_owned();
        assert!(text.ends_with("From: joe@far.test\r\nSubject: on\r\n\r\nHi.\r\n"), "{text}");
        let other = send(&cluster, at, "a@other.test").expect_err("this is no open relay").to_string();
        assert!(other.starts_with("554 5.7.1"), "{other}");
    }

    // What leads back to us alone waits, and it is said why.
    send(&cluster, 0, "a@circle.test").expect("it is taken");
    let listed = eventually("it was tried", || {
        let listed = cluster.nodes[1].must(&["queue", "list"], None);
        listed.contains("451 4.4.6 circle.test is in relay.inbound_domains").then_some(listed)
    });
    assert!(listed.contains("<a@circle.test>  waiting"), "{listed}");

    // The better server cannot take it yet, and the leader dies.
    send(&cluster, 0, "later@backup.test").expect("it is taken");
    eventually("it was tried", || {
        cluster.nodes[0].must(&["queue", "list"], None).contains("450 4.2.0 later").then_some(())
    });
    let leader = cluster.leader();
    let left = cluster.peer_of(leader);
    cluster.nodes[leader].kill();
    cluster.leader_other_than(leader);
    sink.relent();
    eventually("the node that is left sends it", || {
        sink.taken().into_iter().find(|mail| mail.to == ["later@backup.test"])
    });
    eventually("and takes more", || send(&cluster, left, "last@backup.test").ok());
    eventually("which arrive", || sink.taken().into_iter().find(|mail| mail.to == ["last@backup.test"]));
    assert_eq!(worse.taken().len(), 0, "mail goes up, not down");
}
