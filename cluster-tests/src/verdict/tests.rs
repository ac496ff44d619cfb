//! Histories that must be rejected, one for each rule, beside the same history as it should be.

use std::collections::BTreeMap;

use super::*;
use crate::checker::Mailbox;
use crate::clients::content_of;
use crate::history::{Call, End};
use crate::history::{Change as FlagChange, Flags, Host, Key, Numbers, Op, Row, Seen};
use crate::imap::{Fetched, Selected};

const TOKEN: &str = "t-1-10";

fn flags(flags: &[&str]) -> Flags {
    flags.iter().map(|flag| (*flag).to_string()).collect()
}

fn key(uid: u32) -> Key {
    Key { user: "alice".into(), validity: 7, uid }
}

/// A call of client `c` on node `a` in the microseconds `at` to `at + 5`.
fn call(at: u64, op: Op, end: End) -> Call {
    let host = Host { node: "a".into(), life: 0 };
    Call { client: "c".into(), host, op, current_us: 0, began_us: at, ended_us: at + 5, end }
}

fn append_op() -> Op {
    let (user, mailbox) = ("alice".into(), "Archive".into());
    Op::Append { user, mailbox, token: TOKEN.into(), filler: 10, flags: flags(&[]) }
}

fn append(end: End) -> Call {
    call(0, append_op(), end)
}

fn done(uid: u32) -> End {
    End::Ok(Seen::At { validity: 7, uid })
}

fn unknown() -> End {
    End::Unknown("the server closed".into())
}

fn refused() -> End {
    End::Refused("NO".into())
}

fn store(at: u64, given: &[&str], end: End) -> Call {
    let (change, flags) = (FlagChange::Add, flags(given));
    call(at, Op::Store { key: key(1), token: TOKEN.into(), change, flags }, end)
}

/// Archive with these messages: UID, token, flags.
fn archive(messages: &[(u32, &str, &[&str])]) -> Contents {
    mailbox("Archive", 7, messages)
}

fn mailbox(name: &str, validity: u32, messages: &[(u32, &str, &[&str])]) -> Contents {
    let messages: Vec<Fetched> = messages
        .iter()
        .map(|(uid, token, given)| Fetched {
            uid: *uid,
            flags: flags(given),
            modseq: u64::from(*uid),
            body: content_of(token).unwrap_or_default(),
        })
        .collect();
    let exists = messages.len() as u32;
    let selected = Selected { exists, uid_validity: validity, uid_next: 100, highest_modseq: 100 };
    BTreeMap::from([(("alice".to_string(), name.to_string()), Mailbox { selected, messages })])
}

fn rules(calls: &[Call], contents: Contents) -> Vec<Rule> {
    let shown = vec![("a".to_string(), contents.clone()), ("b".to_string(), contents)];
    let (wrong, _) = judge(calls, &shown);
    let mut rules: Vec<Rule> = wrong.iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn acknowledged_is_there_once() {
    let calls = [append(done(1))];
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &[])])), []);
    assert_eq!(rules(&calls, archive(&[])), [Rule::Lost, Rule::Order]);
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &[]), (2, TOKEN, &[])])), [Rule::Ghost]);
    assert_eq!(rules(&calls, mailbox("Trash", 7, &[(1, TOKEN, &[])])), [Rule::Ghost, Rule::Lost]);
}

#[test]
fn a_mail_is_there_once_for_each_of_its_receivers() {
    let deliver = Op::Deliver { token: TOKEN.into(), filler: 10, to: vec!["alice".into()] };
    let sent = [call(0, deliver.clone(), End::Ok(Seen::Nothing))];
    assert_eq!(rules(&sent, mailbox("INBOX", 7, &[(1, TOKEN, &[])])), []);
    assert_eq!(rules(&sent, mailbox("INBOX", 7, &[])), [Rule::Lost]);
    assert_eq!(rules(&sent, mailbox("INBOX", 7, &[(1, TOKEN, &[]), (2, TOKEN, &[])])), [Rule::Duplicate]);
    let unknown = [call(0, deliver, unknown())];
    assert_eq!(rules(&unknown, mailbox("INBOX", 7, &[])), []);
    assert_eq!(rules(&unknown, mailbox("INBOX", 7, &[(1, TOKEN, &[])])), []);
    assert_eq!(rules(&unknown, mailbox("INBOX", 7, &[(1, TOKEN, &[]), (2, TOKEN, &[])])), [Rule::Duplicate]);
}

