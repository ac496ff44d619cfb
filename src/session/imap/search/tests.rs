//! SEARCH over hand-made messages: which of them match.

use super::*;
use crate::mail::date::{parse_imap_date, parse_imap_date_time};
use crate::mail::flags::Flags;
use crate::mail::ids::{BodyId, Timestamp, Uid};
use crate::state::command::InternalDate;
use crate::state::record::MessageRecord;

fn record(uid: u32, size: u32, received: &str) -> MessageRecord {
    let when = parse_imap_date_time(received.as_bytes()).unwrap();
    MessageRecord {
        uid: Uid(uid),
        body: BodyId([0; 32]),
        size,
        flags: Flags::default(),
        modseq: ModSeq(u64::from(uid)),
        internal_date: InternalDate { unix_seconds: when.unix_seconds(), zone_minutes: when.zone_minutes },
        saved_at: Timestamp(when.unix_seconds() as u64 * 1000),
    }
}

const RECEIVED: &str = "24-Mar-2007 23:00:00 +0200";

/// The numbers of the messages that match. Holds that what metadata decides is what the body would.
fn search(mail: &[&str], key: SearchKey) -> Vec<u32> {
    let records: Vec<_> =
        (0..mail.len()).map(|at| record(at as u32 * 10 + 10, mail[at].len() as u32, RECEIVED)).collect();
    let scope = Scope {
        keywords: &[],
        sequence_last: mail.len() as u32,
        uid_last: mail.len() as u32 * 10,
        now: Timestamp(0),
    };
    let uids = |set: &SequenceSet, uid: bool| match uid {
        true => set.resolve(scope.uid_last),
        false => set.resolve(scope.sequence_last).iter().map(|(low, high)| (low * 10, high * 10)).collect(),
    };
    let prepared = bind(key.clone(), &uids);
    let mut found = Vec::new();
    for (at, raw) in mail.iter().enumerate() {
        let candidate = Candidate { sequence: at as u32 + 1, record: &records[at], recent: false };
        let body = Body::new(raw.as_bytes());
        let matched = matches(&key, &scope, &candidate, Some(&body)).expect("with the body all is decided");
        assert_eq!(matches(&prepared, &scope, &candidate, Some(&body)), Some(matched));
        let without = matches(&key, &scope, &candidate, None);
        assert!(without.is_none_or(|without| without == matched));
        assert!(Part::needed_by(&key) > Part::Nothing || without.is_some());
        found.extend(matched.then_some(candidate.sequence));
    }
    found
}

fn header(name: &str, text: &str) -> SearchKey {
    SearchKey::Header(name.into(), Needle::new(text))
}

fn body(text: &str) -> SearchKey {
    SearchKey::Body(Needle::new(text))
}

