//! The driver around a machine of a few words, so that what is tested is the driver.

use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

use super::*;
use crate::mail::lines::{Line, LineReader};
use crate::session::compressed::Compressed;
use crate::session::driver::{Backend, Bounds, Ended, Security, serve_connection};
use crate::session::machine::{Machine, Step};
use crate::session::porter::Welcome;

/// `ask X` is answered by the backend, `begin` and `end` bound a transaction, `tls` starts TLS, `compress` compression, `big` says much, `quit` ends; all else is echoed.
struct Words {
    lines: LineReader,
    idle_seconds_max: u64,
    news: bool,
    tls: bool,
    listens_ms: u64,
    mid_transaction: bool,
    /// How often the client waited.
    waited: u32,
}

impl Machine for Words {
    type Question = String;
    type Answer = String;

    fn open(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"hello\n");
    }

    fn listens_ms(&self) -> u64 {
        self.listens_ms
    }

    fn interrupted(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"too early\n");
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
                    b"compress" => {
                        out.extend_from_slice(b"ok\n");
                        return Step::Compress;
                    }
                    b"big" => out.extend_from_slice(&vec![b'x'; 1024 * 1024]),
                    [b'a', b's', b'k', b' ', rest @ ..] => {
                        return Step::Ask(String::from_utf8_lossy(rest).into_owned());
                    }
                    other => {
                        self.mid_transaction = match other {
                            b"begin" => true,
                            b"end" => false,
                            _ => self.mid_transaction,
                        };
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

    fn waited(&mut self, out: &mut BytesMut) {
        self.waited += 1;
        out.extend_from_slice(format!("waited {}\n", self.waited).as_bytes());
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

    fn is_mid_transaction(&self) -> bool {
        self.mid_transaction
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
        match question.strip_prefix("slow ") {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.parse().unwrap())).await,
            None => tokio::task::yield_now().await,
        }
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
    welcome: watch::Sender<Welcome>,
    news: mpsc::Sender<()>,
    ended: tokio::task::JoinHandle<Ended>,
}

fn words() -> Words {
    Words {
        lines: LineReader::default(),
        idle_seconds_max: 600,
        news: false,
        tls: false,
        listens_ms: 0,
        mid_transaction: false,
        waited: 0,
    }
}

