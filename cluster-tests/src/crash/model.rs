//! What a disk may hold when the power goes: what was synced, and of the rest whatever chance left.
//!
//! A file's content is durable by a sync of the file, a name by a sync of its folder. Between syncs a write may be
//! kept, lost, or kept in some of its sectors; the names of one folder change in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::journal::Change;

const SECTOR_BYTES: usize = 512;

/// A crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies: the kernel has all that was written.
    Killed,
    /// The process dies within its last write.
    Torn,
    /// The power goes; only what was synced is there.
    NothingElse,
    /// The power goes; of the rest, some writes are there, whole.
    SomeWrites,
    /// The power goes; of the rest, some sectors are there.
    SomeSectors,
}

impl Crash {
    pub const ALL: [Crash; 5] =
        [Crash::Killed, Crash::Torn, Crash::NothingElse, Crash::SomeWrites, Crash::SomeSectors];
}

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone, Copy)]
enum Inode {
    File(usize),
    Folder,
}

#[derive(Debug, Clone)]
enum NameChange {
    Add(String, Inode),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    /// The folder above is called `to` from now on.
    fn move_to(&mut self, from: &str, to: &str) {
        let move_one = |name: &mut String| {
            if let Some(new) = moved(name, from, to) {
                *name = new;
            }
        };
        match self {
            NameChange::Add(name, _) | NameChange::Remove(name) => move_one(name),
            NameChange::Rename(old, new) => [old, new].into_iter().for_each(move_one),
        }
    }
}

/// What `name` is called once `from` is `to`; `None`: it is neither that nor in it.
fn moved(name: &str, from: &str, to: &str) -> Option<String> {
    let below = name.strip_prefix(from)?;
    (below.is_empty() || below.starts_with('/')).then(|| format!("{to}{below}"))
}

/// The disk after some changes.
#[derive(Default)]
pub struct Disk {
    contents: Vec<Content>,
    names: BTreeMap<String, Inode>,
    durable_names: BTreeMap<String, Inode>,
    /// Not yet durable, for each folder.
    pending_names: BTreeMap<String, Vec<NameChange>>,
    /// The file that the last change wrote to.
    last_written: Option<usize>,
}

impl Disk {
    /// A disk with an empty folder, durably.
    pub fn with_folder(name: &str) -> Disk {
        let mut disk = Disk::default();
        disk.names.insert(name.to_owned(), Inode::Folder);
        disk.durable_names = disk.names.clone();
        disk
    }

    /// All that is below `folder`, durably; the folder itself has the empty name.
    pub fn of(folder: &Path) -> Disk {
        let mut disk = Disk::with_folder("");
        disk.take_in(folder, "");
        disk.durable_names = disk.names.clone();
        disk
    }

