//! The log on a folder of its own.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::mail::delivery_status::{
    self, Action, DeliveryStatus, ID_BYTES_MAX, RECIPIENTS_MAX, Status, TEXT_BYTES_MAX,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn received(id: &str, from: &str, to: &[&str]) -> What {
    let recipients =
        to.iter().map(|to| Recipient { to: (*to).to_owned(), outcome: "local".to_owned() }).collect();
    What::Received(Received {
        id: id.to_owned(),
        message_id: Some(format!("{id}@a.test")),
        client: Client::default(),
        sender: from.to_owned(),
        recipients,
        checks: Vec::new(),
        decided_by: String::new(),
        outcome: TAKEN.to_owned(),
        queued: None,
        entry: None,
        bytes: 0,
    })
}

fn refused(from: &str, to: &str) -> What {
    What::Refused(Refused {
        client: Client::default(),
        sender: from.to_owned(),
        recipient: Some(to.to_owned()),
        said: "554 5.7.1 No".to_owned(),
    })
}

fn sent(queued: u64, to: &str) -> What {
    What::Sent(Sent {
        queued,
        sender: "alice@example.test".to_owned(),
        to: to.to_owned(),
        via: None,
        tls: None,
        said: "250 2.0.0 Ok".to_owned(),
        outcome: "sent".to_owned(),
    })
}

fn log(folder: &Path, bytes_max: u64) -> MailLog {
    MailLog::open(folder.to_owned(), "node1", move || Bounds { bytes_max, days_max: 30 })
}

fn about(text: &str) -> Query {
    Query { about: Some(text.to_owned()), ..Query::default() }
}

async fn ids(log: &MailLog, query: Query) -> Vec<String> {
    let id = |event: Event| match event.what {
        What::Received(it) => it.id,
        What::Refused(it) => format!("refused {}", it.recipient.unwrap_or_default()),
        What::Sent(it) => format!("sent {}", it.queued),
        What::Heard(it) => format!("heard {}", it.id),
    };
    log.find(query).await.unwrap().events.into_iter().map(id).collect()
}

#[tokio::test]
async fn a_mail_is_found_by_its_message_id_its_id_its_sender_and_each_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 1 << 20);
    log.note(Timestamp(1), received("ONE", "joe@a.test", &["alice@example.test", "bob@example.test"]));
    log.note(Timestamp(2), refused("joe@a.test", "nobody@example.test"));
    log.note(Timestamp(3), received("TWO", "", &["bob@example.test"]));
    log.note(Timestamp(4), sent(7, "far@away.test"));
    for (query, expected) in [
        ("<one@A.test>", vec!["ONE"]),
        ("one@a.test", vec!["ONE"]),
        ("one", vec!["ONE"]),
        ("Joe@a.test", vec!["ONE", "refused nobody@example.test"]),
        ("bob@example.test", vec!["ONE", "TWO"]),
        ("nobody@example.test", vec!["refused nobody@example.test"]),
        ("body@example.test", vec![]),
        ("alice@example.test", vec!["ONE", "sent 7"]),
        ("far@away.test", vec!["sent 7"]),
        ("", vec![]),
        ("<>", vec![]),
        ("\"", vec![]),
    ] {
        assert_eq!(ids(&log, about(query)).await, expected, "{query}");
    }
    assert_eq!(ids(&log, Query { since: 3, ..about("bob@example.test") }).await, ["TWO"]);
    assert_eq!(ids(&log, Query { queued: vec![7], ..Query::default() }).await, ["sent 7"]);
    assert_eq!(ids(&log, Query { queued: vec![7], ..about("one") }).await, ["ONE", "sent 7"]);
}

#[tokio::test]
async fn what_was_noted_is_there_after_a_start_and_what_cannot_be_read_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let first = log(folder.path(), 1 << 20);
    first.note(Timestamp(1), received("ONE", "joe@a.test", &[]));
    first.flush().await.unwrap();
    let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let mut text = fs::read(&file).unwrap();
    text.extend_from_slice(
        b"{\"at\":1,\"event\":\"of a later build\",\"sender\":\"joe@a.test\"}\n{\"at\":2,joe@a.test",
    );
    fs::write(&file, text).unwrap();
    let second = log(folder.path(), 1 << 20);
    second.note(Timestamp(1), received("TWO", "joe@a.test", &[]));
    assert_eq!(ids(&second, about("joe@a.test")).await, ["ONE", "TWO"]);
}

#[tokio::test]
async fn each_kind_keeps_to_its_room_and_refusals_push_out_no_mail() {
    let folder = tempfile::tempdir().unwrap();
    let bytes_max = 64 * 1024;
    let log = log(folder.path(), bytes_max);
    log.note(Timestamp(1), received("ONE", "joe@a.test", &[]));
    // Slower than the bound on what waits.
    for round in 0..4 {
        for at in 0..1_000 {
            log.note(Timestamp(2 + round * 1_000 + at), refused("joe@a.test", "nobody@example.test"));
        }
        log.flush().await.unwrap();
    }
    let size = |kind: &str| -> u64 {
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
        let of_kind = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(kind));
        of_kind.map(|entry| entry.metadata().unwrap().len()).sum()
    };
    let refusals = size("refused");
    assert!(refusals <= bytes_max && refusals > bytes_max / 2, "{refusals}");
    let found = log.find(about("joe@a.test")).await.unwrap();
    assert!(found.more, "an answer holds the newest alone");
    assert_eq!(found.events.last().unwrap().at, 4_001);
    assert_eq!(ids(&log, about("one@a.test")).await, ["ONE"]);
}

