//! What nodes say to each other, from bytes that no node of ours has made: total, and what is read is written and
//! read again as the same.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use pollux::cluster::bodies::journal::pieces::{self, Assembler};
use pollux::cluster::bodies::journal::{JournalKey, JournalState};
use pollux::cluster::bodies::server::{Ack, Piece, Small};
use pollux::cluster::codec::{self, CodecError};
use pollux::cluster::membership::MembershipCall;
use pollux::cluster::network::messages::*;
use pollux::cluster::pki::{self, ClusterCa, ClusterId, NodeIdentity};
use pollux::cluster::status::NodeReport;
use pollux::cluster::token::{ADDRESSES_MAX, JoinToken, TokenRecord};
use pollux::cluster::transport::PeerAddress;
use pollux::cluster::transport::frames::{OPENING_BYTES, Opening};
use pollux::cluster::transport::hello::{self, Answer, Hello};
use pollux::cluster::transport::join::{JoinAnswer, JoinRequest};
use pollux::cluster::wire;
use pollux::mail::ids::{BodyId, NodeId, Timestamp};

pub fn run(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let rest = Bytes::copy_from_slice(rest);
    match kind % 22 {
        0 => again(&rest, append_from, append_bytes),
        1 => again(&rest, appended_from, appended_bytes),
        2 => again(&rest, streamed_from, streamed_bytes),
        3 => again(&rest, vote_request_from, vote_request_bytes),
        4 => again(&rest, vote_response_from, vote_response_bytes),
        5 => again(&rest, transfer_from, transfer_bytes),
        6 => again(&rest, transferred_from, transferred_bytes),
        7 => again(&rest, codec::payload_from, codec::payload_bytes),
        8 => again(&rest, snapshot_meta, |meta| {
            let mut out = BytesMut::new();
            codec::put_snapshot_meta(&mut out, meta);
            out.freeze()
        }),
        9 => openings(&rest),
        10 => bodies(&rest),
        11 => by_bincode::<Hello>(&rest),
        12 => by_bincode::<Answer>(&rest),
        13 => by_bincode::<JoinRequest>(&rest),
        14 => by_bincode::<Result<JoinAnswer, String>>(&rest),
        15 => by_bincode::<BTreeMap<NodeId, PeerAddress>>(&rest),
        16 => by_bincode::<Vec<TokenRecord>>(&rest),
        17 => by_bincode::<NodeReport>(&rest),
        18 => by_bincode::<MembershipCall>(&rest),
        19 => by_bincode::<Vec<(Vec<u8>, Vec<u8>)>>(&rest),
        20 => tokens(&rest),
        _ => identities(&rest),
    }
}

fn again<T>(bytes: &Bytes, from: impl Fn(Bytes) -> Result<T, CodecError>, to_bytes: impl Fn(&T) -> Bytes) {
    if let Ok(message) = from(bytes.clone()) {
        let written = to_bytes(&message);
        let Ok(read) = from(written.clone()) else { panic!("written, and not to be read: {written:?}") };
        assert_eq!(to_bytes(&read), written);
    }
}

fn snapshot_meta(mut bytes: Bytes) -> Result<pollux::cluster::types::SnapshotMeta, CodecError> {
    let meta = codec::take_snapshot_meta(&mut bytes)?;
    codec::finish(&bytes)?;
    Ok(meta)
}

fn by_bincode<T: bincode::Encode + bincode::Decode<()> + Debug>(bytes: &[u8]) {
    let messages = [wire::decode::<T>(bytes).ok(), hello::decode::<T>(bytes).ok()];
    for message in messages.into_iter().flatten() {
        let written = wire::encode(&message).expect("as short as what was read");
        let read: T = wire::decode(&written).expect("written, so to be read");
        assert_eq!(wire::encode(&read), Ok(written));
        let said = hello::encode(&message).expect("as short as what was read");
        assert!(hello::decode::<T>(&said).is_ok());
    }
}

fn openings(bytes: &[u8]) {
    let Some(head) = bytes.first_chunk::<OPENING_BYTES>() else { return };
    if let Ok(opening) = Opening::decode(*head) {
        assert_eq!(&opening.encode()[..], head);
    }
}

fn bodies(frame: &Bytes) {
    if let Some(small) = Small::decode(frame.clone()) {
        assert_eq!(small.encode(), frame);
    }
    if let Some(piece) = Piece::decode(frame.clone()) {
        assert_eq!(piece.encode(), frame);
    }
    if let Some(ack) = Ack::decode(frame) {
        let written = ack.encode();
        assert_eq!(Ack::decode(&written).map(Ack::encode), Some(written));
    }
    journaled(frame);
    by_bincode::<JournalState>(frame);
}

/// Any bytes are a body to be sealed; none that nobody sealed are one.
fn journaled(bytes: &Bytes) {
    static KEY: OnceLock<JournalKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let ca = ClusterCa::create(ClusterId([7; 16]), Timestamp(1_800_000_000_000));
        JournalKey::new(&ca.expect("a CA can be made"))
    });
    assert!(pieces::Piece::open(key, bytes.clone()).is_none());
    let id = BodyId::of(bytes);
    let mut assembler = Assembler::new(u64::MAX);
    let whole = key.seal(id, bytes.clone()).filter_map(|sealed| {
        let record = Bytes::from([&id.0[..], &sealed].concat());
        assembler.add(pieces::Piece::open(key, record).expect("sealed, so to be opened"))
    });
    assert_eq!(whole.collect::<Vec<_>>(), [(id, bytes.clone())]);
}

fn tokens(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<JoinToken>();
    }
    let Ok(token) = wire::decode::<JoinToken>(bytes) else { return };
    let text = token.to_string();
    // The bound of a token's text is beyond what its addresses may be.
    let fits = (1..=ADDRESSES_MAX).contains(&token.addresses.len()) && text.len() <= 4096;
    assert_eq!(text.parse().ok(), fits.then_some(token));
}

fn identities(bytes: &[u8]) {
    if let Ok(identity) = NodeIdentity::from_bytes(bytes) {
        let _ = (identity.check(), identity.name(), identity.renew_after());
    }
    let _ = pki::name_in(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<pki::ClusterId>();
    }
}
