//! A scanner in front delivers by LMTP over a unix socket: one reply for each recipient after the dot, the mail is
//! on both nodes; the socket is its owner's and group's, survives kill -9, and is never taken from another process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::imap::Imap;
use cluster_tests::ledger::message;
use cluster_tests::node::{Node, pollux};
use cluster_tests::wait::eventually;

#[test]
fn lmtp_over_a_socket() {
    let Some(mut cluster) = Cluster::start_with(name_the_socket) else { return };
    cluster.nodes[0].must(&["user", "set", "bob", "--quota", "1M"], None);
    let path = socket_of(&cluster.nodes[0]);
    let mode = fs::metadata(&path).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(services(&cluster.nodes[0]).contains(&format!("lmtp:{}", path.display())));
    assert!(cluster.nodes[0].must(&["check"], None).contains("lmtp.sock"), "the check-up names it");

    let mut scanner = Lmtp::connect(&path);
    scanner.say("LHLO scanner.example", "250 ");
    let small = message("through-the-scanner", 2_000);
    assert_eq!(
        scanner.deliver(&["alice", "carol+lists", "nobody"], &small),
        ["250 2.0.0 <alice@example.test> Delivered", "250 2.0.0 <carol+lists@example.test> Delivered",]
    );
    let big = message("too-big-for-bob", 1_500_000);
    assert_eq!(
        scanner.deliver(&["bob", "alice"], &big),
        ["452 4.2.2 <bob@example.test> The mailbox has no room", "250 2.0.0 <alice@example.test> Delivered",]
    );
    cluster.wait_until_caught_up();
    for node in cluster.data_nodes() {
        assert_eq!(bodies(node, "alice").len(), 2);
        assert_eq!(bodies(node, "bob").len(), 0);
        let carols = bodies(node, "carol");
        assert!(carols[0].ends_with(&small), "the mail is as it was sent");
        let trace = String::from_utf8_lossy(&carols[0]).into_owned();
        assert!(
            trace.contains("Received: from scanner.example\r\n") && trace.contains("with LMTP id"),
            "{trace}"
        );
    }

    cluster.nodes[0].kill();
    assert!(path.exists(), "kill -9 leaves the file");
    cluster.nodes[0].start();
    let mut scanner = eventually("the socket is served again", || Lmtp::try_connect(&path));
    scanner.say("LHLO scanner.example", "250 ");
    cluster.wait_until_protected();
    assert_eq!(scanner.deliver(&["carol"], &small), ["250 2.0.0 <carol@example.test> Delivered"]);
    cluster.nodes[0].stop();
    assert!(!path.exists(), "an orderly stop takes the file away");
}

#[test]
fn a_socket_that_is_anothers_is_said_and_left_alone() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut node = Node::new("n", cluster_tests::node::Role::Data, [127, 0, 0, 1].into(), home.path());
    let dir = node.dir.display().to_string();
    let words = ["init", "--dir", &dir, "--domain", "example.test", "--hostname", "mx.example.test"];
    let place = ["--cluster-address", "127.0.0.1:17501", "--listen", "127.0.0.1", "--port-offset", "31000"];
    let founded = pollux(&[&words[..], &place[..]].concat(), None, None);
    assert!(founded.status.success(), "{}", String::from_utf8_lossy(&founded.stderr));
    name_the_socket(&node);

    let path = socket_of(&node);
    let other = UnixListener::bind(&path).expect("the folder is ours");
    node.start();
    assert_eq!(node.wait_for_exit().code(), Some(1));
    let said = node.said();
    let last = said.lines().last().expect("it says why");
    assert!(last.contains("lmtp.sock is in use by another process; stop it"), "{last}");
    drop(UnixStream::connect(&path).expect("the other still listens"));
    drop(other);

    fs::remove_file(&path).expect("it was left");
    fs::write(&path, "precious").expect("the folder is ours");
    node.start();
    assert_eq!(node.wait_for_exit().code(), Some(1));
    assert!(node.said().lines().last().expect("it says why").contains("no socket; move it away"));
    assert_eq!(fs::read_to_string(&path).expect("it was left"), "precious");
}

/// On the first node alone.
fn name_the_socket(node: &Node) {
    if node.name == "node1" || node.name == "n" {
        let mut config =
            File::options().append(true).open(node.dir.join("pollux.toml")).expect("init wrote it");
        config.write_all(b"\n[lmtp]\nsocket = \"lmtp.sock\"\n").expect("the disk has room");
    }
}

fn socket_of(node: &Node) -> PathBuf {
    node.dir.join("lmtp.sock")
}

fn services(node: &Node) -> Vec<String> {
    let status = node.status().expect("the node answers");
    let rows = status["nodes"].as_array().expect("it has nodes");
    let own = rows.iter().find(|row| row["name"] == node.name.as_str()).expect("it knows itself");
    let services = own["services"].as_array().expect("it serves");
    services.iter().filter_map(|service| service.as_str().map(str::to_owned)).collect()
}

fn bodies(node: &Node, user: &str) -> Vec<Vec<u8>> {
    let mut imap = Imap::login(node.imap(), user, &password(user)).expect("IMAP serves");
    if imap.select("INBOX").expect("INBOX is there").exists == 0 {
        return Vec::new();
    }
    imap.fetch_all().expect("the mail is there").into_iter().map(|mail| mail.body).collect()
}

struct Lmtp(BufReader<UnixStream>);

impl Lmtp {
    fn connect(path: &Path) -> Lmtp {
        Lmtp::try_connect(path).expect("the socket is served")
    }

    fn try_connect(path: &Path) -> Option<Lmtp> {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("the socket lives");
        let mut lmtp = Lmtp(BufReader::new(stream));
        lmtp.line().starts_with("220 ").then_some(lmtp)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    }

    fn say(&mut self, command: &str, code: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("the server reads");
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the server hung up");
            if line.as_bytes().get(3) != Some(&b'-') {
                assert!(line.starts_with(code), "{command}: {line}");
                return line;
            }
        }
    }

    /// What each accepted recipient's reply begins with; ids and long texts are cut off.
    fn deliver(&mut self, users: &[&str], content: &[u8]) -> Vec<String> {
        self.say("MAIL FROM:<sender@elsewhere.test>", "250 ");
        let answers: Vec<String> =
            users.iter().map(|user| self.say(&format!("RCPT TO:<{user}@example.test>"), "")).collect();
        let accepted = answers.iter().filter(|answer| answer.starts_with("250 ")).count();
        self.say("DATA", "354 ");
        let stuffed = String::from_utf8_lossy(content).replace("\r\n.", "\r\n..");
        self.0.get_mut().write_all(stuffed.as_bytes()).expect("the server reads");
        self.0.get_mut().write_all(b".\r\n").expect("the server reads");
        let ends = [" as ", " for this"];
        let cut = |line: String| {
            let end = ends.iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
            line[..end].to_owned()
        };
        (0..accepted).map(|_| cut(self.line())).collect()
    }
}
