//! The login that a relay wants of us (RFC 4954): PLAIN, else LOGIN; over TLS alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use super::{Client, Phase, Step};
use crate::delivery::reply::Reply;
use crate::state::secret::Secret;

/// Who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// Which ways in EHLO's answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ways {
    plain: bool,
    login: bool,
}

impl Ways {
    pub fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut ways = Self::default();
        for word in words {
            ways.plain |= word.eq_ignore_ascii_case("PLAIN");
            ways.login |= word.eq_ignore_ascii_case("LOGIN");
        }
        ways
    }
}

impl Client {
    /// Once all that may stand before it is over.
    pub(super) fn log_in(&mut self, out: &mut BytesMut) -> Option<Step> {
        let Some(login) = &self.login else {
            self.phase = Phase::Ready;
            return Some(Step::Ready);
        };
        if !self.tls_up {
            let why = "the password is not sent without TLS";
            return Some(Step::Lost(Reply::of_ours(451, (4, 7, 11), why)));
        }
        match self.offers.auth {
            Ways { plain: true, .. } => {
                let message = format!("\0{}\0{}", login.user, login.password.0);
                out.extend_from_slice(format!("AUTH PLAIN {}\r\n", STANDARD.encode(message)).as_bytes());
                self.phase = Phase::LoggingIn(Vec::new());
            }
            Ways { login: true, .. } => {
                out.extend_from_slice(b"AUTH LOGIN\r\n");
                // Said from the end.
                self.phase = Phase::LoggingIn(vec![login.password.0.clone(), login.user.clone()]);
            }
            Ways { .. } => {
                let why = "the server offers no way to log in that is known here";
                return Some(Step::Lost(Reply::of_ours(451, (4, 7, 4), why)));
            }
        }
        None
    }

    /// An operator's mistake is not the sender's: whatever the server says, the mail waits.
    pub(super) fn on_login(&mut self, reply: &Reply, out: &mut BytesMut) -> Option<Step> {
        let Phase::LoggingIn(left) = &mut self.phase else { return None };
        if reply.is(334)
            && let Some(word) = left.pop()
        {
            out.extend_from_slice(format!("{}\r\n", STANDARD.encode(word)).as_bytes());
            return None;
        }
        if reply.is(235) {
            self.phase = Phase::Ready;
            return Some(Step::Ready);
        }
        let why = format!("the server does not let us in: {reply}");
        Some(Step::Lost(Reply::of_ours(451, (4, 7, 8), why)))
    }
}
