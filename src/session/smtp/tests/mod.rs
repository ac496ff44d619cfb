//! Transcripts against the pure machine, and tables of what bodies may not hold.

mod bounds;
mod chasquid;
mod checked;
mod smuggling;
mod strangers;
mod transcripts;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use super::delays::Crowded;
use super::listed::Opening;
use super::machine::{Answer, Outgoing, Question, Smtp, Verdict};
use super::received::Stamp;
use super::reply::{self, Reply};
use super::{Flavor, Policy};
use crate::cluster::replica::Fault;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::ids::{AccountId, Timestamp};
use crate::policy::{self, Arrival};
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};
use crate::session::machine::Peer;
use crate::session::transcript::Player;
use crate::state::queue::TlsWish;
use crate::state::routing::LocalTarget;
use crate::state::scram_keys::ScramKeys;

fn policy(flavor: Flavor) -> Policy {
    Policy {
        flavor,
        hostname: "mx.example.test".to_owned(),
        node_name: "node1".to_owned(),
        banner: "mx.example.test ESMTP".to_owned(),
        message_bytes_max: 1024 * 1024,
        recipients_max: 3,
        hops_max: 2,
        tls_offered: true,
        tls_forced: false,
        auth_required: flavor == Flavor::Submission,
        auth_without_tls: false,
        scram: false,
        checked: false,
        refuse_early_talk: false,
        junk_commands_max: None,
        idle_seconds_max: 300,
    }
}

/// RFC 7677 3.
fn keys_of_the_rfc() -> Keys {
    let salt = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, "W22ZaJ0SNY7soEsUEjb6gQ==");
    let keys = ScramKeys::derive("pencil", salt.unwrap().try_into().unwrap(), 4096);
    Keys::unchecked(keys, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
}

fn peer(tls: bool) -> Peer {
    Peer { address: Some("192.0.2.1:4711".parse().unwrap()), tls }
}

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mail {
    text: String,
    accounts: Vec<u64>,
}

/// Answers as a small cluster would: alice is account 1, bob 2; other local parts name their fate.
#[derive(Default)]
struct World {
    body: Option<Vec<u8>>,
    /// Of the last mail.
    authors: Option<Vec<String>>,
    /// Of a mail that is to be judged.
    arrival: Option<Arrival>,
    /// Of a mail that is to be judged before it is read.
    opened: Option<Arrival>,
    /// Pauses, in seconds; and whether no more of them are to be had.
    delays: Vec<u64>,
    crowded: bool,
    abandoned: usize,
    /// The host has sent as much as it may.
    too_many: bool,
    mails: Vec<Mail>,
    /// Of each of them.
    wishes: Vec<TlsWish>,
    outgoing: Vec<Outgoing>,
}

type Shared = Rc<RefCell<World>>;

