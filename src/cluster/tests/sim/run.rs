//! One schedule, from its seed to its verdict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::check::{Check, Counts};
use super::client;
use super::dice::Dice;
use super::disk::Lie;
use super::faults::Faults;
use super::ledger::{Held, Ledger};
use super::net::Net;
use super::node::{Node, STEP, World, member};
use super::operator::{Operator, boxes};
use super::trace::Trace;
use crate::clock::fix_thread_dice;
use crate::cluster::blocking;
use crate::cluster::config::Retention;
use crate::cluster::types::{Member, Role};
use crate::mail::flags::SystemFlag;
use crate::state::reading;
use crate::state::rows::MemoryRows;
use crate::state::view::MailboxView;

/// For how long things go wrong, in the schedule's own time.
const FAULTY: Duration = Duration::from_secs(15);
/// By then a mended cluster has one leader, which is a data node, and all nodes hold the same.
const MENDED_WITHIN: Duration = Duration::from_secs(40);

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub seed: u64,
    /// For the tests of the checks themselves.
    pub lie: Lie,
    pub aloud: bool,
}

#[derive(Debug, Clone)]
pub struct Verdict {
    pub hash: String,
    pub events: u64,
    pub faults: u64,
    /// Boxes that were replaced whole, from the removal to the new node's vote.
    pub replaced: u64,
    pub counts: Counts,
    pub acked: usize,
    /// Flags, moves and expunges that were acknowledged.
    pub changes: u64,
    pub violation: Option<String>,
    pub tail: String,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict { hash, events, faults, replaced, acked, changes, counts, .. } = self;
        write!(
            f,
            "{events} events, {faults} faults, {replaced} boxes replaced, {acked} mails and {changes} changes acked, {counts:?}, {hash}"
        )
    }
}

/// Runs it on this thread, which does nothing else meanwhile.
pub fn run(schedule: Schedule) -> Verdict {
    fix_thread_dice(Some(schedule.seed));
    blocking::in_place(true);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let verdict = runtime.block_on(play(schedule));
    drop(runtime);
    blocking::in_place(false);
    fix_thread_dice(None);
    verdict
}

/// Roles of the nodes, by the seed.
fn roles(dice: &Dice) -> Vec<Role> {
    let (data, witness) = match dice.below(10) {
        0..6 => (2, 1),
        6..8 => (3, 0),
        8 => (3, 1),
        _ => (4, 1),
    };
    let mut roles = vec![Role::Data; data];
    roles.extend(vec![Role::Witness; witness]);
    roles
}

async fn play(schedule: Schedule) -> Verdict {
    let dice = Dice::new(schedule.seed, "schedule");
    let trace = Trace::new(schedule.aloud);
    let net = Net::new(Dice::new(schedule.seed, "net"), trace.clone());
    let check = Check::new(trace.clone(), net.clone());
    // Few entries are kept in half of the schedules, so that snapshots are installed.
    let keep_entries = if dice.chance(50) { dice.between(5, 30) } else { 100_000 };
    let world = World {
        seed: schedule.seed,
        net: net.clone(),
        trace: trace.clone(),
        check: check.clone(),
        ledger: Arc::new(Mutex::new(Ledger::default())),
        retention: Retention { snapshot_entries: 20, keep_entries, ..Retention::default() },
    };
    let roles = roles(&dice);
    let places = roles.iter().enumerate();
    let members: BTreeMap<u64, Member> =
        places.map(|(place, role)| (place as u64 + 1, member(place + 1, *role))).collect();
    let mut nodes: Vec<Node> = members.keys().map(|id| Node::new(&world, *id, &members)).collect();
    for node in &mut nodes {
        node.disk.lie(schedule.lie);
        node.start().await;
    }
    if let Some(first) = nodes[0].local() {
        first.raft.initialize(members).await.expect("a new cluster can be founded");
    }
    let mut faults = Faults::new(schedule.seed, trace.clone(), net);
    let mut operator = Operator::new(&world);
    let until = Instant::now() + FAULTY;
    while Instant::now() < until && check.violation().is_none() {
        step(&nodes).await;
        operator.step(&mut nodes, &mut faults, false).await;
        faults.step(&mut nodes).await;
    }
    if check.violation().is_none() {
        faults.heal(&mut nodes).await;
        mended(&world, &mut nodes, &mut faults, &mut operator).await;
    }
    let ledger = world.ledger.lock().unwrap();
    let (acked, changes) = (ledger.acked(), ledger.changes);
    drop(ledger);
    nodes.iter_mut().for_each(Node::crash);
    check.let_go();
    Verdict {
        hash: trace.hash(),
        events: trace.events(),
        faults: faults.done,
        replaced: operator.replaced,
        counts: check.counts(),
        acked,
        changes,
        violation: check.violation(),
        tail: trace.tail(),
    }
}

