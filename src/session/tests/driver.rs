//! The driver around a machine of a few words, so that what is tested is the driver.

use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

use super::*;
use crate::mail::lines::{Line, LineReader};
use crate::session::driver::{Backend, Bounds, Ended, Security, serve_connection};
use crate::session::machine::{Machine, Step};

/// `ask X` is answered by the backend, `tls` starts TLS, `big` says much, `quit` ends; all else is echoed.
struct Words {
    lines: LineReader,
    idle_seconds_max: u64,
    news: bool,
    tls: bool,
}

impl Machine for Words {
    type Question = String;
    type Answer = String;

    fn open(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"hello\n");
    }

    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step<String> {
        loop {
            match self.lines.take(input, 100) {
                Line::Partial => {
                    if self.news && input.is_empty() {
                        out.extend_from_slice(b"[stepped]\n");
                    }
                    return Step::NeedInput;
                }
                Line::TooLong => out.extend_from_slice(b"too long\n"),
                Line::Whole(line) => match &line[..] {
                    b"quit" => {
                        out.extend_from_slice(b"bye\n");
                        return Step::Close;
                    }
                    b"tls" => {
                        out.extend_from_slice(b"go\n");
                        return Step::StartTls;
                    }
                    b"big" => out.extend_from_slice(&vec![b'x'; 1024 * 1024]),
                    [b'a', b's', b'k', b' ', rest @ ..] => {
                        return Step::Ask(String::from_utf8_lossy(rest).into_owned());
                    }
                    other => {
                        let secure: &[u8] = if self.tls { b"tls:" } else { b"" };
                        out.extend_from_slice(&[secure, other, b"\n"].concat());
                    }
                },
            }
        }
    }

    fn answer(&mut self, answer: String, out: &mut BytesMut) {
        out.extend_from_slice(format!("{answer}\n").as_bytes());
    }

    fn tls_started(&mut self) {
        self.tls = true;
    }

    fn timed_out(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"silent\n");
    }

    fn shutting_down(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"stopping\n");
    }

    fn login_ended(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"out\n");
    }

    fn idle_seconds_max(&self) -> u64 {
        self.idle_seconds_max
    }

    fn input_max(&self) -> usize {
        100
    }

    fn is_mid_command(&self) -> bool {
        self.lines.is_swallowing()
    }

    fn wants_news(&self) -> bool {
        self.news
    }
}

struct Echo {
    news: mpsc::Receiver<()>,
}

impl Backend<Words> for Echo {
    async fn answer(&mut self, question: String) -> String {
        tokio::task::yield_now().await;
        format!("answer to {question}")
    }

