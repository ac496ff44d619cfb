//! A node's disk that can be slow, hang or fail while the node runs: the test's side of `shim/disk.c`.
//!
//! The shim is built with `cc` when it is first needed, beside the binary under test, and loaded into the node's
//! process alone. It acts on files below the node's folder; faults take effect at the next call and end with
//! [`Disk::heal`], also for calls that hang. What a fault hits can be waited for with [`Disk::hits`].

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The disk cannot read or write a block.
pub const EIO: i32 = 5;
/// The disk is full.
pub const ENOSPC: i32 = 28;

/// Calls of the process, together or apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls(u32);

impl Calls {
    pub const READ: Calls = Calls(1);
    /// Also making a file and changing its length.
    pub const WRITE: Calls = Calls(2);
    pub const SYNC: Calls = Calls(4);

    pub const fn and(self, other: Calls) -> Calls {
        Calls(self.0 | other.0)
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It takes this much longer.
    SlowMs(u32),
    /// It does not return before the faults change.
    Hang,
    /// It fails with this errno and does nothing.
    Fail(i32),
}

/// One rule for the disk. The first rules are met first; slow ones add up.
#[derive(Debug, Clone, Copy)]
pub struct DiskFault<'a> {
    pub calls: Calls,
    pub effect: Effect,
    /// Part of the path below the node's folder ("raft/", "tables/", "bodies/", ".seg"); "": every file.
    pub within: &'a str,
    /// Of a million such calls, how many it hits.
    pub per_million: u32,
    /// Decides which.
    pub seed: u64,
}

impl<'a> DiskFault<'a> {
    /// Each of `calls` on any file.
    pub const fn every(calls: Calls, effect: Effect) -> DiskFault<'a> {
        DiskFault { calls, effect, within: "", per_million: 1_000_000, seed: 0 }
    }

    /// Each of `calls` on files with `within` in their path.
    pub const fn within(calls: Calls, effect: Effect, within: &'a str) -> DiskFault<'a> {
        DiskFault { within, ..Self::every(calls, effect) }
    }
}

const MAGIC: u32 = 0x506c_5844;
const HEADER_BYTES: usize = 32;
const RULE_BYTES: usize = 128;
const RULES_MAX: usize = 16;
const WITHIN_BYTES_MAX: usize = 80;
const SEQUENCE_AT: u64 = 4;
const RULES_AT: u64 = 8;
const HITS_AT: u64 = 16;

/// The control block that a node's shim maps.
pub struct Disk {
    file: File,
    path: PathBuf,
    /// Rules in force, and the sequence they were written under.
    state: Mutex<(usize, u32)>,
}

impl Disk {
    /// Makes the control block at `path`, without a fault.
    pub fn new(path: &Path) -> Disk {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let disk = Disk {
            file: file.expect("the control block can be made"),
            path: path.to_owned(),
            state: (0, 2).into(),
        };
        let mut block = vec![0; HEADER_BYTES + RULES_MAX * RULE_BYTES];
        block[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        block[4..8].copy_from_slice(&2u32.to_ne_bytes());
        disk.write(0, &block);
        disk
    }

    /// Adds a fault to those in force.
    pub fn inflict(&self, fault: DiskFault<'_>) {
        assert!(fault.within.len() < WITHIN_BYTES_MAX, "{} is too long", fault.within);
        self.change(|count| {
            assert!(*count < RULES_MAX, "a disk has at most {RULES_MAX} faults at a time");
            self.write((HEADER_BYTES + *count * RULE_BYTES) as u64, &encode(&fault));
            *count += 1;
        });
    }

    /// The disk is well again; calls that hang go on.
    pub fn heal(&self) {
        self.change(|count| *count = 0);
    }

    pub fn slow_sync(&self, ms: u32) {
        self.inflict(DiskFault::every(Calls::SYNC, Effect::SlowMs(ms)));
    }

    pub fn slow_read(&self, ms: u32) {
        self.inflict(DiskFault::every(Calls::READ, Effect::SlowMs(ms)));
    }

    pub fn hang_sync(&self) {
        self.inflict(DiskFault::every(Calls::SYNC, Effect::Hang));
    }

    /// Nothing is written or synced any longer; reads are served from memory, as by a kernel whose disk hangs.
    pub fn hang(&self) {
        self.inflict(DiskFault::every(Calls::SYNC.and(Calls::WRITE), Effect::Hang));
    }

    pub fn fail_sync(&self, errno: i32) {
        self.inflict(DiskFault::every(Calls::SYNC, Effect::Fail(errno)));
    }

    pub fn fail_write(&self, errno: i32) {
        self.inflict(DiskFault::every(Calls::WRITE, Effect::Fail(errno)));
    }

    pub fn fail_read(&self, errno: i32, within: &str) {
        self.inflict(DiskFault::within(Calls::READ, Effect::Fail(errno), within));
    }

    /// Calls that a fault has touched since the disk was made.
    pub fn hits(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, HITS_AT).expect("the control block is ours");
        u64::from_ne_bytes(bytes)
    }

    /// The variables that load the shim into a process, for files below `folder`.
    pub fn environment(&self, folder: &Path) -> [(String, String); 2] {
        let real = |path: &Path| {
            let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
            let name = path.file_name().expect("the path has a name");
            parent.expect("the folder above is there").join(name).display().to_string()
        };
        [("POLLUX_DISK_CONTROL".into(), real(&self.path)), ("POLLUX_DISK_FOLDER".into(), real(folder))]
    }

