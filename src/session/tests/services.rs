//! All services of a node over loopback: settings are followed live, limits hold, a used port is said.

use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::dns::{self, Resolver};
use crate::mail::ids::{LogIndex, NodeId};
use crate::maillog::MailLog;
use crate::session::driver::Bounds;
use crate::session::listener::{Place, ServiceState};
use crate::session::login::LoginBounds;
use crate::session::scram::client::Client;
use crate::session::services::{Services, ServicesConfig};
use crate::state::settings::ListenerName;

const SERVICES: [&str; 11] =
    ["smtp", "smtps", "submission", "imap", "imaps", "pop3", "pop3s", "lmtp", "http", "https", "managesieve"];

/// Only these ports are open at first, each free a moment ago.
async fn start(replica: &MemoryReplica, tls: Option<Arc<TlsStore>>, open: &[(&str, u16)]) -> Services {
    for name in SERVICES {
        let port = open.iter().find(|(wanted, _)| *wanted == name).map(|(_, port)| *port);
        set(replica, &format!("listener.{name}.enabled"), &port.is_some().to_string());
        if let Some(port) = port {
            set(replica, &format!("listener.{name}.port"), &port.to_string());
        }
    }
    let config = ServicesConfig {
        address: Ipv4Addr::LOCALHOST.into(),
        port_offset: 0,
        lmtp_socket: None,
        node_name: "node1".to_owned(),
        spool: std::env::temp_dir().join("pollux-tests-spool"),
        dns: Resolver::new(replica.watch_directory(), dns::Bounds::default()),
        log: MailLog::default(),
        tls,
        bounds: Bounds::default(),
        logins: LoginBounds { refusal_delay_ms: 0, ..LoginBounds::default() },
    };
    Services::start(replica.clone(), config)
}

async fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port()
}

/// Looks until it is so; a minute is a failure.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn until_state(services: &Services, name: ListenerName, state: impl Fn(&ServiceState) -> bool) {
    let holds = || services.services().iter().any(|service| service.name == name && state(&service.state));
    until(&format!("{name:?} in the state wanted"), holds).await;
}

async fn connect(port: u16) -> BufStream<TcpStream> {
    BufStream::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap())
}

async fn line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    let read = stream.read_line(&mut line);
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("a line").unwrap();
    line.trim_end().to_owned()
}

/// Sends one command; the last line of its reply.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>, command: &str) -> String {
    stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    loop {
        let line = line(stream).await;
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

#[tokio::test]
async fn a_mail_sent_with_starttls_and_login_is_read_by_pop3() {
    let (replica, (_dir, store, trust)) = (replica(), tls());
    let (submission, pop3) = (free_port().await, free_port().await);
    let services = start(&replica, Some(store), &[("submission", submission), ("pop3s", pop3)]).await;
    until_state(&services, ListenerName::Submission, |state| *state == ServiceState::Listening).await;
    until_state(&services, ListenerName::Pop3s, |state| *state == ServiceState::Listening).await;

    let mut clear = connect(submission).await;
    assert!(line(&mut clear).await.starts_with("220 "));
    assert_eq!(ask(&mut clear, "EHLO client.example").await, "250 HELP");
    assert!(ask(&mut clear, "STARTTLS").await.starts_with("220 2.0.0"));
    let connector = TlsConnector::from(trust);
    let name = || ServerName::try_from("localhost").unwrap();
    let mut smtp = BufStream::new(connector.connect(name(), clear.into_inner()).await.unwrap());
    assert_eq!(ask(&mut smtp, "EHLO client.example").await, "250 HELP");
    assert!(ask(&mut smtp, "MAIL FROM:<alice@example.test>").await.starts_with("530 5.7.0"));
    assert!(ask(&mut smtp, "AUTH PLAIN AGFsaWNlAHNlY3JldA==").await.starts_with("235 2.7.0"));
    assert!(ask(&mut smtp, "MAIL FROM:<alice@example.test>").await.starts_with("250 2.1.0"));
    assert!(ask(&mut smtp, "RCPT TO:<bob@example.org>").await.starts_with("250 2.1.5"));
    assert!(ask(&mut smtp, "DATA").await.starts_with("354"));
    assert!(ask(&mut smtp, "Subject: over sockets\r\n\r\n..\r\n.").await.starts_with("250 2.0.0"));

    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, pop3)).await.unwrap();
    let mut pop3 = BufStream::new(connector.connect(name(), socket).await.unwrap());
    assert!(line(&mut pop3).await.starts_with("+OK"));
    assert!(ask(&mut pop3, "USER bob").await.starts_with("+OK"));
    assert!(ask(&mut pop3, "PASS secret").await.starts_with("+OK bob has 1 messages"));
    assert!(ask(&mut pop3, "RETR 1").await.starts_with("+OK"));
    let mut text = String::new();
    loop {
        match line(&mut pop3).await {
            end if end == "." => break,
            line => text.push_str(&format!("{line}\n")),
        }
    }
    assert!(
        text.starts_with("Return-Path: <alice@example.test>\nReceived: from client.example ([127.0.0.1])\n")
    );
    assert!(text.contains("with ESMTPSA id") && text.contains("(Pollux node1)"), "{text}");
    // What she left out was added.
    assert!(text.contains("+0000\nDate: ") && text.contains("\nMessage-ID: <"), "{text}");
    assert!(text.ends_with("@localhost>\nSubject: over sockets\n\n..\n"), "{text}");

    services.stop(Duration::ZERO, Duration::from_secs(60)).await;
    assert!(line(&mut smtp).await.starts_with("421 4.3.2"));
}

