//! The store crashes at every write: killed, torn, or cut off from its power with any part of what was not synced.
//!
//! Each part runs a seeded workload of its own under the disk shim, in a process of its own; then every prefix of what it
//! wrote is laid out as the disk may have it after a crash there, and opened. What was acknowledged is there, or the
//! part says that it is damaged. Nothing else is ever an answer. `POLLUX_CRASH_EFFORT=20` tries twenty times as many.

// All of this is a test, also what stands outside its functions.
#![allow(clippy::unwrap_used)]

mod bodies;
mod log;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use cluster_tests::crash::effort;
use cluster_tests::crash::journal::{Change, Journal};
use cluster_tests::crash::model::{Crash, Disk};

/// How far the workload was when it crashed.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Steps up to this were acknowledged.
    pub acknowledged: u64,
    /// Steps up to this may have begun.
    pub begun: u64,
}

/// Tries `usual` crashes of a journal, spread evenly over its prefixes, and every kind at each of them. `check` opens
/// the store and says in a word what it found; it panics where that is wrong.
pub fn try_crashes(
    part: &str,
    journal: &Journal,
    seed: u64,
    usual: usize,
    check: impl Fn(&Path, Moment) -> &'static str,
) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut disk = Disk::with_folder("store");
    let mut moment = Moment { acknowledged: 0, begun: 0 };
    let kinds = Crash::ALL.len();
    let (prefixes, wanted) = (journal.changes.len(), effort(usual));
    let rounds = (wanted / (prefixes * kinds)).max(1);
    let chance = (wanted as f64 / (prefixes * kinds) as f64).min(1.0);
    let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (at, change) in journal.changes.iter().enumerate() {
        disk.apply(change);
        match change {
            Change::Begun(number) => moment.begun = *number,
            Change::Acknowledged(number) => moment.acknowledged = *number,
            _ => {}
        }
        for crash in Crash::ALL.into_iter().filter(|crash| disk.differs(*crash)) {
            // Two kinds leave nothing to chance: more rounds of them would be the same again.
            let rounds = if matches!(crash, Crash::Killed | Crash::NothingElse) { 1 } else { rounds };
            for _ in 0..rounds {
                if dice.f64() >= chance {
                    continue;
                }
                let state = dice.u64(..);
                let home = tempfile::tempdir_in(memory()).expect("a temporary folder");
                disk.lay_out(home.path(), crash, &mut fastrand::Rng::with_seed(state));
                let described = format!(
                    "{part}: seed {seed}, after change {at} ({}), {crash:?}, dice {state}",
                    shown(change)
                );
                let word = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    check(&home.path().join("store"), moment)
                }));
                let word = word.unwrap_or_else(|_| panic!("{described}, {moment:?}: see above"));
                *found.entry(word).or_default() += 1;
            }
        }
    }
    let tried: usize = found.values().sum();
    println!("{part}: seed {seed}: {tried} crashes over {prefixes} changes tried: {found:?}");
    assert!(tried > 0);
}

/// Syncs cost nothing there.
fn memory() -> std::path::PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

fn shown(change: &Change) -> String {
    match change {
        Change::Write { name, at, bytes } => format!("write of {} at {at} of {name}", bytes.len()),
        other => format!("{other:?}"),
    }
}
