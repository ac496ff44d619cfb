//! Transcripts against the pure machine, each also byte by byte; bounds; garbage.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::Policy;
use super::machine::{
    Answer, BAD_COMMANDS_MAX, INPUT_BYTES_MAX, ManageSieve, NotDone, Question, SASL_BYTES_MAX,
};
use super::reader::{LINE_BYTES_MAX, LITERALS_MAX, QUOTED_BYTES_MAX, SWALLOWED_BYTES_MAX};
use crate::cluster::replica::Fault;
use crate::mail::ids::AccountId;
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};
use crate::session::machine::{Machine, Peer, Step};
use crate::session::transcript::{Pace, Player};
use crate::sieve;
use crate::state::outcome::Refusal;
use crate::state::scram_keys::ScramKeys;
use crate::state::sieve::{SCRIPT_BYTES_MAX, SCRIPTS_PER_ACCOUNT_MAX, ScriptRecord};

fn policy() -> Policy {
    Policy {
        hostname: "mx.example.test".to_owned(),
        tls_offered: true,
        login_without_tls: false,
        scram: false,
        idle_seconds_max: 1_800,
        login_seconds_max: 180,
    }
}

fn peer(tls: bool) -> Peer {
    Peer { address: Some("192.0.2.1:4711".parse().unwrap()), tls }
}

/// Alice's scripts, and which is active. What is called "fault" cannot be reached; what does not end in ";" is wrong.
#[derive(Default)]
struct House {
    scripts: BTreeMap<String, String>,
    active: Option<String>,
}

impl House {
    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Keys(_) => Answer::Keys(keys_of_the_rfc()),
            Question::Login(claim) => Answer::Login(login(&claim)),
            Question::List => {
                let record = |(name, text): (&String, &String)| ScriptRecord {
                    name: name.clone(),
                    bytes: text.len() as u32,
                    active: self.active.as_ref() == Some(name),
                };
                Answer::Scripts(Ok(self.scripts.iter().map(record).collect()))
            }
            Question::Get(name) if name == "fault" => Answer::Script(Err(Fault::NoQuorum)),
            Question::Get(name) => Answer::Script(Ok(self.scripts.get(&name).cloned())),
            Question::Check(text) => Answer::Done(check(&text)),
            Question::Put { name, text } => Answer::Done(self.put(name, text)),
            Question::Activate(name) => Answer::Done(self.find(name.as_deref()).map(|()| self.active = name)),
            Question::Delete(name) => Answer::Done(self.delete(&name)),
            Question::Rename { from, to } => Answer::Done(self.rename(&from, to)),
        }
    }

    fn find(&self, name: Option<&str>) -> Result<(), NotDone> {
        match name.is_none_or(|name| self.scripts.contains_key(name)) {
            true => Ok(()),
            false => Err(NotDone::Refused(Refusal::NotFound("it".into()))),
        }
    }

    fn put(&mut self, name: String, text: String) -> Result<(), NotDone> {
        check(&text)?;
        if name == "fault" {
            return Err(NotDone::Fault(Fault::NoQuorum));
        }
        if name == "full" {
            return Err(NotDone::Refused(Refusal::Limit("scripts".into())));
        }
        self.scripts.insert(name, text);
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<(), NotDone> {
        self.find(Some(name))?;
        if self.active.as_deref() == Some(name) {
            return Err(NotDone::Refused(Refusal::ScriptActive));
        }
        self.scripts.remove(name);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: String) -> Result<(), NotDone> {
        self.find(Some(from))?;
        if self.scripts.contains_key(&to) {
            return Err(NotDone::Refused(Refusal::Exists(to)));
        }
        let text = self.scripts.remove(from).unwrap_or_default();
        if self.active.as_deref() == Some(from) {
            self.active = Some(to.clone());
        }
        self.scripts.insert(to, text);
        Ok(())
    }
}

