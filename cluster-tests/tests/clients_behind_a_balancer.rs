//! Load balancers in front of both nodes: a connection is its client's, as the header says, on the node where the setting
//! was made and on the other from the next connection on; nobody else's header is believed, and a balancer's connection without
//! one is closed. The checks of strangers see the client.

use std::net::IpAddr;

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::session;
use fixture_dns::Server;

#[test]
fn clients_behind_a_balancer() {
    let Some(cluster) = Cluster::start() else { return };
    let ours: IpAddr = "203.0.113.7".parse().expect("an address");
    let other: IpAddr = "2001:db8::7".parse().expect("an address");
    let dns = Server::start("sender.test TXT \"v=spf1 ip4:203.0.113.7 -all\"");
    let set = |at: usize, key: &str, value: &str| {
        cluster.nodes[at].must(&["policy", "set", key, value], None);
        cluster.wait_until_caught_up();
    };
    set(0, "dns.servers", &dns.address().to_string());
    for at in [0, 1] {
        let answer = Smtp::connect_for(cluster.nodes[at].smtp(), ours)
            .and_then(|mut smtp| smtp.command("NOOP", "250"));
        assert!(answer.is_err(), "a stranger's header is not believed: {answer:?}");
    }

    set(1, "session.proxies", "127.0.0.0/8");
    for at in [0, 1] {
        assert!(Smtp::connect(cluster.nodes[at].smtp()).is_err(), "a balancer says for whom it comes");
        for client in [ours, other] {
            let mut smtp = Smtp::connect_for(cluster.nodes[at].smtp(), client).expect("SMTP serves");
            smtp.command("MAIL FROM:<joe@sender.test>", "250").expect("it is taken");
            smtp.command("RCPT TO:<alice@example.test>", "250").expect("she is there");
            smtp.command("DATA", "354").expect("go on");
            smtp.command("Subject: x\r\n\r\nhello\r\n.", "250").expect("it is taken");
        }
    }
    set(0, "session.proxies", "");
    cluster.wait_until_caught_up();
    for at in [0, 1] {
        let mut imap = session(&cluster, at, "alice");
        for (mailbox, client, spf) in [("INBOX", ours, "spf=pass"), ("Junk", other, "spf=fail")] {
            assert_eq!(imap.select(mailbox).expect("it is there").exists, 2, "{mailbox}");
            let (told, _) = imap.command("FETCH 1:* BODY.PEEK[HEADER]").expect("headers can be read");
            for literal in told.iter().flat_map(|untagged| &untagged.literals) {
                let header = String::from_utf8_lossy(literal);
                assert!(header.contains(spf) && header.contains(&client.to_string()), "{client}: {header}");
            }
        }
    }
}
