//! A relay's password, a signing key and that of the certificate are used on both nodes, also after both were started anew and by one that joins
//! later, and stand in no file of any node: sealed alone, and by a key that the witness does not have.

use std::path::Path;

use cluster_tests::certificates::of_its_own;
use cluster_tests::cluster::Cluster;
use cluster_tests::node::Node;

const PASSWORD: &str = "correct-horse-battery";

/// All files below `dir` in which these octets stand.
fn files_with(dir: &Path, octets: &[u8]) -> Vec<String> {
    let (mut folders, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the node's folder is ours").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let content = std::fs::read(&path).expect("the node's files are ours");
                if content.windows(octets.len()).any(|window| window == octets) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}

/// The line of base64 of a key in PEM.
fn key(node: &Node) -> String {
    let pem = node.must(&["dkim", "export", "example.test", "s1", "--private"], None);
    pem.lines().nth(1).expect("a key in PEM has a line of base64").to_owned()
}

#[test]
fn secrets_at_rest() {
    let Some(mut cluster) = Cluster::start() else { return };
    let relay = ["relay", "add", "r", "--host", "relay.test", "--user", "me", "--password-stdin"];
    cluster.nodes[0].must(&relay, Some(&format!("{PASSWORD}\n")));
    let key_of = ["dkim", "generate", "example.test", "--selector", "s1", "--algorithm", "ed25519-sha256"];
    cluster.nodes[1].must(&key_of, None);
    let identity = of_its_own("mx.example.test", 2100);
    let (private, [cert, private_file]) =
        (identity.private_pem(), ["cert.pem", "key.pem"].map(|name| cluster.home().join(name)));
    std::fs::write(&cert, identity.chain_pem()).expect("the folder is ours");
    std::fs::write(&private_file, &private).expect("the folder is ours");
    let given = [&cert, &private_file].map(|file| file.to_str().expect("plain"));
    cluster.nodes[0].must(&[&["certificate", "set"][..], &given].concat(), None);
    cluster.wait_until_caught_up();
    let made = key(&cluster.nodes[0]);
    assert_eq!(key(&cluster.nodes[1]), made);

    for node in &mut cluster.nodes {
        node.stop();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.wait_until_caught_up();
    for node in cluster.data_nodes() {
        assert_eq!(key(node), made, "{} knows the key after its start", node.name);
    }
    for node in &cluster.nodes {
        // In PEM, or as it is in DER.
        let private = private.lines().nth(1).expect("a key in PEM has a line of base64");
        for secret in [PASSWORD.as_bytes(), made.as_bytes(), private.as_bytes(), &identity.key] {
            let found = files_with(&node.dir, secret);
            assert!(found.is_empty(), "a secret lies open in {found:?}");
        }
        let ours = files_with(&node.dir, b"relay.test");
        assert!(!ours.is_empty(), "what is beside the password is found: the search finds what is there");
    }
    assert!(!cluster.nodes[2].dir.join("cluster/ca.key").exists(), "the witness cannot open them");
}