fn start(machine: Words, security: Security, bounds: Bounds) -> Session {
    let (client, server) = duplex(4096);
    let (welcome, received) = watch::channel(Welcome::Open);
    let (news, hears) = mpsc::channel(1);
    let backend = Echo { news: hears };
    let ended = tokio::spawn(serve_connection(server, machine, backend, security, (bounds, received)));
    Session { client, welcome, news, ended }
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

/// RFC 9585 4: every ten seconds, however many questions they are spent on; and not for what a client spends.
#[tokio::test(start_paused = true)]
async fn who_waits_for_answers_is_told_so() {
    let mut session = start(words(), Security::Plain, Bounds::default());
    expect(&mut session.client, "hello\n").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    say(&mut session.client, "ask slow 9\n").await;
    expect(&mut session.client, "answer to slow 9\n").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    say(&mut session.client, "ask slow 25\n").await;
    expect(&mut session.client, "waited 1\nwaited 2\nanswer to slow 25\n").await;
    say(&mut session.client, "ask slow 6\nask slow 6\nask slow 6\n").await;
    expect(&mut session.client, "answer to slow 6\nwaited 3\nanswer to slow 6\nanswer to slow 6\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_listened_to_first_is_greeted_late_and_interrupts_only_before() {
    let listening = || Words { listens_ms: 250, ..words() };
    let began = tokio::time::Instant::now();
    let mut session = start(listening(), Security::Plain, Bounds::default());
    expect(&mut session.client, "hello\n").await;
    assert_eq!(began.elapsed(), Duration::from_millis(250));
    say(&mut session.client, "one\n").await;
    expect(&mut session.client, "one\n").await;

    let mut session = start(listening(), Security::Plain, Bounds::default());
    say(&mut session.client, "one\n").await;
    expect(&mut session.client, "too early\none\n").await;

    // Its end, and the node's, are heard meanwhile.
    let session = start(listening(), Security::Plain, Bounds::default());
    drop(session.client);
    assert!(matches!(session.ended.await.unwrap(), Ended::Hangup));
    let session = start(Words { listens_ms: 1_000_000, ..words() }, Security::Plain, Bounds::default());
    session.welcome.send(Welcome::Closed).unwrap();
    assert!(matches!(session.ended.await.unwrap(), Ended::Stopped));
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
    let mut session = start(words(), Security::Offered(store.acceptor().unwrap()), Bounds::default());
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
    let session = start(words(), Security::Implicit(store.acceptor().unwrap()), Bounds::default());
    let name = ServerName::try_from("localhost").unwrap();
    let mut protected = TlsConnector::from(trust).connect(name, session.client).await.unwrap();
    expect(&mut protected, "hello\n").await;
}

#[tokio::test]
async fn a_handshake_that_is_none_or_never_ends_ends_the_session() {
    let (_dir, store, _) = tls();
    let mut garbage = start(words(), Security::Implicit(store.acceptor().unwrap()), Bounds::default());
    say(&mut garbage.client, "EHLO me\r\n").await;
    assert!(matches!(garbage.ended.await.unwrap(), Ended::Handshake(_)));
    let bounds = Bounds { handshake_ms_max: 1, ..Bounds::default() };
    let silent = start(words(), Security::Implicit(store.acceptor().unwrap()), bounds);
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
    stopped.welcome.send(Welcome::Closed).unwrap();
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
    open.welcome.send(Welcome::Closed).unwrap();
    assert!(matches!(open.ended.await.unwrap(), Ended::Stopped));
    expect(&mut open.client, "stopping\n").await;
    let (_dir, store, _) = tls();
    let shaking_hands = start(words(), Security::Implicit(store.acceptor().unwrap()), bounds);
    shaking_hands.welcome.send(Welcome::Closed).unwrap();
    assert!(matches!(shaking_hands.ended.await.unwrap(), Ended::Stopped));
}

#[tokio::test]
async fn who_is_in_the_middle_of_something_may_end_it_before_he_leaves_but_not_for_ever() {
    let idle = start(words(), Security::Plain, Bounds::default());
    let mut busy = start(words(), Security::Plain, Bounds::default());
    let mut slow = start(words(), Security::Plain, Bounds::default());
    // Half a line stays in the driver's buffer, a word with which a transaction begins in the machine.
    say(&mut busy.client, "one\nbegin\n").await;
    expect(&mut busy.client, "hello\none\nbegin\n").await;
    say(&mut slow.client, "one\nhalf").await;
    expect(&mut slow.client, "hello\none\n").await;
    for session in [&idle, &busy, &slow] {
        session.welcome.send(Welcome::Closing).unwrap();
    }
    let mut client = idle.client;
    expect(&mut client, "hello\nstopping\n").await;
    drop(client);
    assert!(matches!(idle.ended.await.unwrap(), Ended::Stopped));
    say(&mut busy.client, "two\nend\n").await;
    expect(&mut busy.client, "two\nend\nstopping\n").await;
    say(&mut slow.client, " a line").await;
    slow.welcome.send(Welcome::Closed).unwrap();
    expect(&mut slow.client, "stopping\n").await;
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

/// What a client says and hears compressed.
fn compressed<W: AsyncRead + AsyncWrite + Unpin>(stream: W) -> Compressed<W> {
    Compressed::new(stream, BytesMut::new())
}

#[tokio::test]
async fn both_sides_compress_from_the_reply_on() {
    let mut session = start(words(), Security::Plain, Bounds::default());
    say(&mut session.client, "compress\n").await;
    expect(&mut session.client, "hello\nok\n").await;
    let mut client = compressed(session.client);
    say(&mut client, "one\nask two\nbig\n").await;
    expect(&mut client, "one\nanswer to two\n").await;
    expect(&mut client, &"x".repeat(1024 * 1024)).await;
    say(&mut client, "quit\n").await;
    expect(&mut client, "bye\n").await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    drop(client);
    assert!(matches!(session.ended.await.unwrap(), Ended::Closed));
}

#[tokio::test]
async fn what_stands_behind_the_command_is_compressed_already() {
    let (mut near, far) = duplex(4096);
    let mut far = compressed(far);
    say(&mut far, "mine\nquit\n").await;
    drop(far);
    let mut behind = b"compress\n".to_vec();
    near.read_to_end(&mut behind).await.unwrap();
    let mut session = start(words(), Security::Plain, Bounds::default());
    session.client.write_all(&behind).await.unwrap();
    expect(&mut session.client, "hello\nok\n").await;
    expect(&mut compressed(session.client), "mine\nbye\n").await;
}

#[tokio::test]
async fn compression_lies_within_tls_and_news_come_through_it() {
    let (_dir, store, trust) = tls();
    let machine = Words { news: true, ..words() };
    let session = start(machine, Security::Implicit(store.acceptor().unwrap()), Bounds::default());
    let name = ServerName::try_from("localhost").unwrap();
    let mut protected = TlsConnector::from(trust).connect(name, session.client).await.unwrap();
    expect(&mut protected, "hello\n[stepped]\n").await;
    say(&mut protected, "compress\n").await;
    expect(&mut protected, "ok\n").await;
    let mut client = compressed(protected);
    expect(&mut client, "[stepped]\n").await;
    session.news.send(()).await.unwrap();
    expect(&mut client, "[stepped]\n").await;
    session.welcome.send(Welcome::Closed).unwrap();
    expect(&mut client, "stopping\n").await;
}

#[tokio::test]
async fn what_is_not_compressed_ends_a_compressed_session() {
    let mut session = start(words(), Security::Plain, Bounds::default());
    say(&mut session.client, "compress\n").await;
    expect(&mut session.client, "hello\nok\n").await;
    say(&mut session.client, "one\none\none\n").await;
    assert!(matches!(session.ended.await.unwrap(), Ended::Io(_)));
}

/// 20 MB of one line in 20 kB: swallowed within the buffer's bound, and others on this one thread go on.
#[tokio::test]
async fn a_bomb_fills_no_memory_and_takes_no_turn_of_others() {
    let mut session = start(words(), Security::Plain, Bounds::default());
    say(&mut session.client, "compress\n").await;
    expect(&mut session.client, "hello\nok\n").await;
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![b'x'; 20_000_000], 6);
    let mut other = start(words(), Security::Plain, Bounds::default());
    expect(&mut other.client, "hello\n").await;
    let (_reads, mut writes) = tokio::io::split(session.client);
    let pouring = tokio::spawn(async move {
        // Without the last bytes, so that the stream does not end.
        let _ = writes.write_all(&bomb[..bomb.len() - 8]).await;
        writes
    });
    let mut slowest = Duration::ZERO;
    while !pouring.is_finished() {
        let asked = std::time::Instant::now();
        say(&mut other.client, "here\n").await;
        expect(&mut other.client, "here\n").await;
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    drop(pouring.await.unwrap());
    assert!(!session.ended.is_finished(), "a line that never ends is swallowed");
}

/// Each byte on the wire stands for a thousand, and buys no more time than one.
#[tokio::test]
async fn compressed_bytes_buy_time_as_they_come_over_the_wire() {
    let bounds = Bounds { rate_bytes_per_second_min: 500, ..Bounds::default() };
    let machine = Words { idle_seconds_max: 1, ..words() };
    let mut session = start(machine, Security::Plain, bounds);
    say(&mut session.client, "compress\n").await;
    expect(&mut session.client, "hello\nok\n").await;
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![b'x'; 1_000_000], 6);
    let began = std::time::Instant::now();
    for byte in &bomb {
        if session.ended.is_finished() || session.client.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // At 500 bytes a second the bomb would have bought half an hour, and its 1,000 bytes here buy two seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(session.client);
    assert!(matches!(session.ended.await.unwrap(), Ended::Idle));
}
