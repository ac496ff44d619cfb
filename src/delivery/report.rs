//! What came of parcels goes to the queue, with the notices that follow from it, in one entry.

use tracing::{info, warn};

use super::batch::{REPORT_AGAIN, dice};
use super::leases::Held;
use super::reply::{Class, Reply};
use super::schedule::{Judged, Rules, judge};
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::address::Address;
use crate::mail::ids::Timestamp;
use crate::mail::leaving::outgoing;
use crate::mail::notice::{About, Kind, Recipient, notice};
use crate::maillog::{MailLog, Sent, What};
use crate::state::command::Command;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::reading::Parcel;
use crate::state::queue::way_back::way_back;
use crate::state::queue::{RecipientResult, Report, Submit};
use crate::state::stored::RecipientRow;

/// A report that no majority takes is tried again so often; then the lease is lost anyway.
const TRIES_MAX: u32 = 40;

/// What was said of each of a parcel's recipients, and by which server.
pub struct Tried {
    pub parcel: Parcel,
    pub said: Vec<Reply>,
    /// Whether who said it tells the sender of success himself.
    pub tells_of_success: Vec<bool>,
    pub via: Option<Via>,
}

/// A server that was tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Via {
    pub host: String,
    /// How its TLS was judged; `None` where no connection came about.
    pub tls: Option<&'static str>,
}

/// Until it is committed, or the lease has ended.
pub async fn report<R: Replica>(replica: &R, (held, kept): (&Held, &MailLog), tried: Vec<Tried>) {
    let now = replica.clock().now();
    let rules = Rules::of(&replica.directory());
    let judged = |it: &Tried| {
        let said = it.said.iter().cloned().zip(it.tells_of_success.iter().copied());
        judge(&it.parcel, &said.collect::<Vec<_>>(), now, &rules)
    };
    let judged: Vec<Judged> = tried.iter().map(judged).collect();
    for (tried, judged) in tried.iter().zip(&judged) {
        log(tried, judged, now);
        note(tried, judged, (kept, now));
    }
    for again in 0..TRIES_MAX {
        if again > 0 {
            tokio::time::sleep(REPORT_AGAIN).await;
        }
        let reported = match notices(replica, &tried, &judged, (now, &rules)).await {
            Ok(notices) => {
                let parcels = judged.iter().map(|judged| judged.report.clone()).collect();
                let report = Report { lease: held.lease, parcels, notices };
                replica.propose(Command::ReportDelivery(Box::new(report))).await
            }
            Err(fault) => Err(fault),
        };
        match reported {
            Ok(Outcome::Done) => return,
            Ok(Outcome::Refused(Refusal::LeaseChanged)) => {
                return warn!("outbound: what became of a mail came too late; it is tried once more");
            }
            Ok(other) => return tracing::error!("outbound: a report was answered with {other:?}"),
            Err(Fault::ShuttingDown) => return,
            Err(fault) => info!("outbound: what became of a mail cannot be kept now: {fault}"),
        }
    }
}

fn log(tried: &Tried, judged: &Judged, now: Timestamp) {
    let id = tried.parcel.id.message;
    if judged.deferred > 0 {
        let seconds = judged.report.next_attempt.0.saturating_sub(now.0) / 1_000;
        info!("outbound mail {id}: {} to be tried again in {seconds} s", judged.deferred);
    }
}

fn note(tried: &Tried, judged: &Judged, (log, now): (&MailLog, Timestamp)) {
    let results = &judged.report.results;
    for (((_, to), reply), (_, result)) in tried.parcel.recipients.iter().zip(&tried.said).zip(results) {
        let outcome = match (result, reply.class()) {
            (RecipientResult::Deferred { .. }, _) => "deferred",
            (RecipientResult::Over, Class::Done) => "sent",
            (RecipientResult::Over, Class::Temporary | Class::Permanent) => "failed",
        };
        let sent = Sent {
            queued: tried.parcel.id.message.0,
            sender: tried.parcel.mail.sender.clone(),
            to: to.address.clone(),
            via: tried.via.as_ref().map(|via| via.host.clone()),
            tls: tried.via.as_ref().and_then(|via| via.tls).map(str::to_owned),
            said: reply.to_string(),
            outcome: outcome.to_owned(),
        };
        log.note(now, What::Sent(sent));
    }
}

