//! The LMTP socket that `pollux.toml` names: where it is on this box, and who may use it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Wrong;

/// Owner and group: a scanner that runs as another user joins the group, or sits in a set-group-id folder.
pub const LMTP_MODE_DEFAULT: u32 = 0o660;
/// A socket's address holds 107 bytes; it is made under a name four bytes longer.
pub const LMTP_SOCKET_BYTES_MAX: usize = 103;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LmtpSocket {
    pub path: PathBuf,
    /// Permission bits of the socket's file. Whoever may write to it may deliver mail to every user.
    pub mode: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LmtpTable {
    socket: PathBuf,
    mode: Option<String>,
}

impl LmtpTable {
    pub(super) fn checked(self, base: &Path) -> Result<LmtpSocket, Wrong> {
        let path = base.join(self.socket);
        let bytes = path.as_os_str().len();
        if bytes > LMTP_SOCKET_BYTES_MAX {
            let problem = format!(
                "the path has {bytes} bytes, {LMTP_SOCKET_BYTES_MAX} is the limit; give a shorter one"
            );
            return Err(("lmtp.socket", problem));
        }
        let mode = self.mode.map_or(Ok(LMTP_MODE_DEFAULT), |text| mode(&text))?;
        Ok(LmtpSocket { path, mode })
    }
}

/// Reading and writing for owner, group and others; the owner's are never taken away.
fn mode(text: &str) -> Result<u32, Wrong> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    bits.filter(|bits| bits & !0o666 == 0 && bits & 0o600 == 0o600).ok_or_else(|| {
        ("lmtp.mode", format!("{text:?} is no mode of a socket; write \"0600\", \"0660\" or \"0666\""))
    })
}
