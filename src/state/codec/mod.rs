//! The bytes of proposals, outcomes and rows: versioned, bounded, frozen by golden tests.
//!
//! A record is `u16 kind, u16 version, u32 length, bincode` (big-endian; bincode 2 "standard": varint,
//! little-endian). A released struct never changes. To give one a new shape:
//! 1. keep the old struct as it is, under a name with its version (`MailboxRowV1`), with its golden bytes;
//! 2. write the new struct, raise `VERSION` in its `records!` line, add golden bytes for it;
//! 3. override [`Record::upgrade`] in that line's impl so that the old version is decoded and converted;
//! 4. write the new version only once the replicated cluster version allows it (design 7).
//!
//! Enums (`Command`, `Outcome`, `Refusal`) may only get further variants at their end; a build that does
//! not know a variant stops with [`CodecError::Unknown`].

use bincode::Encode;
use bincode::config::standard;
use bincode::error::DecodeError;

use super::acl::Acl;
use super::command::Proposal;
use super::outcome::Outcome;
use super::rows::RowsError;
use super::stored::*;

/// Bytes of an encoded proposal or outcome.
pub const PROPOSAL_BYTES_MAX: usize = 4 << 20;
/// Bytes of an encoded row (design 4a).
pub const ROW_BYTES_MAX: usize = 6 << 10;
const HEADER_BYTES: usize = 8;
/// Memory that decoding a proposal or outcome may claim. No element of our collections is more than 24
/// times larger in memory than encoded (an empty `String`), so this covers [`DECODABLE_BYTES`].
const LARGE_CLAIM_BYTES_MAX: usize = 16 << 20;
const ROW_CLAIM_BYTES_MAX: usize = 256 << 10;
/// Encodings up to this are decodable whatever is in them; larger ones are tried before they are let out.
const DECODABLE_BYTES: usize = 512 << 10;

/// Why bytes could not be read. The node stops on it: skipping an entry would part the replicas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error(
        "record of unknown type {kind} version {version}: this build is too old for it, or the bytes are damaged"
    )]
    Unknown { kind: u16, version: u16 },
    #[error("record is damaged: {0}")]
    Damaged(String),
    #[error("record of {bytes} bytes is larger than the bound of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
}

pub fn encode_proposal(proposal: &Proposal) -> Result<Vec<u8>, CodecError> {
    encode_large(proposal)
}

pub fn decode_proposal(bytes: &[u8]) -> Result<Proposal, CodecError> {
    decode(bytes)
}

pub fn encode_outcome(outcome: &Outcome) -> Result<Vec<u8>, CodecError> {
    encode_large(outcome)
}

pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, CodecError> {
    decode(bytes)
}

/// A type with bytes of its own. Implemented by `records!` alone.
pub trait Record: Encode + Sized {
    const KIND: u16;
    const VERSION: u16;
    const BYTES_MAX: usize;

    fn decode_body(body: &[u8]) -> Result<(Self, usize), DecodeError>;

    /// Decodes an older version's body; `None` if there is no such version.
    fn upgrade(_version: u16, _body: &[u8]) -> Option<Result<(Self, usize), DecodeError>> {
        None
    }
}

macro_rules! records {
    ($($kind:literal $version:literal $claim:ident $bytes_max:ident $record:ty;)*) => {$(
        impl Record for $record {
            const KIND: u16 = $kind;
            const VERSION: u16 = $version;
            const BYTES_MAX: usize = $bytes_max;

            fn decode_body(body: &[u8]) -> Result<(Self, usize), DecodeError> {
                bincode::decode_from_slice(body, standard().with_limit::<$claim>())
            }
        }
    )*};
}

