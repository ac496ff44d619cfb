//! What must not be shown by accident: keys, passwords of ours at other servers.

use std::fmt;

use bincode::{Decode, Encode};

/// Not shown in any log.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
