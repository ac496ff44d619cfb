//! The SMTP and POP3 backends against a replica in memory: what is answered with 250 is in the mailbox.

use bytes::Bytes;

use super::*;
use crate::cluster::replica::{Fault, Replica};
use crate::dns::{self, Resolver};
use crate::mail::address::{Address, ForwardPath};
use crate::mail::dsn::Notify;
use crate::mail::ids::Uid;
use crate::session::driver::Backend;
use crate::session::login::{Claim, Credentials, LoginBounds, Logins};
use crate::session::pop3::Pop3Backend;
use crate::session::pop3::machine::{Answer as PopAnswer, Question as PopQuestion};
use crate::session::smtp::SmtpBackend;
use crate::session::smtp::checked::Checks;
use crate::session::smtp::delays::Delays;
use crate::session::smtp::envelope::{MailParams, RcptParams};
use crate::session::smtp::filtering::Names;
use crate::session::smtp::machine::{Answer, Outgoing, Question, Verdict};
use crate::session::smtp::reply::{self, Reply};
use crate::session::smtp::spool::{SPOOL_BYTES_MAX, Spool};
use crate::state::command::UidSet;
use crate::state::queue::reading;
use crate::state::routing::LocalTarget;

pub fn logins(replica: &MemoryReplica) -> Arc<Logins> {
    let bounds = LoginBounds { refusal_delay_ms: 0, ..LoginBounds::default() };
    Arc::new(Logins::new(replica.clone(), bounds))
}

fn smtp(replica: &MemoryReplica) -> SmtpBackend<MemoryReplica> {
    let dns = Resolver::new(replica.watch_directory(), dns::Bounds::default());
    let spool = Spool::new(std::env::temp_dir().join("pollux-tests-spool"), SPOOL_BYTES_MAX);
    SmtpBackend::new(replica.clone(), logins(replica), Checks { dns, spool, delays: Delays::default() })
}

async fn verdict(
    smtp: &mut SmtpBackend<MemoryReplica>,
    to: &str,
    size: Option<u64>,
    authenticated: bool,
) -> Verdict {
    let path = ForwardPath::Address(Address::parse(to).unwrap());
    match smtp.answer(Question::Recipient { path, size, authenticated }).await {
        Answer::Recipient(Ok(verdict)) => verdict,
        other => panic!("{other:?}"),
    }
}

fn target(replica: &MemoryReplica, name: &str) -> LocalTarget {
    LocalTarget { account: account(replica, name), detail: None }
}

async fn deliver(
    smtp: &mut SmtpBackend<MemoryReplica>,
    parts: &[&'static str],
    to: Vec<Vec<LocalTarget>>,
) -> Result<Vec<Result<(), Reply>>, Fault> {
    assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Ok(_))));
    let (last, before) = parts.split_last().unwrap();
    for part in before {
        let part = Bytes::from_static(part.as_bytes());
        assert!(matches!(smtp.answer(Question::BodyChunk(part)).await, Answer::Chunk(Ok(()))));
    }
    match smtp
        .answer(Question::Deliver {
            last: Bytes::from_static(last.as_bytes()),
            to,
            names: Names::nobody(),
            outgoing: None,
            authors: None,
            trace: None,
        })
        .await
    {
        Answer::Delivered(delivered) => delivered,
        other => panic!("{other:?}"),
    }
}

async fn inbox(replica: &MemoryReplica, name: &str) -> Vec<Bytes> {
    texts(replica, name, "INBOX").await
}

pub async fn texts(replica: &MemoryReplica, name: &str, mailbox: &str) -> Vec<Bytes> {
    let inbox = replica.mailbox(account(replica, name), mailbox).await.unwrap().unwrap();
    let view = replica.view(inbox.id).await.unwrap().unwrap();
    let bodies = view.read(|view| view.messages().iter().map(|message| message.body).collect::<Vec<_>>());
    let mut texts = Vec::new();
    for body in bodies {
        texts.push(replica.body(body).await.unwrap());
    }
    texts
}

