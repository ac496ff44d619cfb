//! AUTHORIZATION (RFC 1939 4): STLS, USER and PASS, AUTH (RFC 5034).

use bytes::BytesMut;

use super::transaction::Session;
use super::{Asked, Maildrop, NoEntry, Phase, Pop3, Question, REFUSED_LOGINS_MAX, line, ok};
use crate::session::login::{Authenticated, Credentials, LoginRefused};
use crate::session::machine::Step;
use crate::session::pop3::command::Command;

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
                out.extend_from_slice(b"+OK Begin TLS negotiation\r\n");
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
                    Some(credentials) => self.log_in(credentials),
                    None => self.bad("USER first", out),
                }
            }
            Command::Auth { mechanism: None, .. } => {
                out.extend_from_slice(b"+OK\r\nPLAIN\r\n.\r\n");
                None
            }
            Command::Auth { mechanism: Some(mechanism), initial } if mechanism == "PLAIN" => match initial {
                Some(initial) => self.on_sasl(initial.as_bytes(), out),
                None => {
                    self.phase = Phase::Sasl;
                    out.extend_from_slice(b"+ \r\n");
                    None
                }
            },
            Command::Auth { .. } => self.bad("unknown authentication mechanism", out),
            _ => self.bad("log in first", out),
        }
    }

    pub(super) fn on_sasl(&mut self, response: &[u8], out: &mut BytesMut) -> Option<Asked> {
        if response == b"*" {
            return self.bad("authentication cancelled", out);
        }
        match Credentials::from_sasl_plain(response) {
            Some(credentials) => self.log_in(credentials),
            None => self.bad("cannot decode the response", out),
        }
    }

    fn log_in(&mut self, credentials: Credentials) -> Option<Asked> {
        self.phase = Phase::LoggingIn;
        Some(Step::Ask(Question::Login(credentials)))
    }

    pub(super) fn on_login(&mut self, login: Result<(Authenticated, Maildrop), NoEntry>, out: &mut BytesMut) {
        self.phase = Phase::Authorization { user: None };
        match login {
            Ok((who, drop)) => {
                let session = Session::new(drop);
                let (count, octets) = session.totals();
                line(out, format_args!("+OK {} has {count} messages ({octets} octets)", who.name()));
                self.phase = Phase::Transaction(Box::new(session));
            }
            Err(NoEntry::Refused(LoginRefused::Wrong)) => {
                line(out, format_args!("-ERR [AUTH] the login is not valid"));
                self.refused_logins += 1;
                if self.refused_logins >= REFUSED_LOGINS_MAX {
                    self.phase = Phase::Closing;
                }
            }
            Err(NoEntry::Refused(LoginRefused::Busy) | NoEntry::Fault(_)) => {
                line(out, format_args!("-ERR [SYS/TEMP] temporarily unable, try again"));
            }
        }
    }
}
