//! The lists at the backend: who is kept out, dropped, let off, let send on; and what is counted.

use std::net::IpAddr;

use bytes::Bytes;

use super::backends::{logins, texts};
use super::*;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::policy::{Arrival, Skip};
use crate::session::driver::Backend;
use crate::session::smtp::SmtpBackend;
use crate::session::smtp::filtering::Names;
use crate::session::smtp::listed::{Listed, Opening};
use crate::session::smtp::machine::{Answer, Question, Verdict};
use crate::session::smtp::received::Trace;
use crate::state::lists::{NewRule, RuleAction, RuleKind, canonical};
use crate::state::routing::LocalTarget;

const ZONES: &str = "
    1.2.0.192.in-addr.arpa   PTR  mx.partner.test
    mx.partner.test          A    192.0.2.1
    2.2.0.192.in-addr.arpa   PTR  mx.partner.test
    3.2.0.192.in-addr.arpa   SERVFAIL
    4.2.0.192.in-addr.arpa   PTR  broken.test
    broken.test              SERVFAIL
    5.2.0.192.in-addr.arpa   PTR  half.test
    half.test                SERVFAIL A
    half.test                AAAA 2001:db8::5
    evil.test                TXT  \"v=spf1 -all\"
    _dmarc.evil.test         TXT  \"v=DMARC1; p=reject\"
";

fn listing(rules: &[&str]) -> House {
    let house = house(ZONES);
    rules.iter().for_each(|rule| house.add(rule));
    house
}

type Smtp = SmtpBackend<MemoryReplica>;

impl House {
    /// `name kind action pattern`
    fn add(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, kind, action, pattern] = words[..] else { panic!("{line}") };
        let rule = NewRule {
            name: name.to_owned(),
            kind: RuleKind::ALL.into_iter().find(|it| it.word() == kind).unwrap(),
            pattern: pattern.to_owned(),
            action: RuleAction::ALL.into_iter().find(|it| it.word() == action).unwrap(),
            before: None,
        };
        run(&self.replica, Command::AddRule(Box::new(canonical(rule).unwrap())));
    }

    fn from(&self, client: &str) -> Smtp {
        let client: IpAddr = client.parse().unwrap();
        SmtpBackend::new(self.replica.clone(), logins(&self.replica), self.checks.clone())
            .listed(Listed::new(Some(client), Arc::clone(&self.hits)))
    }

    fn hits(&self, name: &str) -> u64 {
        let directory = self.replica.directory();
        let rule = directory.lists.rules().iter().find(|rule| rule.name == name).expect("the rule is there");
        self.hits.of(rule)
    }
}

async fn mail(smtp: &mut Smtp, from: &str) -> Opening {
    let from = match from {
        "" => ReversePath::Null,
        from => ReversePath::Address(Address::parse(from).unwrap()),
    };
    match smtp
        .answer(Question::Sender { from, authenticated: false, arrival: None, helo: String::new() })
        .await
    {
        Answer::Sender(Ok(opening)) => opening,
        other => panic!("{other:?}"),
    }
}

async fn rcpt(smtp: &mut Smtp, to: &str, authenticated: bool) -> Verdict {
    let path = ForwardPath::Address(Address::parse(to).unwrap());
    match smtp.answer(Question::Recipient { path, size: None, authenticated }).await {
        Answer::Recipient(Ok(verdict)) => verdict,
        other => panic!("{other:?}"),
    }
}

fn code(refusal: &crate::policy::Refusal) -> (u16, &'static str) {
    (refusal.code, refusal.enhanced)
}