async fn notices<R: Replica>(
    replica: &R,
    tried: &[Tried],
    judged: &[Judged],
    (now, rules): (Timestamp, &Rules),
) -> Result<Vec<Submit>, Fault> {
    let mut made = Vec::new();
    for (tried, judged) in tried.iter().zip(judged) {
        let until = Timestamp(tried.parcel.mail.queued_at.0.saturating_add(rules.lifetime));
        for (kind, of) in [
            (Kind::Failed, &judged.failed),
            (Kind::Delayed { until }, &judged.delayed),
            (Kind::Relayed, &judged.relayed),
        ] {
            if !of.is_empty() {
                made.extend(make(replica, tried, (kind, now), of).await?);
            }
        }
    }
    Ok(made)
}

/// `None`: the sender cannot be told.
async fn make<R: Replica>(
    replica: &R,
    tried: &Tried,
    (kind, now): (Kind, Timestamp),
    of: &[(RecipientRow, Reply)],
) -> Result<Option<Submit>, Fault> {
    let mail = &tried.parcel.mail;
    let way = |sender: Address| way_back(&replica.directory(), &sender, (replica.node(), mail.smtputf8));
    let Some((to, queue)) = Address::parse(&mail.sender).ok().and_then(way) else {
        warn!("outbound mail {}: its sender <{}> cannot be told", tried.parcel.id.message, mail.sender);
        return Ok(None);
    };
    // A message that cannot be read now does not hold up what is to be said of it.
    let text = replica.body(mail.body).await.map(|raw| outgoing(&raw)).unwrap_or_default();
    let directory = replica.directory();
    let about = About {
        sender: &mail.sender,
        envid: mail.envid.as_deref(),
        ret: tried.parcel.tls.ret(mail.ret),
        smtputf8: mail.smtputf8,
        arrived: mail.queued_at,
        text: &text,
        own_name: directory.settings().hostname(),
        now,
        dice: dice(replica),
        remote: tried.via.as_ref().map(|via| via.host.as_str()),
    };
    let mut placing = replica.place().await?;
    let recipients: Vec<Recipient> = of.iter().map(|(to, reply)| recipient(kind, to, reply)).collect();
    placing.push(notice(kind, &about, &recipients)).await?;
    let body = placing.finish().await?;
    Ok(Some(Submit { body, to, queue }))
}

fn recipient<'a>(kind: Kind, to: &'a RecipientRow, reply: &Reply) -> Recipient<'a> {
    // RFC 3463 3.5: what was tried for its whole life is given up for that.
    let over_age = kind == Kind::Failed && reply.class() == Class::Temporary;
    Recipient {
        address: &to.address,
        orcpt: to.orcpt.as_deref(),
        status: if over_age { "5.4.7".to_owned() } else { reply.status() },
        said: Some(reply.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_for_its_age_has_a_status_of_its_own() {
        let to = RecipientRow {
            address: "b@x.test".to_owned(),
            orcpt: None,
            notify: None,
            reply: None,
            delay_told: false,
        };
        let until = Timestamp(0);
        for (kind, code, status) in [
            (Kind::Failed, (450, (4, 2, 0)), "5.4.7"),
            (Kind::Failed, (550, (5, 1, 1)), "5.1.1"),
            (Kind::Delayed { until }, (450, (4, 2, 0)), "4.2.0"),
            (Kind::Relayed, (250, (2, 0, 0)), "2.0.0"),
        ] {
            let reply = Reply::of_ours(code.0, code.1, "said");
            assert_eq!(recipient(kind, &to, &reply).status, status, "{kind:?} {reply}");
        }
    }
}