#[test]
fn refused_or_never_sent_is_not_there() {
    assert_eq!(rules(&[append(refused())], archive(&[])), [Rule::Refused]);
    assert_eq!(rules(&[append(refused())], archive(&[(1, TOKEN, &[])])), [Rule::Refused, Rule::Ghost]);
    assert_eq!(rules(&[], archive(&[(1, TOKEN, &[])])), [Rule::Ghost]);
}

#[test]
fn octets_are_those_that_were_sent() {
    let mut altered = archive(&[(1, TOKEN, &[])]);
    altered.values_mut().for_each(|mailbox| mailbox.messages[0].body.push(b'x'));
    assert_eq!(rules(&[append(done(1))], altered), [Rule::Altered]);
    let text = Seen::Text { token: TOKEN.into(), whole: false };
    let calls = [append(done(1)), call(10, Op::Retrieve { user: "alice".into() }, End::Ok(text))];
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &[])])), [Rule::Altered]);
}

#[test]
fn flags_are_those_acknowledged() {
    let calls = [append(done(1)), store(10, &["\\Seen"], End::Ok(Seen::Changed))];
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &["\\Seen"])])), []);
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &[])])), [Rule::Flags, Rule::Order]);
    let calls = [append(done(1)), store(10, &["\\Seen"], unknown())];
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &["\\Seen"])])), []);
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &[])])), []);
    assert_eq!(rules(&calls, archive(&[(1, TOKEN, &["\\Answered"])])), [Rule::Flags, Rule::Order]);
}

#[test]
fn what_was_expunged_stays_away() {
    let expunge = Op::Expunge { key: key(1), token: TOKEN.into() };
    let expunged = |seen| {
        let deleted = store(10, &["\\Deleted"], End::Ok(Seen::Changed));
        [append(done(1)), deleted, call(20, expunge.clone(), End::Ok(seen))]
    };
    let there = || archive(&[(1, TOKEN, &["\\Deleted"])]);
    assert_eq!(rules(&expunged(Seen::Changed), archive(&[])), []);
    assert_eq!(rules(&expunged(Seen::Changed), there()), [Rule::Ghost, Rule::Order]);
    assert_eq!(rules(&expunged(Seen::Nothing), there()), [], "on a node that had not heard of \\Deleted");
    let deletes = Op::Drop { user: "alice".into(), tokens: vec![TOKEN.into()] };
    let deliver = Op::Deliver { token: TOKEN.into(), filler: 10, to: vec!["alice".into()] };
    let calls = [call(0, deliver, End::Ok(Seen::Nothing)), call(10, deletes, End::Ok(Seen::Nothing))];
    assert_eq!(rules(&calls, mailbox("INBOX", 7, &[])), []);
    assert_eq!(rules(&calls, mailbox("INBOX", 7, &[(1, TOKEN, &[])])), [Rule::Ghost]);
}

#[test]
fn a_moved_message_is_in_one_place() {
    let (from, to) = ("Archive".to_string(), "Trash".to_string());
    let moving = Op::Move { key: key(1), token: TOKEN.into(), from, to, flags: flags(&[]) };
    let moved = End::Ok(Seen::At { validity: 8, uid: 1 });
    let calls = [append(done(1)), call(10, moving.clone(), moved)];
    let both = |archived: &[(u32, &str, &[&str])], trashed: &[(u32, &str, &[&str])]| {
        let mut contents = archive(archived);
        contents.append(&mut mailbox("Trash", 8, trashed));
        contents
    };
    assert_eq!(rules(&calls, both(&[], &[(1, TOKEN, &[])])), []);
    assert_eq!(rules(&calls, both(&[(1, TOKEN, &[])], &[(1, TOKEN, &[])])), [Rule::Ghost, Rule::Order]);
    assert_eq!(rules(&calls, both(&[], &[])), [Rule::Lost, Rule::Order]);
    let calls = [append(done(1)), call(10, moving, unknown())];
    assert_eq!(rules(&calls, both(&[(1, TOKEN, &[])], &[])), []);
    assert_eq!(rules(&calls, both(&[], &[(1, TOKEN, &[])])), []);
    assert_eq!(
        rules(&calls, both(&[(1, TOKEN, &[])], &[(1, TOKEN, &[])])),
        [Rule::Duplicate, Rule::Order][..1]
    );
    assert_eq!(rules(&calls, both(&[], &[])), [Rule::Lost]);
}