    /// Changes the rules so that the shim sees them before or after, never half.
    fn change(&self, change: impl FnOnce(&mut usize)) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let (count, sequence) = &mut *state;
        self.write(SEQUENCE_AT, &(*sequence + 1).to_ne_bytes());
        change(count);
        self.write(RULES_AT, &(*count as u32).to_ne_bytes());
        *sequence += 2;
        self.write(SEQUENCE_AT, &sequence.to_ne_bytes());
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).expect("the control block is ours");
    }
}

fn encode(fault: &DiskFault<'_>) -> Vec<u8> {
    let (action, argument) = match fault.effect {
        Effect::SlowMs(ms) => (1u32, ms),
        Effect::Hang => (2, 0),
        Effect::Fail(errno) => (3, errno as u32),
    };
    let mut rule = Vec::with_capacity(RULE_BYTES);
    for word in [fault.calls.0, action, argument, fault.per_million] {
        rule.extend(word.to_ne_bytes());
    }
    rule.extend(fault.seed.to_ne_bytes());
    // What the shim has seen and hit.
    rule.extend([0; 16]);
    rule.extend(fault.within.as_bytes());
    rule.resize(RULE_BYTES, 0);
    rule
}

/// All that is in a stopped node's folder, to where nothing is yet.
pub fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp is there");
    assert!(status.success(), "the folder is copied");
}

/// The shim as a library, built if need be. Its name follows from its source, so that an old one is never used.
pub fn shim() -> PathBuf {
    const SOURCE: &str = include_str!("../shim/disk.c");
    let hash = SOURCE
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let test = std::env::current_exe().expect("a test knows its own path");
    let dir = test.parent().expect("tests lie in target/PROFILE/deps");
    let library = dir.join(format!("pollux-disk-{hash:016x}.so"));
    if library.exists() {
        return library;
    }
    let unfinished = |ending: &str| library.with_extension(format!("{}.{ending}", std::process::id()));
    let (source, built) = (unfinished("c"), unfinished("so"));
    fs::write(&source, SOURCE).expect("the target folder can be written");
    let flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o"];
    let status = Command::new("cc").args(flags).arg(&built).arg(&source).status().expect("cc is installed");
    assert!(status.success(), "the disk shim does not build");
    fs::rename(&built, &library).expect("the target folder can be written");
    fs::remove_file(&source).expect("the target folder can be written");
    library
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Stdio};

    use super::*;
    use crate::wait::eventually;

    /// A folder, its disk, and `dd` under the shim: a program that reads, writes and syncs once each.
    struct Bench {
        home: tempfile::TempDir,
        disk: Disk,
    }

    impl Bench {
        fn new() -> Bench {
            let home = tempfile::tempdir().expect("a temporary folder");
            fs::create_dir(home.path().join("node")).expect("the folder is ours");
            let disk = Disk::new(&home.path().join("node.disk"));
            Bench { home, disk }
        }

        fn copy(&self, from: &str, to: &str) -> Child {
            let path = |name: &str| self.home.path().join(name).display().to_string();
            Command::new("dd")
                .args([format!("if={}", path(from)), format!("of={}", path(to)), "conv=fdatasync".into()])
                .env("LD_PRELOAD", shim())
                .envs(self.disk.environment(&self.home.path().join("node")))
                .stderr(Stdio::null())
                .spawn()
                .expect("dd is there")
        }

        fn works(&self, from: &str, to: &str) -> bool {
            self.copy(from, to).wait().expect("dd is ours").success()
        }
    }

    #[test]
    fn each_kind_of_call_fails_below_the_folder_alone_until_it_is_healed() {
        let bench = Bench::new();
        fs::write(bench.home.path().join("outside"), "text").expect("the folder is ours");
        fs::write(bench.home.path().join("node/inside"), "text").expect("the folder is ours");
        assert!(bench.works("node/inside", "node/copy"));
        for calls in [Calls::READ, Calls::WRITE, Calls::SYNC] {
            bench.disk.inflict(DiskFault::every(calls, Effect::Fail(EIO)));
            let hits = bench.disk.hits();
            assert!(bench.works("outside", "other"), "outside the folder");
            assert_eq!(bench.disk.hits(), hits);
            let outcome = (bench.works("node/inside", "other"), bench.works("outside", "node/copy"));
            assert_eq!(outcome, (calls != Calls::READ, calls == Calls::READ), "{calls:?}");
            assert!(bench.disk.hits() > hits);
            bench.disk.heal();
            assert!(bench.works("node/inside", "node/copy"));
        }
        bench.disk.fail_read(EIO, "ins");
        assert!(!bench.works("node/inside", "other") && bench.works("node/copy", "other"));
    }

    #[test]
    fn what_hangs_goes_on_when_the_disk_is_healed() {
        let bench = Bench::new();
        fs::write(bench.home.path().join("outside"), "text").expect("the folder is ours");
        bench.disk.hang_sync();
        let mut copy = bench.copy("outside", "node/copy");
        eventually("the sync hangs", || (bench.disk.hits() > 0).then_some(()));
        assert!(copy.try_wait().expect("dd is ours").is_none());
        bench.disk.heal();
        assert!(copy.wait().expect("dd is ours").success());
    }

    #[test]
    fn chance_is_seeded() {
        let bench = Bench::new();
        fs::write(bench.home.path().join("outside"), "text").expect("the folder is ours");
        let runs = |seed| {
            bench.disk.heal();
            bench.disk.inflict(DiskFault {
                per_million: 500_000,
                seed,
                ..DiskFault::every(Calls::SYNC, Effect::Fail(EIO))
            });
            (0..24).map(|_| bench.works("outside", "node/copy")).collect::<Vec<_>>()
        };
        let (first, again, other) = (runs(1), runs(1), runs(2));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(first.contains(&true) && first.contains(&false));
    }
}
