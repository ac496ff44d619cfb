//! HELO, EHLO, LHLO and STARTTLS: who the client says it is, and what it is offered.

use bytes::BytesMut;

use super::{Asked, Phase, Smtp};
use crate::meters::{self, METERS};
use crate::session::machine::Step;
use crate::session::sasl::Mechanism;
use crate::session::smtp::Flavor;
use crate::session::smtp::command::HelloVerb;
use crate::session::smtp::received::Hello;
use crate::session::smtp::reply::{self, Reply};

impl Smtp {
    pub(super) fn on_hello(&mut self, verb: HelloVerb, name: String, out: &mut BytesMut) -> Option<Asked> {
        // RFC 2033 4.1: LHLO only, and only there.
        if (verb == HelloVerb::Lhlo) != (self.policy.flavor == Flavor::Lmtp) {
            return self.bad(reply::UNKNOWN, out);
        }
        self.phase = Phase::Ready;
        let extended = verb != HelloVerb::Helo;
        self.hello = Some(Hello { name, extended });
        if !extended {
            return self.say(Reply::ok("", self.policy.hostname.clone()), out);
        }
        let mut lines = vec![self.policy.hostname.clone()];
        lines.extend(
            ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "CHUNKING", "DSN"]
                .map(String::from),
        );
        lines.push(format!("SIZE {}", self.policy.message_bytes_max));
        if self.policy.tls_offered && !self.peer.tls {
            lines.push("STARTTLS".to_owned());
        }
        if self.peer.tls {
            lines.push("REQUIRETLS".to_owned());
        }
        if self.offers_auth() {
            let names: Vec<&str> = self.mechanisms().into_iter().map(Mechanism::name).collect();
            lines.push(format!("AUTH {}", names.join(" ")));
        }
        lines.push("HELP".to_owned());
        METERS.replies.of(meters::Reply::SmtpDone).one();
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            out.extend_from_slice(if at == last { b"250 " } else { b"250-" });
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        None
    }

    pub(super) fn on_starttls(&mut self, out: &mut BytesMut) -> Option<Asked> {
        if self.peer.tls {
            return self.bad(reply::TLS_ALREADY, out);
        }
        if !self.policy.tls_offered {
            return self.bad(reply::NOT_IMPLEMENTED, out);
        }
        self.phase = Phase::Ready;
        reply::TLS_READY.write(out);
        Some(Step::StartTls)
    }
}
