//! Notices of success, asked for by strangers and by users, of mail for here and elsewhere.

use bytes::Bytes;

use super::backends::{logins, texts};
use super::*;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::dsn::{Notify, Ret};
use crate::session::driver::Backend;
use crate::session::smtp::envelope::{MailParams, RcptParams};
use crate::session::smtp::filtering::{Named, Names};
use crate::session::smtp::machine::{Answer, Question, Verdict};
use crate::session::smtp::{Flavor, SmtpBackend};
use crate::state::queue::{TlsWish, reading};

const SUCCESS: Option<Notify> = Some(Notify { success: true, failure: true, delay: false });
const TEXT: &str = "From: joe@far.test\r\nSubject: hello\r\n\r\nHi.\r\n";

/// A mail for each of these, with what its sender wants to hear; what the client hears of each.
async fn send(house: &House, from: &str, to: &[(&str, Option<Notify>)]) -> Vec<bool> {
    let checks = house.checks.clone();
    let mut smtp =
        SmtpBackend::new(house.replica.clone(), logins(&house.replica), checks).filtering(Flavor::Lmtp);
    let from = match from {
        "" => ReversePath::Null,
        address => ReversePath::Address(Address::parse(address).unwrap()),
    };
    let question =
        Question::Sender { from: from.clone(), authenticated: false, arrival: None, helo: String::new() };
    assert!(matches!(smtp.answer(question).await, Answer::Sender(Ok(_))));
    let (mut named, mut here) = (Vec::new(), Vec::new());
    for (to, notify) in to {
        let path = ForwardPath::Address(Address::parse(to).unwrap());
        let question = Question::Recipient { path: path.clone(), size: None, authenticated: false };
        let Answer::Recipient(Ok(Verdict::Accept(local))) = smtp.answer(question).await else {
            panic!("{to} is not here")
        };
        here.push(local);
        let orcpt = Some("rfc822;first@far.test".to_owned());
        named.push(Named { path, params: RcptParams { notify: *notify, orcpt }, elsewhere: 0 });
    }
    assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Ok(_))));
    let params =
        MailParams { envid: Some("E+2B1".to_owned()), ret: Some(Ret::Full), ..MailParams::default() };
    let names = Box::new(Names { from, params, to: named, by_stranger: true, tls: TlsWish::Usual });
    let last = Bytes::from_static(TEXT.as_bytes());
    let question = Question::Deliver { last, to: here, names, outgoing: None, authors: None, trace: None };
    match smtp.answer(question).await {
        Answer::Delivered(Ok(results)) => results.iter().map(Result::is_ok).collect(),
        other => panic!("{other:?}"),
    }
}

/// Those in the queue, as `to: actions`; each with the null sender.
async fn queued(house: &House) -> Vec<(String, String)> {
    let read = house.replica.read_queue(|rows| {
        let mails = reading::mails(rows, None, 99)?;
        mails
            .into_iter()
            .map(|(id, _)| Ok(reading::parcels(rows, id, 1)?.remove(0)))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut found = Vec::new();
    for parcel in read.await.unwrap() {
        assert_eq!(parcel.mail.sender, "");
        let text = house.replica.body(parcel.mail.body).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        found.push((parcel.recipients[0].1.address.clone(), text));
    }
    found
}

fn said(text: &str) -> Vec<&str> {
    let fields = ["Action: ", "Final-Recipient: ", "Original-Recipient: ", "Original-Envelope-Id: "];
    text.lines().filter(|line| fields.iter().any(|field| line.starts_with(field))).collect()
}

#[tokio::test]
async fn who_asked_is_told_once_that_it_is_in_the_mailbox() {
    let house = house("");
    let to = [("alice@example.test", SUCCESS), ("bob@example.test", None), ("bob+x@example.org", SUCCESS)];
    assert_eq!(send(&house, "joe@far.test", &to).await, [true; 3]);
    let queued = queued(&house).await;
    let [(address, text)] = queued.as_slice() else { panic!("{queued:?}") };
    assert_eq!(address, "joe@far.test");
    let expected = [
        "Original-Envelope-Id: E+1",
        "Original-Recipient: rfc822; first@far.test",
        "Final-Recipient: rfc822; alice@example.test",
        "Action: delivered",
        "Original-Recipient: rfc822; first@far.test",
        "Final-Recipient: rfc822; bob+x@example.org",
        "Action: delivered",
    ];
    assert_eq!(said(text), expected, "{text}");
    assert!(text.contains("\r\nSubject: hello\r\n") && !text.contains("Hi."), "{text}");
    assert_eq!(texts(&house.replica, "alice", "INBOX").await.len(), 1);

    // Nobody is told of a notice, nor who did not ask, nor of what is not taken.
    send(&house, "", &to).await;
    send(&house, "joe@far.test", &[("alice@example.test", Some(Notify::NEVER))]).await;
    run(
        &house.replica,
        Command::SetQuota { name: "alice".to_owned(), quota_bytes: Some(TEXT.len() as u64 * 3 + 1) },
    );
    assert_eq!(send(&house, "joe@far.test", &to).await, [false; 3], "all or nothing, as one is told of all");
    assert_eq!(self::queued(&house).await.len(), 1);
    assert_eq!(texts(&house.replica, "bob", "INBOX").await.len(), 2);
}

#[tokio::test]
async fn a_sender_here_is_told_in_his_mailbox_and_of_several_by_the_name_he_used() {
    let house = house("");
    let targets = ["alice", "bob"].map(str::to_owned).to_vec();
    run(&house.replica, Command::SetAlias { address: "team@example.test".to_owned(), targets });
    let to = [("team@example.test", SUCCESS), ("bob@example.test", SUCCESS)];
    assert_eq!(send(&house, "alice@example.test", &to).await, [true; 2]);
    let inbox = texts(&house.replica, "alice", "INBOX").await;
    let inbox: Vec<&str> = inbox.iter().map(|text| std::str::from_utf8(text).unwrap()).collect();
    assert_eq!(inbox.len(), 3, "{inbox:?}");
    let actions: Vec<Vec<&str>> = inbox[1..].iter().map(|text| said(text)[2..].to_vec()).collect();
    assert_eq!(
        actions,
        [
            ["Final-Recipient: rfc822; bob@example.test", "Action: delivered"],
            ["Final-Recipient: rfc822; team@example.test", "Action: expanded"],
        ]
    );
    assert_eq!(queued(&house).await, []);
}

#[tokio::test]
async fn what_a_filter_throws_away_or_refuses_is_no_success() {
    let house = house("");
    let filter = |text: &str| {
        let (account, name) = (account(&house.replica, "alice"), "f".to_owned());
        run(&house.replica, Command::PutScript { account, name: name.clone(), text: text.to_owned() });
        run(&house.replica, Command::ActivateScript { account, name: Some(name) });
    };
    let to = [("alice@example.test", SUCCESS), ("bob@example.test", SUCCESS)];
    filter("discard;");
    assert_eq!(send(&house, "joe@far.test", &to).await, [true, true]);
    filter("require \"reject\"; reject \"no\";");
    assert_eq!(send(&house, "joe@far.test", &to).await, [false, true]);
    for (_, text) in queued(&house).await {
        assert!(text.contains("bob@example.test") && !text.contains("; alice@example.test"), "{text}");
    }
    assert_eq!(queued(&house).await.len(), 2);
}
