//! Length-prefixed frames over one QUIC stream, and the header that every stream begins with.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream, VarInt};

use super::peer::Peer;
use super::{CallError, FrameSink, FrameSource};
use crate::cluster::wire::MESSAGE_BYTES_MAX;

/// A frame holds at most this many bytes.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// What a reader hears of a stream that was dropped unfinished.
const ABANDONED: VarInt = VarInt::from_u32(1);

/// Frames in both directions. Dropping it unfinished makes the peer's [`FramedStream::recv`] fail.
pub struct FramedStream {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl FramedStream {
    pub(super) fn new(peer: Arc<Peer>, send: SendStream, recv: RecvStream) -> Self {
        let sender = Sending::Quic { peer: peer.clone(), stream: send, finished: false };
        let receiving = Receiving::Quic { peer, stream: recv };
        Self { sender: FrameSender { to: sender }, receiver: FrameReceiver { from: receiving } }
    }

    /// A stream that is carried by other means than QUIC.
    pub fn over(sink: Box<dyn FrameSink>, source: Box<dyn FrameSource>) -> Self {
        Self {
            sender: FrameSender { to: Sending::Elsewhere(sink) },
            receiver: FrameReceiver { from: Receiving::Elsewhere(source) },
        }
    }

    /// Sends one frame; waits while the peer does not read. Not cancel-safe.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), CallError> {
        self.sender.send(frame).await
    }

    /// The next frame; `None`: the peer has finished. Not cancel-safe: give it a task of its own.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, CallError> {
        self.receiver.recv().await
    }

    /// Says that no more frames follow.
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    pub fn split(self) -> (FrameSender, FrameReceiver) {
        (self.sender, self.receiver)
    }
}

/// The writing half.
pub struct FrameSender {
    to: Sending,
}

enum Sending {
    Quic { peer: Arc<Peer>, stream: SendStream, finished: bool },
    Elsewhere(Box<dyn FrameSink>),
}

impl FrameSender {
    /// Sends one frame; waits while the peer does not read. Not cancel-safe.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), CallError> {
        let mut chunks = [length_of(&frame)?, frame];
        match &mut self.to {
            Sending::Quic { peer, stream, .. } => {
                stream.write_all_chunks(&mut chunks).await.map_err(|error| peer.unreachable(error))
            }
            Sending::Elsewhere(sink) => {
                let [_, frame] = chunks;
                sink.send(vec![frame]).await
            }
        }
    }

    /// Sends many frames with one wake-up of the connection. Not cancel-safe.
    pub async fn send_all(&mut self, frames: Vec<Bytes>) -> Result<(), CallError> {
        let (peer, stream) = match &mut self.to {
            Sending::Quic { peer, stream, .. } => (peer, stream),
            Sending::Elsewhere(sink) => return sink.send(frames).await,
        };
        let mut chunks = Vec::with_capacity(frames.len() * 2);
        for frame in frames {
            chunks.extend([length_of(&frame)?, frame]);
        }
        stream.write_all_chunks(&mut chunks).await.map_err(|error| peer.unreachable(error))
    }

    /// Says that no more frames follow.
    pub fn finish(&mut self) {
        match &mut self.to {
            // The stream may be gone already, which the reading half reports.
            Sending::Quic { stream, finished, .. } => *finished = stream.finish().is_ok(),
            Sending::Elsewhere(sink) => sink.finish(),
        }
    }
}

fn length_of(frame: &Bytes) -> Result<Bytes, CallError> {
    if frame.len() > FRAME_BYTES_MAX {
        let message = format!("a frame of {} bytes is over the bound of {FRAME_BYTES_MAX}", frame.len());
        return Err(CallError::Protocol(message));
    }
    Ok(Bytes::copy_from_slice(&(frame.len() as u32).to_be_bytes()))
}

impl Drop for FrameSender {
    fn drop(&mut self) {
        if let Sending::Quic { stream, finished: false, .. } = &mut self.to {
            // quinn would say "finished": half a conversation must not look like a whole one.
            let _ = stream.reset(ABANDONED);
        }
    }
}

/// The reading half.
pub struct FrameReceiver {
    from: Receiving,
}

enum Receiving {
    Quic { peer: Arc<Peer>, stream: RecvStream },
    Elsewhere(Box<dyn FrameSource>),
}

