//! AUTH (RFC 4954): the SASL dialogue and what becomes of the login.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use super::{Asked, Phase, Question, REFUSED_LOGINS_MAX, Smtp};
use crate::session::login::{Authenticated, Keys, LoginRefused};
use crate::session::machine::Step;
use crate::session::sasl::{self, Exchange, Mechanism, Next, Why};
use crate::session::smtp::Flavor;
use crate::session::smtp::reply::{self, Reply};

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
        let named = |offered: &Mechanism| offered.name() == mechanism;
        let Some(mechanism) = self.mechanisms().into_iter().find(named) else {
            return self.bad(reply::BAD_MECHANISM, out);
        };
        let initial = initial.as_deref().map(str::as_bytes);
        let (exchange, next) = Exchange::begin(mechanism, initial, self.bindings.clone());
        self.go_on(exchange, next, None, out)
    }

    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        sasl::offered(self.policy.scram, &self.bindings)
    }

    pub(super) fn on_sasl(
        &mut self,
        mut exchange: Exchange,
        who: Option<Authenticated>,
        response: &[u8],
        out: &mut BytesMut,
    ) -> Option<Asked> {
        let next = exchange.respond(response);
        self.go_on(exchange, next, who, out)
    }

    fn go_on(
        &mut self,
        exchange: Exchange,
        next: Next,
        who: Option<Authenticated>,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        match next {
            Next::Challenge(message) => {
                self.phase = Phase::Sasl(exchange, who);
                let text = STANDARD.encode(message).into();
                self.say(Reply { code: 334, enhanced: "", text }, out)
            }
            Next::Keys(login) => {
                self.phase = Phase::LoggingIn(exchange);
                Some(Step::Ask(Question::Keys(login)))
            }
            Next::Login(claim) => {
                self.phase = Phase::LoggingIn(exchange);
                Some(Step::Ask(Question::Login(claim)))
            }
            Next::Done => {
                self.login = who;
                self.say(reply::LOGGED_IN, out)
            }
            Next::Failed(Why::Cancelled) => self.bad(reply::CANCELLED, out),
            Next::Failed(Why::NotBase64 | Why::Malformed) => self.bad(reply::BAD_BASE64, out),
            Next::Failed(Why::Refused) => {
                self.refuse_login(reply::WRONG_LOGIN, out);
                None
            }
            Next::Failed(Why::Unconfirmed) => self.close(reply::LOGIN_BROKEN_OFF, out),
        }
    }

    pub(super) fn on_keys(&mut self, keys: Keys, out: &mut BytesMut) {
        let Phase::LoggingIn(mut exchange) = std::mem::replace(&mut self.phase, Phase::Ready) else { return };
        let next = exchange.hears_keys(keys);
        // A challenge or a failure: nothing that is asked.
        self.go_on(exchange, next, None, out);
    }

    pub(super) fn on_login(&mut self, login: Result<Authenticated, LoginRefused>, out: &mut BytesMut) {
        let Phase::LoggingIn(mut exchange) = std::mem::replace(&mut self.phase, Phase::Ready) else { return };
        match login {
            Ok(who) => {
                let next = exchange.accepted();
                self.go_on(exchange, next, Some(who), out);
            }
            Err(LoginRefused::Busy) => reply::LOGIN_BUSY.write(out),
            Err(LoginRefused::Unsure) => self.refuse_login(reply::LOGIN_BUSY, out),
            Err(LoginRefused::Wrong) => self.refuse_login(reply::WRONG_LOGIN, out),
        }
    }

    fn refuse_login(&mut self, reply: Reply, out: &mut BytesMut) {
        self.refused_logins += 1;
        if self.refused_logins >= REFUSED_LOGINS_MAX {
            reply::TOO_MANY_LOGINS.write(out);
            self.phase = Phase::Closing;
        } else {
            reply.write(out);
        }
    }
}
