//! Crashes of a store, tried without a power switch: a workload runs under the disk shim, which writes down every
//! change it makes; the changes are then replayed to any point, cut, torn and reordered as a disk may do between
//! syncs, and the store is opened on what that leaves.
//!
//! [`journal`] reads what was written down, [`model`] says what a disk may hold at a point of it, [`power`] does it to whole nodes.

pub mod journal;
pub mod model;
pub mod power;

use std::path::Path;
use std::process::Command;

use self::journal::Journal;
use crate::disk::shim;

/// Runs the ignored test `name` of the present test binary under the shim, as a process of its own, and returns what
/// it did below `folder`/store. The test finds `folder` in `FOLDER`.
pub fn record(name: &str, folder: &Path, seed: u64) -> Journal {
    let folder = folder.canonicalize().expect("the folder is there");
    let journal = folder.with_extension("journal");
    std::fs::create_dir(folder.join("store")).expect("the folder is ours");
    let output = Command::new(std::env::current_exe().expect("a test knows its own path"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("LD_PRELOAD", shim())
        .env("POLLUX_DISK_FOLDER", &folder)
        .env("POLLUX_DISK_JOURNAL", &journal)
        .env(FOLDER, &folder)
        .env(SEED, seed.to_string())
        .output()
        .expect("the test binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the workload {name} failed: {said}");
    let bytes = std::fs::read(&journal).expect("the shim wrote a journal");
    std::fs::remove_file(&journal).expect("the journal is ours");
    Journal::parse(&bytes)
}

const FOLDER: &str = "POLLUX_CRASH_FOLDER";
const SEED: &str = "POLLUX_CRASH_SEED";

/// In the workload: where it works, and its seed. `None`: nobody records.
pub fn recorded() -> Option<(Recorder, u64)> {
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER)?);
    let seed = std::env::var(SEED).ok()?.parse().ok()?;
    let marks = std::fs::File::create(folder.join(journal::MARKS)).expect("the folder is ours");
    Some((Recorder { folder, marks }, seed))
}

/// The workload's own words in the journal.
pub struct Recorder {
    folder: std::path::PathBuf,
    marks: std::fs::File,
}

impl Recorder {
    pub fn store(&self) -> std::path::PathBuf {
        self.folder.join("store")
    }

    /// Step `number` begins: its changes may be on the disk from here on.
    pub fn begin(&mut self, number: u64) {
        self.mark(number, 0);
    }

    /// Step `number` was acknowledged as durable.
    pub fn acknowledged(&mut self, number: u64) {
        self.mark(number, 1);
    }

    fn mark(&mut self, number: u64, kind: u8) {
        use std::io::Write;
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.push(kind);
        self.marks.write_all(&bytes).expect("the folder is ours");
    }
}

/// How many states to try: `usual`, or as many times more as `POLLUX_CRASH_EFFORT` says (for long runs).
pub fn effort(usual: usize) -> usize {
    let times = std::env::var("POLLUX_CRASH_EFFORT").ok().and_then(|times| times.parse().ok());
    usual * times.unwrap_or(1usize)
}
