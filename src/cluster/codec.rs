//! Our own bytes for what Raft writes to disk and sends: votes, log ids, entries, memberships.
//!
//! Little-endian, versioned, bounded; never openraft's serde layout, so that its upgrades change no disk.
//! Released layouts never change: golden tests below hold them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::types::{Encoded, Entry, Member, Membership, Payload, Role, StoredMembership, Vote, log_id};
use super::types::{LogId, SnapshotMeta};
use crate::mail::lines::beginning;

/// Bytes of one entry's payload: a command with its record header, or a membership.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Members, joint configurations and voters that one membership may have.
pub const MEMBERS_MAX: usize = 32;

const PAYLOAD_BLANK: u8 = 0;
const PAYLOAD_NORMAL: u8 = 1;
const PAYLOAD_MEMBERSHIP_V1: u8 = 2;

/// The bytes are not what this build can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bytes from disk or a peer cannot be read: {0}")]
pub struct CodecError(pub &'static str);

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Marks an encoded proposal as a normal entry's payload.
pub fn normal_payload(proposal: &[u8]) -> Encoded {
    let mut bytes = BytesMut::with_capacity(1 + proposal.len());
    bytes.put_u8(PAYLOAD_NORMAL);
    bytes.put_slice(proposal);
    Encoded(bytes.freeze())
}

impl Encoded {
    /// The proposal's record, without the mark.
    pub fn proposal(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }
}

/// The payload as it stands in the log. A normal one is shared, not copied.
pub fn payload_bytes(payload: &Payload) -> Bytes {
    match payload {
        Payload::Blank => Bytes::from_static(&[PAYLOAD_BLANK]),
        Payload::Normal(encoded) => encoded.0.clone(),
        Payload::Membership(membership) => {
            let mut bytes = BytesMut::new();
            bytes.put_u8(PAYLOAD_MEMBERSHIP_V1);
            put_membership(&mut bytes, membership);
            bytes.freeze()
        }
    }
}

pub fn payload_from(bytes: Bytes) -> Result<Payload, CodecError> {
    match bytes.first() {
        Some(&PAYLOAD_BLANK) if bytes.len() == 1 => Ok(Payload::Blank),
        Some(&PAYLOAD_NORMAL) => Ok(Payload::Normal(Encoded(bytes))),
        Some(&PAYLOAD_MEMBERSHIP_V1) => {
            let mut rest = bytes.slice(1..);
            let membership = take_membership(&mut rest)?;
            finish(&rest)?;
            Ok(Payload::Membership(membership))
        }
        Some(_) => Err(CodecError("an entry of a kind that this build does not know; is the build too old?")),
        None => Err(CodecError("an entry without a kind")),
    }
}

pub fn put_entry(out: &mut BytesMut, entry: &Entry) {
    put_log_id(out, &entry.log_id);
    let payload = payload_bytes(&entry.payload);
    out.put_u32_le(payload.len() as u32);
    out.put_slice(&payload);
}

pub fn take_entry(from: &mut Bytes) -> Result<Entry, CodecError> {
    let log_id = take_log_id(from)?;
    let length = take_u32(from)? as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Err(CodecError("an entry beyond its bound"));
    }
    let payload = payload_from(take_bytes(from, length)?)?;
    Ok(Entry { log_id, payload })
}

pub fn put_log_id(out: &mut BytesMut, id: &LogId) {
    out.put_u64_le(id.leader_id.term);
    out.put_u64_le(id.index);
}

pub fn take_log_id(from: &mut Bytes) -> Result<LogId, CodecError> {
    Ok(log_id(take_u64(from)?, take_u64(from)?))
}