#[tokio::test]
async fn recipients_are_told_apart() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    let alice = Verdict::Accept(vec![target(&replica, "alice")]);
    for to in ["alice@example.test", "ALICE@EXAMPLE.ORG"] {
        assert_eq!(verdict(&mut smtp, to, None, false).await, alice, "{to}");
    }
    assert_eq!(verdict(&mut smtp, "nobody@example.test", None, false).await, Verdict::Unknown);
    assert_eq!(verdict(&mut smtp, "a@elsewhere.example", None, false).await, Verdict::RelayDenied);
    let targets = vec!["alice@example.test".to_owned(), "a@elsewhere.example".to_owned()];
    run(&replica, Command::SetAlias { address: "both@example.test".to_owned(), targets });
    let remote = vec![Address::parse("a@elsewhere.example").unwrap()];
    // Whoever logged in may send anywhere.
    let relay = |local| Verdict::Relay { local, remote: remote.clone() };
    assert_eq!(verdict(&mut smtp, "a@elsewhere.example", None, true).await, relay(vec![]));
    let both = relay(vec![target(&replica, "alice")]);
    for authenticated in [false, true] {
        assert_eq!(verdict(&mut smtp, "both@example.test", None, authenticated).await, both);
    }
    run(&replica, Command::SetUserEnabled { name: "bob".to_owned(), enabled: false });
    assert_eq!(verdict(&mut smtp, "bob@example.test", None, false).await, Verdict::Disabled);
}

#[tokio::test]
async fn nothing_is_refused_for_good_while_the_cluster_cannot_be_asked() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    replica.fail(Some(Fault::NoQuorum));
    for to in ["nobody@example.test", "a@elsewhere.example"] {
        let path = ForwardPath::Address(Address::parse(to).unwrap());
        let answer = smtp.answer(Question::Recipient { path, size: None, authenticated: false }).await;
        assert!(matches!(answer, Answer::Recipient(Err(Fault::NoQuorum))), "{to}: {answer:?}");
    }
}

#[tokio::test]
async fn quota_is_asked_for_before_and_kept_after() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    run(&replica, Command::SetQuota { name: "alice".to_owned(), quota_bytes: Some(20) });
    let (alice, bob) = (vec![target(&replica, "alice")], vec![target(&replica, "bob")]);
    let accepted = Verdict::Accept(alice.clone());
    assert_eq!(verdict(&mut smtp, "alice@example.test", Some(20), false).await, accepted);
    assert_eq!(verdict(&mut smtp, "alice@example.test", Some(21), false).await, Verdict::WouldNotFit);
    let over = deliver(&mut smtp, &["a: b\r\n\r\n", "more than twenty\r\n"], vec![alice.clone(), bob]).await;
    assert_eq!(over.unwrap(), [Err(reply::FULL), Ok(())]);
    assert_eq!((inbox(&replica, "alice").await.len(), inbox(&replica, "bob").await.len()), (0, 1));
    assert_eq!(deliver(&mut smtp, &["twenty octets.....\r\n"], vec![alice]).await.unwrap(), [Ok(())]);
    assert_eq!(verdict(&mut smtp, "alice@example.test", None, false).await, Verdict::AlreadyFull);
}

#[tokio::test]
async fn one_copy_a_mailbox_however_many_recipients_lead_there() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    let (alice, bob) = (target(&replica, "alice"), target(&replica, "bob"));
    let to = vec![vec![alice.clone()], vec![bob.clone(), alice.clone()], vec![alice.clone()]];
    assert_eq!(deliver(&mut smtp, &["a: b\r\n", "\r\n"], to).await.unwrap(), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(inbox(&replica, "alice").await, [&b"a: b\r\n\r\n"[..]]);
    assert_eq!(inbox(&replica, "bob").await.len(), 1);

    // A detail that is no mailbox means INBOX, and one that is means that mailbox.
    let detailed = |detail: &str| LocalTarget { detail: Some(detail.to_owned()), ..alice.clone() };
    let to =
        vec![vec![alice.clone()], vec![detailed("none")], vec![detailed("INBOX")], vec![detailed("Sent")]];
    assert_eq!(deliver(&mut smtp, &["x\r\n"], to).await.unwrap(), [Ok(()), Ok(()), Ok(()), Ok(())]);
    assert_eq!(inbox(&replica, "alice").await.len(), 2);
    let sent = replica.mailbox(alice.account, "Sent").await.unwrap().unwrap();
    assert_eq!(sent.messages, 1);
}

