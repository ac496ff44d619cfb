//! Content-transfer-encodings (RFC 2045 6.7, 6.8) undone: malformed input yields what can be had of it.

/// Base64. Bytes outside the alphabet are skipped; padding ends a run, and another may follow.
pub fn base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for &byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                count = 0;
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// Quoted-printable. An equal sign that starts no code stands for itself; blanks at a line's end go.
pub fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let end = line.len() - crate::mail::header::line_end_length(line);
        // RFC 2045 6.7 (3): blanks at the end of a line are a relay's. Nothing else is, a form feed for instance.
        let blanks = line[..end].iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let (content, line_end) = (&line[..end - blanks], &line[end..]);
        match content.strip_suffix(b"=") {
            Some(content) => codes(content, &mut bytes),
            None => {
                codes(content, &mut bytes);
                bytes.extend_from_slice(line_end);
            }
        }
    }
    bytes
}

/// The Q encoding of an encoded-word (RFC 2047 4.2).
pub fn quoted_word(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let text: Vec<u8> = text.iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect();
    codes(&text, &mut bytes);
    bytes
}

fn codes(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        let code = rest.get(at + 1).zip(rest.get(at + 2));
        match code.and_then(|(high, low)| Some(hex(*high)? << 4 | hex(*low)?)) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[at + 3..];
            }
            None => {
                out.push(b'=');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_through_noise() {
        assert_eq!(base64(b"aGVs\r\nbG8="), b"hello");
        assert_eq!(base64(b"aGVsbG8=aGVsbG8="), b"hellohello");
        assert_eq!(base64(b"a!G-V s"), b"hel");
        assert_eq!(base64(b"a"), b"");
    }

    #[test]
    fn quoted_printable_is_read_through_noise() {
        assert_eq!(quoted_printable(b"a=3Db=\r\nc  \r\nd=c3=BC=zz="), b"a=bc\r\nd\xc3\xbc=zz");
        assert_eq!(quoted_printable(b"page\x0c \t\r\nend\x0c"), b"page\x0c\r\nend\x0c", "a page ends");
        assert_eq!(quoted_word(b"a_b=5Fc="), b"a b_c=");
    }
}
