//! The DNS, which is validated, says which certificate a domain's server shows. Mail goes to it while it shows that one, and
//! else waits: it goes neither in the clear nor to somebody else. A domain that is not validated gets its mail as ever.

use cluster_tests::certificates::{Ca, of_its_own, tlsa};
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const ZONES: &str = "
far.test       SECURE
far.test       MX 10 mx.far.test
mx.far.test    A 127.0.0.9
open.test      MX 10 mx.open.test
mx.open.test   A 127.0.0.9
";

#[test]
fn mail_goes_to_the_server_that_the_dns_names_and_to_no_other() {
    let Some(cluster) = Cluster::start() else { return };
    let (named, anchor) = (of_its_own("other.test", 2010), Ca::new("Anchor"));
    let says = |data: &str| format!("{ZONES}\n_25._tcp.mx.far.test TLSA {data}");
    let dns = fixture_dns::Server::start(&says(&tlsa(3, &named.chain[0])));
    let sink = Sink::start("127.0.0.9:25");
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    first.must(&["policy", "set", "dns.servers", &dns.address().to_string()], None);
    first.must(&["policy", "set", "dns.servers_validate", "true"], None);
    eventually("the other node knows it", || {
        let shown = second.must(&["policy", "show", "dns.servers_validate"], None);
        shown.contains("true").then_some(())
    });
    let mut smtp = Smtp::login(second.port(587), "alice").expect("alice logs in");
    let mut submit = |to: &str| smtp.submit("alice", &[to], &message(to, 100)).expect("it is queued");
    let waits = |to: &str, why: &str| {
        eventually("it waits", || {
            let listed = second.must(&["queue", "list", "--recipient", to], None);
            listed.contains(&format!("waiting: 451 {why}")).then_some(())
        });
    };
    let told = |to: &str| {
        eventually("it is told of", || {
            let told = first.must(&["trace", to], None);
            told.lines().find(|line| line.contains(" sent ")).map(str::to_owned)
        })
    };

    submit("clear@far.test");
    waits("clear@far.test", "4.7.4 STARTTLS is demanded");
    sink.show(Some(&of_its_own("mx.far.test", 2100)));
    submit("other@far.test");
    waits("other@far.test", "4.7.5");
    submit("a@open.test");
    assert!(told("a@open.test").contains("by mx.open.test (TLS: opportunistic): 250"));
    assert_eq!(sink.taken().len(), 1, "that of the domain which is not validated");

    // By its own name and dates it would be none; the DNS names it.
    sink.show(Some(&named));
    submit("named@far.test");
    let line = told("named@far.test");
    assert!(line.contains("by mx.far.test (TLS: dane-ee): 250"), "{line}");

    // A chain to the anchor that is named, and a record that cannot be had.
    let mut chained = anchor.leaf("mx.far.test", 2100);
    chained.chain.push(anchor.der().to_vec());
    sink.show(Some(&chained));
    dns.set(&says(&tlsa(2, anchor.der())));
    submit("anchored@far.test");
    let line = told("anchored@far.test");
    assert!(line.contains("by mx.far.test (TLS: dane-ta): 250"), "{line}");
    dns.set(&format!("{ZONES}\n_25._tcp.mx.far.test SERVFAIL"));
    submit("sick@far.test");
    waits("sick@far.test", "4.4.3 TLSA of mx.far.test cannot be looked up");
    assert_eq!(sink.taken().len(), 3);
    assert!(sink.taken().iter().all(|mail| mail.over_tls));
}