#[tokio::test]
async fn a_mail_for_here_and_elsewhere_is_one_entry_or_none() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    run(&replica, Command::SetQuota { name: "alice".to_owned(), quota_bytes: Some(20) });
    let outgoing = || {
        let notify = Some(Notify::NEVER);
        let to = |address| (Address::parse(address).unwrap(), RcptParams { notify, orcpt: None });
        let recipients = vec![to("a@X.test"), to("b@y.test"), to("c@x.test")];
        Some(Outgoing { sender: "alice@example.test".into(), params: MailParams::default(), recipients })
    };
    let mails = |replica: &MemoryReplica| {
        let replica = replica.clone();
        async move { replica.read_queue(|rows| reading::mails(rows, None, 9)).await.unwrap() }
    };
    let to = || vec![vec![target(&replica, "alice")], vec![], vec![]];
    for (text, result, count) in
        [("more than twenty octets\r\n", Err(reply::FULL), 0), ("fits\r\n", Ok(()), 1)]
    {
        assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Ok(_))));
        let last = Bytes::from_static(text.as_bytes());
        let answer = smtp
            .answer(Question::Deliver {
                last,
                to: to(),
                names: Names::nobody(),
                outgoing: outgoing(),
                authors: None,
                trace: None,
            })
            .await;
        let Answer::Delivered(Ok(results)) = answer else { panic!("{answer:?}") };
        assert_eq!(results, vec![result; 3]);
        assert_eq!((inbox(&replica, "alice").await.len(), mails(&replica).await.len()), (count, count));
    }
    let (id, mail) = mails(&replica).await.remove(0);
    assert_eq!((mail.sender.as_str(), mail.parcels, mail.account), ("alice@example.test", 2, None));
    let parcels = replica.read_queue(move |rows| reading::parcels(rows, id, 9)).await.unwrap();
    assert_eq!(parcels[0].row.destination, "x.test");
    let to: Vec<_> = parcels[0].recipients.iter().map(|(_, to)| (to.address.as_str(), to.notify)).collect();
    assert_eq!(to, [("a@X.test", Some(Notify::NEVER)), ("c@x.test", Some(Notify::NEVER))]);
}

#[tokio::test]
async fn a_fault_is_a_fault_and_leaves_no_body_half_placed() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Ok(_))));
    replica.fail(Some(Fault::NoQuorum));
    let to = vec![vec![target(&replica, "alice")]];
    let last = Bytes::from_static(b"x\r\n");
    let answer = smtp
        .answer(Question::Deliver {
            last,
            to: to.clone(),
            names: Names::nobody(),
            outgoing: None,
            authors: None,
            trace: None,
        })
        .await;
    assert!(matches!(answer, Answer::Delivered(Err(Fault::NoQuorum))), "{answer:?}");
    assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Err(Fault::NoQuorum))));
    replica.fail(None);
    assert_eq!(deliver(&mut smtp, &["y\r\n"], to).await.unwrap(), [Ok(())]);
    assert_eq!(inbox(&replica, "alice").await, [&b"y\r\n"[..]]);
}

