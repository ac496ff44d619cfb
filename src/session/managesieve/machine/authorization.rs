//! Before the login: STARTTLS (RFC 5804 2.2) and AUTHENTICATE (2.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use super::{Command, ManageSieve, Next, Phase, Question, REFUSED_LOGINS_MAX};
use crate::session::login::{Authenticated, Keys, LoginRefused};
use crate::session::machine::Step;
use crate::session::managesieve::reply::{Code, bye, no, ok, string};
use crate::session::sasl::{self, Exchange, Mechanism, Why};

impl ManageSieve {
    /// Requirement 14: no password in the clear unless the policy says so.
    pub(super) fn takes_logins(&self) -> bool {
        self.peer.tls || self.policy.login_without_tls
    }

    /// LOGIN is not among them: it was never standardised, and all clients have PLAIN.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let mut offered = sasl::offered(self.policy.scram, &self.bindings);
        offered.retain(|mechanism| *mechanism != Mechanism::Login);
        offered
    }

    pub(super) fn before_login(&mut self, command: Command, out: &mut BytesMut) -> Option<Next> {
        match command {
            Command::StartTls if self.peer.tls => self.bad_as(Code::None, "TLS is active already", out),
            Command::StartTls if !self.policy.tls_offered => {
                self.bad_as(Code::None, "TLS is not available", out)
            }
            Command::StartTls => {
                ok(Code::None, "Begin TLS negotiation", out);
                Some(Step::StartTls)
            }
            Command::Authenticate { .. } if !self.takes_logins() => {
                self.bad_as(Code::EncryptNeeded, "Logins in the clear are refused; use STARTTLS first", out)
            }
            Command::Authenticate { mechanism, initial } => {
                let named = |offered: &Mechanism| offered.name() == mechanism;
                let Some(mechanism) = self.mechanisms().into_iter().find(named) else {
                    return self.bad_as(Code::None, "Unknown authentication mechanism", out);
                };
                let (exchange, next) = Exchange::begin(mechanism, initial.as_deref(), self.bindings.clone());
                self.go_on(Box::new(exchange), next, out)
            }
            _ => self.bad_as(Code::None, "Log in first", out),
        }
    }

    pub(super) fn on_sasl(
        &mut self,
        mut exchange: Box<Exchange>,
        response: &[u8],
        out: &mut BytesMut,
    ) -> Option<Next> {
        let next = exchange.respond(response);
        self.go_on(exchange, next, out)
    }

    fn go_on(&mut self, exchange: Box<Exchange>, next: sasl::Next, out: &mut BytesMut) -> Option<Next> {
        match next {
            sasl::Next::Challenge(message) => {
                string(&STANDARD.encode(message), out);
                out.extend_from_slice(b"\r\n");
                self.phase = Phase::Sasl(exchange);
                None
            }
            sasl::Next::Keys(login) => {
                self.phase = Phase::LoggingIn(exchange);
                Some(Step::Ask(Question::Keys(login)))
            }
            sasl::Next::Login(claim) => {
                self.phase = Phase::LoggingIn(exchange);
                Some(Step::Ask(Question::Login(claim)))
            }
            sasl::Next::Failed(Why::Cancelled) => self.bad_as(Code::None, "Authentication cancelled", out),
            sasl::Next::Failed(Why::Refused) => {
                self.refuse_login(Code::None, WRONG, out);
                None
            }
            // The success is said with the mechanism's last word: nobody has to confirm it.
            sasl::Next::Done | sasl::Next::Failed(Why::NotBase64 | Why::Malformed | Why::Unconfirmed) => {
                self.bad_as(Code::None, "Cannot decode the response", out)
            }
        }
    }

    pub(super) fn on_keys(&mut self, keys: Keys, out: &mut BytesMut) {
        let before = std::mem::replace(&mut self.phase, Phase::Authorization);
        let Phase::LoggingIn(mut exchange) = before else { return };
        let next = exchange.hears_keys(keys);
        // A challenge or a failure: nothing that is asked.
        self.go_on(exchange, next, out);
    }

    pub(super) fn on_login(&mut self, login: Result<Authenticated, LoginRefused>, out: &mut BytesMut) {
        let before = std::mem::replace(&mut self.phase, Phase::Authorization);
        let Phase::LoggingIn(mut exchange) = before else { return };
        match login {
            Ok(who) => {
                let last = exchange.accepted_with_success().map(|message| STANDARD.encode(message));
                ok(last.as_deref().map_or(Code::None, Code::Sasl), "Logged in", out);
                self.phase = Phase::LoggedIn(who);
            }
            Err(LoginRefused::Wrong) => self.refuse_login(Code::None, WRONG, out),
            Err(LoginRefused::Unsure) => self.refuse_login(Code::TryLater, UNABLE, out),
            Err(LoginRefused::Busy) => no(Code::TryLater, UNABLE, out),
        }
    }

    fn refuse_login(&mut self, code: Code<'_>, why: &str, out: &mut BytesMut) {
        self.refused_logins += 1;
        if self.refused_logins >= REFUSED_LOGINS_MAX {
            bye(code, why, out);
            self.phase = Phase::Closing;
        } else {
            no(code, why, out);
        }
    }
}

const WRONG: &str = "The login is not valid";
const UNABLE: &str = "Temporarily unable, try again";
