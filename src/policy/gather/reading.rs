//! A message as it comes in: the header kept, the body hashed for the signatures that the header has.

use bytes::Bytes;
use mail_auth::AuthenticatedMessage;
use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;
use mail_auth::dkim::canonicalize::BodyHasher;
use memchr::memmem;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::policy::forged::without_forged;

/// Octets of a header that is checked; a mail with a longer one is refused.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Signatures looked at, and seals; further ones are as if they were not there.
pub const SIGNATURES_MAX: usize = 10;

/// The header is longer than is read.
#[derive(Debug, PartialEq, Eq)]
pub struct HeadTooLong;

/// What a signature's body hash is of, and the hash once it is known.
type BodyHash = (Canonicalization, HashAlgorithm, u64, Vec<u8>);
type Hashing = (Canonicalization, HashAlgorithm, u64, BodyHasher<Context>);

pub struct Reading {
    receiver: String,
    head: Vec<u8>,
    /// `None`: the header has not ended yet.
    body: Option<Vec<Hashing>>,
}

/// A message that was read.
pub struct Read {
    head: Vec<u8>,
    hashes: Vec<BodyHash>,
}

impl Reading {
    /// `receiver`: whose Authentication-Results are forged.
    pub fn new(receiver: &str) -> Self {
        Self { receiver: receiver.to_owned(), head: Vec::new(), body: None }
    }

    /// Takes the next octets, and gives those to be kept: the header, once it is whole, without what is forged in it;
    /// the body as it is.
    pub fn take(&mut self, chunk: Bytes) -> Result<Vec<Bytes>, HeadTooLong> {
        if let Some(hashing) = &mut self.body {
            hashing.iter_mut().for_each(|(.., hasher)| hasher.write(&chunk));
            return Ok(vec![chunk]);
        }
        // The empty line may have begun in the octets before.
        let from = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(&chunk);
        let end = match self.head.starts_with(b"\r\n") {
            true => Some(2),
            false => memmem::find(&self.head[from..], b"\r\n\r\n").map(|at| from + at + 4),
        };
        if end.unwrap_or(self.head.len()) > HEAD_BYTES_MAX {
            return Err(HeadTooLong);
        }
        let Some(end) = end else { return Ok(Vec::new()) };
        let body = Bytes::from(self.head.split_off(end));
        let mut kept = vec![Bytes::from(without_forged(&self.head, &self.receiver))];
        let mut hashing = hashers(&self.head);
        hashing.iter_mut().for_each(|(.., hasher)| hasher.write(&body));
        self.body = Some(hashing);
        kept.push(body);
        Ok(kept)
    }

    /// The end of the message; with what of it was not given to be kept yet.
    pub fn finish(mut self) -> (Read, Bytes) {
        let kept = match &self.body {
            Some(_) => Bytes::new(),
            None => Bytes::from(without_forged(&self.head, &self.receiver)),
        };
        let hashing = self.body.take().unwrap_or_else(|| hashers(&self.head));
        let hash = |(canonicalization, algorithm, length, hasher): Hashing| {
            let digest = hasher.finish().0.finish();
            (canonicalization, algorithm, length, digest.as_ref().to_vec())
        };
        (Read { head: self.head, hashes: hashing.into_iter().map(hash).collect() }, kept)
    }
}

/// One for each kind of body hash that the header's signatures are of: few, since those of a part of the body
/// (RFC 6376's `l=`) are not accepted.
fn hashers(head: &[u8]) -> Vec<Hashing> {
    let mut kinds = AuthenticatedMessage::parse(head).map(|message| message.body_hashes).unwrap_or_default();
    if !kinds.iter().any(is_of_seals) {
        kinds.push(of_seals());
    }
    let hasher = |(canonicalization, algorithm, length, _): BodyHash| {
        let digest = match algorithm {
            HashAlgorithm::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => &SHA256,
        };
        (canonicalization, algorithm, length, BodyHasher::new(Context::new(digest), canonicalization, length))
    };
    kinds.into_iter().map(hasher).collect()
}

/// The hash that a seal of ours has, should the message be passed on (RFC 8617 4.1.2).
fn of_seals() -> BodyHash {
    (Canonicalization::Relaxed, HashAlgorithm::Sha256, 0, Vec::new())
}

fn is_of_seals(hash: &BodyHash) -> bool {
    (hash.0, hash.1, hash.2) == (Canonicalization::Relaxed, HashAlgorithm::Sha256, 0)
}

impl Read {
    /// `None`: there is no header at all.
    pub(in crate::policy) fn message(&self) -> Option<AuthenticatedMessage<'_>> {
        let mut message = AuthenticatedMessage::parse(&self.head)?;
        // What was parsed has no body: the hashes are those of the body that went by.
        for (canonicalization, algorithm, length, hash) in &mut message.body_hashes {
            let same = |known: &&BodyHash| {
                known.0 == *canonicalization && known.1 == *algorithm && known.2 == *length
            };
            *hash = self.hashes.iter().find(same).map(|known| known.3.clone()).unwrap_or_default();
        }
        message.dkim_headers.truncate(SIGNATURES_MAX);
        message.errors.truncate(SIGNATURES_MAX);
        for signature in &mut message.dkim_headers {
            // Asks for reports and third parties, each a look-up more, are not heeded.
            signature.header.r = false;
            signature.header.atps = None;
        }
        Some(message)
    }

    /// Of the body.
    pub(in crate::policy) fn hash_for_seals(&self) -> Option<&[u8]> {
        self.hashes.iter().find(|hash| is_of_seals(hash)).map(|hash| hash.3.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(parts: &[&[u8]]) -> Vec<u8> {
        let mut reading = Reading::new("mx.test");
        let mut kept = Vec::new();
        for part in parts {
            kept.extend(reading.take(Bytes::copy_from_slice(part)).unwrap().concat());
        }
        kept.extend_from_slice(&reading.finish().1);
        kept
    }

    #[test]
    fn the_end_of_the_header_is_found_wherever_the_parts_end() {
        let forged = "Authentication-Results: mx.test; spf=pass\r\n";
        for rest in ["Subject: x\r\n\r\nbody\r\n\r\nmore\r\n", "\r\nbody\r\n", "Subject: x\r\n", "\r\n", ""] {
            let whole = [forged, rest].concat();
            for at in 0..=whole.len() {
                let (one, other) = whole.as_bytes().split_at(at);
                assert_eq!(kept(&[one, other]), rest.as_bytes(), "cut at {at}: {whole:?}");
            }
            let each: Vec<&[u8]> = whole.as_bytes().chunks(1).collect();
            assert_eq!(kept(&each), rest.as_bytes());
        }
        let in_body = ["\r\n", forged].concat();
        assert_eq!(kept(&[in_body.as_bytes()]), in_body.as_bytes(), "a body may say what it likes");
    }

    #[test]
    fn a_header_at_the_bound_is_read_and_one_octet_more_is_not() {
        let head = |length: usize| format!("X: {}\r\n\r\n", "x".repeat(length - 7));
        let take = |length: usize, body: &str| {
            Reading::new("mx.test").take(Bytes::from(head(length) + body)).map(|kept| kept.concat().len())
        };
        assert_eq!(take(HEAD_BYTES_MAX, "body"), Ok(HEAD_BYTES_MAX + 4));
        assert_eq!(take(HEAD_BYTES_MAX + 1, ""), Err(HeadTooLong));
        let endless = Bytes::from(vec![b'x'; HEAD_BYTES_MAX + 1]);
        assert_eq!(Reading::new("mx.test").take(endless), Err(HeadTooLong));
    }
}
