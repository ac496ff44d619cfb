//! NOTIFY at its bounds, its pace, and what is heard by who lagged.

use std::time::Duration;

use tokio::time::timeout;

use super::harness::{Driven, House};
use crate::cluster::replica::Replica;
use crate::session::driver::Backend;
use crate::session::imap::grammar::EVENTS_MAX;
use crate::session::imap::limits::{
    NEWS_PACE_MS, NOTIFY_GROUPS_MAX, NOTIFY_MAILBOXES_MAX, NOTIFY_NAMES_MAX, OUTPUT_CHUNK_BYTES,
};
use crate::state::command::{Command, MetadataEntry, SetMetadata};
use crate::state::news::{CHANGED_ANNOTATIONS_MAX, CHANGED_MAILBOXES_MAX};

const MAIL: &str = "Subject: x\r\n\r\ny\r\n";

async fn logged_in(house: &House) -> Driven {
    let mut session = house.session(true);
    session.send(b"l LOGIN alice demo-alice\r\n").await;
    session.take_sent();
    session
}

async fn say(session: &mut Driven, line: &str) -> String {
    session.send(format!("{line}\r\n").as_bytes()).await;
    session.take_sent()
}

fn create(house: &House, names: impl IntoIterator<Item = String>) {
    for name in names {
        let command = Command::CreateMailbox { account: house.account, name, special_use: None };
        house.replica.run(command).unwrap();
    }
}

/// All mailboxes that a session may listen to; the first are those that each account has.
async fn full_house() -> House {
    let house = House::new();
    let there = say(&mut logged_in(&house).await, "a LIST \"\" *").await.matches("* LIST").count();
    create(&house, (there..NOTIFY_MAILBOXES_MAX).map(|number| format!("m{number:05}")));
    house
}

#[tokio::test(start_paused = true)]
async fn groups_names_and_events_are_bounded() {
    let house = House::new();
    let mut session = logged_in(&house).await;
    let groups = |count| vec!["(personal (MailboxName))"; count].join(" ");
    let sent = say(&mut session, &format!("a NOTIFY SET {}", groups(NOTIFY_GROUPS_MAX))).await;
    assert!(sent.starts_with("a OK"), "{sent}");
    let sent = say(&mut session, &format!("a NOTIFY SET {}", groups(NOTIFY_GROUPS_MAX + 1))).await;
    assert!(sent.starts_with("a NO [NOTIFICATIONOVERFLOW]"), "{sent}");
    let names = |count| vec!["x"; count].join(" ");
    let of = |count| format!("a NOTIFY SET (mailboxes ({}) (MessageNew))", names(count));
    assert!(say(&mut session, &of(NOTIFY_NAMES_MAX)).await.starts_with("a OK"));
    assert!(say(&mut session, &of(NOTIFY_NAMES_MAX + 1)).await.starts_with("a NO [NOTIFICATIONOVERFLOW]"));
    let events = |count| format!("a NOTIFY SET (personal ({}))", vec!["MailboxName"; count].join(" "));
    assert!(say(&mut session, &events(EVENTS_MAX)).await.starts_with("a OK"));
    assert!(say(&mut session, &events(EVENTS_MAX + 1)).await.starts_with("a BAD"));
}