impl FrameReceiver {
    /// The next frame; `None`: the peer has finished. Not cancel-safe: give it a task of its own.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, CallError> {
        let (peer, stream) = match &mut self.from {
            Receiving::Quic { peer, stream } => (peer, stream),
            Receiving::Elsewhere(source) => return source.recv().await,
        };
        let Some(length) = length_from(peer, stream).await? else { return Ok(None) };
        if length > FRAME_BYTES_MAX {
            return Err(CallError::Protocol(format!(
                "a frame of {length} bytes is over the bound of {FRAME_BYTES_MAX}"
            )));
        }
        let frame = read_exactly(stream, length).await.map_err(|why| peer.unreachable(why))?;
        peer.heard();
        Ok(Some(frame))
    }
}

/// `None` at a clean end, between frames.
async fn length_from(peer: &Peer, stream: &mut RecvStream) -> Result<Option<usize>, CallError> {
    let mut bytes = [0; 4];
    let mut have = 0;
    while have < bytes.len() {
        match stream.read(&mut bytes[have..]).await {
            Ok(Some(read)) => have += read,
            Ok(None) if have == 0 => return Ok(None),
            Ok(None) => return Err(CallError::Protocol("a frame is cut short".to_owned())),
            Err(error) => return Err(peer.unreachable(error)),
        }
    }
    Ok(Some(u32::from_be_bytes(bytes) as usize))
}

/// Reads `length` bytes; without a copy where they lie in one packet. Memory grows with what has
/// come, not with what was announced.
pub(super) async fn read_exactly(stream: &mut RecvStream, length: usize) -> Result<Bytes, String> {
    let mut gathered = BytesMut::new();
    while gathered.len() < length {
        let chunk = stream.read_chunk(length - gathered.len(), true).await.map_err(|why| why.to_string())?;
        let Some(chunk) = chunk else { return Err("a message is cut short".to_owned()) };
        if gathered.is_empty() && chunk.bytes.len() == length {
            return Ok(chunk.bytes);
        }
        gathered.extend_from_slice(&chunk.bytes);
    }
    Ok(gathered.freeze())
}

/// How every stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub what: Purpose,
    pub kind: u16,
    /// Of the call's body; 0 for a stream of frames.
    pub length: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Call = 1,
    Stream = 2,
    /// Answered by the transport itself: is the process alive?
    Ping = 3,
}

pub const OPENING_BYTES: usize = 7;

impl Opening {
    pub fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(OPENING_BYTES);
        bytes.extend_from_slice(&[self.what as u8]);
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.freeze()
    }

    pub fn decode(bytes: [u8; OPENING_BYTES]) -> Result<Self, String> {
        let [what, kind0, kind1, length @ ..] = bytes;
        let what = match what {
            1 => Purpose::Call,
            2 => Purpose::Stream,
            3 => Purpose::Ping,
            other => return Err(format!("a stream of purpose {other} is not known")),
        };
        let length = u32::from_be_bytes(length);
        if length as usize > MESSAGE_BYTES_MAX {
            return Err(format!("a message of {length} bytes is over the bound of {MESSAGE_BYTES_MAX}"));
        }
        Ok(Self { what, kind: u16::from_be_bytes([kind0, kind1]), length })
    }
}

/// Streams of these kinds give way to all others on their connection.
pub const BACKGROUND: u16 = 0x8000;

impl Opening {
    /// Set on both halves. Calls are short and waited for; streams carry the bulk.
    pub(super) fn priority(self) -> i32 {
        match self.what {
            _ if self.kind & BACKGROUND != 0 => -1,
            Purpose::Call | Purpose::Ping => 1,
            Purpose::Stream => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_come_back_and_wrong_ones_are_told() {
        let opening = Opening { what: Purpose::Call, kind: 0x1234, length: 99 };
        let bytes: [u8; OPENING_BYTES] = opening.encode()[..].try_into().unwrap();
        assert_eq!(bytes, [1, 0x12, 0x34, 0, 0, 0, 99]);
        assert_eq!(Opening::decode(bytes), Ok(opening));
        assert!(Opening::decode([0; 7]).is_err());
        assert!(Opening::decode([4, 0, 0, 0, 0, 0, 0]).is_err());
        let at = (MESSAGE_BYTES_MAX as u32).to_be_bytes();
        let over = (MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes();
        assert!(Opening::decode([1, 0, 0, at[0], at[1], at[2], at[3]]).is_ok());
        assert!(Opening::decode([1, 0, 0, over[0], over[1], over[2], over[3]]).is_err());
    }

    #[test]
    fn calls_go_before_streams_and_both_before_the_background() {
        let priority = |what, kind| Opening { what, kind, length: 0 }.priority();
        assert!(priority(Purpose::Call, 1) > priority(Purpose::Stream, 1));
        assert!(priority(Purpose::Stream, 1) > priority(Purpose::Call, BACKGROUND));
    }
}
