//! Greylisting, as a session meets it: looks in this node's rows, and proposes only what is to be remembered. Tells nobody
//! for good to stay away, whatever the cluster answers.

use tracing::info;

use super::opened::is_left_alone;
use crate::cluster::replica::{Fault, Replica};
use crate::mail::address::{Address, ForwardPath};
use crate::policy::{Arrival, Refusal};
use crate::state::command::Command;
use crate::state::greylist::reading::look;
use crate::state::greylist::{ClientNet, Decision, GreyTerms, GreyTry, TripletId};
use crate::state::outcome::Outcome;

/// What is done with what a try comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    #[default]
    Kept,
    /// For whoever only asks what would be.
    Untouched,
}

/// `None`: the recipient may be named. Asked last, of a recipient that there is.
pub async fn refuse<R: Replica>(
    replica: &R,
    arrival: &Arrival,
    path: &ForwardPath,
    (terms, memory): (GreyTerms, Memory),
) -> Result<Option<Refusal>, Fault> {
    let ForwardPath::Address(recipient) = path else { return Ok(None) };
    if is_left_alone(path) {
        return Ok(None);
    }
    let client = ClientNet::of(arrival.address);
    let sender = arrival.sender.as_deref().map(canonical).unwrap_or_default();
    let triplet = TripletId::of(client, &sender, &recipient.canonical());
    let wanted = GreyTry { client, triplet, terms };
    let (looked_for, at) = (wanted.clone(), replica.clock().now());
    let decision = replica.read_queue(move |rows| look(rows, &looked_for, at)).await?;
    let left_ms = match decision {
        Decision::TooEarly { left_ms } => left_ms,
        Decision::First if memory == Memory::Untouched => terms.delay_ms,
        kept if kept.is_to_be_kept() && memory == Memory::Kept => {
            match replica.propose(Command::Greylist(Box::new(wanted))).await? {
                Outcome::Done => return Ok(None),
                Outcome::Greylisted { left_ms } => left_ms,
                Outcome::Refused(refusal) => return Err(Fault::Busy(format!("greylisting: {refusal}"))),
                other => {
                    tracing::error!("a try was answered with {other:?}");
                    return Err(Fault::Busy("an answer that does not fit greylisting".to_owned()));
                }
            }
        }
        Decision::First | Decision::FirstPass | Decision::Known { .. } | Decision::KnownClient { .. } => {
            return Ok(None);
        }
    };
    let seconds = left_ms.div_ceil(1_000).max(1);
    let sender = if sender.is_empty() { "<>" } else { &sender };
    info!("greylist.enabled puts off a mail by {sender:?} to {path} from {}: {seconds} s", arrival.address);
    let text = format!("Greylisted, try again in {seconds} seconds");
    Ok(Some(Refusal { code: 450, enhanced: "4.7.1", text }))
}

fn canonical(sender: &str) -> String {
    Address::parse(sender).map_or_else(|_| sender.to_lowercase(), |address| address.canonical())
}
