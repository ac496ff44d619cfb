//! AUTHENTICATE SCRAM-SHA-256 and -PLUS in a session, to each of its ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::harness::{Driven, House};
use crate::cluster::replica::Fault;
use crate::session::channel::ChannelBindings;
use crate::session::imap::limits::REFUSED_LOGINS_MAX;
use crate::session::machine::Machine;
use crate::session::scram::client::Client;

async fn say(session: &mut Driven, line: &str) -> String {
    session.send(format!("{line}\r\n").as_bytes()).await;
    session.take_sent()
}

fn decoded(continuation: &str) -> String {
    let base64 = continuation.strip_prefix("+ ").expect(continuation).trim_end();
    String::from_utf8(STANDARD.decode(base64).unwrap()).unwrap()
}

/// Up to the answer to the client's proof.
async fn prove(session: &mut Driven, mechanism: &str, client: &Client, initial: bool) -> (String, String) {
    let first = STANDARD.encode(client.first());
    let server_first = match initial {
        true => say(session, &format!("a AUTHENTICATE {mechanism} {first}")).await,
        false => {
            assert_eq!(say(session, &format!("a AUTHENTICATE {mechanism}")).await, "+ \r\n");
            say(session, &first).await
        }
    };
    let (last, wanted) = client.last(&decoded(&server_first));
    (say(session, &STANDARD.encode(last)).await, wanted)
}

fn alice() -> Client {
    Client::new("alice", "demo-alice")
}

#[tokio::test]
async fn the_client_hears_our_proof_before_it_is_logged_in() {
    for initial in [true, false] {
        let house = House::new();
        let mut session = house.session(true);
        session.take_sent();
        let (said, wanted) = prove(&mut session, "SCRAM-SHA-256", &alice(), initial).await;
        assert_eq!(decoded(&said), wanted);
        let said = say(&mut session, "").await;
        assert!(said.starts_with("a OK [CAPABILITY "), "{said}");
        assert!(say(&mut session, "b SELECT INBOX").await.contains("b OK"));
    }
}

#[tokio::test]
async fn a_proof_that_is_wrong_counts_as_a_wrong_password_whoever_it_is() {
    let house = House::new();
    let mut session = house.session(true);
    session.take_sent();
    for at in 1..=REFUSED_LOGINS_MAX {
        let name = ["alice", "nobody"][at as usize % 2];
        let (said, _) = prove(&mut session, "SCRAM-SHA-256", &Client::new(name, "wrong"), true).await;
        assert!(said.contains("a NO [AUTHENTICATIONFAILED]"), "{said}");
        assert_eq!(said.contains("* BYE"), at == REFUSED_LOGINS_MAX, "{said}");
    }
}

#[tokio::test]
async fn plus_is_offered_where_the_channel_has_a_name_and_binds_to_it() {
    let house = House::new();
    let mut session = house.session(true);
    session.take_sent();
    assert!(!say(&mut session, "c CAPABILITY").await.contains("-PLUS"));
    assert!(say(&mut session, "c AUTHENTICATE SCRAM-SHA-256-PLUS").await.starts_with("c NO [CANNOT]"));
    session.machine.bind_channel(ChannelBindings { exporter: None, end_point: Some([9; 48][..].into()) });
    let said = say(&mut session, "c CAPABILITY").await;
    assert!(said.contains(" AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN "), "{said}");
    let downgraded = STANDARD.encode(Client { header: "y,,", ..alice() }.first());
    let said = say(&mut session, &format!("c AUTHENTICATE SCRAM-SHA-256 {downgraded}")).await;
    assert!(said.starts_with("c NO [AUTHENTICATIONFAILED]"), "{said}");
    let bound = |octet| Client { header: "p=tls-server-end-point,,", binding: vec![octet; 48], ..alice() };
    let (said, _) = prove(&mut session, "SCRAM-SHA-256-PLUS", &bound(8), true).await;
    assert!(said.starts_with("a NO [AUTHENTICATIONFAILED]"), "{said}");
    let (said, wanted) = prove(&mut session, "SCRAM-SHA-256-PLUS", &bound(9), true).await;
    assert_eq!(decoded(&said), wanted);
    assert!(say(&mut session, "").await.starts_with("a OK "));
}

#[tokio::test]
async fn an_exchange_can_be_broken_off_and_what_is_not_scram_is_refused() {
    let house = House::new();
    let mut session = house.session(true);
    session.take_sent();
    let first = STANDARD.encode(alice().first());
    assert!(say(&mut session, &format!("a AUTHENTICATE SCRAM-SHA-256 {first}")).await.starts_with("+ "));
    assert_eq!(say(&mut session, "*").await, "a BAD Cancelled\r\n");
    assert!(say(&mut session, "a AUTHENTICATE SCRAM-SHA-256 !").await.starts_with("a BAD"));
    for not_scram in ["=", "eA=="] {
        let said = say(&mut session, &format!("a AUTHENTICATE SCRAM-SHA-256 {not_scram}")).await;
        assert!(said.starts_with("a NO [AUTHENTICATIONFAILED]"), "{said}");
    }
    // Once it is accepted there is no way back but another connection.
    prove(&mut session, "SCRAM-SHA-256", &alice(), true).await;
    let said = say(&mut session, "*").await;
    assert!(said.starts_with("* BYE") && session.closed, "{said}");
}

#[tokio::test]
async fn beyond_a_cut_nobody_is_told_that_a_login_is_wrong_and_who_is_known_gets_in() {
    let house = House::new();
    house.replica.fail(Some(Fault::NoQuorum));
    let mut session = house.session(true);
    session.take_sent();
    let (said, _) = prove(&mut session, "SCRAM-SHA-256", &Client::new("nobody", "x"), true).await;
    assert!(said.starts_with("a NO [UNAVAILABLE]"), "{said}");
    let said = say(&mut session, "b LOGIN alice wrong").await;
    assert!(said.starts_with("b NO [UNAVAILABLE]"), "{said}");
    let (said, wanted) = prove(&mut session, "SCRAM-SHA-256", &alice(), true).await;
    assert_eq!(decoded(&said), wanted);
    assert!(say(&mut session, "").await.starts_with("a OK "));
}
