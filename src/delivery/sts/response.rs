//! The answer of a web server, as far as a policy needs it. Pure: what has come so far goes in.

use super::BODY_BYTES_MAX;
use crate::http::{AnswerHead, answer_bytes_max};

pub const BYTES_MAX: usize = answer_bytes_max(BODY_BYTES_MAX);

/// The body, once it is whole; `ended`: nothing more comes.
pub fn body(bytes: &[u8], ended: bool) -> Result<Option<Vec<u8>>, String> {
    let Some(head) = AnswerHead::read(bytes, ended)? else { return Ok(None) };
    // RFC 8461 3.3: redirects are not followed.
    if head.status != 200 {
        return Err(format!("it answers {}", head.status));
    }
    // RFC 8461 3.2: else whoever may put pictures on the server could put a policy there.
    let kind = head.field("Content-Type").unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("text/plain") {
        return Err("what it sends is not text/plain".to_owned());
    }
    head.body(bytes, ended, BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::ANSWER_HEAD_BYTES_MAX;

    fn answer(fields: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\n{fields}\r\n{body}")
            .into_bytes()
    }

    #[test]
    fn a_body_is_whole_by_its_length_its_last_chunk_or_its_end() {
        let chunked = answer("Transfer-Encoding: chunked\r\n", "3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
        for (bytes, more) in [
            (answer("Content-Length: 5\r\n", "hello"), 0),
            (answer("content-length:5\r\n", "hello, and more"), ", and more".len()),
            (chunked, "\r\n".len()),
        ] {
            let whole = bytes.len() - more;
            for cut in 0..=bytes.len() {
                let found = body(&bytes[..cut], false).unwrap();
                assert_eq!(found.as_deref(), (cut >= whole).then_some(&b"hello"[..]), "{cut}");
            }
        }
        assert_eq!(body(&answer("", "hello"), false), Ok(None));
        assert_eq!(body(&answer("", "hello"), true).unwrap().as_deref(), Some(&b"hello"[..]));
        assert!(body(&answer("Content-Length: 5\r\n", "hell"), true).is_err());
        assert!(body(&answer("Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n"), true).is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\n", true).is_err());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let moved = "HTTP/1.1 301 Moved\r\nLocation: https://x.test/\r\nContent-Type: text/plain\r\n\r\n";
        let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx";
        let bare = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        for (bytes, said) in [
            (moved.as_bytes().to_vec(), "it answers 301"),
            (moved.replace("301", "404").into_bytes(), "it answers 404"),
            (html.as_bytes().to_vec(), "text/plain"),
            (bare.as_bytes().to_vec(), "text/plain"),
            (b"220 smtp\r\n\r\n".to_vec(), "no HTTP"),
            (answer("Transfer-Encoding: gzip\r\n", ""), "gzip"),
            (answer("Content-Length: x\r\n", ""), "no number"),
            (answer("Transfer-Encoding: chunked\r\n", "x\r\n"), "chunks"),
            (answer("Transfer-Encoding: chunked\r\n", "1\r\nabc"), "chunks"),
        ] {
            let judged = body(&bytes, false);
            assert!(judged.as_ref().is_err_and(|why| why.contains(said)), "{said}: {judged:?}");
        }
    }

    #[test]
    fn no_more_is_held_than_the_bounds_say() {
        let most = "x".repeat(BODY_BYTES_MAX);
        let length = |length: usize| answer(&format!("Content-Length: {length}\r\n"), &most);
        assert_eq!(
            body(&length(BODY_BYTES_MAX), false).unwrap().map(|body| body.len()),
            Some(BODY_BYTES_MAX)
        );
        assert!(body(&length(BODY_BYTES_MAX + 1), false).is_err());
        assert!(
            body(&answer("", &most), true).is_ok() && body(&answer("", &format!("{most}x")), true).is_err()
        );
        let chunk = |length: usize| answer("Transfer-Encoding: chunked\r\n", &format!("{length:x}\r\n"));
        assert_eq!(body(&chunk(BODY_BYTES_MAX), false), Ok(None));
        assert!(body(&chunk(BODY_BYTES_MAX + 1), false).is_err());
        let head = |length: usize| {
            let fields = format!("X: {}\r\n", "x".repeat(length));
            let bytes = answer(&fields, "");
            (bytes.len() - 2, body(&bytes[..bytes.len() - 2], false))
        };
        let (before, _) = head(0);
        assert_eq!(head(ANSWER_HEAD_BYTES_MAX - 1 - before).1, Ok(None));
        assert!(head(ANSWER_HEAD_BYTES_MAX - before).1.is_err());
    }

    proptest! {
        /// Whatever comes is judged, and no more comes out than went in.
        #[test]
        fn hostile_answers_are_judged(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            chunks in "([0-9a-fx;]{0,4}\r\n)?[0-9a-f\r\n]{0,40}",
            ended: bool,
        ) {
            let chunked = answer("Transfer-Encoding: chunked\r\n", &chunks);
            for bytes in [&bytes, &chunked, &[&answer("", ""), &bytes[..]].concat()] {
                if let Ok(Some(body)) = body(bytes, ended) {
                    prop_assert!(body.len() <= bytes.len());
                }
            }
        }
    }
}
