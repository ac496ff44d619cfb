//! What a package puts beside the binary: completions for shells, and manual pages. Both are made of the grammar, so they say
//! what the binary does.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::{Problem, print};

pub fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "pollux", &mut script);
    print(&String::from_utf8_lossy(&script));
}

/// A page for each command: pollux.1, pollux-user.1, pollux-user-add.1 …
pub fn pages(dir: &Path) -> Result<(), Problem> {
    let made =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Arguments::command(), dir));
    made.map_err(|error| format!("{}: {error}", dir.display()))
}
