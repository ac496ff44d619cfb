//! The beginning of a message's text, for a listing (RFC 8970): one line, without markup, quotations and filling.

use std::borrow::Cow;

use super::header::{self, decoded_charset};
use super::html;
use super::mime::{Encoding, Part, PartKind, Structure, transfer};

/// RFC 8970 3.3: it should have at most this many characters.
pub const PREVIEW_CHARS_MAX: usize = 200;
/// Bytes of a part, as it came, that are looked at: newsletters begin with long style sheets.
const PART_BYTES_MAX: usize = 256 << 10;
/// Parts that are tried.
const PARTS_MAX: usize = 32;
/// Bytes of text that are looked at for the preview: much of it may be blank.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Of the first part that has text to show; empty if there is none, or if it is encrypted.
pub fn preview(raw: &[u8], structure: &Structure) -> String {
    let mut todo = vec![structure.root()];
    let mut tried = 0;
    while let Some(part) = todo.pop() {
        match &part.kind {
            PartKind::Multipart(children) => {
                todo.extend(children.iter().rev().map(|child| structure.part(*child)));
            }
            PartKind::Leaf => {
                let text = preview_of(part, raw);
                tried += 1;
                if !text.is_empty() || tried == PARTS_MAX {
                    return text;
                }
            }
            // A message within is not what this one says.
            PartKind::Message(_) => {}
        }
    }
    String::new()
}

fn preview_of(part: &Part, raw: &[u8]) -> String {
    let is_html = part.content_type.is("text", "html");
    if !(is_html || part.content_type.is("text", "plain")) || is_attachment(&raw[part.header.clone()]) {
        return String::new();
    }
    let bytes = beginning(part, raw);
    let charset = part.content_type.param("charset").unwrap_or_default();
    let text = decoded_charset(charset, &bytes);
    if is_html {
        return one_line(&html::text(&text, TEXT_BYTES_MAX));
    }
    if text.trim_start().starts_with("-----BEGIN PGP MESSAGE-----") {
        return String::new();
    }
    let own: String = text.split_inclusive('\n').filter(|line| !line.starts_with('>')).collect();
    let line = one_line(&own);
    // What is all quotation is shown as that.
    if line.is_empty() { one_line(&text) } else { line }
}

fn is_attachment(part_header: &[u8]) -> bool {
    let field = header::find(part_header, "Content-Disposition");
    let disposition = field.and_then(|field| header::disposition(field.value));
    disposition.is_some_and(|(token, _)| token.eq_ignore_ascii_case(b"attachment"))
}

/// The beginning of the part, its transfer encoding undone.
fn beginning<'a>(part: &Part, raw: &'a [u8]) -> Cow<'a, [u8]> {
    let body = &raw[part.body.clone()];
    let body = &body[..body.len().min(PART_BYTES_MAX)];
    match part.encoding {
        Encoding::Identity | Encoding::Binary => Cow::Borrowed(body),
        // Nothing that a person could read.
        Encoding::Unknown => Cow::Borrowed(b""),
        Encoding::QuotedPrintable => Cow::Owned(transfer::quoted_printable(body)),
        Encoding::Base64 => Cow::Owned(transfer::base64(body)),
    }
}

/// Runs of blanks are one, and what is not seen is left out: newsletters fill their first lines with it.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let (mut chars, mut blank) = (0, false);
    for c in text.chars() {
        if c.is_whitespace() {
            blank = chars > 0;
            continue;
        }
        if c.is_control() || is_unseen(c) {
            continue;
        }
        let more = 1 + usize::from(blank);
        if chars + more > PREVIEW_CHARS_MAX {
            break;
        }
        if std::mem::take(&mut blank) {
            line.push(' ');
        }
        line.push(c);
        chars += more;
    }
    line
}

/// Soft hyphen, combining grapheme joiner, zero width space and no-break space. Joiners within words stay.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime;

    fn of(raw: &[u8]) -> String {
        preview(raw, &mime::parse(raw))
    }

    #[test]
    fn the_first_text_is_shown() {
        let alternative = "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=y\n\n\
            --y\n\n \n--y\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n\
            <p>Gr=FC=DFe</p><p>an alle\n--y--\n--x\n\nlater\n--x--\n";
        let attached = "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Disposition: attachment\n\nfile\n\
            --x\nContent-Type: image/png\n\npng\n--x\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--x--\n";
        for (raw, wanted) in [
            ("Subject: x\n\nHello\n  you,\n\n\tthere\n", "Hello you, there"),
            ("\n> quoted\n>> twice\nAnswer > all\n", "Answer > all"),
            ("\n> all is\n> quoted\n", "> all is > quoted"),
            (alternative, "Gr\u{fc}\u{df}e an alle"),
            (attached, "hello"),
            ("Content-Type: text/html\n\n<style>p{}</style>&#8203;&nbsp;\u{34f} A&zwnj;b", "A\u{200c}b"),
            ("\n\x07a\x1b[0mb\0", "a[0mb"),
            ("Content-Type: text/plain; charset=utf-16be; format=flowed\n\n\0H\0i", "Hi"),
        ] {
            assert_eq!(of(raw.as_bytes()), wanted, "{raw}");
        }
    }

    #[test]
    fn what_cannot_be_shown_is_empty() {
        for raw in [
            "Content-Type: image/png\n\nx",
            "Content-Transfer-Encoding: x-uue\n\nbegin 644",
            "Content-Type: text/calendar\n\nBEGIN:VCALENDAR",
            "Content-Type: application/pkcs7-mime\n\nx",
            "Content-Type: multipart/encrypted; boundary=x\n\n--x\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n\
             --x\nContent-Type: application/octet-stream\n\nsecret\n--x--\n",
            "\n-----BEGIN PGP MESSAGE-----\n\nsecret\n",
            "Content-Type: message/rfc822\n\n\nwithin",
            "Content-Type: multipart/mixed\n\nno boundary",
            "\n",
            "",
        ] {
            assert_eq!(of(raw.as_bytes()), "", "{raw}");
        }
    }

    #[test]
    fn a_preview_ends_at_its_bound() {
        let of_chars = |count: usize| of(format!("\n{}", "\u{fc}".repeat(count)).as_bytes()).chars().count();
        assert_eq!(
            (of_chars(PREVIEW_CHARS_MAX), of_chars(PREVIEW_CHARS_MAX + 1)),
            (PREVIEW_CHARS_MAX, PREVIEW_CHARS_MAX)
        );
        // No blank at its end.
        let words = of(format!("\n{} b", "a".repeat(PREVIEW_CHARS_MAX - 1)).as_bytes());
        assert_eq!(words, "a".repeat(PREVIEW_CHARS_MAX - 1));
        let beyond = of(format!("\n{}late", " ".repeat(PART_BYTES_MAX)).as_bytes());
        assert_eq!(beyond, "");
        let parts = |count: usize| {
            let empty = "--x\n\n\n".repeat(count);
            of(format!("Content-Type: multipart/mixed; boundary=x\n\n{empty}--x\n\nlate\n--x--\n").as_bytes())
        };
        assert_eq!((parts(PARTS_MAX - 1).as_str(), parts(PARTS_MAX).as_str()), ("late", ""));
    }
}
