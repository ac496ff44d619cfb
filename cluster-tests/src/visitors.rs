//! Clients that work without a break and go elsewhere when they are told to leave, as mail programs and servers do. All
//! they send is in the ledger; how each connection ended is written down.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{Cluster, DOMAIN, USERS, password};
use crate::imap::Imap;
use crate::ledger::{Fate, Ledger, Message, message};
use crate::node::Node;
use crate::pop3::Pop3;
use crate::smtp::{Sent, Smtp};
use crate::wait::eventually;

/// How a server of SMTP, IMAP or POP3 ends a connection that it must end.
const FAREWELLS: [&str; 3] = ["421 4.3.2", "* BYE", "-ERR [SYS/TEMP]"];

/// How a connection ended, and on which node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub node: String,
    pub how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// With 421 or BYE, between two commands.
    Told(String),
    /// The port was shut.
    Shut,
    /// The server said no to a command that was well, for now or for good.
    Refused(String),
    /// Without a word.
    Torn(String),
}

pub struct Visitors {
    ledger: Ledger,
    ends: Arc<Mutex<Vec<End>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One client: where it goes, first door first.
struct Visitor {
    name: String,
    doors: Vec<Door>,
    ledger: Ledger,
    ends: Arc<Mutex<Vec<End>>>,
    stop: Arc<AtomicBool>,
    dice: fastrand::Rng,
    sent: usize,
}

#[derive(Clone)]
struct Door {
    node: String,
    smtp: SocketAddr,
    imap: SocketAddr,
    pop3: SocketAddr,
}

impl Door {
    fn of(node: &Node) -> Self {
        Self { node: node.name.clone(), smtp: node.smtp(), imap: node.imap(), pop3: node.pop3() }
    }
}

impl Visitors {
    /// Two of SMTP and two of IMAP that prefer each data node.
    pub fn start(cluster: &Cluster, ledger: Ledger, seed: u64) -> Self {
        Self::at(cluster.data_nodes(), ledger, seed)
    }

    pub fn at(nodes: &[Node], ledger: Ledger, seed: u64) -> Self {
        eprintln!("visitors: seed {seed}");
        let mut visitors = Self { ledger, ends: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for first in 0..nodes.len() {
            for number in 0..2 {
                let seed = (seed, number * 16 + first as u64);
                visitors.begin(nodes, (first, "smtp"), seed, Visitor::by_smtp);
                visitors.begin(nodes, (first, "imap"), (seed.0, seed.1 + (1 << 20)), Visitor::by_imap);
            }
        }
        visitors
    }

    /// And one of POP3 that prefers each data node, and reads what came last.
    pub fn with_pop3(mut self, cluster: &Cluster) -> Self {
        let nodes = cluster.data_nodes();
        for first in 0..nodes.len() {
            self.begin(nodes, (first, "pop3"), (0, first as u64), Visitor::by_pop3);
        }
        self
    }

    /// One that works by `stay` at the door of `nodes[first]`, or else at the next.
    fn begin(
        &mut self,
        nodes: &[Node],
        (first, kind): (usize, &str),
        (seed, number): (u64, u64),
        stay: fn(&mut Visitor, &Door) -> How,
    ) {
        let visitor = Visitor {
            name: format!("s{seed}{kind}{number}"),
            doors: (0..nodes.len()).map(|at| Door::of(&nodes[(first + at) % nodes.len()])).collect(),
            ledger: self.ledger.clone(),
            ends: self.ends.clone(),
            stop: self.stop.clone(),
            dice: fastrand::Rng::with_seed(seed ^ number),
            sent: 0,
        };
        self.threads.push(std::thread::spawn(move || visitor.visit(stay)));
    }

    /// Waits until `count` further messages have been acknowledged.
    pub fn wait_for(&self, count: usize) {
        let target = self.ledger.acknowledged() + count;
        eventually(&format!("{count} more messages are acknowledged"), || {
            (self.ledger.acknowledged() >= target).then_some(())
        });
    }

    /// All of them leave; how each connection had ended before.
    pub fn finish(self) -> Vec<End> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a visitor does not panic");
        }
        self.ends.lock().expect("no visitor panics while it holds the list").clone()
    }
}

/// Panics with those that were torn or refused.
pub fn were_clean(ends: &[End]) {
    let clean = |end: &&End| !matches!(end.how, How::Told(_) | How::Shut);
    let unclean: Vec<&End> = ends.iter().filter(clean).collect();
    assert!(
        unclean.is_empty(),
        "{} of {} ends: {:#?}",
        unclean.len(),
        ends.len(),
        &unclean[..unclean.len().min(9)]
    );
}

/// How often a connection to this node ended by its word.
pub fn told(ends: &[End], node: &Node) -> usize {
    ends.iter().filter(|end| end.node == node.name && matches!(end.how, How::Told(_))).count()
}

