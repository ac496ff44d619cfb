//! Message bodies: after any crash the store opens, each acknowledged body is there, and what it says it has it has.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cluster_tests::crash::{record, recorded};
use pollux::mail::ids::BodyId;
use pollux::store::segments::{Bodies, BodyError, BodyLimits};

use super::{Moment, try_crashes};

const LIMITS: BodyLimits = BodyLimits {
    compaction_bytes_per_s_max: u64::MAX,
    segment_bytes_max: 6_000,
    gathered_body_bytes_max: 2_000,
    queue_bytes_max: 1 << 20,
    body_bytes_max: 100_000,
    grace: Duration::ZERO,
};
const STEPS: u64 = 60;

#[derive(Debug, Clone)]
enum Step {
    Put(Bytes),
    /// The same once more, as after a read that failed.
    PutAnew(Bytes),
    Forget(BodyId),
    Compact,
}

fn steps(seed: u64) -> Vec<Step> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut put: Vec<Bytes> = Vec::new();
    let mut steps = Vec::new();
    for number in 0..STEPS {
        let step = match dice.u8(..10) {
            0..=1 if !put.is_empty() => Step::Forget(BodyId::of(&put.swap_remove(dice.usize(..put.len())))),
            2 => Step::Compact,
            3 if !put.is_empty() => Step::PutAnew(put[dice.usize(..put.len())].clone()),
            _ => {
                let mut bytes = vec![0; if dice.u8(..5) == 0 { 9_000 } else { dice.usize(1..1_500) }];
                dice.fill(&mut bytes);
                bytes[0] = number as u8;
                put.push(bytes.into());
                Step::Put(put[put.len() - 1].clone())
            }
        };
        steps.push(step);
    }
    steps
}

#[test]
#[ignore = "the workload of a recording"]
fn recorded_bodies() {
    let Some((mut recorder, seed)) = recorded() else { return };
    let bodies = Bodies::open(&recorder.store(), LIMITS).unwrap();
    for (number, step) in steps(seed).into_iter().enumerate() {
        recorder.begin(number as u64 + 1);
        match step {
            Step::Put(bytes) => bodies.put(BodyId::of(&bytes), bytes).unwrap(),
            Step::PutAnew(bytes) => bodies.put_anew(BodyId::of(&bytes), bytes).unwrap(),
            Step::Forget(id) => assert_eq!(bodies.forget(&[id]).unwrap(), []),
            Step::Compact => drop(bodies.compact_one().unwrap()),
        }
        recorder.acknowledged(number as u64 + 1);
    }
    std::process::exit(0);
}

/// Opens the store and holds it against what was done. An error is one that it said; what is wrong panics.
fn look(dir: &Path, steps: &[Step], moment: Moment) -> Result<(), BodyError> {
    let bodies = match Bodies::open(dir, LIMITS) {
        Err(error @ BodyError::Io(_)) => return Err(error),
        opened => opened.unwrap(),
    };
    let get = |id| match bodies.get(id) {
        Err(error @ BodyError::Io(_)) => Err(error),
        found => Ok(found.unwrap()),
    };
    let forgotten: BTreeSet<_> = steps[..moment.begun as usize]
        .iter()
        .filter_map(|step| if let Step::Forget(id) = step { Some(*id) } else { None })
        .collect();
    for step in &steps[..moment.acknowledged as usize] {
        let Step::Put(bytes) = step else { continue };
        let id = BodyId::of(bytes);
        // Forgetting is not durable by itself: such a body may be there again.
        if !forgotten.contains(&id) {
            assert_eq!(get(id)?.as_ref(), Some(bytes), "acknowledged");
        }
    }
    // A body that it says it has would not be written again when it is placed.
    let ids = bodies.ids_after(None, 10_000)?;
    for id in &ids {
        assert!(get(*id)?.is_some(), "{id} is in the index alone");
    }
    assert_eq!(bodies.count(), ids.len() as u64);
    Ok(())
}

#[test]
fn the_bodies_after_any_crash() {
    for seed in [1, 2] {
        let home = tempfile::tempdir().unwrap();
        let journal = record("bodies::recorded_bodies", home.path(), seed);
        let steps = steps(seed);
        let check = |dir: &Path, moment: Moment| {
            if look(dir, &steps, moment).is_ok() {
                return "all there";
            }
            // Its index is a cache of the segments: found damaged, it is built anew at the next start.
            look(dir, &steps, moment).expect("the index is built anew");
            "all there, the index built anew"
        };
        try_crashes("bodies", &journal, seed, 800, check);
    }
}
