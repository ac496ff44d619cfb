//! A user's scripts are one for the whole cluster: put by ManageSieve on one node, listed and read on the other, still there
//! when the leader dies, and made active on the survivor.

use std::io;

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::managesieve::ManageSieve;
use cluster_tests::wait::eventually;

const PORT: u16 = 4190;
const MAIN: &str =
    "require \"fileinto\";\r\nif header :is \"List-Id\" \"<x.test>\" {\r\n  fileinto \"Lists\";\r\n}\r\n";

fn refused<T: std::fmt::Debug>(answer: io::Result<T>) -> String {
    answer.expect_err("it is refused").to_string()
}

#[test]
fn filters_on_both_nodes() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.nodes[0].must(&["policy", "set", "auth.plaintext_without_tls", "false"], None);
    cluster.wait_until_caught_up();
    let address = |cluster: &Cluster, at: usize| cluster.nodes[at].port(PORT);

    // No password in the clear; with STARTTLS, by PLAIN on the one node and SCRAM on the other.
    let mut clear = ManageSieve::connect(address(&cluster, 0)).expect("the port greets");
    assert!(clear.capabilities.contains(&"\"STARTTLS\"".to_owned()), "{:?}", clear.capabilities);
    assert!(clear.capabilities.contains(&"\"SASL\" \"\"".to_owned()), "{:?}", clear.capabilities);
    let said = refused(clear.command("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHg=\""));
    assert!(said.starts_with("NO (ENCRYPT-NEEDED)"), "{said}");
    let mut one = ManageSieve::login(address(&cluster, 0), "alice", &password("alice")).expect("PLAIN");
    let mut other =
        ManageSieve::login_by_scram(address(&cluster, 1), "alice", &password("alice")).expect("SCRAM");
    let sasl = other.capabilities.iter().find(|line| line.starts_with("\"SASL\"")).expect("it says how");
    assert!(sasl.contains("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"), "{sasl}");

    one.put("main", MAIN).expect("a good script is kept");
    one.put("away", "stop;\r\n").expect("a good script is kept");
    let said = refused(one.put("bad", "require \"fileinto\";\r\nfileinto;\r\n"));
    assert!(said.starts_with("NO \"line 2"), "{said}");
    cluster.wait_until_caught_up();
    assert_eq!(other.list().expect("they are listed"), ["\"away\"", "\"main\""]);
    assert_eq!(other.get("main").expect("it is read"), MAIN);
    other.command("SETACTIVE \"away\"").expect("it is there");
    other.command("RENAMESCRIPT \"away\" \"holiday\"").expect("it is there");
    let said = refused(other.command("DELETESCRIPT \"holiday\""));
    assert!(said.starts_with("NO (ACTIVE)"), "{said}");
    cluster.wait_until_caught_up();
    assert_eq!(one.list().expect("they are listed"), ["\"holiday\" ACTIVE", "\"main\""]);
    let listed = cluster.nodes[0].must(&["sieve", "list", "alice"], None);
    assert_eq!(listed.split_whitespace().filter(|word| *word == "active").count(), 1, "{listed}");

    // Whoever leads dies at once behind its OK.
    let leader = cluster.leader();
    let mut at_leader =
        ManageSieve::login(address(&cluster, leader), "bob", &password("bob")).expect("PLAIN");
    at_leader.put("last", "keep;\r\n").expect("acknowledged");
    cluster.nodes[leader].kill();
    let survivor = cluster.peer_of(leader);
    let mut bob = eventually("the survivor serves", || {
        ManageSieve::login(address(&cluster, survivor), "bob", &password("bob")).ok()
    });
    assert_eq!(bob.get("last").expect("it was acknowledged"), "keep;\r\n");
    let mut alice =
        ManageSieve::login_by_scram(address(&cluster, survivor), "alice", &password("alice")).expect("SCRAM");
    alice.command("SETACTIVE \"main\"").expect("two of three are a majority");
    assert_eq!(alice.list().expect("they are listed"), ["\"holiday\"", "\"main\" ACTIVE"]);

    // Who was away knows it, too; and an operator may do the same.
    cluster.nodes[leader].start();
    cluster.wait_until_protected();
    cluster.wait_until_caught_up();
    let back = &cluster.nodes[leader];
    assert_eq!(back.must(&["sieve", "show", "alice"], None), MAIN);
    back.must(&["sieve", "deactivate", "alice"], None);
    back.must(&["sieve", "put", "carol", "from stdin", "-", "--activate"], Some("discard;\r\n"));
    cluster.wait_until_caught_up();
    assert_eq!(alice.list().expect("they are listed"), ["\"holiday\"", "\"main\""]);
    let survivor = &cluster.nodes[survivor];
    let listed: serde_json::Value =
        serde_json::from_str(&survivor.must(&["sieve", "list", "carol", "--json"], None)).expect("JSON");
    assert_eq!(listed, serde_json::json!([{ "name": "from stdin", "bytes": 10, "active": true }]));
}
