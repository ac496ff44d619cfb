//! What is kept of a password for SCRAM-SHA-256 (RFC 5802 3, RFC 7677): enough to check a proof of it, and to prove
//! ours. Pure and slow (tens of milliseconds): callers run it off the runtime's threads.
//!
//! Beside the argon2id hash these are the cheaper ones to guess passwords by, should the disk be stolen; hence the many
//! iterations, and the setting `auth.scram`.

use std::num::NonZeroU32;

use bincode::{Decode, Encode};
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};

/// Of new keys. Each doubling costs the thief as much as the client, and a phone still logs in within
/// a fraction of a second at this.
///
/// Cyrus SASL, which mbsync, mutt and others use, refuses to compute more than 65,536.
pub const ITERATIONS: u32 = 60_000;
pub const SALT_BYTES: usize = 16;
/// Octets of SHA-256.
pub const KEY_BYTES: usize = 32;

/// More than any client would take upon itself.
pub const ITERATIONS_MAX: u32 = 10_000_000;
/// RFC 7677 4.
pub const ITERATIONS_MIN: u32 = 4_096;

#[derive(Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ScramKeys {
    pub salt: [u8; SALT_BYTES],
    pub iterations: u32,
    pub stored_key: [u8; KEY_BYTES],
    pub server_key: [u8; KEY_BYTES],
}

/// Who has the keys can pass for us, and guess at the password: they are not for logs.
impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramKeys(…)")
    }
}

/// Keys as a command brings them.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct NewScramKeys {
    pub keys: ScramKeys,
    /// What the keys that stand in for others' are to be derived from; the first that is ever brought is kept.
    pub stand_in_secret: [u8; KEY_BYTES],
}

impl std::fmt::Debug for NewScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewScramKeys(…)")
    }
}

impl NewScramKeys {
    /// `fill` rolls dice ([`Clock::fill`](crate::clock::Clock::fill)). `None` as of [`ScramKeys::of`].
    pub fn of(password: &[u8], fill: impl Fn(&mut [u8])) -> Option<Self> {
        let (mut salt, mut stand_in_secret) = ([0; SALT_BYTES], [0; KEY_BYTES]);
        fill(&mut salt);
        fill(&mut stand_in_secret);
        Some(Self { keys: ScramKeys::of(password, salt)?, stand_in_secret })
    }
}

impl ScramKeys {
    /// `None` for a password that SCRAM cannot carry (RFC 4013: control characters and the like).
    pub fn of(password: &[u8], salt: [u8; SALT_BYTES]) -> Option<Self> {
        let password = prepared(std::str::from_utf8(password).ok()?)?;
        Some(Self::derive(&password, salt, ITERATIONS))
    }

    /// RFC 5802 3: `SaltedPassword` and what follows from it.
    pub(crate) fn derive(prepared: &str, salt: [u8; SALT_BYTES], iterations: u32) -> Self {
        let mut salted = [0; KEY_BYTES];
        let times = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, times, &salt, prepared.as_bytes(), &mut salted);
        let stored_key = sha256(&hmac_sha256(&salted, &[b"Client Key"]));
        let server_key = hmac_sha256(&salted, &[b"Server Key"]);
        Self { salt, iterations, stored_key, server_key }
    }

    /// What stands in for the keys of whoever has none: always the same for a name, like any other, and nobody's.
    pub fn stand_in(key: &[u8; KEY_BYTES], name: &str) -> Self {
        let derived = |of: &[u8]| hmac_sha256(key, &[of, name.as_bytes()]);
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&derived(b"salt\0")[..SALT_BYTES]);
        Self {
            salt,
            iterations: ITERATIONS,
            stored_key: derived(b"stored\0"),
            server_key: derived(b"server\0"),
        }
    }
}

/// SASLprep (RFC 4013), as a stored string. `None` for what it prohibits, and for nothing at all.
pub fn prepared(text: &str) -> Option<String> {
    let prepared = stringprep::saslprep(text).ok()?.into_owned();
    (!prepared.is_empty()).then_some(prepared)
}

pub fn sha256(bytes: &[u8]) -> [u8; KEY_BYTES] {
    octets(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    octets(context.sign().as_ref())
}

fn octets(bytes: &[u8]) -> [u8; KEY_BYTES] {
    let mut octets = [0; KEY_BYTES];
    octets.copy_from_slice(bytes);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_salt_or_password_makes_other_keys() {
        let keys = ScramKeys::of(b"secret", [1; 16]).unwrap();
        assert!(keys == ScramKeys::of(b"secret", [1; 16]).unwrap());
        for other in [ScramKeys::of(b"secret", [2; 16]), ScramKeys::of(b"Secret", [1; 16])] {
            let other = other.unwrap();
            assert!(other.stored_key != keys.stored_key && other.server_key != keys.server_key);
        }
        assert!(!format!("{keys:?}").contains(&keys.iterations.to_string()));
    }

    /// RFC 4013 3.
    #[test]
    fn passwords_are_prepared_as_the_rfc_says() {
        for (given, wanted) in [
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}\u{31}", None),
            ("\u{ad}", None),
            ("", None),
        ] {
            assert_eq!(prepared(given).as_deref(), wanted, "{given:?}");
        }
        assert!(ScramKeys::of(&[0xff], [0; 16]).is_none());
        let composed = ScramKeys::of("gr\u{fc}n".as_bytes(), [0; 16]);
        assert!(composed.is_some() && composed == ScramKeys::of("gru\u{308}n".as_bytes(), [0; 16]));
    }

    #[test]
    fn a_stand_in_is_the_same_for_a_name_and_looks_like_any_other() {
        let stand_in = |key, name| ScramKeys::stand_in(&[key; 32], name);
        assert!(stand_in(1, "nobody") == stand_in(1, "nobody"));
        assert!(stand_in(1, "nobody").salt != stand_in(1, "somebody").salt);
        assert!(stand_in(1, "nobody").salt != stand_in(2, "nobody").salt);
        assert_eq!(stand_in(1, "nobody").iterations, ScramKeys::of(b"x", [0; 16]).unwrap().iterations);
    }
}
