//! What other servers say of mail: bounded, without control characters, no longer than it came; and what notices we would make of
//! it ourselves reads as the same.

use bytes::Bytes;
use pollux::mail::delivery_status::{
    Action, DeliveryStatus, ID_BYTES_MAX, RECIPIENTS_MAX, Recipient, TEXT_BYTES_MAX, read,
};
use pollux::mail::ids::Timestamp;
use pollux::mail::notice::{self, About, Kind, notice};

pub fn run(raw: &[u8]) {
    let Some(found) = read(raw) else { return };
    check(raw, &found);
    for of in &found.recipients {
        read_back(of);
    }
}

fn check(raw: &[u8], found: &DeliveryStatus) {
    assert!((1..=RECIPIENTS_MAX).contains(&found.recipients.len()));
    let id = found.message_id.as_deref().unwrap_or("id");
    assert!(!id.is_empty() && id.len() <= ID_BYTES_MAX && !id.contains(char::is_control));
    let mut bytes = found.reporting_mta.as_ref().map_or(0, String::len);
    for of in &found.recipients {
        assert!(of.final_recipient.is_some() || of.original_recipient.is_some());
        for text in [&of.final_recipient, &of.original_recipient, &of.diagnostic, &of.remote_mta]
            .into_iter()
            .flatten()
        {
            assert!(!text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control));
            bytes += text.len();
        }
        assert!(
            of.status
                .is_none_or(|status| matches!(status.0, 2 | 4 | 5) && status.1 <= 999 && status.2 <= 999)
        );
    }
    // An octet that is no UTF-8 becomes a character of three.
    assert!(bytes <= 3 * raw.len(), "{bytes} octets told by {}", raw.len());
}

/// Where the address is one of ASCII, as others are written otherwise.
fn read_back(of: &Recipient) {
    let Some(address) = of.final_recipient.as_deref().filter(|address| address.is_ascii()) else { return };
    let status = of.status.map_or("5.0.0".to_owned(), |status| status.to_string());
    let kind = match of.action.unwrap_or(Action::Failed) {
        Action::Failed => Kind::Failed,
        Action::Delayed => Kind::Delayed { until: Timestamp(1) },
        Action::Delivered => Kind::Delivered,
        Action::Relayed => Kind::Relayed,
        Action::Expanded => Kind::Expanded,
    };
    let about = About {
        sender: "a@a.test",
        envid: None,
        ret: None,
        smtputf8: false,
        arrived: Timestamp(0),
        text: &Bytes::from_static(b"Message-ID: <one@a.test>\r\n\r\n"),
        own_name: "mx.a.test",
        now: Timestamp(0),
        dice: 7,
        remote: None,
    };
    let recipient = notice::Recipient { address, orcpt: None, status: status.clone(), said: None };
    let again = read(&notice(kind, &about, &[recipient])).expect("it is a notice");
    assert_eq!((again.recipients.len(), again.message_id.as_deref()), (1, Some("one@a.test")));
    let again = &again.recipients[0];
    assert_eq!(again.final_recipient.as_deref(), Some(address));
    assert_eq!(again.action.map(Action::word), Some(of.action.unwrap_or(Action::Failed).word()));
    assert_eq!(again.status.map(|status| status.to_string()), Some(status));
}
