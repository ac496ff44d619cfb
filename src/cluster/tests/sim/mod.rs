//! Deterministic simulation: whole clusters on one thread, over a network, disks and clocks in memory, with what
//! goes wrong drawn from a seed. The same seed gives the same schedule, event by event.
//!
//! Real: openraft with the product's time-outs; the append streams, the gate and the calls of `network`; `propose`,
//! `membership`, `handle`, `keeper`, `witness`, `bodies`, `machine`, `feed`; `state::apply` and `prepare`; all bytes
//! on the wire, all commands, rows and snapshots.
//!
//! Simulated: QUIC (`net`), and log, rows and bodies below the interface of `store` (`disk`), with what a crash does
//! to them. A frozen node's timers go on, which those of a stopped process do not. Real and outside the schedule: the
//! small files of `membership`, in a scratch directory.
//!
//! Why it replays: one thread; tokio's clock is paused and goes from timer to timer; the dice are seeded, openraft's
//! too (`clock::fix_thread_dice`); work that blocks is done in place (`cluster::blocking`); watches wake in order
//! (`cluster::watch`: tokio's own draw lots, which cannot be seeded without an unstable build), and every `select!` of
//! the cluster room is biased. `a_seed_gives_the_same_schedule_twice` finds what breaks this.
//!
//! A seed that fails is run again, aloud, by the command that the failure prints. `POLLUX_SIM_FROM`, `POLLUX_SIM_COUNT`
//! and `POLLUX_SIM_FRESH` say which seeds `schedules` runs; `make simulate` runs many, from a build that is optimised a
//! little. A seed's schedule is the same in every build of one source.

mod check;
mod client;
mod dice;
mod disk;
mod faults;
mod gate;
mod ledger;
mod members;
mod net;
mod node;
mod operator;
mod run;
mod trace;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::disk::Lie;
use self::run::{Schedule, Verdict, run};
use crate::clock::Clock;

fn schedule(seed: u64) -> Schedule {
    Schedule { seed, lie: Lie::None, aloud: false }
}

fn passed(seed: u64, verdict: &Verdict) {
    if let Some(violation) = &verdict.violation {
        panic!(
            "seed {seed}: {violation}\n{}\nagain: POLLUX_SIM_SEED={seed} cargo nextest run --lib --no-capture -E \
             'test(=cluster::tests::sim::replay)'",
            verdict.tail
        );
    }
}

/// A number from the environment.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One schedule, every event printed. Without a seed it runs the first.
#[test]
fn replay() {
    let seed = told("POLLUX_SIM_SEED").unwrap_or(0);
    let verdict = run(Schedule { aloud: told("POLLUX_SIM_SEED").is_some(), ..schedule(seed) });
    passed(seed, &verdict);
}

#[test]
fn a_seed_gives_the_same_schedule_twice() {
    for seed in 0..2 {
        let (first, again) = (run(schedule(seed)), run(schedule(seed)));
        assert_eq!((first.hash, first.events), (again.hash, again.events), "seed {seed}");
    }
}

/// The first thing that is found wrong in some schedules over disks that lie.
fn found(lie: Lie) -> Option<String> {
    (0..8).find_map(|seed| run(Schedule { lie, ..schedule(seed) }).violation)
}

#[test]
fn a_disk_that_forgets_synced_entries_and_votes_is_found_out() {
    assert_ne!(found(Lie::ForgetsLog), None);
}

#[test]
fn a_disk_that_leaves_out_a_row_is_found_out() {
    let violation = found(Lie::SkipsRows);
    assert!(violation.as_ref().is_some_and(|what| what.contains("state equality")), "{violation:?}");
}

#[test]
fn a_disk_that_forgets_synced_bodies_is_found_out() {
    let violation = found(Lie::ForgetsBodies);
    assert!(violation.as_ref().is_some_and(|what| what.contains("lacks the body")), "{violation:?}");
}

/// Seeds 1,000 and upwards, the same in each run, so that what passed once is known to pass still; and as many more
/// as are asked for that nobody has tried, drawn from the operating system's dice: a rule that took them from the date or
/// from the state of the tree would try the same ones again just when a find is to be told from chance.
#[test]
fn schedules() {
    let from = told("POLLUX_SIM_FROM").unwrap_or(1_000);
    let count = told("POLLUX_SIM_COUNT").unwrap_or(8);
    let mut fresh = [0; 8];
    Clock::system().fill(&mut fresh);
    // Short enough to be read aloud, and none of those above.
    let fresh = 1 << 32 | u64::from_le_bytes(fresh) >> 32;
    let fresh_count = told("POLLUX_SIM_FRESH").unwrap_or(0);
    let seeds: Vec<u64> =
        FOUND.into_iter().chain(from..from + count).chain((fresh..).take(fresh_count as usize)).collect();
    println!("{count} seeds from {from}, {fresh_count} fresh ones from {fresh}");
    // Many are run beside tests that wait for real clocks, and take what those leave of the processors.
    rustix::process::nice(19).expect("anyone may have less of a processor");
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Total::default());
    let failed = Mutex::new(BTreeMap::new());
    let one_by_one = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let verdict = run(schedule(seed));
            match &verdict.violation {
                Some(violation) => println!("seed {seed}: {violation}"),
                None if seeds.len() <= EACH_TOLD_MAX => println!("seed {seed}: {verdict}"),
                None => {}
            }
            total.lock().unwrap().add(&verdict);
            if verdict.violation.is_some() {
                failed.lock().unwrap().insert(seed, verdict);
            }
        }
    };
    // Schedules know nothing of each other: what is fixed for one is fixed for its thread.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(one_by_one))));
    println!("{:?}", total.into_inner().unwrap());
    let failed = failed.into_inner().unwrap();
    failed.iter().for_each(|(seed, verdict)| passed(*seed, verdict));
}

/// Seeds that found something in the product, as the schedules were then:
/// 1000 and 1003: a member that had not made itself known was asked for no body.
/// 2003: the witness took a leader that was started again for one that leads, and rescued nobody.
/// 3103 and 3126: a leader that was told to hand over to a dead node led no longer, and nobody else did.
/// 100438: a removal was ended by a later leader although the others had fallen behind meanwhile.
/// 2031: a stream of appends that ended without an answer brought an old order back, whose entries were purged.
/// 2236: a leader changed the membership right after it was removed.
/// 2429: a node that had joined and did not vote yet had the whole log, so that the witness rescued nobody.
const FOUND: [u64; 9] = [1_000, 1_003, 2_003, 2_031, 2_236, 2_429, 3_103, 3_126, 100_438];

/// Beyond so many, only their sum is told.
const EACH_TOLD_MAX: usize = 40;

/// What many schedules came to.
#[derive(Debug, Default)]
struct Total {
    schedules: u64,
    faults: u64,
    boxes_replaced: u64,
    leaders: u64,
    memberships: u64,
    snapshots_installed: u64,
    truncated: u64,
    entries: u64,
    rows_compared: u64,
    gated: u64,
    mails: usize,
    changes: u64,
}

impl Total {
    fn add(&mut self, verdict: &Verdict) {
        let counts = verdict.counts;
        self.schedules += 1;
        self.faults += verdict.faults;
        self.boxes_replaced += verdict.replaced;
        self.leaders += counts.leaders;
        self.memberships += counts.memberships;
        self.snapshots_installed += counts.installed;
        self.truncated += counts.truncated;
        self.entries += counts.entries;
        self.rows_compared += counts.compared;
        self.gated += counts.gated;
        self.mails += verdict.acked;
        self.changes += verdict.changes;
    }
}
