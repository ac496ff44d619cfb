//! What becomes of mails, counted: each event that is noted passes here, whether or not it is written down.

use super::event::{DISCARDED, JUNK, Received, TAKEN, What};
use crate::meters::{Arrival, Cause, Leaving, METERS};

pub fn count(what: &What) {
    match what {
        What::Received(received) => count_received(received),
        What::Refused(refused) => count_refusal(&refused.said),
        What::Sent(sent) => {
            let leaving = match sent.outcome.as_str() {
                "sent" => Leaving::Sent,
                "deferred" => Leaving::Deferred,
                _ => Leaving::Failed,
            };
            METERS.deliveries.of(leaving).one();
        }
        // It came as a mail, and was counted as one.
        What::Heard(_) => {}
    }
}

fn count_received(received: &Received) {
    let arrival = match received.outcome.as_str() {
        TAKEN => Arrival::Taken,
        JUNK => Arrival::Junk,
        DISCARDED => Arrival::Discarded,
        _ => Arrival::Refused,
    };
    METERS.mails.of(arrival).one();
    if arrival == Arrival::Refused {
        return count_refusal(&received.outcome);
    }
    METERS.mail_bytes.add(received.bytes);
    for recipient in &received.recipients {
        // `local`, `queued`, or both; filters may have said more behind it.
        if recipient.outcome.starts_with("local") {
            METERS.recipients_here.one();
        }
        if recipient.outcome.starts_with("queued") || recipient.outcome.starts_with("local, queued") {
            METERS.recipients_queued.one();
        }
    }
}

fn count_refusal(said: &str) {
    let refused = if said.starts_with('4') { &METERS.refused_for_now } else { &METERS.refused_for_good };
    refused.of(Cause::of_reply(said)).one();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maillog::{Client, Recipient, Refused, Sent};

    fn received(outcome: &str, recipients: &[&str]) -> What {
        let recipient = |outcome: &&str| Recipient { to: "a@b.test".into(), outcome: (*outcome).into() };
        What::Received(Received {
            id: "1".into(),
            message_id: None,
            client: Client::default(),
            sender: String::new(),
            recipients: recipients.iter().map(recipient).collect(),
            checks: Vec::new(),
            decided_by: String::new(),
            outcome: outcome.into(),
            queued: None,
            entry: None,
            bytes: 10,
        })
    }

    // Each test has a process, and so the meters, of its own.
    #[test]
    fn events_are_counted_by_what_they_say() {
        count(&received(TAKEN, &["local", "local, queued", "queued", "dropped", "local (filed into Work)"]));
        count(&received(JUNK, &["local"]));
        count(&received("552 5.2.2 The mailbox is full", &["local"]));
        count(&received("452 4.2.2 No room", &["local"]));
        let mails: Vec<u64> = METERS.mails.all().map(|(_, count)| count).collect();
        assert_eq!(mails, [1, 1, 0, 2]);
        assert_eq!((METERS.mail_bytes.get(), METERS.recipients_here.get()), (20, 4));
        assert_eq!(METERS.recipients_queued.get(), 2);

        let said = "450 4.7.1 Wait".to_owned();
        count(&What::Refused(Refused {
            client: Client::default(),
            sender: String::new(),
            recipient: None,
            said,
        }));
        assert_eq!(METERS.refused_for_now.of(Cause::Policy).get(), 1);
        assert_eq!(METERS.refused_for_now.of(Cause::Mailbox).get(), 1);
        assert_eq!(METERS.refused_for_good.of(Cause::Mailbox).get(), 1);

        for outcome in ["sent", "deferred", "failed"] {
            let (said, outcome) = ("250 Ok".to_owned(), outcome.to_owned());
            let (sender, to) = ("a@b.test".to_owned(), "c@d.test".to_owned());
            count(&What::Sent(Sent { queued: 1, sender, to, via: None, tls: None, said, outcome }));
        }
        let counted = [Leaving::Sent, Leaving::Deferred, Leaving::Failed];
        assert_eq!(counted.map(|leaving| METERS.deliveries.of(leaving).get()), [1, 1, 1]);
    }
}
