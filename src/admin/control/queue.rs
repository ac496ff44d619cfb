//! The outbound queue, as operators see and steer it.

use serde_json::{Value, json};

use super::request::{Failure, QueueFilter};
use super::server::fault;
use crate::admin::status::rfc3339;
use crate::cluster::replica::Replica;
use crate::mail::ids::{QueueId, Timestamp};
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::state::queue::reading::{self, Parcel};
use crate::state::queue::{IDS_PER_COMMAND_MAX, Steering, TlsWish};
use crate::state::rows::{Rows, RowsError};
use crate::state::stored::QueuedRow;

/// Mails looked at for one answer; a listing goes on from there.
const LOOKED_AT_MAX: usize = 2_000;
/// Parcels of a mail that a listing looks at and shows, and those that `show` shows.
const LISTED_PARCELS_MAX: usize = 20;
const SHOWN_PARCELS_MAX: usize = 1_000;

/// What is asked of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    List { filter: QueueFilter, after: Option<QueueId> },
    Show(QueueId),
    Steer { messages: Vec<QueueId>, steering: Steering },
}

pub async fn answer<R: Replica>(wish: Wish, replica: &R) -> Result<Value, Failure> {
    let now = replica.clock().now();
    match wish {
        Wish::List { filter, after } => {
            let list = move |rows: &dyn Rows| list(rows, &filter, after, now);
            replica.read_queue(list).await.map_err(fault)
        }
        Wish::Show(message) => {
            let show = move |rows: &dyn Rows| show(rows, message, now);
            let found = replica.read_queue(show).await.map_err(fault)?;
            found.ok_or_else(|| none(message))
        }
        Wish::Steer { messages, steering } => steer(replica, messages, steering).await,
    }
}

fn none(message: QueueId) -> Failure {
    Failure::refused(format!("there is no mail {message} in the queue; see 'pollux queue list'"))
}

/// `next` is where to go on, if that was not all.
fn list(
    rows: &dyn Rows,
    filter: &QueueFilter,
    after: Option<QueueId>,
    now: Timestamp,
) -> Result<Value, RowsError> {
    let mails = reading::mails(rows, after, LOOKED_AT_MAX)?;
    let next = (mails.len() == LOOKED_AT_MAX).then(|| mails.last().map(|(id, _)| id.0)).flatten();
    let mut shown = Vec::new();
    for (id, mail) in mails {
        if !mail_fits(&mail, filter, now) {
            continue;
        }
        let parcels = reading::parcels(rows, id, LISTED_PARCELS_MAX)?;
        if parcels_fit(&parcels, filter) {
            shown.push(shown_mail(id, &mail, &parcels, now));
        }
    }
    Ok(json!({ "mails": shown, "next": next }))
}

fn mail_fits(mail: &QueuedRow, filter: &QueueFilter, now: Timestamp) -> bool {
    let of_sender = filter.sender.as_ref().is_none_or(|sender| contains(&mail.sender, sender));
    let age_seconds = now.0.saturating_sub(mail.queued_at.0) / 1_000;
    of_sender && filter.older_than_seconds.is_none_or(|seconds| age_seconds >= seconds)
}

fn parcels_fit(parcels: &[Parcel], filter: &QueueFilter) -> bool {
    let to = |wanted: &str| {
        parcels
            .iter()
            .flat_map(|it| &it.recipients)
            .any(|(_, recipient)| contains(&recipient.address, wanted))
    };
    let host =
        |wanted: &str| parcels.iter().any(|parcel| parcel.row.destination.eq_ignore_ascii_case(wanted));
    filter.recipient.as_deref().is_none_or(to) && filter.host.as_deref().is_none_or(host)
}

fn contains(address: &str, wanted: &str) -> bool {
    address.to_lowercase().contains(&wanted.to_lowercase())
}

fn show(rows: &dyn Rows, message: QueueId, now: Timestamp) -> Result<Option<Value>, RowsError> {
    let parcels = reading::parcels(rows, message, SHOWN_PARCELS_MAX)?;
    let mail = parcels.first().map(|parcel| parcel.mail.clone());
    Ok(mail.map(|mail| shown_mail(message, &mail, &parcels, now)))
}

fn shown_mail(id: QueueId, mail: &QueuedRow, parcels: &[Parcel], now: Timestamp) -> Value {
    let recipients: Vec<Value> = parcels.iter().flat_map(|parcel| shown_parcel(parcel, now)).collect();
    json!({
        "id": id.0,
        "sender": mail.sender,
        "size": mail.size,
        "queued_at": rfc3339(mail.queued_at),
        "age_seconds": now.0.saturating_sub(mail.queued_at.0) / 1_000,
        "tls": parcels.first().and_then(|parcel| shown_wish(parcel.tls)),
        "recipients": recipients,
        "more_recipients": parcels.len() < usize::from(mail.parcels),
    })
}

fn shown_wish(wish: TlsWish) -> Option<&'static str> {
    match wish {
        TlsWish::Usual => None,
        TlsWish::Required => Some("required"),
        TlsWish::Waived => Some("waived"),
    }
}

fn shown_parcel(parcel: &Parcel, now: Timestamp) -> Vec<Value> {
    let row = &parcel.row;
    let state = match row.lease {
        Some(_) => "sending",
        None if row.held => "held",
        None if row.next_attempt <= now => "due",
        None => "waiting",
    };
    let shown = |(_, recipient): &(u16, crate::state::stored::RecipientRow)| {
        json!({
            "address": recipient.address,
            "host": row.destination,
            "state": state,
            "attempts": row.attempts,
            "next_attempt": rfc3339(row.next_attempt),
            "reply": recipient.reply,
        })
    };
    parcel.recipients.iter().map(shown).collect()
}

