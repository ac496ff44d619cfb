//! A relay shows a certificate of the operator's own CA, which both nodes were told of. Mail goes there while the
//! certificate is good; whatever is wrong with it makes the mail wait.

use cluster_tests::certificates::{Ca, of_its_own};
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const HOST: &str = "relay.corp.test";

#[test]
fn mail_goes_where_the_certificate_is_good_and_waits_elsewhere() {
    let Some(cluster) = Cluster::start() else { return };
    let dns = fixture_dns::Server::start("relay.corp.test A 127.0.0.9");
    let sink = Sink::start("127.0.0.9:2525");
    let (own, other) = (Ca::new("Corp"), Ca::new("Other"));
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    first.must(&["policy", "set", "dns.servers", &dns.address().to_string()], None);
    let relay = ["relay", "add", "corp", "--host", "relay.corp.test:2525", "--tls", "verified"];
    first.must(&relay, None);
    let said = first.must(&["ca", "add", "corp", "-", "--for", "corp.test"], Some(&own.pem()));
    assert!(said.contains("corp is believed of corp.test: CN=Corp"), "{said}");
    eventually("the other node knows it", || {
        second.must(&["ca", "list"], None).contains("CN=Corp").then_some(())
    });

    // Handed in at the node that was not told.
    let mut smtp = Smtp::login(second.port(587), "alice").expect("alice logs in");
    let mut submit = |to: &str| {
        smtp.submit("alice", &[&format!("{to}@far.test")], &message(to, 100)).expect("it is queued");
    };
    for (name, identity, why) in [
        ("clear", None, "451 4.7.4 STARTTLS is demanded"),
        ("renamed", Some(own.leaf("mx.else.test", 2100)), "certificate not valid for"),
        ("expired", Some(own.leaf(HOST, 2010)), "certificate expired"),
        ("strange", Some(other.leaf(HOST, 2100)), "UnknownIssuer"),
        ("alone", Some(of_its_own(HOST, 2100)), "UnknownIssuer"),
    ] {
        sink.show(identity.as_ref());
        submit(name);
        let line = eventually("it waits", || {
            let listed = second.must(&["queue", "list", "--recipient", name], None);
            listed.lines().find(|line| line.contains("waiting: 451 4.7.")).map(str::to_owned)
        });
        assert!(line.contains(why), "{name}: {line}");
    }
    assert_eq!(sink.taken(), []);

    sink.show(Some(&own.leaf(HOST, 2100)));
    submit("good");
    first.must(&["queue", "retry", "--all"], None);
    eventually("all of them are taken", || (sink.taken().len() == 6).then_some(()));
    assert!(sink.taken().iter().all(|mail| mail.over_tls));
    let told = eventually("it is told of", || {
        let told = first.must(&["trace", "good@far.test"], None);
        told.contains(" sent ").then_some(told)
    });
    assert!(told.contains("by relay.corp.test (TLS: verified): 250"), "{told}");

    // What is no longer believed counts at once, also for whom it was believed a moment ago.
    second.must(&["ca", "remove", "corp"], None);
    submit("after");
    eventually("it waits", || {
        let listed = second.must(&["queue", "list", "--recipient", "after"], None);
        listed.contains("UnknownIssuer").then_some(())
    });
    assert_eq!(sink.taken().len(), 6);

    // The relay for all mail is held to the same by its setting.
    for (key, value) in [("relay.host", "relay.corp.test:2525"), ("relay.tls", "verified")] {
        cluster.tell(0, &["policy", "set", key, value]);
    }
    cluster.tell(1, &["relay", "remove", "corp"]);
    submit("usual");
    eventually("it waits", || {
        let listed = first.must(&["queue", "list", "--recipient", "usual"], None);
        listed.contains("UnknownIssuer").then_some(())
    });
    assert_eq!(sink.taken().len(), 6);
    cluster.tell_with(0, &["ca", "add", "corp", "-", "--for", "corp.test"], Some(&own.pem()));
    first.must(&["queue", "retry", "--all"], None);
    eventually("both are taken", || (sink.taken().len() == 8).then_some(()));
    let told = eventually("it is told of", || {
        let told = second.must(&["trace", "usual@far.test"], None);
        told.contains(" sent ").then_some(told)
    });
    assert!(told.contains("by relay.corp.test (TLS: verified): 250"), "{told}");
}
