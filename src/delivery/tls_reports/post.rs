//! Reports to web servers (RFC 8460 5.4): one POST, tried again some times. Pure but for the asking.

use super::record::{HTTPS_PORT, Url};
use crate::delivery::https::{Question, Unheard};
use crate::delivery::routing::Resolve;
use crate::http::{ANSWER_HEAD_BYTES_MAX, AnswerHead};
use crate::state::authorities::Authorities;

pub async fn post(
    url: &Url,
    packed: &[u8],
    resolver: &impl Resolve,
    authorities: &Authorities,
) -> Result<(), Unheard> {
    let Url { host, port, path } = url;
    let named = if *port == HTTPS_PORT { host.clone() } else { format!("{host}:{port}") };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {named}\r\nUser-Agent: Pollux\r\nContent-Type: application/tlsrpt+gzip\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        packed.len()
    );
    let text = [head.as_bytes(), packed].concat();
    let question =
        Question { host, port: *port, text: &text, read: taken, answer_bytes_max: ANSWER_HEAD_BYTES_MAX };
    question.ask(resolver, authorities).await
}

/// Any success will do; the body is not looked at.
fn taken(bytes: &[u8], ended: bool) -> Result<Option<()>, String> {
    match AnswerHead::read(bytes, ended)? {
        Some(AnswerHead { status: 200..=299, .. }) => Ok(Some(())),
        Some(AnswerHead { status, .. }) => Err(format!("it answers {status}")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_taken_by_whoever_says_so() {
        for (answer, ended, is) in [
            ("HTTP/1.1 200 OK\r\n\r\n", false, Ok(Some(()))),
            ("HTTP/1.1 201 Made\r\nContent-Length: 9\r\n\r\n", false, Ok(Some(()))),
            ("HTTP/1.1 2", false, Ok(None)),
            ("HTTP/1.1 2", true, Err("it breaks off")),
            ("HTTP/1.1 301 Moved\r\n\r\n", false, Err("it answers 301")),
            ("220 smtp\r\n\r\n", false, Err("it speaks no HTTP (invalid HTTP version)")),
        ] {
            assert_eq!(taken(answer.as_bytes(), ended), is.map_err(str::to_owned), "{answer}");
        }
    }
}