#[tokio::test]
async fn a_listed_sender_or_client_is_refused_at_mail_and_a_listed_recipient_at_rcpt() {
    let house = listing(&[
        "spammer sender reject spam@a.test",
        "manual sender refuse @b.test",
        "net mask reject 198.51.100.0/24",
        "closed recipient reject bob@example.test",
    ]);
    let mut smtp = house.from("192.0.2.9");
    for from in ["Spam@A.test", "any@b.test"] {
        let Opening::Refused(refusal) = mail(&mut smtp, from).await else { panic!("{from}") };
        assert_eq!(code(&refusal), (554, "5.7.1"));
    }
    let mut listed = house.from("::ffff:198.51.100.7");
    assert!(
        matches!(mail(&mut listed, "").await, Opening::Refused(_)),
        "the empty sender too, by its client"
    );
    assert_eq!(mail(&mut smtp, "").await, Opening::Stranger);
    let Verdict::Refused(refusal) = rcpt(&mut smtp, "Bob+x@example.test", false).await else { panic!() };
    assert_eq!(code(&refusal), (554, "5.7.1"));
    assert!(matches!(rcpt(&mut smtp, "alice@example.test", false).await, Verdict::Accept(_)));
    for (rule, hits) in [("spammer", 1), ("manual", 1), ("net", 1), ("closed", 1)] {
        assert_eq!(house.hits(rule), hits, "{rule}");
    }
}

#[tokio::test]
async fn a_user_and_a_front_end_are_not_asked_by_the_lists() {
    let house = listing(&["s sender reject a@a.test", "r recipient reject alice@example.test"]);
    let mut user = house.from("192.0.2.9");
    let from = ReversePath::Address(Address::parse("a@a.test").unwrap());
    assert!(matches!(mail(&mut user, "a@a.test").await, Opening::Refused(_)));
    let answer =
        user.answer(Question::Sender { from, authenticated: true, arrival: None, helo: String::new() }).await;
    assert!(matches!(answer, Answer::Sender(Ok(Opening::Stranger))), "{answer:?}");
    assert!(matches!(rcpt(&mut user, "alice@example.test", true).await, Verdict::Accept(_)));
    let mut front = SmtpBackend::new(house.replica.clone(), logins(&house.replica), house.checks.clone());
    assert_eq!(mail(&mut front, "a@a.test").await, Opening::Stranger);
    assert!(matches!(rcpt(&mut front, "alice@example.test", false).await, Verdict::Accept(_)));
}

/// Sends what is taken; how many mails alice and bob have then.
async fn send(house: &House, smtp: &mut Smtp, (from, to): (&str, &[&str])) -> (usize, usize) {
    assert_eq!(mail(smtp, from).await, Opening::Stranger);
    let mut targets = Vec::new();
    for to in to {
        let Verdict::Accept(target) = rcpt(smtp, to, false).await else { panic!("{to}") };
        targets.push(target);
    }
    let last = deliver(smtp, from, targets).await;
    assert!(matches!(last, Answer::Delivered(Ok(ref all)) if all.len() == to.len()), "{last:?}");
    let of = async |user| texts(&house.replica, user, "INBOX").await.len();
    (of("alice").await, of("bob").await)
}

async fn deliver(smtp: &mut Smtp, from: &str, to: Vec<Vec<LocalTarget>>) -> Answer {
    let (helo, receiver) = ("x.test".to_owned(), "mx.test".to_owned());
    let sender = Some(from.to_owned());
    let arrival = Arrival { address: "192.0.2.9".parse().unwrap(), helo, sender, receiver };
    let begun = smtp.answer(Question::BeginBody(Some(Box::new(arrival)))).await;
    assert!(matches!(begun, Answer::Begun(Ok(_))));
    let last = Bytes::from(format!("From: {from}\r\n\r\nHi.\r\n"));
    let trace = Some(Trace { return_path: "Return-Path: <>\r\n".into(), received: "Received: x\r\n".into() });
    smtp.answer(Question::Deliver { last, to, names: Names::nobody(), outgoing: None, authors: None, trace })
        .await
}

#[tokio::test]
async fn what_is_discarded_is_taken_with_250_and_kept_by_nobody() {
    for (rule, kept) in [
        ("r sender discard a@a.test", (0, 0)),
        ("r ip discard 192.0.2.9", (0, 0)),
        ("r mask discard 192.0.2.", (0, 0)),
        ("r recipient discard bob@example.test", (1, 0)),
        ("r recipient discard carol@example.test", (1, 1)),
    ] {
        let house = listing(&[rule]);
        let mail = ("a@a.test", ["alice@example.test", "bob@example.test"]);
        let mut smtp = house.from("192.0.2.9");
        assert_eq!(send(&house, &mut smtp, (mail.0, &mail.1)).await, kept, "{rule}");
    }
}