/// A moment passes; the clocks do not agree how long it was.
async fn step(nodes: &[Node]) {
    tokio::time::sleep(STEP).await;
    for node in nodes {
        node.clock.advance_ms(STEP.as_millis() as u64 + node.id.0);
    }
}

/// Once all is mended: a data node leads, each data node takes a mail, all hold the same, nothing is lost.
async fn mended(world: &World, nodes: &mut [Node], faults: &mut Faults, operator: &mut Operator) {
    let until = Instant::now() + MENDED_WITHIN;
    let mut why = "nothing was seen".to_owned();
    while Instant::now() < until && world.check.violation().is_none() {
        step(nodes).await;
        operator.step(nodes, faults, true).await;
        for node in nodes.iter_mut() {
            if node.ends() && !node.retired {
                node.start().await;
            }
        }
        if operator.is_at_work() {
            why = "a box is still being replaced".to_owned();
            continue;
        }
        match settled(world, nodes) {
            Ok(()) => return judge(world, nodes).await,
            Err(not) => why = not,
        }
    }
    world.check.violated(format!("{} s after all was mended: {why}", MENDED_WITHIN.as_secs()));
}

/// Whether the cluster is as it should be, or what it lacks.
fn settled(world: &World, nodes: &[Node]) -> Result<(), String> {
    let leaders: Vec<_> = nodes.iter().filter(|node| node.leads()).collect();
    let [leader] = leaders[..] else { return Err(format!("{} nodes lead", leaders.len())) };
    if leader.role == Role::Witness {
        return Err(format!("the witness {} leads", leader.id));
    }
    if let Some(misnamed) = nodes.iter().find(|node| !node.retired && !leader.knows_as_is(node)) {
        return Err(format!("the leader does not know where node {} is", misnamed.id));
    }
    match world.check.is_whole(&boxes(nodes)) {
        true => Ok(()),
        false => Err("a node does not vote, or is not in sync, or is a stranger".into()),
    }
}

async fn judge(world: &World, nodes: &[Node]) {
    for node in nodes.iter().filter(|node| node.role == Role::Data) {
        let Some(handle) = node.handle() else { continue };
        let account = client::account(handle).await;
        let sent = match account {
            Some(account) => client::send(world, handle, account, u64::MAX - node.id.0).await.is_some(),
            None => false,
        };
        if !sent {
            return world.check.violated(format!("a mended cluster takes no mail at node {}", node.id));
        }
    }
    // What was sent last is at one node; a barrier brings the others there.
    for node in nodes.iter().filter(|node| node.role == Role::Data) {
        let Some(handle) = node.handle() else { continue };
        // More may be done elsewhere while the barrier is on its way.
        let before = world.ledger.lock().unwrap().fates.clone();
        if client::barrier(handle).await.is_none() {
            return world.check.violated(format!("node {} does not catch up", node.id));
        }
        let held = mails(&node.disk.rows());
        let judged = world.ledger.lock().unwrap().judge(node.id.0, &before, &held);
        if let Err(what) = judged {
            return world.check.violated(what);
        }
    }
}

/// All messages of the two mailboxes.
fn mails(rows: &MemoryRows) -> Vec<Held> {
    let directory = crate::state::directory::Directory::load(rows).unwrap();
    let Some(user) = directory.users.get(client::USER) else { return Vec::new() };
    let mut held = Vec::new();
    for name in [client::INBOX, client::ARCHIVE] {
        let mailbox = reading::mailbox_by_name(rows, user.account, name).unwrap();
        let Some(view) = mailbox.and_then(|mailbox| MailboxView::load(rows, mailbox.id).unwrap()) else {
            continue;
        };
        held.extend(view.messages().iter().map(|message| Held {
            body: message.body,
            seen: message.flags.has(SystemFlag::Seen),
            archived: name == client::ARCHIVE,
        }));
    }
    held
}
