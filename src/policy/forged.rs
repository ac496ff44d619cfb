//! Fields that a mail brings and that claim to be ours: Authentication-Results under our own name (RFC 8601 5). Whoever
//! reads them later would believe them.

use memchr::memchr_iter;

const NAME: &[u8] = b"authentication-results";

/// The header without the fields that claim to be `receiver`'s. The lines of `head` end in CRLF.
pub fn without_forged(head: &[u8], receiver: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(head.len());
    for field in fields(head) {
        if !claims_to_be(field, receiver) {
            kept.extend_from_slice(field);
        }
    }
    kept
}

/// Fields with their folded lines; what is no field is one by itself.
fn fields(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts: Vec<usize> = vec![0];
    let after_line = memchr_iter(b'\n', head).map(|at| at + 1).filter(|at| *at < head.len());
    starts.extend(after_line.filter(|at| !matches!(head[*at], b' ' | b'\t')));
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([head.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &head[start..end])
}

fn claims_to_be(field: &[u8], receiver: &str) -> bool {
    let Some(colon) = field.iter().position(|byte| *byte == b':') else { return false };
    if !field[..colon].trim_ascii_end().eq_ignore_ascii_case(NAME) {
        return false;
    }
    authserv_id(&field[colon + 1..]).is_some_and(|id| id.eq_ignore_ascii_case(receiver.as_bytes()))
}

/// RFC 8601 2.2: `[CFWS] value`, the value a token or a quoted string.
fn authserv_id(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value;
    loop {
        rest = rest.trim_ascii_start();
        match rest.first()? {
            b'(' => rest = after_comment(rest)?,
            b'"' => return Some(quoted(&rest[1..])),
            _ => break,
        }
    }
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b'(');
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    Some(rest[..end].to_vec())
}

/// RFC 5322 3.2.2: comments nest.
fn after_comment(text: &[u8]) -> Option<&[u8]> {
    let (mut depth, mut escaped) = (0, false);
    for (at, byte) in text.iter().enumerate() {
        match (escaped, byte) {
            (true, _) => escaped = false,
            (false, b'\\') => escaped = true,
            (false, b'(') => depth += 1,
            (false, b')') => depth -= 1,
            (false, _) => {}
        }
        if depth == 0 {
            return Some(&text[at + 1..]);
        }
    }
    None
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let (mut value, mut escaped) = (Vec::new(), false);
    for byte in text {
        match (escaped, byte) {
            (false, b'"') => break,
            (false, b'\\') => escaped = true,
            (_, byte) => {
                value.push(*byte);
                escaped = false;
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_to_be_ours_goes_and_all_else_stays_to_the_octet() {
        let head = "Received: by mx.test;\r\n\tAuthentication-Results: mx.test; not a field\r\n\
            Authentication-Results: mx.test; spf=pass\r\n\
            AUTHENTICATION-RESULTS : (a (nested\\) ) comment)\r\n \"MX.\\test\" 1; dkim=pass\r\n\theader.d=a.test\r\n\
            Authentication-Results:\r\n\tmx.test;none\r\n\
            Authentication-Results: mx.test\r\n\
            Authentication-Results: other.test; spf=pass (mx.test)\r\n\
            Authentication-Results: mx.test.evil; spf=pass\r\n\
            X-Authentication-Results: mx.test; spf=pass\r\n\
            no field at all\r\nSubject: mx.test\r\n\r\n";
        let kept = "Received: by mx.test;\r\n\tAuthentication-Results: mx.test; not a field\r\n\
            Authentication-Results: other.test; spf=pass (mx.test)\r\n\
            Authentication-Results: mx.test.evil; spf=pass\r\n\
            X-Authentication-Results: mx.test; spf=pass\r\n\
            no field at all\r\nSubject: mx.test\r\n\r\n";
        assert_eq!(String::from_utf8(without_forged(head.as_bytes(), "mx.test")).unwrap(), kept);
        for head in ["", "\r\n", "Authentication-Results", ":", "Authentication-Results: (", "Subject: x"] {
            assert_eq!(without_forged(head.as_bytes(), "mx.test"), head.as_bytes(), "{head:?}");
        }
    }
}
