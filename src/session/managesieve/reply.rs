//! What the server says (RFC 5804 1.2, 1.3): strings, and the line that ends an answer.

use std::fmt::Write;

use bytes::BytesMut;

use super::reader::QUOTED_BYTES_MAX;
use crate::meters::{self, METERS};

/// RFC 5804 1.3: what a client's program may go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code<'a> {
    None,
    Active,
    AlreadyExists,
    EncryptNeeded,
    NonExistent,
    MaxScripts,
    MaxSize,
    Quota,
    /// What the mechanism says with the success, as base64.
    Sasl(&'a str),
    Tag(&'a str),
    TryLater,
}

pub fn ok(code: Code<'_>, text: &str, out: &mut BytesMut) {
    METERS.replies.of(meters::Reply::SieveOk).one();
    end("OK", code, text, out);
}

pub fn no(code: Code<'_>, text: &str, out: &mut BytesMut) {
    METERS.replies.of(meters::Reply::SieveNo).one();
    end("NO", code, text, out);
}

pub fn bye(code: Code<'_>, text: &str, out: &mut BytesMut) {
    METERS.replies.of(meters::Reply::SieveBye).one();
    end("BYE", code, text, out);
}

fn end(word: &str, code: Code<'_>, text: &str, out: &mut BytesMut) {
    out.extend_from_slice(word.as_bytes());
    let plain = match code {
        Code::None => "",
        Code::Active => " (ACTIVE)",
        Code::AlreadyExists => " (ALREADYEXISTS)",
        Code::EncryptNeeded => " (ENCRYPT-NEEDED)",
        Code::NonExistent => " (NONEXISTENT)",
        Code::MaxScripts => " (QUOTA/MAXSCRIPTS)",
        Code::MaxSize => " (QUOTA/MAXSIZE)",
        Code::Quota => " (QUOTA)",
        Code::TryLater => " (TRYLATER)",
        Code::Sasl(message) => {
            with_value("SASL", message, out);
            ""
        }
        Code::Tag(tag) => {
            with_value("TAG", tag, out);
            ""
        }
    };
    out.extend_from_slice(plain.as_bytes());
    out.extend_from_slice(b" ");
    string(text, out);
    out.extend_from_slice(b"\r\n");
}

fn with_value(name: &str, value: &str, out: &mut BytesMut) {
    // Writing to a buffer that grows cannot fail.
    let _ = write!(out, " ({name} ");
    string(value, out);
    out.extend_from_slice(b")");
}

/// Quoted where that can be, else as a literal.
pub fn string(text: &str, out: &mut BytesMut) {
    let escapes = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    if text.len() + escapes > QUOTED_BYTES_MAX || text.contains(['\r', '\n', '\0']) {
        return literal(text, out);
    }
    out.extend_from_slice(b"\"");
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.extend_from_slice(b"\\");
        }
        out.extend_from_slice(&[byte]);
    }
    out.extend_from_slice(b"\"");
}

pub fn literal(text: &str, out: &mut BytesMut) {
    let _ = write!(out, "{{{}}}\r\n", text.len());
    out.extend_from_slice(text.as_bytes());
}
