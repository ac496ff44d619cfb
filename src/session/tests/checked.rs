//! Mail that is judged before it is taken, by a DNS of the tests' own: what gets where, and what nobody gets.

use bytes::Bytes;

use super::backends::{logins, texts};
use super::*;
use crate::policy::Arrival;
use crate::session::driver::Backend;
use crate::session::smtp::SmtpBackend;
use crate::session::smtp::filtering::Names;
use crate::session::smtp::machine::{Answer, Question};
use crate::session::smtp::received::Trace;
use crate::state::routing::LocalTarget;

const ZONES: &str = "
    good.test        TXT  \"v=spf1 ip4:192.0.2.1 -all\"
    evil.test        TXT  \"v=spf1 -all\"
    _dmarc.bank.test TXT  \"v=DMARC1; p=reject\"
    broken.test      SERVFAIL
";

impl House {
    /// Sends to alice and bob, the text in two parts.
    async fn send(&self, sender: &str, text: &str) -> Answer {
        let mut smtp = SmtpBackend::new(self.replica.clone(), logins(&self.replica), self.checks.clone());
        let arrival = Arrival {
            address: "192.0.2.1".parse().unwrap(),
            helo: "mail.test".to_owned(),
            sender: Some(sender.to_owned()),
            receiver: "mx.test".to_owned(),
        };
        assert!(matches!(
            smtp.answer(Question::BeginBody(Some(Box::new(arrival)))).await,
            Answer::Begun(Ok(_))
        ));
        let (one, other) = text.as_bytes().split_at(text.len() / 2);
        let chunk = Bytes::copy_from_slice(one);
        assert!(matches!(smtp.answer(Question::BodyChunk(chunk)).await, Answer::Chunk(Ok(()))));
        let (return_path, received) =
            ("Return-Path: <x>\r\n".to_owned(), "Received: by mx.test\r\n".to_owned());
        let target = |name| vec![LocalTarget { account: account(&self.replica, name), detail: None }];
        let to = vec![target("alice"), target("bob")];
        let (last, trace) = (Bytes::copy_from_slice(other), Some(Trace { return_path, received }));
        smtp.answer(Question::Deliver {
            last,
            to,
            names: Names::nobody(),
            outgoing: None,
            authors: None,
            trace,
        })
        .await
    }

    /// What alice has: in INBOX, in Junk.
    async fn kept(&self) -> (Vec<String>, Vec<String>) {
        let read = async |mailbox| {
            let all = texts(&self.replica, "alice", mailbox).await;
            all.into_iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        (read("INBOX").await, read("Junk").await)
    }
}

fn taken(answer: Answer) {
    let Answer::Delivered(Ok(results)) = answer else { panic!("{answer:?}") };
    assert_eq!(results, [Ok(()), Ok(())]);
}

fn refused(answer: Answer) -> (u16, &'static str) {
    let Answer::Refused(refusal) = answer else { panic!("{answer:?}") };
    (refusal.code, refusal.enhanced)
}

#[tokio::test]
async fn a_mail_that_passes_is_kept_with_what_was_found_and_without_what_was_forged() {
    let house = house(ZONES);
    let text = "Authentication-Results: mx.test; dmarc=pass\r\nFrom: a@good.test\r\n\r\nHi.\r\n";
    taken(house.send("a@good.test", text).await);
    let (inbox, junk) = house.kept().await;
    assert_eq!((inbox.len(), junk.len()), (1, 0));
    let expected = "Return-Path: <x>\r\n\
        Authentication-Results: mx.test;\r\n\tspf=pass smtp.mailfrom=a@good.test;\r\n\tdkim=none;\r\n\tarc=none;\r\n\
        \tdmarc=none (p=none) header.from=good.test\r\n\
        Received-SPF: pass\r\n\tclient-ip=192.0.2.1; envelope-from=\"a@good.test\";\r\n\
        \thelo=mail.test; receiver=mx.test; identity=mailfrom\r\n\
        Received: by mx.test\r\nFrom: a@good.test\r\n\r\nHi.\r\n";
    assert_eq!(inbox[0], expected);
}

#[tokio::test]
async fn what_the_rules_distrust_goes_to_junk_is_dropped_or_refused() {
    let house = house(ZONES);
    taken(house.send("a@evil.test", "From: a@evil.test\r\n\r\nHi.\r\n").await);
    let (inbox, junk) = house.kept().await;
    assert_eq!((inbox.len(), junk.len()), (0, 1), "spf.fail is junk by default");
    let forged = "From: boss@bank.test\r\n\r\nPay.\r\n";
    assert_eq!(refused(house.send("a@good.test", forged).await), (550, "5.7.26"));
    set(&house.replica, "dmarc.reject", "discard");
    taken(house.send("a@good.test", forged).await);
    set(&house.replica, "spf.fail", "reject");
    assert_eq!(refused(house.send("a@evil.test", "From: a@evil.test\r\n\r\nHi.\r\n").await), (550, "5.7.23"));
    let (inbox, junk) = house.kept().await;
    assert_eq!((inbox.len(), junk.len()), (0, 1), "nothing came to it");
    set(&house.replica, "dmarc.reject", "accept");
    taken(house.send("a@good.test", forged).await);
    assert!(house.kept().await.0[0].contains("dmarc=fail (p=reject) header.from=bank.test"));
}

#[tokio::test]
async fn a_dns_that_fails_never_refuses_for_good() {
    let house = house(ZONES);
    for key in ["spf.fail", "spf.softfail", "dkim.fail", "dmarc.ambiguous", "dmarc.quarantine"] {
        set(&house.replica, key, "reject");
    }
    let text = "From: a@good.test\r\n\r\nHi.\r\n";
    taken(house.send("a@broken.test", text).await);
    assert!(house.kept().await.0[0].contains("spf=temperror smtp.mailfrom=a@broken.test"));
    set(&house.replica, "spf.temporary", "defer");
    assert_eq!(refused(house.send("a@broken.test", text).await), (451, "4.7.24"));
}

#[tokio::test]
async fn a_large_mail_is_kept_whole_and_what_does_not_fit_the_spool_is_refused_for_now() {
    let house = house(ZONES);
    let text = |length: usize| format!("From: a@good.test\r\n\r\n{}\r\n", "0123456789".repeat(length / 10));
    let large = text(900_000);
    taken(house.send("a@good.test", &large).await);
    assert!(house.kept().await.0[0].ends_with(&large));
    let mut smtp = SmtpBackend::new(house.replica.clone(), logins(&house.replica), house.checks.clone());
    let (address, helo) = ("192.0.2.1".parse().unwrap(), "x".to_owned());
    let arrival = Arrival { address, helo, sender: None, receiver: "mx.test".to_owned() };
    smtp.answer(Question::BeginBody(Some(Box::new(arrival)))).await;
    let too_large = Bytes::from(text(1_200_000));
    let answer = smtp.answer(Question::BodyChunk(too_large)).await;
    assert!(matches!(answer, Answer::Chunk(Err(crate::cluster::replica::Fault::Disk(_)))), "{answer:?}");
}

#[tokio::test]
async fn a_header_that_cannot_be_read_whole_is_refused() {
    let house = house(ZONES);
    let text = format!("From: a@good.test\r\nX: {}\r\n\r\nHi.\r\n", "x\r\n ".repeat(100_000));
    assert_eq!(refused(house.send("a@good.test", &text).await), (554, "5.6.0"));
}