#[tokio::test]
async fn a_disabled_users_sessions_end_at_once_and_nobody_elses() {
    let replica = replica();
    set(&replica, "auth.plaintext_without_tls", "true");
    let (submission, imap, pop3) = (free_port().await, free_port().await, free_port().await);
    let open = [("submission", submission), ("imap", imap), ("pop3", pop3)];
    let services = start(&replica, None, &open).await;
    let all = || services.services().iter().filter(|s| s.state == ServiceState::Listening).count() == 3;
    until("all ports are open", all).await;

    let mut smtp = connect(submission).await;
    assert!(line(&mut smtp).await.starts_with("220 "));
    assert!(ask(&mut smtp, "EHLO client.example").await.starts_with("250 "));
    assert!(ask(&mut smtp, "AUTH PLAIN AGFsaWNlAHNlY3JldA==").await.starts_with("235 2.7.0"));
    let mut pop3_client = connect(pop3).await;
    assert!(line(&mut pop3_client).await.starts_with("+OK"));
    assert!(ask(&mut pop3_client, "USER alice").await.starts_with("+OK"));
    assert!(ask(&mut pop3_client, "PASS secret").await.starts_with("+OK"));
    let mut idling = connect(imap).await;
    assert!(line(&mut idling).await.starts_with("* OK"));
    assert!(ask(&mut idling, "a LOGIN alice secret").await.starts_with("a OK"));
    assert!(ask(&mut idling, "b IDLE").await.starts_with("+ "));
    let mut bob = connect(imap).await;
    assert!(line(&mut bob).await.starts_with("* OK"));
    assert!(ask(&mut bob, "a LOGIN bob secret").await.starts_with("a OK"));

    run(&replica, Command::SetUserEnabled { name: "alice".to_owned(), enabled: false });
    assert!(line(&mut idling).await.starts_with("* BYE"));
    assert!(line(&mut pop3_client).await.starts_with("-ERR [AUTH]"));
    assert!(line(&mut smtp).await.starts_with("421 4.7.0"));
    for client in [&mut idling, &mut pop3_client, &mut smtp] {
        assert_eq!(line(client).await, "", "the connection is closed");
    }
    assert!(ask(&mut bob, "b NOOP").await.starts_with("b OK"));
}

/// RFC 9738; a session keeps what it was told.
#[tokio::test]
async fn the_message_limit_is_announced_where_it_is_set() {
    let replica = replica();
    set(&replica, "auth.plaintext_without_tls", "true");
    let imap = free_port().await;
    let services = start(&replica, None, &[("imap", imap)]).await;
    until_state(&services, ListenerName::Imap, |state| *state == ServiceState::Listening).await;
    let logged_in = async || {
        let mut client = connect(imap).await;
        assert!(line(&mut client).await.starts_with("* OK"));
        assert!(ask(&mut client, "a LOGIN alice secret").await.starts_with("a OK"));
        client
    };
    let mut before = logged_in().await;
    set(&replica, "imap.message_limit", "true");
    let mut after = logged_in().await;
    for (client, told, untold) in [
        (&mut before, " SAVELIMIT=1000", " MESSAGELIMIT="),
        (&mut after, " MESSAGELIMIT=1000", " SAVELIMIT="),
    ] {
        let capabilities = ask(client, "b CAPABILITY").await;
        assert!(capabilities.contains(told) && !capabilities.contains(untold), "{capabilities}");
    }
}

