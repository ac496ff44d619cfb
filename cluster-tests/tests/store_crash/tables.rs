//! The rows: after any crash they are as some batch since the last sync left them, or they are said to be damaged, and
//! can be set aside. Never anything in between: they are a cache, and a wrong one is worse than none.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use cluster_tests::crash::{record, recorded};
use pollux::state::rows::{Batch, Rows};
use pollux::store::tables::{Tables, TablesError};

use super::{Moment, try_crashes};

const STEPS: u64 = 50;
const BATCHES_PER_STEP: usize = 4;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Each step is some batches and then a sync, which is what is acknowledged.
fn steps(seed: u64) -> Vec<Vec<Batch>> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut row = |number: u64| {
        let key = format!("key {:03}", dice.u16(..200)).into_bytes();
        let value = (dice.u8(..4) > 0).then(|| vec![number as u8; dice.usize(..2_000)]);
        (key, value)
    };
    let mut batch = |number| -> Batch { (0..1 + number % 9).map(|_| row(number)).collect() };
    (0..STEPS).map(|step| (0..BATCHES_PER_STEP as u64).map(|at| batch(step * 4 + at)).collect()).collect()
}

fn apply(rows: &mut Map, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => drop(rows.insert(key.clone(), value.clone())),
            None => drop(rows.remove(key)),
        }
    }
}

#[test]
#[ignore = "the workload of a recording"]
fn recorded_tables() {
    let Some((mut recorder, seed)) = recorded() else { return };
    let tables = Tables::open(&recorder.store()).unwrap();
    for (number, step) in steps(seed).into_iter().enumerate() {
        recorder.begin(number as u64 + 1);
        step.into_iter().for_each(|batch| tables.write(batch).unwrap());
        tables.sync().unwrap();
        recorder.acknowledged(number as u64 + 1);
    }
    std::process::exit(0);
}

fn read(tables: &Tables) -> Result<Map, String> {
    let mut rows = Map::new();
    tables
        .scan(b"", b"l", &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })
        .map_err(|error| error.to_string())?;
    Ok(rows)
}

/// Whether the rows are as some batch that was begun, and no earlier than the last sync, left them.
fn is_possible(steps: &[Vec<Batch>], moment: Moment, found: &Map) -> bool {
    let mut rows = Map::new();
    let (sure, open) = steps[..moment.begun as usize].split_at(moment.acknowledged as usize);
    sure.iter().flatten().for_each(|batch| apply(&mut rows, batch));
    rows == *found
        || open.iter().flatten().any(|batch| {
            apply(&mut rows, batch);
            rows == *found
        })
}

#[test]
fn the_rows_after_any_crash() {
    for seed in [1, 2] {
        let home = tempfile::tempdir().unwrap();
        let journal = record("tables::recorded_tables", home.path(), seed);
        let steps = steps(seed);
        let check = |dir: &Path, moment: Moment| {
            let tables = match Tables::open(dir) {
                Ok(tables) => tables,
                Err(TablesError::Damaged(_)) => {
                    Tables::set_aside(dir).unwrap();
                    assert!(read(&Tables::open(dir).unwrap()).unwrap().is_empty());
                    return "damaged, said at the start";
                }
                Err(error) => panic!("{error}"),
            };
            match read(&tables) {
                Ok(found) => {
                    let acknowledged = moment.acknowledged;
                    assert!(
                        is_possible(&steps, moment, &found),
                        "wrong rows, and not a word; sync {acknowledged}"
                    );
                    "as they were"
                }
                Err(_) => {
                    assert!(tables.damage().is_some());
                    "damaged, said by a read"
                }
            }
        };
        try_crashes("tables", &journal, seed, 500, check);
    }
}
