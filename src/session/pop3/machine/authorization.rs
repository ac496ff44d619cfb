//! AUTHORIZATION (RFC 1939 4): STLS, USER and PASS, AUTH (RFC 5034).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use super::transaction::Session;
use super::{Asked, Entry, NoEntry, Phase, Pop3, Question, REFUSED_LOGINS_MAX, line, ok};
use crate::session::login::{Claim, Credentials, Keys, LoginRefused};
use crate::session::machine::Step;
use crate::session::pop3::command::Command;
use crate::session::sasl::{self, Exchange, Mechanism, Next, Why};

impl Pop3 {
    /// Requirement 14: no password in the clear unless the policy says so.
    pub(super) fn takes_logins(&self) -> bool {
        self.peer.tls || self.policy.login_without_tls
    }

    pub(super) fn in_authorization(
        &mut self,
        command: Command,
        user: Option<String>,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        match command {
            Command::Stls if self.peer.tls => self.bad("TLS is active already", out),
            Command::Stls if !self.policy.tls_offered => self.bad("TLS is not available", out),
            Command::Stls => {
                ok("Begin TLS negotiation", out);
                Some(Step::StartTls)
            }
            Command::User(_) | Command::Pass(_) | Command::Auth { .. } if !self.takes_logins() => {
                self.bad("plaintext logins are refused; use STLS first", out)
            }
            Command::User(name) => {
                self.phase = Phase::Authorization { user: Some(name) };
                ok("Send the password", out)
            }
            Command::Pass(password) => {
                let user = user.unwrap_or_default();
                match Credentials::new(user.as_bytes(), password.as_bytes()) {
                    Some(credentials) => {
                        self.phase = Phase::LoggingIn(None);
                        Some(Step::Ask(Question::Login(Claim::Password(credentials))))
                    }
                    None => self.bad("USER first", out),
                }
            }
            Command::Auth { mechanism: None, .. } => {
                ok("", out);
                for mechanism in self.mechanisms() {
                    line(out, format_args!("{}", mechanism.name()));
                }
                out.extend_from_slice(b".\r\n");
                None
            }
            Command::Auth { mechanism: Some(mechanism), initial } => {
                let named = |offered: &Mechanism| offered.name() == mechanism;
                let Some(mechanism) = self.mechanisms().into_iter().find(named) else {
                    return self.bad("unknown authentication mechanism", out);
                };
                let initial = initial.as_deref().map(str::as_bytes);
                let (exchange, next) = Exchange::begin(mechanism, initial, self.bindings.clone());
                self.go_on(exchange, next, None, out)
            }
            _ => self.bad("log in first", out),
        }
    }

    /// LOGIN is not among them: USER and PASS are the same, and no client asks for it.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let mut offered = sasl::offered(self.policy.scram, &self.bindings);
        offered.retain(|mechanism| *mechanism != Mechanism::Login);
        offered
    }

    pub(super) fn on_sasl(
        &mut self,
        (mut exchange, entry): (Exchange, Option<Entry>),
        response: &[u8],
        out: &mut BytesMut,
    ) -> Option<Asked> {
        let next = exchange.respond(response);
        self.go_on(exchange, next, entry, out)
    }

    fn go_on(
        &mut self,
        exchange: Exchange,
        next: Next,
        entry: Option<Entry>,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        match next {
            Next::Challenge(message) => {
                self.phase = Phase::Sasl(Box::new((exchange, entry)));
                line(out, format_args!("+ {}", STANDARD.encode(message)));
                None
            }
            Next::Keys(login) => {
                self.phase = Phase::LoggingIn(Some(exchange));
                Some(Step::Ask(Question::Keys(login)))
            }
            Next::Login(claim) => {
                self.phase = Phase::LoggingIn(Some(exchange));
                Some(Step::Ask(Question::Login(claim)))
            }
            Next::Done => {
                if let Some(entry) = entry {
                    self.let_in(entry, out);
                }
                None
            }
            Next::Failed(Why::Cancelled) => self.bad("authentication cancelled", out),
            Next::Failed(Why::NotBase64 | Why::Malformed) => self.bad("cannot decode the response", out),
            Next::Failed(Why::Refused) => {
                self.refuse_login(WRONG, out);
                None
            }
            Next::Failed(Why::Unconfirmed) => {
                line(out, format_args!("-ERR the login was broken off"));
                self.phase = Phase::Closing;
                Some(Step::Close)
            }
        }
    }

    pub(super) fn on_keys(&mut self, keys: Keys, out: &mut BytesMut) {
        let before = std::mem::replace(&mut self.phase, Phase::Authorization { user: None });
        let Phase::LoggingIn(Some(mut exchange)) = before else { return };
        let next = exchange.hears_keys(keys);
        // A challenge or a failure: nothing that is asked.
        self.go_on(exchange, next, None, out);
    }

    pub(super) fn on_login(&mut self, login: Result<Entry, NoEntry>, out: &mut BytesMut) {
        let before = std::mem::replace(&mut self.phase, Phase::Authorization { user: None });
        match (login, before) {
            (Ok(entry), Phase::LoggingIn(Some(mut exchange))) => {
                let next = exchange.accepted();
                self.go_on(exchange, next, Some(entry), out);
            }
            (Ok(entry), _) => self.let_in(entry, out),
            (Err(NoEntry::Refused(LoginRefused::Wrong)), _) => self.refuse_login(WRONG, out),
            (Err(NoEntry::Refused(LoginRefused::Unsure)), _) => self.refuse_login(UNABLE, out),
            (Err(NoEntry::Refused(LoginRefused::Busy) | NoEntry::Fault(_)), _) => {
                line(out, format_args!("{UNABLE}"));
            }
        }
    }

    fn let_in(&mut self, (who, drop): Entry, out: &mut BytesMut) {
        let session = Session::new(drop);
        let (count, octets) = session.totals();
        line(out, format_args!("+OK {} has {count} messages ({octets} octets)", who.name()));
        self.phase = Phase::Transaction(Box::new(session));
    }

    fn refuse_login(&mut self, why: &str, out: &mut BytesMut) {
        line(out, format_args!("{why}"));
        self.refused_logins += 1;
        if self.refused_logins >= REFUSED_LOGINS_MAX {
            self.phase = Phase::Closing;
        }
    }
}

const WRONG: &str = "-ERR [AUTH] the login is not valid";
const UNABLE: &str = "-ERR [SYS/TEMP] temporarily unable, try again";
