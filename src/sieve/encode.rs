//! Text of a user as mail carries it: fields of one line (RFC 2047), bodies in quoted-printable (RFC 2045 6.7).

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Octets of a word in base64, so that the encoded-word has no more than 75 (RFC 2047 2).
const WORD_OCTETS_MAX: usize = 42;
/// Octets of a line without its end (RFC 2045 6.7).
const LINE_OCTETS_MAX: usize = 76;
/// Octets of a line that goes as it is (RFC 5322 2.1.1).
const PLAIN_LINE_OCTETS_MAX: usize = 78;

/// Control characters become blanks: what was several lines is one.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The value of an unstructured field, such as Subject. ASCII stays as it is, folded at blanks.
pub(super) fn unstructured(text: &str) -> String {
    let line = one_line(text);
    let line = line.trim();
    match is_plain(line) {
        true => folded(line),
        false => words(line),
    }
}

/// The name before an address (RFC 5322 3.2.5).
pub(super) fn phrase(text: &str) -> String {
    let line = one_line(text);
    match is_plain(&line) {
        true => format!("\"{}\"", line.replace('\\', "\\\\").replace('"', "\\\"")),
        false => words(&line),
    }
}

/// ASCII that no reader takes for an encoded-word, in words short enough to be folded between.
fn is_plain(text: &str) -> bool {
    let short = text.split(' ').all(|word| word.len() <= LINE_OCTETS_MAX);
    text.is_ascii() && !text.contains("=?") && short
}

fn folded(line: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (at, word) in line.split(' ').enumerate() {
        if at > 0 {
            // A line of blanks alone would end the header for some readers.
            let fold = width + 1 + word.len() > LINE_OCTETS_MAX - 10 && !word.is_empty() && width > 0;
            text.push_str(if fold { "\r\n " } else { " " });
            width = if fold { 1 } else { width + 1 };
        }
        text.push_str(word);
        width += word.len();
    }
    text
}

/// Encoded-words of whole characters, a line each.
fn words(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (0..=rest.len().min(WORD_OCTETS_MAX)).rev().find(|at| rest.is_char_boundary(*at));
        let end = end.unwrap_or(rest.len());
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(&rest[..end])));
        rest = &rest[end..];
    }
    words.join("\r\n ")
}

/// Every line end as CRLF, NULs left out.
pub(super) fn with_crlf(text: &str) -> String {
    text.replace('\0', "").replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}

/// A text as a body that ends its last line, and the name of its encoding.
pub(super) fn text_body(text: &str) -> (&'static str, String) {
    let mut text = with_crlf(text);
    if !text.ends_with("\r\n") {
        text.push_str("\r\n");
    }
    let plain = |line: &str| line.len() <= PLAIN_LINE_OCTETS_MAX && line.bytes().all(is_text);
    match text.split("\r\n").all(plain) {
        true => ("7bit", text),
        false => ("quoted-printable", text.split_terminator("\r\n").map(quoted_line).collect()),
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()
}

/// One line in quoted-printable, with soft line ends where it is too long.
fn quoted_line(line: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (at, byte) in line.bytes().enumerate() {
        let ends_in_blank = at + 1 == line.len() && (byte == b' ' || byte == b'\t');
        let literal = is_text(byte) && byte != b'=' && !ends_in_blank;
        let octets = if literal { 1 } else { 3 };
        if width + octets >= LINE_OCTETS_MAX {
            text.push_str("=\r\n");
            width = 0;
        }
        match literal {
            true => text.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => _ = write!(text, "={byte:02X}"),
        }
        width += octets;
    }
    text.push_str("\r\n");
    text
}
