//! Without a relay the DNS says where mail goes: to the second server where the first is away; nowhere, for good,
//! where a domain takes no mail or is not there; and it waits where nobody knows.

use cluster_tests::checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const ZONES: &str = "
far.test       MX 10 away.far.test
far.test       MX 20 mx.far.test
away.far.test  A 127.0.0.8
mx.far.test    A 127.0.0.9
null.test      MX 0 .
sick.test      SERVFAIL
";

#[test]
fn mail_goes_where_the_dns_says() {
    let Some(cluster) = Cluster::start() else { return };
    let (dns, sink) = (fixture_dns::Server::start(ZONES), Sink::start("127.0.0.9:25"));
    cluster.nodes[0].must(&["policy", "set", "dns.servers", &dns.address().to_string()], None);
    let mut smtp = Smtp::login(cluster.nodes[0].port(587), "alice").expect("alice logs in");
    let to = ["a@far.test", "b@null.test", "c@gone.test", "d@sick.test"];
    smtp.submit("alice", &to, &message("by-dns", 100)).expect("it is queued");
    eventually("the second server takes it", || (sink.taken().len() == 1).then_some(()));
    assert_eq!(sink.taken()[0].to, ["a@far.test"]);
    let notices = eventually("alice is told of both", || {
        let contents = checker::read(&cluster.nodes[1]).ok()?;
        let inbox = contents.get(&("alice".to_owned(), "INBOX".to_owned()))?;
        let texts = inbox.messages.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned());
        Some(texts.collect::<Vec<_>>()).filter(|texts| texts.len() == 2)
    });
    for (address, status) in [("b@null.test", "5.1.10"), ("c@gone.test", "5.1.2")] {
        let told = |text: &&String| text.contains(&format!("Final-Recipient: rfc822; {address}"));
        let notice = notices.iter().find(told).expect("each has a notice");
        assert!(notice.contains(&format!("Status: {status}\r\n")), "{notice}");
    }
    let listed = cluster.nodes[1].must(&["queue", "list"], None);
    assert!(listed.contains("<d@sick.test>  waiting: 451 4.4.3 sick.test cannot be looked up"), "{listed}");
}