pub fn put_log_id_option(out: &mut BytesMut, id: &Option<LogId>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

pub fn take_log_id_option(from: &mut Bytes) -> Result<Option<LogId>, CodecError> {
    if take_flag(from)? { take_log_id(from).map(Some) } else { Ok(None) }
}

pub fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

pub fn take_vote(from: &mut Bytes) -> Result<Vote, CodecError> {
    let (term, node) = (take_u64(from)?, take_u64(from)?);
    Ok(if take_flag(from)? { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}

pub fn put_snapshot_meta(out: &mut BytesMut, meta: &SnapshotMeta) {
    put_log_id_option(out, &meta.last_log_id);
    put_stored_membership(out, &meta.last_membership);
}

pub fn take_snapshot_meta(from: &mut Bytes) -> Result<SnapshotMeta, CodecError> {
    Ok(SnapshotMeta {
        last_log_id: take_log_id_option(from)?,
        last_membership: take_stored_membership(from)?,
    })
}

pub fn put_stored_membership(out: &mut BytesMut, stored: &StoredMembership) {
    put_log_id_option(out, stored.log_id());
    put_membership(out, stored.membership());
}

pub fn take_stored_membership(from: &mut Bytes) -> Result<StoredMembership, CodecError> {
    Ok(StoredMembership::new(take_log_id_option(from)?, take_membership(from)?))
}

fn put_membership(out: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.put_u8(configs.len() as u8);
    for voters in configs {
        out.put_u8(voters.len() as u8);
        voters.iter().for_each(|voter| out.put_u64_le(*voter));
    }
    out.put_u8(membership.nodes().count() as u8);
    for (id, member) in membership.nodes() {
        out.put_u64_le(*id);
        put_member(out, member);
    }
}

fn take_membership(from: &mut Bytes) -> Result<Membership, CodecError> {
    let mut configs = Vec::new();
    for _ in 0..take_count(from)? {
        let mut voters = BTreeSet::new();
        for _ in 0..take_count(from)? {
            voters.insert(take_u64(from)?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..take_count(from)? {
        nodes.insert(take_u64(from)?, take_member(from)?);
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| CodecError("a membership that names unknown voters"))
}

pub fn put_member(out: &mut BytesMut, member: &Member) {
    out.put_u8(match member.role {
        Role::Data => 0,
        Role::Witness => 1,
    });
    put_text(out, &member.name);
    put_text(out, &member.control);
    put_text(out, &member.bulk);
}

pub fn take_member(from: &mut Bytes) -> Result<Member, CodecError> {
    let role = match take_u8(from)? {
        0 => Role::Data,
        1 => Role::Witness,
        _ => return Err(CodecError("a role that this build does not know")),
    };
    Ok(Member { role, name: take_text(from)?, control: take_text(from)?, bulk: take_text(from)? })
}

/// Text of at most [`Member::TEXT_BYTES_MAX`] octets; what is beyond is cut at a character.
pub fn put_text(out: &mut BytesMut, text: &str) {
    let text = beginning(text, Member::TEXT_BYTES_MAX);
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}

pub fn take_text(from: &mut Bytes) -> Result<String, CodecError> {
    let length = take_u8(from)? as usize;
    String::from_utf8(take_bytes(from, length)?.to_vec()).map_err(|_| CodecError("text that is not UTF-8"))
}

fn take_count(from: &mut Bytes) -> Result<usize, CodecError> {
    let count = take_u8(from)? as usize;
    if count > MEMBERS_MAX { Err(CodecError("more members than can be")) } else { Ok(count) }
}

pub fn take_flag(from: &mut Bytes) -> Result<bool, CodecError> {
    match take_u8(from)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError("a flag that is neither 0 nor 1")),
    }
}

pub fn take_bytes(from: &mut Bytes, length: usize) -> Result<Bytes, CodecError> {
    if from.len() < length {
        return Err(CodecError("cut short"));
    }
    Ok(from.split_to(length))
}

pub fn take_u8(from: &mut Bytes) -> Result<u8, CodecError> {
    from.try_get_u8().map_err(|_| CodecError("cut short"))
}

pub fn take_u32(from: &mut Bytes) -> Result<u32, CodecError> {
    from.try_get_u32_le().map_err(|_| CodecError("cut short"))
}

pub fn take_u64(from: &mut Bytes) -> Result<u64, CodecError> {
    from.try_get_u64_le().map_err(|_| CodecError("cut short"))
}

/// Nothing may follow what was read.
pub fn finish(rest: &Bytes) -> Result<(), CodecError> {
    if rest.is_empty() { Ok(()) } else { Err(CodecError("bytes beyond the end")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Membership {
        let member = |name: &str, role| Member {
            name: name.into(),
            role,
            control: "10.0.0.1:7001".into(),
            bulk: "10.0.0.1:7002".into(),
        };
        let nodes = BTreeMap::from([
            (1, member("a", Role::Data)),
            (2, member("b", Role::Data)),
            (3, member("w", Role::Witness)),
        ]);
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])], nodes).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_bytes_of_a_vote_and_a_log_id() {
        let mut out = BytesMut::new();
        put_vote(&mut out, &Vote::new_committed(7, 3));
        put_log_id_option(&mut out, &Some(log_id(7, 258)));
        put_log_id_option(&mut out, &None);
        assert_eq!(hex(&out), "0700000000000000030000000000000001010700000000000000020100000000000000");
        let mut bytes = out.freeze();
        assert_eq!(take_vote(&mut bytes).unwrap(), Vote::new_committed(7, 3));
        assert_eq!(take_log_id_option(&mut bytes).unwrap(), Some(log_id(7, 258)));
        assert_eq!(take_log_id_option(&mut bytes).unwrap(), None);
        finish(&bytes).unwrap();
    }

    #[test]
    fn golden_bytes_of_entries() {
        let mut out = BytesMut::new();
        put_entry(&mut out, &Entry { log_id: log_id(1, 2), payload: Payload::Blank });
        put_entry(&mut out, &Entry { log_id: log_id(1, 3), payload: Payload::Normal(normal_payload(b"hi")) });
        assert_eq!(
            hex(&out),
            "01000000000000000200000000000000010000000001000000000000000300000000000000030000000168\
             69"
        );
        let mut bytes = out.freeze();
        assert_eq!(take_entry(&mut bytes).unwrap().payload, Payload::Blank);
        match take_entry(&mut bytes).unwrap().payload {
            Payload::Normal(encoded) => assert_eq!(encoded.proposal(), b"hi"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn golden_hash_of_a_membership_and_back() {
        let bytes = payload_bytes(&Payload::Membership(members()));
        assert_eq!(
            hex(&bytes[..36]),
            "0202020100000000000000020000000000000003010000000000000002000000000000\
             00"
        );
        assert_eq!(payload_from(bytes).unwrap(), Payload::Membership(members()));
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused_and_never_panics() {
        let whole = payload_bytes(&Payload::Membership(members()));
        for length in 0..whole.len() {
            assert!(payload_from(whole.slice(..length)).is_err(), "{length}");
        }
        assert!(payload_from(Bytes::from_static(&[9])).is_err());
        let mut long = BytesMut::new();
        put_log_id(&mut long, &log_id(1, 1));
        long.put_u32_le(PAYLOAD_BYTES_MAX as u32 + 1);
        assert_eq!(take_entry(&mut long.freeze()), Err(CodecError("an entry beyond its bound")));
    }

    #[test]
    fn text_is_cut_at_its_bound_and_at_a_character() {
        let mut out = BytesMut::new();
        put_text(&mut out, &"é".repeat(200));
        assert_eq!(take_text(&mut out.freeze()).unwrap(), "é".repeat(127));
    }
}
