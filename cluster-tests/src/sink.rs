//! The far side of a delivery: an SMTP server of the stories' own, that keeps what it takes and fails as it is told.
//!
//! The first word of a recipient's local part says what becomes of him: `no` is refused for good, `later` for now,
//! `drop` breaks the connection after the text, anything else is taken. `later` is taken once [`Sink::relent`] was said.
//! With a certificate to show ([`Sink::show`]) it offers STARTTLS, and takes mail over TLS and without.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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
    pub over_tls: bool,
    /// The client said REQUIRETLS.
    pub required: bool,
}

/// A chain in DER, the sink's own certificate first, and the key of that in PKCS #8.
#[derive(Debug, Clone)]
pub struct Identity {
    pub chain: Vec<Vec<u8>>,
    pub key: Vec<u8>,
}

impl Identity {
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    pub fn private_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    stop_at: Option<Moment>,
    /// How many conversations stand at the moment, waiting to be let go.
    standing: usize,
    relents: bool,
    breaks_off: bool,
    /// `None`: STARTTLS is not offered.
    tls: Option<Arc<ServerConfig>>,
    promises_tls: bool,
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

    /// From the next conversation on; `None`: no STARTTLS.
    pub fn show(&self, identity: Option<&Identity>) {
        self.lock().tls = identity.map(config);
    }

    /// From now on it offers REQUIRETLS over TLS (RFC 8689), or no longer.
    pub fn promise_tls(&self, promises: bool) {
        self.lock().promises_tls = promises;
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
        if !self.at(Moment::Connected) {
            return Ok(());
        }
        let tls = self.lock().tls.clone();
        let mut clear = BufReader::new(socket);
        say(&mut clear, "220 sink.test ESMTP")?;
        if !self.talk(&mut clear, (tls.is_some(), false))? {
            return Ok(());
        }
        let (Some(config), mut socket) = (tls, clear.into_inner()) else { return Ok(()) };
        let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let mut secret = BufReader::new(StreamOwned::new(connection, socket));
        self.talk(&mut secret, (false, true)).map(drop)
    }

    /// True: TLS is to begin.
    fn talk(
        &self,
        stream: &mut BufReader<impl Read + Write>,
        (offers_tls, over_tls): (bool, bool),
    ) -> io::Result<bool> {
        let mail_of = |from| Taken { from, to: Vec::new(), content: Vec::new(), over_tls, required: false };
        let mut mail = mail_of(String::new());
        while let Some(line) = line(stream)? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match line.split(' ').next().unwrap_or_default() {
                "EHLO" => {
                    let promises = over_tls && self.lock().promises_tls;
                    let tls = match (offers_tls, promises) {
                        (true, _) => "250-STARTTLS\r\n",
                        (false, true) => "250-REQUIRETLS\r\n",
                        (false, false) => "",
                    };
                    say(
                        stream,
                        &format!(
                            "250-sink.test\r\n{tls}250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000"
                        ),
                    )?;
                }
                "STARTTLS" if offers_tls => {
                    say(stream, "220 2.0.0 go on")?;
                    return Ok(true);
                }
                "MAIL" => {
                    mail = mail_of(path());
                    mail.required = line.split(' ').any(|word| word == "REQUIRETLS");
                    say(stream, "250 2.1.0 ok")?;
                }
                "RCPT" if path().starts_with("no") => say(stream, "550 5.1.1 no such user")?,
                "RCPT" if path().starts_with("later") && !self.lock().relents => {
                    say(stream, "450 4.2.0 later")?;
                }
                "RCPT" => {
                    mail.to.push(path());
                    say(stream, "250 2.1.5 ok")?;
                }
                "DATA" if mail.to.is_empty() => say(stream, "554 5.5.1 no recipients")?,
                "DATA" => {
                    say(stream, "354 go on")?;
                    let Some(content) = content(stream)? else { return Ok(false) };
                    mail.content = content;
                    let goes_on = self.at(Moment::Heard);
                    if !goes_on || mail.to.iter().any(|to| to.starts_with("drop")) {
                        return Ok(false);
                    }
                    // As a server does that is honest: kept first, then said.
                    self.lock().taken.push(mail.clone());
                    say(stream, "250 2.0.0 taken")?;
                    self.at(Moment::Taken);
                }
                "RSET" => say(stream, "250 2.0.0 ok")?,
                "QUIT" => return say(stream, "221 2.0.0 bye").map(|()| false),
                _ => say(stream, "502 5.5.1 what")?,
            }
        }
        Ok(false)
    }
}

fn say(stream: &mut BufReader<impl Read + Write>, text: &str) -> io::Result<()> {
    stream.get_mut().write_all(format!("{text}\r\n").as_bytes())?;
    stream.get_mut().flush()
}

/// Of a server that shows this.
pub fn config(identity: &Identity) -> Arc<ServerConfig> {
    let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.expect("the key is that of the certificate"))
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
