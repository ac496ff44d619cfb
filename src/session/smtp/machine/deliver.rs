//! What the client hears once the message was proposed: one reply, or one for each recipient (LMTP).

use bytes::BytesMut;

use super::{Phase, Smtp};
use crate::cluster::replica::Fault;
use crate::policy;
use crate::session::smtp::Flavor;
use crate::session::smtp::envelope::show_recipient;
use crate::session::smtp::reply::{self, Reply};

impl Smtp {
    pub(super) fn on_delivered(
        &mut self,
        results: Result<Vec<Result<(), Reply>>, Fault>,
        out: &mut BytesMut,
    ) {
        let Phase::Delivering(envelope, id) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        if results.as_ref().is_ok_and(|results| results.iter().any(Result::is_ok)) {
            self.junk_commands = 0;
        }
        let goes_on = envelope.to.iter().any(|recipient| !recipient.remote.is_empty());
        let reply_of = |result: &Result<(), Reply>| match result {
            Ok(()) if goes_on => Reply::ok("2.0.0", format!("Queued as {id}")),
            Ok(()) => Reply::ok("2.0.0", format!("Delivered as {id}")),
            Err(reply) => reply.clone(),
        };
        match (self.policy.flavor, results) {
            (Flavor::Lmtp, Err(_)) => envelope.to.iter().for_each(|_| reply::UNAVAILABLE.write(out)),
            (Flavor::Lmtp, Ok(results)) => {
                for (recipient, result) in envelope.to.iter().zip(&results) {
                    let mut reply = reply_of(result);
                    reply.text = format!("{} {}", show_recipient(&recipient.path), reply.text).into();
                    reply.write(out);
                }
            }
            (Flavor::Mx | Flavor::Submission, Err(_)) => reply::UNAVAILABLE.write(out),
            (Flavor::Mx | Flavor::Submission, Ok(results)) => one_reply(&results, reply_of).write(out),
        }
    }

    /// Nobody gets it: one reply, whoever asked.
    pub(super) fn on_refused(&mut self, refusal: policy::Refusal, out: &mut BytesMut) {
        let Phase::Delivering(..) = std::mem::replace(&mut self.phase, Phase::Ready) else { return };
        Reply::of_policy(refusal).write(out);
    }
}

/// SMTP has one reply for all recipients. Where some were served and some refused, a temporary one: on the
/// next try RCPT refuses each by itself, so none is lost and at most one copy is doubled.
fn one_reply(results: &[Result<(), Reply>], reply_of: impl Fn(&Result<(), Reply>) -> Reply) -> Reply {
    let refused = results.iter().filter(|result| result.is_err()).count();
    match results {
        [] => reply::UNAVAILABLE,
        [only] => reply_of(only),
        [first, ..] if refused == 0 => reply_of(first),
        [first, ..] if refused == results.len() && results.iter().all(|result| result == first) => {
            reply_of(first)
        }
        _ => reply::UNAVAILABLE,
    }
}