#[tokio::test]
async fn ports_are_moved_and_shut_while_sessions_go_on() {
    let replica = replica();
    let (first, second) = (free_port().await, free_port().await);
    let services = start(&replica, None, &[("smtp", first)]).await;
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Listening).await;
    let mut old = connect(first).await;
    assert!(line(&mut old).await.starts_with("220 "));

    set(&replica, "listener.smtp.port", &second.to_string());
    let moved = || {
        services
            .services()
            .iter()
            .any(|s| s.place == Place::Port(second) && s.state == ServiceState::Listening)
    };
    until("the port is moved", moved).await;
    let mut new = connect(second).await;
    assert!(line(&mut new).await.starts_with("220 "));
    assert!(ask(&mut old, "NOOP").await.starts_with("250"), "a session lives on when its port is moved");

    set(&replica, "listener.smtp.enabled", "false");
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Off).await;
    assert!(ask(&mut new, "NOOP").await.starts_with("250"));
    // The listening socket goes when its task has ended, a moment after the word.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, second)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(services.connections(), 2);
}

#[tokio::test]
async fn a_used_port_is_said_and_taken_once_it_is_free() {
    let replica = replica();
    let blocker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = blocker.local_addr().unwrap().port();
    let services = start(&replica, None, &[("pop3", port), ("smtps", 1)]).await;
    let used =
        |state: &ServiceState| matches!(state, ServiceState::Failed(why) if why.contains("is used by"));
    until_state(&services, ListenerName::Pop3, used).await;
    let bare =
        |state: &ServiceState| matches!(state, ServiceState::Failed(why) if why.contains("certificate"));
    until_state(&services, ListenerName::Smtps, bare).await;
    drop(blocker);
    until_state(&services, ListenerName::Pop3, |state| *state == ServiceState::Listening).await;
    assert!(line(&mut connect(port).await).await.starts_with("+OK"));
}

#[tokio::test]
async fn a_connection_beyond_the_bound_is_told_so() {
    let replica = replica();
    set(&replica, "session.connections_per_address_max", "1");
    let (smtp, pop3) = (free_port().await, free_port().await);
    let services = start(&replica, None, &[("smtp", smtp), ("pop3", pop3)]).await;
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Listening).await;
    until_state(&services, ListenerName::Pop3, |state| *state == ServiceState::Listening).await;
    let mut first = connect(smtp).await;
    assert!(line(&mut first).await.starts_with("220 "));
    assert!(line(&mut connect(smtp).await).await.starts_with("421 4.7.0"));
    assert!(line(&mut connect(pop3).await).await.starts_with("-ERR [SYS/TEMP]"));
    assert!(ask(&mut first, "QUIT").await.starts_with("221"));
    drop(first);
    until("the place is free", || services.connections() == 0).await;
    assert!(line(&mut connect(pop3).await).await.starts_with("+OK"));
}

/// One mail to alice over this connection, whose greeting is still to come.
async fn send_to_alice<S: AsyncRead + AsyncWrite + Unpin>(smtp: &mut BufStream<S>) {
    smtp.flush().await.unwrap();
    assert!(line(smtp).await.starts_with("220 "));
    for (command, code) in [
        ("EHLO client.example", "250 "),
        ("MAIL FROM:<>", "250 "),
        ("RCPT TO:<alice@example.test>", "250 "),
        ("DATA", "354 "),
        ("Subject: x\r\n\r\n.", "250 "),
    ] {
        let answer = ask(smtp, command).await;
        assert!(answer.starts_with(code), "{command}: {answer}");
    }
}

