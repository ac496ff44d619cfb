//! IMAP sessions against a replica in memory. The first byte chooses: any bytes at any pace, or commands one by
//! one from two sessions and a mail that comes in between, where each command must get one tagged answer, every
//! response must be grammar, and message numbers must add up as a client counts them.

use std::sync::Arc;

use pollux::cluster::replica::Replica;
use pollux::session::driver::Backend;
use pollux::session::imap::grammar::literal_at_end;
use pollux::session::imap::question::{Answer, Question};
use pollux::session::imap::{ImapBackend, Session, SummaryCache, Terms};
use pollux::session::machine::{Machine, Peer};

use super::dice::Dice;
use super::drive::Driven;
use super::house::{self, House};
use super::responses::{self, Response, show};

const MESSAGE_BYTES_MAX: u64 = 40_000;
/// One chunk of output and the largest thing that may come on top of it: the structure of a message, many times as long.
const GATHERED_BYTES_MAX: usize = 4 << 20;
const COMMANDS_MAX: usize = 200;
const SESSIONS_MAX: usize = 6;
const PACES: [usize; 4] = [usize::MAX, 1, 7, 1000];
const FIRST: &[u8] =
    b"From: Al <al@x.test>\r\nSubject: first\r\nDate: Wed, 17 Jul 1996 02:23:25 -0700\r\n\r\nbody\r\n";
const SECOND: &[u8] =
    b"To: a@b, \"c\" <d@e>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n\
    --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n=C3=BC\r\n--b--\r\n";

type Answering = Box<dyn FnMut(Question) -> Answer>;

pub fn run(bytes: &[u8]) {
    let Some((&mode, script)) = bytes.split_first() else { return };
    if mode & 1 == 1 {
        return one_by_one(script);
    }
    let pace = PACES[usize::from(mode >> 2 & 3)];
    let said = any_bytes(mode & 2 == 2, script, pace);
    if mode & 16 == 16 && pace != usize::MAX && said.is_some() {
        assert!(said == any_bytes(mode & 2 == 2, script, usize::MAX), "the answer depends on the pace");
    }
}

/// What was said, unless it was too much.
fn any_bytes(logged_in: bool, script: &[u8], pace: usize) -> Option<Vec<u8>> {
    let house = furnished();
    let mut session = session(&house, logged_in);
    if logged_in {
        session.feed(b"l LOGIN alice secret\r\ns SELECT INBOX\r\n", usize::MAX);
    }
    session.feed(script, pace);
    let said = session.take_said();
    if session.cut_short {
        return None;
    }
    responses::split(&said);
    Some(said)
}

fn furnished() -> House {
    let house = House::new();
    assert!(house.deliver("INBOX", FIRST) && house.deliver("INBOX", SECOND));
    house
}

fn session(house: &House, tls: bool) -> Driven<Session, Answering> {
    let terms = Terms {
        banner: "ready".into(),
        starttls: !tls,
        plaintext_without_tls: false,
        external: false,
        scram: true,
        message_bytes_max: Arc::new(|| MESSAGE_BYTES_MAX),
        login_seconds_max: 180,
        idle_seconds_max: 1_800,
        message_limit: None,
    };
    let peer = Peer { address: Some("192.0.2.1:1".parse().expect("an address")), tls };
    let mut backend = ImapBackend::new(
        house.replica.clone(),
        house::logins(),
        (Arc::new(SummaryCache::new()), Arc::default()),
    );
    let answer: Answering = Box::new(move |question| match question {
        Question::Keys(login) => Answer::Keys(house::keys(&login)),
        Question::Login(claim) => Answer::Login(house::login(&claim)),
        question => house::block_on(backend.answer(question)),
    });
    let machine = Session::new(peer, terms, house.replica.clock().clone());
    Driven::new(machine, GATHERED_BYTES_MAX, answer)
}

/// A line is a command of the first session; `~` makes it the second's, `!` a mail that comes in.
fn one_by_one(script: &[u8]) {
    let house = furnished();
    let mut clients = [Client::log_in(&house), Client::log_in(&house)];
    let mut dice = Dice::new(script);
    for _ in 0..COMMANDS_MAX {
        if dice.is_empty() {
            return;
        }
        let line = line_of(&mut dice);
        let (at, line) = match line.split_first() {
            Some((b'!', mail)) => {
                house.deliver("INBOX", mail);
                continue;
            }
            Some((b'~', line)) => (1, line),
            _ => (0, line),
        };
        clients[at].say(&house, line, &mut dice);
    }
}

/// What a client knows, who counts only what it was told.
struct Client {
    session: Driven<Session, Answering>,
    sessions: usize,
    tags: u32,
    /// Messages of the selected mailbox.
    exists: u32,
}

impl Client {
    fn log_in(house: &House) -> Self {
        let mut client = Self { session: session(house, true), sessions: 1, tags: 0, exists: 0 };
        client.greet();
        client
    }

    fn greet(&mut self) {
        self.exists = 0;
        self.session.feed(b"l LOGIN alice secret\r\ns SELECT INBOX\r\n", usize::MAX);
        let said = self.session.take_said();
        for response in responses::split(&said) {
            self.exists = response.numbered(b"EXISTS").unwrap_or(self.exists);
        }
    }