// Kinds are never used again for something else.
records! {
    1 1 LARGE_CLAIM_BYTES_MAX PROPOSAL_BYTES_MAX Proposal;
    2 1 LARGE_CLAIM_BYTES_MAX PROPOSAL_BYTES_MAX Outcome;
    16 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX MetaRow;
    17 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ReplicasRow;
    18 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX DomainRow;
    19 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX UserRow;
    20 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX AccountRow;
    21 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX AliasPartRow;
    22 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX SettingRow;
    23 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX MailboxRow;
    24 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX NameRow;
    25 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX KeywordsPartRow;
    26 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ExpungedPartRow;
    27 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX MessagesRow;
    28 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX BodyRow;
    29 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX SlotRow;
    30 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX SlotPartRow;
    31 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX CommandRow;
    32 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX SweepRow;
    33 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX NodeIdsRow;
    34 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX Acl;
    35 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX GrantRow;
    36 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX GrantsRow;
    37 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ScramRow;
    38 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX StandInRow;
    39 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX RetiredRow;
    40 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX MetadataPartRow;
    41 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX MetadataTallyRow;
    42 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX MetadataGuestRow;
    43 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX DrainedRow;
    45 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX RemovedRow;
    48 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX QueueRow;
    49 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX QueuedRow;
    50 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ParcelRow;
    51 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX RecipientRow;
    52 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX DueRow;
    53 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX LeaseRow;
    54 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX LeasedRow;
    55 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX PassedOnRow;
    56 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX TlsWishRow;
    64 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX RuleRow;
    65 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX RulesRow;
    66 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX DkimKeyRow;
    67 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX RelayRow;
    68 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX FirewallRow;
    69 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX AuthorityRow;
    72 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX SrsRow;
    73 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX CertificateRow;
    74 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ChainRow;
    75 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX AcmeRow;
    76 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX AcmeAnswersRow;
    80 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX BudgetsRow;
    81 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX BudgetRow;
    82 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX BlocksRow;
    83 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX BlockRow;
    84 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX OffenderRow;
    85 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX SeatsTallyRow;
    86 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX SeatsRow;
    96 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX GreyTallyRow;
    97 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX GreyTripletRow;
    98 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX GreyClientRow;
    99 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX GreyEndRow;
    112 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ScriptsRow;
    113 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ScriptRow;
    114 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ScriptPartRow;
    115 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX RepliesRow;
    116 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ReplyRow;
    117 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX ReplyEndRow;
    128 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX StsTallyRow;
    129 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX StsPolicyRow;
    130 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX StsEndRow;
    136 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX TlsDaysRow;
    137 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX TlsDayRow;
    138 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX TlsPolicyRow;
    139 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX TlsFailureRow;
    208 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX AlarmRow;
    209 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX LastBackupRow;
    210 1 ROW_CLAIM_BYTES_MAX ROW_BYTES_MAX AddressHolderRow;
}

/// Encodes a record; refuses one beyond its bound.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![0; HEADER_BYTES];
    bincode::encode_into_std_write(record, &mut bytes, standard())
        .map_err(|error| CodecError::Damaged(error.to_string()))?;
    if bytes.len() > R::BYTES_MAX {
        return Err(CodecError::TooLarge { bytes: bytes.len(), bytes_max: R::BYTES_MAX });
    }
    let length = (bytes.len() - HEADER_BYTES) as u32;
    bytes[0..2].copy_from_slice(&R::KIND.to_be_bytes());
    bytes[2..4].copy_from_slice(&R::VERSION.to_be_bytes());
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// Decodes a record that must fill `bytes` to the last one.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, CodecError> {
    if bytes.len() > R::BYTES_MAX {
        return Err(CodecError::TooLarge { bytes: bytes.len(), bytes_max: R::BYTES_MAX });
    }
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(CodecError::Damaged("it is shorter than its header".into()));
    };
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let version = u16::from_be_bytes([header[2], header[3]]);
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let unknown = CodecError::Unknown { kind, version };
    if kind != R::KIND {
        return Err(unknown);
    }
    if length != body.len() {
        return Err(CodecError::Damaged(format!("it holds {} bytes and announces {length}", body.len())));
    }
    let decoded = if version == R::VERSION { Some(R::decode_body(body)) } else { R::upgrade(version, body) };
    let (record, consumed) = match decoded {
        None | Some(Err(DecodeError::UnexpectedVariant { .. })) => return Err(unknown),
        Some(Err(error)) => return Err(CodecError::Damaged(error.to_string())),
        Some(Ok(decoded)) => decoded,
    };
    if consumed != body.len() {
        return Err(CodecError::Damaged(format!("{} bytes are left over", body.len() - consumed)));
    }
    Ok(record)
}

/// Encodes a row. Apply bounds what it puts in rows, so that one too large is a bug or damage.
pub fn encode_row<R: Record>(key: &[u8], row: &R) -> Result<Vec<u8>, RowsError> {
    encode(row).map_err(|error| unreadable(key, error))
}

pub fn decode_row<R: Record>(key: &[u8], bytes: &[u8]) -> Result<R, RowsError> {
    decode(bytes).map_err(|error| unreadable(key, error))
}

fn unreadable(key: &[u8], error: CodecError) -> RowsError {
    let key: String = key.iter().take(40).map(|byte| format!("{byte:02x}")).collect();
    RowsError(format!("row {key}: {error}"))
}

/// An entry that can be written but not read would stop every node for ever: large ones are read back first.
fn encode_large<R: Record>(record: &R) -> Result<Vec<u8>, CodecError> {
    let bytes = encode(record)?;
    if bytes.len() > DECODABLE_BYTES {
        R::decode_body(&bytes[HEADER_BYTES..])
            .map_err(|_| CodecError::TooLarge { bytes: bytes.len(), bytes_max: R::BYTES_MAX })?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
