//! Bodies over whole nodes: the in-sync set keeps its word, what nothing names goes, what is corrupt is healed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::scene::{Node, PATIENCE, Pace};
use super::three::{pair_and_witness, pair_and_witness_with};
use crate::cluster::codec::normal_payload;
use crate::cluster::config::{Retention, Upkeep};
use crate::cluster::handle::ClusterHandle;
use crate::cluster::keeper::{Unnamed, give_back, look_for};
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::ids::{AccountId, BodyId, LogIndex, NodeId, Uid};
use crate::state::codec::encode_proposal;
use crate::state::command::{Command, Deliver, DeliverTo, NewUser, PlacedBody, Proposal, UidSet};
use crate::state::outcome::Outcome;
use crate::state::removed::UNDELETE_DAYS;

async fn user(node: &Node) -> AccountId {
    let user = NewUser { name: "alice".into(), password_phc: "$x".into(), quota_bytes: None };
    match node.handle().propose(Command::AddUser(user)).await {
        Ok(Outcome::UserAdded { account }) => account,
        other => panic!("{other:?}"),
    }
}

fn raw(text: &str) -> Bytes {
    Bytes::from(format!("Subject: {text}\r\n\r\n{text}\r\n"))
}

async fn place(handle: &ClusterHandle, text: &str) -> Result<PlacedBody, Fault> {
    let mut placing = handle.place().await?;
    placing.push(raw(text)).await?;
    placing.finish().await
}

async fn deliver(handle: &ClusterHandle, account: AccountId, body: PlacedBody) -> Result<Outcome, Fault> {
    let to = vec![DeliverTo { account, mailbox: "INBOX".into(), flags: Default::default() }];
    handle.propose(Command::Deliver(Deliver { body, to })).await
}