fn check(text: &str) -> Result<(), NotDone> {
    match text.trim_end() {
        "long" => Err(NotDone::NoScript(format!("line 1\r\n{}", "x".repeat(QUOTED_BYTES_MAX)))),
        text if text.is_empty() || text.ends_with(';') => Ok(()),
        _ => Err(NotDone::NoScript("line 1, column 5: it is wrong".into())),
    }
}

fn login(claim: &Claim) -> Result<Authenticated, LoginRefused> {
    let is_right = match claim {
        Claim::Proof(proof) => proof.is_right(),
        Claim::External(_) => unreachable!("it is not offered here"),
        Claim::Password(claim) => match claim.login.as_str() {
            "busy" => return Err(LoginRefused::Busy),
            "unsure" => return Err(LoginRefused::Unsure),
            login => login == "alice" && claim.password == b"secret",
        },
    };
    if is_right { Ok(Authenticated::unchecked(AccountId(1), "alice")) } else { Err(LoginRefused::Wrong) }
}

/// RFC 7677 3.
fn keys_of_the_rfc() -> Keys {
    let salt = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, "W22ZaJ0SNY7soEsUEjb6gQ==");
    let keys = ScramKeys::derive("pencil", salt.unwrap().try_into().unwrap(), 4096);
    Keys::unchecked(keys, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
}

/// At both paces.
fn run(script: &str, policy: Policy, tls: bool) {
    for pace in [Pace::Whole, Pace::ByteByByte] {
        let mut house = House::default();
        let machine = ManageSieve::new(policy.clone(), peer(tls));
        Player::new(machine, |question| house.answer(question)).play(script, pace);
    }
}

macro_rules! script {
    ($name:literal) => {
        include_str!(concat!("../transcripts/", $name, ".txt"))
    };
}

#[test]
fn logins() {
    run(script!("login"), policy(), true);
    run(script!("login_wrong"), policy(), true);
}

#[test]
fn the_last_word_of_scram_comes_with_the_success() {
    run(script!("login_scram"), Policy { scram: true, ..policy() }, true);
}

#[test]
fn starttls_comes_before_any_password_and_is_followed_by_the_capabilities() {
    run(script!("starttls"), policy(), false);
}

#[test]
fn scripts_are_put_listed_read_made_active_renamed_and_deleted() {
    run(script!("scripts"), policy(), true);
}

#[test]
fn what_is_wrong_changes_nothing_and_the_next_command_is_understood() {
    run(script!("wrong"), policy(), true);
}

#[test]
fn passwords_go_in_the_clear_where_the_policy_says_so() {
    let said = |login_without_tls, tls_offered| {
        let policy = Policy { login_without_tls, tls_offered, ..policy() };
        let mut player = Player::new(ManageSieve::new(policy, peer(false)), |it| House::default().answer(it));
        player.out.clear();
        player.feed(b"AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\nSTARTTLS\r\n", Pace::Whole);
        std::iter::from_fn(|| player.line()).collect::<Vec<_>>()
    };
    assert_eq!(said(true, false), ["OK \"Logged in\"", "NO \"Already logged in\""]);
    assert!(said(false, false)[0].starts_with("NO (ENCRYPT-NEEDED)"));
    assert_eq!(said(false, false)[1], "NO \"TLS is not available\"");
}

/// What is said to these bytes by one who is logged in, or is not, and whether that is the end.
fn said(bytes: &[u8], logged_in: bool, house: &mut House) -> (Vec<String>, bool) {
    let mut player = Player::new(ManageSieve::new(policy(), peer(true)), |question| house.answer(question));
    if logged_in {
        player.feed(b"AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\n", Pace::Whole);
    }
    player.out.clear();
    player.feed(bytes, Pace::Whole);
    let lines = std::iter::from_fn(|| player.line()).collect();
    (lines, player.closed)
}

fn with_literal(command: &str, octets: usize) -> Vec<u8> {
    [format!("{command} {{{octets}+}}\r\n").as_bytes(), &vec![b';'; octets], b"\r\nNOOP\r\n"].concat()
}