    fn take_in(&mut self, folder: &Path, below: &str) {
        for entry in fs::read_dir(folder).expect("the folder is ours").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("the folder is ours"));
            let name = entry.file_name().into_string().expect("names are text");
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            if kind.is_dir() {
                self.names.insert(name.clone(), Inode::Folder);
                self.take_in(&path, &name);
            } else if kind.is_file() {
                let durable = fs::read(&path).expect("the folder is ours");
                self.contents.push(Content { durable, pending: Vec::new() });
                self.names.insert(name, Inode::File(self.contents.len() - 1));
            }
        }
    }

    /// Files that are not as the kernel has them below `folder`.
    pub fn differences(&self, folder: &Path) -> Vec<String> {
        let (mut dice, real) = (fastrand::Rng::with_seed(0), Disk::of(folder));
        let mut content = |disk: &Disk, name: &String| match disk.names.get(name) {
            Some(Inode::File(at)) => Some(disk.content_after(*at, Crash::Killed, &mut dice)),
            _ => None,
        };
        let names: BTreeSet<&String> = self.names.keys().chain(real.names.keys()).collect();
        names.into_iter().filter(|name| content(self, name) != content(&real, name)).cloned().collect()
    }

    pub fn apply(&mut self, change: &Change) {
        self.last_written = None;
        match change {
            Change::Create(name) if !self.names.contains_key(name) => {
                self.contents.push(Content::default());
                self.rename(name, NameChange::Add(name.clone(), Inode::File(self.contents.len() - 1)));
            }
            Change::Create(_) | Change::Begun(_) | Change::Acknowledged(_) => {}
            Change::Folder(name) => self.rename(name, NameChange::Add(name.clone(), Inode::Folder)),
            Change::Rename { from, to } => {
                self.rename(to, NameChange::Rename(from.clone(), to.clone()));
            }
            Change::Remove(name) => self.rename(name, NameChange::Remove(name.clone())),
            Change::Write { name, at, bytes } => {
                self.last_written = self.file(name);
                self.note(name, Pending::Write(*at, bytes.clone()));
            }
            Change::Length { name, length } => self.note(name, Pending::Length(*length)),
            Change::Sync(name) => self.sync(name),
        }
    }

    fn file(&self, name: &str) -> Option<usize> {
        match self.names.get(name) {
            Some(Inode::File(at)) => Some(*at),
            _ => None,
        }
    }

    /// A file that was removed while it was open is nobody's any more.
    fn note(&mut self, name: &str, pending: Pending) {
        if let Some(at) = self.file(name) {
            self.contents[at].pending.push(pending);
        }
    }

    fn rename(&mut self, name: &str, change: NameChange) {
        if let NameChange::Rename(from, to) = &change
            && matches!(self.names.get(from), Some(Inode::Folder))
        {
            // What is not yet durable in it goes with it.
            let pending = std::mem::take(&mut self.pending_names);
            for (folder, mut changes) in pending {
                let new = moved(&folder, from, to);
                if new.is_some() {
                    changes.iter_mut().for_each(|change| change.move_to(from, to));
                }
                self.pending_names.insert(new.unwrap_or(folder), changes);
            }
        }
        apply_name(&mut self.names, &change);
        self.pending_names.entry(folder_of(name).to_owned()).or_default().push(change);
    }

    fn sync(&mut self, name: &str) {
        match self.names.get(name) {
            Some(Inode::File(at)) => {
                let content = &mut self.contents[*at];
                for pending in std::mem::take(&mut content.pending) {
                    apply_pending(&mut content.durable, &pending);
                }
            }
            Some(Inode::Folder) => {
                for change in self.pending_names.remove(name).unwrap_or_default() {
                    apply_name(&mut self.durable_names, &change);
                }
            }
            None => {}
        }
    }

    /// Whether this crash can leave anything else than that the process was killed.
    pub fn differs(&self, crash: Crash) -> bool {
        match crash {
            Crash::Killed => true,
            Crash::Torn => self.last_written.is_some(),
            Crash::NothingElse | Crash::SomeWrites | Crash::SomeSectors => {
                let files = self.names.values().filter_map(|inode| match inode {
                    Inode::File(at) => Some(&self.contents[*at]),
                    Inode::Folder => None,
                });
                files.into_iter().any(|content| !content.pending.is_empty()) || !self.pending_names.is_empty()
            }
        }
    }

    /// Lays out below `to` what such a crash leaves.
    pub fn lay_out(&self, to: &Path, crash: Crash, dice: &mut fastrand::Rng) {
        let names = self.names_after(crash, dice);
        let folders: BTreeSet<&str> = names
            .iter()
            .filter(|(_, inode)| matches!(inode, Inode::Folder))
            .map(|(name, _)| name.as_str())
            .collect();
        for (name, inode) in &names {
            let above = folder_of(name);
            // A folder that was lost takes with it what was in it.
            if !above.is_empty() && !folders.contains(above) {
                continue;
            }
            let path = to.join(name);
            match inode {
                Inode::Folder => fs::create_dir_all(path).expect("the folder is ours"),
                Inode::File(at) => {
                    let bytes = self.content_after(*at, crash, dice);
                    if path.parent().is_some_and(Path::is_dir) {
                        fs::write(path, bytes).expect("the folder is ours");
                    }
                }
            }
        }
    }

    fn names_after(&self, crash: Crash, dice: &mut fastrand::Rng) -> BTreeMap<String, Inode> {
        if matches!(crash, Crash::Killed | Crash::Torn) {
            return self.names.clone();
        }
        let mut names = self.durable_names.clone();
        for pending in self.pending_names.values() {
            let kept = if crash == Crash::NothingElse { 0 } else { dice.usize(..=pending.len()) };
            pending[..kept].iter().for_each(|change| apply_name(&mut names, change));
        }
        names
    }

    fn content_after(&self, at: usize, crash: Crash, dice: &mut fastrand::Rng) -> Vec<u8> {
        let content = &self.contents[at];
        let mut bytes = content.durable.clone();
        let last = content.pending.len().saturating_sub(1);
        for (number, pending) in content.pending.iter().enumerate() {
            match (crash, pending) {
                (Crash::Torn, Pending::Write(from, written))
                    if self.last_written == Some(at) && number == last =>
                {
                    let part = written[..dice.usize(..written.len())].to_vec();
                    apply_pending(&mut bytes, &Pending::Write(*from, part));
                }
                (Crash::Killed | Crash::Torn, pending) => apply_pending(&mut bytes, pending),
                (Crash::NothingElse, _) => {}
                (Crash::SomeSectors, Pending::Write(from, written)) => {
                    keep_sectors(&mut bytes, *from as usize, written, dice);
                }
                (Crash::SomeWrites | Crash::SomeSectors, pending) if dice.bool() => {
                    apply_pending(&mut bytes, pending)
                }
                (Crash::SomeWrites | Crash::SomeSectors, _) => {}
            }
        }
        bytes
    }
}

/// Each sector of a write comes or does not; the file may have grown all the same, by zeros.
fn keep_sectors(bytes: &mut Vec<u8>, from: usize, written: &[u8], dice: &mut fastrand::Rng) {
    let end = from + written.len();
    let grown = if dice.bool() { end } else { from + dice.usize(..=written.len()) };
    if bytes.len() < grown {
        bytes.resize(grown, 0);
    }
    let mut at = from;
    while at < end {
        let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end).min(bytes.len());
        if next <= at {
            break;
        }
        if dice.bool() {
            bytes[at..next].copy_from_slice(&written[at - from..next - from]);
        }
        at = next;
    }
}