/// Until it is accepted: a fail-over may be under way.
async fn mail(node: &Node, account: AccountId, text: &str) -> BodyId {
    let until = Instant::now() + PATIENCE;
    loop {
        let handle = node.handle();
        let done = async { deliver(handle, account, place(handle, text).await?).await }.await;
        match done {
            Ok(Outcome::Delivered { .. }) => return BodyId::of(&raw(text)),
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    }
}

async fn has(node: &Node, body: BodyId) -> bool {
    let mut before = body.0;
    // The id just before it: what comes next is the body, or another one.
    for byte in before.iter_mut().rev() {
        let (next, borrow) = byte.overflowing_sub(1);
        *byte = next;
        if !borrow {
            break;
        }
    }
    node.data().bodies.ids_after(Some(BodyId(before)), 1).await.unwrap().first() == Some(&body)
}

/// There is nothing to watch on a disk: looked at again and again, within the patience.
async fn until_has(node: &Node, body: BodyId, wanted: bool) {
    let until = Instant::now() + PATIENCE;
    while has(node, body).await != wanted {
        assert!(Instant::now() < until, "{}: {body} is there: {}", node.config.name, !wanted);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As if the disk had lost it; possible once its grace is over.
async fn until_forgotten(node: &Node, body: BodyId) {
    let until = Instant::now() + PATIENCE;
    while !node.data().bodies.forget(vec![body]).await.unwrap().is_empty() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_placed_before_a_node_came_into_sync_is_brought_there_before_the_mail_counts() {
    let upkeep = Upkeep { grace_ms: 200, ..Upkeep::default() };
    let [a, b, _w] = pair_and_witness_with(Pace { upkeep, ..Pace::default() }).await;
    let account = user(&a).await;
    let placed = place(a.handle(), "x").await.unwrap();
    // As it was placed while b was behind: only a is named, and only a has it.
    until_forgotten(&b, placed.id).await;
    let early = PlacedBody { on: vec![a.handle().node()], ..placed.clone() };
    assert!(matches!(deliver(a.handle(), account, early).await, Ok(Outcome::Delivered { .. })));
    assert!(has(&b, placed.id).await);
    assert_eq!(a.set().in_sync.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_behind_comes_into_sync_while_mail_keeps_coming() {
    let [a, b, _w] = pair_and_witness(Retention::default()).await;
    let account = user(&a).await;
    let (a_handle, b_id) = (a.handle().clone(), b.handle().node());
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    // Eight at a time: there is no moment without a mail between placing and commit.
    let load: Vec<_> = (0..8)
        .map(|lane| {
            let (handle, stop) = (a_handle.clone(), stopping.clone());
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let text = format!("{lane}-{}", sent.len());
                    let body = place(&handle, &text).await.unwrap();
                    sent.push(body.id);
                    deliver(&handle, account, body).await.unwrap();
                }
                sent
            })
        })
        .collect();
    for _ in 0..3 {
        a.handle().propose(Command::MarkBehind { node: b_id }).await.unwrap();
        a.until_in_sync(b_id).await;
    }
    stop.store(true, Ordering::Relaxed);
    for sent in futures_util::future::join_all(load).await {
        for id in sent.unwrap() {
            assert!(has(&b, id).await, "b says that it is in sync and lacks {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_are_both_behind_bring_each_other_what_they_lack() {
    // Or b would have it from the witness.
    let no_journal = Retention { journal_bytes_max: 0, ..Retention::default() };
    let [mut a, mut b, _w] = pair_and_witness(no_journal).await;
    let account = user(&a).await;
    b.stop().await;
    let only_a = mail(&a, account, "only a has it").await;
    a.stop().await;
    b.start().await;
    let only_b = mail(&b, account, "only b has it").await;
    assert!(b.set().in_sync.is_empty(), "b lacks the other one and must not say otherwise: {:?}", b.set());
    a.start().await;
    for node in [&a, &b] {
        node.until_set(|set| set.in_sync.len() == 2).await;
    }
    for node in [&a, &b] {
        assert!(has(node, only_a).await && has(node, only_b).await);
    }
}

/// Times short enough for a test; each is still as long as several looks.
const HASTY: Upkeep = Upkeep { grace_ms: 400, sweep_each_ms: 500, scrub_day_ms: 43 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_nothing_names_go_from_every_node_and_those_named_stay() {
    let [a, b, _w] = pair_and_witness_with(Pace { upkeep: HASTY, ..Pace::default() }).await;
    let account = user(&a).await;
    let stays = mail(&a, account, "stays").await;
    let gone = mail(&a, account, "gone").await;
    let again = mail(&a, account, "again").await;
    let given_up = place(a.handle(), "given up").await.unwrap().id;
    let inbox = a.handle().mailbox(account, "INBOX").await.unwrap().unwrap().id;
    let view = a.handle().view(inbox).await.unwrap().unwrap();
    let uids = |body: BodyId| -> UidSet {
        view.read(|view| {
            let named = view.messages().iter().filter(|message| message.body == body);
            UidSet::from_ascending(named.map(|message| message.uid))
        })
    };
    for body in [gone, again] {
        let expunge = Command::Expunge { mailbox: inbox, uids: uids(body), only_deleted: false };
        let outcome = b.handle().propose(expunge).await.unwrap();
        assert!(matches!(outcome, Outcome::Expunged { .. }), "{outcome:?}");
    }
    mail(&b, account, "again").await;
    for node in [&a, &b] {
        until_has(node, gone, false).await;
        until_has(node, given_up, false).await;
        assert!(has(node, stays).await && has(node, again).await);
    }
}

/// Or a node under load, whose mail comes and goes faster than a stretch for each look, would never give space back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_bodies_whose_grace_is_over_are_forgotten_at_one_look() {
    // Nothing is due of itself within this test.
    let upkeep = Upkeep { grace_ms: 300, sweep_each_ms: 86_400_000, ..Upkeep::default() };
    let [a, _b, _w] = pair_and_witness_with(Pace { upkeep, ..Pace::default() }).await;
    let mut unnamed = Unnamed::new(upkeep.grace());
    let long_ago = Instant::now();
    let mut ids = Vec::new();
    for stretch in 0..25 {
        let texts: Vec<String> = (0..100).map(|at| format!("{stretch} {at}")).collect();
        let placed = futures_util::future::join_all(texts.iter().map(|text| place(a.handle(), text))).await;
        ids.extend(placed.into_iter().map(|placed| placed.unwrap().id));
    }
    ids.iter().for_each(|id| unnamed.add(*id, long_ago));
    // The store dates what it has by what it wrote later.
    tokio::time::sleep(upkeep.grace()).await;
    place(a.handle(), "later").await.unwrap();
    tokio::time::sleep(upkeep.grace() * 2).await;
    give_back(&a.handle().local, &a.data(), &mut unnamed, Instant::now()).await.unwrap();
    for id in ids {
        assert!(!has(&a, id).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_corrupt_on_a_running_node_comes_back_from_the_peer() {
    let [a, b, _w] = pair_and_witness_with(Pace { upkeep: HASTY, ..Pace::default() }).await;
    let account = user(&a).await;
    let flipped = mail(&a, account, "flip a bit of this one").await;
    flip(&b.config.dir.join("bodies"), &raw("flip a bit of this one"));
    let until = Instant::now() + PATIENCE;
    while b.data().bodies.counts().healed == 0 {
        assert!(Instant::now() < until, "the scrub never healed it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(has(&b, flipped).await);
    let lost = mail(&a, account, "lost").await;
    until_forgotten(&b, lost).await;
    until_has(&b, lost, true).await;
    b.until_in_sync(NodeId(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_expunged_is_kept_for_as_long_as_the_setting_says() {
    let [a, b, _w] = pair_and_witness_with(Pace { upkeep: HASTY, ..Pace::default() }).await;
    let account = user(&a).await;
    let keep = async |days: Option<&str>| {
        let changes = vec![(UNDELETE_DAYS.to_owned(), days.map(str::to_owned))];
        assert_eq!(a.handle().propose(Command::SetSettings { changes }).await.unwrap(), Outcome::Done);
    };
    keep(Some("1")).await;
    let kept = mail(&a, account, "kept").await;
    let inbox = a.handle().mailbox(account, "INBOX").await.unwrap().unwrap().id;
    let expunge =
        Command::Expunge { mailbox: inbox, uids: UidSet::from_ascending([Uid(1)]), only_deleted: false };
    assert!(matches!(b.handle().propose(expunge).await.unwrap(), Outcome::Expunged { .. }));
    tokio::time::sleep(HASTY.grace() * 3).await;
    assert!(has(&a, kept).await && has(&b, kept).await);
    keep(None).await;
    until_has(&a, kept, false).await;
    until_has(&b, kept, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_witness_keeps_bodies_until_two_data_nodes_have_them() {
    let [a, mut b, w] = pair_and_witness_with(Pace { upkeep: HASTY, ..Pace::default() }).await;
    let account = user(&a).await;
    mail(&a, account, "while both are there").await;
    let witness = w.handle().node();
    let kept = async || a.data().bodies.journal_state(witness, None).await.unwrap().unwrap().bytes;
    assert_eq!(kept().await, 0);
    b.lose();
    // One that dies may still take what comes while it does.
    let until = Instant::now() + PATIENCE;
    let mut alone = mail(&a, account, "while the other is away").await;
    for more in 1.. {
        if kept().await > 0 {
            break;
        }
        assert!(Instant::now() < until, "the witness takes none");
        alone = mail(&a, account, &format!("while the other is away, {more}")).await;
    }
    assert_eq!(a.data().bodies.single_copies(), None);
    // However long it lasts: nobody else has it.
    tokio::time::sleep(HASTY.grace() * 3).await;
    assert!(kept().await > 0);
    b.start().await;
    until_has(&b, alone, true).await;
    let until = Instant::now() + PATIENCE;
    while kept().await > 0 {
        assert!(Instant::now() < until, "it is never given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(a.set().in_sync.contains(&b.handle().node()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_no_message_names_any_longer_is_not_missed() {
    let [_a, b, _w] = pair_and_witness(Retention::default()).await;
    let (local, data) = (&b.handle().local, b.data());
    // As it is with a mail that was removed before this node had looked for its body.
    let gone = BodyId::of(&raw("gone"));
    look_for(local, &data, vec![gone]).await.unwrap();
    assert_eq!(data.bodies.counts().missing, 0);
    // As it is when it was removed just after the look at the rows.
    let ids = futures_util::stream::iter([Ok(gone)]);
    assert_eq!(data.bodies.fetch_missing(ids).await.unwrap().lost, 1);
    assert_eq!(data.bodies.counts().missing, 1);
    let until = Instant::now() + PATIENCE;
    while data.bodies.counts().missing > 0 {
        assert!(Instant::now() < until, "it stays counted as missing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(b.set().in_sync.contains(&b.handle().node()));
}

/// Flips a bit in the middle of `body` in the one segment that holds it.
fn flip(dir: &std::path::Path, body: &[u8]) {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            let at = at + body.len() / 2;
            std::os::unix::fs::FileExt::write_all_at(&file, &[bytes[at] ^ 1], at as u64).unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 1, "the body lies in one segment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_whose_answer_was_lost_is_applied_once_also_under_the_next_leader() {
    let [a, b, _w] = pair_and_witness(Retention::default()).await;
    let account = user(&a).await;
    let body = place(a.handle(), "once").await.unwrap();
    let to = vec![DeliverTo { account, mailbox: "INBOX".into(), flags: Default::default() }];
    let clock = a.handle().clock();
    let proposal = Proposal {
        id: clock.command_id(),
        base: LogIndex(a.handle().local.watched.applied_next.borrow().saturating_sub(1)),
        at: clock.now(),
        command: Command::Deliver(Deliver { body, to }),
    };
    let sent = normal_payload(&encode_proposal(&proposal).unwrap()).0;
    // The answer is an index, which differs, and the outcome, which must not.
    let outcome = |answer: Bytes| answer.slice(8..);
    let first = outcome(a.handle().local.commit_for_peer(sent.clone()).await.unwrap());
    let again = outcome(a.handle().local.commit_for_peer(sent.clone()).await.unwrap());
    a.hand_over_to(b.handle().node()).await;
    let mut elsewhere = b.handle().local.commit_for_peer(sent.clone()).await;
    let until = Instant::now() + PATIENCE;
    while elsewhere.is_err() {
        assert!(Instant::now() < until, "{elsewhere:?}");
        elsewhere = b.handle().local.commit_for_peer(sent.clone()).await;
    }
    assert_eq!(again, first);
    assert_eq!(outcome(elsewhere.unwrap()), first);
    let inbox = b.handle().mailbox(account, "INBOX").await.unwrap().unwrap().id;
    let view = b.handle().view(inbox).await.unwrap().unwrap();
    assert_eq!(view.read(|view| view.messages().len()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_node_that_is_no_member_any_longer_leaves_the_set() {
    let [a, _b, _w] = pair_and_witness(Retention::default()).await;
    // As a removal leaves it that was cut off between its two steps.
    assert!(matches!(a.handle().propose(Command::AddReplica { node: NodeId(9) }).await, Ok(Outcome::Done)));
    a.until_set(|set| set.data_nodes == [NodeId(1), NodeId(2)].into()).await;
}