#[test]
fn a_script_has_the_octets_that_the_state_and_the_language_take() {
    assert_eq!(SCRIPT_BYTES_MAX, sieve::SCRIPT_BYTES_MAX);
    let mut house = House::default();
    let put = with_literal("PUTSCRIPT \"a\"", SCRIPT_BYTES_MAX);
    assert_eq!(said(&put, true, &mut house), (vec!["OK \"Done\"".into(), "OK \"Done\"".into()], false));
    assert_eq!(house.scripts["a"].len(), SCRIPT_BYTES_MAX);
    let kept = with_literal("GETSCRIPT \"a\"\r\nCHECKSCRIPT", SCRIPT_BYTES_MAX);
    assert_eq!(said(&kept, true, &mut house).0[0], format!("{{{SCRIPT_BYTES_MAX}}}"));
    // Swallowed and refused, up to a bound; beyond, nobody waits for its end.
    let too_large = ["NO (QUOTA/MAXSIZE) \"Literal too long\"".to_owned(), "OK \"Done\"".to_owned()];
    for octets in [SCRIPT_BYTES_MAX + 1, SWALLOWED_BYTES_MAX as usize] {
        let put = with_literal("PUTSCRIPT \"b\"", octets);
        assert_eq!(said(&put, true, &mut house), (too_large.to_vec(), false));
    }
    let over = format!("PUTSCRIPT \"b\" {{{}+}}\r\n", SWALLOWED_BYTES_MAX + 1);
    let bye = (vec!["BYE (QUOTA/MAXSIZE) \"Literal too long\"".to_owned()], true);
    assert_eq!(said(over.as_bytes(), true, &mut house), bye);
    assert!(!house.scripts.contains_key("b"));
}

#[test]
fn space_is_told_by_size_and_count() {
    let mut house = House::default();
    let mut have = |name: &str, octets: usize, scripts: u32| {
        house.scripts = (0..scripts).map(|number| (number.to_string(), String::new())).collect();
        said(format!("HAVESPACE \"{name}\" {octets}\r\n").as_bytes(), true, &mut house).0.remove(0)
    };
    assert_eq!(have("a", SCRIPT_BYTES_MAX, 0), "OK \"There is room\"");
    assert!(have("a", SCRIPT_BYTES_MAX + 1, 0).starts_with("NO (QUOTA/MAXSIZE)"));
    assert!(have("a", 1, SCRIPTS_PER_ACCOUNT_MAX - 1).starts_with("OK"));
    assert!(have("a", 1, SCRIPTS_PER_ACCOUNT_MAX).starts_with("NO (QUOTA/MAXSCRIPTS)"));
    assert!(have("0", 1, SCRIPTS_PER_ACCOUNT_MAX).starts_with("OK"), "one that is replaced");
    let full = said(b"PUTSCRIPT \"full\" \"keep;\"\r\n", true, &mut house).0;
    assert!(full[0].starts_with("NO (QUOTA/MAXSCRIPTS)"), "{full:?}");
}

