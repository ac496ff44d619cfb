//! The bytes of a stored body: a header with its own checksum, then the body, whose checksum is its id. Pure.

use crate::mail::ids::BodyId;

pub const HEADER_BYTES: usize = 52;
const MAGIC: &[u8; 4] = b"PLXB";
const VERSION: u8 = 1;

/// Octets: magic 4, version 1, zero 3, length 8, id 32, CRC32 of these 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub id: BodyId,
    /// Octets of the body.
    pub length: u64,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = VERSION;
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.id.0);
        let crc = crc32fast::hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let known = bytes.starts_with(MAGIC) && bytes[4] == VERSION;
        if !known || crc32fast::hash(&bytes[..48]).to_le_bytes() != bytes[48..] {
            return None;
        }
        let length = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        Some(Self { id: BodyId(bytes[16..48].try_into().ok()?), length })
    }

    pub fn record_bytes(&self) -> u64 {
        (HEADER_BYTES as u64).saturating_add(self.length)
    }
}

/// Where the next readable header begins in `bytes`, after one that could not be read.
pub fn next_header(bytes: &[u8]) -> Option<usize> {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| window == MAGIC);
    starts.map(|(at, _)| at).find(|at| Header::decode(&bytes[*at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_any_bit_flipped_is_refused() {
        let header = Header { id: BodyId::of(b"x"), length: 1 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for at in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(Header::decode(&flipped), None, "bit {at}");
        }
        assert_eq!(next_header(&[b"PLXBPLX".as_slice(), &bytes].concat()), Some(7));
        assert_eq!(next_header(&bytes[1..]), None);
    }
}
