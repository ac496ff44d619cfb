//! Bounds what glibc keeps: an arena for each of many threads, from which little goes back to the system.
//! A node that had read 4,000 bodies held 150 MiB more with the default than with two arenas.

use std::os::unix::process::CommandExt;
use std::process::Command;

const VARIABLE: &str = "MALLOC_ARENA_MAX";
const ARENAS_MAX: &str = "2";

/// Starts this very process again with fewer arenas: glibc reads the variable at the start only. A value that
/// the operator has set stays. Where it cannot be done the node runs all the same, with more memory.
pub fn bound() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).env(VARIABLE, ARENAS_MAX);
    let error = again.exec();
    tracing::debug!(%error, "not started again with fewer arenas");
}
