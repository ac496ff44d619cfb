//! SMTP and LMTP sessions. The first byte chooses: any bytes at two paces, or one mail by DATA or BDAT, whose text is
//! the fuzzer's. There a model of a few lines says where the text ends, whether it is accepted and with which octets.

use std::cell::RefCell;
use std::rc::Rc;

use pollux::cluster::replica::Fault;
use pollux::mail::address::{ForwardPath, ReversePath};
use pollux::mail::ids::{AccountId, Timestamp};
use pollux::session::machine::Peer;
use pollux::session::smtp::body::TEXT_LINE_BYTES_MAX;
use pollux::session::smtp::listed::Opening;
use pollux::session::smtp::machine::{Answer, Question, Verdict};
use pollux::session::smtp::received::Stamp;
use pollux::session::smtp::reply;
use pollux::session::smtp::{Flavor, Policy, Smtp};
use pollux::state::routing::LocalTarget;

use super::dice::Dice;
use super::drive::Driven;
use super::house;
use super::responses::show;
use super::smtp_desk::{HOPS_MAX, MESSAGE_BYTES_MAX, RECIPIENTS_MAX, plain};

/// Replies to a buffer full of pipelined EHLO.
const GATHERED_BYTES_MAX: usize = 4 << 20;
/// RFC 5321 4.5.3.1.5.
const REPLY_LINE_BYTES_MAX: usize = 512;
const PACES: [usize; 4] = [usize::MAX, 1, 7, 1000];

type Answering = Box<dyn FnMut(Question) -> Answer>;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let mode = dice.byte();
    let flavor = [Flavor::Mx, Flavor::Submission, Flavor::Lmtp][usize::from(mode >> 2) % 3];
    let pace = PACES[usize::from(mode >> 4 & 3)];
    match mode & 3 {
        0 | 1 => any_bytes(flavor, mode & 1 == 1, dice.rest(), pace),
        2 => by_data(flavor, &mut dice, pace),
        _ => by_bdat(flavor, &mut dice, pace),
    }
}

/// What the backend saw.
#[derive(Default)]
struct World {
    body: Option<Vec<u8>>,
    /// Text and number of recipients.
    mails: Vec<(Vec<u8>, usize)>,
}

type Shared = Rc<RefCell<World>>;

fn session(flavor: Flavor, tls: bool) -> (Driven<Smtp, Answering>, Shared) {
    let auth_required = flavor == Flavor::Submission;
    let policy = Policy { auth_required, auth_without_tls: false, scram: true, ..plain(flavor) };
    let world = Shared::default();
    let seen = world.clone();
    let peer = Peer { address: Some("192.0.2.1:4711".parse().expect("an address")), tls };
    let answer: Answering = Box::new(move |question| seen.borrow_mut().answer(question));
    (Driven::new(Smtp::new(policy, peer), GATHERED_BYTES_MAX, answer), world)
}

impl World {
    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Keys(login) => Answer::Keys(house::keys(&login)),
            Question::Login(claim) => Answer::Login(house::login(&claim)),
            Question::Delay { .. } => panic!("asked of strangers alone"),
            Question::Sender { from, .. } => Answer::Sender(opening(&from)),
            Question::Recipient { path, .. } => Answer::Recipient(verdict(&path)),
            Question::BeginBody(_) => {
                assert!(self.body.is_none(), "the body before was neither delivered nor given up");
                self.body = Some(Vec::new());
                Answer::Begun(Ok(Stamp { at: Timestamp(0), id: "ID1".into() }))
            }
            Question::BodyChunk(bytes) => Answer::Chunk(self.push(&bytes)),
            Question::Deliver { last, to, .. } => {
                let pushed = self.push(&last);
                let text = self.body.take().expect("a body was begun");
                if pushed.is_err() {
                    return Answer::Delivered(Err(Fault::NoQuorum));
                }
                let bytes_max = MESSAGE_BYTES_MAX as usize + 10_000;
                assert!(text.len() <= bytes_max, "{} octets taken in", text.len());
                assert!(!to.is_empty() && to.len() <= RECIPIENTS_MAX as usize);
                self.mails.push((text, to.len()));
                let full = |targets: &Vec<LocalTarget>| targets.iter().any(|target| target.account.0 == 9);
                let result = |targets| if full(targets) { Err(reply::FULL) } else { Ok(()) };
                Answer::Delivered(Ok(to.iter().map(result).collect()))
            }
            Question::AbandonBody => {
                assert!(self.body.take().is_some(), "nothing to give up");
                Answer::Abandoned
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let body = self.body.as_mut().expect("a body was begun");
        body.extend_from_slice(bytes);
        let fault = body.windows(10).rev().take(bytes.len() + 10).any(|part| part == b"DISK-FAULT");
        if fault { Err(Fault::Disk("full".into())) } else { Ok(()) }
    }
}

