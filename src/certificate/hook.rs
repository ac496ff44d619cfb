//! The operator's program that puts records into the DNS (`acme.dns_hook` in pollux.toml): called as `PROGRAM present NAME VALUE` before
//! the ACME server looks, and as `PROGRAM cleanup NAME VALUE` when it has looked. It ends with 0 once the record can be found.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::mail::lines::beginning;

/// How long the program may take; then it is killed.
pub const HOOK_MS_MAX: u64 = 300_000;
/// Octets of what it says that are told on.
const SAID_BYTES_MAX: usize = 200;
/// Octets that are listened to.
const HEARD_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Present,
    Cleanup,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Cleanup => "cleanup",
        }
    }
}

/// `Err` is one line for the operator.
pub async fn run(program: &Path, verb: Verb, name: &str, value: &str) -> Result<(), String> {
    let told = format!("{} {} {name}", program.display(), verb.word());
    let mut command = Command::new(program);
    command.args([verb.word(), name, value]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_millis(HOOK_MS_MAX), heard(command)).await;
    let ended = ended.map_err(|_| format!("{told}: does not end within {} s", HOOK_MS_MAX / 1_000))?;
    let (status, said) = ended.map_err(|error| format!("{told}: cannot be run ({error})"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing");
    let said: String = beginning(said, SAID_BYTES_MAX).chars().filter(|c| !c.is_control()).collect();
    Err(format!("{told}: {} ({said})", status))
}

/// How it ended, and what it said of errors; one that says too much is cut off.
async fn heard(mut command: Command) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = command.spawn()?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(HEARD_BYTES_MAX).read_to_end(&mut said).await?;
    }
    Ok((child.wait().await?, said))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_program_is_told_what_to_do_and_its_last_word_is_told_on() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("hook");
        let noted = dir.path().join("noted");
        let script = format!(
            "#!/bin/sh\n[ \"$2\" = bad.test ] && {{ echo one >&2; echo no such zone >&2; exit 3; }}\necho \"$@\" >> {}\n",
            noted.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        run(&program, Verb::Present, "_acme-challenge.a.test", "v").await.unwrap();
        run(&program, Verb::Cleanup, "_acme-challenge.a.test", "v").await.unwrap();
        let noted = fs::read_to_string(noted).unwrap();
        assert_eq!(noted, "present _acme-challenge.a.test v\ncleanup _acme-challenge.a.test v\n");
        let why = run(&program, Verb::Present, "bad.test", "v").await.unwrap_err();
        assert!(why.ends_with("hook present bad.test: exit status: 3 (no such zone)"), "{why}");
        let why = run(Path::new("/nonexistent/hook"), Verb::Present, "a.test", "v").await.unwrap_err();
        assert!(why.contains("cannot be run"), "{why}");
    }
}
