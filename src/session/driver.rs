//! The one driver: socket, TLS, compression, time and shutdown around a pure machine.
//!
//! It decides nothing of a protocol. Reads are cancel-safe; everything a burst of pipelined commands
//! wrote goes out in one write; every wait has a bound.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use futures_util::future::join;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::channel::ChannelBindings;
use super::login::Standing;
use super::machine::{Machine, Step};
use super::pace::{Pace, bought};
use super::porter::{Welcome, closed, closes};
use super::tls::Acceptor;
use super::wire::Wire;

/// Executes a machine's questions; one per session.
pub trait Backend<M: Machine>: Send {
    fn answer(&mut self, question: M::Question) -> impl Future<Output = M::Answer> + Send;

    /// Resolves when the machine should be stepped though no input came. Must be cancel-safe: the
    /// driver drops it whenever input arrives first. Polled only while [`Machine::wants_news`].
    fn news(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The login that the session lives by, once there is one: the driver ends the session with it.
    fn standing(&self) -> Option<Standing> {
        None
    }
}

/// How the bytes of a connection are protected.
#[derive(Clone)]
pub enum Security {
    /// No TLS at all; the machine was told not to offer STARTTLS.
    Plain,
    /// Clear until the machine says [`Step::StartTls`].
    Offered(Acceptor),
    /// TLS from the first byte.
    Implicit(Acceptor),
}

/// Bounds of one session's waits.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub handshake_ms_max: u64,
    /// All pauses of a client in reading one part of an answer; beyond it, and what its bytes buy at the least
    /// rate below, the session ends.
    pub write_stall_ms_max: u64,
    /// A command, message or answer that moves at this rate is never too slow, however long it is.
    pub rate_bytes_per_second_min: u64,
    /// Time for the farewell to be written and the client to close.
    pub farewell_ms_max: u64,
    /// The same when the node stops, which clients that keep their end open must not hold up.
    pub stop_farewell_ms_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake_ms_max: 15_000,
            write_stall_ms_max: 120_000,
            rate_bytes_per_second_min: 500,
            farewell_ms_max: 2_000,
            stop_farewell_ms_max: 250,
        }
    }
}

/// Why a session ended; for the log.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("closed by the protocol")]
    Closed,
    #[error("the client closed the connection")]
    Hangup,
    #[error("the client was silent, or too slow, for too long")]
    Idle,
    #[error("the node is stopping or drained")]
    Stopped,
    #[error("the user was disabled or removed")]
    LoginEnded,
    #[error("the TLS handshake did not end in time")]
    HandshakeTimeout,
    #[error("TLS: {0}")]
    Handshake(io::Error),
    #[error("the client does not read what it asked for")]
    WriteStalled,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The first read of a quiet session, bytes; doubled while reads fill it. Small, as most sessions idle.
