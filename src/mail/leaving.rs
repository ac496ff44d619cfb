//! A message as it leaves: without what was written for mailboxes here, its lines as SMTP wants them.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr_iter};

use super::header;

/// A message as it goes out: without the Return-Path that was written for mailboxes here (RFC 5321 4.4).
pub fn outgoing(raw: &Bytes) -> Bytes {
    match header::fields(raw).next() {
        Some(first) if first.is("Return-Path") => raw.slice(first.raw.len()..),
        _ => raw.clone(),
    }
}

/// A body that came by IMAP or an old notice may end its lines with LF alone; SMTP knows CRLF only.
pub fn with_crlf(text: Bytes) -> Bytes {
    let bare = memchr_iter(b'\n', &text).any(|at| at == 0 || text[at - 1] != b'\r');
    if !bare {
        return text;
    }
    let mut whole = BytesMut::with_capacity(text.len() + text.len() / 32);
    let mut rest = &text[..];
    while let Some(end) = memchr(b'\n', rest) {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        whole.extend_from_slice(line);
        whole.extend_from_slice(b"\r\n");
        rest = &rest[end + 1..];
    }
    whole.extend_from_slice(rest);
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_mailboxes_here_stays_here() {
        let out = |text: &'static str| outgoing(&Bytes::from_static(text.as_bytes()));
        assert_eq!(out("Return-Path: <a@b>\r\nSubject: x\r\n\r\n"), "Subject: x\r\n\r\n");
        assert_eq!(out("Subject: x\r\nReturn-Path: <a@b>\r\n"), "Subject: x\r\nReturn-Path: <a@b>\r\n");
        assert_eq!(out(""), "");
        assert_eq!(with_crlf(Bytes::from_static(b"a\nb\r\nc")), "a\r\nb\r\nc");
    }
}
