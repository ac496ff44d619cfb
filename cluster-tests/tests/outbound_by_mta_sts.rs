//! A domain demands, by a policy on its web server, that its mail servers prove their names. One node fetches it, and both obey:
//! also when that node is dead, and neither the web server nor the record is there any longer.

use cluster_tests::certificates::{Ca, of_its_own};
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;
use cluster_tests::web::Web;

const MX: &str = "far.test MX 10 mx.far.test\nmx.far.test A 127.0.0.9\nmx.else.test A 127.0.0.9\n";
const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.far.test\nmax_age: 604800\n";

fn submit(node: &Node, to: &str) {
    let mut smtp = Smtp::login(node.port(587), "alice").expect("alice logs in");
    smtp.submit("alice", &[to], &message(to, 100)).expect("it is queued");
}

fn waits(node: &Node, to: &str, why: &str) {
    eventually("it waits", || {
        let listed = node.must(&["queue", "list", "--recipient", to], None);
        listed.contains(&format!("waiting: 451 {why}")).then_some(())
    });
}

#[test]
fn what_one_node_has_heard_of_a_domain_both_obey() {
    let Some(mut cluster) = Cluster::start() else { return };
    let own = Ca::new("Public");
    let published = "_mta-sts.far.test TXT \"v=STSv1; id=1;\"\nmta-sts.far.test A 127.0.0.9\n";
    let dns = fixture_dns::Server::start(&format!("{MX}{published}"));
    let web = Web::start("127.0.0.9:443", &own.leaf("mta-sts.far.test", 2100));
    web.says(200, POLICY);
    let sink = Sink::start("127.0.0.9:25");
    cluster.nodes[0].must(&["policy", "set", "dns.servers", &dns.address().to_string()], None);
    cluster.nodes[0].must(&["ca", "add", "public", "-"], Some(&own.pem()));
    eventually("the other node knows it", || {
        cluster.nodes[1].must(&["ca", "list"], None).contains("CN=Public").then_some(())
    });

    sink.show(Some(&own.leaf("mx.far.test", 2100)));
    submit(&cluster.nodes[1], "good@far.test");
    let told = eventually("it is told of", || {
        let told = cluster.nodes[0].must(&["trace", "good@far.test"], None);
        told.lines().find(|line| line.contains(" sent ")).map(str::to_owned)
    });
    assert!(told.contains("by mx.far.test (TLS: sts): 250"), "{told}");
    let listed = eventually("the other node knows it", || {
        let listed = cluster.nodes[0].must(&["queue", "sts", "--json"], None);
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("a listing is JSON");
        listed.get(0).cloned()
    });
    let of = |key: &str| listed[key].as_str().unwrap_or_default().to_owned();
    assert_eq!((of("domain"), of("mode"), of("id")), ("far.test".into(), "enforce".into(), "1".into()));
    assert_eq!(listed["mx"], serde_json::json!(["mx.far.test"]));
    let line = cluster.nodes[1].must(&["queue", "sts"], None);
    assert!(line.starts_with("far.test  enforce  until ") && line.ends_with("  mx.far.test\n"), "{line}");
    sink.show(None);
    submit(&cluster.nodes[1], "clear@far.test");
    waits(&cluster.nodes[1], "clear@far.test", "4.7.4 STARTTLS is demanded");

    // Whoever stands between answers for the DNS and the web server too.
    cluster.nodes[1].kill();
    web.says(404, "");
    dns.set(MX);
    sink.show(Some(&of_its_own("mx.far.test", 2100)));
    submit(&cluster.nodes[0], "forged@far.test");
    waits(&cluster.nodes[0], "forged@far.test", "4.7.5");
    sink.show(Some(&own.leaf("mx.else.test", 2100)));
    dns.set(&MX.replace("10 mx.far.test", "10 mx.else.test"));
    // A domain's servers are remembered for a while; a node that starts remembers none.
    cluster.nodes[1].start();
    cluster.wait_until_caught_up();
    submit(&cluster.nodes[1], "diverted@far.test");
    waits(&cluster.nodes[1], "diverted@far.test", "4.7.1 no mail server of far.test is one that its MTA-STS");
    assert_eq!(sink.taken().len(), 1);
}
