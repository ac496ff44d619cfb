//! Messages between nodes: bounded, our own bytes.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// A message, and a frame, is at most this long.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a message of {0} bytes is over the bound of {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    #[error("a message cannot be understood: {0}")]
    Malformed(String),
    #[error("a message has {0} bytes too many")]
    Trailing(usize),
}

/// Without the limit a hostile length would allocate until the process dies.
fn config() -> Configuration<LittleEndian, Varint, Limit<MESSAGE_BYTES_MAX>> {
    bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>()
}

/// The bytes of `message`; an error if they are over the bound.
pub fn encode<T: Encode>(message: &T) -> Result<Vec<u8>, WireError> {
    let bytes =
        bincode::encode_to_vec(message, config()).map_err(|error| WireError::Malformed(error.to_string()))?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// The message that `bytes` are, all of them.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    let (message, consumed) = bincode::decode_from_slice(bytes, config())
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    match bytes.len() - consumed {
        0 => Ok(message),
        rest => Err(WireError::Trailing(rest)),
    }
}
