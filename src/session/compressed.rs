//! A connection whose bytes are compressed in both directions (RFC 4978), over a socket or over TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use super::deflate::{BadStream, Inflater, WINDOW_BYTES_MAX, deflate};

/// Compressed bytes read at a time.
const READ_BYTES: usize = 4 * 1024;
/// Bytes compressed at a time; what they come to is written before any more are taken.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// What an idle session that compresses takes beyond one that does not, bytes: the window, the tables of the codes
/// in use, this struct.
pub const IDLE_BYTES_MAX: usize = WINDOW_BYTES_MAX + 16 * 1024;

pub struct Compressed<W> {
    below: W,
    inflater: Inflater,
    /// Compressed bytes that are still to be inflated.
    unread: BytesMut,
    /// Compressed bytes that came since [`Compressed::take_came`] was asked last.
    came: usize,
    /// Compressed bytes that are still to be written.
    unwritten: BytesMut,
}

impl<W> Compressed<W> {
    /// `early`: bytes that were read from `below` already, and are compressed.
    pub fn new(below: W, early: BytesMut) -> Self {
        let came = early.len();
        Self { below, inflater: Inflater::default(), unread: early, came, unwritten: BytesMut::new() }
    }

    /// How many bytes came over the wire since this was asked last.
    pub fn take_came(&mut self) -> usize {
        std::mem::take(&mut self.came)
    }
}

impl<W: AsyncWrite + Unpin> Compressed<W> {
    /// Writes what is compressed; done when nothing is left, and no memory is kept for it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.below).poll_write(cx, &self.unwritten))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unwritten.advance(written);
        }
        self.unwritten = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for Compressed<W> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A few bytes may inflate for a long time without the socket being asked: others have their turn.
        let turn = ready!(poll_proceed(cx));
        loop {
            let moved = this.inflater.inflate(&this.unread, buffer.initialize_unfilled()).map_err(invalid)?;
            this.unread.advance(moved.taken);
            buffer.advance(moved.given);
            if moved.given > 0 || this.inflater.has_ended() || buffer.remaining() == 0 {
                turn.made_progress();
                return Poll::Ready(Ok(()));
            }
            // All that came is taken. What waits for the client holds no buffer for it.
            this.unread = BytesMut::new();
            let mut read = [0; READ_BYTES];
            let mut compressed = ReadBuf::new(&mut read);
            ready!(Pin::new(&mut this.below).poll_read(cx, &mut compressed))?;
            let came = compressed.filled();
            this.came += came.len();
            this.unread.extend_from_slice(came);
            if came.is_empty() {
                turn.made_progress();
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Compressed<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let piece = &bytes[..bytes.len().min(PIECE_BYTES_MAX)];
        deflate(piece, &mut this.unwritten).map_err(invalid)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.below).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.below).poll_shutdown(cx)
    }
}

fn invalid(bad: BadStream) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, bad)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn an_idle_session_keeps_what_is_said_of_it() {
        let state = size_of::<miniz_oxide::inflate::core::DecompressorOxide>();
        let idle = WINDOW_BYTES_MAX + state + size_of::<Compressed<Box<()>>>();
        assert!(idle <= IDLE_BYTES_MAX, "{idle} bytes");
    }

    #[tokio::test]
    async fn what_is_written_comes_through_a_narrow_pipe_and_leaves_no_buffers() {
        let (near, far) = duplex(64);
        let (mut near, mut far) =
            (Compressed::new(near, BytesMut::new()), Compressed::new(far, BytesMut::new()));
        let text = b"* 1 FETCH (FLAGS (\\Seen))\r\n".repeat(10_000);
        let mut heard = vec![0; text.len()];
        for _ in 0..3 {
            let said = async {
                near.write_all(&text).await.unwrap();
                near.flush().await.unwrap();
            };
            let (_, read) = tokio::join!(said, far.read_exact(&mut heard));
            read.unwrap();
            assert!(heard == text);
            assert_eq!(near.unwritten.capacity(), 0);
            let waits = tokio::time::timeout(std::time::Duration::from_millis(1), far.read(&mut [0])).await;
            assert!(waits.is_err() && far.unread.capacity() == 0);
        }
        assert!((1..text.len() / 4).contains(&far.take_came()));
        assert_eq!(far.take_came(), 0);
    }
}
