//! What must not be shown by accident: keys, passwords of ours at other servers.

use std::fmt;

use bincode::{Decode, Encode};

/// Before a secret that is sealed (`cluster/sealing`); its rest is base64 without padding.
pub const SEALED_PREFIX: &str = "sealed-1:";
/// Octets that sealing adds before base64: a nonce and a tag.
const SEALING_BYTES: usize = 12 + 16;

/// Not shown in any log. In commands and rows it is sealed, in a directory that was loaded it is clear.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Secret(pub String);

impl Secret {
    /// Octets of one that has so many, once it is sealed.
    pub const fn sealed_bytes(clear_bytes: usize) -> usize {
        SEALED_PREFIX.len() + ((clear_bytes + SEALING_BYTES) * 4).div_ceil(3)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
