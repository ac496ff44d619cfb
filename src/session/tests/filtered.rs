//! What users' filters make of mail that would be taken: where it goes, who else gets it, what its sender hears.

use bytes::Bytes;

use super::backends::{logins, texts};
use super::*;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::flags::SystemFlag;
use crate::mail::ids::{Timestamp, Uid};
use crate::session::driver::Backend;
use crate::session::smtp::envelope::{MailParams, RcptParams};
use crate::session::smtp::filtering::{ACCOUNTS_MAX, Named, Names, SEEN_BYTES_MAX};
use crate::session::smtp::machine::{Answer, Question, Verdict};
use crate::session::smtp::{Flavor, SmtpBackend};
use crate::state::queue::{TlsWish, reading};
use crate::state::routing::LocalTarget;

const TEXT: &str = "From: joe@far.test\r\nTo: alice@example.test\r\nSubject: [list] news\r\nList-Id: <l.far.test>\r\n\r\nHi.\r\n";

fn filter(house: &House, user: &str, text: &str) {
    let account = account(&house.replica, user);
    let name = "main".to_owned();
    run(&house.replica, Command::PutScript { account, name: name.clone(), text: text.to_owned() });
    run(&house.replica, Command::ActivateScript { account, name: Some(name) });
}

/// What the sender hears: of each recipient at RCPT, where it is not taken, and of the mail.
struct Heard {
    at_rcpt: Vec<String>,
    at_the_end: Vec<String>,
}

