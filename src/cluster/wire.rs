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

/// bincode counts a number by its size in memory, 8 octets, though a small one takes 1 on the wire. With
/// the wire's bound as its limit it would refuse to read what it wrote.
const DECODED_BYTES_MAX: usize = 8 * MESSAGE_BYTES_MAX;

/// Without the limit a hostile length would allocate until the process dies.
fn config() -> Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>> {
    bincode::config::standard().with_limit::<DECODED_BYTES_MAX>()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_nothing_more_is_taken() {
        let bytes = encode(&(7u16, "words".to_owned())).unwrap();
        assert_eq!(decode::<(u16, String)>(&bytes), Ok((7, "words".to_owned())));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<(u16, String)>(&longer), Err(WireError::Trailing(1)));
        assert!(matches!(decode::<(u16, String)>(&bytes[..bytes.len() - 1]), Err(WireError::Malformed(_))));
    }

    #[test]
    fn a_hostile_length_is_refused_before_it_is_allocated() {
        // Varint 253: a u64 follows; the length claims 2^63 octets.
        let hostile = [253, 0, 0, 0, 0, 0, 0, 0, 0x80];
        assert!(matches!(decode::<Vec<u8>>(&hostile), Err(WireError::Malformed(_))));
    }

    #[test]
    fn many_small_numbers_are_read_back() {
        let numbers = vec![1u64; MESSAGE_BYTES_MAX - 16];
        let bytes = encode(&numbers).unwrap();
        assert!(bytes.len() > MESSAGE_BYTES_MAX - 16 && decode(&bytes) == Ok(numbers));
    }

    #[test]
    fn the_bound_holds_on_both_sides() {
        let header = encode(&Vec::<u8>::new()).unwrap().len() + 4;
        let fits = vec![1u8; MESSAGE_BYTES_MAX - header];
        let bytes = encode(&fits).unwrap();
        assert!(decode::<Vec<u8>>(&bytes) == Ok(fits), "a message at the bound is read");
        assert!(matches!(encode(&vec![1u8; MESSAGE_BYTES_MAX]), Err(WireError::TooLong(_))));
        assert!(matches!(decode::<Vec<u8>>(&vec![0; MESSAGE_BYTES_MAX + 1]), Err(WireError::TooLong(_))));
    }
}
