//! ManageSieve sessions. The first byte chooses: any bytes at two paces, or commands one by one, each of which has one
//! answer, whose strings read back, and after which the scripts are those of a plain model.

use std::collections::BTreeMap;

use pollux::session::machine::Peer;
use pollux::session::managesieve::machine::{Answer, NotDone, Question};
use pollux::session::managesieve::{ManageSieve, Policy};
use pollux::state::outcome::Refusal;
use pollux::state::sieve::{SCRIPT_BYTES_MAX, ScriptRecord, is_script_name};

use super::dice::Dice;
use super::drive::Driven;
use super::house;
use super::responses::show;

/// A script, and what is gathered before it.
const GATHERED_BYTES_MAX: usize = SCRIPT_BYTES_MAX + (64 << 10);
const COMMANDS_MAX: usize = 200;
const PACES: [usize; 4] = [usize::MAX, 1, 7, 1000];
const LOGIN: &[u8] = b"AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\n";

type Answering = Box<dyn FnMut(Question) -> Answer>;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let mode = dice.byte();
    if mode & 1 == 1 {
        return one_by_one(&mut dice);
    }
    let pace = PACES[usize::from(mode >> 2 & 3)];
    let play = |pace| {
        let mut session = session();
        if mode & 2 == 2 {
            session.feed(LOGIN, usize::MAX);
        }
        session.feed(dice.rest(), pace);
        let said = session.take_said();
        (!session.cut_short).then_some(said)
    };
    let said = play(pace);
    if let Some(said) = &said {
        ends(said);
    }
    if pace != usize::MAX && said.is_some() {
        assert!(said == play(usize::MAX), "the answer depends on the pace");
    }
}

fn session() -> Driven<ManageSieve, Answering> {
    let policy = Policy {
        hostname: "mx.example.test".into(),
        tls_offered: true,
        login_without_tls: false,
        scram: true,
        idle_seconds_max: 1_800,
        login_seconds_max: 180,
    };
    let peer = Peer { address: Some("192.0.2.1:4711".parse().expect("an address")), tls: true };
    let mut shelf = Shelf::default();
    Driven::new(ManageSieve::new(policy, peer), GATHERED_BYTES_MAX, Box::new(move |it| shelf.answer(it)))
}

/// Scripts, and the active one. A text with an `x` is no script.
#[derive(Default)]
struct Shelf {
    scripts: BTreeMap<String, String>,
    active: Option<String>,
}

impl Shelf {
    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Keys(login) => Answer::Keys(house::keys(&login)),
            Question::Login(claim) => Answer::Login(house::login(&claim)),
            Question::List => {
                let record = |(name, text): (&String, &String)| ScriptRecord {
                    name: name.clone(),
                    bytes: text.len() as u32,
                    active: self.active.as_ref() == Some(name),
                };
                Answer::Scripts(Ok(self.scripts.iter().map(record).collect()))
            }
            Question::Get(name) => Answer::Script(Ok(self.scripts.get(&name).cloned())),
            Question::Check(text) => Answer::Done(check(&text)),
            Question::Put { name, text } => Answer::Done(self.put(name, text)),
            Question::Activate(name) => {
                let found = name.as_ref().map_or(Ok(()), |name| self.find(name));
                Answer::Done(found.map(|()| self.active = name))
            }
            Question::Delete(name) => Answer::Done(self.take(&name, false).map(drop)),
            Question::Rename { from, to } => Answer::Done(self.rename(&from, to)),
        }
    }

    fn find(&self, name: &str) -> Result<(), NotDone> {
        assert!(is_script_name(name), "asked for {name:?}");
        let missing = || NotDone::Refused(Refusal::NotFound(String::new()));
        self.scripts.contains_key(name).then_some(()).ok_or_else(missing)
    }

    fn put(&mut self, name: String, text: String) -> Result<(), NotDone> {
        assert!(is_script_name(&name) && text.len() <= SCRIPT_BYTES_MAX);
        check(&text)?;
        self.scripts.insert(name, text);
        Ok(())
    }

    fn take(&mut self, name: &str, even_if_active: bool) -> Result<String, NotDone> {
        self.find(name)?;
        if !even_if_active && self.active.as_deref() == Some(name) {
            return Err(NotDone::Refused(Refusal::ScriptActive));
        }
        Ok(self.scripts.remove(name).unwrap_or_default())
    }

    fn rename(&mut self, from: &str, to: String) -> Result<(), NotDone> {
        assert!(is_script_name(&to));
        self.find(from)?;
        if self.scripts.contains_key(&to) {
            return Err(NotDone::Refused(Refusal::Exists(String::new())));
        }
        let text = self.take(from, true)?;
        if self.active.as_deref() == Some(from) {
            self.active = Some(to.clone());
        }
        self.scripts.insert(to, text);
        Ok(())
    }
}

fn check(text: &str) -> Result<(), NotDone> {
    match text.contains('x') {
        true => Err(NotDone::NoScript(format!("line 1, column 1: \"{text}\""))),
        false => Ok(()),
    }
}

fn one_by_one(dice: &mut Dice) {
    let mut session = session();
    session.feed(LOGIN, usize::MAX);
    session.take_said();
    for _ in 0..COMMANDS_MAX {
        if dice.is_empty() || session.ended {
            return;
        }
        let line = dice.line();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        session.feed(&[line, b"\r\n"].concat(), usize::MAX);
        let said = session.take_said();
        if session.cut_short {
            return;
        }
        // A literal may follow, and then the lines behind it are its own.
        if line.ends_with(b"}") {
            return;
        }
        assert_eq!(ends(&said), 1, "{}: {}", show(line), show(&said));
    }
}

/// How many answers end in these octets, which must be whole lines of strings, literals and words.
fn ends(said: &[u8]) -> usize {
    let (mut rest, mut ends) = (said, 0);
    while !rest.is_empty() {
        ends += usize::from([&b"OK "[..], b"NO ", b"BYE "].iter().any(|word| rest.starts_with(word)));
        rest = behind_line(rest);
    }
    ends
}

fn behind_line(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [b'\r', b'\n', behind @ ..] => return behind,
            [b'"', behind @ ..] => behind_quoted(behind),
            [b'{', behind @ ..] => behind_literal(behind),
            [b' ' | b'(' | b')', behind @ ..] => behind,
            [byte, behind @ ..] if byte.is_ascii_alphanumeric() || b"-/".contains(byte) => behind,
            _ => panic!("what is this? {}", show(rest)),
        };
    }
}

fn behind_quoted(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return behind,
            [b'\\', b'"' | b'\\', behind @ ..] => behind,
            [b'\\' | b'\r' | b'\n' | 0, ..] | [] => panic!("a bad quoted string: {}", show(rest)),
            [_, behind @ ..] => behind,
        };
    }
}

fn behind_literal(rest: &[u8]) -> &[u8] {
    let end = rest.windows(3).position(|three| three == b"}\r\n").expect("a literal says how long it is");
    let octets = std::str::from_utf8(&rest[..end]).ok().and_then(|octets| octets.parse().ok());
    rest[end + 3..].get(octets.expect("a number")..).expect("the literal is whole")
}
