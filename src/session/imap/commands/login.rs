//! STARTTLS, AUTHENTICATE and LOGIN (RFC 3501 6.2, RFC 4959, RFC 4616).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::session::imap::capability::capabilities;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::limits::REFUSED_LOGINS_MAX;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::reader::Read;
use crate::session::login::{Credentials, LoginRefused};

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
            None => check(core, Credentials::new(&self.name, &self.password), io),
        }
    }
}

/// What a SASL exchange waits for.
enum Waits {
    Nothing,
    Plain,
    LoginName,
    LoginPassword(Vec<u8>),
    Verdict,
}

pub struct Authenticate {
    mechanism: String,
    initial: Option<Vec<u8>>,
    waits: Waits,
}

impl Authenticate {
    pub fn new(mechanism: String, initial: Option<Vec<u8>>) -> Self {
        Self { mechanism, initial, waits: Waits::Nothing }
    }

    fn begin(&mut self, core: &mut Core, io: &mut Io) -> Next {
        let (waits, challenge) = match self.mechanism.as_str() {
            "PLAIN" => (Waits::Plain, "+ \r\n"),
            // "Username:"
            "LOGIN" => (Waits::LoginName, "+ VXNlcm5hbWU6\r\n"),
            _ => return Next::Done(Reply::no("CANNOT", "The mechanism is not supported")),
        };
        if !core.may_send_password() {
            return privacy_required();
        }
        self.waits = waits;
        match self.initial.take() {
            Some(response) => self.respond(core, &response, io),
            None => {
                io.out.extend_from_slice(challenge.as_bytes());
                self.read(core, io)
            }
        }
    }

    fn read(&mut self, core: &mut Core, io: &mut Io) -> Next {
        match io.reader.read_line(io.input) {
            Read::Command(line) if line == b"*" => Next::Done(Reply::bad("Cancelled")),
            Read::Command(line) => self.respond(core, &line, io),
            Read::Nothing => Next::NeedInput,
            _ => {
                io.out.extend_from_slice(b"* BYE The line is too long\r\n");
                Next::Close(Reply::bad("The line is too long"))
            }
        }
    }

    fn respond(&mut self, core: &mut Core, response: &[u8], io: &mut Io) -> Next {
        match std::mem::replace(&mut self.waits, Waits::Verdict) {
            Waits::Plain => {
                if STANDARD.decode(response).is_err() {
                    return not_base64();
                }
                check(core, Credentials::from_sasl_plain(response), io)
            }
            Waits::LoginName => {
                let Ok(name) = STANDARD.decode(response) else { return not_base64() };
                self.waits = Waits::LoginPassword(name);
                // "Password:"
                io.out.extend_from_slice(b"+ UGFzc3dvcmQ6\r\n");
                self.read(core, io)
            }
            Waits::LoginPassword(name) => match STANDARD.decode(response) {
                Ok(password) => check(core, Credentials::new(&name, &password), io),
                Err(_) => not_base64(),
            },
            Waits::Nothing | Waits::Verdict => Next::Done(Reply::unexpected(None)),
        }
    }
}

impl Task for Authenticate {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (answer, &self.waits) {
            (Some(answer), _) => heard(core, answer, io),
            (None, Waits::Nothing) => self.begin(core, io),
            (None, _) => self.read(core, io),
        }
    }
}

fn not_base64() -> Next {
    Next::Done(Reply::bad("The response is not base64"))
}

fn privacy_required() -> Next {
    Next::Done(Reply::no("PRIVACYREQUIRED", "Passwords are taken only over TLS"))
}

fn check(core: &mut Core, credentials: Option<Credentials>, io: &mut Io) -> Next {
    match credentials {
        Some(credentials) => Next::Ask(Question::Login(credentials)),
        None => refused(core, io),
    }
}

fn refused(core: &mut Core, io: &mut Io) -> Next {
    let reply = Reply::no("AUTHENTICATIONFAILED", "The name or the password is wrong");
    core.refused_logins += 1;
    if core.refused_logins < REFUSED_LOGINS_MAX {
        return Next::Done(reply);
    }
    io.out.extend_from_slice(b"* BYE Too many wrong logins\r\n");
    Next::Close(reply)
}

fn heard(core: &mut Core, answer: Answer, io: &mut Io) -> Next {
    match answer {
        Answer::Login(Ok(who)) => {
            core.login = Some(who);
            let capabilities = capabilities(core.stage());
            Next::Done(Reply::ok("Logged in").with_code(format!("CAPABILITY {capabilities}")))
        }
        Answer::Login(Err(LoginRefused::Busy)) => {
            Next::Done(Reply::no("UNAVAILABLE", "Logins cannot be checked now, try again later"))
        }
        Answer::Login(Err(LoginRefused::Wrong)) => refused(core, io),
        other => Next::Done(Reply::unexpected(Some(other))),
    }
}