impl World {
    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Keys(_) => Answer::Keys(keys_of_the_rfc()),
            Question::Login(Claim::Proof(proof)) => Answer::Login(match proof.is_right() {
                true => Ok(Authenticated::unchecked(AccountId(1), "alice")),
                false => Err(LoginRefused::Wrong),
            }),
            Question::Login(Claim::External(_)) => unreachable!("it is not offered here"),
            Question::Login(Claim::Password(claim)) => {
                Answer::Login(match (&claim.login[..], &claim.password[..]) {
                    ("alice" | "alice@example.test", b"secret") => {
                        Ok(Authenticated::unchecked(AccountId(1), "alice"))
                    }
                    ("busy", _) => Err(LoginRefused::Busy),
                    ("unsure", _) => Err(LoginRefused::Unsure),
                    _ => Err(LoginRefused::Wrong),
                })
            }
            Question::Sender { from, authenticated, arrival, .. } => {
                self.opened = arrival.map(|arrival| *arrival);
                Answer::Sender(opening(&from, authenticated))
            }
            Question::Delay { seconds } => {
                self.delays.push(seconds);
                Answer::Delayed(if self.crowded { Err(Crowded) } else { Ok(()) })
            }
            Question::Recipient { path, authenticated, .. } => Answer::Recipient(match self.refusal(&path) {
                Some(refusal) => Ok(Verdict::Refused(refusal)),
                None => verdict(&path, authenticated),
            }),
            Question::BeginBody(arrival) => {
                assert!(self.body.is_none(), "the body before was neither delivered nor abandoned");
                if self.too_many {
                    return Answer::TooMany;
                }
                self.body = Some(Vec::new());
                self.arrival = arrival.map(|arrival| *arrival);
                Answer::Begun(Ok(Stamp { at: Timestamp(0), id: "ID1".to_owned() }))
            }
            Question::BodyChunk(bytes) => Answer::Chunk(self.push(&bytes)),
            Question::Deliver { last, to, names, outgoing, authors, trace } => {
                self.wishes.push(names.tls);
                self.outgoing.extend(outgoing);
                self.authors = authors;
                if let Some(trace) = trace {
                    let text = self.body.take().expect("a body was begun");
                    self.body = Some([trace.with("X-Found: checks\r\n").into_bytes(), text].concat());
                }
                match self.arrival.as_ref().and_then(|arrival| arrival.sender.as_deref()) {
                    Some("forger@elsewhere.test") => {
                        self.body = None;
                        let text = "Forged".to_owned();
                        Answer::Refused(policy::Refusal { code: 550, enhanced: "5.7.26", text })
                    }
                    _ => Answer::Delivered(self.deliver(&last, to)),
                }
            }
            Question::AbandonBody => {
                assert!(self.body.take().is_some(), "nothing to abandon");
                self.abandoned += 1;
                Answer::Abandoned
            }
        }
    }

    /// By what is known of the mail's sender.
    fn refusal(&self, path: &ForwardPath) -> Option<policy::Refusal> {
        let arrival = self.opened.as_ref().filter(|_| *path != ForwardPath::Postmaster)?;
        let (code, enhanced, text) = match arrival.sender.as_deref() {
            Some("blocked@elsewhere.test") => (554, "5.7.1", "Your address is listed by bl.test"),
            Some("unsure@elsewhere.test") => (451, "4.4.3", "The DNS does not tell"),
            _ => return None,
        };
        Some(policy::Refusal { code, enhanced, text: text.to_owned() })
    }

    fn push(&mut self, bytes: &Bytes) -> Result<(), Fault> {
        let body = self.body.as_mut().expect("a body was begun");
        body.extend_from_slice(bytes);
        if body.windows(10).any(|part| part == b"DISK-FAULT") {
            return Err(Fault::Disk("full".to_owned()));
        }
        Ok(())
    }

    fn deliver(&mut self, last: &Bytes, to: Vec<Vec<LocalTarget>>) -> Result<Vec<Result<(), Reply>>, Fault> {
        let pushed = self.push(last);
        let text = String::from_utf8(self.body.take().expect("a body was begun")).unwrap();
        pushed?;
        if text.contains("NO-QUORUM") {
            return Err(Fault::NoQuorum);
        }
        let accounts: Vec<u64> = to.iter().flatten().map(|target| target.account.0).collect();
        let results = to
            .iter()
            .map(|targets| match targets.first().map_or(0, |target| target.account.0) {
                9 => Err(reply::FULL),
                8 => Err(reply::NO_SUCH_USER),
                _ => Ok(()),
            })
            .collect();
        self.mails.push(Mail { text, accounts });
        Ok(results)
    }
}

/// The local part names its fate.
fn opening(from: &ReversePath, authenticated: bool) -> Result<Opening, Fault> {
    let ReversePath::Address(from) = from else { return Ok(Opening::Stranger) };
    Ok(match from.local() {
        "trusted" if !authenticated => Opening::Trusted,
        "unsure" if !authenticated => Opening::Unsure,
        "listed" if !authenticated => Opening::Refused(listed("This sender is not welcome here")),
        "fault" => return Err(Fault::NoQuorum),
        _ => Opening::Stranger,
    })
}

fn listed(text: &str) -> policy::Refusal {
    policy::Refusal { code: 554, enhanced: "5.7.1", text: text.to_owned() }
}

fn verdict(path: &ForwardPath, authenticated: bool) -> Result<Verdict, Fault> {
    let accept = |account| Verdict::Accept(vec![LocalTarget { account: AccountId(account), detail: None }]);
    let address = match path {
        ForwardPath::Postmaster => return Ok(accept(1)),
        ForwardPath::Address(address) => address.canonical(),
    };
    Ok(match address.as_str() {
        "alice@example.test" | "user@testserver" => accept(1),
        "bob@example.test" | "dürst@example.test" => accept(2),
        "soonfull@example.test" => accept(9),
        "soongone@example.test" => accept(8),
        "full@example.test" => Verdict::AlreadyFull,
        "nearlyfull@example.test" => Verdict::WouldNotFit,
        "off@example.test" => Verdict::Disabled,
        "listed@example.test" => Verdict::Refused(listed("This recipient takes no mail")),
        "fault@example.test" => return Err(Fault::NoQuorum),
        "away@example.test" => {
            Verdict::Relay { local: vec![], remote: vec![Address::parse("far@elsewhere.example").unwrap()] }
        }
        other if other.ends_with("@example.test") => Verdict::Unknown,
        "closed@elsewhere.example" if authenticated => Verdict::Outbound,
        _ if authenticated => {
            Verdict::Relay { local: vec![], remote: vec![Address::parse(&address).unwrap()] }
        }
        _ => Verdict::RelayDenied,
    })
}

fn player(policy: Policy, tls: bool) -> (Player<Smtp, impl FnMut(Question) -> Answer>, Shared) {
    let world = Shared::default();
    let answering = Rc::clone(&world);
    let machine = Smtp::new(policy, peer(tls));
    (Player::new(machine, move |question| answering.borrow_mut().answer(question)), world)
}

/// The message without the trace fields put before it.
fn content(mail: &Mail) -> &str {
    let date = mail.text.find(" +0000\r\n").expect("a Received field with its date");
    &mail.text[date + " +0000\r\n".len()..]
}