#[test]
fn lines_strings_and_literals_end_at_their_bounds() {
    let mut house = House::default();
    let mut first = |bytes: &[u8], logged_in| {
        let (mut lines, closed) = said(bytes, logged_in, &mut house);
        (lines.remove(0), closed)
    };
    let noop = |octets: usize| format!("NOOP \"{}\"\r\n", "x".repeat(octets)).into_bytes();
    assert!(first(&noop(QUOTED_BYTES_MAX), true).0.starts_with("OK (TAG \"xxx"));
    assert_eq!(first(&noop(QUOTED_BYTES_MAX + 1), true).0, "NO \"A quoted string has at most 1024 octets\"");
    let line = |octets: usize| format!("NOOP{}\r\n", " ".repeat(octets - 6)).into_bytes();
    assert_eq!(first(&line(LINE_BYTES_MAX), true), ("OK \"Done\"".into(), false));
    assert_eq!(first(&line(LINE_BYTES_MAX + 1), true), ("BYE \"Line too long\"".into(), true));
    // Before the login, nobody sends a script.
    let auth = |octets| with_literal("AUTHENTICATE \"PLAIN\"", octets);
    assert_eq!(first(&auth(SASL_BYTES_MAX), false), ("NO \"Cannot decode the response\"".into(), false));
    assert_eq!(
        first(&auth(SASL_BYTES_MAX + 1), false),
        ("BYE (QUOTA/MAXSIZE) \"Literal too long\"".into(), true)
    );
    let literals = |count: usize| format!("NOOP{}\r\n", " {0+}\r\n".repeat(count)).into_bytes();
    assert_eq!(first(&literals(LITERALS_MAX), true), ("NO \"Syntax error\"".into(), false));
    assert_eq!(first(&literals(LITERALS_MAX + 1), true), ("BYE \"Too many literals\"".into(), true));
    let not_utf8 = first(b"NOOP \"\xff\"\r\n", true);
    assert_eq!(not_utf8, ("NO \"Not UTF-8\"".into(), false));
}

#[test]
fn long_answers_to_commands_in_one_piece_go_out_one_after_the_other() {
    let mut machine = ManageSieve::new(policy(), peer(true));
    let mut house = House::default();
    house.scripts.insert("a".into(), ";".repeat(SCRIPT_BYTES_MAX));
    let login = b"AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\n";
    let mut input = BytesMut::from(&[&login[..], &b"GETSCRIPT \"a\"\r\n".repeat(100)].concat()[..]);
    let (mut out, mut flushes) = (BytesMut::new(), 0);
    loop {
        match machine.step(&mut input, &mut out) {
            Step::Ask(question) => machine.answer(house.answer(question), &mut out),
            Step::Flush => {
                assert!(out.len() < 2 * SCRIPT_BYTES_MAX, "{} octets are gathered", out.len());
                out.clear();
                flushes += 1;
            }
            Step::NeedInput => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(flushes, 100);
}

#[test]
fn a_long_answer_is_a_literal() {
    let lines = said(b"CHECKSCRIPT \"long\"\r\n", true, &mut House::default()).0;
    assert_eq!(
        lines,
        [format!("NO {{{}}}", QUOTED_BYTES_MAX + 8), "line 1".into(), "x".repeat(QUOTED_BYTES_MAX)]
    );
}

#[test]
fn a_command_is_not_over_before_its_last_line() {
    let mut house = House::default();
    let mut player = Player::new(ManageSieve::new(policy(), peer(true)), |question| house.answer(question));
    assert_eq!(player.machine.idle_seconds_max(), 180);
    player.feed(b"AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\n", Pace::Whole);
    assert_eq!(player.machine.idle_seconds_max(), 1_800);
    assert!(!player.machine.is_mid_command());
    player.feed(b"PUTSCRIPT \"a\" {5+}\r\nke", Pace::Whole);
    assert!(player.machine.is_mid_command());
    player.feed(b"ep;", Pace::Whole);
    assert!(player.machine.is_mid_command());
    player.feed(b"\r\n", Pace::Whole);
    assert!(!player.machine.is_mid_command());
}

#[test]
fn too_many_errors_and_garbage_end_the_session() {
    let mut house = House::default();
    let mut player = Player::new(ManageSieve::new(policy(), peer(true)), |question| house.answer(question));
    player.feed("WHAT\r\n".repeat(BAD_COMMANDS_MAX as usize).as_bytes(), Pace::Whole);
    assert!(!player.closed);
    let mut garbage = vec![0; 2 * INPUT_BYTES_MAX];
    crate::clock::Clock::fixed(crate::mail::ids::Timestamp(7)).fill(&mut garbage);
    player.feed(&garbage, Pace::ByteByByte);
    player.feed(b"\r\n", Pace::Whole);
    assert!(player.closed);
}
