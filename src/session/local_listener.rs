//! LMTP on a unix socket: makes its file, hands its connections on, takes the file away again.
//!
//! Never removes what another process listens on, nor what is no socket: both are said.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::listener::{ACCEPT_RETRY_MS, BIND_RETRY_MS, ServiceState, StatusCell};
use super::porter::{Welcome, closes};
use crate::config::LmtpSocket;
use crate::store::files;

/// Listens until nobody is let in any longer, or the task is aborted; `take` gets each connection and must not block.
pub(super) async fn listen(
    socket: LmtpSocket,
    status: StatusCell,
    mut welcome: watch::Receiver<Welcome>,
    take: impl Fn(UnixStream),
) {
    let bound = tokio::select! {
        () = closes(&mut welcome) => return,
        bound = bind(&socket, &status) => bound,
    };
    loop {
        let accepted = tokio::select! {
            () = closes(&mut welcome) => return,
            accepted = bound.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                status.set(ServiceState::Listening);
                take(stream);
            }
            Err(fault) => {
                if status.set(ServiceState::Failed(format!("cannot take connections: {fault}"))) {
                    error!("LMTP on {} cannot take connections: {fault}", socket.path.display());
                }
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// The bound socket. Its file goes when this is dropped.
struct Bound {
    listener: UnixListener,
    _file: SocketFile,
}

async fn bind(socket: &LmtpSocket, status: &StatusCell) -> Bound {
    loop {
        match try_bind(socket).await {
            Ok(bound) => {
                status.set(ServiceState::Listening);
                info!("LMTP listens on {}", socket.path.display());
                return bound;
            }
            Err(why) => {
                if status.set(ServiceState::Failed(why.clone())) {
                    warn!("LMTP: {why}");
                }
                tokio::time::sleep(Duration::from_millis(BIND_RETRY_MS)).await;
            }
        }
    }
}

async fn try_bind(socket: &LmtpSocket) -> Result<Bound, String> {
    is_free(&socket.path).await?;
    let explain = |fault: io::Error| {
        format!("{} cannot be made ({fault}); correct lmtp.socket in pollux.toml", socket.path.display())
    };
    let wanted = socket.clone();
    let made = tokio::task::spawn_blocking(move || make(&wanted)).await.map_err(io::Error::other);
    let (listener, file) = made.and_then(|made| made).map_err(explain)?;
    Ok(Bound { listener: UnixListener::from_std(listener).map_err(explain)?, _file: file })
}

/// `Err`: one line on why the path cannot be taken. A socket that a killed process left is no reason.
pub async fn is_free(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match tokio::fs::symlink_metadata(path).await {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!("{shown} is there and no socket; move it away, or give another lmtp.socket"));
        }
        Ok(_) => {}
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(fault) => {
            return Err(format!("{shown} cannot be looked at ({fault}); correct lmtp.socket in pollux.toml"));
        }
    }
    match UnixStream::connect(path).await {
        Err(fault) if matches!(fault.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        // Also one whose queue is full: somebody is there.
        Ok(_) | Err(_) => Err(format!(
            "{shown} is in use by another process; stop it, or give another lmtp.socket in pollux.toml"
        )),
    }
}

/// Under its own name only once its mode is set, in place of a stale one.
fn make(socket: &LmtpSocket) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
    let mut unready = socket.path.as_os_str().to_owned();
    unready.push(".new");
    let unready = PathBuf::from(unready);
    if fs::symlink_metadata(&unready).is_ok_and(|left| left.file_type().is_socket()) {
        fs::remove_file(&unready)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(&unready)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&unready, Permissions::from_mode(socket.mode))?;
    let made = fs::symlink_metadata(&unready)?;
    files::rename_durably(&unready, &socket.path)?;
    let file = SocketFile { path: socket.path.clone(), identity: (made.dev(), made.ino()) };
    Ok((listener, file))
}

/// Our socket's name in the file system.
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another that has come to this path since is not ours to remove.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let here = fs::symlink_metadata(&self.path);
        if here.is_ok_and(|here| (here.dev(), here.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(dir: &tempfile::TempDir) -> LmtpSocket {
        LmtpSocket { path: dir.path().join("lmtp.sock"), mode: 0o660 }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        drop(std::os::unix::net::UnixListener::bind(&socket.path).unwrap());
        assert!(socket.path.exists(), "a killed process leaves its socket");
        let bound = try_bind(&socket).await.unwrap_or_else(|why| panic!("{why}"));
        let mode = fs::metadata(&socket.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let Err(why) = try_bind(&socket).await else { panic!("two cannot have it") };
        assert!(why.contains("in use by another process") && !why.contains('\n'), "{why}");
        drop(UnixStream::connect(&socket.path).await.unwrap());
        drop(bound);
        assert!(!socket.path.exists(), "the file goes with the listener");
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        fs::write(&socket.path, "precious").unwrap();
        let Err(why) = try_bind(&socket).await else { panic!("it is a file") };
        assert!(why.contains("no socket"), "{why}");
        assert_eq!(fs::read_to_string(&socket.path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn another_socket_at_our_path_is_not_removed_with_ours() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(&dir);
        let bound = try_bind(&socket).await.unwrap_or_else(|why| panic!("{why}"));
        fs::remove_file(&socket.path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&socket.path).unwrap();
        drop(bound);
        assert!(socket.path.exists());
    }
}
