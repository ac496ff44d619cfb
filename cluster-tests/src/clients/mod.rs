//! The crowd: clients of every protocol on every data node, each of whose calls goes into the history.
//!
//! What one client writes alone (a life, a folder) it stops touching once a call's fate is unknown; what
//! several write at once (the shared messages) is judged by its whole history.

mod aliases;
mod drops;
mod folders;
mod limits;
mod lives;
mod mail;
mod reader;
mod shared;

pub use limits::{LIMITED, QUOTA, SETTING, answer, is_over_quota, question};
pub use lives::changed;
pub use mail::BEFORE_THE_TEXT;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{Cluster, password};
use crate::history::{Host, Op, Recorder, Seen, Session};
use crate::imap::Imap;
use crate::ledger::message;
use crate::node::pollux;

/// Milliseconds between two calls of one client, at most.
const PACE_MS_MAX: u64 = 60;
/// A node that does not hear from the leader lets a login wait for at least so long, 250 ms, before it goes on with what it has.
const BARRIER_US_MIN: u64 = 200_000;
/// Octets of a message's text.
const FILLER_MAX: usize = 4_000;

/// All clients of one history.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

/// How a node is reached, and how often its process was started: nemesis counts.
#[derive(Clone)]
pub struct Door {
    node: String,
    smtp: SocketAddr,
    imap: SocketAddr,
    pop3: SocketAddr,
    /// The operator's.
    socket: PathBuf,
    life: Arc<AtomicU32>,
}

impl Door {
    pub fn of(node: &crate::node::Node) -> Door {
        let (smtp, imap, pop3) = (node.smtp(), node.imap(), node.pop3());
        let (node, socket) = (node.name.clone(), node.dir.join("control.sock"));
        Door { node, smtp, imap, pop3, socket, life: Arc::default() }
    }

    /// To be called when the old process is gone and the new one is not yet there.
    pub fn begin_life(&self) {
        self.life.fetch_add(1, Ordering::SeqCst);
    }

    pub fn host(&self) -> Host {
        Host { node: self.node.clone(), life: self.life.load(Ordering::SeqCst) }
    }
}

impl Crowd {
    /// Starts them, on `doors` (those of the data nodes).
    pub fn start(doors: &[Door], recorder: &Recorder, seed: u64) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let pools = ["alice", "bob"].map(|user| (user, shared::Pool::default()));
        let mut clients = Vec::new();
        for (at, door) in doors.iter().enumerate() {
            let desk = |kind: &str, user: &str| {
                let name = format!("{kind}{at}{user}");
                let dice = fastrand::Rng::with_seed(
                    seed ^ name
                        .bytes()
                        .fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))),
                );
                let (door, recorder, stop) = (door.clone(), recorder.clone(), stop.clone());
                Desk { name, user: user.to_string(), door, recorder, stop, dice, messages: 0 }
            };
            let mut begin = |desk: Desk, work: fn(Desk)| {
                clients.push(std::thread::spawn(move || work(desk)));
            };
            begin(desk("smtp", "anyone"), mail::work);
            begin(desk("life", "alice"), lives::work);
            begin(desk("life", "bob"), lives::work);
            begin(desk("folder", "bob"), folders::work);
            begin(desk("pop3", "carol"), drops::work);
            begin(desk("reader", "alice"), reader::work);
            begin(desk("quota", LIMITED), limits::fill);
            let operator = desk("operator", "anyone");
            clients.push(std::thread::spawn(move || limits::set(operator, at)));
            let (names, doors) = (desk("alias", "anyone"), doors.to_vec());
            clients.push(std::thread::spawn(move || aliases::work(names, &doors)));
            for (user, pool) in &pools {
                let (desk, pool) = (desk("shared", user), pool.clone());
                clients.push(std::thread::spawn(move || shared::work(desk, &pool)));
            }
        }
        Crowd { stop, clients }
    }

    /// Stops them; what they are in the middle of is still recorded.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client does not panic");
        }
    }
}

/// Doors to the data nodes.
pub fn doors(cluster: &Cluster) -> Vec<Door> {
    cluster.data_nodes().iter().map(Door::of).collect()
}

/// One client's own things.
pub struct Desk {
    name: String,
    user: String,
    door: Door,
    recorder: Recorder,
    stop: Arc<AtomicBool>,
    dice: fastrand::Rng,
    messages: usize,
}

