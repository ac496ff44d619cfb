//! The policy by which others send to a domain of ours over verified TLS alone (RFC 8461). Pure.

use crate::state::directory::Directory;

/// A week, in seconds: long enough that nobody who stands in the way can wait it out, short enough to mend a mistake.
const MAX_AGE_SECONDS: u32 = 604_800;

/// The file at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, alike for all domains; `None`: none is published.
pub fn policy(directory: &Directory) -> Option<String> {
    let settings = directory.settings();
    let mode = settings.mta_sts_publish()?;
    let host = settings.hostname();
    // RFC 8461 3.2: lines end in CRLF or LF.
    Some(format!("version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: {MAX_AGE_SECONDS}\r\n"))
}

/// Another one for another policy: others fetch it anew when this changes (RFC 8461 3.1: at most 32 letters and digits).
pub fn id(policy: &str) -> String {
    blake3::hash(policy.as_bytes()).to_hex()[..16].to_owned()
}