async fn send(house: &House, flavor: Flavor, (from, to): (&str, &[&str]), text: &str) -> Heard {
    let checks = house.checks.clone();
    let mut smtp = SmtpBackend::new(house.replica.clone(), logins(&house.replica), checks).filtering(flavor);
    let from = match from {
        "" => ReversePath::Null,
        from => ReversePath::Address(Address::parse(from).unwrap()),
    };
    let question =
        Question::Sender { from: from.clone(), authenticated: false, arrival: None, helo: String::new() };
    assert!(matches!(smtp.answer(question).await, Answer::Sender(Ok(_))));
    let (mut taken, mut targets, mut at_rcpt): (Vec<ForwardPath>, Vec<Vec<LocalTarget>>, _) =
        (Vec::new(), Vec::new(), Vec::new());
    for to in to {
        let path = ForwardPath::Address(Address::parse(to).unwrap());
        let question = Question::Recipient { path: path.clone(), size: None, authenticated: false };
        match smtp.answer(question).await {
            Answer::Recipient(Ok(Verdict::Accept(local))) => {
                taken.push(path);
                targets.push(local);
            }
            Answer::Recipient(Ok(Verdict::Refused(refusal))) => {
                at_rcpt.push(format!("{} {}", refusal.code, refusal.enhanced));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(smtp.answer(Question::BeginBody(None)).await, Answer::Begun(Ok(_))));
    let text = Bytes::copy_from_slice(text.as_bytes());
    let (first, last) = (text.slice(..text.len() / 2), text.slice(text.len() / 2..));
    assert!(matches!(smtp.answer(Question::BodyChunk(first)).await, Answer::Chunk(Ok(()))));
    let named = |path| Named { path, params: RcptParams::default(), elsewhere: 0 };
    let to = taken.into_iter().map(named).collect();
    let names =
        Box::new(Names { from, params: MailParams::default(), to, by_stranger: true, tls: TlsWish::Usual });
    let question = Question::Deliver { last, to: targets, names, outgoing: None, authors: None, trace: None };
    let answer = smtp.answer(question).await;
    let Answer::Delivered(Ok(results)) = answer else { panic!("{answer:?}") };
    let said = |result: Result<(), _>| match result {
        Ok(()) => "250".to_owned(),
        Err(reply) => format!("{reply}"),
    };
    Heard { at_rcpt, at_the_end: results.into_iter().map(said).collect() }
}

/// By one who has no mail of his own, to alice.
async fn to_alice(house: &House, text: &str) -> Vec<String> {
    send(house, Flavor::Mx, ("joe@far.test", &["alice@example.test"]), text).await.at_the_end
}

async fn count(house: &House, user: &str, mailbox: &str) -> usize {
    match house.replica.mailbox(account(&house.replica, user), mailbox).await.unwrap() {
        Some(_) => texts(&house.replica, user, mailbox).await.len(),
        None => 0,
    }
}

/// Sender and recipients of each mail in the queue.
async fn queued(house: &House) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for (id, mail) in house.replica.read_queue(|rows| reading::mails(rows, None, 99)).await.unwrap() {
        let parcels = house.replica.read_queue(move |rows| reading::parcels(rows, id, 99)).await.unwrap();
        let to = parcels.iter().flat_map(|parcel| &parcel.recipients).map(|(_, to)| to.address.clone());
        all.push((mail.sender, to.collect()));
    }
    all
}

#[tokio::test]
async fn mail_goes_where_the_filter_says() {
    for (script, inbox, work, junk) in [
        ("keep;", 1, 0, 0),
        ("discard;", 0, 0, 0),
        (r#"require "fileinto"; if exists "List-Id" { fileinto "Work"; }"#, 0, 1, 0),
        (r#"require "fileinto"; if exists "X-None" { fileinto "Work"; }"#, 1, 0, 0),
        (r#"require ["fileinto", "copy"]; fileinto :copy "Work";"#, 1, 1, 0),
        (r#"require "fileinto"; fileinto "Work"; fileinto "Junk"; keep;"#, 1, 1, 1),
        // What is not there is not made without being asked for; and inbox is INBOX.
        (r#"require "fileinto"; fileinto "None";"#, 1, 0, 0),
        (r#"require "fileinto"; fileinto "inbox";"#, 1, 0, 0),
        (r#"require ["mailbox", "fileinto"]; if mailboxexists "Work" { fileinto "Work"; }"#, 0, 1, 0),
        // A script that stumbles keeps what is not disposed of.
        ("this is no script", 1, 0, 0),
    ] {
        let house = house("");
        let name = "Work".to_owned();
        let account = account(&house.replica, "alice");
        run(&house.replica, Command::CreateMailbox { account, name, special_use: None });
        filter(&house, "alice", script);
        assert_eq!(to_alice(&house, TEXT).await, ["250"], "{script}");
        let mut found = Vec::new();
        for mailbox in ["INBOX", "Work", "Junk"] {
            found.push(count(&house, "alice", mailbox).await);
        }
        assert_eq!(found, [inbox, work, junk], "{script}");
    }
}

#[tokio::test]
async fn a_filter_marks_mail_and_makes_the_mailbox_that_it_asks_for() {
    let house = house("");
    let script = r#"require ["fileinto", "mailbox", "imap4flags"];
        fileinto :create :flags ["\\Seen", "$Label1"] "Lists/Far";"#;
    filter(&house, "alice", script);
    to_alice(&house, TEXT).await;
    let alice = account(&house.replica, "alice");
    let made = house.replica.mailbox(alice, "Lists/Far").await.unwrap().expect("it is made");
    let view = house.replica.view(made.id).await.unwrap().unwrap();
    let flags = view.read(|view| {
        let uid = view.messages().uids_from(Uid(1)).next().unwrap();
        view.get(uid).unwrap().flags
    });
    assert!(flags.has(SystemFlag::Seen), "{flags:?}");
    assert_eq!(flags.keywords.count_ones(), 1, "{flags:?}");
}

#[tokio::test]
async fn what_is_redirected_goes_on_in_the_users_name_and_a_notice_in_nobodys() {
    let house = house("");
    filter(&house, "alice", r#"redirect "ann@x.test"; redirect "ANN@X.test"; redirect "eve@y.test";"#);
    let to = ["alice@example.test", "alice+x@example.org"];
    let heard = send(&house, Flavor::Mx, ("joe@far.test", &to), TEXT).await;
    assert_eq!(heard.at_the_end, ["250", "250"]);
    assert_eq!(count(&house, "alice", "INBOX").await, 0);
    send(&house, Flavor::Mx, ("", &to[..1]), TEXT).await;
    let both = ["ann@x.test".to_owned(), "eve@y.test".to_owned()].to_vec();
    let expected = [("alice@example.test".to_owned(), both.clone()), (String::new(), both)];
    assert_eq!(queued(&house).await, expected);
}

#[tokio::test]
async fn mail_is_passed_on_here_through_each_filter_once_and_to_nobody_it_stays() {
    let house = house("");
    filter(&house, "alice", r#"redirect "bob@example.org";"#);
    filter(&house, "bob", r#"require "fileinto"; redirect "alice@example.test"; fileinto "Junk";"#);
    assert_eq!(to_alice(&house, TEXT).await, ["250"]);
    let found = (count(&house, "alice", "INBOX").await, count(&house, "bob", "Junk").await);
    assert_eq!(found, (0, 1), "bob gives it back to whom it came from");
    filter(&house, "alice", r#"redirect "nobody@example.test";"#);
    assert_eq!(to_alice(&house, TEXT).await, ["250"]);
    assert_eq!(count(&house, "alice", "INBOX").await, 1);
    assert!(queued(&house).await.is_empty());
}

#[tokio::test]
async fn a_mail_goes_through_so_many_accounts_and_stays_with_the_next() {
    let house = house("");
    let name = |number: usize| format!("u{number}");
    for number in 0..=ACCOUNTS_MAX + 1 {
        let password_phc = password::hash(b"secret", b"sixteen bytes...");
        let user = NewUser { name: name(number), password_phc, quota_bytes: None };
        run(&house.replica, Command::AddUser(user));
        filter(&house, &name(number), &format!(r#"redirect "{}@example.test";"#, name(number + 1)));
    }
    let heard = send(&house, Flavor::Mx, ("joe@far.test", &["u0@example.test"]), TEXT).await;
    assert_eq!(heard.at_the_end, ["250"]);
    for number in 0..=ACCOUNTS_MAX + 1 {
        let expected = usize::from(number == ACCOUNTS_MAX);
        assert_eq!(count(&house, &name(number), "INBOX").await, expected, "{number}");
    }
}

const REFUSES: &str =
    r#"require "reject"; if header :contains "Subject" "news" { reject "Not\r\n to \u{e4} me"; }"#;

#[tokio::test]
async fn a_refusal_is_heard_where_the_reply_can_say_it_and_nothing_is_kept() {
    let refused = "550 5.7.1 Not";
    let house = house("");
    filter(&house, "alice", REFUSES);
    let heard = to_alice(&house, TEXT).await;
    assert!(heard[0].starts_with(refused) && !heard[0].contains(['\r', '\n']), "{heard:?}");
    assert_eq!(to_alice(&house, "Subject: else\r\n\r\n").await, ["250"]);
    let both = ["alice@example.test", "bob@example.test"];
    // SMTP has one reply: she has a mail for herself, whoever comes first.
    for to in [both, [both[1], both[0]]] {
        let heard = send(&house, Flavor::Mx, ("joe@far.test", &to), TEXT).await;
        assert_eq!(heard.at_rcpt, ["452 4.5.3"]);
    }
    let bob = count(&house, "bob", "INBOX").await;
    // LMTP has one for each.
    let heard = send(&house, Flavor::Lmtp, ("joe@far.test", &both), TEXT).await;
    assert!(heard.at_rcpt.is_empty());
    assert!(
        heard.at_the_end[0].starts_with(refused) && heard.at_the_end[1] == "250",
        "{:?}",
        heard.at_the_end
    );
    let found = (count(&house, "alice", "INBOX").await, count(&house, "bob", "INBOX").await);
    assert_eq!(found, (1, bob + 1));
    // For a group of which she is one it cannot be refused: it is kept.
    let targets = vec!["alice".to_owned(), "bob".to_owned()];
    run(&house.replica, Command::SetAlias { address: "all".to_owned(), targets });
    let heard = send(&house, Flavor::Mx, ("joe@far.test", &["all@example.test"]), TEXT).await;
    assert_eq!(heard.at_the_end, ["250"]);
    assert_eq!(count(&house, "alice", "INBOX").await, 2);
}

#[tokio::test]
async fn whoever_is_away_answers_each_sender_once_and_nobody_who_must_not_be() {
    let clock = Clock::fixed(Timestamp(1_700_000_000_000));
    let house = house_by(replica_by(clock), "");
    filter(&house, "alice", r#"require "vacation"; vacation :days 3 :subject "Away" "Back on Monday.";"#);
    assert_eq!(to_alice(&house, TEXT).await, ["250"]);
    assert!(queued(&house).await.is_empty(), "a list is not answered");
    let direct = TEXT.replace("List-Id: <l.far.test>\r\n", "");
    for _ in 0..2 {
        assert_eq!(to_alice(&house, &direct).await, ["250"]);
    }
    let to_joe = (String::new(), vec!["joe@far.test".to_owned()]);
    assert_eq!(queued(&house).await, std::slice::from_ref(&to_joe));
    house.replica.clock().advance_ms(3 * 86_400_000 + 1);
    to_alice(&house, &direct).await;
    assert_eq!(queued(&house).await, [to_joe.clone(), to_joe]);
    assert_eq!(count(&house, "alice", "INBOX").await, 4, "she has it all the same");
    // Somebody here is answered here; a notice is not.
    for from in ["bob@example.test", ""] {
        send(&house, Flavor::Mx, (from, &["alice@example.test"]), &direct).await;
    }
    let replies = texts(&house.replica, "bob", "INBOX").await;
    assert_eq!(replies.len(), 1);
    let reply = String::from_utf8(replies[0].to_vec()).unwrap();
    for line in ["Subject: Away\r\n", "Auto-Submitted: auto-replied\r\n", "\r\n\r\nBack on Monday."] {
        assert!(reply.contains(line), "{line}: {reply}");
    }
    assert_eq!(queued(&house).await.len(), 2);
}

#[tokio::test]
async fn a_filter_sees_the_beginning_of_a_mail_up_to_the_bound_and_its_whole_size() {
    let house = house("");
    let script = format!("if size :over {} {{ discard; }}", SEEN_BYTES_MAX + 100);
    filter(&house, "alice", &script);
    for (more, kept) in [(100, 1), (101, 1)] {
        let head = "Subject: x\r\n\r\n";
        let text = format!("{head}{}", "x".repeat(SEEN_BYTES_MAX + more - head.len()));
        assert_eq!(to_alice(&house, &text).await, ["250"]);
        assert_eq!(count(&house, "alice", "INBOX").await, kept, "{more}");
    }
}
