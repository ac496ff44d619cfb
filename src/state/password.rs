//! Passwords at rest: argon2id in PHC strings. Pure and slow (tens of milliseconds, 19 MiB): callers
//! run it off the runtime's threads and bound how many run at once.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

// OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// What a stored string may make [`verify`] spend: beyond it the string is not ours.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
/// Longer passwords match nothing: hashing them would be work given away.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// Hashes `password` with a salt the caller drew (16 bytes from [`crate::clock::Clock::fill`]).
/// Callers refuse passwords beyond [`PASSWORD_BYTES_MAX`] before.
pub fn hash(password: &[u8], salt: &[u8; 16]) -> String {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    let salt = SaltString::encode_b64(salt).expect("sixteen bytes are a valid salt");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password, &salt)
        .expect("argon2 takes passwords of any length below 4 GiB")
        .to_string()
}

/// True when `password` is the one behind `phc`. A string that is no argon2 PHC string, or asks for
/// more work than we ever would, matches nothing.
pub fn verify(password: &[u8], phc: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(phc) else {
        return false;
    };
    let Ok(params) = Params::try_from(&parsed) else {
        return false;
    };
    let affordable = params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX;
    // The comparison inside is in constant time.
    affordable
        && password.len() <= PASSWORD_BYTES_MAX
        && Argon2::default().verify_password(password, &parsed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_that_was_hashed_verifies() {
        let phc = hash("gr\u{fc}n".as_bytes(), &[7; 16]);
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify("gr\u{fc}n".as_bytes(), &phc));
        assert!(!verify(b"gruen", &phc));
        assert_ne!(phc, hash("gr\u{fc}n".as_bytes(), &[8; 16]));
    }

    #[test]
    fn what_is_not_ours_matches_nothing() {
        let phc = hash(b"x", &[7; 16]);
        for bad in
            ["", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", &phc.replace("m=19456", "m=4000000")]
        {
            assert!(!verify(b"x", bad), "{bad}");
        }
        assert!(!verify(&vec![b'x'; PASSWORD_BYTES_MAX + 1], &phc));
    }
}
