//! Bodies in sealed pieces. Each body has a key of its own, made of the cluster's secret and its id, and each piece its number for
//! a nonce: the same body is sealed to the same octets, and no key and nonce ever seal two things.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::cluster::pki::ClusterCa;
use crate::mail::ids::BodyId;

use super::super::SMALL_BODY_BYTES_MAX;

/// Separates this key from others that may be made of the CA's (BLAKE3's key derivation).
const PURPOSE: &str = "pollux 2026-11-27 bodies in the witness's journal";
/// The piece's number and how many there are, big-endian.
const HEAD_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// Octets of a body in one piece, so that it fits a frame of small bodies.
const PIECE_BYTES: usize = SMALL_BODY_BYTES_MAX - HEAD_BYTES - TAG_BYTES;

/// Data nodes make it of the cluster's CA key; a witness does not have that.
#[derive(Clone)]
pub struct JournalKey([u8; 32]);

impl JournalKey {
    pub fn new(ca: &ClusterCa) -> Self {
        Self(blake3::derive_key(PURPOSE, &ca.key_der()))
    }

    /// The pieces of a body, as a witness is to keep them.
    pub fn seal(&self, id: BodyId, body: Bytes) -> impl Iterator<Item = Bytes> {
        let count = body.len().div_ceil(PIECE_BYTES).max(1) as u32;
        let key = self.of(id);
        (0..count).map(move |number| {
            let from = number as usize * PIECE_BYTES;
            let mut text = body[from..(from + PIECE_BYTES).min(body.len())].to_vec();
            key.seal_in_place_append_tag(nonce(number), Aad::from(about(id, number, count)), &mut text)
                .expect("a piece is shorter than the algorithm's bound of 256 GiB");
            let mut piece = BytesMut::with_capacity(HEAD_BYTES + text.len());
            piece.extend_from_slice(&number.to_be_bytes());
            piece.extend_from_slice(&count.to_be_bytes());
            piece.extend_from_slice(&text);
            piece.freeze()
        })
    }

    /// The length of a piece is part of it: with another one the same nonce would seal other octets.
    fn of(&self, id: BodyId) -> LessSafeKey {
        let mut made_of = id.0.to_vec();
        made_of.extend_from_slice(&(PIECE_BYTES as u64).to_be_bytes());
        let key = blake3::keyed_hash(&self.0, &made_of);
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_bytes());
        LessSafeKey::new(key.expect("the key has the algorithm's length"))
    }
}

fn nonce(number: u32) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..4].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn about(id: BodyId, number: u32, count: u32) -> Vec<u8> {
    [&id.0[..], &number.to_be_bytes(), &count.to_be_bytes()].concat()
}

/// A piece that was opened.
pub struct Piece {
    id: BodyId,
    number: u32,
    count: u32,
    text: Bytes,
}

impl Piece {
    /// `record`: the body's id, then the sealed piece. `None`: sealed by somebody else, or altered.
    pub fn open(key: &JournalKey, record: Bytes) -> Option<Self> {
        let (id, rest) = record.split_first_chunk::<32>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (count, sealed) = rest.split_first_chunk::<4>()?;
        let (id, number, count) = (BodyId(*id), u32::from_be_bytes(*number), u32::from_be_bytes(*count));
        if number >= count || sealed.len() > PIECE_BYTES + TAG_BYTES {
            return None;
        }
        let mut text = sealed.to_vec();
        let length = key
            .of(id)
            .open_in_place(nonce(number), Aad::from(about(id, number, count)), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(Self { id, number, count, text: text.into() })
    }
}

/// Bodies of which some pieces are there. They come in any order, and more than once where a body was kept again.
pub struct Assembler {
    bytes_max: u64,
    bytes: u64,
    partial: BTreeMap<BodyId, BTreeMap<u32, Bytes>>,
}

impl Assembler {
    /// At most so many octets wait for the rest of their bodies.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, partial: BTreeMap::new() }
    }

