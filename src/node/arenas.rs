//! Bounds what glibc keeps of memory that is not used any longer: an arena for each of many threads, and blocks of
//! the 19 MiB that one argon2id takes. A node with 20 logins and 4,000 bodies read held 150 MiB more without this.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// glibc's own variables (mallopt(3)). A trim threshold that is set stays as it is, and large blocks go back at once.
const VARIABLES: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Starts this very process again with the bounds: glibc reads the variables at the start only. Values that
/// the operator has set stay. Where it cannot be done the node runs all the same, with more memory.
pub fn bound() {
    let missing: Vec<_> =
        VARIABLES.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let error = Command::new(program).args(std::env::args_os().skip(1)).envs(missing).exec();
    tracing::debug!(%error, "not started again with bounds on memory");
}
