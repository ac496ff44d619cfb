//! One-time join tokens: CA fingerprint, addresses, role, secret, expiry. Pure.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::cluster::pki::Fingerprint;
use crate::cluster::wire;
use crate::mail::ids::Timestamp;

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Role {
    /// Electable voter with bodies; serves mail.
    Data,
    /// Voter that never wants to lead; keeps no mail.
    Witness,
}

/// The 32 random octets that let a node in once. Its `Debug` shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// What the cluster keeps instead of the secret: its BLAKE3 hash.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.0).as_bytes()
    }
}

/// All a new node needs to find the cluster, recognise it and be let in.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct JoinToken {
    pub ca: Fingerprint,
    /// Bulk addresses (host:port) of nodes that may be asked, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    pub role: Role,
    pub secret: Secret,
    pub expires: Timestamp,
}

pub const ADDRESSES_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("this is not a join token: copy the whole line that `pollux join-token` printed")]
    Malformed,
    #[error("the join token has expired: make a new one with `pollux join-token`")]
    Expired,
    #[error("the join token has been used already: make a new one with `pollux join-token`")]
    Used,
    #[error("the cluster does not know this join token: make a new one with `pollux join-token`")]
    Unknown,
    #[error("the join token is for another role: make one with `pollux join-token --role`")]
    WrongRole,
}

/// What the cluster remembers of a token it gave out.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TokenRecord {
    /// [`Secret::hash`].
    pub hash: [u8; 32],
    pub role: Role,
    pub expires: Timestamp,
    pub used: bool,
}

/// Finds the record `secret` opens. Looks at every record, whichever fits, so that the time taken
/// tells nothing of the secret.
pub fn check(
    records: &[TokenRecord],
    secret: &Secret,
    role: Role,
    now: Timestamp,
) -> Result<usize, TokenError> {
    let hash = secret.hash();
    let mut found = None;
    for (at, record) in records.iter().enumerate() {
        if bool::from(record.hash.ct_eq(&hash)) {
            found = Some((at, record));
        }
    }
    let (at, record) = found.ok_or(TokenError::Unknown)?;
    if record.used {
        Err(TokenError::Used)
    } else if record.expires <= now {
        Err(TokenError::Expired)
    } else if record.role != role {
        Err(TokenError::WrongRole)
    } else {
        Ok(at)
    }
}

impl JoinToken {
    /// The record to keep of this token.
    pub fn record(&self) -> TokenRecord {
        TokenRecord { hash: self.secret.hash(), role: self.role, expires: self.expires, used: false }
    }
}

const PREFIX: &str = "pollux-join-1.";
const CHECKSUM_BYTES: usize = 4;
const TEXT_BYTES_MAX: usize = 4096;

/// One word without spaces: prefix, then base64url of the message and four octets of its hash, so
/// that a token cut short while copying is told from a wrong one.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = wire::encode(self).map_err(|_| fmt::Error)?;
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let code = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Malformed)?;
        let bytes = URL_SAFE_NO_PAD.decode(code).map_err(|_| TokenError::Malformed)?;
        let (message, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TokenError::Malformed)?;
        if blake3::hash(message).as_bytes()[..CHECKSUM_BYTES] != checksum[..] {
            return Err(TokenError::Malformed);
        }
        let token: Self = wire::decode(message).map_err(|_| TokenError::Malformed)?;
        if token.addresses.is_empty() || token.addresses.len() > ADDRESSES_MAX {
            return Err(TokenError::Malformed);
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            ca: Fingerprint([7; 32]),
            addresses: vec!["mx1.example.com:7412".to_owned(), "[::1]:7412".to_owned()],
            role: Role::Witness,
            secret: Secret([9; 32]),
            expires: Timestamp(1_000_000),
        }
    }

    #[test]
    fn a_token_survives_copying_and_a_damaged_one_is_told() {
        let text = token().to_string();
        assert!(!text.contains(char::is_whitespace));
        assert_eq!(format!(" {text}\n").parse::<JoinToken>(), Ok(token()));
        for cut in 0..text.len() {
            assert_eq!(text[..cut].parse::<JoinToken>(), Err(TokenError::Malformed), "cut at {cut}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let flipped = String::from_utf8(bytes).unwrap();
            // The last character has bits that base64 must see as zero; every other flip is caught too.
            assert_eq!(flipped.parse::<JoinToken>(), Err(TokenError::Malformed), "flipped at {at}");
        }
        assert_eq!("x".repeat(TEXT_BYTES_MAX + 1).parse::<JoinToken>(), Err(TokenError::Malformed));
    }

    #[test]
    fn a_token_has_one_to_eight_addresses() {
        for (count, fits) in [(0, false), (1, true), (ADDRESSES_MAX, true), (ADDRESSES_MAX + 1, false)] {
            let token = JoinToken { addresses: vec!["a:1".to_owned(); count], ..token() };
            assert_eq!(token.to_string().parse::<JoinToken>().is_ok(), fits, "{count}");
        }
    }

    #[test]
    fn a_secret_opens_its_own_record_once_and_in_time() {
        let other = TokenRecord { hash: [1; 32], ..token().record() };
        let records = [other, token().record()];
        let now = Timestamp(999_999);
        assert_eq!(check(&records, &token().secret, Role::Witness, now), Ok(1));
        assert_eq!(check(&records, &Secret([8; 32]), Role::Witness, now), Err(TokenError::Unknown));
        assert_eq!(check(&records, &token().secret, Role::Data, now), Err(TokenError::WrongRole));
        assert_eq!(
            check(&records, &token().secret, Role::Witness, Timestamp(1_000_000)),
            Err(TokenError::Expired)
        );
        let used = [TokenRecord { used: true, ..token().record() }];
        assert_eq!(check(&used, &token().secret, Role::Witness, now), Err(TokenError::Used));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", token()).contains("9, 9"));
    }
}
