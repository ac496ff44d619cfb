//! Mail of strangers to addresses that lead to other servers: who is its sender there, what way notices come back, what is
//! sealed, and what is not passed on.

use bytes::Bytes;

use super::backends::{logins, texts};
use super::*;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::ids::Timestamp;
use crate::policy::Arrival;
use crate::policy::signing;
use crate::session::driver::Backend;
use crate::session::smtp::envelope::{MailParams, RcptParams};
use crate::session::smtp::filtering::{Named, Names};
use crate::session::smtp::machine::{Answer, NoReturn, Outgoing, Question, Verdict};
use crate::session::smtp::received::Trace;
use crate::session::smtp::{Flavor, SmtpBackend};
use crate::state::dkim::{DkimAlgorithm, NewDkimKey};
use crate::state::queue::TlsWish;
use crate::state::queue::reading::{self, Parcel};
use crate::state::queue::way_back::way_back;
use crate::state::srs::{AGE_DAYS_MAX, is_return};

const ZONES: &str = "
    good.test  TXT  \"v=spf1 ip4:192.0.2.1 -all\"
    good.test  MX   10 mx.good.test
    evil.test  TXT  \"v=spf1 -all\"
    evil.test  MX   10 mx.evil.test
";
const TEXT: &str = "From: joe@good.test\r\nSubject: hello\r\n\r\nHi.\r\n";
const DAY_MS: u64 = 86_400_000;

/// `both` leads to alice and away, `away` away alone.
fn passing() -> House {
    let house = house_by(replica_by(Clock::fixed(Timestamp(1_700_000_000_000))), ZONES);
    for (address, targets) in [
        ("both@example.test", &["alice@example.test", "a@far.test"][..]),
        ("away@example.test", &["b@far.test"]),
        ("away@example.org", &["c@far.test"]),
    ] {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        run(&house.replica, Command::SetAlias { address: address.to_owned(), targets });
    }
    house
}

fn path(from: &str) -> ReversePath {
    match from {
        "" => ReversePath::Null,
        address => ReversePath::Address(Address::parse(address).unwrap()),
    }
}

fn session(house: &House) -> SmtpBackend<MemoryReplica> {
    SmtpBackend::new(house.replica.clone(), logins(&house.replica), house.checks.clone())
        .filtering(Flavor::Mx)
}

async fn rcpt(smtp: &mut SmtpBackend<MemoryReplica>, from: &str, to: &str) -> Verdict {
    let question =
        Question::Sender { from: path(from), authenticated: false, arrival: None, helo: String::new() };
    assert!(matches!(smtp.answer(question).await, Answer::Sender(Ok(_))));
    asked(smtp, to).await
}

async fn asked(smtp: &mut SmtpBackend<MemoryReplica>, to: &str) -> Verdict {
    let path = ForwardPath::Address(Address::parse(to).unwrap());
    match smtp.answer(Question::Recipient { path, size: None, authenticated: false }).await {
        Answer::Recipient(Ok(verdict)) => verdict,
        other => panic!("{other:?}"),
    }
}

/// A stranger's mail, judged as it comes. Each recipient is taken.
async fn send(house: &House, from: &str, to: &[&str], text: &str) -> Answer {
    send_with(house, (from, TlsWish::Usual), to, text).await
}

async fn send_with(house: &House, (from, tls): (&str, TlsWish), to: &[&str], text: &str) -> Answer {
    let mut smtp = session(house);
    rcpt(&mut smtp, from, "alice@example.test").await;
    let (mut here, mut named, mut recipients) = (Vec::new(), Vec::new(), Vec::new());
    for to in to {
        let (local, remote) = match asked(&mut smtp, to).await {
            Verdict::Accept(local) => (local, Vec::new()),
            Verdict::Relay { local, remote } => (local, remote),
            other => panic!("{to}: {other:?}"),
        };
        here.push(local);
        let path = ForwardPath::Address(Address::parse(to).unwrap());
        named.push(Named { path, params: RcptParams::default(), elsewhere: remote.len() });
        recipients.extend(remote.into_iter().map(|address| (address, RcptParams::default())));
    }
    let arrival = Arrival {
        address: "192.0.2.1".parse().unwrap(),
        helo: "mx.good.test".to_owned(),
        sender: (!from.is_empty()).then(|| from.to_owned()),
        receiver: "mx.example.test".to_owned(),
    };
    assert!(matches!(smtp.answer(Question::BeginBody(Some(Box::new(arrival)))).await, Answer::Begun(Ok(_))));
    let (from_path, params) = (path(from), MailParams::default());
    let names = Names { from: from_path, params, to: named, by_stranger: true, tls };
    let outgoing = (!recipients.is_empty()).then(|| Outgoing {
        sender: from.to_owned(),
        params: MailParams::default(),
        recipients,
    });
    let (return_path, received) = (format!("Return-Path: <{from}>\r\n"), "Received: by us\r\n".to_owned());
    smtp.answer(Question::Deliver {
        last: Bytes::copy_from_slice(text.as_bytes()),
        to: here,
        names: Box::new(names),
        outgoing,
        authors: None,
        trace: Some(Trace { return_path, received }),
    })
    .await
}

