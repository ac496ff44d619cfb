//! Files that lie at somebody else's: who keeps them reads nothing, and changes nothing unseen. Sealed in chunks, so that a
//! part of one is read without the rest. Pure; locks are slow to open (argon2id).
//!
//! A sealed file is: a word; 32 octets that were drawn for it; chunks of 64 KiB, the last one shorter, each with a tag. Its key
//! is made of that of the place, its name and what was drawn; a chunk's nonce of its number and whether it is the last. So what
//! is changed, cut, or put under another name opens no longer.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

const BEGIN: &[u8; 8] = b"PLXSEAL1";
/// Drawn anew for each file.
pub type Drawn = [u8; 32];
pub const HEAD_BYTES: usize = BEGIN.len() + size_of::<Drawn>();
/// Of a file, in one chunk.
pub const CHUNK_BYTES: usize = 64 << 10;
const TAG_BYTES: usize = 16;
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// Octets of a passphrase: fewer are guessed, more are a file that was named by mistake.
pub const PASSPHRASE_BYTES_MIN: usize = 12;
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
// Asked for once a command: more work than a login costs.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// What a lock may make us spend: beyond it is none of ours.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 16;
const ABOUT_KEY: &[u8] = b"pollux backups: the key of a place";

/// What opens a place. Not kept there, and not in the cluster: it is needed when the cluster is lost.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Passphrase(String);

/// How a passphrase opens the key of a place; lies there for all to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    salt: String,
    memory_kib: u32,
    passes: u32,
    sealed_key: String,
}

/// The key of a place.
#[derive(Clone, PartialEq, Eq)]
pub struct PlaceKey([u8; 32]);

/// The key of one file.
pub struct FileKey(LessSafeKey);

impl TryFrom<String> for Passphrase {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX => Ok(Self(text)),
            _ => Err(format!("a passphrase has {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} octets")),
        }
    }
}

impl From<Passphrase> for String {
    fn from(passphrase: Passphrase) -> Self {
        passphrase.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl fmt::Debug for PlaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaceKey(…)")
    }
}

impl Passphrase {
    /// Locks `key` away; `salt` is drawn for it.
    pub fn lock(&self, key: &PlaceKey, salt: &[u8; 16]) -> Lock {
        let (memory_kib, passes) = (MEMORY_KIB, PASSES);
        let of_lock =
            self.key(salt, memory_kib, passes).expect("our own parameters are within argon2's bounds");
        let mut sealed = key.0.to_vec();
        // Each salt makes another key, which seals this alone.
        of_lock
            .seal_in_place_append_tag(nonce(0, true), Aad::from(ABOUT_KEY), &mut sealed)
            .expect("32 octets are within the algorithm's bound");
        Lock { salt: STANDARD.encode(salt), memory_kib, passes, sealed_key: STANDARD.encode(sealed) }
    }

    /// `None`: it is another passphrase's, or none of our locks.
    pub fn open(&self, lock: &Lock) -> Option<PlaceKey> {
        let salt: [u8; 16] = STANDARD.decode(&lock.salt).ok()?.try_into().ok()?;
        let mut sealed = STANDARD.decode(&lock.sealed_key).ok()?;
        let of_lock = self.key(&salt, lock.memory_kib, lock.passes)?;
        let opened = of_lock.open_in_place(nonce(0, true), Aad::from(ABOUT_KEY), &mut sealed).ok()?;
        Some(PlaceKey(opened.try_into().ok()?))
    }

    fn key(&self, salt: &[u8; 16], memory_kib: u32, passes: u32) -> Option<LessSafeKey> {
        if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX {
            return None;
        }
        let params = Params::new(memory_kib, passes, 1, Some(32)).ok()?;
        let mut key = [0; 32];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(self.0.as_bytes(), salt, &mut key).ok()?;
        Some(chacha(&key))
    }
}

impl PlaceKey {
    pub fn new(drawn: [u8; 32]) -> Self {
        Self(drawn)
    }

    /// Of the file of that name.
    pub fn of_file(&self, name: &str, drawn: &Drawn) -> FileKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(drawn);
        hasher.update(name.as_bytes());
        FileKey(chacha(hasher.finalize().as_bytes()))
    }
}

impl FileKey {
    pub fn seal(&self, number: u64, is_last: bool, mut chunk: Vec<u8>) -> Vec<u8> {
        self.0
            .seal_in_place_append_tag(nonce(number, is_last), Aad::empty(), &mut chunk)
            .expect("a chunk is within the algorithm's bound");
        chunk
    }

    /// `None`: it is not that chunk.
    pub fn open(&self, number: u64, is_last: bool, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let length = self.0.open_in_place(nonce(number, is_last), Aad::empty(), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

pub fn head(drawn: &Drawn) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..BEGIN.len()].copy_from_slice(BEGIN);
    head[BEGIN.len()..].copy_from_slice(drawn);
    head
}

/// What was drawn for the file that begins so.
pub fn drawn_of(head: &[u8]) -> Option<Drawn> {
    head.strip_prefix(BEGIN)?.try_into().ok()
}

/// How a sealed file of so many octets is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Octets inside.
    pub length: u64,
    pub chunks: u64,
}