#[tokio::test]
async fn a_maildrop_is_inbox_at_login_and_deletions_are_one_command() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    for text in ["one\r\n", "two!\r\n", "three\r\n"] {
        deliver(&mut smtp, &[text], vec![vec![target(&replica, "alice")]]).await.unwrap();
    }
    let mut pop3 = Pop3Backend::new(replica.clone(), logins(&replica), Arc::default());
    let claim = Claim::Password(Credentials::new(b"alice@example.test", b"secret").unwrap());
    let PopAnswer::Login(Ok((_, drop))) = pop3.answer(PopQuestion::Login(claim)).await else { panic!() };
    let uids: Vec<Uid> = drop.messages.iter().map(|(uid, _)| *uid).collect();
    assert_eq!(drop.messages.iter().map(|(_, size)| *size).collect::<Vec<_>>(), [5, 6, 7]);
    deliver(&mut smtp, &["four\r\n"], vec![vec![target(&replica, "alice")]]).await.unwrap();

    replica.fail(Some(Fault::NoQuorum));
    let refused = pop3.answer(PopQuestion::Delete(uids[..2].to_vec())).await;
    assert!(matches!(refused, PopAnswer::Deleted(Err(Fault::NoQuorum))));
    replica.fail(None);
    assert_eq!(inbox(&replica, "alice").await.len(), 4);
    assert!(matches!(pop3.answer(PopQuestion::Delete(uids[..2].to_vec())).await, PopAnswer::Deleted(Ok(()))));
    assert_eq!(inbox(&replica, "alice").await, [&b"three\r\n"[..], b"four\r\n"]);
    let PopAnswer::Body(Ok(gone)) = pop3.answer(PopQuestion::Body(uids[0])).await else { panic!() };
    assert_eq!(gone, None);
    let PopAnswer::Body(Ok(kept)) = pop3.answer(PopQuestion::Body(uids[2])).await else { panic!() };
    assert_eq!(kept.as_deref(), Some(&b"three\r\n"[..]));
}

#[tokio::test]
async fn small_messages_that_are_fetched_in_turn_are_read_together() {
    let replica = replica();
    let mut smtp = smtp(&replica);
    let large = Box::leak(format!("large {}\r\n", "x".repeat(64 << 10)).into_boxed_str());
    for text in
        ["0\r\n", "1\r\n", "2\r\n", "3\r\n", "4\r\n", "5\r\n", "6\r\n", "7\r\n", "8\r\n", large, "10\r\n"]
    {
        deliver(&mut smtp, &[text], vec![vec![target(&replica, "alice")]]).await.unwrap();
    }
    let mut pop3 = Pop3Backend::new(replica.clone(), logins(&replica), Arc::default());
    let claim = Claim::Password(Credentials::new(b"alice@example.test", b"secret").unwrap());
    let PopAnswer::Login(Ok((_, drop))) = pop3.answer(PopQuestion::Login(claim)).await else { panic!() };
    let uids: Vec<Uid> = drop.messages.iter().map(|(uid, _)| *uid).collect();
    // What it has already is answered while nothing can be read.
    let mut asked = async |at: usize, readable: bool| {
        replica.fail((!readable).then_some(Fault::NoQuorum));
        let PopAnswer::Body(body) = pop3.answer(PopQuestion::Body(uids[at])).await else { panic!() };
        replica.fail(None);
        let shown = |body: Bytes| String::from_utf8_lossy(&body).trim_end().chars().take(5).collect();
        body.ok().map(|body| body.map(shown))
    };
    let text = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(asked(0, true).await, text("0"));
    assert_eq!(asked(1, false).await, text("1"));
    assert_eq!(asked(2, false).await, text("2"));
    let inbox = replica.mailbox(account(&replica, "alice"), "INBOX").await.unwrap().unwrap().id;
    let uids_of = |uid: Uid| UidSet::from_ascending([uid].into_iter());
    run(&replica, Command::Expunge { mailbox: inbox, uids: uids_of(uids[3]), only_deleted: false });
    assert_eq!(asked(3, false).await, Some(None), "another session has removed it");
    assert_eq!(asked(7, false).await, text("7"), "eight are read together");
    assert_eq!(asked(8, false).await, None);
    assert_eq!(asked(8, true).await, text("8"));
    assert_eq!(asked(9, false).await, None, "a large one is not read ahead");
    assert_eq!(asked(9, true).await, text("large"));
    // Not in turn: read alone.
    assert_eq!(asked(4, true).await, text("4"));
    assert_eq!(asked(5, true).await, text("5"));
    assert_eq!(asked(4, true).await, text("4"));
    assert_eq!(asked(10, false).await, None);
}