impl Desk {
    /// True until told to stop. Paces the client: the histories are many calls over a long time, not a load.
    fn goes_on(&mut self) -> bool {
        std::thread::sleep(Duration::from_millis(self.dice.u64(1..=PACE_MS_MAX)));
        !self.stop.load(Ordering::Relaxed)
    }

    /// Lets so many turns pass, unless told to stop.
    fn rest(&mut self, turns: usize) {
        let _ = (0..turns).all(|_| self.goes_on());
    }

    /// A connection, and the process that is behind it.
    fn connect<T>(&self, connect: impl FnOnce() -> io::Result<T>) -> Option<(T, Session)> {
        let host = self.door.host();
        let connection = connect().ok()?;
        (self.door.host() == host).then_some((connection, Session { host, current_us: 0 }))
    }

    /// The same by a login. One that had to do without the leader's word has waited for it.
    fn log_in<T>(&self, login: impl FnOnce() -> io::Result<T>) -> Option<(T, Session)> {
        let asked_us = self.recorder.now_us();
        let (connection, session) = self.connect(login)?;
        let heard = self.recorder.now_us() - asked_us < BARRIER_US_MIN;
        Some((connection, Session { current_us: if heard { asked_us } else { 0 }, ..session }))
    }

    fn imap(&self) -> Option<(Imap, Session)> {
        self.log_in(|| Imap::login(self.door.imap, &self.user, &password(&self.user)))
    }

    fn call(&self, session: &Session, op: Op, call: impl FnOnce() -> io::Result<Seen>) -> io::Result<Seen> {
        self.recorder.call(&self.name, session, op, call)
    }

    /// An operator's command on the node's own socket, as a call; `seen` makes an answer of what it prints.
    fn operate(&self, op: Op, command: &[&str], seen: impl FnOnce(&str) -> Option<Seen>) -> io::Result<()> {
        let session = Session { host: self.door.host(), current_us: 0 };
        let socket = self.door.socket.display().to_string();
        let words = [&["--socket", socket.as_str()], command].concat();
        self.call(&session, op, || {
            let output = pollux(&words, None, None);
            let said = String::from_utf8_lossy(&output.stdout);
            let seen = if output.status.success() { seen(&said) } else { None };
            seen.ok_or_else(|| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        })?;
        Ok(())
    }

    /// A token that nobody else uses and from which the whole message can be told, and that message.
    fn compose(&mut self) -> (String, usize, Vec<u8>) {
        self.messages += 1;
        let filler = self.dice.usize(..FILLER_MAX);
        let token = format!("{}-{}-{filler}", self.name, self.messages);
        let content = message(&token, filler);
        (token, filler, content)
    }

    /// APPEND of a new message, as a call. Returns its token, UIDVALIDITY and UID.
    fn append(
        &mut self,
        imap: &mut Imap,
        session: &Session,
        mailbox: &str,
        flags: &[String],
    ) -> io::Result<(String, u32, u32)> {
        let (token, filler, content) = self.compose();
        let op = Op::Append {
            user: self.user.clone(),
            mailbox: mailbox.to_string(),
            token: token.clone(),
            filler,
            flags: flags.to_vec(),
        };
        let append = || {
            let (validity, uid) = imap.append_flagged(mailbox, flags, &content)?;
            Ok(Seen::At { validity, uid })
        };
        match self.call(session, op, append)? {
            Seen::At { validity, uid } => Ok((token, validity, uid)),
            other => unreachable!("APPEND tells a place, not {other:?}"),
        }
    }

    /// Some flags, sorted, without \Deleted.
    fn some_flags(&mut self) -> Vec<String> {
        let all = ["$Label1", "$Label2", "\\Answered", "\\Flagged", "\\Seen"];
        let chosen = self.dice.u8(1..32);
        let flags = all.iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0);
        flags.map(|(_, flag)| (*flag).to_string()).collect()
    }
}

/// The message that `token` was composed for, to the octet. `None`: no client made that token.
pub fn content_of(token: &str) -> Option<Vec<u8>> {
    let filler = token.rsplit_once('-')?.1.parse().ok().filter(|filler| *filler < FILLER_MAX)?;
    Some(message(token, filler))
}