fn apply_pending(bytes: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Write(at, written) => {
            let (from, end) = (*at as usize, *at as usize + written.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[from..end].copy_from_slice(written);
        }
        Pending::Length(length) => bytes.resize(*length as usize, 0),
    }
}

fn apply_name(names: &mut BTreeMap<String, Inode>, change: &NameChange) {
    match change {
        NameChange::Add(name, inode) => drop(names.insert(name.clone(), *inode)),
        NameChange::Rename(from, to) => {
            let all: Vec<String> =
                names.keys().filter(|name| moved(name, from, to).is_some()).cloned().collect();
            for name in all {
                if let (Some(inode), Some(new)) = (names.remove(&name), moved(&name, from, to)) {
                    names.insert(new, inode);
                }
            }
        }
        NameChange::Remove(name) => drop(names.remove(name)),
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[Change], crash: Crash, seed: u64) -> BTreeMap<String, Vec<u8>> {
        let mut disk = Disk::with_folder("store");
        changes.iter().for_each(|change| disk.apply(change));
        let home = tempfile::tempdir().expect("a temporary folder");
        disk.lay_out(home.path(), crash, &mut fastrand::Rng::with_seed(seed));
        let entries = fs::read_dir(home.path().join("store")).expect("the folder is durable");
        let read = |path: std::path::PathBuf| fs::read(path).expect("a file");
        entries
            .flatten()
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(entry.path())))
            .collect()
    }

    #[test]
    fn only_what_was_synced_is_sure_and_the_rest_is_left_to_chance() {
        let name = || "store/a".to_owned();
        let write = |at: u64, bytes: &[u8]| Change::Write { name: name(), at, bytes: bytes.to_vec() };
        let mut changes = vec![Change::Create(name()), write(0, b"one"), Change::Sync(name())];
        let unnamed = after(&changes, Crash::NothingElse, 1);
        assert!(unnamed.is_empty(), "the folder was not synced");
        changes.extend([Change::Sync("store".into()), write(3, &[b'2'; 2_000])]);
        let content = |crash, seed| after(&changes, crash, seed)["a"].clone();
        assert_eq!(content(Crash::NothingElse, 1), b"one");
        assert_eq!(content(Crash::Killed, 1).len(), 2_003);
        let (mut torn, mut writes, mut sectors) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for seed in 0..40 {
            torn.insert(content(Crash::Torn, seed).len());
            writes.insert(content(Crash::SomeWrites, seed).len());
            let some = content(Crash::SomeSectors, seed);
            assert!(some.starts_with(b"one"));
            sectors.insert(some);
        }
        assert!(torn.len() > 20 && !torn.contains(&2_003));
        assert_eq!(writes, BTreeSet::from([3, 2_003]));
        assert!(sectors.iter().any(|bytes| bytes.len() == 2_003 && bytes.contains(&0)), "a hole");
    }

    #[test]
    fn a_folder_is_moved_with_what_is_in_it() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| home.path().join(name);
        fs::create_dir(path("old")).expect("the folder is ours");
        fs::write(path("old/a"), "a").expect("the folder is ours");
        let mut disk = Disk::of(home.path());
        let (from, to) = ("old".to_owned(), "new".to_owned());
        disk.apply(&Change::Create("old/b".to_owned()));
        disk.apply(&Change::Rename { from, to });
        assert_eq!(disk.differences(home.path()), ["new/a", "new/b", "old/a"]);
        fs::rename(path("old"), path("new")).expect("the folder is ours");
        assert_eq!(disk.differences(home.path()), ["new/b"]);
        fs::write(path("new/b"), "").expect("the folder is ours");
        assert!(disk.differences(home.path()).is_empty());
        let left = |disk: &Disk, crash| {
            let to = tempfile::tempdir().expect("a temporary folder");
            disk.lay_out(to.path(), crash, &mut fastrand::Rng::with_seed(1));
            Disk::of(to.path()).names.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(left(&disk, Crash::NothingElse), ["", "old", "old/a"]);
        disk.apply(&Change::Sync(String::new()));
        assert_eq!(left(&disk, Crash::NothingElse), ["", "new", "new/a"]);
        disk.apply(&Change::Sync("new".to_owned()));
        assert_eq!(left(&disk, Crash::NothingElse), ["", "new", "new/a", "new/b"]);
    }

    #[test]
    fn the_names_of_a_folder_change_in_order() {
        let create = |name: &str| Change::Create(name.to_owned());
        let moved = Change::Rename { from: "store/b".into(), to: "store/c".into() };
        let changes = [create("store/a"), create("store/b"), moved, Change::Remove("store/a".into())];
        let mut seen = BTreeSet::new();
        for seed in 0..60 {
            seen.insert(after(&changes, Crash::SomeWrites, seed).into_keys().collect::<Vec<_>>().join(" "));
        }
        let possible = ["", "a", "a b", "a c", "c"].map(str::to_owned);
        assert_eq!(seen, BTreeSet::from(possible));
    }
}