impl Layout {
    /// `None`: no sealed file is so long.
    pub fn of(sealed_bytes: u64) -> Option<Self> {
        let body = sealed_bytes.checked_sub(HEAD_BYTES as u64)?;
        let chunks = body.div_ceil(SEALED_CHUNK_BYTES as u64);
        let length = body.checked_sub(chunks * TAG_BYTES as u64)?;
        // The last chunk holds something, unless it is the only one.
        let last = body.checked_sub(chunks.checked_sub(1)? * SEALED_CHUNK_BYTES as u64)?;
        (last > TAG_BYTES as u64 || (chunks == 1 && last == TAG_BYTES as u64))
            .then_some(Self { length, chunks })
    }

    /// Where a chunk lies in the sealed file.
    pub fn place(self, number: u64) -> std::ops::Range<u64> {
        let from = HEAD_BYTES as u64 + number * SEALED_CHUNK_BYTES as u64;
        let inside = (self.length - number * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64);
        from..from + inside + TAG_BYTES as u64
    }

    pub fn is_last(self, number: u64) -> bool {
        number + 1 == self.chunks
    }
}

fn chacha(key: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    LessSafeKey::new(key.expect("the key has the algorithm's length"))
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[8] = u8::from(is_last);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_passphrase_opens_its_own_lock_alone() {
        let key = PlaceKey::new([3; 32]);
        let lock = passphrase("correct horse").lock(&key, &[7; 16]);
        assert_eq!(passphrase("correct horse").open(&lock), Some(key.clone()));
        assert_eq!(passphrase("correct house").open(&lock), None);
        let json = serde_json::to_string(&lock).unwrap();
        assert!(!json.contains(&STANDARD.encode([3; 32])), "{json}");
        let other = passphrase("correct horse").lock(&PlaceKey::new([4; 32]), &[8; 16]);
        let mixed = Lock { sealed_key: other.sealed_key, ..lock.clone() };
        assert_eq!(passphrase("correct horse").open(&mixed), None);
        // What would cost more than we ever ask for is not tried.
        for costly in [Lock { memory_kib: 4 << 20, ..lock.clone() }, Lock { passes: 17, ..lock.clone() }] {
            assert_eq!(passphrase("correct horse").open(&costly), None);
        }
        for broken in [Lock { salt: "AA==".to_owned(), ..lock.clone() }, Lock { memory_kib: 0, ..lock }] {
            assert_eq!(passphrase("correct horse").open(&broken), None);
        }
    }

    #[test]
    fn passphrases_are_bounded() {
        for (length, fits) in [(11, false), (12, true), (1_024, true), (1_025, false)] {
            assert_eq!(Passphrase::try_from("x".repeat(length)).is_ok(), fits, "{length}");
        }
        assert!(!format!("{:?}", passphrase("correct horse")).contains("horse"));
    }

    #[test]
    fn a_chunk_opens_where_it_was_alone() {
        let place = PlaceKey::new([3; 32]);
        let key = place.of_file("pack-000001", &[1; 32]);
        let sealed = key.seal(5, false, b"text".to_vec());
        assert_eq!(key.open(5, false, sealed.clone()).unwrap(), b"text");
        for (number, is_last) in [(4, false), (5, true), (6, false)] {
            assert_eq!(key.open(number, is_last, sealed.clone()), None);
        }
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(key.open(5, false, flipped), None);
            assert_eq!(key.open(5, false, sealed[..at].to_vec()), None);
        }
        let others = [place.of_file("pack-000002", &[1; 32]), place.of_file("pack-000001", &[2; 32])];
        assert!(others.iter().all(|other| other.open(5, false, sealed.clone()).is_none()));
        assert_eq!(PlaceKey::new([4; 32]).of_file("pack-000001", &[1; 32]).open(5, false, sealed), None);
    }

    #[test]
    fn the_layout_is_told_by_the_length() {
        let chunk = CHUNK_BYTES as u64;
        for length in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 7] {
            let chunks = length.div_ceil(chunk).max(1);
            let sealed = HEAD_BYTES as u64 + length + chunks * TAG_BYTES as u64;
            let layout = Layout::of(sealed).unwrap();
            assert_eq!(layout, Layout { length, chunks });
            assert_eq!(layout.place(chunks - 1).end, sealed, "{length}");
            assert_eq!(layout.place(0).start, HEAD_BYTES as u64);
            assert!(layout.is_last(chunks - 1) && !layout.is_last(chunks));
        }
        let full = HEAD_BYTES as u64 + SEALED_CHUNK_BYTES as u64;
        for none in [0, HEAD_BYTES as u64, HEAD_BYTES as u64 + 15, full + 1, full + 16] {
            assert_eq!(Layout::of(none), None, "{none}");
        }
        assert_eq!(drawn_of(&head(&[9; 32])), Some([9; 32]));
        assert_eq!(drawn_of(b"PLXSEAL2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), None);
    }
}
