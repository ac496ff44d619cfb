//! One node orders the certificate of both of an ACME server, which is answered by whichever node it asks; the node may die over it,
//! and the other one goes on with the same account. What fails is told and changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cluster_tests::acme::{Acme, Count, Looks};
use cluster_tests::certificates::{Ca, of_its_own};
use cluster_tests::cluster::Cluster;
use cluster_tests::node::Node;
use cluster_tests::wait::eventually;

const NAMES: [&str; 2] = ["mx.story.test", "imap.story.test"];

/// What the node shows at its TLS port for IMAP; `None`: the port is shut.
fn shows(node: &Node) -> Option<Vec<u8>> {
    node.shows(993)
}

/// What both show, once it is one that was not known.
fn both_show_other_than(cluster: &Cluster, known: &[Vec<u8>]) -> Vec<u8> {
    eventually("both show another certificate", || {
        let (one, other) = (shows(&cluster.nodes[0])?, shows(&cluster.nodes[1])?);
        (one == other && !known.contains(&one)).then_some(one)
    })
}

/// The public key within a certificate: what TLSA records are made of.
fn key_of(certificate: &[u8]) -> Vec<u8> {
    let shown = certificate.windows(KEY.len()).position(|part| part == KEY).expect("a key of P-256");
    certificate[shown..shown + KEY.len() + 66].to_vec()
}

/// RFC 5480: an elliptic key on the curve P-256, up to its bits.
const KEY: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03,
];

/// A program that keeps records in a file, and what it was told in another.
fn write_hook(node: &Node, records: &Path) {
    let (hook, noted) = (node.dir.join("dns-hook"), records.with_extension("noted"));
    let (records, noted) = (records.display(), noted.display());
    let script = format!(
        "#!/bin/sh\nset -e\necho \"$1 $2\" >> {noted}\ncase $1 in\npresent) echo \"$2 $3\" >> {records} ;;\ncleanup) grep -vFx \"$2 $3\" {records} > {records}.new || true; mv {records}.new {records} ;;\nesac\n"
    );
    fs::write(&hook, script).expect("the folder is ours");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).expect("the file is ours");
    node.configure("acme", "dns_hook = \"dns-hook\"");
}

/// Without a certificate of its own.
fn take_certificate_away(node: &Node) {
    let path = node.dir.join("pollux.toml");
    let text = fs::read_to_string(&path).expect("the configuration was written");
    let (before, after) = text.split_once("[tls]\n").expect("it has a table for it");
    let after = after.find("\n[").map_or("", |at| &after[at..]);
    fs::write(&path, format!("{before}{after}")).expect("the configuration can be written");
}

