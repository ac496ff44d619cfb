//! What a user may send in a day, over two nodes of one replica.

use bytes::Bytes;

use super::*;
use crate::mail::ids::Timestamp;
use crate::session::driver::Backend;
use crate::session::limits::{Limits, UserLimits};
use crate::session::login::{Claim, Credentials};
use crate::session::smtp::SmtpBackend;
use crate::session::smtp::filtering::Names;
use crate::session::smtp::machine::{Answer, Question};
use crate::state::routing::LocalTarget;

const DAY_MS: u64 = 86_400_000;

async fn session(house: &House, user: &str) -> SmtpBackend<MemoryReplica> {
    let users = UserLimits::new(Limits::start(house.replica.clone()));
    let logins = backends::logins(&house.replica);
    let mut smtp = SmtpBackend::new(house.replica.clone(), logins, house.checks.clone()).users_limited(users);
    let credentials = Credentials::new(user.as_bytes(), b"secret").unwrap();
    let login = smtp.answer(Question::Login(Claim::Password(credentials))).await;
    assert!(matches!(login, Answer::Login(Ok(_))), "{login:?}");
    smtp
}

/// A mail of so many bytes to bob. `Err`: what the user hears.
async fn send(house: &House, smtp: &mut SmtpBackend<MemoryReplica>, bytes: usize) -> Result<(), String> {
    assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Ok(_))));
    let text = Bytes::from(vec![b'x'; bytes]);
    let (first, last) = (text.slice(..bytes / 2), text.slice(bytes / 2..));
    assert!(matches!(smtp.answer(Question::BodyChunk(first)).await, Answer::Chunk(Ok(()))));
    let to = vec![vec![LocalTarget { account: account(&house.replica, "bob"), detail: None }]];
    match smtp
        .answer(Question::Deliver {
            last,
            to,
            names: Names::nobody(),
            outgoing: None,
            authors: None,
            trace: None,
        })
        .await
    {
        Answer::Delivered(Ok(results)) => {
            assert_eq!(results, [Ok(())]);
            Ok(())
        }
        Answer::Refused(refusal) => Err(format!("{} {} {}", refusal.code, refusal.enhanced, refusal.text)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_sends_n_messages_a_day_by_whichever_node_and_another_user_his_own() {
    let house = house_by(replica_by(Clock::fixed(Timestamp(1_700_000_000_000))), "");
    set(&house.replica, "send.messages_per_day", "3");
    let mut nodes = [session(&house, "alice").await, session(&house, "alice").await];
    let full =
        Err("452 4.7.1 You have sent as many messages today as you may, try again tomorrow".to_owned());
    for number in 0..6 {
        let sent = send(&house, &mut nodes[number % 2], 10).await;
        assert_eq!(sent, if number < 3 { Ok(()) } else { full.clone() }, "message {}", number + 1);
    }
    assert_eq!(send(&house, &mut session(&house, "bob").await, 10).await, Ok(()));
    assert_eq!(backends::texts(&house.replica, "bob", "INBOX").await.len(), 4, "what is refused is not kept");
    house.replica.clock().advance_ms(DAY_MS);
    assert_eq!(send(&house, &mut nodes[1], 10).await, Ok(()), "another day");
}

#[tokio::test]
async fn a_user_sends_n_bytes_a_day_and_a_mail_that_is_too_large_costs_nothing() {
    let house = house_by(replica_by(Clock::fixed(Timestamp(1_700_000_000_000))), "");
    set(&house.replica, "send.bytes_per_day", "100");
    let mut nodes = [session(&house, "alice").await, session(&house, "alice").await];
    let full = Err("452 4.7.1 You have sent as much today as you may, try again tomorrow".to_owned());
    for (at, bytes, fits) in
        [(0, 40, true), (1, 40, true), (0, 40, false), (1, 21, false), (0, 20, true), (1, 1, false)]
    {
        let sent = send(&house, &mut nodes[at], bytes).await;
        assert_eq!(sent, if fits { Ok(()) } else { full.clone() }, "{bytes} bytes");
    }
    set(&house.replica, "send.bytes_per_day", "0");
    assert_eq!(send(&house, &mut nodes[0], 1_000).await, Ok(()), "0 is unlimited");
}
