//! The far side of a delivery: an SMTP server of the stories' own, that keeps what it takes and fails as it is told.
//!
//! The first word of a recipient's local part says what becomes of him: `no` is refused for good, `later` for now,
//! `drop` breaks the connection after the text, anything else is taken. `later` is taken once [`Sink::relent`] was said.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use crate::ledger::token_of;

/// Moments of one delivery at which a story may stop the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The connection is there, the greeting is not yet sent.
    Connected,
    /// The whole text was heard, nothing was answered.
    Heard,
    /// The mail was taken, and that was said.
    Taken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub content: Vec<u8>,
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    stop_at: Option<Moment>,
    /// How many conversations stand at the moment, waiting to be let go.
    standing: usize,
    relents: bool,
    breaks_off: bool,
}

/// Listens until the process ends.
#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Sink {
    /// In the namespace of the calling thread.
    pub fn start(address: &str) -> Sink {
        let listener = TcpListener::bind(address).expect("the sink's address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let sink = Sink { address, shared: Arc::default() };
        let serving = sink.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let serving = serving.clone();
                // A connection that breaks is what stories are about.
                thread::spawn(move || serving.converse(socket).unwrap_or_default());
            }
        });
        sink
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no conversation panics")
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.lock().taken.clone()
    }

    /// How often each token was taken.
    pub fn copies(&self) -> BTreeMap<String, usize> {
        let mut copies = BTreeMap::new();
        for mail in &self.lock().taken {
            *copies.entry(token_of(&mail.content).unwrap_or_default()).or_default() += 1;
        }
        copies
    }

    /// From now on `later` is taken.
    pub fn relent(&self) {
        self.lock().relents = true;
    }

    /// The next conversations stand still at this moment, until [`Sink::go_on`].
    pub fn stop_at(&self, moment: Moment) {
        self.lock().stop_at = Some(moment);
    }

    pub fn is_standing(&self) -> bool {
        self.standing() > 0
    }

    /// How many conversations stand there.
    pub fn standing(&self) -> usize {
        self.lock().standing
    }

    pub fn go_on(&self) {
        self.let_go(false);
    }

    /// As [`Sink::go_on`], but those that stand there forget what they heard and close.
    pub fn break_off(&self) {
        self.let_go(true);
    }

    fn let_go(&self, breaks_off: bool) {
        let mut state = self.lock();
        (state.stop_at, state.breaks_off) = (None, breaks_off);
        self.shared.1.notify_all();
    }

    /// False: this conversation is to break off.
    fn at(&self, moment: Moment) -> bool {
        let mut state = self.lock();
        if state.stop_at == Some(moment) {
            state.standing += 1;
            while state.stop_at == Some(moment) {
                state = self.shared.1.wait(state).expect("no conversation panics");
            }
            state.standing -= 1;
            return !state.breaks_off;
        }
        true
    }

    fn converse(&self, socket: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        let say = |text: &str| (&socket).write_all(format!("{text}\r\n").as_bytes());
        if !self.at(Moment::Connected) {
            return Ok(());
        }
        say("220 sink.test ESMTP")?;
        let mut mail = Taken { from: String::new(), to: Vec::new(), content: Vec::new() };
        while let Some(line) = line(&mut reader)? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match line.split(' ').next().unwrap_or_default() {
                "EHLO" => say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000")?,
                "MAIL" => {
                    mail = Taken { from: path(), to: Vec::new(), content: Vec::new() };
                    say("250 2.1.0 ok")?;
                }
                "RCPT" if path().starts_with("no") => say("550 5.1.1 no such user")?,
                "RCPT" if path().starts_with("later") && !self.lock().relents => say("450 4.2.0 later")?,
                "RCPT" => {
                    mail.to.push(path());
                    say("250 2.1.5 ok")?;
                }
                "DATA" if mail.to.is_empty() => say("554 5.5.1 no recipients")?,
                "DATA" => {
                    say("354 go on")?;
                    let Some(content) = content(&mut reader)? else { return Ok(()) };
                    mail.content = content;
                    let goes_on = self.at(Moment::Heard);
                    if !goes_on || mail.to.iter().any(|to| to.starts_with("drop")) {
                        return Ok(());
                    }
                    // As a server does that is honest: kept first, then said.
                    self.lock().taken.push(mail.clone());
                    say("250 2.0.0 taken")?;
                    self.at(Moment::Taken);
                }
                "RSET" => say("250 2.0.0 ok")?,
                "QUIT" => return say("221 2.0.0 bye"),
                _ => say("502 5.5.1 what")?,
            }
        }
        Ok(())
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while matches!(line.last(), Some(b'\r' | b'\n')) {
        line.pop();
    }
    Ok(Some(line))
}

/// `None`: the connection broke before the final dot.
fn content(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    while let Some(line) = line(reader)? {
        if line == b"." {
            return Ok(Some(content));
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        content.extend_from_slice(b"\r\n");
    }
    Ok(None)
}
