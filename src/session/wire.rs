//! A socket before or after its TLS handshake, with compression over either, as one type.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::compressed::Compressed;

pub enum Wire<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// RFC 4978 3: compressed first, then protected.
    Compressed(Box<Compressed<Wire<S>>>),
    /// Only while a handshake has taken the socket, and after one that failed.
    Gone,
}

impl<S> Wire<S> {
    /// From here on all bytes are compressed, `early` among them, which were read already.
    pub fn compress(&mut self, early: BytesMut) {
        let below = std::mem::replace(self, Wire::Gone);
        *self = Wire::Compressed(Box::new(Compressed::new(below, early)));
    }

    /// What the client has sent for the `read` bytes that it is heard to say: less where it compresses.
    pub fn sent_for(&mut self, read: usize) -> usize {
        match self {
            Wire::Compressed(compressed) => compressed.take_came().min(read),
            Wire::Plain(_) | Wire::Tls(_) | Wire::Gone => read,
        }
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Compressed(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Gone => gone(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Compressed(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Gone => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Compressed(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Gone => gone(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Compressed(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Gone => gone(),
        }
    }
}
