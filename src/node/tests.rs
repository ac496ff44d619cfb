//! The rooms above the cluster, composed over a replica in memory: a mail goes in by SMTP and is read by IMAP.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use tokio::net::UnixStream;

use super::*;
use crate::admin::check::Finding;
use crate::admin::control::backup::Job;
use crate::admin::control::client;
use crate::admin::control::firewall::NodeFirewall;
use crate::admin::control::request::{Failure, FailureKind, Quota, Request};
use crate::admin::control::tls_reports::Sent;
use crate::admin::control::trace::Traced;
use crate::admin::status::{Protection, Report};
use crate::admin::{security, upgrade, verify};
use crate::backup::location::{Access, Location};
use crate::clock::Clock;
use crate::cluster::memory::MemoryReplica;
use crate::mail::ids::NodeId;
use crate::maillog::Query;
use crate::policy::rehearsal::{Rehearsal, Told};
use crate::state::lists::Rule;

/// An operator that knows one node and can stop it.
#[derive(Clone)]
struct Alone {
    stop: Stop,
    rooms: Rooms,
}

impl Operator for Alone {
    fn role(&self) -> Role {
        Role::Data
    }

    async fn status(&self) -> Report {
        Report {
            cluster_id: String::new(),
            cluster_version: 1,
            answered_by: "node1".to_owned(),
            leader: Some(1),
            term: 1,
            protection: Protection::Degraded,
            since: "2026-11-21T20:00:00Z".to_owned(),
            because: None,
            alarms: None,
            last_backup: None,
            virtual_addresses: Vec::new(),
            nodes: Vec::new(),
        }
    }

    async fn findings(&self) -> Vec<Finding> {
        operator::findings(&self.status().await, None, &self.rooms.services)
    }

    async fn join_token(&self, _role: Role, _ttl_ms: u64) -> Result<String, Failure> {
        Err(Failure::refused("no others here"))
    }

    async fn transfer(&self, _to: NodeId) -> Result<(), Failure> {
        Err(Failure::refused("no others here"))
    }

    async fn drain(&self, _node: NodeId) -> Result<(), Failure> {
        Err(Failure::refused("no others here"))
    }

    async fn security(&self) -> security::Report {
        security::Report { level: security::Level::Strong, points: 100, weaknesses: Vec::new() }
    }

    async fn upgrade(&self) -> upgrade::Report {
        upgrade::Report { cluster_version: 1, finalize_to: None, waits_for: None, nodes: Vec::new() }
    }

    async fn finalize(&self) -> Result<u32, Failure> {
        Err(Failure::refused("there is no cluster"))
    }

    async fn quarantine(&self) -> Result<(), Failure> {
        unimplemented!("not asked of it here")
    }

    async fn undrain(&self, _node: NodeId) -> Result<(), Failure> {
        Err(Failure::refused("no others here"))
    }

    async fn verify(&self, _bodies: bool) -> Result<verify::Report, Failure> {
        Err(Failure::refused("no others here"))
    }

    async fn remove(&self, _node: NodeId, _lost: bool) -> Result<(), Failure> {
        Err(Failure::refused("no others here"))
    }

    async fn trace(&self, query: Query) -> Traced {
        let found = self.rooms.log.find(query).await.unwrap();
        let events = found.events.into_iter().map(|event| ("node1".to_owned(), event)).collect();
        Traced { events, silent: Vec::new(), more: found.more }
    }

    async fn rehearse(&self, _asked: Rehearsal) -> Result<Told, Failure> {
        Err(Failure::refused("nothing is tried here"))
    }

    fn hits(&self, rule: &Rule) -> u64 {
        self.rooms.services.hits(rule)
    }

    async fn dns_check(&self, _domain: String) -> Result<Vec<Finding>, Failure> {
        Err(Failure::refused("nobody is asked here"))
    }

    async fn firewalls(&self) -> Vec<NodeFirewall> {
        self.rooms.firewall.told().into_iter().collect()
    }

    fn firewall_place(&self) -> Place {
        self.rooms.place.clone()
    }

    async fn report_tls(&self) -> Option<Vec<Sent>> {
        operator::report_tls(&self.rooms).await
    }

    fn is_serving(&self) -> bool {
        self.rooms.services.checks().is_some()
    }

    fn imap(&self, stream: UnixStream) {
        self.rooms.services.attend(stream);
    }

    fn back_up(&self, _to: Location, _access: Option<Box<Access>>) -> Result<u64, Failure> {
        Err(Failure::refused("there is no cluster"))
    }

