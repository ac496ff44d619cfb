//! How many files and connections this process may have open: as many as the system lets it.

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Below this a node that is full of clients runs out of descriptors; 10,000 connections are its default bound.
const DESCRIPTORS_WANTED: u64 = 12_000;

/// Raises the soft bound to the hard one. Shells and service managers commonly leave 1,024, which the clients of a
/// busy node would use up.
pub fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    if limit.current != hard {
        limit.current = hard;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            warn!("the bound on open files cannot be raised ({error}); it stays as it was");
        }
    }
    let now = getrlimit(Resource::Nofile).current;
    match now {
        Some(now) if now < DESCRIPTORS_WANTED => {
            warn!("at most {now} files and connections can be open; raise LimitNOFILE for more clients");
        }
        _ => debug!(?now, "open files"),
    }
}