#[tokio::test]
async fn what_is_older_than_the_bound_goes_with_the_next_file_and_0_days_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let days = Arc::new(Mutex::new(2));
    let asked = Arc::clone(&days);
    let bounds = move || Bounds { bytes_max: 1 << 20, days_max: *asked.lock().unwrap() };
    let log = MailLog::open(folder.path().to_owned(), "node1", bounds);
    for (day, expected) in
        [(0, vec!["0"]), (1, vec!["0", "1"]), (3, vec!["0", "1", "3"]), (4, vec!["1", "3", "4"])]
    {
        log.note(Timestamp(day * DAY_MS), received(&day.to_string(), "joe@a.test", &[]));
        assert_eq!(ids(&log, about("joe@a.test")).await, expected, "day {day}");
    }
    *days.lock().unwrap() = 0;
    log.note(Timestamp(4 * DAY_MS), received("5", "joe@a.test", &[]));
    assert_eq!(ids(&log, about("joe@a.test")).await, ["1", "3", "4"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_holds_nobody_up_and_is_used_once_it_can() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("maillog");
    fs::write(&folder, "a file").unwrap();
    let log = log(&folder, 1 << 20);
    log.note(Timestamp(1), received("ONE", "joe@a.test", &[]));
    log.flush().await.unwrap();
    assert!(log.find(about("joe@a.test")).await.is_err());
    fs::remove_file(&folder).unwrap();
    log.note(Timestamp(2), received("TWO", "joe@a.test", &[]));
    assert_eq!(ids(&log, about("joe@a.test")).await, ["TWO"]);
}

#[tokio::test]
async fn a_line_at_the_bound_is_written_and_a_longer_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 64 << 20);
    let line = |what: &What| serde_json::to_vec(&Event { at: 1, what: what.clone() }).unwrap().len() + 1;
    let mut what = refused("joe@a.test", "b@b.test");
    let room = LINE_BYTES_MAX - line(&what);
    if let What::Refused(refused) = &mut what {
        refused.said.push_str(&"x".repeat(room));
    }
    assert_eq!(line(&what), LINE_BYTES_MAX);
    log.note(Timestamp(1), what.clone());
    assert_eq!(ids(&log, about("joe@a.test")).await.len(), 1);
    if let What::Refused(refused) = &mut what {
        refused.said.push('x');
    }
    log.note(Timestamp(1), what);
    assert_eq!(ids(&log, about("joe@a.test")).await.len(), 1);
}

/// All that a notice can tell, in characters of which JSON makes two.
#[tokio::test]
async fn what_others_tell_is_found_by_the_mail_and_its_recipients_and_fits_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 64 << 20);
    let long = |last: &str| Some(format!("{}{last}", "\"".repeat(TEXT_BYTES_MAX - 1)));
    let recipient = delivery_status::Recipient {
        final_recipient: long("a"),
        original_recipient: long("b"),
        action: Some(Action::Delivered),
        status: Some(Status(5, 999, 999)),
        diagnostic: long("c"),
        remote_mta: long("d"),
    };
    let most = DeliveryStatus {
        reporting_mta: long("e"),
        recipients: vec![recipient; RECIPIENTS_MAX],
        message_id: Some("\"".repeat(ID_BYTES_MAX)),
    };
    let few = DeliveryStatus {
        reporting_mta: Some("mx.b.test".to_owned()),
        recipients: vec![delivery_status::Recipient {
            final_recipient: Some("bob@b.test".to_owned()),
            original_recipient: Some("team@a.test".to_owned()),
            ..delivery_status::Recipient::default()
        }],
        message_id: Some("one@a.test".to_owned()),
    };
    for (id, status) in [("MOST", most), ("FEW", few)] {
        log.note(Timestamp(1), What::Heard(Heard::new(id.to_owned(), Client::default(), status)));
    }
    assert_eq!(ids(&log, about(&format!("<{}>", "\"".repeat(ID_BYTES_MAX)))).await, ["heard MOST"]);
    for text in ["<One@a.test>", "bob@b.test", "team@a.test", "few"] {
        assert_eq!(ids(&log, about(text)).await, ["heard FEW"], "{text}");
    }
    assert_eq!(ids(&log, about("mx.b.test")).await, [""; 0]);
    let found = log.find(about("few")).await.unwrap();
    let What::Heard(heard) = &found.events[0].what else { panic!("it is one") };
    assert_eq!(heard.recipients[0].by.as_deref(), Some("mx.b.test"));
}

#[tokio::test]
async fn without_a_folder_nothing_is_kept() {
    let log = MailLog::default();
    log.note(Timestamp(1), received("ONE", "joe@a.test", &[]));
    assert_eq!(log.find(about("joe@a.test")).await.unwrap(), Found::default());
}