fn opening(from: &ReversePath) -> Result<Opening, Fault> {
    let ReversePath::Address(from) = from else { return Ok(Opening::Stranger) };
    Ok(match from.local() {
        "trusted" => Opening::Trusted,
        "unsure" => Opening::Unsure,
        "fault" => return Err(Fault::NoQuorum),
        _ => Opening::Stranger,
    })
}

fn verdict(path: &ForwardPath) -> Result<Verdict, Fault> {
    let accept = |account| Verdict::Accept(vec![LocalTarget { account: AccountId(account), detail: None }]);
    let ForwardPath::Address(address) = path else { return Ok(accept(1)) };
    Ok(match address.local() {
        "full" => accept(9),
        "unknown" => Verdict::Unknown,
        "out" => Verdict::Outbound,
        "relay" => Verdict::Relay { local: vec![], remote: vec![address.clone()] },
        "fault" => return Err(Fault::NoQuorum),
        _ => accept(1),
    })
}

fn any_bytes(flavor: Flavor, tls: bool, script: &[u8], pace: usize) {
    let play = |pace| {
        let (mut session, world) = session(flavor, tls);
        if flavor == Flavor::Submission && tls {
            session.feed(b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", usize::MAX);
        }
        session.feed(script, pace);
        let said = session.take_said();
        if session.cut_short {
            return None;
        }
        replies(&said);
        let mails = std::mem::take(&mut world.borrow_mut().mails);
        Some((said, mails))
    };
    let seen = play(pace);
    if pace != usize::MAX && seen.is_some() {
        assert!(seen == play(usize::MAX), "the answer depends on the pace");
    }
}

/// Reads replies, strictly; one entry for each, with its code.
pub fn replies(said: &[u8]) -> Vec<u32> {
    let mut codes = Vec::new();
    let mut rest = said;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a reply ends in CRLF");
        let line = &rest[..end];
        assert!(end + 2 <= REPLY_LINE_BYTES_MAX, "a reply of {end} octets: {}", show(line));
        assert!(!line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')), "{}", show(line));
        let code: u32 =
            std::str::from_utf8(&line[..3]).ok().and_then(|code| code.parse().ok()).expect("a code");
        assert!((200..600).contains(&code), "{}", show(line));
        match line.get(3) {
            Some(b' ') | None => codes.push(code),
            Some(b'-') => {}
            Some(_) => panic!("{}", show(line)),
        }
        rest = &rest[end + 2..];
    }
    codes
}

/// A session with a transaction and `recipients` recipients.
fn addressed(flavor: Flavor, recipients: usize) -> (Driven<Smtp, Answering>, Shared) {
    let (mut session, world) = session(flavor, true);
    session.feed(if flavor == Flavor::Lmtp { b"LHLO c\r\n" } else { b"EHLO c\r\n" }, usize::MAX);
    if flavor == Flavor::Submission {
        session.feed(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", usize::MAX);
    }
    session.feed(b"MAIL FROM:<a@b.example>\r\n", usize::MAX);
    for _ in 0..recipients {
        session.feed(b"RCPT TO:<alice@example.test>\r\n", usize::MAX);
    }
    session.take_said();
    (session, world)
}

fn by_data(flavor: Flavor, dice: &mut Dice, pace: usize) {
    let recipients = 1 + dice.below(RECIPIENTS_MAX as usize);
    let sent = [dice.rest(), b"\r\n.\r\n"].concat();
    // RFC 5321 4.1.1.4: nothing but CRLF.CRLF ends the text, of which DATA's own CRLF may be the first.
    let end = match sent.starts_with(b".\r\n") {
        true => 3,
        false => sent.windows(5).position(|five| five == b"\r\n.\r\n").expect("sent at the end") + 5,
    };
    let text = unstuffed(&sent[..end - 3]);
    let (mut session, world) = addressed(flavor, recipients);
    session.feed(b"DATA\r\n", pace);
    assert_eq!(replies(&session.take_said()), [354]);
    session.feed(&sent[..end - 1], pace);
    assert!(session.said.is_empty(), "an answer before the end of the text: {}", show(&session.said));
    session.feed(&sent[end - 1..end], pace);
    check(&mut session, &world, &Expected { text: &text, added: 0, flavor, recipients });
    // Whatever follows is commands, and none of them is this text's.
    session.feed(&sent[end..], pace);
    replies(&session.take_said());
}

pub fn unstuffed(sent: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut line_start = true;
    for (at, byte) in sent.iter().enumerate() {
        if !(line_start && *byte == b'.') {
            text.push(*byte);
        }
        line_start = sent[..=at].ends_with(b"\r\n");
    }
    text
}

fn by_bdat(flavor: Flavor, dice: &mut Dice, pace: usize) {
    let recipients = 1 + dice.below(RECIPIENTS_MAX as usize);
    let (mut session, world) = addressed(flavor, recipients);
    let mut text = Vec::new();
    loop {
        let chunk = dice.bytes(usize::MAX);
        let last = dice.is_empty();
        let end = if last { " LAST" } else { "" };
        text.extend_from_slice(chunk);
        session.feed(format!("BDAT {}{end}\r\n", chunk.len()).as_bytes(), pace);
        session.feed(chunk, pace);
        if last {
            break;
        }
        if replies(&session.take_said()) != [250] {
            // Refused at a chunk that is not the last: the transaction is over, and the text is no mail.
            assert!(!is_accepted(&text, false), "a good chunk was refused");
            assert!(world.borrow().mails.is_empty());
            return session.feed(b"NOOP\r\n", pace);
        }
    }
    // A last line without its end gets one.
    let is_open = !text.is_empty() && !text.ends_with(b"\n") && !text.ends_with(b"\r");
    let added = if is_open { 2 } else { 0 };
    text.extend_from_slice(&b"\r\n"[..added]);
    check(&mut session, &world, &Expected { text: &text, added, flavor, recipients });
}

/// The text as it should be kept; `added` octets at its end are the server's.
struct Expected<'a> {
    text: &'a [u8],
    added: usize,
    flavor: Flavor,
    recipients: usize,
}

fn check(session: &mut Driven<Smtp, Answering>, world: &Shared, expected: &Expected) {
    let Expected { text, added, flavor, recipients } = *expected;
    let codes = replies(&session.take_said());
    let replies_due = if flavor == Flavor::Lmtp { recipients } else { 1 };
    assert_eq!(codes.len(), replies_due, "one reply for each recipient, or for the mail: {codes:?}");
    let kept = as_kept(text, flavor);
    let fault = kept.windows(10).any(|part| part == b"DISK-FAULT");
    let accepted = is_accepted(&text[..text.len() - added], true) && !fault;
    assert!(codes.iter().all(|code| (*code == 250) == accepted), "{codes:?} to {}", show(text));
    assert!(world.borrow().body.is_none());
    let mails = std::mem::take(&mut world.borrow_mut().mails);
    assert_eq!(mails.len(), usize::from(accepted), "mails from one text");
    if let Some((mail, to)) = mails.first() {
        assert!(mail.ends_with(&kept) && *to == recipients, "{} became {}", show(&kept), show(mail));
        let trace = &mail[..mail.len() - kept.len()];
        assert!(trace.starts_with(b"Return-Path: <a@b.example>\r\nReceived: "), "{}", show(trace));
        // What a user hands in gets a Date and a Message-ID where it has none.
        let end = trace
            .split(|byte| *byte == b'\n')
            .rev()
            .find(|line| !line.starts_with(b"Message-ID: <") && !line.is_empty());
        assert!(end.is_some_and(|end| end.ends_with(b" +0000\r")), "{}", show(trace));
    }
    session.feed(b"NOOP\r\n", usize::MAX);
    assert_eq!(replies(&session.take_said()), [250], "the session is out of step");
}

/// RFC 6409 8.1 and RFC 5322 3.6.3: what a user hands in loses its Bcc fields, with all of their lines.
fn as_kept(text: &[u8], flavor: Flavor) -> Vec<u8> {
    let (mut kept, mut in_header, mut is_blind) = (Vec::new(), flavor == Flavor::Submission, false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        in_header &= line != b"\r\n";
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|byte| *byte == b':').next().filter(|name| name.len() < line.len());
            let is =
                |field: &[u8]| name.is_some_and(|name| name.trim_ascii_end().eq_ignore_ascii_case(field));
            is_blind = is(b"Bcc") || is(b"Resent-Bcc");
        }
        if !(in_header && is_blind) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// The rules of `smtp/body.rs`, by the plainest means.
pub fn is_accepted(text: &[u8], is_whole: bool) -> bool {
    let bare = (0..text.len()).any(|at| match text[at] {
        0 => true,
        b'\n' => at == 0 || text[at - 1] != b'\r',
        b'\r' if at + 1 == text.len() => is_whole,
        b'\r' => text[at + 1] != b'\n',
        _ => false,
    });
    let lines = || text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let header = lines().take_while(|line| !line.is_empty());
    let is_hop = |line: &&[u8]| line.len() >= 9 && line[..9].eq_ignore_ascii_case(b"received:");
    !bare
        && text.len() as u64 <= MESSAGE_BYTES_MAX
        && lines().all(|line| line.len() <= TEXT_LINE_BYTES_MAX)
        && header.filter(is_hop).count() as u64 <= HOPS_MAX
}
