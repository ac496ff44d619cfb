//! The log and the vote: after any crash it opens, and is what it was at the last acknowledged step or a later one.

use std::path::Path;

use bytes::Bytes;
use cluster_tests::crash::journal::Change as Done;
use cluster_tests::crash::{record, recorded};
use pollux::store::log::{LogLimits, LogPosition, LogStore, LogVote};
use tokio::sync::oneshot;

use super::{Moment, try_crashes};

const LIMITS: LogLimits = LogLimits {
    cache_bytes_max: 1 << 20,
    queue_bytes_max: 1 << 20,
    file_bytes_max: 3_000,
    point_each_bytes: 500,
};
const STEPS: u64 = 60;

/// What the log holds, as far as Raft cares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Model {
    purged: Option<LogPosition>,
    entries: Vec<(LogPosition, Bytes)>,
    vote: Option<LogVote>,
}

#[derive(Debug, Clone)]
enum Change {
    Truncate(Option<LogPosition>),
    Purge(LogPosition),
    Vote(LogVote),
    Append(Vec<(LogPosition, Bytes)>),
}

impl Model {
    fn last(&self) -> Option<LogPosition> {
        self.entries.last().map(|(last, _)| *last).or(self.purged)
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Truncate(last) => {
                let next = last.map_or(0, |last| last.index + 1);
                self.entries.retain(|(position, _)| position.index < next);
            }
            Change::Purge(upto) => {
                self.entries.retain(|(position, _)| position.index > upto.index);
                self.purged = Some(*upto);
            }
            Change::Vote(vote) => self.vote = Some(*vote),
            Change::Append(entries) => self.entries.extend(entries.iter().cloned()),
        }
    }
}

/// The steps of a workload: each ends with a change that is acknowledged as durable.
fn steps(seed: u64) -> Vec<Vec<Change>> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut model, mut term) = (Model::default(), 1);
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        let mut step = Vec::new();
        let mut push = |model: &mut Model, change: Change| {
            model.apply(&change);
            step.push(change);
        };
        if dice.u8(..6) == 0 && !model.entries.is_empty() {
            let keep = dice.usize(..model.entries.len());
            let last = keep.checked_sub(1).map(|at| model.entries[at].0).or(model.purged);
            push(&mut model, Change::Truncate(last));
            term += 1;
        }
        if dice.u8(..6) == 0 && !model.entries.is_empty() {
            let upto = model.entries[dice.usize(..model.entries.len())].0;
            push(&mut model, Change::Purge(upto));
        }
        if dice.u8(..5) == 0 {
            term += 1;
            push(&mut model, Change::Vote(LogVote { term, voted_for: 1, committed: dice.bool() }));
        } else {
            let next = model.last().map_or(0, |last| last.index + 1);
            let entries = (next..next + dice.u64(1..12)).map(|index| {
                let payload = vec![dice.u8(..); dice.usize(..400)];
                (LogPosition { term, leader: 0, index }, Bytes::from(payload))
            });
            let entries = entries.collect();
            push(&mut model, Change::Append(entries));
        }
        steps.push(step);
    }
    steps
}

async fn play(log: &LogStore, change: &Change) {
    match change {
        Change::Truncate(last) => log.truncate_after(*last).unwrap(),
        Change::Purge(upto) => log.purge(*upto).unwrap(),
        Change::Vote(vote) => log.save_vote(*vote).await.unwrap(),
        Change::Append(entries) => {
            let (reply, answered) = oneshot::channel();
            log.append(entries.clone(), Box::new(move |result| drop(reply.send(result)))).await.unwrap();
            answered.await.unwrap().unwrap();
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
#[ignore = "the workload of a recording"]
fn recorded_log() {
    let Some((mut recorder, seed)) = recorded() else { return };
    let log = LogStore::open(&recorder.store(), LIMITS).unwrap();
    runtime().block_on(async {
        for (number, step) in steps(seed).iter().enumerate() {
            recorder.begin(number as u64 + 1);
            for change in step {
                play(&log, change).await;
            }
            recorder.acknowledged(number as u64 + 1);
        }
    });
    // Without the orderly end: what it would still write is no one's business here.
    std::process::exit(0);
}

fn read(log: &LogStore) -> Model {
    let state = log.state();
    let mut next = state.purged.map_or(0, |purged| purged.index + 1);
    let mut entries = Vec::new();
    runtime().block_on(async {
        loop {
            let part = log.read(next..u64::MAX, 1_000).await.unwrap();
            let Some((last, _)) = part.last() else { break };
            next = last.index + 1;
            entries.extend(part);
        }
    });
    let model = Model { purged: state.purged, entries, vote: state.vote };
    assert_eq!(model.last(), state.last);
    model
}

/// All that the log may be after a crash: as the last acknowledged step left it, or in the course of the next one.
fn possible(steps: &[Vec<Change>], moment: Moment) -> Vec<Model> {
    let mut model = Model::default();
    let (sure, open) = steps.split_at(moment.acknowledged as usize);
    sure.iter().flatten().for_each(|change| model.apply(change));
    let mut possible = vec![model.clone()];
    for change in open.iter().take((moment.begun - moment.acknowledged) as usize).flatten() {
        model.apply(change);
        possible.push(model.clone());
    }
    possible
}

/// Opens the log and holds it against what was done.
fn look(dir: &Path, steps: &[Vec<Change>], moment: Moment) -> &'static str {
    let log = match LogStore::open(dir, LIMITS) {
        Ok(log) => log,
        Err(error) => panic!("a crash is no damage: {error}"),
    };
    let found = read(&log);
    let possible = possible(steps, moment);
    assert!(possible.contains(&found), "it is {found:?}, of {possible:?}");
    drop(log);
    // What one start takes for durable, the next one finds.
    assert_eq!(read(&LogStore::open(dir, LIMITS).unwrap()), found);
    if found == possible[0] { "as acknowledged" } else { "further" }
}

#[test]
fn the_log_after_any_crash() {
    for seed in [1, 2] {
        let home = tempfile::tempdir().unwrap();
        let journal = record("log::recorded_log", home.path(), seed);
        let steps = steps(seed);
        try_crashes("log", &journal, seed, 3_000, |dir, moment| look(dir, &steps, moment));
    }
}

#[test]
fn a_log_whose_writes_were_never_synced_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let mut journal = record("log::recorded_log", home.path(), 1);
    // As if the disk, or the log, had only said so.
    journal.changes.retain(|change| !matches!(change, Done::Sync(name) if name.ends_with(".log")));
    let steps = steps(1);
    let tried = std::panic::catch_unwind(|| {
        try_crashes("log", &journal, 1, 3_000, |dir, moment| look(dir, &steps, moment));
    });
    assert!(tried.is_err());
}