    fn say(&mut self, house: &House, line: &[u8], dice: &mut Dice) {
        if self.session.ended {
            if self.sessions == SESSIONS_MAX {
                return;
            }
            self.sessions += 1;
            self.session = session(house, true);
            self.greet();
        }
        // After NOTIFY it hears between commands, too.
        if self.session.machine.wants_news() {
            self.session.run();
            let news = self.session.take_said();
            if self.session.cut_short {
                return;
            }
            self.count(b"", &responses::split(&news));
        }
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        let mut said = Vec::new();
        let mut part = [tag.as_bytes(), b" ", line].concat();
        loop {
            let literal = literal_at_end(&part);
            self.session.feed(&[&part[..], b"\r\n"].concat(), usize::MAX);
            said.extend(self.session.take_said());
            if self.session.cut_short {
                return;
            }
            let Some((_, size, waits)) = literal else { break };
            if waits && !last_is_continuation(&said) {
                break;
            }
            if size > MESSAGE_BYTES_MAX * 2 {
                // Nobody sends all that; the session is left in the middle.
                self.sessions = SESSIONS_MAX;
                self.session.ended = true;
                return;
            }
            let mut literal = dice.exactly(size as usize).to_vec();
            literal.resize(size as usize, b'x');
            self.session.feed(&literal, usize::MAX);
            part = line_of(dice).to_vec();
        }
        // IDLE and SASL wait for more; a mail comes in meanwhile. IDLE may have told of others behind its continuation.
        let (listens, waits) = (self.session.machine.wants_news(), waits_for_more(&said, &tag));
        if !self.session.ended {
            if listens && house.deliver("INBOX", FIRST) {
                self.session.run();
            }
            if waits {
                self.session.feed(if listens { b"DONE\r\n" } else { b"*\r\n" }, usize::MAX);
            }
            said.extend(self.session.take_said());
        }
        if self.session.cut_short {
            return;
        }
        self.hear(&tag, line, &said);
    }

    fn hear(&mut self, tag: &str, line: &[u8], said: &[u8]) {
        let responses = responses::split(said);
        let tagged: Vec<usize> =
            (0..responses.len()).filter(|at| responses[*at].lead() == tag.as_bytes()).collect();
        let strange =
            responses.iter().find(|it| !matches!(it.lead(), b"*" | b"+") && it.lead() != tag.as_bytes());
        assert!(strange.is_none(), "{}: somebody else's tag: {}", show(line), show(said));
        if self.session.ended {
            assert!(tagged.len() <= 1, "{}: {}", show(line), show(said));
        } else {
            assert_eq!(tagged.len(), 1, "one answer to {}: {}", show(line), show(said));
        }
        let (answer, news) = responses.split_at(tagged.first().map_or(responses.len(), |at| at + 1));
        let may_hear = news.is_empty() || self.session.ended || self.session.machine.wants_news();
        assert!(may_hear, "it says more than the answer to {}: {}", show(line), show(said));
        self.count(line, answer);
        self.count(b"", news);
    }

    fn count(&mut self, line: &[u8], responses: &[Response]) {
        let word = line.split(|byte| *byte == b' ' || *byte == b'\r').next().unwrap_or_default();
        let word = word.to_ascii_uppercase();
        // RFC 9051 7.5.1: none of these may renumber what the client is asking about.
        let fixed = matches!(&word[..], b"FETCH" | b"STORE" | b"SEARCH");
        // RFC 9051 6.3.2: whatever was selected is no more, unless the command could not be read.
        let understood = responses.last().is_some_and(|last| last.word(1) != b"BAD");
        if matches!(&word[..], b"SELECT" | b"EXAMINE") && understood {
            self.exists = 0;
        }
        for response in responses {
            if let Some(number) = response.numbered(b"EXISTS") {
                assert!(number >= self.exists, "EXISTS went down: {}", show(response.whole));
                self.exists = number;
            } else if let Some(number) = response.numbered(b"EXPUNGE") {
                assert!(!fixed, "an EXPUNGE in the answer to {}", show(line));
                assert!((1..=self.exists).contains(&number), "{} of {}", show(response.whole), self.exists);
                self.exists -= 1;
            } else if let Some(gone) = vanished(response) {
                assert!(!fixed, "a VANISHED in the answer to {}", show(line));
                assert!(gone <= self.exists, "{} of {}", show(response.whole), self.exists);
                self.exists -= gone;
            } else if let Some(number) = response.numbered(b"FETCH") {
                assert!((1..=self.exists).contains(&number), "{} of {}", show(response.whole), self.exists);
            }
        }
    }
}

/// It has asked the client to go on, and not answered the command.
fn waits_for_more(said: &[u8], tag: &str) -> bool {
    let responses = responses::split(said);
    responses.iter().any(|it| it.lead() == b"+") && !responses.iter().any(|it| it.lead() == tag.as_bytes())
}

/// Scripts end their lines as they like.
fn line_of<'a>(dice: &mut Dice<'a>) -> &'a [u8] {
    let line = dice.line();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// How many messages are gone by a VANISHED that is not about earlier ones (RFC 7162 3.2.10).
fn vanished(response: &Response) -> Option<u32> {
    if response.word(1) != b"VANISHED" || response.word(2) == b"(EARLIER)" {
        return None;
    }
    let set = std::str::from_utf8(response.word(2)).expect("a set of UIDs");
    let count = |range: &str| {
        let uid = |text: &str| text.parse::<u32>().expect("a UID");
        range.split_once(':').map_or(1, |(from, to)| uid(to) - uid(from) + 1)
    };
    Some(set.trim_end().split(',').map(count).sum())
}

fn last_is_continuation(said: &[u8]) -> bool {
    responses::split(said).last().is_some_and(|response| response.lead() == b"+")
}