/// As many commands as it takes: each touches a bounded number of rows.
async fn steer<R: Replica>(
    replica: &R,
    messages: Vec<QueueId>,
    steering: Steering,
) -> Result<Value, Failure> {
    let (mut steered, mut rest) = (0, messages.as_slice());
    while !rest.is_empty() {
        let some = rest[..rest.len().min(IDS_PER_COMMAND_MAX)].to_vec();
        match replica.propose(Command::SteerQueue { messages: some, steering }).await.map_err(fault)? {
            Outcome::Steered { messages, looked_at } => {
                steered += messages.len();
                rest = &rest[(looked_at as usize).clamp(1, rest.len())..];
            }
            Outcome::Refused(refusal) => return Err(Failure::refused(refusal.to_string())),
            other => return Err(Failure::unavailable(format!("the node answered {other:?}"))),
        }
    }
    if let ([only], 0) = (messages.as_slice(), steered) {
        return Err(none(*only));
    }
    let what = match steering {
        Steering::Hold => "held",
        Steering::Release => "released",
        Steering::Retry => "due now",
        Steering::Remove => "removed",
    };
    let mails = if steered == 1 { "mail" } else { "mails" };
    Ok(json!({ "done": format!("{steered} {mails} {what}"), "count": steered }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::cluster::memory::MemoryReplica;
    use crate::state::queue::{NewQueued, NewRecipient, Submit, parcels};

    fn queued(replica: &MemoryReplica, sender: &str, to: &[(&str, &str)]) {
        let body = replica.put_body(bytes::Bytes::from(format!("{sender}{to:?}")));
        let of = |(address, destination): &(&str, &str)| {
            let recipient = NewRecipient { address: address.to_string(), orcpt: None, notify: None };
            (destination.to_string(), recipient)
        };
        let queue = NewQueued {
            sender: sender.into(),
            account: None,
            near: replica.node(),
            envid: None,
            ret: None,
            smtputf8: false,
            parcels: parcels(to.iter().map(of)),
        };
        let submit = Submit { body, to: vec![], queue: Some(queue) };
        assert!(matches!(replica.run(Command::Submit(Box::new(submit))), Ok(Outcome::Submitted { .. })));
    }

    async fn listed(replica: &MemoryReplica, filter: QueueFilter) -> Vec<u64> {
        let answer = answer(Wish::List { filter, after: None }, replica).await.unwrap();
        assert_eq!(answer["next"], Value::Null);
        answer["mails"].as_array().unwrap().iter().map(|mail| mail["id"].as_u64().unwrap()).collect()
    }

    #[tokio::test]
    async fn mails_are_listed_by_what_is_asked_and_steered() {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
        queued(&replica, "alice@example.test", &[("bob@x.test", "x.test"), ("eve@y.test", "y.test")]);
        replica.clock().advance_ms(60_000);
        queued(&replica, "carol@example.test", &[("bob@y.test", "y.test")]);
        let filter = QueueFilter::default;
        let text = |text: &str| Some(text.to_owned());
        for (filter, ids) in [
            (filter(), vec![1, 2]),
            (QueueFilter { sender: text("Alice"), ..filter() }, vec![1]),
            (QueueFilter { recipient: text("bob@"), ..filter() }, vec![1, 2]),
            (QueueFilter { recipient: text("eve"), host: text("Y.test"), ..filter() }, vec![1]),
            (QueueFilter { host: text("x.tes"), ..filter() }, vec![]),
            (QueueFilter { older_than_seconds: Some(60), ..filter() }, vec![1]),
            (QueueFilter { older_than_seconds: Some(61), ..filter() }, vec![]),
        ] {
            assert_eq!(listed(&replica, filter.clone()).await, ids, "{filter:?}");
        }
        let steer = |ids: &[u64], steering| {
            let messages = ids.iter().map(|id| QueueId(*id)).collect();
            answer(Wish::Steer { messages, steering }, &replica)
        };
        assert_eq!(steer(&[1, 9], Steering::Hold).await.unwrap()["done"], "1 mail held");
        let shown = answer(Wish::Show(QueueId(1)), &replica).await.unwrap();
        assert_eq!((&shown["age_seconds"], &shown["recipients"][1]["state"]), (&json!(60), &json!("held")));
        assert_eq!(
            (&shown["sender"], &shown["recipients"][1]["host"]),
            (&json!("alice@example.test"), &json!("y.test"))
        );
        assert_eq!(steer(&[1, 2], Steering::Remove).await.unwrap()["done"], "2 mails removed");
        assert!(steer(&[1], Steering::Retry).await.unwrap_err().message.contains("there is no mail 1"));
        assert!(answer(Wish::Show(QueueId(1)), &replica).await.is_err());
    }

    #[tokio::test]
    async fn a_long_listing_goes_on_where_it_ended() {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(0)));
        (0..=LOOKED_AT_MAX).for_each(|_| queued(&replica, "a@b.test", &[("c@x.test", "x.test")]));
        let first =
            answer(Wish::List { filter: QueueFilter::default(), after: None }, &replica).await.unwrap();
        assert_eq!(first["next"], json!(LOOKED_AT_MAX));
        let after = Some(QueueId(LOOKED_AT_MAX as u64));
        let second = answer(Wish::List { filter: QueueFilter::default(), after }, &replica).await.unwrap();
        assert_eq!((second["mails"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
        let all = (0..=LOOKED_AT_MAX as u64 + 1).map(QueueId).collect();
        let removed =
            answer(Wish::Steer { messages: all, steering: Steering::Remove }, &replica).await.unwrap();
        assert_eq!(removed["count"], json!(LOOKED_AT_MAX + 1));
    }
}