    /// The body that is whole by this piece.
    pub fn add(&mut self, piece: Piece) -> Option<(BodyId, Bytes)> {
        let Piece { id, number, count, text } = piece;
        if count == 1 {
            return Some((id, text));
        }
        let bytes = text.len() as u64;
        if self.bytes + bytes > self.bytes_max {
            tracing::warn!("{} bodies of the journal were given up half-way", self.partial.len());
            self.partial.clear();
            self.bytes = 0;
        }
        let pieces = self.partial.entry(id).or_default();
        if pieces.insert(number, text).is_none() {
            self.bytes += bytes;
        }
        if pieces.len() < count as usize {
            return None;
        }
        let pieces = self.partial.remove(&id)?;
        let whole: usize = pieces.values().map(Bytes::len).sum();
        self.bytes -= whole as u64;
        let mut body = BytesMut::with_capacity(whole);
        pieces.values().for_each(|text| body.extend_from_slice(text));
        Some((id, body.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::pki::ClusterId;
    use crate::mail::ids::Timestamp;

    fn key(cluster: u8) -> JournalKey {
        JournalKey::new(&ClusterCa::create(ClusterId([cluster; 16]), Timestamp(1_800_000_000_000)).unwrap())
    }

    fn body(bytes: usize) -> (BodyId, Bytes) {
        let body: Bytes = (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<u8>>().into();
        (BodyId::of(&body), body)
    }

    fn records(key: &JournalKey, id: BodyId, body: &Bytes) -> Vec<Bytes> {
        key.seal(id, body.clone()).map(|piece| [&id.0[..], &piece].concat().into()).collect()
    }

    #[test]
    fn bodies_of_every_length_come_back_in_whatever_order_their_pieces_come() {
        let key = key(1);
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7] {
            let (id, body) = body(bytes);
            let mut records = records(&key, id, &body);
            assert_eq!(records.len(), bytes.div_ceil(PIECE_BYTES).max(1));
            assert!(records.iter().all(|record| record.len() <= 32 + SMALL_BODY_BYTES_MAX));
            records.reverse();
            records.insert(0, records[0].clone());
            let mut assembler = Assembler::new(1 << 20);
            let whole: Vec<_> = records
                .iter()
                .filter_map(|record| assembler.add(Piece::open(&key, record.clone()).unwrap()))
                .collect();
            assert_eq!(whole.last(), Some(&(id, body)), "{bytes}");
            assert_eq!((assembler.bytes, assembler.partial.len()), (0, 0));
        }
    }

    #[test]
    fn a_piece_opens_with_the_cluster_s_key_in_its_place_alone() {
        let (id, body) = body(2 * PIECE_BYTES);
        let (ours, theirs) = (key(1), key(2));
        let sealed = records(&ours, id, &body);
        assert_eq!(sealed, records(&ours, id, &body), "it is sealed alike each time");
        assert!(sealed.iter().all(|record| !record.windows(16).any(|window| window == &body[..16])));
        assert!(Piece::open(&theirs, sealed[0].clone()).is_none());
        for at in [0, 33, 39, 40, sealed[0].len() - 1] {
            let mut altered = sealed[0].to_vec();
            altered[at] ^= 1;
            assert!(Piece::open(&ours, altered.into()).is_none(), "octet {at}");
        }
        for short in [0, 31, 39, 40, 50] {
            assert!(Piece::open(&ours, sealed[0].slice(..short)).is_none(), "{short} octets");
        }
    }

    #[test]
    fn what_waits_for_the_rest_of_its_body_is_bounded() {
        let (key, mut assembler) = (key(1), Assembler::new(3 * PIECE_BYTES as u64));
        for seed in 0..3u8 {
            let body: Bytes = vec![seed; 2 * PIECE_BYTES].into();
            let first = records(&key, BodyId::of(&body), &body).remove(0);
            assert!(assembler.add(Piece::open(&key, first).unwrap()).is_none());
        }
        assert_eq!((assembler.partial.len(), assembler.bytes), (3, 3 * PIECE_BYTES as u64));
        let (id, body) = body(2 * PIECE_BYTES);
        let [first, second] = records(&key, id, &body).try_into().unwrap();
        assert!(assembler.add(Piece::open(&key, first).unwrap()).is_none());
        assert_eq!(assembler.partial.len(), 1, "the others are given up");
        assert_eq!(assembler.add(Piece::open(&key, second).unwrap()), Some((id, body)));
    }
}
