//! Encoded-words (RFC 2047) and charsets, to UTF-8 for comparing and showing.

use std::borrow::Cow;

use super::unfold;
use crate::mail::mime::transfer;

/// Bytes of a charset's name (RFC 2978 2.3).
const CHARSET_BYTES_MAX: usize = 40;

/// Unfolded, with encoded-words decoded (RFC 2047); bytes that are no UTF-8 are replaced.
pub fn decode_text(value: &[u8]) -> String {
    let line = unfold(value);
    if memchr::memmem::find(&line, b"=?").is_none() {
        return String::from_utf8_lossy(&line).into_owned();
    }
    let mut text = Decoded::default();
    let mut rest: &[u8] = &line;
    while !rest.is_empty() {
        if let Some((word, length)) = encoded_word(rest) {
            text.word(&word);
            rest = &rest[length..];
        } else {
            let next = memchr::memmem::find(&rest[1..], b"=?").map_or(rest.len(), |at| at + 1);
            text.plain(&rest[..next]);
            rest = &rest[next..];
        }
    }
    text.finish()
}

/// `bytes` of that charset as UTF-8; bytes of an unknown charset count as UTF-8, and what is none is replaced.
pub fn decoded_charset<'a>(charset: &[u8], bytes: &'a [u8]) -> Cow<'a, str> {
    if charset.len() > CHARSET_BYTES_MAX || bytes.is_empty() {
        return String::from_utf8_lossy(bytes);
    }
    // US-ASCII is a subset of UTF-8, and what claims to be it is often UTF-8.
    let plain = [&b"us-ascii"[..], b"ascii", b"utf-8", b"utf8"];
    if plain.iter().any(|name| charset.eq_ignore_ascii_case(name)) {
        return String::from_utf8_lossy(bytes);
    }
    if let Some(encoding) = encoding_rs::Encoding::for_label(charset) {
        return encoding.decode_without_bom_handling(bytes).0;
    }
    match mail_parser::decoders::charsets::map::charset_decoder(charset) {
        Some(decode) => Cow::Owned(decode(bytes)),
        None => String::from_utf8_lossy(bytes),
    }
}

struct Word<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
}

/// The encoded-word that `text` starts with, and its length.
fn encoded_word(text: &[u8]) -> Option<(Word<'_>, usize)> {
    let rest = text.strip_prefix(b"=?")?;
    let charset_end = rest[..rest.len().min(CHARSET_BYTES_MAX + 20)].iter().position(|byte| *byte == b'?')?;
    let (charset, rest) = (&rest[..charset_end], &rest[charset_end + 1..]);
    let [method, b'?', rest @ ..] = rest else { return None };
    let end = memchr::memchr(b'?', rest)?;
    if rest.get(end + 1) != Some(&b'=') {
        return None;
    }
    let content = &rest[..end];
    let bytes = match method {
        b'B' | b'b' => transfer::base64(content),
        b'Q' | b'q' => transfer::quoted_word(content),
        _ => return None,
    };
    // RFC 2231 5: a language may follow the charset.
    let charset = charset.split(|byte| *byte == b'*').next().unwrap_or_default();
    let length = text.len() - rest.len() + end + 2;
    Some((Word { charset, bytes }, length))
}

/// Text as it grows. Words of one charset that touch are decoded as one, since senders cut
/// characters in two.
#[derive(Default)]
struct Decoded<'a> {
    text: String,
    pending: Option<(&'a [u8], Vec<u8>)>,
    /// Blanks after a word: they count only if no word follows (RFC 2047 6.2).
    blanks: &'a [u8],
}

impl<'a> Decoded<'a> {
    fn word(&mut self, word: &Word<'a>) {
        self.blanks = b"";
        match &mut self.pending {
            Some((charset, bytes)) if charset.eq_ignore_ascii_case(word.charset) => bytes.extend(&word.bytes),
            _ => {
                self.flush();
                self.pending = Some((word.charset, word.bytes.clone()));
            }
        }
    }

    fn plain(&mut self, bytes: &'a [u8]) {
        if self.pending.is_some() && self.blanks.is_empty() && bytes.iter().all(u8::is_ascii_whitespace) {
            self.blanks = bytes;
            return;
        }
        self.flush();
        self.text.push_str(&String::from_utf8_lossy(bytes));
    }

    fn flush(&mut self) {
        if let Some((charset, bytes)) = self.pending.take() {
            self.text.push_str(&decoded_charset(charset, &bytes));
        }
        self.text.push_str(&String::from_utf8_lossy(self.blanks));
        self.blanks = b"";
    }

    fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encoded_words_are_decoded() {
        for (value, expected) in [
            (" plain text", "plain text"),
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=\r\n  =?utf-8?Q?b?= c", "ab c"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("x =?utf-8*en?b?w7zDnw==?= y", "x üß y"),
            ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
            ("=?iso-2022-jp?B?GyRCJUYlOSVIGyhC?=", "テスト"),
            ("=?utf-7?q?+ZYc-?=", "文"),
            ("=?no-such?q?abc?=", "abc"),
            ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
            ("=?utf-8?q?unclosed", "=?utf-8?q?unclosed"),
            ("a=?=?utf-8?q?b?=", "a=?b"),
        ] {
            assert_eq!(decode_text(value.as_bytes()), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(
            value in "(=\\?|\\?=|utf-8|utf-7|utf-16|iso-2022-jp|\\?q\\?|\\?b\\?|[ a=?_+]){0,20}",
            bytes: Vec<u8>,
        ) {
            let _ = (decode_text(value.as_bytes()), decode_text(&bytes));
            for charset in ["utf-7", "utf-16", "gb18030", "ibm850", "iso-2022-jp", "hz-gb-2312", "x"] {
                let _ = decoded_charset(charset.as_bytes(), &bytes);
            }
        }
    }
}
