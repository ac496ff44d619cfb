//! MAIL and RCPT: the envelope is gathered.

use bytes::BytesMut;

use super::{Asked, Phase, Question, Smtp, Verdict};
use crate::cluster::replica::Fault;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::session::machine::Step;
use crate::session::smtp::envelope::{Envelope, MailParams, RcptParams, Recipient};
use crate::session::smtp::listed::Opening;
use crate::session::smtp::reply::{self, Reply};

impl Smtp {
    pub(super) fn on_mail(
        &mut self,
        from: ReversePath,
        params: MailParams,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        if self.hello.is_none() {
            return self.bad(reply::HELLO_FIRST, out);
        }
        if !matches!(self.phase, Phase::Ready) {
            return self.bad(reply::NESTED_MAIL, out);
        }
        // RFC 8689 2: what was not kept from others' eyes on its way here is not offered to be kept from them.
        if params.require_tls && !self.peer.tls {
            return self.bad(reply::BAD_PARAMETER, out);
        }
        let envelope = Envelope { from: from.clone(), params, to: Vec::new(), trusted: false };
        let arrival = self.arrival(&envelope).map(Box::new);
        self.phase = Phase::Opening(Box::new(envelope));
        let (authenticated, helo) = (self.login.is_some(), self.helo());
        Some(Step::Ask(Question::Sender { from, authenticated, helo, arrival }))
    }

    /// Whatever was found out besides: recipients are judged each by itself.
    pub(super) fn on_opening(&mut self, opening: Result<Opening, Fault>, out: &mut BytesMut) {
        let Phase::Opening(mut envelope) = std::mem::replace(&mut self.phase, Phase::Ready) else { return };
        let needs_login = self.policy.auth_required && self.login.is_none();
        match opening {
            Ok(Opening::Refused(refusal)) => return Reply::of_policy(refusal).write(out),
            // The last of too many errors ends the session at the next step.
            Ok(Opening::Stranger) if needs_login => return drop(self.bad(reply::LOGIN_FIRST, out)),
            Ok(Opening::Unsure) if needs_login => return reply::UNAVAILABLE.write(out),
            Err(_) => return reply::UNAVAILABLE.write(out),
            Ok(Opening::Trusted) => envelope.trusted = true,
            Ok(Opening::Stranger | Opening::Unsure) => {}
        }
        if envelope.params.size.is_some_and(|size| size > self.policy.message_bytes_max) {
            return reply::TOO_BIG.write(out);
        }
        self.phase = Phase::Addressed(envelope);
        reply::SENDER_OK.write(out);
    }

    pub(super) fn on_rcpt(
        &mut self,
        to: ForwardPath,
        params: RcptParams,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        let envelope = match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Addressed(envelope) => envelope,
            other => {
                self.phase = other;
                return self.bad(reply::MAIL_FIRST, out);
            }
        };
        let refusal = match &to {
            ForwardPath::Address(address) if address.is_utf8() && !envelope.params.smtputf8 => {
                Some(reply::NEEDS_UTF8)
            }
            _ if envelope.to.len() as u64 >= self.policy.recipients_max => Some(reply::TOO_MANY_RECIPIENTS),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.phase = Phase::Addressed(envelope);
            return self.say(refusal, out);
        }
        let (size, trusted) = (envelope.params.size, envelope.trusted);
        self.phase = Phase::Judging(envelope, to.clone(), params);
        Some(Step::Ask(Question::Recipient {
            path: to,
            size,
            authenticated: self.login.is_some() || trusted,
        }))
    }

    pub(super) fn on_verdict(&mut self, verdict: Result<Verdict, Fault>, out: &mut BytesMut) {
        let Phase::Judging(mut envelope, path, params) = std::mem::replace(&mut self.phase, Phase::Ready)
        else {
            return;
        };
        let reply = match verdict {
            Ok(verdict) => {
                let reply = Reply::of_verdict(&verdict);
                let taken = match verdict {
                    Verdict::Accept(targets) => Some((targets, Vec::new())),
                    Verdict::Relay { local, remote } => Some((local, remote)),
                    _ => None,
                };
                if let Some((targets, remote)) = taken {
                    envelope.to.push(Recipient { path, params, targets, remote });
                }
                reply
            }
            Err(_) => reply::UNAVAILABLE,
        };
        self.phase = Phase::Addressed(envelope);
        reply.write(out);
    }
}