#[test]
fn mailboxes_are_as_acknowledged() {
    let op = |kind: &str| {
        let (user, mailbox) = ("alice".to_string(), "Archive".to_string());
        match kind {
            "create" => Op::Create { user, mailbox },
            "delete" => Op::Delete { user, mailbox },
            _ => Op::Rename { user, from: mailbox, to: "Old".into() },
        }
    };
    let ok = |at, kind| call(at, op(kind), End::Ok(Seen::Nothing));
    assert_eq!(rules(&[ok(0, "create")], archive(&[])), []);
    assert_eq!(rules(&[ok(0, "create")], BTreeMap::new()), [Rule::Mailbox]);
    assert_eq!(rules(&[ok(0, "create"), ok(10, "delete")], archive(&[])), [Rule::Mailbox]);
    assert_eq!(rules(&[ok(0, "create"), ok(10, "rename")], archive(&[])), [Rule::Mailbox]);
    assert_eq!(rules(&[ok(0, "create"), call(10, op("delete"), unknown())], archive(&[])), []);
}

fn tail(at: u64, node: &str, numbers: Numbers, rows: Vec<Row>) -> Call {
    let op = Op::Tail { user: "alice".into(), mailbox: "Archive".into() };
    let host = Host { node: node.into(), life: 0 };
    Call { host, ..call(at, op, End::Ok(Seen::Mailbox { numbers, rows })) }
}

#[test]
fn numbers_only_ascend() {
    let numbers = |validity, next, modseq| Numbers { exists: 0, validity, next, modseq };
    let pair = |first: Numbers, node: &str, then: Numbers| {
        rules(&[tail(0, "a", first, vec![]), tail(10, node, then, vec![])], BTreeMap::new())
    };
    assert_eq!(pair(numbers(7, 2, 2), "a", numbers(7, 2, 3)), []);
    assert_eq!(pair(numbers(7, 2, 2), "a", numbers(7, 1, 2)), [Rule::Ascent], "UIDNEXT");
    assert_eq!(pair(numbers(7, 2, 2), "a", numbers(7, 2, 1)), [Rule::Ascent], "HIGHESTMODSEQ");
    assert_eq!(pair(numbers(7, 2, 2), "a", numbers(6, 2, 2)), [Rule::Ascent], "UIDVALIDITY");
    assert_eq!(pair(numbers(7, 2, 2), "b", numbers(7, 1, 1)), [], "another node may be behind");
    let after_a_login = |login_us: u64| {
        let then = Call { current_us: login_us, ..tail(10, "b", numbers(7, 1, 2), vec![]) };
        rules(&[tail(0, "a", numbers(7, 2, 2), vec![]), then], BTreeMap::new())
    };
    assert_eq!(after_a_login(5), [], "the login had begun before that was shown");
    assert_eq!(after_a_login(6), [Rule::Ascent], "but not to who logs in there");
    let again = Call { began_us: 10, ended_us: 15, ..append(done(1)) };
    let other = Op::Append {
        user: "alice".into(),
        mailbox: "Archive".into(),
        token: "t-2-10".into(),
        filler: 10,
        flags: vec![],
    };
    let later = call(10, other, done(1));
    let host = Host { node: "b".into(), life: 0 };
    let descending = [append(done(2)), Call { host, ..later }];
    assert!(rules(&descending, archive(&[(2, TOKEN, &[]), (1, "t-2-10", &[])])).contains(&Rule::Ascent));
    assert!(rules(&[append(done(1)), again], archive(&[(1, TOKEN, &[])])).contains(&Rule::Ascent));
}

#[test]
fn nothing_means_two_things() {
    let numbers = Numbers { exists: 1, validity: 7, next: 2, modseq: 9 };
    let row = |token: &str, given: &[&str], modseq| {
        vec![Row { uid: 1, token: token.into(), flags: flags(given), modseq }]
    };
    let pair = |first: Vec<Row>, then: Vec<Row>| {
        rules(&[tail(0, "a", numbers, first), tail(10, "b", numbers, then)], BTreeMap::new())
    };
    assert_eq!(pair(row(TOKEN, &[], 1), row(TOKEN, &["\\Seen"], 2)), []);
    assert_eq!(pair(row(TOKEN, &[], 1), row("t-2-10", &[], 1)), [Rule::Uid]);
    assert_eq!(pair(row(TOKEN, &[], 1), row(TOKEN, &["\\Seen"], 1)), [Rule::ModSeq]);
}

