//! What an SMTP session of the targets beside [`super::smtp`] is answered. Answers follow from what is asked alone, so that
//! one session played twice hears the same; what must never be asked, or delivered, panics.

use std::cell::RefCell;
use std::rc::Rc;

use pollux::cluster::replica::Fault;
use pollux::mail::address::{ForwardPath, ReversePath};
use pollux::mail::ids::{AccountId, Timestamp};
use pollux::policy::Refusal;
use pollux::session::machine::Peer;
use pollux::session::smtp::delays::Crowded;
use pollux::session::smtp::listed::Opening;
use pollux::session::smtp::machine::{Answer, DELAY_SECONDS_MAX, Question, Verdict};
use pollux::session::smtp::received::Stamp;
use pollux::session::smtp::reply;
use pollux::session::smtp::{Flavor, Policy, Smtp};
use pollux::state::routing::LocalTarget;

use super::dice::Dice;
use super::drive::Driven;
use super::house;

pub const MESSAGE_BYTES_MAX: u64 = 50_000;
pub const HOPS_MAX: u64 = 3;
pub const RECIPIENTS_MAX: u64 = 3;
/// Pauses that one session gets before the house is full.
const DELAYS_MAX: u32 = 5;
/// Replies to a buffer full of pipelined EHLO.
const GATHERED_BYTES_MAX: usize = 4 << 20;

pub type Session = Driven<Smtp, Box<dyn FnMut(Question) -> Answer>>;
pub type Shared = Rc<RefCell<Desk>>;

/// How a session is met.
#[derive(Clone)]
pub struct Terms {
    pub policy: Policy,
    pub tls: bool,
}

impl Terms {
    /// All flags of the policy, from the dice.
    pub fn rolled(dice: &mut Dice) -> Self {
        let (flavor, flags) =
            (dice.pick(&[Flavor::Mx, Flavor::Mx, Flavor::Submission, Flavor::Lmtp]), dice.byte());
        let flag = |bit: u8| flags >> bit & 1 == 1;
        let junk_commands_max = [None, Some(1), Some(2), Some(10)][usize::from(flags >> 6)];
        let policy = Policy {
            // As the product's own: port 25 never forces TLS, and others are not judged.
            tls_forced: flag(0) && flavor == Flavor::Submission,
            checked: flag(1) && flavor == Flavor::Mx,
            auth_required: flag(2) && flavor == Flavor::Submission,
            refuse_early_talk: flag(3),
            auth_without_tls: flag(4),
            junk_commands_max,
            ..plain(flavor)
        };
        Self { policy, tls: flag(5) }
    }

    /// A session that is not yet spoken to, and what becomes of its mails.
    pub fn meet(&self) -> (Session, Shared) {
        let desk = Rc::new(RefCell::new(Desk::new(self.policy.clone())));
        let seen = desk.clone();
        let peer = Peer { address: Some("192.0.2.1:4711".parse().expect("an address")), tls: self.tls };
        let machine = Smtp::new(self.policy.clone(), peer);
        (
            Driven::new(machine, GATHERED_BYTES_MAX, Box::new(move |asked| seen.borrow_mut().answer(asked))),
            desk,
        )
    }
}

pub fn plain(flavor: Flavor) -> Policy {
    Policy {
        flavor,
        hostname: "mx.example.test".into(),
        node_name: "node1".into(),
        banner: "mx.example.test ESMTP".into(),
        message_bytes_max: MESSAGE_BYTES_MAX,
        recipients_max: RECIPIENTS_MAX,
        hops_max: HOPS_MAX,
        tls_offered: true,
        tls_forced: false,
        auth_required: false,
        auth_without_tls: true,
        // Its exchanges are `smtp`'s affair.
        scram: false,
        checked: false,
        refuse_early_talk: false,
        junk_commands_max: None,
        idle_seconds_max: 300,
    }
}

/// A mail that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub text: Vec<u8>,
    /// For how many recipients.
    pub to: usize,
    pub judged: bool,
}

pub struct Desk {
    policy: Policy,
    login: bool,
    trusted: bool,
    delays: u32,
    /// Recipients that were accepted since MAIL.
    named: usize,
    body: Option<(Vec<u8>, bool)>,
    /// MAILs that were let in; each is good for one body, each body for one mail.
    pub opened: usize,
    pub begun: usize,
    pub mails: Vec<Mail>,
}

impl Desk {
    fn new(policy: Policy) -> Self {
        let (opened, begun, mails) = (0, 0, Vec::new());
        Self { policy, login: false, trusted: false, delays: 0, named: 0, body: None, opened, begun, mails }
    }

