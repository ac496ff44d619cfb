//! One house with two users, of whom alice gets the mail, and sessions in it that are driven without sockets.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::cluster::memory::MemoryReplica;
use crate::cluster::replica::Replica;
use crate::mail::ids::{AccountId, Timestamp};
use crate::session::driver::Backend;
use crate::session::imap::limits::NEWS_PACE_MS;
use crate::session::imap::{ImapBackend, Session, SummaryCache, Terms};
use crate::session::login::{LoginBounds, Logins};
use crate::session::machine::{Machine, Peer, Step};
use crate::state::command::{Command, Deliver, DeliverTo, NewUser};
use crate::state::outcome::Outcome;
use crate::state::scram_keys::{ITERATIONS_MIN, NewScramKeys, ScramKeys};

pub const MESSAGE_BYTES_MAX: u64 = 100_000;

pub struct House {
    pub replica: MemoryReplica,
    pub account: AccountId,
    logins: Arc<Logins>,
    summaries: Arc<SummaryCache>,
    /// Of sessions that begin from now on (RFC 9738).
    pub message_limit: Option<usize>,
}

impl House {
    pub fn new() -> Self {
        let clock = Clock::fixed(Timestamp(1_700_000_000_000));
        let replica = MemoryReplica::new(clock.clone());
        let added = ["alice", "bob"].map(|name| {
            let clear = format!("demo-{name}");
            let user = NewUser { name: name.into(), password_phc: phc(&clear), quota_bytes: None };
            let keys = ScramKeys::derive(&clear, [1; 16], ITERATIONS_MIN);
            let keys = Box::new(NewScramKeys { keys, stand_in_secret: [2; 32] });
            replica.run(Command::AddUserWithScram { user, keys }).unwrap()
        });
        let Outcome::UserAdded { account } = added[0] else { panic!("{added:?}") };
        let setting = ("smtp.message_bytes_max".to_owned(), Some(MESSAGE_BYTES_MAX.to_string()));
        replica.run(Command::SetSettings { changes: vec![setting] }).unwrap();
        let bounds = LoginBounds { refusal_delay_ms: 0, ..LoginBounds::default() };
        let logins = Arc::new(Logins::new(replica.clone(), bounds));
        Self { replica, account, logins, summaries: Arc::new(SummaryCache::new()), message_limit: None }
    }

    pub fn deliver(&self, mailbox: &str, raw: &str) {
        self.deliver_bytes(mailbox, raw.as_bytes());
    }

    pub fn deliver_bytes(&self, mailbox: &str, raw: &[u8]) {
        let body = self.replica.put_body(Bytes::copy_from_slice(raw));
        let to = DeliverTo { account: self.account, mailbox: mailbox.into(), flags: Default::default() };
        let outcome = self.replica.run(Command::Deliver(Deliver { body, to: vec![to] })).unwrap();
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    }

    pub fn session(&self, tls: bool) -> Driven {
        self.begin(tls, false)
    }

    /// The operator's, on the control socket.
    pub fn operators_session(&self) -> Driven {
        self.begin(false, true)
    }

    fn begin(&self, tls: bool, external: bool) -> Driven {
        let directory = self.replica.watch_directory();
        let terms = Terms {
            banner: "Pollux ready".into(),
            starttls: !tls && !external,
            plaintext_without_tls: false,
            scram: true,
            external,
            message_bytes_max: Arc::new(move || directory.borrow().settings().smtp_message_bytes_max()),
            message_limit: self.message_limit,
            login_seconds_max: 180,
            idle_seconds_max: 1_800,
        };
        let peer = Peer { address: Some("192.0.2.1:1".parse().unwrap()), tls };
        let mut session = Driven {
            machine: Session::new(peer, terms, self.replica.clock().clone()),
            backend: ImapBackend::new(
                self.replica.clone(),
                self.logins.clone(),
                (self.summaries.clone(), Arc::default()),
            ),
            input: BytesMut::new(),
            out: BytesMut::new(),
            sent: Vec::new(),
            closed: false,
            slow: false,
            out_bytes_max: 0,
        };
        session.machine.open(&mut session.out);
        session.flush();
        session
    }
}

/// Cheap parameters: what is tested is not argon2.
fn phc(password: &str) -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let salt = SaltString::encode_b64(b"a fixed salt").unwrap();
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

/// A session driven by hand.
pub struct Driven {
    pub machine: Session,
    pub backend: ImapBackend<MemoryReplica>,
    pub input: BytesMut,
    out: BytesMut,
    /// All that went to the client and was not looked at yet.
    pub sent: Vec<u8>,
    pub closed: bool,
    /// The client has always waited for a while when something is asked.
    pub slow: bool,
    /// The most that was gathered between two flushes.
    pub out_bytes_max: usize,
}

impl Driven {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.run().await;
    }

    /// Wakes the session if it wants to hear of news and there are some. Call it where time is paused.
    pub async fn hear(&mut self) {
        let pace = Duration::from_millis(NEWS_PACE_MS);
        while self.machine.wants_news() && timeout(pace, self.backend.news()).await.is_ok() {
            self.run().await;
        }
    }

    async fn run(&mut self) {
        while !self.closed {
            let step = self.machine.step(&mut self.input, &mut self.out);
            self.flush();
            match step {
                Step::NeedInput => {
                    assert!(self.input.len() < self.machine.input_max(), "no progress on a full buffer");
                    break;
                }
                Step::Ask(question) => {
                    if self.slow {
                        self.machine.waited(&mut self.out);
                    }
                    let answer = self.backend.answer(question).await;
                    self.machine.answer(answer, &mut self.out);
                }
                Step::Flush => {}
                Step::StartTls => {
                    self.sent.extend_from_slice(b"(TLS)\r\n");
                    self.input.clear();
                    self.machine.tls_started();
                }
                Step::Compress => self.sent.extend_from_slice(b"(compressed)\r\n"),
                Step::Close => {
                    self.closed = true;
                    self.sent.extend_from_slice(b"(closed)\r\n");
                }
            }
        }
    }

    fn flush(&mut self) {
        self.out_bytes_max = self.out_bytes_max.max(self.out.len());
        self.sent.extend_from_slice(&self.out.split());
    }

    pub fn take_sent(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.sent)).into_owned()
    }
}
