//! STARTTLS, AUTHENTICATE and LOGIN (RFC 3501 6.2, RFC 4959).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::session::imap::capability::capabilities;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::limits::REFUSED_LOGINS_MAX;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::reader::Read;
use crate::session::login::{Authenticated, Claim, Credentials, LoginRefused};
use crate::session::sasl::{self, Exchange, Mechanism, Why};

pub struct StartTls;

impl Task for StartTls {
    fn step(&mut self, core: &mut Core, _answer: Option<Answer>, _io: &mut Io) -> Next {
        if core.peer.tls {
            return Next::Done(Reply::bad("TLS is on already"));
        }
        if !core.terms.starttls {
            return Next::Done(Reply::bad("TLS is not offered here"));
        }
        Next::StartTls(Reply::ok("Begin TLS negotiation now"))
    }
}

pub struct Login {
    pub name: Vec<u8>,
    pub password: Vec<u8>,
}

impl Task for Login {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match answer {
            Some(answer) => heard(core, answer, io),
            None if !core.may_send_password() => privacy_required(),
            None => match Credentials::new(&self.name, &self.password) {
                Some(credentials) => Next::Ask(Question::Login(Claim::Password(credentials))),
                None => refused(Reply::no("AUTHENTICATIONFAILED", WRONG), core, io),
            },
        }
    }
}

pub struct Authenticate {
    mechanism: String,
    initial: Option<Vec<u8>>,
    exchange: Option<Exchange>,
    /// Accepted; with SCRAM the client is still to say that it has heard our proof.
    who: Option<Authenticated>,
}

impl Authenticate {
    pub fn new(mechanism: String, initial: Option<Vec<u8>>) -> Self {
        Self { mechanism, initial, exchange: None, who: None }
    }

    fn begin(&mut self, core: &mut Core, io: &mut Io) -> Next {
        let named = |mechanism: &Mechanism| mechanism.name() == self.mechanism;
        let Some(mechanism) = core.mechanisms().into_iter().find(named) else {
            let known = core.may_send_password() || !Mechanism::ALL.iter().any(named);
            return if known {
                Next::Done(Reply::no("CANNOT", "The mechanism is not supported"))
            } else {
                privacy_required()
            };
        };
        let (exchange, next) = Exchange::begin(mechanism, self.initial.as_deref(), core.bindings.clone());
        self.exchange = Some(exchange);
        self.go_on(next, core, io)
    }

    fn go_on(&mut self, next: sasl::Next, core: &mut Core, io: &mut Io) -> Next {
        match next {
            sasl::Next::Challenge(message) => {
                io.out.extend_from_slice(format!("+ {}\r\n", STANDARD.encode(message)).as_bytes());
                self.read(core, io)
            }
            sasl::Next::Keys(login) => Next::Ask(Question::Keys(login)),
            sasl::Next::Login(claim) => Next::Ask(Question::Login(claim)),
            sasl::Next::Done => match self.who.take() {
                Some(who) => logged_in(who, core),
                None => Next::Done(Reply::unexpected(None)),
            },
            sasl::Next::Failed(Why::Cancelled) => Next::Done(Reply::bad("Cancelled")),
            sasl::Next::Failed(Why::NotBase64) => Next::Done(Reply::bad("The response is not base64")),
            sasl::Next::Failed(Why::Malformed | Why::Refused) => {
                refused(Reply::no("AUTHENTICATIONFAILED", WRONG), core, io)
            }
            sasl::Next::Failed(Why::Unconfirmed) => {
                io.out.extend_from_slice(b"* BYE The login was broken off\r\n");
                Next::Close(Reply::bad("The login was broken off"))
            }
        }
    }

    fn read(&mut self, core: &mut Core, io: &mut Io) -> Next {
        match io.reader.read_line(io.input) {
            Read::Command(line) => match &mut self.exchange {
                Some(exchange) => {
                    let next = exchange.respond(&line);
                    self.go_on(next, core, io)
                }
                None => Next::Done(Reply::unexpected(None)),
            },
            Read::Nothing => Next::NeedInput,
            _ => {
                io.out.extend_from_slice(b"* BYE The line is too long\r\n");
                Next::Close(Reply::bad("The line is too long"))
            }
        }
    }
}

impl Task for Authenticate {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (answer, &mut self.exchange) {
            (None, None) => self.begin(core, io),
            (None, Some(_)) => self.read(core, io),
            (Some(Answer::Keys(keys)), Some(exchange)) => {
                let next = exchange.hears_keys(keys);
                self.go_on(next, core, io)
            }
            (Some(Answer::Login(Ok(who))), Some(exchange)) => {
                self.who = Some(who);
                let next = exchange.accepted();
                self.go_on(next, core, io)
            }
            (Some(answer), _) => heard(core, answer, io),
        }
    }
}

const WRONG: &str = "The name or the password is wrong";

fn privacy_required() -> Next {
    Next::Done(Reply::no("PRIVACYREQUIRED", "Passwords are taken only over TLS"))
}

fn refused(reply: Reply, core: &mut Core, io: &mut Io) -> Next {
    core.refused_logins += 1;
    if core.refused_logins < REFUSED_LOGINS_MAX {
        return Next::Done(reply);
    }
    io.out.extend_from_slice(b"* BYE Too many wrong logins\r\n");
    Next::Close(reply)
}

fn logged_in(who: Authenticated, core: &mut Core) -> Next {
    core.login = Some(who);
    let capabilities = capabilities(core.stage());
    Next::Done(Reply::ok("Logged in").with_code(format!("CAPABILITY {capabilities}")))
}

fn heard(core: &mut Core, answer: Answer, io: &mut Io) -> Next {
    match answer {
        Answer::Login(Ok(who)) => logged_in(who, core),
        Answer::Login(Err(LoginRefused::Busy)) => {
            Next::Done(Reply::no("UNAVAILABLE", "Logins cannot be checked now, try again later"))
        }
        Answer::Login(Err(LoginRefused::Unsure)) => {
            let text = "This is not known here, and the cluster cannot be asked now; try again later";
            refused(Reply::no("UNAVAILABLE", text), core, io)
        }
        Answer::Login(Err(LoginRefused::Wrong)) => {
            refused(Reply::no("AUTHENTICATIONFAILED", WRONG), core, io)
        }
        other => Next::Done(Reply::unexpected(Some(other))),
    }
}
