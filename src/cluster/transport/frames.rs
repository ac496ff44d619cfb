//! Length-prefixed frames over one QUIC stream.

use bytes::Bytes;

use super::CallError;

/// A frame holds at most this many bytes.
pub const FRAME_BYTES_MAX: usize = crate::cluster::wire::MESSAGE_BYTES_MAX;

/// Frames in both directions. Dropping it resets what was not finished.
pub struct FramedStream {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl FramedStream {
    /// Sends one frame; waits while the peer does not read.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), CallError> {
        self.sender.send(frame).await
    }

    /// The next frame; `None`: the peer has finished. Not cancel-safe: give it a task of its own.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, CallError> {
        self.receiver.recv().await
    }

    pub fn split(self) -> (FrameSender, FrameReceiver) {
        (self.sender, self.receiver)
    }
}

pub struct FrameSender {}

impl FrameSender {
    pub async fn send(&mut self, _frame: Bytes) -> Result<(), CallError> {
        unimplemented!()
    }

    /// Says that no more frames follow.
    pub fn finish(&mut self) {
        unimplemented!()
    }
}

pub struct FrameReceiver {}

impl FrameReceiver {
    pub async fn recv(&mut self) -> Result<Option<Bytes>, CallError> {
        unimplemented!()
    }
}