#[tokio::test]
async fn a_balancers_header_says_whose_a_connection_is_and_nobody_elses_does() {
    const HEADER: &str = "PROXY TCP4 203.0.113.7 127.0.0.1 12345 25\r\n";
    let (replica, (_dir, store, trust)) = (replica(), tls());
    set(&replica, "session.connections_per_address_max", "1");
    set(&replica, "listener.smtps.auth_required", "false");
    let (smtp, smtps) = (free_port().await, free_port().await);
    let services = start(&replica, Some(store), &[("smtp", smtp), ("smtps", smtps)]).await;
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Listening).await;
    until_state(&services, ListenerName::Smtps, |state| *state == ServiceState::Listening).await;
    let proxied = async |port: u16, client: &str| {
        let mut stream = connect(port).await;
        stream.write_all(HEADER.replace("203.0.113.7", client).as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };

    // Not from a balancer: a command that there is not.
    let mut stranger = proxied(smtp, "203.0.113.7").await;
    assert!(line(&mut stranger).await.starts_with("220 "));
    assert!(line(&mut stranger).await.starts_with("500 5.5.2"));
    drop(stranger);
    until("it is gone", || services.connections() == 0).await;

    set(&replica, "session.proxies", "127.0.0.1/32");
    let mut first = proxied(smtp, "203.0.113.7").await;
    send_to_alice(&mut first).await;
    // The client's places are counted, not the balancer's.
    assert!(line(&mut proxied(smtp, "203.0.113.7").await).await.starts_with("421 4.7.0"));
    let other = proxied(smtps, "203.0.113.8").await.into_inner();
    let name = ServerName::try_from("localhost").unwrap();
    let mut other = BufStream::new(TlsConnector::from(trust).connect(name, other).await.unwrap());
    send_to_alice(&mut other).await;

    let texts = backends::texts(&replica, "alice", "INBOX").await;
    let clients = ["[203.0.113.7]", "[203.0.113.8]"];
    assert_eq!(texts.len(), clients.len());
    for (text, client) in texts.iter().zip(clients) {
        let text = String::from_utf8_lossy(text);
        assert!(text.contains(&format!("Received: from client.example ({client})")), "{text}");
    }
    // A balancer that does not say for whom.
    let mut silent = connect(smtp).await;
    silent.write_all(b"EHLO client.example\r\n").await.unwrap();
    silent.flush().await.unwrap();
    // Or reset, as not all that it said was read.
    let mut told = String::new();
    let _ = silent.read_line(&mut told).await;
    assert_eq!(told, "", "closed without a word");
}

#[tokio::test]
async fn garbage_on_any_port_takes_nothing_down() {
    use tokio::io::AsyncReadExt;
    let (replica, (_dir, store, _)) = (replica(), tls());
    let mut open = Vec::new();
    for name in SERVICES {
        open.push((name, free_port().await));
    }
    let services = start(&replica, Some(store), &open).await;
    let all = || services.services().iter().all(|service| service.state == ServiceState::Listening);
    until("all ports are open", all).await;
    let mut garbage = vec![0; 10_000];
    Clock::fixed(crate::mail::ids::Timestamp(7)).fill(&mut garbage);
    for (name, port) in open {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        // Either may fail: the server is free to hang up in the middle.
        let _ = client.write_all(&garbage).await;
        let _ = client.shutdown().await;
        let _ = client.read_to_end(&mut Vec::new()).await;
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap_or_else(|_| panic!("{name} is gone"));
    }
    assert!(all());
}

