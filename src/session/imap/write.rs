//! Writes the small tokens of responses: strings, mailbox names, flags, numbers.

use std::fmt::Write;

use bytes::BytesMut;

use super::grammar::encode_utf7;
use crate::mail::flags::{Flags, SystemFlag};

/// A mailbox name, quoted, in modified UTF-7.
pub fn mailbox_name(name: &str, out: &mut BytesMut) {
    out.extend_from_slice(b"\"");
    for byte in encode_utf7(name).bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.extend_from_slice(b"\\");
        }
        out.extend_from_slice(&[byte]);
    }
    out.extend_from_slice(b"\"");
}

pub fn number(number: impl Into<u64>, out: &mut BytesMut) {
    let _ = write!(out, "{}", number.into());
}

/// `(\Seen keyword \Recent)`.
pub fn flags(flags: Flags, keywords: &[String], recent: bool, out: &mut BytesMut) {
    out.extend_from_slice(b"(");
    let mut first = true;
    let mut add = |name: &str, out: &mut BytesMut| {
        if !std::mem::take(&mut first) {
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(name.as_bytes());
    };
    for flag in SystemFlag::ALL {
        if flags.has(flag) {
            add(flag.name(), out);
        }
    }
    for (bit, keyword) in keywords.iter().enumerate().take(64) {
        if flags.keywords >> bit & 1 == 1 {
            add(keyword, out);
        }
    }
    if recent {
        add("\\Recent", out);
    }
    out.extend_from_slice(b")");
}

/// The flags a mailbox knows: `(\Answered … keyword`, without the closing parenthesis.
pub fn known_flags(keywords: &[String], out: &mut BytesMut) {
    out.extend_from_slice(b"(");
    let system = SystemFlag::ALL.iter().map(|flag| flag.name());
    for (at, name) in system.chain(keywords.iter().map(String::as_str)).enumerate() {
        if at > 0 {
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(name.as_bytes());
    }
}
