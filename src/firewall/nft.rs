//! The program `nft`: fed a script, asked what stands in a table. Bounded in time and in octets.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// One run.
const RUN_MS_MAX: u64 = 10_000;
/// Of what it prints; a table of as many rules and networks as there may be has some 4 MiB.
const PRINTED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Of what it complains.
const COMPLAINT_BYTES_MAX: usize = 300;

/// Why the firewall is not as it should be, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NftError {
    #[error("nft is not installed; install the package nftables")]
    Missing,
    #[error("this node may not change the firewall; give it CAP_NET_ADMIN")]
    NotAllowed,
    #[error("nft: {0}")]
    Failed(String),
}

/// What stands in the table, without counters; `None`: there is no such table.
pub async fn list(table: &str) -> Result<Option<String>, NftError> {
    match run(&["--stateless", "list", "table", "inet", table], "").await {
        Ok(printed) => Ok(Some(printed)),
        Err(NftError::Failed(said)) if said.contains("No such file or directory") => Ok(None),
        Err(error) => Err(error),
    }
}

/// All of it, or nothing.
pub async fn apply(script: &str) -> Result<(), NftError> {
    run(&["--file", "-"], script).await.map(|_| ())
}

async fn run(arguments: &[&str], input: &str) -> Result<String, NftError> {
    match timeout(Duration::from_millis(RUN_MS_MAX), talk(arguments, input)).await {
        Ok(Ok(printed)) => printed,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(NftError::Missing),
        Ok(Err(error)) => Err(NftError::Failed(error.to_string())),
        Err(_) => Err(NftError::Failed(format!("no answer within {RUN_MS_MAX} ms"))),
    }
}

async fn talk(arguments: &[&str], input: &str) -> io::Result<Result<String, NftError>> {
    let mut child = start(arguments)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that fails early closes its input: what it says itself is worth more.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), printed, said) = tokio::join!(write, read(stdout), read(stderr));
    let (printed, said) = (printed?, said?);
    let status = child.wait().await?;
    Ok(if status.success() { Ok(printed) } else { Err(complaint(&said)) })
}

fn start(arguments: &[&str]) -> io::Result<Child> {
    // Where administrators' programs lie, which is not in everybody's PATH.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("nft");
    command.args(arguments).env("PATH", path).env("LC_ALL", "C").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

async fn read(pipe: Option<impl AsyncReadExt + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(PRINTED_BYTES_MAX).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn complaint(said: &str) -> NftError {
    if said.contains("Operation not permitted") {
        return NftError::NotAllowed;
    }
    let line = said.lines().find(|line| line.contains("Error")).or_else(|| said.lines().next());
    NftError::Failed(line.unwrap_or("it failed").chars().take(COMPLAINT_BYTES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_understood() {
        for (said, error) in [
            ("netlink: Error: cache initialization failed: Operation not permitted\n", NftError::NotAllowed),
            (
                "/dev/stdin:3:1-5: Error: syntax error\nfoo bar\n",
                NftError::Failed("/dev/stdin:3:1-5: Error: syntax error".to_owned()),
            ),
            ("", NftError::Failed("it failed".to_owned())),
        ] {
            assert_eq!(complaint(said), error);
        }
    }
}
