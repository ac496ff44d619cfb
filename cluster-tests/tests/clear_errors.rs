//! Bad input: one line that says what is wrong and what to do, exit 1 or 2, and nothing half-done left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use cluster_tests::cluster::Cluster;
use cluster_tests::node::pollux;
use cluster_tests::wait::eventually;

/// One line on stderr that has every word of `words`; a failure, not a crash.
fn says(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(1 | 2)), "exit {code:?}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "one line, not: {said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[test]
fn a_wrong_configuration_is_named_with_its_line_and_key() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let dir = home.path().join("n");
    assert!(init(&dir).status.success());
    let config = dir.join("pollux.toml");
    let good = std::fs::read_to_string(&config).expect("init wrote it");

    std::fs::write(&config, format!("colour = \"red\"\n{good}")).expect("it is ours");
    says(&serve(&config), &["pollux.toml:1", "colour"]);
    std::fs::write(&config, "name = [").expect("it is ours");
    says(&serve(&config), &["pollux.toml:1"]);
    says(&serve(&home.path().join("absent.toml")), &["absent.toml"]);

    says(&init(&dir), &["not empty"]);
}

fn init(dir: &Path) -> Output {
    let dir = dir.display().to_string();
    let (domain, host) = ("example.test", "mx.example.test");
    let words = ["init", "--dir", &dir, "--domain", domain, "--hostname", host];
    pollux(&[&words[..], &["--cluster-address", "127.0.0.1"]].concat(), None, None)
}

#[test]
fn private_keys_are_their_owners_alone_from_the_first_moment() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let dir = home.path().join("n");
    assert!(init(&dir).status.success());
    for key in ["cluster/ca.key", "cluster/identity.pem", "tls/key.pem"] {
        let path = dir.join(key);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(text.contains("PRIVATE KEY"), "{key}");
        let mode = path.metadata().expect("it was read").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn wrong_requests_to_a_running_cluster_are_refused_in_one_line() {
    let Some(cluster) = Cluster::start() else { return };
    let node = &cluster.nodes[0];
    says(&node.command(&["policy", "set", "no.such.setting", "1"]), &["no.such.setting"]);
    says(&node.command(&["policy", "set", "smtp.recipients_max", "0"]), &["smtp.recipients_max"]);
    says(&node.command(&["user", "show", "nobody"]), &["nobody"]);
    says(&node.command(&["cluster", "transfer", "99"]), &["99"]);
    says(&cluster.nodes[2].command(&["join-token"]), &["witness", "on a data node"]);

    let second = serve(&node.dir.join("pollux.toml"));
    says(&second, &["in use"]);

    let home = tempfile::tempdir().expect("a temporary folder");
    let dir = home.path().join("late");
    let join = |token: &str| {
        let dir = dir.display().to_string();
        pollux(&["join", "--token", token, "--dir", &dir, "--cluster-address", "127.0.0.4"], None, None)
    };
    says(&join("not-a-token"), &["token"]);
    let token = node.must(&["join-token", "--role", "data", "--ttl", "1s"], None);
    let token =
        token.lines().rfind(|line| !line.trim().is_empty()).expect("a token is printed").trim().to_owned();
    let made = Instant::now();
    eventually("the token's second is over", || (made.elapsed() > Duration::from_secs(2)).then_some(()));
    says(&join(&token), &["expired"]);
    assert!(!dir.join("pollux.toml").exists(), "nothing half-done is left");
}

fn serve(config: &Path) -> Output {
    pollux(&["serve", "--config", &config.display().to_string()], None, None)
}