    async fn news(&mut self) {
        if self.news.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

struct Session {
    client: DuplexStream,
    stop: watch::Sender<bool>,
    news: mpsc::Sender<()>,
    ended: tokio::task::JoinHandle<Ended>,
}

fn words() -> Words {
    Words { lines: LineReader::default(), idle_seconds_max: 600, news: false, tls: false }
}

fn start(machine: Words, security: Security, bounds: Bounds) -> Session {
    let (client, server) = duplex(4096);
    let (stop, stopping) = watch::channel(false);
    let (news, hears) = mpsc::channel(1);
    let backend = Echo { news: hears };
    let ended = tokio::spawn(serve_connection(server, machine, backend, security, (bounds, stopping)));
    Session { client, stop, news, ended }
}

async fn expect(stream: &mut (impl AsyncRead + Unpin), text: &str) {
    let mut said = vec![0; text.len()];
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut said)).await;
    read.expect("the server says something").unwrap();
    assert_eq!(String::from_utf8_lossy(&said), text);
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

#[tokio::test]
async fn commands_are_answered_in_order_and_the_end_is_heard() {
    let mut session = start(words(), Security::Plain, Bounds::default());
    say(&mut session.client, "one\nask two\nthree\nquit\nfour\n").await;
    expect(&mut session.client, "hello\none\nanswer to two\nthree\nbye\n").await;
    assert_eq!(session.client.read(&mut [0]).await.unwrap(), 0);
    drop(session.client);
    assert!(matches!(session.ended.await.unwrap(), Ended::Closed));
}

#[tokio::test]
async fn what_is_said_before_the_handshake_is_not_heard_after_it() {
    let (_dir, store, trust) = tls();
    let mut session = start(words(), Security::Offered(store.acceptor()), Bounds::default());
    expect(&mut session.client, "hello\n").await;
    // In one write, so that both lines are in the driver's buffer together.
    say(&mut session.client, "tls\ninjected\n").await;
    expect(&mut session.client, "go\n").await;
    let name = ServerName::try_from("localhost").unwrap();
    let mut protected = TlsConnector::from(trust).connect(name, session.client).await.unwrap();
    say(&mut protected, "mine\nquit\n").await;
    expect(&mut protected, "tls:mine\nbye\n").await;
}

#[tokio::test]
async fn implicit_tls_greets_inside() {
    let (_dir, store, trust) = tls();
    let session = start(words(), Security::Implicit(store.acceptor()), Bounds::default());
    let name = ServerName::try_from("localhost").unwrap();
    let mut protected = TlsConnector::from(trust).connect(name, session.client).await.unwrap();
    expect(&mut protected, "hello\n").await;
}

#[tokio::test]
async fn a_handshake_that_is_none_or_never_ends_ends_the_session() {
    let (_dir, store, _) = tls();
    let mut garbage = start(words(), Security::Implicit(store.acceptor()), Bounds::default());
    say(&mut garbage.client, "EHLO me\r\n").await;
    assert!(matches!(garbage.ended.await.unwrap(), Ended::Handshake(_)));
    let bounds = Bounds { handshake_ms_max: 1, ..Bounds::default() };
    let silent = start(words(), Security::Implicit(store.acceptor()), bounds);
    assert!(matches!(silent.ended.await.unwrap(), Ended::HandshakeTimeout));
}

#[tokio::test]
async fn silence_and_the_nodes_stop_are_told() {
    let mut idle = start(Words { idle_seconds_max: 0, ..words() }, Security::Plain, Bounds::default());
    expect(&mut idle.client, "hello\nsilent\n").await;
    drop(idle.client);
    assert!(matches!(idle.ended.await.unwrap(), Ended::Idle));
    let mut stopped = start(words(), Security::Plain, Bounds::default());
    expect(&mut stopped.client, "hello\n").await;
    stopped.stop.send(true).unwrap();
    expect(&mut stopped.client, "stopping\n").await;
    drop(stopped.client);
    assert!(matches!(stopped.ended.await.unwrap(), Ended::Stopped));
}

#[tokio::test]
async fn a_client_that_keeps_its_end_open_does_not_hold_up_the_nodes_stop() {
    let never = 86_400_000;
    let bounds = Bounds {
        stop_farewell_ms_max: 1,
        farewell_ms_max: never,
        handshake_ms_max: never,
        ..Bounds::default()
    };
    let mut open = start(words(), Security::Plain, bounds);
    expect(&mut open.client, "hello\n").await;
    open.stop.send(true).unwrap();
    assert!(matches!(open.ended.await.unwrap(), Ended::Stopped));
    expect(&mut open.client, "stopping\n").await;
    let (_dir, store, _) = tls();
    let shaking_hands = start(words(), Security::Implicit(store.acceptor()), bounds);
    shaking_hands.stop.send(true).unwrap();
    assert!(matches!(shaking_hands.ended.await.unwrap(), Ended::Stopped));
}

#[tokio::test]
async fn news_wake_a_session_that_wants_them() {
    let mut session = start(Words { news: true, ..words() }, Security::Plain, Bounds::default());
    expect(&mut session.client, "hello\n[stepped]\n").await;
    session.news.send(()).await.unwrap();
    expect(&mut session.client, "[stepped]\n").await;
    say(&mut session.client, "still here\n").await;
    expect(&mut session.client, "still here\n").await;
}

/// A rate that nobody reaches: bytes buy no time.
const NO_CREDIT: u64 = u64::MAX;

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let bounds = Bounds { write_stall_ms_max: 1, rate_bytes_per_second_min: NO_CREDIT, ..Bounds::default() };
    let mut session = start(words(), Security::Plain, bounds);
    expect(&mut session.client, "hello\n").await;
    say(&mut session.client, "big\n").await;
    assert!(matches!(session.ended.await.unwrap(), Ended::WriteStalled));
}

#[tokio::test]
async fn a_client_that_reads_a_byte_at_a_time_is_cut_off_though_it_reads() {
    let bounds =
        Bounds { write_stall_ms_max: 200, rate_bytes_per_second_min: NO_CREDIT, ..Bounds::default() };
    let mut session = start(words(), Security::Plain, bounds);
    expect(&mut session.client, "hello\n").await;
    say(&mut session.client, "big\n").await;
    // A mebibyte at this pace would take hours.
    while !session.ended.is_finished() {
        assert_eq!(session.client.read(&mut [0]).await.unwrap(), 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(session.ended.await.unwrap(), Ended::WriteStalled));
}

#[tokio::test]
async fn a_command_that_comes_a_byte_at_a_time_has_no_more_time_than_silence_has() {
    let bounds = Bounds { rate_bytes_per_second_min: NO_CREDIT, ..Bounds::default() };
    let machine = Words { idle_seconds_max: 1, ..words() };
    let mut session = start(machine, Security::Plain, bounds);
    expect(&mut session.client, "hello\n").await;
    // Beyond 100 bytes the line is swallowed; that is within the command too.
    while !session.ended.is_finished() && session.client.write_all(b"xxxx").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    expect(&mut session.client, "silent\n").await;
    drop(session.client);
    assert!(matches!(session.ended.await.unwrap(), Ended::Idle));
}

#[tokio::test]
async fn pauses_between_commands_never_add_up() {
    let bounds = Bounds { rate_bytes_per_second_min: NO_CREDIT, ..Bounds::default() };
    let mut session = start(Words { idle_seconds_max: 2, ..words() }, Security::Plain, bounds);
    expect(&mut session.client, "hello\n").await;
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        say(&mut session.client, "here\n").await;
        expect(&mut session.client, "here\n").await;
    }
}

#[tokio::test]
async fn a_line_of_a_hundred_mebibytes_is_swallowed() {
    let mut session = start(words(), Security::Plain, Bounds::default());
    expect(&mut session.client, "hello\n").await;
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..100 {
        session.client.write_all(&piece).await.unwrap();
    }
    say(&mut session.client, "\nquit\n").await;
    expect(&mut session.client, "too long\nbye\n").await;
}

#[tokio::test]
async fn half_a_line_and_a_hangup_end_the_session() {
    let mut session = start(words(), Security::Plain, Bounds::default());
    say(&mut session.client, "half a li").await;
    drop(session.client);
    assert!(matches!(session.ended.await.unwrap(), Ended::Hangup | Ended::Io(_)));
}
