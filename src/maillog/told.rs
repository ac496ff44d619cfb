//! What becomes of mails, told in the node's log as well: an event is one line there, with the mail's id, and all else in
//! fields.

use tracing::info;

use super::event::{Heard, Received, Refused, Sent, What};

/// Recipients that are named; of the rest their number is told.
const NAMED_MAX: usize = 10;

/// `node`: whose log it is, for where several nodes' logs come together.
pub fn tell(what: &What, node: &str) {
    match what {
        What::Received(it) => {
            let Received { id, sender, outcome, decided_by, bytes, queued, entry, .. } = it;
            let (to, client) = (recipients(it), client(it.client.address));
            let login = it.client.login.as_deref().unwrap_or_default();
            let message_id = it.message_id.as_deref().unwrap_or_default();
            let count = it.recipients.len() as u64;
            info!(
                target: "pollux::mail", node, mail = id, message_id, queued, entry, from = sender, to, recipients = count, client,
                login, bytes, decided_by, outcome, "received"
            );
        }
        What::Refused(it) => {
            let Refused { sender, said, .. } = it;
            let (to, client) = (it.recipient.as_deref().unwrap_or_default(), client(it.client.address));
            info!(target: "pollux::mail", node, from = sender, to, client, said, "refused");
        }
        What::Sent(it) => {
            let Sent { queued, sender, to, via, tls, said, outcome } = it;
            let (via, tls) = (via.as_deref().unwrap_or("-"), tls.as_deref().unwrap_or("-"));
            info!(target: "pollux::mail", node, queued, from = sender, to, via, tls, said, outcome, "tried");
        }
        What::Heard(it) => {
            let Heard { id, message_id, recipients, .. } = it;
            let message_id = message_id.as_deref().unwrap_or_default();
            let (client, count) = (client(it.client.address), recipients.len() as u64);
            info!(target: "pollux::mail", node, mail = id, message_id, recipients = count, client, "a notice was heard");
        }
    }
}

/// `<a@b.test>, <c@d.test> and 3 more`.
fn recipients(received: &Received) -> String {
    let named = received.recipients.iter().take(NAMED_MAX).map(|recipient| format!("<{}>", recipient.to));
    let mut text = named.collect::<Vec<_>>().join(", ");
    let more = received.recipients.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn client(address: Option<std::net::IpAddr>) -> String {
    address.map_or_else(|| "-".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maillog::{Client, Recipient, TAKEN};

    #[test]
    fn few_recipients_are_named_and_many_counted() {
        let to = |count: usize| {
            let recipient =
                |at: usize| Recipient { to: format!("u{at}@a.test"), outcome: "local".to_owned() };
            recipients(&Received {
                id: "1".into(),
                message_id: None,
                client: Client::default(),
                sender: String::new(),
                recipients: (0..count).map(recipient).collect(),
                checks: Vec::new(),
                decided_by: String::new(),
                outcome: TAKEN.into(),
                queued: None,
                entry: None,
                bytes: 0,
            })
        };
        assert_eq!(to(2), "<u0@a.test>, <u1@a.test>");
        assert!(to(NAMED_MAX).ends_with("<u9@a.test>"));
        assert!(to(NAMED_MAX + 1).ends_with("<u9@a.test> and 1 more"));
    }
}