fn text(text: &str) -> SearchKey {
    SearchKey::Text(Needle::new(text))
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

fn date(text: &str) -> Date {
    parse_imap_date(text.as_bytes()).unwrap()
}

#[test]
fn addresses() {
    let mail = [
        "From: user-from@domain.org\nTo: user-to@domain.org\n\nbody",
        "From: RealFrom <user-from@domain.org>\nTo: RealTo <user-to@domain.org>\n\nbody2",
        "From: <user-from (comment)@ (comment) domain.org>\nTo: <user-to@domain.org>\n\nbody3",
        "From: user-from@domain.org (RealFrom)\nTo: user-to@domain.org (RealTo)\n\nbody4",
        "From: user-from1@domain.org, user-from2@domain.org\nCc: user-cc@domain.org\n\nbody5",
        "From: RealFrom <user-from@domain.org>\nTo: groupname: groupuser1@domain.org, groupuser2@domain.org;,\n  \
         groupname2: groupuser3@domain.org;\n\nbody6",
        "From: RealFrom <user-from@domain.org>\nTo: groupname:;\n\nbody7",
    ];
    assert_eq!(search(&mail, header("from", "user-from@domain.org")), [1, 2, 3, 4, 6, 7]);
    assert_eq!(search(&mail, header("to", "user-to@domain.org")), [1, 2, 3, 4]);
    assert_eq!(search(&mail, header("from", "realfrom")), [2, 4, 6, 7]);
    assert_eq!(search(&mail, header("from", "")), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(search(&mail, header("to", "")), [1, 2, 3, 4, 6, 7]);
    assert_eq!(search(&mail, header("from", "ser-fro")), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(search(&mail, header("from", "user-from2")), [5]);
    assert_eq!(search(&mail, header("to", "groupname")), [6, 7]);
    assert_eq!(search(&mail, header("to", "groupname2")), [6]);
    assert!(search(&mail, header("to", "groupuser4")).is_empty());
}

#[test]
fn bodies_and_texts() {
    let mail = [
        "Date: x\n\nasdfghjkl zxcvbnm\n",
        "Subject: qwertyuiop\n\nasdfghjkl\n",
        "X-Header: qwertyuiop\n\nzxcvbnm\n",
        "Content-Type: multipart/mixed\n\nzxcvbnm qwertyuiop",
    ];
    assert_eq!(search(&mail, text("asdfghjkl")), [1, 2]);
    assert_eq!(search(&mail, text("zxcvbnm")), [1, 3, 4]);
    assert_eq!(search(&mail, text("WERTYUIO")), [2, 3, 4]);
    assert_eq!(search(&mail, body("qwertyuiop")), [4]);
    assert_eq!(search(&mail, body("xcvbn")), [1, 3, 4]);
    assert_eq!(search(&mail, not(body("asdf"))), [3, 4]);
    assert_eq!(search(&mail, text("x-header: qwerty")), [3]);
    assert_eq!(search(&mail, text("")), [1, 2, 3, 4]);
}

#[test]
fn what_is_encoded_is_found() {
    let mail = [
        "Subject: =?iso-8859-1?q?Gr=FC=DFe?= aus\n =?utf-8?b?S8O2bG4=?=\n\n",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOf\nZQo=\n",
        "Content-Type: multipart/mixed; boundary=a\n\nGr\u{fc}\u{df}e\n--a\n\
         Content-Type: text/html; charset=iso-2022-jp\n\n<b>\u{1b}$B%F%9%H\u{1b}(B</b>\n--a\n\
         Content-Type: application/octet-stream\n\nkeine Gr\u{fc}\u{df}e\n--a--\n",
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=\n=DFe\n",
        "Content-Type: message/rfc822\n\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\ninner\n",
    ];
    assert_eq!(search(&mail, header("Subject", "GRÜßE AUS KÖLN")), [1]);
    assert_eq!(search(&mail, body("grüße")), [2, 4, 5]);
    assert_eq!(search(&mail, text("grüße")), [1, 2, 4, 5]);
    assert_eq!(search(&mail, body("テスト")), [3]);
    assert_eq!(search(&mail, header("subject", "grüße")), [1]);
}

#[test]
fn dates_of_sending_are_as_written() {
    let mail = [
        "Date: Sat, 24 Mar 2007 23:00:00 +0200\n\n",
        "Date: Sun, 25 Mar 2007 00:00:00 +0200\n\n",
        "Date: Sun, 25 Mar 2007 23:00:00 +0300\n\n",
        "Date: Mon, 26 Mar 2007 00:00:00 +0300\n\n",
        "Subject: none\n\n",
    ];
    assert_eq!(search(&mail, SearchKey::SentBefore(date("25-Mar-2007"))), [1]);
    assert_eq!(search(&mail, SearchKey::SentOn(date("25-Mar-2007"))), [2, 3]);
    assert_eq!(search(&mail, SearchKey::SentSince(date("25-Mar-2007"))), [2, 3, 4]);
    assert_eq!(search(&mail, not(SearchKey::SentOn(date("25-Mar-2007")))), [1, 4, 5]);
}

#[test]
fn sets_and_sizes() {
    let mail = ["a", "bb", "ccc", "dddd"];
    let set = |text: &str| SequenceSet::parse(text.as_bytes()).unwrap();
    assert_eq!(search(&mail, SearchKey::SequenceSet(set("4:3,1"))), [1, 3, 4]);
    assert_eq!(search(&mail, SearchKey::SequenceSet(set("*"))), [4]);
    assert_eq!(search(&mail, SearchKey::Uid(set("20,35:*"))), [2, 4]);
    assert_eq!(search(&mail, SearchKey::Uid(set("99:*"))), [4]);
    assert_eq!(search(&mail, SearchKey::Larger(2)), [3, 4]);
    assert_eq!(search(&mail, SearchKey::Smaller(2)), [1]);
    assert_eq!(search(&mail, SearchKey::ModSeq(ModSeq(30))), [3, 4]);
    assert_eq!(search(&mail, SearchKey::And(vec![])), [1, 2, 3, 4]);
    let or = SearchKey::Or(Box::new(SearchKey::Smaller(2)), Box::new(SearchKey::Larger(3)));
    assert_eq!(search(&mail, or), [1, 4]);
}

#[test]
fn flags_and_dates_of_the_record() {
    let keywords = ["$Junk".to_owned(), "$Label".to_owned()];
    let mut record = record(1, 1, "25-Mar-2007 01:00:00 +0300");
    record.flags = Flags { system: SystemFlag::Seen as u8, keywords: 0b10 };
    let now = Timestamp(record.saved_at.0 + 60_999);
    let scope = Scope { keywords: &keywords, sequence_last: 1, uid_last: 1, now };
    let candidate = Candidate { sequence: 1, record: &record, recent: true };
    let is = |key| matches(&key, &scope, &candidate, None).unwrap();
    assert!(is(SearchKey::Flag(SystemFlag::Seen)) && !is(SearchKey::Flag(SystemFlag::Draft)));
    assert!(is(SearchKey::Keyword("$label".into())));
    assert!(!is(SearchKey::Keyword("$Junk".into())) && !is(SearchKey::Keyword("other".into())));
    assert!(is(SearchKey::Recent) && is(SearchKey::All));
    // Its own day is the 25th; in UTC it came on the 24th.
    assert!(is(SearchKey::On(date("25-Mar-2007"))) && is(SearchKey::Since(date("25-Mar-2007"))));
    assert!(!is(SearchKey::Before(date("25-Mar-2007"))));
    assert!(is(SearchKey::SavedOn(date("24-Mar-2007"))) && is(SearchKey::SavedBefore(date("25-Mar-2007"))));
    assert!(!is(SearchKey::SavedSince(date("25-Mar-2007"))));
    assert!(is(SearchKey::Younger(60)) && !is(SearchKey::Younger(59)));
    assert!(is(SearchKey::Older(60)) && !is(SearchKey::Older(61)));
}

#[test]
fn metadata_decides_without_the_body_where_it_can() {
    let record = record(1, 1, RECEIVED);
    let scope = Scope { keywords: &[], sequence_last: 1, uid_last: 1, now: Timestamp(0) };
    let candidate = Candidate { sequence: 1, record: &record, recent: false };
    let is = |key| matches(&key, &scope, &candidate, None);
    let or = |one, other| SearchKey::Or(Box::new(one), Box::new(other));
    assert_eq!(is(SearchKey::And(vec![body("x"), SearchKey::Recent])), Some(false));
    assert_eq!(is(SearchKey::And(vec![body("x"), SearchKey::All])), None);
    assert_eq!(is(or(body("x"), SearchKey::All)), Some(true));
    assert_eq!(is(or(body("x"), SearchKey::Recent)), None);
    assert_eq!(is(not(body("x"))), None);
    assert_eq!(is(not(SearchKey::And(vec![header("a", ""), SearchKey::Recent]))), Some(true));
}