const READ_BYTES_MIN: usize = 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// Output buffers beyond this are given back once they are sent.
const OUT_BYTES_KEPT_MAX: usize = 4 * 1024;
/// Milliseconds that a client waits for a command before the machine may say how far it is (RFC 9585 4: 10 to 15 s).
pub const PATIENCE_MS: u64 = 10_000;
/// Unread bytes thrown away at the end so that our last reply is not overtaken by a reset.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// Runs one session from greeting to end, which comes when the client is no longer welcome.
pub async fn serve_connection<S, M, B>(
    socket: S,
    mut machine: M,
    backend: B,
    security: Security,
    limits: (Bounds, watch::Receiver<Welcome>),
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: Machine,
    B: Backend<M>,
{
    let (bounds, mut welcome) = limits;
    let opened = tokio::select! {
        biased;
        opened = open_wire(socket, security, &bounds, &mut machine) => opened,
        // Nothing was said yet: there is nobody to take leave of.
        () = closed(&mut welcome) => Err(Ended::Stopped),
    };
    let (wire, acceptor) = match opened {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    let session = Session {
        wire,
        machine,
        backend,
        acceptor,
        bounds,
        welcome,
        input: BytesMut::new(),
        out: BytesMut::new(),
        read_bytes: READ_BYTES_MIN,
        heard: Instant::now(),
        pace: Pace::default(),
        standing: None,
        next_notice: Instant::now(),
    };
    session.run().await
}

async fn open_wire<S, M>(
    socket: S,
    security: Security,
    bounds: &Bounds,
    machine: &mut M,
) -> Result<(Wire<S>, Option<Acceptor>), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: Machine,
{
    match security {
        Security::Plain => Ok((Wire::Plain(socket), None)),
        Security::Offered(acceptor) => Ok((Wire::Plain(socket), Some(acceptor))),
        Security::Implicit(acceptor) => Ok((handshake(socket, &acceptor, bounds, machine).await?, None)),
    }
}

async fn handshake<S, M>(
    socket: S,
    acceptor: &Acceptor,
    bounds: &Bounds,
    machine: &mut M,
) -> Result<Wire<S>, Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: Machine,
{
    match timeout(Duration::from_millis(bounds.handshake_ms_max), acceptor.tls.accept(socket)).await {
        Ok(Ok(stream)) => {
            machine.bind_channel(ChannelBindings::of(stream.get_ref().1, acceptor.end_point.clone()));
            Ok(Wire::Tls(Box::new(stream)))
        }
        Ok(Err(error)) => Err(Ended::Handshake(error)),
        Err(_) => Err(Ended::HandshakeTimeout),
    }
}

struct Session<S, M, B> {
    wire: Wire<S>,
    machine: M,
    backend: B,
    acceptor: Option<Acceptor>,
    bounds: Bounds,
    welcome: watch::Receiver<Welcome>,
    input: BytesMut,
    out: BytesMut,
    read_bytes: usize,
    /// When input last came; news do not count as life.
    heard: Instant,
    /// Of the command that the client is in the middle of.
    pace: Pace,
    standing: Option<Standing>,
    /// When the client has waited for too long to be told nothing.
    next_notice: Instant,
}

enum Woken {
    Input(usize),
    News,
    Idle,
    Stopping,
    LoginEnded,
}

impl<S, M, B> Session<S, M, B>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: Machine,
    B: Backend<M>,
{
    async fn run(mut self) -> Ended {
        let mut greeted = self.greet().await;
        let ended = loop {
            match greeted {
                Ok(()) => greeted = self.turn().await,
                Err(ended) => break ended,
            }
        };
        if matches!(ended, Ended::Closed | Ended::Idle | Ended::Stopped | Ended::LoginEnded) {
            let bound = match ended {
                Ended::Stopped => self.bounds.stop_farewell_ms_max,
                _ => self.bounds.farewell_ms_max,
            };
            let _ = timeout(Duration::from_millis(bound), self.part()).await;
        }
        debug!(%ended, "session ended");
        ended
    }

    /// Not before the client was listened to, where the machine wants that.
    async fn greet(&mut self) -> Result<(), Ended> {
        let listens = Duration::from_millis(self.machine.listens_ms());
        if !listens.is_zero() {
            self.input.reserve(READ_BYTES_MIN);
            let mut buffer = (&mut self.input).limit(READ_BYTES_MIN);
            let heard = tokio::select! {
                biased;
                () = closed(&mut self.welcome) => return Err(Ended::Stopped),
                heard = timeout(listens, self.wire.read_buf(&mut buffer)) => heard,
            };
            match heard {
                Ok(Ok(0)) => return Err(Ended::Hangup),
                Ok(Ok(_)) => {
                    self.machine.interrupted(&mut self.out);
                    return Ok(());
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => self.heard = Instant::now(),
            }
        }
        self.machine.open(&mut self.out);
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        match self.machine.step(&mut self.input, &mut self.out) {
            Step::NeedInput => self.need_input().await,
            Step::Ask(question) => self.ask(question).await,
            Step::Flush => self.send().await,
            Step::StartTls => self.start_tls().await,
            Step::Compress => self.compress().await,
            Step::Close => {
                self.send().await?;
                Err(Ended::Closed)
            }
        }
    }

    async fn ask(&mut self, question: M::Question) -> Result<(), Ended> {
        let answer = {
            // The answer is often there at once; only a wait makes sending what we have worthwhile.
            let mut answering = std::pin::pin!(self.backend.answer(question));
            let mut answer = match futures_util::poll!(&mut answering) {
                std::task::Poll::Ready(answer) => Some(answer),
                std::task::Poll::Pending => None,
            };
            loop {
                if self.next_notice <= Instant::now() {
                    self.machine.waited(&mut self.out);
                    self.next_notice = Instant::now() + Duration::from_millis(PATIENCE_MS);
                }
                if let Some(answer) = answer {
                    break answer;
                }
                let sending = send(&mut self.wire, &mut self.out, &self.bounds);
                let (answered, sent) = join(timeout_at(self.next_notice, &mut answering), sending).await;
                sent?;
                answer = answered.ok();
            }
        };
        self.machine.answer(answer, &mut self.out);
        if self.standing.is_none() {
            self.standing = self.backend.standing();
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Ended> {
        send(&mut self.wire, &mut self.out, &self.bounds).await
    }

    async fn need_input(&mut self) -> Result<(), Ended> {
        self.send().await?;
        if !self.machine.is_mid_command() && self.input.is_empty() {
            self.pace = Pace::default();
        }
        let since = Instant::now();
        let woken = self.wait().await?;
        self.next_notice = Instant::now() + Duration::from_millis(PATIENCE_MS);
        let bytes = if let Woken::Input(bytes) = woken { bytes } else { 0 };
        // The pause before a command is not one within it.
        let within = self.machine.is_mid_command() || self.input.len() > bytes;
        // A compressed byte that stands for a thousand buys no more time than any other.
        let sent = self.wire.sent_for(bytes);
        self.pace.note(if within { since.elapsed() } else { Duration::ZERO }, sent);
        match woken {
            Woken::Input(0) => Err(Ended::Hangup),
            Woken::Input(bytes) => {
                self.heard = Instant::now();
                let filled = bytes >= self.read_bytes;
                self.read_bytes = if filled { self.read_bytes * 2 } else { bytes.next_power_of_two() }
                    .clamp(READ_BYTES_MIN, READ_BYTES_MAX);
                Ok(())
            }
            Woken::News => Ok(()),
            Woken::Idle => {
                self.machine.timed_out(&mut self.out);
                self.send_farewell(self.bounds.farewell_ms_max).await;
                Err(Ended::Idle)
            }
            Woken::Stopping => {
                self.machine.shutting_down(&mut self.out);
                self.send_farewell(self.bounds.stop_farewell_ms_max).await;
                Err(Ended::Stopped)
            }
            Woken::LoginEnded => {
                self.machine.login_ended(&mut self.out);
                self.send_farewell(self.bounds.farewell_ms_max).await;
                Err(Ended::LoginEnded)
            }
        }
    }

    /// Waits for the first of: input, news, silence for too long, the login's end, the node's stop.
    async fn wait(&mut self) -> Result<Woken, Ended> {
        let room = self.machine.input_max().saturating_sub(self.input.len());
        if room == 0 {
            // The machine broke its word to make progress on a full buffer; memory stays bounded.
            tracing::error!("a session machine left its input buffer full");
            return Err(Ended::Closed);
        }
        if self.input.is_empty() && self.input.capacity() > READ_BYTES_MIN {
            self.input = BytesMut::new();
        }
        let idle = Duration::from_secs(self.machine.idle_seconds_max());
        let mid_command = self.machine.is_mid_command() || !self.input.is_empty();
        let until = match mid_command {
            true => (self.heard + idle)
                .min(Instant::now() + self.pace.left(idle, self.bounds.rate_bytes_per_second_min)),
            false => self.heard + idle,
        };
        let wants_news = self.machine.wants_news();
        let in_the_middle = self.machine.is_mid_transaction() || !self.input.is_empty();
        let limit = self.read_bytes.min(room);
        self.input.reserve(limit.min(READ_BYTES_MIN));
        let mut buffer = (&mut self.input).limit(limit);
        tokio::select! {
            biased;
            () = leaves(&mut self.welcome, in_the_middle) => Ok(Woken::Stopping),
            // Before any input: what the client sends next is another's to say.
            () = ended(&mut self.standing) => Ok(Woken::LoginEnded),
            read = self.wire.read_buf(&mut buffer) => Ok(Woken::Input(read?)),
            () = self.backend.news(), if wants_news => Ok(Woken::News),
            () = tokio::time::sleep_until(until) => Ok(Woken::Idle),
        }
    }

    async fn start_tls(&mut self) -> Result<(), Ended> {
        self.send().await?;
        // Whatever came in the clear behind STARTTLS may be another's: never read it as protected.
        self.input = BytesMut::new();
        let Some(acceptor) = self.acceptor.take() else {
            tracing::error!("a session machine asked for TLS where none is configured");
            return Err(Ended::Closed);
        };
        let Wire::Plain(socket) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(Ended::Closed);
        };
        self.wire = handshake(socket, &acceptor, &self.bounds, &mut self.machine).await?;
        self.heard = Instant::now();
        self.machine.tls_started();
        Ok(())
    }

    async fn compress(&mut self) -> Result<(), Ended> {
        self.send().await?;
        let early = std::mem::take(&mut self.input);
        self.wire.compress(early);
        Ok(())
    }

    async fn send_farewell(&mut self, ms_max: u64) {
        let _ = timeout(Duration::from_millis(ms_max), self.send()).await;
    }

    /// Closes our side, then reads what the client had under way: a reset would overtake our reply.
    async fn part(&mut self) -> io::Result<()> {
        self.wire.shutdown().await?;
        let mut drained = 0;
        while drained < DRAIN_BYTES_MAX {
            self.input.clear();
            self.input.reserve(READ_BYTES_MIN);
            match self.wire.read_buf(&mut self.input).await? {
                0 => break,
                bytes => drained += bytes,
            }
        }
        Ok(())
    }
}

/// Resolves when the client is to leave: he may end what he is in the middle of, but not for ever. Cancel-safe.
async fn leaves(welcome: &mut watch::Receiver<Welcome>, in_the_middle: bool) {
    match in_the_middle {
        true => closed(welcome).await,
        false => closes(welcome).await,
    }
}

async fn ended(standing: &mut Option<Standing>) {
    match standing {
        Some(standing) => standing.ended().await,
        None => std::future::pending().await,
    }
}

async fn send<S>(wire: &mut Wire<S>, out: &mut BytesMut, bounds: &Bounds) -> Result<(), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if out.is_empty() {
        return Ok(());
    }
    // For the whole of it: a client that takes a byte now and then would hold the session for ever.
    let credit = bought(out.len() as u64, bounds.rate_bytes_per_second_min);
    let until = Instant::now() + Duration::from_millis(bounds.write_stall_ms_max) + credit;
    while !out.is_empty() {
        match timeout_at(until, wire.write(out)).await {
            Ok(Ok(0)) => return Err(Ended::Hangup),
            Ok(Ok(written)) => out.advance(written),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(Ended::WriteStalled),
        }
    }
    if out.capacity() > OUT_BYTES_KEPT_MAX {
        *out = BytesMut::new();
    }
    match timeout_at(until, wire.flush()).await {
        Ok(flushed) => Ok(flushed?),
        Err(_) => Err(Ended::WriteStalled),
    }
}