/// By what TLS 1.3 exports, and by the certificate on TLS 1.2, where nothing better is to be had.
#[tokio::test]
async fn scram_is_bound_to_the_tls_connection_that_it_goes_over() {
    let (replica, (dir, store, trust)) = (replica(), tls());
    set_password(&replica, "alice", "secret");
    let port = free_port().await;
    let services = start(&replica, Some(store), &[("pop3s", port)]).await;
    until_state(&services, ListenerName::Pop3s, |state| *state == ServiceState::Listening).await;
    let certificate = CertificateDer::from_pem_file(dir.path().join("cert.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let old = rustls::ClientConfig::builder_with_provider(trust.crypto_provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let of_the_certificate = ring::digest::digest(&ring::digest::SHA256, &certificate).as_ref().to_vec();

    let exported: fn(&rustls::ClientConnection) -> Vec<u8> = |connection| {
        let label = b"EXPORTER-Channel-Binding";
        connection.export_keying_material([0; 32], label, Some(b"")).unwrap().to_vec()
    };
    for (config, header, named, lets_in) in [
        (&trust, "p=tls-exporter,,", None, true),
        (&trust, "p=tls-server-end-point,,", Some(of_the_certificate.clone()), true),
        (&trust, "p=tls-exporter,,", Some(vec![0; 32]), false),
        (&Arc::new(old.clone()), "p=tls-server-end-point,,", Some(of_the_certificate.clone()), true),
        (&Arc::new(old.clone()), "p=tls-exporter,,", None, false),
        (&trust, "p=tls-unique,,", Some(vec![0; 12]), false),
    ] {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await.unwrap();
        let binding = named.unwrap_or_else(|| exported(stream.get_ref().1));
        let client = Client { header, binding, ..Client::new("alice", "secret") };
        let mut pop3 = BufStream::new(stream);
        assert!(line(&mut pop3).await.starts_with("+OK"));
        let first = format!("AUTH SCRAM-SHA-256-PLUS {}", STANDARD.encode(client.first()));
        let mut told = ask(&mut pop3, &first).await;
        if let Some(challenge) = told.strip_prefix("+ ") {
            let server_first = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
            let (last, wanted) = client.last(&server_first);
            told = ask(&mut pop3, &STANDARD.encode(last)).await;
            if lets_in {
                assert_eq!(told, format!("+ {}", STANDARD.encode(wanted)));
                told = ask(&mut pop3, "").await;
            }
        }
        assert_eq!(told.starts_with("+OK alice has "), lets_in, "{header}: {told}");
        assert_eq!(told.starts_with("-ERR [AUTH]"), !lets_in, "{header}: {told}");
    }
    services.stop(Duration::ZERO, Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_host_opens_as_many_connections_a_minute_as_it_may_and_an_exempt_one_any_number() {
    let replica = replica_by(Clock::fixed(crate::mail::ids::Timestamp(1_700_000_000_000)));
    let port = free_port().await;
    set(&replica, "limits.connections_per_minute", "3");
    let services = start(&replica, None, &[("smtp", port)]).await;
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Listening).await;
    for _ in 0..5 {
        assert!(line(&mut connect(port).await).await.starts_with("220 "), "loopback is exempt at first");
    }
    set(&replica, "limits.exempt_networks", "");
    for at in 0..5 {
        let said = line(&mut connect(port).await).await;
        assert!(said.starts_with(if at < 3 { "220 " } else { "421 4.7.1 " }), "{at}: {said}");
    }
    replica.clock().advance_ms(60_000);
    set(&replica, "limits.messages_per_minute", "2");
    let mut smtp = connect(port).await;
    assert!(line(&mut smtp).await.starts_with("220 "), "another minute");
    ask(&mut smtp, "EHLO client.example").await;
    for wanted in ["354", "354", "450 4.7.1"] {
        ask(&mut smtp, "MAIL FROM:<a@b.example>").await;
        ask(&mut smtp, "RCPT TO:<alice@example.test>").await;
        let said = ask(&mut smtp, "DATA").await;
        assert!(said.starts_with(wanted), "{said}");
        if wanted == "354" {
            ask(&mut smtp, "Subject: x\r\n\r\nHi.\r\n.").await;
        }
    }
}

#[tokio::test]
async fn a_drained_node_shuts_its_ports_and_opens_them_again() {
    let replica = replica();
    for node in [replica.node(), NodeId(2)] {
        replica.run(Command::AddReplica { node }).unwrap();
        replica.run(Command::MarkInSync { node, complete_to: LogIndex(1_000) }).unwrap();
    }
    let drain = |replica: &MemoryReplica| replica.run(Command::DrainNode { node: replica.node() }).unwrap();
    let undrain =
        |replica: &MemoryReplica| replica.run(Command::UndrainNode { node: replica.node() }).unwrap();
    drain(&replica);
    let port = free_port().await;
    let services = start(&replica, None, &[("smtp", port)]).await;
    until("nothing listens from the start", || services.are_shut()).await;
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Shut).await;
    until_state(&services, ListenerName::Imap, |state| *state == ServiceState::Off).await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());

    undrain(&replica);
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Listening).await;
    let (mut idle, mut busy) = (connect(port).await, connect(port).await);
    for client in [&mut idle, &mut busy] {
        assert!(line(client).await.starts_with("220 "));
    }
    ask(&mut busy, "EHLO client.example").await;
    assert!(ask(&mut busy, "MAIL FROM:<a@b.test>").await.starts_with("250"));
    set(&replica, "cluster.drain_seconds_max", "1");
    drain(&replica);
    assert!(line(&mut idle).await.starts_with("421 4.3.2"));
    assert!(line(&mut busy).await.starts_with("421 4.3.2"), "after a second");
    drop((idle, busy));
    until("everybody has left", || services.are_shut() && services.connections() == 0).await;
    undrain(&replica);
    until_state(&services, ListenerName::Smtp, |state| *state == ServiceState::Listening).await;
    services.stop(Duration::ZERO, Duration::from_secs(60)).await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
}
