//! One SASL exchange (RFC 4422), for IMAP, POP3, SMTP and ManageSieve alike: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and
//! SCRAM-SHA-256-PLUS (RFC 7677), and for the operator alone EXTERNAL. Pure: the protocol carries the messages and asks the questions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::channel::ChannelBindings;
use super::login::{CREDENTIAL_BYTES_MAX, Claim, Credentials, Keys};
use super::scram::{Challenge, ClientFirst, Failed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    ScramSha256Plus,
    ScramSha256,
    Plain,
    Login,
    /// RFC 4422 A: who it is was settled by other means. Offered where that is so, and nowhere else.
    External,
}

impl Mechanism {
    /// Those for everybody, the strongest first.
    pub const ALL: [Mechanism; 4] =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::External => "EXTERNAL",
        }
    }
}

/// The mechanisms of a connection on which passwords may be sent, the strongest first. `scram` is the setting.
pub fn offered(scram: bool, bindings: &ChannelBindings) -> Vec<Mechanism> {
    let mut offered = Mechanism::ALL.to_vec();
    offered.retain(|mechanism| match mechanism {
        Mechanism::ScramSha256Plus => scram && bindings.any(),
        Mechanism::ScramSha256 => scram,
        Mechanism::Plain | Mechanism::Login => true,
        Mechanism::External => false,
    });
    offered
}

/// Between a client's AUTHENTICATE and its end.
pub struct Exchange {
    waits: Waits,
    bindings: ChannelBindings,
}

enum Waits {
    Plain,
    LoginName,
    LoginPassword(Vec<u8>),
    External,
    ScramFirst {
        plus: bool,
    },
    /// For [`Exchange::hears_keys`].
    Keys(Box<ClientFirst>),
    ScramFinal(Box<Challenge>),
    /// For [`Exchange::accepted`]; then, with SCRAM, the client hears our proof.
    Verdict(Option<String>),
    /// For the client's word that it has heard our proof: nothing but an empty line.
    Confirmation,
    Over,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// For the client, in base64; its next line is for [`Exchange::respond`].
    Challenge(Vec<u8>),
    /// The answer is for [`Exchange::hears_keys`].
    Keys(String),
    /// The answer, when it is yes, is for [`Exchange::accepted`]; else the exchange is over.
    Login(Claim),
    /// Who was accepted is logged in.
    Done,
    Failed(Why),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// By the client's `*`.
    Cancelled,
    NotBase64,
    /// Not as the mechanism has it.
    Malformed,
    /// Counts as a wrong password.
    Refused,
    /// The login was good, and the client does not take it: it must begin anew, on another connection.
    Unconfirmed,
}

impl Exchange {
    /// `initial`: the client's first response, when it came with the command; `=` is an empty one.
    pub fn begin(mechanism: Mechanism, initial: Option<&[u8]>, bindings: ChannelBindings) -> (Self, Next) {
        let (waits, prompt): (_, &[u8]) = match mechanism {
            Mechanism::Plain => (Waits::Plain, b""),
            Mechanism::Login => (Waits::LoginName, b"Username:"),
            Mechanism::External => (Waits::External, b""),
            Mechanism::ScramSha256 => (Waits::ScramFirst { plus: false }, b""),
            Mechanism::ScramSha256Plus => (Waits::ScramFirst { plus: true }, b""),
        };
        let mut exchange = Self { waits, bindings };
        let next = match initial {
            None => Next::Challenge(prompt.to_vec()),
            Some(b"=") => exchange.respond(b""),
            Some(initial) => exchange.respond(initial),
        };
        (exchange, next)
    }

    /// A line of the client, without its end.
    pub fn respond(&mut self, line: &[u8]) -> Next {
        let waits = std::mem::replace(&mut self.waits, Waits::Over);
        if let Waits::Confirmation = waits {
            return if line.is_empty() { Next::Done } else { Next::Failed(Why::Unconfirmed) };
        }
        if line == b"*" {
            return Next::Failed(Why::Cancelled);
        }
        let Ok(message) = STANDARD.decode(line) else { return Next::Failed(Why::NotBase64) };
        match waits {
            Waits::Plain => self.claim(Credentials::from_plain(&message)),
            Waits::LoginName => {
                self.waits = Waits::LoginPassword(message);
                Next::Challenge(b"Password:".to_vec())
            }
            Waits::LoginPassword(name) => self.claim(Credentials::new(&name, &message)),
            // Whom to act for must be said: the operator has no mailbox of his own.
            Waits::External => match external(message) {
                Some(name) => {
                    self.waits = Waits::Verdict(None);
                    Next::Login(Claim::External(name))
                }
                None => Next::Failed(Why::Malformed),
            },
            Waits::ScramFirst { plus } => match ClientFirst::parse(&message, plus, &self.bindings) {
                Ok(first) => {
                    let login = first.login.clone();
                    self.waits = Waits::Keys(Box::new(first));
                    Next::Keys(login)
                }
                Err(failed) => Next::Failed(failed.into()),
            },
            Waits::ScramFinal(challenge) => match challenge.prove(&message) {
                Ok((proof, server_final)) => {
                    self.waits = Waits::Verdict(Some(server_final));
                    Next::Login(Claim::Proof(Box::new(proof)))
                }
                Err(failed) => Next::Failed(failed.into()),
            },
            Waits::Keys(_) | Waits::Verdict(_) | Waits::Confirmation | Waits::Over => {
                Next::Failed(Why::Malformed)
            }
        }
    }

    fn claim(&mut self, credentials: Option<Credentials>) -> Next {
        match credentials {
            Some(credentials) => {
                self.waits = Waits::Verdict(None);
                Next::Login(Claim::Password(credentials))
            }
            None => Next::Failed(Why::Malformed),
        }
    }

    pub fn hears_keys(&mut self, keys: Keys) -> Next {
        match std::mem::replace(&mut self.waits, Waits::Over) {
            Waits::Keys(first) => {
                let challenge = Challenge::new(*first, keys);
                let server_first = challenge.server_first().as_bytes().to_vec();
                self.waits = Waits::ScramFinal(Box::new(challenge));
                Next::Challenge(server_first)
            }
            _ => Next::Failed(Why::Malformed),
        }
    }

    /// The claim is good. With SCRAM the client first hears our proof; IMAP, POP3 and SMTP cannot say it with
    /// the success itself (RFC 4422 3.6).
    pub fn accepted(&mut self) -> Next {
        match std::mem::replace(&mut self.waits, Waits::Over) {
            Waits::Verdict(Some(server_final)) => {
                self.waits = Waits::Confirmation;
                Next::Challenge(server_final.into_bytes())
            }
            _ => Next::Done,
        }
    }

    /// As [`Exchange::accepted`], where the success itself carries the mechanism's last word (RFC 5804 2.1): the exchange
    /// is over.
    pub fn accepted_with_success(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.waits, Waits::Over) {
            Waits::Verdict(last) => last.map(String::into_bytes),
            _ => None,
        }
    }
}

fn external(authzid: Vec<u8>) -> Option<String> {
    let name = String::from_utf8(authzid).ok()?;
    (!name.is_empty() && name.len() <= CREDENTIAL_BYTES_MAX && !name.contains('\0')).then_some(name)
}

impl From<Failed> for Why {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Malformed => Why::Malformed,
            Failed::Refused => Why::Refused,
        }
    }
}