#[tokio::test]
async fn a_whitelisted_mail_is_judged_by_what_is_left_and_one_to_several_by_what_all_are_let_off() {
    let house = listing(&["w recipient allow alice@example.test"]);
    let both = ["alice@example.test", "bob@example.test"];
    let outcome = async |to: &[&str]| {
        let mut smtp = house.from("192.0.2.9");
        assert_eq!(mail(&mut smtp, "a@evil.test").await, Opening::Stranger);
        let mut targets = Vec::new();
        for to in to {
            let Verdict::Accept(target) = rcpt(&mut smtp, to, false).await else { panic!("{to}") };
            targets.push(target);
        }
        match deliver(&mut smtp, "a@evil.test", targets).await {
            Answer::Delivered(Ok(_)) => "taken".to_owned(),
            Answer::Refused(refusal) => format!("{} {}", refusal.code, refusal.enhanced),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome(&both[..1]).await, "550 5.7.26", "DMARC is not in the row of recipients");
    set(&house.replica, "whitelist.recipient.skips", "spf,dkim,dmarc");
    assert_eq!(outcome(&both[..1]).await, "taken");
    let text = texts(&house.replica, "alice", "INBOX").await;
    let text = String::from_utf8_lossy(&text[0]).into_owned();
    assert!(text.contains("dmarc=fail") && text.contains("spf=fail"), "it is made and told: {text}");
    assert_eq!(outcome(&both).await, "550 5.7.26");
    assert_eq!(outcome(&[both[1], both[0]]).await, "550 5.7.26");
    house.add("v recipient allow bob@example.test");
    assert_eq!(outcome(&both).await, "taken");
    assert_eq!((house.hits("w"), house.hits("v")), (5, 1));
    assert_eq!(Skip::default(), Listed::default().skip());
}

#[tokio::test]
async fn clients_in_the_lists_send_on_and_nobody_else() {
    let house = listing(&["lan client relay 192.168.0.21-24", "partner client relay partner.test"]);
    set(&house.replica, "relay.open_networks", "10.0.0.0/24");
    for (client, expected) in [
        ("192.168.0.20", Opening::Stranger),
        ("192.168.0.21", Opening::Trusted),
        ("192.168.0.24", Opening::Trusted),
        ("192.168.0.25", Opening::Stranger),
        ("10.0.0.255", Opening::Trusted),
        ("10.0.1.0", Opening::Stranger),
        ("192.0.2.1", Opening::Trusted),
        ("192.0.2.2", Opening::Stranger),
        ("192.0.2.3", Opening::Unsure),
        ("192.0.2.4", Opening::Unsure),
        ("192.0.2.5", Opening::Unsure),
        ("192.0.2.6", Opening::Stranger),
    ] {
        let mut smtp = house.from(client);
        assert_eq!(mail(&mut smtp, "a@a.test").await, expected, "{client}");
        let trusted = expected == Opening::Trusted;
        let verdict = rcpt(&mut smtp, "far@away.test", trusted).await;
        match expected {
            Opening::Trusted => assert!(matches!(verdict, Verdict::Relay { .. }), "{client}"),
            Opening::Unsure => assert_eq!(verdict, Verdict::Outbound, "{client}: not for good"),
            _ => assert_eq!(verdict, Verdict::RelayDenied, "{client}"),
        }
        assert!(matches!(rcpt(&mut smtp, "alice@example.test", trusted).await, Verdict::Accept(_)));
    }
    assert_eq!((house.hits("lan"), house.hits("partner")), (2, 1));
}

#[tokio::test]
async fn a_client_that_is_let_in_meanwhile_is_not_refused_for_good_and_one_on_the_blacklist_is_not_let_in() {
    let house = listing(&[]);
    let mut smtp = house.from("192.168.0.21");
    assert_eq!(mail(&mut smtp, "a@a.test").await, Opening::Stranger);
    house.add("lan client relay 192.168.0.");
    assert_eq!(rcpt(&mut smtp, "far@away.test", false).await, Verdict::Outbound);
    house.add("bad ip reject 192.168.0.21");
    assert!(matches!(mail(&mut smtp, "a@a.test").await, Opening::Refused(_)));
}
