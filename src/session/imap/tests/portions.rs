//! Commands that read many messages, a portion at a time.

use super::harness::House;
use crate::session::imap::limits::{MESSAGES_PER_QUESTION_MAX, READ_TOGETHER_BYTES_MAX};

#[tokio::test]
async fn a_listing_and_a_search_of_many_messages_are_in_order() {
    let house = House::new();
    let mut session = house.session(true);
    session.send(b"l LOGIN alice demo-alice\r\n").await;
    let many = MESSAGES_PER_QUESTION_MAX + 2;
    for number in 1..=many {
        let padding = "x".repeat(if number % 50 == 0 { READ_TOGETHER_BYTES_MAX + 1 } else { number });
        house.deliver("INBOX", &format!("Subject: s{number}\r\n\r\n{padding} odd{}", number % 2));
    }
    session.send(b"s SELECT INBOX\r\nt STORE 2,4,100 +FLAGS.SILENT (\\Seen)\r\n").await;
    session.take_sent();
    session.send(b"a FETCH 1:* (ENVELOPE)\r\n").await;
    let sent = session.take_sent();
    let subjects =
        sent.split("ENVELOPE (NIL \"s").skip(1).map(|rest| rest[..rest.find('"').unwrap()].to_owned());
    assert!(subjects.eq((1..=many).map(|number| number.to_string())), "{sent}");
    let seen_or_odd = (1..=many).filter(|number| number % 2 == 1 || [2, 4, 100].contains(number));
    let expected = seen_or_odd.map(|number| format!(" {number}")).collect::<String>();
    for key in ["OR SEEN TEXT odd1", "OR SEEN BODY odd1"] {
        session.send(format!("b SEARCH {key}\r\n").as_bytes()).await;
        let sent = session.take_sent();
        assert!(sent.contains(&format!("* SEARCH{expected}\r\n")), "{key}: {sent}");
    }
    session.send(b"c SEARCH OR SEEN SUBJECT s13\r\n").await;
    let sent = session.take_sent();
    assert!(sent.contains("* SEARCH 2 4 13 100 130\r\n"), "{sent}");
}
