//! A box whose power goes: its node is killed, and its folder is what its disk may hold then.

use std::fs;
use std::path::{Path, PathBuf};

use super::journal::Journal;
use super::model::{Crash, Disk};
use crate::disk::copy_folder;
use crate::node::Node;

/// The kernel may have had a call that the killed process could not write down any longer.
const UNTOLD_MAX: usize = 1;

/// From its next start on, what the node does to its folder is written down; [`Node::disk`] can be made to fail, too.
pub fn record(node: &mut Node) {
    node.enable_disk_faults();
    node.environment.push(("POLLUX_DISK_JOURNAL".into(), journal(node).display().to_string()));
}

/// What is in the folder now is durable. To be called before each start.
pub fn is_durable(node: &Node) {
    let base = base(node);
    let _ = fs::remove_dir_all(&base);
    copy_folder(&node.dir, &base);
    let _ = fs::remove_file(journal(node));
}

/// Of what was not synced, all may be lost, or some writes, or some sectors: `dice` say which.
pub fn cut(node: &mut Node, dice: &mut fastrand::Rng) {
    node.kill();
    let bytes = fs::read(journal(node)).expect("the shim wrote a journal");
    let (Journal { changes }, _) = Journal::parse_killed(&bytes);
    let mut disk = Disk::of(&base(node));
    changes.iter().for_each(|change| disk.apply(change));
    let untold = disk.differences(&node.dir);
    assert!(untold.len() <= UNTOLD_MAX, "{} wrote past its shim: {untold:?}", node.name);
    let crash = [Crash::NothingElse, Crash::SomeWrites, Crash::SomeSectors][dice.usize(..3)];
    eprintln!("{} has lost its power: {crash:?}, after {} changes", node.name, changes.len());
    let before = base(node).with_extension("before");
    fs::rename(&node.dir, &before).expect("the folder is ours");
    disk.lay_out(&node.dir, crash, dice);
    permit_as(&before, &node.dir);
    fs::remove_dir_all(&before).expect("the folder is ours");
    is_durable(node);
}

fn base(node: &Node) -> PathBuf {
    node.dir.with_extension("base")
}

fn journal(node: &Node) -> PathBuf {
    node.dir.with_extension("journal")
}

/// Whatever is below `to` may be read by whom it could be below `from`.
fn permit_as(from: &Path, to: &Path) {
    permit(from, to);
    for entry in fs::read_dir(to).expect("the folder is ours").flatten() {
        let from = from.join(entry.file_name());
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) && from.is_dir() {
            true => permit_as(&from, &entry.path()),
            false => permit(&from, &entry.path()),
        }
    }
}

fn permit(from: &Path, to: &Path) {
    if let Ok(about) = fs::metadata(from) {
        fs::set_permissions(to, about.permissions()).expect("the folder is ours");
    }
}
