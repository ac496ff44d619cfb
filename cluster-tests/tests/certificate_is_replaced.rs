//! SIGHUP brings a new certificate to STARTTLS and to the TLS ports alike; what cannot be used changes nothing
//! and is said in one line; sessions that run notice nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::node::Node;
use cluster_tests::tls::{TlsStream, handshake, shown};
use cluster_tests::wait::eventually;
use rcgen::{CertifiedKey, generate_simple_self_signed};

const IMPLICIT: [u16; 3] = [465, 993, 995];
/// What a client says until the server is ready for TLS, line by line with the start of the last answer's line.
const STARTTLS: [(u16, &[(&str, &str)]); 4] = [
    (25, &[("", "220 "), ("EHLO c.example\r\n", "250 "), ("STARTTLS\r\n", "220 ")]),
    (587, &[("", "220 "), ("EHLO c.example\r\n", "250 "), ("STARTTLS\r\n", "220 ")]),
    (143, &[("", "* OK"), ("a STARTTLS\r\n", "a OK")]),
    (110, &[("", "+OK"), ("STLS\r\n", "+OK")]),
];

#[test]
fn certificate_is_replaced() {
    let Some(mut cluster) = Cluster::start() else { return };
    let node = &cluster.nodes[0];
    let first = shown(&open_tls(node, 993, &[]));
    assert_all_show(node, &first);

    let mut before_tls = BufReader::new(open_tls(node, 465, &[]));
    assert!(line(&mut before_tls).starts_with("220 "));
    let mut before_clear = BufReader::new(open(node, 110));
    assert!(line(&mut before_clear).starts_with("+OK"));

    let second = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a key can be made");
    write_pair(node, &second);
    reload(node, "new connections get the certificate");
    assert_ne!(first, second.cert.der().to_vec());
    assert_all_show(node, second.cert.der());

    before_tls.get_mut().write_all(b"NOOP\r\n").expect("the old session lives");
    assert!(line(&mut before_tls).starts_with("250 "));
    before_clear.get_mut().write_all(b"NOOP\r\n").expect("the old session lives");
    assert!(line(&mut before_clear).starts_with("-ERR log in first"));

    let third = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a key can be made");
    let (cert, key) = (node.dir.join("tls/cert.pem"), node.dir.join("tls/key.pem"));
    fs::write(&key, third.signing_key.serialize_pem()).expect("the file is ours");
    assert!(reload(node, "the old certificate stays in use").contains("does not fit the key"));
    assert_all_show(node, second.cert.der());
    fs::write(&cert, "garbage").expect("the file is ours");
    assert!(reload(node, "the old certificate stays in use").contains("cert.pem"));
    fs::remove_file(&cert).expect("the file is ours");
    assert!(reload(node, "the old certificate stays in use").contains("cert.pem"));
    assert_all_show(node, second.cert.der());

    write_pair(node, &third);
    reload(node, "new connections get the certificate");
    assert_all_show(node, third.cert.der());

    reload(&cluster.nodes[2], "this box has no certificate of its own");
    assert!(cluster.nodes.iter_mut().all(Node::is_running), "SIGHUP ends nobody");
    cluster.wait_until_protected();
}

fn write_pair(node: &Node, pair: &CertifiedKey<rcgen::KeyPair>) {
    fs::write(node.dir.join("tls/key.pem"), pair.signing_key.serialize_pem()).expect("the file is ours");
    fs::write(node.dir.join("tls/cert.pem"), pair.cert.pem()).expect("the file is ours");
}

/// Sends SIGHUP and waits for the one line it brings, which must hold `words`.
fn reload(node: &Node, words: &str) -> String {
    let lines = |said: &str| said.lines().filter(|line| line.contains("SIGHUP: ")).count();
    let before = lines(&node.said());
    node.hang_up();
    eventually(&format!("SIGHUP brings: {words}"), || {
        let said = node.said();
        let last = said.lines().rfind(|line| line.contains("SIGHUP: "))?.to_owned();
        (said.ends_with('\n') && lines(&said) == before + 1 && last.contains(words)).then_some(last)
    })
}

fn assert_all_show(node: &Node, certificate: &[u8]) {
    for port in IMPLICIT {
        assert!(shown(&open_tls(node, port, &[])) == certificate, "port {port} shows another certificate");
    }
    for (port, dialogue) in STARTTLS {
        assert!(
            shown(&open_tls(node, port, dialogue)) == certificate,
            "port {port} shows another certificate"
        );
    }
}

fn open(node: &Node, port: u16) -> TcpStream {
    let socket = TcpStream::connect(node.port(port)).expect("the port is open");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("the socket lives");
    socket
}

fn open_tls(node: &Node, port: u16, dialogue: &[(&str, &str)]) -> TlsStream {
    let mut clear = BufReader::new(open(node, port));
    for (say, hear) in dialogue {
        clear.get_mut().write_all(say.as_bytes()).expect("the server reads");
        while !line(&mut clear).starts_with(hear) {}
    }
    handshake(clear.into_inner()).expect("TLS comes up")
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("the server answers");
    assert!(!line.is_empty(), "the server hung up");
    line
}
