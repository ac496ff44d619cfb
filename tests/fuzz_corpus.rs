//! Every file that the fuzzer kept, and every find, through its target: without a fuzzer, in each run of the tests.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "../cluster-tests/fuzz/src/lib.rs"]
mod fuzz;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster-tests/fuzz/corpus")
}

/// Runs the target over its corpus.
fn replay(name: &str) {
    let (_, target) = fuzz::TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    let mut files: Vec<PathBuf> = fs::read_dir(corpus().join(name))
        .expect("each target has a corpus")
        .map(|entry| entry.expect("the corpus is readable").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {name} is empty");
    let broken: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| {
            let bytes = fs::read(file).expect("the corpus is readable");
            catch_unwind(|| target(&bytes)).is_err()
        })
        .collect();
    assert!(broken.is_empty(), "{name} breaks its promises on {broken:#?}");
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            let replayed = [$(stringify!($name)),*];
            assert_eq!(fuzz::TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), replayed);
            let programs = corpus().with_file_name("fuzz_targets");
            for entry in fs::read_dir(programs).expect("the fuzzer's programs are there") {
                let file = entry.expect("readable").path();
                let name = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
                assert!(replayed.contains(&&name[..]), "{name} is fuzzed, and not replayed");
            }
        }
    };
}

replays!(apply imap imap_grammar managesieve mime notices pop3 records settings sieve smtp smtp_bodies smtp_commands storage sts text wire);
