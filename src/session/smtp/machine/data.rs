//! DATA and BDAT (RFC 3030): the message comes in, is checked, and is handed on in parts.

use bytes::{Buf, BytesMut};

use super::receiving::{Framing, Receiving};
use super::submission::HeaderEdit;
use super::{Asked, Outgoing, Phase, Question, SWALLOWED_BYTES_MAX, Smtp};
use crate::cluster::replica::Fault;
use crate::mail::address::{ForwardPath, ReversePath, canonical_domain};
use crate::policy::Arrival;
use crate::session::machine::Step;
use crate::session::smtp::Flavor;
use crate::session::smtp::body::{DotReader, TextCheck, TextLimits};
use crate::session::smtp::envelope::{Envelope, Recipient};
use crate::session::smtp::filtering::{Named, Names};
use crate::session::smtp::received::{Hello, Stamp, trace_fields};
use crate::session::smtp::reply::{self, Reply};
use crate::state::queue::TlsWish;

/// Text handed on at a time, bytes.
const TEXT_CHUNK_BYTES: usize = 32 * 1024;

impl Smtp {
    pub(super) fn on_data(&mut self, out: &mut BytesMut) -> Option<Asked> {
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Addressed(envelope) if !envelope.to.is_empty() => {
                Some(self.begin_body(envelope, Framing::Dot(DotReader::default())))
            }
            other => {
                let reply = missing(&other, self.policy.flavor);
                self.phase = other;
                self.bad(reply, out)
            }
        }
    }

    pub(super) fn on_bdat(&mut self, bytes: u64, last: bool, out: &mut BytesMut) -> Option<Asked> {
        let framing = Framing::Chunk { bytes, left: bytes, last };
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Addressed(envelope) if !envelope.to.is_empty() => Some(self.begin_body(envelope, framing)),
            Phase::Receiving(mut receiving) if bytes <= self.swallowed_max(&receiving) => {
                receiving.framing = framing;
                self.phase = Phase::Receiving(receiving);
                None
            }
            Phase::Receiving(_) => self.close(reply::TOO_BIG, out),
            other => {
                let reply = missing(&other, self.policy.flavor);
                self.phase = other;
                self.skip(bytes, reply, out)
            }
        }
    }

    fn begin_body(&mut self, envelope: Box<Envelope>, framing: Framing) -> Asked {
        let arrival = self.arrival(&envelope).map(Box::new);
        self.phase = Phase::Beginning(envelope, framing);
        Step::Ask(Question::BeginBody(arrival))
    }

    /// What our users and our own hosts send is not judged.
    fn is_judged(&self, envelope: &Envelope) -> bool {
        self.peer.address.is_some() && self.is_stranger() && !envelope.trusted
    }

    /// `None`: it is not judged.
    pub(super) fn arrival(&self, envelope: &Envelope) -> Option<Arrival> {
        let address = self.peer.address.filter(|_| self.is_judged(envelope))?.ip();
        let sender = match &envelope.from {
            ReversePath::Null => None,
            ReversePath::Address(address) => {
                let domain =
                    canonical_domain(address.domain()).unwrap_or_else(|| address.domain().to_owned());
                Some(format!("{}@{domain}", address.local()))
            }
        };
        Some(Arrival { address, helo: self.helo(), sender, receiver: self.policy.hostname.clone() })
    }

    /// As the client names itself; empty before it has.
    pub(super) fn helo(&self) -> String {
        self.hello.as_ref().map(|hello| hello.name.clone()).unwrap_or_default()
    }

    /// RFC 3030 2: the octets of a refused BDAT are on their way and must not be read as commands.
    pub(super) fn skip(&mut self, bytes: u64, reply: Reply, out: &mut BytesMut) -> Option<Asked> {
        if bytes > self.policy.message_bytes_max + SWALLOWED_BYTES_MAX {
            return self.close(reply::TOO_BIG, out);
        }
        self.phase = Phase::Skipping { left: bytes, reply };
        None
    }

    fn swallowed_max(&self, receiving: &Receiving) -> u64 {
        let most = self.policy.message_bytes_max + SWALLOWED_BYTES_MAX;
        most.saturating_sub(receiving.check.bytes())
    }

    pub(super) fn step_skipping(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Skipping { left, reply } = &mut self.phase else { return None };
        let taken = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        input.advance(taken);
        *left -= taken as u64;
        if *left > 0 {
            return Some(Step::NeedInput);
        }
        let reply = reply.clone();
        self.phase = Phase::Ready;
        self.bad(reply, out)
    }

    pub(super) fn on_begun(&mut self, begun: Result<Stamp, Fault>, out: &mut BytesMut) {
        let Ok(stamp) = begun else { return self.on_not_begun(reply::UNAVAILABLE, out) };
        let Phase::Beginning(envelope, framing) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        self.body_begun = true;
        if let Framing::Dot(_) = framing {
            reply::GO_AHEAD.write(out);
        }
        let nobody = Hello { name: String::new(), extended: false };
        let hello = self.hello.as_ref().unwrap_or(&nobody);
        let trace = trace_fields(&self.policy, &self.peer, hello, (&envelope, &stamp, self.login.is_some()));
        let ours = self.login.is_some() || envelope.trusted;
        let edit = ours.then(|| HeaderEdit::new(&stamp, &self.policy.hostname));
        // Our own fields come first; where the checks have a say between them, they wait for it.
        let (text, trace) = match self.is_judged(&envelope) {
            true => (BytesMut::new(), Some(trace)),
            false => (BytesMut::from(trace.with("").as_bytes()), None),
        };
        let limits = TextLimits { bytes_max: self.policy.message_bytes_max, hops_max: self.policy.hops_max };
        let passed_on = envelope.to.iter().filter(|recipient| recipient.is_passed_on());
        let passed_on = passed_on.filter_map(|recipient| match &recipient.path {
            ForwardPath::Postmaster => None,
            ForwardPath::Address(address) => Some(address.canonical()),
        });
        let passed_on = passed_on.collect();
        self.phase = Phase::Receiving(Box::new(Receiving {
            envelope,
            framing,
            check: TextCheck::new(limits, passed_on),
            text,
            id: stamp.id,
            edit,
            trace,
            refused: None,
        }));
    }

    /// The message is not taken; of a chunk its octets are read first.
    pub(super) fn on_not_begun(&mut self, reply: Reply, out: &mut BytesMut) {
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Beginning(_, Framing::Chunk { left, .. }) => self.phase = Phase::Skipping { left, reply },
            Phase::Beginning(..) => reply.write(out),
            other => self.phase = other,
        }
    }

    pub(super) fn step_receiving(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Receiving(mut receiving) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return None;
        };
        if let Framing::BetweenChunks = receiving.framing {
            self.phase = Phase::Receiving(receiving);
            return self.step_line(input, out);
        }
        let ended = receiving.read(input);
        if receiving.refused.is_some() && self.body_begun {
            self.phase = Phase::Receiving(receiving);
            if ended {
                return self.text_ended(out);
            }
            self.body_begun = false;
            return Some(Step::Ask(Question::AbandonBody));
        }
        let full = receiving.text.len() >= TEXT_CHUNK_BYTES;
        let swallowed = receiving.check.bytes() > self.policy.message_bytes_max + SWALLOWED_BYTES_MAX;
        if !ended && full {
            let chunk = receiving.text.split().freeze();
            self.phase = Phase::Handing(receiving);
            return Some(Step::Ask(Question::BodyChunk(chunk)));
        }
        self.phase = Phase::Receiving(receiving);
        match ended {
            true => self.text_ended(out),
            false if swallowed => self.close(reply::TOO_BIG, out),
            false => Some(Step::NeedInput),
        }
    }

    /// The dot, or the end of a chunk.
    fn text_ended(&mut self, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Receiving(mut receiving) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return None;
        };
        if let Framing::Chunk { bytes, last: false, .. } = receiving.framing
            && receiving.refused.is_none()
        {
            receiving.framing = Framing::BetweenChunks;
            self.phase = Phase::Receiving(receiving);
            return self.say(Reply::ok("2.0.0", format!("{bytes} octets received")), out);
        }
        receiving.finish();
        let envelope = receiving.envelope;
        match receiving.refused {
            None => {
                let to = envelope.to.iter().map(|recipient| recipient.targets.clone()).collect();
                let named = |recipient: &Recipient| Named {
                    path: recipient.path.clone(),
                    params: recipient.params.clone(),
                    elsewhere: recipient.remote.len(),
                };
                let names = Box::new(Names {
                    from: envelope.from.clone(),
                    params: envelope.params.clone(),
                    to: envelope.to.iter().map(named).collect(),
                    by_stranger: self.login.is_none() && !envelope.trusted,
                    // RFC 8689 4.1: the word in the envelope beats the one in the header.
                    tls: match (envelope.params.require_tls, receiving.check.waives_tls()) {
                        (true, _) => TlsWish::Required,
                        (false, true) => TlsWish::Waived,
                        (false, false) => TlsWish::Usual,
                    },
                });
                let outgoing = Outgoing::of(&envelope);
                let authors = receiving.edit.filter(|_| self.login.is_some()).map(HeaderEdit::authors);
                let last = receiving.text.freeze();
                self.phase = Phase::Delivering(envelope, receiving.id);
                self.body_begun = false;
                Some(Step::Ask(Question::Deliver {
                    last,
                    to,
                    names,
                    outgoing,
                    authors,
                    trace: receiving.trace,
                }))
            }
            Some(reply) => {
                // RFC 2033 4.2: after the dot, one reply for each recipient that was accepted.
                let after_dot =
                    matches!(receiving.framing, Framing::Dot(_) | Framing::Chunk { last: true, .. });
                let replies = match self.policy.flavor {
                    Flavor::Lmtp if after_dot => envelope.to.len(),
                    Flavor::Lmtp | Flavor::Mx | Flavor::Submission => 1,
                };
                (0..replies).for_each(|_| reply.write(out));
                None
            }
        }
    }

    pub(super) fn on_chunk(&mut self, taken: Result<(), Fault>) {
        let Phase::Handing(mut receiving) = std::mem::replace(&mut self.phase, Phase::Ready) else { return };
        if taken.is_err() {
            receiving.refused.get_or_insert(reply::UNAVAILABLE);
        }
        self.phase = Phase::Receiving(receiving);
    }
}

/// What DATA or BDAT lacks.
fn missing(phase: &Phase, flavor: Flavor) -> Reply {
    match phase {
        // RFC 2033 4.2: 503 without a recipient.
        Phase::Addressed(_) if flavor == Flavor::Lmtp => reply::BAD_SEQUENCE,
        Phase::Addressed(_) => reply::NO_RECIPIENTS,
        Phase::Receiving(_) => reply::BAD_SEQUENCE,
        _ => reply::MAIL_FIRST,
    }
}
