//! A user sends under his own addresses (requirement 12), and from trusted networks under any (13).

use bytes::Bytes;

use super::backends::{logins, texts};
use super::*;
use crate::cluster::replica::Fault;
use crate::mail::address::{Address, ReversePath};
use crate::session::driver::Backend;
use crate::session::login::{Claim, Credentials};
use crate::session::smtp::SmtpBackend;
use crate::session::smtp::filtering::Names;
use crate::session::smtp::listed::{Listed, Opening};
use crate::session::smtp::machine::{Answer, Question};
use crate::state::routing::LocalTarget;

type Smtp = SmtpBackend<MemoryReplica>;

async fn alice(house: &House, client: &str) -> Smtp {
    let mut smtp = SmtpBackend::new(house.replica.clone(), logins(&house.replica), house.checks.clone())
        .listed(Listed::new(Some(client.parse().unwrap()), Arc::default()));
    let credentials = Credentials { login: "alice".to_owned(), password: b"secret".to_vec() };
    let answer = smtp.answer(Question::Login(Claim::Password(credentials))).await;
    assert!(matches!(answer, Answer::Login(Ok(_))), "{answer:?}");
    smtp
}

/// The code of MAIL.
async fn mail(smtp: &mut Smtp, from: &str) -> u16 {
    let from = match from {
        "" => ReversePath::Null,
        from => ReversePath::Address(Address::parse(from).unwrap()),
    };
    match smtp
        .answer(Question::Sender { from, authenticated: true, arrival: None, helo: String::new() })
        .await
    {
        Answer::Sender(Ok(Opening::Stranger)) => 250,
        Answer::Sender(Ok(Opening::Refused(refusal))) => refusal.code,
        other => panic!("{other:?}"),
    }
}

/// The code of a mail to bob by these authors.
async fn data(smtp: &mut Smtp, bob: AccountId, authors: &[&str]) -> u16 {
    assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Ok(_))));
    let question = Question::Deliver {
        last: Bytes::from_static(b"Subject: x\r\n\r\n"),
        to: vec![vec![LocalTarget { account: bob, detail: None }]],
        names: Names::nobody(),
        outgoing: None,
        authors: Some(authors.iter().map(|author| (*author).to_owned()).collect()),
        trace: None,
    };
    match smtp.answer(question).await {
        Answer::Delivered(Ok(_)) => 250,
        Answer::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_writes_under_what_leads_to_him_and_under_nothing_else() {
    let house = house("");
    for (address, targets) in [
        ("info", &["alice", "bob"][..]),
        ("sales@example.org", &["info"]),
        ("out", &["alice@away.test"]),
        ("bobs", &["bob"]),
    ] {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        run(&house.replica, Command::SetAlias { address: address.to_owned(), targets });
    }
    let mut smtp = alice(&house, "192.0.2.1").await;
    let bob = account(&house.replica, "bob");
    let mut taken = 0;
    for (address, code) in [
        ("alice@example.test", 250),
        ("Alice@EXAMPLE.org", 250),
        ("alice+lists@example.test", 250),
        ("info@example.test", 250),
        ("sales@example.org", 250),
        ("sales@example.test", 553),
        ("postmaster@example.test", 250),
        ("bob@example.test", 553),
        ("bobs@example.test", 553),
        ("out@example.test", 553),
        ("nobody@example.test", 553),
        ("alice@away.test", 553),
    ] {
        assert_eq!(mail(&mut smtp, address).await, code, "{address}");
        assert_eq!(data(&mut smtp, bob, &[address]).await, code, "{address}");
        taken += usize::from(code == 250);
    }
    assert_eq!(mail(&mut smtp, "").await, 250, "notices have no sender");
    for (authors, code) in [
        (&[][..], 250),
        (&["alice@example.test", "info@example.test"], 250),
        (&["alice@example.test", "bob@example.test"], 553),
        (&[""], 553),
        (&["alice@example.test", ""], 553),
        (&["a\r\nb@example.test"], 553),
    ] {
        assert_eq!(data(&mut smtp, bob, authors).await, code, "{authors:?}");
        taken += usize::from(code == 250);
    }
    assert_eq!(texts(&house.replica, "bob", "INBOX").await.len(), taken, "what is refused is nowhere");
}

#[tokio::test]
async fn both_settings_let_any_address_go_from_the_next_mail_on() {
    let house = house("");
    let bob = account(&house.replica, "bob");
    let (mut near, mut far) = (alice(&house, "10.0.0.9").await, alice(&house, "192.0.2.1").await);
    set(&house.replica, "sender.any_networks", "10.0.0.0/24");
    for (smtp, code) in [(&mut near, 250), (&mut far, 553)] {
        assert_eq!(mail(smtp, "x@away.test").await, code);
        assert_eq!(data(smtp, bob, &["x@away.test"]).await, code);
    }
    set(&house.replica, "sender.must_be_own", "false");
    assert_eq!(mail(&mut far, "x@away.test").await, 250);
    assert_eq!(data(&mut far, bob, &["", "x@away.test"]).await, 250);
}

#[tokio::test]
async fn an_alias_of_a_moment_ago_is_not_refused_for_good() {
    let house = house("");
    let mut smtp = alice(&house, "192.0.2.1").await;
    house.replica.fail(Some(Fault::NoQuorum));
    let from = ReversePath::Address(Address::parse("new@example.test").unwrap());
    let answer =
        smtp.answer(Question::Sender { from, authenticated: true, arrival: None, helo: String::new() }).await;
    assert!(matches!(answer, Answer::Sender(Err(Fault::NoQuorum))), "{answer:?}");
    assert_eq!(mail(&mut smtp, "alice@example.test").await, 250);
}