#[test]
fn nodes_are_equal_at_the_end() {
    let calls = [append(done(1))];
    let shown = vec![("a".to_string(), archive(&[(1, TOKEN, &[])])), ("b".to_string(), archive(&[]))];
    let (wrong, _) = judge(&calls, &shown);
    assert!(wrong.iter().any(|violation| violation.rule == Rule::Nodes));
}

#[test]
fn octets_out_of_backups_are_those_that_were_sent() {
    let octets = |contents: Contents| {
        let mut wrong = Vec::new();
        super::ends::judge_octets(&[("node1".to_owned(), contents)], &mut wrong);
        wrong
    };
    let contents = archive(&[(1, TOKEN, &[]), (2, "t-2-10", &[])]);
    assert_eq!(octets(contents.clone()), []);
    for spoil in
        [|body: &mut Vec<u8>| body[150] ^= 1, |body: &mut Vec<u8>| body.truncate(body.len() - 1), Vec::clear]
    {
        let mut contents = contents.clone();
        let message = contents.values_mut().flat_map(|mailbox| &mut mailbox.messages).next();
        spoil(&mut message.expect("there is one").body);
        assert_eq!(octets(contents).iter().map(|wrong| wrong.rule).collect::<Vec<_>>(), [Rule::Altered]);
    }
}

#[test]
fn what_nobody_knew_is_counted_by_who_sent_it() {
    let tally = |contents: Contents| judge(&[append(unknown())], &[("a".to_string(), contents)]).1;
    let there = tally(archive(&[(1, TOKEN, &[])]));
    assert_eq!((there.appended, there.delivered), (Unheard { all: 1, there: 1 }, Unheard::default()));
    assert_eq!(tally(archive(&[])).and(there).appended, Unheard { all: 2, there: 1 });
}

#[test]
fn a_panic_in_a_log_is_told() {
    let mut wrong = Vec::new();
    judge_log("node1", "INFO all is well\nthread 'x' panicked at src/a.rs:1:1:\nno\n", &mut wrong);
    assert_eq!(wrong.iter().map(|wrong| wrong.rule).collect::<Vec<_>>(), [Rule::Panic]);
    assert!(wrong[0].what.starts_with("node1: thread 'x' panicked"), "{wrong:?}");
}

#[test]
fn counts_are_those_of_the_content() {
    use super::ends::{Counted, judge_counts, judge_space};

    let contents = archive(&[(1, TOKEN, &["\\Seen"]), (2, "t-2-10", &[])]);
    let right = Counted { messages: 2, unseen: 1, next: 100, validity: 7, modseq: 100 };
    let counted = |told: Counted| {
        let mut wrong = Vec::new();
        judge_counts(&contents, &mut wrong, |_, _| told);
        wrong.len()
    };
    assert_eq!(counted(right), 0);
    assert_eq!(counted(Counted { messages: 3, ..right }), 1);
    assert_eq!(counted(Counted { unseen: 2, ..right }), 1);
    assert_eq!(counted(Counted { next: 99, ..right }), 1);
    let octets = |user: &str| -> u64 {
        assert_eq!(user, "alice");
        contents.values().flat_map(|mailbox| &mailbox.messages).map(|message| message.body.len() as u64).sum()
    };
    let mut wrong = Vec::new();
    judge_space(&contents, &mut wrong, octets);
    assert_eq!(wrong, []);
    judge_space(&contents, &mut wrong, |user| octets(user) + 1);
    assert_eq!(wrong.len(), 1);
}

#[test]
fn a_mail_that_can_be_delivered_is_not_bounced() {
    let deliver = |why: &str| {
        let op = Op::Deliver { token: TOKEN.into(), filler: 10, to: vec!["alice".into()] };
        rules(&[call(0, op, End::Refused(why.into()))], BTreeMap::new())
    };
    assert_eq!(deliver("before the final dot: 421 4.3.2 stopping"), []);
    assert_eq!(deliver("before the final dot: the server closed"), []);
    assert_eq!(deliver("before the final dot: 550 5.1.1 No such user here"), [Rule::Refused]);
    assert_eq!(deliver("554 5.3.0 The message cannot be delivered"), [Rule::Refused]);
}
