//! The bytes of Raft's messages. A peer of the same protocol version reads them alike.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::cluster::codec::{
    CodecError, finish, put_entry, put_log_id, put_log_id_option, put_vote, take_entry, take_flag,
    take_log_id, take_log_id_option, take_u8, take_u32, take_u64, take_vote,
};
use crate::cluster::types::TypeConfig;

/// Entries in one append message.
pub const APPEND_ENTRIES_MAX: usize = 4096;

pub fn append_bytes(request: &AppendEntriesRequest<TypeConfig>) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, &request.vote);
    put_log_id_option(&mut out, &request.prev_log_id);
    put_log_id_option(&mut out, &request.leader_commit);
    out.put_u32_le(request.entries.len() as u32);
    request.entries.iter().for_each(|entry| put_entry(&mut out, entry));
    out.freeze()
}

pub fn append_from(mut bytes: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, CodecError> {
    let vote = take_vote(&mut bytes)?;
    let prev_log_id = take_log_id_option(&mut bytes)?;
    let leader_commit = take_log_id_option(&mut bytes)?;
    let count = take_u32(&mut bytes)? as usize;
    if count > APPEND_ENTRIES_MAX {
        return Err(CodecError("more entries in a message than can be"));
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(take_entry(&mut bytes)?);
    }
    finish(&bytes)?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

pub fn appended_bytes(response: &AppendEntriesResponse<TypeConfig>) -> Bytes {
    let mut out = BytesMut::new();
    match response {
        AppendEntriesResponse::Success => out.put_u8(0),
        AppendEntriesResponse::PartialSuccess(upto) => {
            out.put_u8(1);
            put_log_id_option(&mut out, upto);
        }
        AppendEntriesResponse::Conflict => out.put_u8(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(3);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub fn appended_from(mut bytes: Bytes) -> Result<AppendEntriesResponse<TypeConfig>, CodecError> {
    let response = match take_u8(&mut bytes)? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(take_log_id_option(&mut bytes)?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(take_vote(&mut bytes)?),
        _ => return Err(CodecError("an answer that this build does not know")),
    };
    finish(&bytes)?;
    Ok(response)
}

pub fn streamed_bytes(result: &StreamAppendResult<TypeConfig>) -> Bytes {
    let mut out = BytesMut::new();
    match result {
        Ok(upto) => {
            out.put_u8(0);
            put_log_id_option(&mut out, upto);
        }
        Err(StreamAppendError::Conflict(at)) => {
            out.put_u8(1);
            put_log_id(&mut out, at);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(2);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub fn streamed_from(mut bytes: Bytes) -> Result<StreamAppendResult<TypeConfig>, CodecError> {
    let result = match take_u8(&mut bytes)? {
        0 => Ok(take_log_id_option(&mut bytes)?),
        1 => Err(StreamAppendError::Conflict(take_log_id(&mut bytes)?)),
        2 => Err(StreamAppendError::HigherVote(take_vote(&mut bytes)?)),
        _ => return Err(CodecError("an answer that this build does not know")),
    };
    finish(&bytes)?;
    Ok(result)
}

pub fn vote_request_bytes(request: &VoteRequest<TypeConfig>) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, &request.vote);
    put_log_id_option(&mut out, &request.last_log_id);
    out.put_u8(u8::from(request.leadership_transfer));
    out.freeze()
}

pub fn vote_request_from(mut bytes: Bytes) -> Result<VoteRequest<TypeConfig>, CodecError> {
    let mut request = VoteRequest::new(take_vote(&mut bytes)?, take_log_id_option(&mut bytes)?);
    request.leadership_transfer = take_flag(&mut bytes)?;
    finish(&bytes)?;
    Ok(request)
}

pub fn vote_response_bytes(response: &VoteResponse<TypeConfig>) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, &response.vote);
    out.put_u8(u8::from(response.vote_granted));
    put_log_id_option(&mut out, &response.last_log_id);
    out.freeze()
}

pub fn vote_response_from(mut bytes: Bytes) -> Result<VoteResponse<TypeConfig>, CodecError> {
    let vote = take_vote(&mut bytes)?;
    let granted = take_flag(&mut bytes)?;
    let last_log_id = take_log_id_option(&mut bytes)?;
    finish(&bytes)?;
    Ok(VoteResponse::new(vote, last_log_id, granted))
}

pub fn transfer_bytes(request: &TransferLeaderRequest<TypeConfig>) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, request.from_leader());
    out.put_u64_le(*request.to_node_id());
    put_log_id_option(&mut out, &request.last_log_id().copied());
    out.freeze()
}

pub fn transfer_from(mut bytes: Bytes) -> Result<TransferLeaderRequest<TypeConfig>, CodecError> {
    let (from, to) = (take_vote(&mut bytes)?, take_u64(&mut bytes)?);
    let last_log_id = take_log_id_option(&mut bytes)?;
    finish(&bytes)?;
    Ok(TransferLeaderRequest::new(from, to, last_log_id))
}

pub fn transferred_bytes(response: &TransferLeaderResponse<TypeConfig>) -> Bytes {
    let mut out = BytesMut::new();
    match response {
        Ok(()) => out.put_u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(1);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(2);
            put_log_id_option(&mut out, expected);
            put_log_id_option(&mut out, actual);
        }
    }
    out.freeze()
}

pub fn transferred_from(mut bytes: Bytes) -> Result<TransferLeaderResponse<TypeConfig>, CodecError> {
    let response = match take_u8(&mut bytes)? {
        0 => Ok(()),
        1 => Err(TransferLeaderError::VoteChanged {
            expected: take_vote(&mut bytes)?,
            actual: take_vote(&mut bytes)?,
        }),
        2 => Err(TransferLeaderError::LogNotFlushed {
            expected: take_log_id_option(&mut bytes)?,
            actual: take_log_id_option(&mut bytes)?,
        }),
        _ => return Err(CodecError("an answer that this build does not know")),
    };
    finish(&bytes)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::codec::normal_payload;
    use crate::cluster::types::{Entry, Payload, Vote, log_id};

    #[test]
    fn every_message_comes_back_and_none_is_read_when_cut() {
        let vote = Vote::new_committed(4, 2);
        let append = AppendEntriesRequest {
            vote,
            prev_log_id: Some(log_id(3, 8)),
            entries: vec![Entry { log_id: log_id(4, 9), payload: Payload::Normal(normal_payload(b"x")) }],
            leader_commit: Some(log_id(3, 7)),
        };
        let bytes = append_bytes(&append);
        let back = append_from(bytes.clone()).unwrap();
        assert_eq!(
            (back.vote, back.prev_log_id, back.leader_commit),
            (vote, append.prev_log_id, append.leader_commit)
        );
        assert_eq!(back.entries, append.entries);
        for length in 0..bytes.len() {
            assert!(append_from(bytes.slice(..length)).is_err(), "{length}");
        }
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(log_id(4, 9))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ] {
            assert_eq!(appended_from(appended_bytes(&response)).unwrap(), response);
        }
        for result in [
            Ok(Some(log_id(4, 9))),
            Err(StreamAppendError::Conflict(log_id(3, 8))),
            Err(StreamAppendError::HigherVote(vote)),
        ] {
            assert_eq!(streamed_from(streamed_bytes(&result)).unwrap(), result);
        }
        let mut request = VoteRequest::new(Vote::new(5, 1), Some(log_id(4, 9)));
        request.leadership_transfer = true;
        assert_eq!(vote_request_from(vote_request_bytes(&request)).unwrap(), request);
        let response = VoteResponse::new(vote, None, true);
        assert_eq!(vote_response_from(vote_response_bytes(&response)).unwrap(), response);
        let transfer = TransferLeaderRequest::new(vote, 2, Some(log_id(4, 9)));
        assert_eq!(transfer_from(transfer_bytes(&transfer)).unwrap(), transfer);
        let refused = Err(TransferLeaderError::LogNotFlushed { expected: Some(log_id(4, 9)), actual: None });
        assert_eq!(transferred_from(transferred_bytes(&refused)).unwrap(), refused);
    }
}
