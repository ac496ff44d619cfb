//! Fetches a policy (RFC 8461 3.3).

use super::response::{BYTES_MAX, body};
use crate::delivery::https::{Question, Unheard};
use crate::delivery::routing::Resolve;
use crate::state::authorities::Authorities;

/// The text; `Err` says why it cannot be had.
pub async fn fetch(
    domain: &str,
    port: u16,
    resolver: &impl Resolve,
    authorities: &Authorities,
) -> Result<String, Unheard> {
    let host = format!("mta-sts.{domain}");
    let text = format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Pollux\r\nAccept: text/plain\r\n\
         Connection: close\r\n\r\n"
    );
    let question =
        Question { host: &host, port, text: text.as_bytes(), read: body, answer_bytes_max: BYTES_MAX };
    let body = question.ask(resolver, authorities).await?;
    String::from_utf8(body).map_err(|_| Unheard::Broken("it is no text".to_owned()))
}
