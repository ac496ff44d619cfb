//! Notices of success (RFC 3461 5.2.3, 5.2.7.3): that a mail is in a mailbox here, or went to several of those for whom an address
//! stands. They come with the entry that keeps the mail: what they tell is so, and it is told once.
//!
//! Nobody is told of a mail that was judged to be junk, as its sender is likely not to have sent it; nor of one that a filter
//! threw away, sent on or refused.

use tracing::warn;

use super::backend::SmtpBackend;
use super::delivering::Bound;
use super::envelope::show_recipient;
use super::filtering::{Named, Sorted};
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::address::ReversePath;
use crate::mail::leaving::outgoing;
use crate::mail::notice::{About, Kind, Recipient, notice};
use crate::state::command::PlacedBody;
use crate::state::queue::Submit;
use crate::state::queue::way_back::way_back;

impl<R: Replica> SmtpBackend<R> {
    /// Of the recipients who are served here and of whom the sender asked to be told. Each notice lies where the mail lies.
    pub(super) async fn successes(
        &mut self,
        body: &PlacedBody,
        bound: &Bound,
        sorted: &Sorted,
    ) -> Result<Vec<Submit>, Fault> {
        let ReversePath::Address(sender) = &bound.names.from else { return Ok(Vec::new()) };
        let told = told(bound, sorted);
        if told.is_empty() {
            return Ok(Vec::new());
        }
        // A body that was placed a moment ago can be read; should it not, there is no header to show.
        let text = self.replica.body(body.id).await.map(|raw| outgoing(&raw)).unwrap_or_default();
        let directory = self.replica.directory();
        let (params, now) = (&bound.names.params, self.replica.clock().now());
        let mut notices = Vec::new();
        for kind in [Kind::Delivered, Kind::Expanded] {
            let of = told.iter().filter(|(its, _)| *its == kind);
            let shown: Vec<(String, &Named)> =
                of.map(|(_, named)| (show_recipient(&named.path), *named)).collect();
            let recipients: Vec<Recipient> =
                shown.iter().map(|(path, named)| recipient(path, named)).collect();
            if recipients.is_empty() {
                continue;
            }
            let Some((to, queue)) = way_back(&directory, sender, (self.replica.node(), params.smtputf8))
            else {
                warn!("the sender {sender} cannot be told that a mail arrived: nobody is there");
                return Ok(Vec::new());
            };
            let mut dice = [0; 8];
            self.replica.clock().fill(&mut dice);
            let about = About {
                sender: &sender.to_string(),
                envid: params.envid.as_deref(),
                ret: bound.names.tls.ret(params.ret),
                smtputf8: params.smtputf8,
                arrived: now,
                text: &text,
                own_name: directory.settings().hostname(),
                now,
                dice: u64::from_be_bytes(dice),
                remote: None,
            };
            let mut placing = self.replica.place().await?;
            placing.push(notice(kind, &about, &recipients)).await?;
            notices.push(Submit { body: placing.finish().await?, to, queue });
        }
        Ok(notices)
    }
}

/// Whose success is told here. RFC 3461 5.2.7.2: an alias of one address elsewhere is no end; who has the mail next tells.
fn told<'a>(bound: &'a Bound, sorted: &Sorted) -> Vec<(Kind, &'a Named)> {
    if bound.is_junk {
        return Vec::new();
    }
    let kind = |at: usize, named: &Named| {
        let is_asked = named.params.notify.is_some_and(|notify| notify.success);
        let is_refused = sorted.refused.get(at).is_some_and(Option::is_some);
        let is_kept = sorted.places.get(at).is_some_and(|places| !places.is_empty());
        match (bound.to.get(at).map_or(0, Vec::len), named.elsewhere) {
            _ if !is_asked || is_refused => None,
            (1, 0) => is_kept.then_some(Kind::Delivered),
            (here, elsewhere) if here + elsewhere > 1 => (is_kept || elsewhere > 0).then_some(Kind::Expanded),
            _ => None,
        }
    };
    let each = bound.names.to.iter().enumerate();
    each.filter_map(|(at, named)| Some((kind(at, named)?, named))).collect()
}

fn recipient<'a>(path: &'a str, named: &'a Named) -> Recipient<'a> {
    Recipient {
        address: path.trim_matches(['<', '>']),
        orcpt: named.params.orcpt.as_deref(),
        status: "2.0.0".to_owned(),
        said: None,
    }
}
