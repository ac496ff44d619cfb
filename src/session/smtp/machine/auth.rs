//! AUTH (RFC 4954): the SASL dialogue and what becomes of the login.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use super::{Asked, Phase, Question, REFUSED_LOGINS_MAX, Smtp};
use crate::session::login::{Authenticated, Credentials, LoginRefused};
use crate::session::machine::Step;
use crate::session::smtp::Flavor;
use crate::session::smtp::reply;

/// What the next line answers.
pub(super) enum Sasl {
    Plain,
    LoginName,
    LoginPassword(Vec<u8>),
}

impl Smtp {
    /// Requirement 14: no AUTH in the clear unless the policy says so.
    pub(super) fn offers_auth(&self) -> bool {
        let secure = self.peer.tls || (self.policy.auth_without_tls && !self.policy.tls_forced);
        self.policy.flavor != Flavor::Lmtp && secure && self.login.is_none()
    }

    pub(super) fn on_auth(
        &mut self,
        mechanism: &str,
        initial: Option<String>,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        if self.policy.flavor == Flavor::Lmtp {
            return self.bad(reply::NOT_IMPLEMENTED, out);
        }
        if !self.hello.as_ref().is_some_and(|hello| hello.extended) {
            return self.bad(reply::HELLO_FIRST, out);
        }
        if self.login.is_some() {
            return self.bad(reply::LOGIN_ALREADY, out);
        }
        if !matches!(self.phase, Phase::Ready) {
            return self.bad(reply::BAD_SEQUENCE, out);
        }
        if !self.offers_auth() {
            return self.bad(reply::LOGIN_NEEDS_TLS, out);
        }
        let (sasl, prompt) = match mechanism {
            "PLAIN" => (Sasl::Plain, reply::SASL_EMPTY),
            "LOGIN" => (Sasl::LoginName, reply::SASL_NAME),
            _ => return self.bad(reply::BAD_MECHANISM, out),
        };
        match initial {
            // RFC 4954 4: a single `=` is an empty initial response.
            Some(initial) if initial == "=" => self.on_sasl(sasl, b"", out),
            Some(initial) => self.on_sasl(sasl, initial.as_bytes(), out),
            None => {
                self.phase = Phase::Sasl(sasl);
                self.say(prompt, out)
            }
        }
    }

    pub(super) fn on_sasl(&mut self, sasl: Sasl, response: &[u8], out: &mut BytesMut) -> Option<Asked> {
        if response == b"*" {
            return self.bad(reply::CANCELLED, out);
        }
        let credentials = match sasl {
            Sasl::Plain => Credentials::from_sasl_plain(response),
            Sasl::LoginName => match STANDARD.decode(response) {
                Ok(name) => {
                    self.phase = Phase::Sasl(Sasl::LoginPassword(name));
                    return self.say(reply::SASL_PASSWORD, out);
                }
                Err(_) => None,
            },
            Sasl::LoginPassword(name) => {
                STANDARD.decode(response).ok().and_then(|password| Credentials::new(&name, &password))
            }
        };
        match credentials {
            Some(credentials) => {
                self.phase = Phase::LoggingIn;
                Some(Step::Ask(Question::Login(credentials)))
            }
            None => self.bad(reply::BAD_BASE64, out),
        }
    }

    pub(super) fn on_login(&mut self, login: Result<Authenticated, LoginRefused>, out: &mut BytesMut) {
        self.phase = Phase::Ready;
        match login {
            Ok(who) => {
                self.login = Some(who);
                reply::LOGGED_IN.write(out);
            }
            Err(LoginRefused::Busy) => reply::LOGIN_BUSY.write(out),
            Err(LoginRefused::Wrong) => {
                self.refused_logins += 1;
                if self.refused_logins >= REFUSED_LOGINS_MAX {
                    reply::TOO_MANY_LOGINS.write(out);
                    self.phase = Phase::Closing;
                } else {
                    reply::WRONG_LOGIN.write(out);
                }
            }
        }
    }
}
