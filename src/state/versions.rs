//! Cluster versions: what all nodes have agreed to write. It is replicated state that only rises, and only once every
//! node runs a build that knows the next one; until then each of them may go back to the build before.

/// The release that brought each version, from 1 on. A command, a shape of a row or a message between nodes that an older
/// build does not know may be used only at the version that brought it.
const RELEASES: &[&str] = &["0.1"];

/// The oldest that this build can run at.
pub const OLDEST: u32 = 1;
/// The newest that this build can run at.
pub const NEWEST: u32 = RELEASES.len() as u32;

/// The version behind what the rows say: 0 is a cluster that has yet to say it.
pub fn effective(stored: u32) -> u32 {
    stored.max(OLDEST)
}

/// Why this build cannot run a cluster at that version.
pub fn why_not(version: u32) -> Option<String> {
    let known = format!("this build ({}) knows versions {OLDEST} to {NEWEST}", env!("CARGO_PKG_VERSION"));
    match effective(version) {
        version if version > NEWEST => Some(format!(
            "the cluster's version is {version}, and {known}: an upgrade was finalised since; install the newer build again"
        )),
        version if version < OLDEST => Some(format!(
            "the cluster's version is {version}, and {known}: install the build before it, and finalise the upgrade to that one first"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_that_this_build_knows_and_no_others() {
        assert_eq!(why_not(0), None, "a cluster that has yet to say it is at the first");
        assert_eq!((why_not(OLDEST), why_not(NEWEST)), (None, None));
        assert!(why_not(NEWEST + 1).unwrap().contains("install the newer build again"));
    }
}
