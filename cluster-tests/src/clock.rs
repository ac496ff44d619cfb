//! The wall clock of a node, moved by a story: libfaketime reads its offset from a file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::node::Node;

/// Where Debian's libfaketime lies, behind the architecture's folder.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// Before the node's start: [`set_clock`] moves what it takes for the time from then on.
pub fn give_clock(node: &mut Node) {
    let Some(library) = faketime() else {
        panic!("libfaketime is not there: run `make tools`");
    };
    set_clock(&node.dir, 0);
    node.preload(&library);
    let variables = [
        ("FAKETIME_TIMESTAMP_FILE", clock_path(&node.dir).display().to_string()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
        ("FAKETIME_CACHE_DURATION", "1".into()),
    ];
    node.environment.extend(variables.map(|(name, value)| (name.to_string(), value)));
}

fn faketime() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?;
    libraries.filter_map(|entry| Some(entry.ok()?.path().join(FAKETIME))).find(|path| path.exists())
}

/// Beside the node's folder, which may be full.
fn clock_path(dir: &Path) -> PathBuf {
    dir.with_extension("clock")
}

/// So many seconds before or behind the true time; at one stroke, so that no half-written offset is read.
pub fn set_clock(dir: &Path, seconds: i64) {
    let path = clock_path(dir);
    let new = dir.with_extension("clock-new");
    fs::write(&new, format!("{seconds:+}s\n")).expect("the story's folder can be written");
    fs::rename(&new, &path).expect("the story's folder can be written");
}