impl Visitor {
    /// From the first door on, and from the next whenever one ends.
    fn visit(mut self, stay: fn(&mut Self, &Door) -> How) {
        let doors = self.doors.clone();
        for door in doors.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let how = stay(&mut self, door);
            // The visitor's own farewell is nobody's fault.
            if !self.stop.load(Ordering::Relaxed) {
                let mut ends = self.ends.lock().expect("no visitor panics while it holds the list");
                // A port that stays shut is one end, not thousands.
                if how != How::Shut || ends.last().is_none_or(|last| last.how != How::Shut) {
                    ends.push(End { node: door.node.clone(), how });
                }
            }
        }
    }

    /// True until told to stop. Paces the visitor: what it sends is read back in the end.
    fn goes_on(&self) -> bool {
        std::thread::sleep(Duration::from_millis(15));
        !self.stop.load(Ordering::Relaxed)
    }

    fn compose(&mut self) -> (String, &'static str, Vec<u8>) {
        self.sent += 1;
        let token = format!("{}-{}", self.name, self.sent);
        let content = message(&token, self.dice.usize(..5_000));
        (token, USERS[self.dice.usize(..USERS.len())], content)
    }

    fn by_smtp(&mut self, door: &Door) -> How {
        let mut smtp = match Smtp::connect(door.smtp) {
            Ok(smtp) => smtp,
            Err(error) => return how(&error),
        };
        while self.goes_on() {
            let (token, user, content) = self.compose();
            let (sent, said) = smtp.send(&[&format!("{user}@{DOMAIN}")], &content);
            let fate = match sent {
                Sent::Acknowledged => Fate::Acknowledged,
                Sent::Refused => Fate::Refused,
                Sent::Unknown => Fate::Unknown,
            };
            self.ledger.record(&token, Message::new(user, "INBOX", fate, content));
            if let Err(error) = said {
                // A word that came before what could not be sent any longer.
                return match (how(&error), smtp.reply("421")) {
                    (How::Torn(_), Ok(word)) => How::Told(word),
                    (how, _) => how,
                };
            }
        }
        How::Told("left".to_owned())
    }

    fn by_imap(&mut self, door: &Door) -> How {
        let (_, user, _) = self.compose();
        let mut imap = match Imap::connect(door.imap) {
            Ok(imap) => imap,
            Err(error) => return how(&error),
        };
        for line in [format!("LOGIN {user} {}", password(user)), "SELECT Archive".to_owned()] {
            if let Err(how) = self.ask(&mut imap, format!("x {line}\r\n").as_bytes()) {
                return how;
            }
        }
        while self.goes_on() {
            let (token, _, content) = self.compose();
            let mut command = format!("x APPEND Archive {{{}+}}\r\n", content.len()).into_bytes();
            command.extend_from_slice(&content);
            command.extend_from_slice(b"\r\n");
            let appended = self.ask(&mut imap, &command);
            let fate = match &appended {
                Ok(()) => Fate::Acknowledged,
                Err(How::Refused(text)) if !text.contains("UNAVAILABLE") => Fate::Refused,
                Err(_) => Fate::Unknown,
            };
            self.ledger.record(&token, Message::new(user, "Archive", fate, content));
            let seen = appended.and_then(|()| self.ask(&mut imap, b"x NOOP\r\n"));
            if let Err(how) = seen {
                return how;
            }
        }
        How::Told("left".to_owned())
    }

    fn by_pop3(&mut self, door: &Door) -> How {
        while self.goes_on() {
            let user = USERS[self.dice.usize(..USERS.len())];
            if let Err(error) = read_last(door.pop3, user) {
                return how(&error);
            }
        }
        How::Told("left".to_owned())
    }

    /// Whole, with a literal that need not be asked for, so that each command gets one answer.
    fn ask(&self, imap: &mut Imap, command: &[u8]) -> Result<(), How> {
        let sent = imap.raw(command);
        loop {
            let line = match (imap.response(), &sent) {
                (Ok(line), _) => line.text,
                (Err(_), Err(error)) => return Err(how(error)),
                (Err(error), Ok(())) => return Err(how(&error)),
            };
            if line.starts_with("* BYE") {
                return Err(How::Told(line));
            }
            match line.strip_prefix("x ") {
                Some(answer) if answer.starts_with("OK") => return Ok(()),
                Some(answer) => return Err(How::Refused(answer.to_owned())),
                None => {}
            }
        }
    }
}

/// A session: how many there are, and the last of them.
fn read_last(at: SocketAddr, user: &str) -> io::Result<()> {
    let mut pop3 = Pop3::login(at, user, &password(user))?;
    let said = pop3.command("STAT")?;
    let count = said.split(' ').nth(1).unwrap_or("0");
    if count != "0" {
        pop3.listing(&format!("RETR {count}"))?;
    }
    pop3.command("QUIT").map(drop)
}

fn how(error: &io::Error) -> How {
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => How::Shut,
        io::ErrorKind::PermissionDenied if FAREWELLS.iter().any(|word| text.starts_with(word)) => {
            How::Told(text)
        }
        io::ErrorKind::PermissionDenied => How::Refused(text),
        _ => How::Torn(text),
    }
}
