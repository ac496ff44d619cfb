//! A client's socket, whose octets are counted, as is the session itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::meters::{Counter, METERS, Protocol};

pub struct Metered<S> {
    socket: S,
    received: &'static Counter,
    sent: &'static Counter,
    _session: Session,
}

/// One that is open.
struct Session(Protocol);

impl<S> Metered<S> {
    /// The session begins here, and ends when this is dropped.
    pub fn new(socket: S, protocol: Protocol) -> Self {
        METERS.sessions_opened.of(protocol).one();
        Self {
            socket,
            received: METERS.session_bytes_received.of(protocol),
            sent: METERS.session_bytes_sent.of(protocol),
            _session: Session(protocol),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        METERS.sessions_ended.of(self.0).one();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.received.add((buffer.filled().len() - before) as u64);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, octets);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S> Metered<S> {
    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(octets)) = written {
            self.sent.add(*octets as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_session_and_its_octets_are_counted() {
        // Each test has a process, and so the meters, of its own.
        let protocol = Protocol::Lmtp;
        let now = || {
            let of = |by: &crate::meters::By<Protocol, { Protocol::COUNT }>| by.of(protocol).get();
            (
                of(&METERS.sessions_opened) - of(&METERS.sessions_ended),
                of(&METERS.session_bytes_received),
                of(&METERS.session_bytes_sent),
            )
        };
        let (before, (ours, mut theirs)) = (now(), tokio::io::duplex(64));
        let mut metered = Metered::new(ours, protocol);
        theirs.write_all(b"hello").await.unwrap();
        metered.read_exact(&mut [0; 5]).await.unwrap();
        metered.write_all(b"hi").await.unwrap();
        assert_eq!(now(), (before.0 + 1, before.1 + 5, before.2 + 2));
        drop(metered);
        assert_eq!(now().0, before.0);
    }
}