    fn is_judged(&self) -> bool {
        self.policy.checked && !self.login && !self.trusted
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Keys(login) => Answer::Keys(house::keys(&login)),
            Question::Login(claim) => {
                let login = house::login(&claim);
                self.login = login.is_ok();
                Answer::Login(login)
            }
            Question::Delay { seconds } => {
                assert!((1..=DELAY_SECONDS_MAX).contains(&seconds), "{seconds} s");
                assert!(self.policy.checked && !self.login && self.policy.junk_commands_max.is_some());
                self.delays += 1;
                Answer::Delayed(if self.delays > DELAYS_MAX { Err(Crowded) } else { Ok(()) })
            }
            Question::Sender { from, authenticated, arrival, .. } => {
                assert_eq!(authenticated, self.login);
                assert_eq!(arrival.is_some(), self.policy.checked && !self.login);
                let opening = opening(&from);
                self.trusted = matches!(opening, Ok(Opening::Trusted));
                self.opened += usize::from(!matches!(opening, Ok(Opening::Refused(_)) | Err(_)));
                self.named = 0;
                Answer::Sender(opening)
            }
            Question::Recipient { path, authenticated, .. } => {
                assert_eq!(authenticated, self.login || self.trusted);
                let verdict = verdict(&path, authenticated);
                self.named += usize::from(matches!(verdict, Ok(Verdict::Accept(_) | Verdict::Relay { .. })));
                Answer::Recipient(verdict)
            }
            Question::BeginBody(arrival) => {
                assert_eq!(arrival.is_some(), self.is_judged(), "whose mail is judged");
                assert!(self.body.is_none(), "the body before was neither delivered nor given up");
                self.begun += 1;
                assert!(self.begun <= self.opened, "one sender is good for one body");
                self.body = Some((Vec::new(), arrival.is_some()));
                Answer::Begun(Ok(Stamp { at: Timestamp(0), id: format!("ID{}", self.begun) }))
            }
            Question::BodyChunk(bytes) => Answer::Chunk(self.push(&bytes)),
            Question::Deliver { last, to, outgoing, authors, trace, .. } => {
                let pushed = self.push(&last);
                let (text, judged) = self.body.take().expect("a body was begun");
                assert_eq!(trace.is_some(), judged, "what is judged has its trace apart");
                assert!(authors.is_none() || self.login, "nobody's own addresses");
                assert!(!self.policy.auth_required || self.login || self.trusted, "nobody logged in");
                assert!(outgoing.is_none() || self.login || self.trusted, "an open relay");
                assert_eq!(to.len(), self.named, "as many as were accepted");
                assert!((1..=RECIPIENTS_MAX as usize).contains(&to.len()));
                if pushed.is_err() {
                    return Answer::Delivered(Err(Fault::NoQuorum));
                }
                if judged && has(&text, b"JUDGED-BAD") {
                    return Answer::Refused(refusal(550));
                }
                let full = |targets: &Vec<LocalTarget>| targets.iter().any(|target| target.account.0 == 9);
                let result = |targets| if full(targets) { Err(reply::FULL) } else { Ok(()) };
                let results = to.iter().map(result).collect();
                self.mails.push(Mail { text, to: to.len(), judged });
                Answer::Delivered(Ok(results))
            }
            Question::AbandonBody => {
                assert!(self.body.take().is_some(), "nothing to give up");
                Answer::Abandoned
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let (body, _) = self.body.as_mut().expect("a body was begun");
        body.extend_from_slice(bytes);
        if has(body, b"DISK-FAULT") { Err(Fault::Disk("full".into())) } else { Ok(()) }
    }
}

pub fn has(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

fn refusal(code: u16) -> Refusal {
    Refusal { code, enhanced: if code < 500 { "4.7.1" } else { "5.7.1" }, text: "Not this one".into() }
}

fn opening(from: &ReversePath) -> Result<Opening, Fault> {
    let ReversePath::Address(from) = from else { return Ok(Opening::Stranger) };
    Ok(match from.local() {
        "trusted" => Opening::Trusted,
        "unsure" => Opening::Unsure,
        "listed" => Opening::Refused(refusal(554)),
        "fault" => return Err(Fault::NoQuorum),
        _ => Opening::Stranger,
    })
}

fn verdict(path: &ForwardPath, authenticated: bool) -> Result<Verdict, Fault> {
    let accept = |account| Verdict::Accept(vec![LocalTarget { account: AccountId(account), detail: None }]);
    let ForwardPath::Address(address) = path else { return Ok(accept(1)) };
    Ok(match address.local() {
        "full" => accept(9),
        "dropped" => Verdict::Accept(Vec::new()),
        "unknown" => Verdict::Unknown,
        "disabled" => Verdict::Disabled,
        "big" => Verdict::WouldNotFit,
        "grey" => Verdict::Refused(refusal(450)),
        "listed" => Verdict::Refused(refusal(554)),
        "relay" if authenticated => Verdict::Relay { local: vec![], remote: vec![address.clone()] },
        "relay" => Verdict::RelayDenied,
        "fault" => return Err(Fault::NoQuorum),
        _ => accept(1),
    })
}