    fn backup(&self) -> (u64, Job) {
        (0, Job::None)
    }

    fn shutdown(&self) {
        self.stop.send_replace(true);
    }
}

/// Each test has a loopback address of its own, so that they may run side by side.
fn config(dir: &Path, address: &str) -> Config {
    let text = format!("name = \"node1\"\n[listen]\naddress = \"{address}\"\nport_offset = 21000\n");
    Config::parse(&text, &dir.join("pollux.toml")).unwrap()
}

/// Runs the rooms on a thread of their own until the control socket is told `Shutdown`.
fn start(config: &Config) -> std::thread::JoinHandle<Result<(), String>> {
    let config = config.clone();
    std::thread::spawn(move || {
        let runtime = runtime(Role::Data)?;
        runtime.block_on(async {
            let stop: Stop = Arc::new(watch::Sender::new(false));
            let replica = MemoryReplica::new(Clock::system());
            let operator = |rooms| Alone { stop: Arc::clone(&stop), rooms };
            run_rooms(&config, replica, operator, (&stop, None)).await
        })
    })
}

fn wait_for<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while std::time::Instant::now() < end {
        if let Some(value) = ready() {
            return value;
        }
        std::thread::yield_now();
    }
    panic!("it did not come about within a minute");
}

/// A client that speaks lines.
struct Lines {
    write: TcpStream,
    read: BufReader<TcpStream>,
}

impl Lines {
    fn connect(config: &Config, port: u16) -> Self {
        let address = (config.listen.address, config.listen.port_offset + port);
        let write = wait_for(|| TcpStream::connect(address).ok());
        write.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let read = BufReader::new(write.try_clone().unwrap());
        let mut lines = Self { write, read };
        lines.read_line();
        lines
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.read.read_line(&mut line).unwrap();
        line
    }

    /// Sends a line and reads until one starts with `end`.
    fn say(&mut self, line: &str, end: &str) -> String {
        self.write.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut heard = String::new();
        loop {
            let line = self.read_line();
            assert!(!line.is_empty(), "the server hung up after {heard:?}");
            heard.push_str(&line);
            if line.starts_with(end) {
                return heard;
            }
        }
    }
}

#[test]
fn a_mail_goes_in_by_smtp_and_is_read_by_imap() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "127.0.7.1");
    let node = start(&config);
    let ask = |request: Request| client::ask(&config.control_socket, request);
    wait_for(|| ask(Request::DomainList).ok());

    ask(Request::DomainAdd { name: "example.test".to_owned() }).unwrap();
    let password_phc = crate::state::password::hash(b"demo-bob", &[7; 16]);
    ask(Request::UserAdd { name: "bob".to_owned(), password_phc, scram: None, quota: Quota::Default })
        .unwrap();
    ask(Request::PolicySet {
        changes: vec![("auth.plaintext_without_tls".to_owned(), Some("true".to_owned()))],
    })
    .unwrap();

    let mut smtp = Lines::connect(&config, 25);
    smtp.say("EHLO client.test", "250 ");
    smtp.say("MAIL FROM:<alice@elsewhere.test>", "250 ");
    smtp.say("RCPT TO:<bob@example.test>", "250 ");
    smtp.say("DATA", "354 ");
    smtp.say("Subject: first\r\n\r\nthe first mail\r\n.", "250 ");
    smtp.say("QUIT", "221 ");

    let mut imap = Lines::connect(&config, 143);
    imap.say("a LOGIN bob demo-bob", "a OK");
    assert!(imap.say("b SELECT INBOX", "b OK").contains("* 1 EXISTS"));
    assert!(imap.say("c FETCH 1 BODY[TEXT]", "c OK").contains("the first mail"));
    imap.say("d LOGOUT", "d OK");

    assert_eq!(ask(Request::Shutdown).unwrap()["done"], "stopping");
    node.join().unwrap().unwrap();
    assert!(!config.control_socket.exists());
    let gone = ask(Request::DomainList).unwrap_err();
    assert_eq!(gone.kind, FailureKind::Unavailable);
    assert!(gone.message.contains("not running"), "{gone}");
}

#[test]
fn a_used_port_is_one_line_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "127.0.7.2");
    let taken = TcpListener::bind((config.listen.address, config.listen.port_offset + 143)).unwrap();
    let error = start(&config).join().unwrap().unwrap_err();
    assert!(error.contains("imap cannot listen on 127.0.7.2:21143"), "{error}");
    assert!(!error.contains('\n'));
    assert!(!config.control_socket.exists());
    drop(taken);
}