#[tokio::test(start_paused = true)]
async fn mailboxes_are_bounded_at_once_and_later() {
    let house = full_house().await;
    let mut session = logged_in(&house).await;
    let sent =
        say(&mut session, "a NOTIFY SET STATUS (personal (MessageNew MessageExpunge MailboxName))").await;
    assert!(sent.ends_with("a OK You will hear of it\r\n"), "{}", &sent[sent.len() - 200..]);
    assert_eq!(sent.matches("* STATUS").count(), NOTIFY_MAILBOXES_MAX);
    assert!(session.out_bytes_max <= OUTPUT_CHUNK_BYTES + 1024, "{}", session.out_bytes_max);
    create(&house, ["one too many".to_owned()]);
    session.hear().await;
    let sent = session.take_sent();
    assert!(sent.starts_with("* OK [NOTIFICATIONOVERFLOW]") && sent.lines().count() == 1, "{sent}");
    house.deliver("m01000", MAIL);
    session.hear().await;
    assert_eq!(say(&mut session, "b NOOP").await, "b OK Nothing done\r\n", "as after NOTIFY NONE");
    let sent = say(&mut session, "c NOTIFY SET (personal (MailboxName))").await;
    assert!(sent.starts_with("c NO [NOTIFICATIONOVERFLOW]"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn who_lags_compares_whole_and_misses_nothing() {
    let house = full_house().await;
    let mut session = logged_in(&house).await;
    say(&mut session, "a NOTIFY SET (personal (MessageNew MessageExpunge))").await;
    let changed = CHANGED_MAILBOXES_MAX + 1;
    for number in NOTIFY_MAILBOXES_MAX - changed..NOTIFY_MAILBOXES_MAX {
        house.deliver(&format!("m{number:05}"), MAIL);
    }
    session.hear().await;
    let sent = session.take_sent();
    assert_eq!(sent.matches("(MESSAGES 1 UIDNEXT 2 ").count(), changed);
    house.deliver("m01999", MAIL);
    session.hear().await;
    assert!(session.take_sent().starts_with("* STATUS \"m01999\" (MESSAGES 2 UIDNEXT 3 "));
}

/// RFC 5465 5.8: which of them changed is not known any longer.
#[tokio::test(start_paused = true)]
async fn who_lags_behind_annotations_is_told_so() {
    let house = House::new();
    let inbox = house.replica.mailbox(house.account, "INBOX").await.unwrap().unwrap().id;
    let (mut names, mut session) = (logged_in(&house).await, logged_in(&house).await);
    say(&mut names, "a NOTIFY SET (personal (MailboxName))").await;
    say(&mut session, "a NOTIFY SET (mailboxes INBOX (MailboxMetadataChange MailboxName))").await;
    let annotate = |times: usize| {
        for _ in 0..times {
            let entry = MetadataEntry { name: "/private/a".into(), value: Some(b"x".to_vec()) };
            let (account, mailbox, entries) = (house.account, Some(inbox), vec![entry]);
            house.replica.run(Command::SetMetadata(SetMetadata { account, mailbox, entries })).unwrap();
        }
    };
    annotate(CHANGED_ANNOTATIONS_MAX);
    session.hear().await;
    assert_eq!(session.take_sent(), "* METADATA \"INBOX\" /private/a\r\n");
    annotate(CHANGED_ANNOTATIONS_MAX + 1);
    session.hear().await;
    let sent = session.take_sent();
    assert!(sent.starts_with("* OK [NOTIFICATIONOVERFLOW]") && sent.lines().count() == 1, "{sent}");
    create(&house, ["new".to_owned()]);
    session.hear().await;
    assert_eq!(session.take_sent(), "", "as after NOTIFY NONE");
    names.hear().await;
    assert_eq!(
        names.take_sent(),
        "* LIST (\\HasNoChildren) \"/\" \"new\"\r\n",
        "annotations are none of its"
    );
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_heard_as_one() {
    let house = House::new();
    let mut session = logged_in(&house).await;
    say(&mut session, "a NOTIFY SET (mailboxes INBOX (MessageNew MessageExpunge))").await;
    session.hear().await;
    tokio::time::advance(Duration::from_millis(NEWS_PACE_MS)).await;
    house.deliver("INBOX", MAIL);
    let at_once = timeout(Duration::ZERO, session.backend.news()).await;
    assert!(at_once.is_ok(), "the first of them is heard at once");
    house.deliver("INBOX", MAIL);
    for _ in 0..3 {
        let soon = timeout(Duration::from_millis(NEWS_PACE_MS / 4), session.backend.news()).await;
        assert!(soon.is_err(), "those that follow wait for each other");
        house.deliver("INBOX", MAIL);
    }
    let then = timeout(Duration::from_millis(NEWS_PACE_MS), session.backend.news()).await;
    assert!(then.is_ok(), "however often the waiting was broken off");
    let again = timeout(Duration::from_millis(2 * NEWS_PACE_MS), session.backend.news()).await;
    assert!(again.is_err(), "they were heard together");
}

#[tokio::test(start_paused = true)]
async fn views_of_other_mailboxes_are_not_loaded() {
    let house = House::new();
    let mut session = logged_in(&house).await;
    let loaded = house.replica.views();
    say(&mut session, "a NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange))").await;
    house.deliver("Sent", MAIL);
    session.hear().await;
    assert!(session.take_sent().contains("* STATUS \"Sent\" (MESSAGES 1 "));
    assert_eq!(house.replica.views(), loaded);
}
