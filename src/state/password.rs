//! Passwords at rest: argon2id in PHC strings. Pure and slow (tens of milliseconds, 19 MiB): callers
//! run it off the runtime's threads and bound how many run at once.

/// Hashes `password` with a salt the caller drew (16 bytes from [`crate::clock::Clock::fill`]).
pub fn hash(password: &[u8], salt: &[u8; 16]) -> String {
    let _ = (password, salt);
    unimplemented!("hash")
}

/// True when `password` is the one behind `phc`. A string that is no PHC string matches nothing.
pub fn verify(password: &[u8], phc: &str) -> bool {
    let _ = (password, phc);
    unimplemented!("verify")
}
