//! Cluster versions: what all nodes have agreed to write. It is replicated state that only rises, and only once every
//! node runs a build that knows the next one; until then each of them may go back to the build before.

use super::alarms::AlarmKind;
use super::command::Command;
use super::settings::{self, Setting};

/// The release that brought each version, from 1 on. A command, a shape of a row or a message between nodes that an older
/// build does not know may be used only at the version that brought it.
const RELEASES: &[&str] = &["0.1", "0.2"];

/// That of a cluster that has yet to say it, whatever builds know later.
pub const FIRST: u32 = 1;
/// The oldest that this build can run at.
pub const OLDEST: u32 = 1;
/// The newest that this build can run at.
pub const NEWEST: u32 = RELEASES.len() as u32;

/// The version behind what the rows say: 0 is a cluster that has yet to say it.
pub fn effective(stored: u32) -> u32 {
    stored.max(FIRST)
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

/// The version that came with the release.
fn of(release: &str) -> u32 {
    let at = RELEASES.iter().position(|known| *known == release);
    at.map_or(NEWEST, |at| at as u32 + 1)
}

/// What of the command is newer than version 1, and the version that brought it. Each variant that `Command` and what is in
/// it gain has to be named here.
fn needs(command: &Command) -> Option<(&'static str, u32)> {
    match command {
        Command::SetSettings { changes } => {
            let set = changes.iter().filter(|(_, value)| value.is_some());
            let newest =
                set.filter_map(|(key, _)| settings::find(key)).max_by_key(|setting| of(setting.since));
            newest.map(|Setting { key, since, .. }| (*key, of(since)))
        }
        Command::NoteBackup(_) => Some(("to note a backup", 2)),
        Command::Undelete(_) | Command::ForgetRemoved { .. } => Some(("to undelete", 2)),
        Command::PassAddresses(_) => Some(("to hold virtual addresses", 2)),
        Command::SetCertificate(_)
        | Command::RemoveCertificate
        | Command::RenewCertificate(_)
        | Command::StepAcme(_) => Some(("a certificate of the whole cluster", 2)),
        Command::RaiseAlarm(raised) if raised.alarm.kind == AlarmKind::BackupOld => Some(("that alarm", 2)),
        _ => None,
    }
}

/// Why the cluster, at that version, cannot take the command yet.
pub fn why_not_yet(command: &Command, version: u32) -> Option<String> {
    let (what, needs) = needs(command)?;
    let version = effective(version);
    (needs > version).then(|| {
        format!(
            "{what} needs cluster version {needs}, and the cluster's is {version}: some nodes may not know it yet; see 'pollux \
             cluster upgrade status'"
        )
    })
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

    #[test]
    fn each_setting_came_with_a_release() {
        assert!(settings::TABLE.iter().all(|setting| RELEASES.contains(&setting.since)));
    }

    #[test]
    fn what_a_node_of_the_last_release_does_not_know_is_not_set_before_the_upgrade_is_finalised() {
        let set = |key: &str, value: Option<&str>| Command::SetSettings {
            changes: vec![
                ("hostname".into(), Some("mx.example".into())),
                (key.into(), value.map(str::to_owned)),
            ],
        };
        let newest = settings::TABLE.iter().find(|setting| of(setting.since) == 2).unwrap();
        let why = why_not_yet(&set(newest.key, Some("x")), 0).unwrap();
        assert!(why.starts_with(newest.key) && why.contains("needs cluster version 2"), "{why}");
        assert_eq!(why_not_yet(&set(newest.key, Some("x")), 2), None);
        assert_eq!(why_not_yet(&set(newest.key, None), 1), None, "its default is known everywhere");
        assert_eq!(why_not_yet(&set("auth.plaintext_without_tls", Some("true")), 1), None);
    }
}