#[test]
fn one_node_orders_the_certificate_of_both() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let records = folder.path().join("records");
    let started = Cluster::start_with(|node| match node.name.as_str() {
        "node2" => {
            take_certificate_away(node);
            write_hook(node, &records);
        }
        "node1" => write_hook(node, &records),
        _ => {}
    });
    let Some(mut cluster) = started else { return };
    let ca = Ca::new("Public");
    let (pem, root) = (ca.pem(), ca.der().to_vec());
    let dns = fixture_dns::Server::start("ca.test A 127.0.0.9\n");
    let server = Acme::start("ca.test", "127.0.0.9:14000", ca);
    let web: Vec<_> = cluster.data_nodes().iter().map(|node| node.port(80)).collect();
    server.looks(Looks::AtWeb(web));
    let set = |key: &str, value: &str| cluster.tell(0, &["policy", "set", key, value]);
    set("dns.servers", &dns.address().to_string());
    cluster.tell_with(0, &["ca", "add", "public", "-"], Some(&pem));
    set("acme.names", &NAMES.join(","));
    set("acme.contact", "postmaster@story.test");
    assert_eq!(shows(&cluster.nodes[1]), None, "it has none");
    let own = shows(&cluster.nodes[0]).expect("init made one");
    let show = |at: usize| cluster.nodes[at].must(&["certificate", "show"], None);
    assert!(show(1).contains("no TLS is offered by this box") && show(0).contains("those in pollux.toml"));

    // Nobody could ask here: said, and tried again when the operator wants it.
    set("acme.directory", &server.directory());
    eventually("why nothing is ordered", || show(1).contains("listener.http.enabled is false").then_some(()));
    assert_eq!(server.count().orders, 0);
    set("listener.http.enabled", "true");
    let renew = |words: &[&str]| cluster.nodes[1].must(&[&["certificate", "renew"], words].concat(), None);
    renew(&[]);
    let first = both_show_other_than(&cluster, std::slice::from_ref(&own));
    assert_ne!(first, root);
    assert_eq!(server.count(), Count { accounts: 1, orders: 1, certificates: 1 });
    for node in [0, 1] {
        let told = show(node);
        let named = NAMES.iter().all(|name| told.contains(name));
        assert!(named && told.contains("by        CN=Public"), "{told}");
    }

    // The same key at the next one, so that records made of it stay true; and another one when it is wanted.
    renew(&[]);
    let second = both_show_other_than(&cluster, &[own.clone(), first.clone()]);
    assert_eq!(key_of(&second), key_of(&first));
    server.be_displeased(true);
    renew(&["--new-key"]);
    eventually("why it failed", || show(0).contains("I do not like that name").then_some(()));
    assert_eq!(shows(&cluster.nodes[0]), Some(second.clone()), "what was good stays in use");
    server.be_displeased(false);

    // The node that orders dies over it.
    let leader = cluster.leader();
    server.hold(true);
    let told = server.told();
    renew(&["--new-key"]);
    eventually("the server is told to look", || (server.told() > told).then_some(()));
    let count = server.count();
    cluster.nodes[leader].kill();
    let other = cluster.peer_of(leader);
    eventually("the other node orders", || (server.count().orders > count.orders).then_some(()));
    server.looks(Looks::AtWeb(vec![cluster.nodes[other].port(80)]));
    server.hold(false);
    let third =
        eventually("the other node has it", || shows(&cluster.nodes[other]).filter(|shown| *shown != second));
    assert_ne!(key_of(&third), key_of(&second));
    assert_eq!((server.count().accounts, server.count().orders), (1, count.orders + 1));
    cluster.nodes[leader].start();
    cluster.wait_until_caught_up();
    assert_eq!(both_show_other_than(&cluster, &[own.clone(), first, second]), third);

    // The operator's own, and none.
    let set = |key: &str, value: &str| cluster.tell(0, &["policy", "set", key, value]);
    let identity = of_its_own("mx.story.test", 2100);
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, identity.chain_pem()).expect("the folder is ours");
    fs::write(&key, identity.private_pem()).expect("the folder is ours");
    let give = ["certificate", "set", cert.to_str().expect("plain"), key.to_str().expect("plain")];
    let refused = cluster.nodes[0].command(&give);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("acme.directory is set"), "{refused:?}");
    cluster.tell(0, &["policy", "unset", "acme.directory"]);
    cluster.nodes[0].must(&give, None);
    assert_eq!(both_show_other_than(&cluster, &[own.clone(), third.clone()]), identity.chain[0]);
    cluster.nodes[1].must(&["certificate", "remove"], None);
    eventually("each has its own", || {
        (shows(&cluster.nodes[0]) == Some(own.clone()) && shows(&cluster.nodes[1]).is_none()).then_some(())
    });

    // By the DNS, into which a program of the operator's puts what is looked for.
    server.looks(Looks::AtRecords(records.clone()));
    set("acme.challenge", "dns-01");
    set("acme.directory", &server.directory());
    let fourth = both_show_other_than(&cluster, &[own, third, identity.chain[0].clone()]);
    assert_ne!(fourth, root);
    let noted = fs::read_to_string(records.with_extension("noted")).expect("the program was run");
    for name in NAMES {
        for verb in ["present", "cleanup"] {
            assert!(noted.contains(&format!("{verb} _acme-challenge.{name}\n")), "{noted}");
        }
    }
    assert_eq!(fs::read_to_string(&records).expect("the program was run"), "", "nothing is left");
    assert_eq!(server.count().accounts, 1, "one account, whoever orders");
    server.forget_accounts();
    cluster.nodes[1].must(&["certificate", "renew"], None);
    both_show_other_than(&cluster, &[fourth]);
    assert_eq!(server.count().accounts, 1, "another one in its place");
}