async fn taken(house: &House, from: &str, to: &[&str], text: &str) {
    let answer = send(house, from, to, text).await;
    assert!(
        matches!(&answer, Answer::Delivered(Ok(results)) if results.iter().all(Result::is_ok)),
        "{answer:?}"
    );
}

/// All that is in the queue, each mail with its first parcel.
async fn queue(house: &House) -> Vec<Parcel> {
    let read = house.replica.read_queue(|rows| {
        let mails = reading::mails(rows, None, 99)?;
        mails.into_iter().map(|(id, _)| Ok(reading::parcels(rows, id, 1)?.remove(0))).collect()
    });
    read.await.unwrap()
}

async fn inbox(house: &House) -> Vec<String> {
    let texts = texts(&house.replica, "alice", "INBOX").await;
    texts.into_iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn what_is_passed_on_is_passed_on_as_its_sender_wants_it_protected() {
    let house = passing();
    for tls in [TlsWish::Required, TlsWish::Waived, TlsWish::Usual] {
        let answer = send_with(&house, ("joe@good.test", tls), &["away@example.test"], TEXT).await;
        assert!(matches!(answer, Answer::Delivered(Ok(_))), "{answer:?}");
    }
    let queue = queue(&house).await;
    let wishes: Vec<_> = queue.iter().map(|parcel| parcel.tls).collect();
    assert_eq!(wishes, [TlsWish::Required, TlsWish::Waived, TlsWish::Usual]);
    assert!(queue.iter().all(|parcel| parcel.passed_on), "{queue:?}");
}

#[tokio::test]
async fn here_and_elsewhere_is_one_entry_under_an_address_of_ours() {
    let house = passing();
    for (from, to) in [
        ("joe@good.test", "both@example.test"),
        ("joe@good.test", "away@example.org"),
        ("", "away@example.test"),
        ("bob@example.org", "away@example.test"),
    ] {
        taken(&house, from, &[to], TEXT).await;
    }
    assert_eq!(inbox(&house).await.len(), 1);
    let queue = queue(&house).await;
    assert!(queue.iter().all(|parcel| parcel.passed_on && parcel.mail.account.is_none()), "{queue:?}");
    let senders: Vec<_> = queue.iter().map(|parcel| parcel.mail.sender.as_str()).collect();
    for (sender, domain) in [(senders[0], "example.test"), (senders[1], "example.org")] {
        assert!(
            sender.starts_with("SRS0=") && sender.ends_with(&format!("=good.test=joe@{domain}")),
            "{sender}"
        );
    }
    assert_eq!(senders[2..], ["", "bob@example.org"], "a notice has no sender, and ours is what he is");
    assert_eq!(queue[0].recipients[0].1.address, "a@far.test");

    // A full mailbox here, and nobody elsewhere gets it either.
    run(&house.replica, Command::SetQuota { name: "alice".to_owned(), quota_bytes: Some(2_000) });
    let large = format!("{TEXT}{}", "x\r\n".repeat(1_000));
    let answer = send(&house, "joe@good.test", &["both@example.test"], &large).await;
    assert!(matches!(&answer, Answer::Delivered(Ok(results)) if results[0].is_err()), "{answer:?}");
    assert_eq!(self::queue(&house).await.len(), 4);
}

#[tokio::test]
async fn notices_come_back_to_the_sender_and_nothing_else_does() {
    let house = passing();
    taken(&house, "joe@good.test", &["away@example.test"], TEXT).await;
    let made = queue(&house).await.remove(0).mail.sender;
    let mut smtp = session(&house);
    let joe = Verdict::Relay { local: Vec::new(), remote: vec![Address::parse("joe@good.test").unwrap()] };
    assert_eq!(rcpt(&mut smtp, "", &made).await, joe);
    assert_eq!(rcpt(&mut smtp, "", &made.to_lowercase()).await, joe);
    let not_a_notice = Verdict::NoReturn(NoReturn::NotANotice);
    assert_eq!(rcpt(&mut smtp, "x@good.test", &made).await, not_a_notice);
    let forged = made.replace("joe", "jim");
    assert_eq!(rcpt(&mut smtp, "", &forged).await, Verdict::NoReturn(NoReturn::Forged));
    assert_eq!(rcpt(&mut smtp, "", &made.replace("example.test", "far.test")).await, Verdict::RelayDenied);

    // It goes on as a notice; and what this node itself has to tell goes the same way.
    taken(&house, "", &[&made], "From: MAILER-DAEMON@far.test\r\n\r\nNo.\r\n").await;
    let notice = queue(&house).await.remove(1);
    assert_eq!((notice.mail.sender.as_str(), notice.recipients[0].1.address.as_str()), ("", "joe@good.test"));
    let own = |address: &str| {
        let address = Address::parse(address).unwrap();
        way_back(&house.replica.directory(), &address, (house.replica.node(), false))
    };
    let (here, queued) = own(&made).unwrap();
    assert!(here.is_empty());
    assert_eq!(queued.unwrap().parcels[0].recipients[0].address, "joe@good.test");
    assert_eq!(own(&forged), None);

    // For its time, whichever secret it was made with.
    let rotate = |mark: u8| {
        let new = crate::state::srs::NewSrsSecret::of([mark; crate::state::srs::SECRET_BYTES], true);
        run(&house.replica, Command::KeepSrsSecret(Box::new(new)));
    };
    rotate(1);
    assert_eq!(rcpt(&mut smtp, "", &made).await, joe);
    house.replica.clock().advance_ms(u64::from(AGE_DAYS_MAX) * DAY_MS);
    assert_eq!(rcpt(&mut smtp, "", &made).await, joe);
    house.replica.clock().advance_ms(DAY_MS);
    assert_eq!(rcpt(&mut smtp, "", &made).await, Verdict::NoReturn(NoReturn::Stale));
    rotate(2);
    assert_eq!(rcpt(&mut smtp, "", &made).await, Verdict::NoReturn(NoReturn::Forged));
}

#[tokio::test]
async fn a_sender_that_no_return_address_has_room_for_is_refused() {
    let house = passing();
    let mut smtp = session(&house);
    let long = |labels: usize| {
        let domain = vec!["d".repeat(40); labels].join(".");
        format!("{}@{domain}.test", "l".repeat(60))
    };
    assert!(matches!(rcpt(&mut smtp, &long(3), "away@example.test").await, Verdict::Relay { .. }));
    assert_eq!(rcpt(&mut smtp, &long(4), "away@example.test").await, Verdict::SenderTooLong);
    let here = rcpt(&mut smtp, &long(4), "alice@example.test").await;
    assert!(matches!(here, Verdict::Accept(_)), "it is passed on to nobody: {here:?}");
    let written = house.replica.directory().srs.clone().unwrap();
    let others = Address::parse("SRS0=abcd=TT=orig.test=joe@one.test").unwrap();
    assert!(is_return(&others), "of others it is rewritten once more");
    assert!(written.rewrite(&others, "example.test", Timestamp(0)).unwrap().local().starts_with("SRS1="));
}

#[tokio::test]
async fn mail_for_a_domain_for_which_we_stand_in_goes_on_as_it_is() {
    let house = passing();
    let mut smtp = session(&house);
    assert_eq!(rcpt(&mut smtp, "joe@good.test", "a@backup.test").await, Verdict::RelayDenied);
    set(&house.replica, "relay.inbound_domains", "backup.test,example.test");
    taken(&house, "joe@good.test", &["a@BACKUP.test", "b@backup.test"], TEXT).await;
    let parcel = queue(&house).await.remove(0);
    assert_eq!((parcel.mail.sender.as_str(), parcel.passed_on), ("joe@good.test", true));
    let to: Vec<_> = parcel.recipients.iter().map(|(_, to)| to.address.as_str()).collect();
    assert_eq!(
        (parcel.row.destination.as_str(), to),
        ("backup.test", vec!["a@BACKUP.test", "b@backup.test"])
    );

    assert_eq!(rcpt(&mut smtp, "joe@good.test", "a@sub.backup.test").await, Verdict::RelayDenied);
    assert_eq!(
        rcpt(&mut smtp, "joe@good.test", "nobody@example.test").await,
        Verdict::Unknown,
        "this is ours"
    );
    let evil = ("a@evil.test", "From: a@evil.test\r\n\r\nBuy.\r\n");
    let answer = send(&house, evil.0, &["a@backup.test"], evil.1).await;
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");

    // One sender for a mail: whoever is served under another has to wait for the next.
    assert!(matches!(rcpt(&mut smtp, "joe@good.test", "a@backup.test").await, Verdict::Relay { .. }));
    assert_eq!(asked(&mut smtp, "away@example.test").await, Verdict::Apart);
    assert!(matches!(asked(&mut smtp, "alice@example.test").await, Verdict::Accept(_)));
    assert!(matches!(asked(&mut smtp, "b@backup.test").await, Verdict::Relay { .. }));
    assert!(matches!(rcpt(&mut smtp, "joe@good.test", "away@example.test").await, Verdict::Relay { .. }));
    assert_eq!(asked(&mut smtp, "a@backup.test").await, Verdict::Apart);
}

#[tokio::test]
async fn junk_stays_here_or_is_refused() {
    let house = passing();
    let (evil, text) = ("a@evil.test", "From: a@evil.test\r\n\r\nBuy.\r\n");
    taken(&house, evil, &["both@example.test"], text).await;
    assert_eq!((texts(&house.replica, "alice", "Junk").await.len(), queue(&house).await.len()), (1, 0));
    for to in [&["away@example.test"][..], &["alice@example.test", "away@example.test"]] {
        let answer = send(&house, evil, to, text).await;
        let Answer::Refused(refusal) = answer else { panic!("{answer:?}") };
        assert_eq!((refusal.code, refusal.enhanced), (550, "5.7.1"), "{to:?}");
    }
    assert_eq!((texts(&house.replica, "alice", "Junk").await.len(), queue(&house).await.len()), (1, 0));
    set(&house.replica, "forward.junk", "true");
    taken(&house, evil, &["both@example.test"], text).await;
    assert_eq!((texts(&house.replica, "alice", "Junk").await.len(), queue(&house).await.len()), (2, 1));
}

#[tokio::test]
async fn what_goes_on_is_sealed_by_the_domain_that_passes_it_on() {
    let house = passing();
    let add = |domain: &str| {
        let algorithm = DkimAlgorithm::Ed25519Sha256;
        let private = signing::generate(algorithm).unwrap();
        let (domain, selector) = (domain.to_owned(), "s".to_owned());
        let key = NewDkimKey { domain, selector, algorithm, private, signs: true };
        run(&house.replica, Command::AddDkimKey(Box::new(key)));
    };
    taken(&house, "joe@good.test", &["both@example.test"], TEXT).await;
    add("example.test");
    taken(&house, "joe@good.test", &["both@example.test"], TEXT).await;
    taken(&house, "joe@good.test", &["alice@example.test"], TEXT).await;
    taken(&house, "joe@good.test", &["alice@example.test", "away@example.org"], TEXT).await;
    let account = account(&house.replica, "alice");
    let (name, text) = ("f".to_owned(), "redirect :copy \"r@far.test\";".to_owned());
    let text = format!("require \"copy\"; {text}");
    run(&house.replica, Command::PutScript { account, name: name.clone(), text });
    run(&house.replica, Command::ActivateScript { account, name: Some(name) });
    taken(&house, "joe@good.test", &["alice@example.test"], TEXT).await;

    let inbox = inbox(&house).await;
    let sealed: Vec<bool> = inbox.iter().map(|text| text.contains("\r\nARC-Seal: i=1;")).collect();
    assert_eq!(
        sealed,
        [false, true, false, false, true],
        "one has no key, one stays here, one domain has no key"
    );
    let begin =
        "Return-Path: <joe@good.test>\r\nARC-Authentication-Results: i=1; mx.example.test;\r\n\tspf=pass";
    assert!(inbox[1].starts_with(begin) && inbox[1].contains("d=example.test"), "{}", inbox[1]);
    assert!(inbox[1].ends_with(TEXT), "nothing else is touched");
    let redirected = queue(&house).await.pop().unwrap();
    assert_eq!(redirected.recipients[0].1.address, "r@far.test");
    assert_eq!(redirected.mail.sender, "alice@example.test");
    assert!(redirected.passed_on);
}
