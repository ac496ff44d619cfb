//! What `pollux dns records` prints on one node, once it is published, is what `pollux dns check` finds right on the other;
//! what is missing or says otherwise is told, and a domain to which no mail would come fails the check.

use std::collections::BTreeMap;

use cluster_tests::cluster::{Cluster, DOMAIN};

const ADDRESSES: &str = "node1.example.test A 192.0.2.1\n1.2.0.192.in-addr.arpa PTR node1.example.test\n";

/// Each finding's level and text, by its topic; of several the worst counts, then the first.
fn check(cluster: &Cluster) -> (bool, BTreeMap<String, (String, String)>) {
    let output = cluster.nodes[1].command(&["dns", "check", DOMAIN, "--json"]);
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    for finding in findings {
        let text = |key: &str| finding[key].as_str().expect("it is text").to_owned();
        let told = (text("level"), text("text"));
        let known = found.entry(text("topic")).or_insert_with(|| told.clone());
        if known.0 == "ok" && told.0 != "ok" {
            *known = told;
        }
    }
    (output.status.success(), found)
}

#[test]
fn zones_say_what_they_should() {
    let Some(cluster) = Cluster::start() else { return };
    let dns = fixture_dns::Server::start(ADDRESSES);
    cluster.nodes[0].must(&["policy", "set", "dns.servers", &dns.address().to_string()], None);
    cluster.nodes[0].must(&["policy", "set", "listener.https.enabled", "true"], None);
    cluster.nodes[0].must(&["policy", "set", "mta_sts.publish", "enforce"], None);
    cluster.nodes[0].must(&["dkim", "generate", DOMAIN], None);
    cluster.wait_until_caught_up();

    let (mail_comes, found) = check(&cluster);
    assert!(!mail_comes && found["MX"].0 == "fail", "{found:?}");
    assert!(found["MX"].1.contains("publish example.test. MX 10 node1.example.test."), "{found:?}");
    for topic in ["SPF", "DKIM", "DMARC", "MTA-STS", "TLS-RPT"] {
        assert_eq!(found[topic].0, "warn", "{topic}: {found:?}");
    }
    assert_eq!((found["SRV"].0.as_str(), found["hostname"].0.as_str()), ("ok", "ok"));

    // The zone file as it is printed; names here end without a dot.
    let zone = cluster.nodes[0].must(&["dns", "records", DOMAIN], None);
    let bare = |line: &str| match line.contains('"') {
        true => line.replacen(". ", " ", 1),
        false => line.replace(". ", " ").trim_end_matches('.').to_owned(),
    };
    let lines: String = zone.lines().map(|line| bare(line) + "\n").collect();
    dns.set(&format!("{ADDRESSES}{lines}"));
    // What was said before is remembered for its time, unless the servers are set anew.
    cluster.nodes[0].must(&["policy", "set", "dns.servers", &format!("{0},{0}", dns.address())], None);
    cluster.wait_until_caught_up();
    let (mail_comes, found) = check(&cluster);
    assert!(mail_comes && found.values().all(|(level, _)| level == "ok"), "{found:?}\n{lines}");
}
