//! What the ACME client asks of a web server, as octets: one request a connection, over TLS alone.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::http::{AnswerHead, answer_bytes_max};

/// Octets of a document; a chain of eight certificates has half of it.
const BODY_BYTES_MAX: usize = 128 * 1024;
const HTTPS_PORT: u16 = 443;

/// Says this to a host that proves its name, and gives what it answers.
pub trait Web: Send + Sync + 'static {
    fn ask(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + '_>>;
}

pub struct Asked {
    pub host: String,
    pub port: u16,
    pub text: Vec<u8>,
    /// What came so far goes in, and whether nothing more comes.
    pub read: fn(&[u8], bool) -> Result<Option<Answer>, String>,
    pub answer_bytes_max: usize,
}

pub struct Answer {
    head: AnswerHead,
    body: Vec<u8>,
}

/// The client's side.
pub struct Client<W>(pub std::sync::Arc<W>);

impl<W: Web> HttpClient for Client<W> {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let web = std::sync::Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let asked = asked(&parts, &body).map_err(other)?;
            let answer = web.ask(asked).await.map_err(other)?;
            let mut response = Response::builder().status(answer.head.status);
            for (name, value) in answer.head.fields() {
                response = response.header(name, value);
            }
            Ok(BytesResponse::from(response.body(Full::new(Bytes::from(answer.body)))?))
        })
    }
}

fn other(why: String) -> Error {
    Error::Other(why.into())
}

fn asked(parts: &http::request::Parts, body: &[u8]) -> Result<Asked, String> {
    let (host, port) = server(&parts.uri)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let named = if port == HTTPS_PORT { host.clone() } else { format!("{host}:{port}") };
    let mut text = format!("{} {path} HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n", parts.method);
    for (name, value) in &parts.headers {
        let value = value.to_str().map_err(|_| format!("the field {name} is no text"))?;
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if parts.method == Method::POST {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let text = [text.as_bytes(), body].concat();
    let read = if parts.method == Method::HEAD { head_alone } else { whole };
    Ok(Asked { host, port, text, read, answer_bytes_max: answer_bytes_max(BODY_BYTES_MAX) })
}

/// What an ACME server names is asked for over TLS, as its directory is (RFC 8555 6.1).
fn server(uri: &Uri) -> Result<(String, u16), String> {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) if !host.is_empty() => {
            Ok((host.to_owned(), uri.port_u16().unwrap_or(HTTPS_PORT)))
        }
        _ => Err(format!("{uri} is no address https://…")),
    }
}

fn whole(bytes: &[u8], ended: bool) -> Result<Option<Answer>, String> {
    let Some(head) = AnswerHead::read(bytes, ended)? else { return Ok(None) };
    // RFC 9110 15.3.5.
    if head.status == 204 {
        return Ok(Some(Answer { head, body: Vec::new() }));
    }
    let body = head.body(bytes, ended, BODY_BYTES_MAX)?;
    Ok(body.map(|body| Answer { head, body }))
}

/// An answer to HEAD has no body, whatever length it tells of (RFC 9110 9.3.2).
fn head_alone(bytes: &[u8], ended: bool) -> Result<Option<Answer>, String> {
    let head = AnswerHead::read(bytes, ended)?;
    Ok(head.map(|head| Answer { head, body: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: Method, uri: &str) -> http::request::Parts {
        let request = Request::builder().method(method).uri(uri).header("User-Agent", "x");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_is_written_as_it_is_meant() {
        let post = asked(&parts(Method::POST, "https://ca.test:14000/a?b=c"), b"{}").unwrap();
        assert_eq!((post.host.as_str(), post.port), ("ca.test", 14_000));
        let text = "POST /a?b=c HTTP/1.1\r\nHost: ca.test:14000\r\nConnection: close\r\nuser-agent: x\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8(post.text).unwrap(), text);
        let get = asked(&parts(Method::GET, "https://ca.test"), b"").unwrap();
        assert_eq!(get.port, 443);
        assert!(get.text.starts_with(b"GET / HTTP/1.1\r\nHost: ca.test\r\n"));
        for uri in ["http://ca.test/a", "/a"] {
            assert!(asked(&parts(Method::GET, uri), b"").is_err_and(|why| why.contains(uri)));
        }
    }

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let text = b"HTTP/1.1 200 OK\r\nReplay-Nonce: n\r\nContent-Length: 3\r\n\r\nabc";
        assert!(whole(&text[..text.len() - 1], false).unwrap().is_none());
        let answer = whole(text, false).unwrap().unwrap();
        assert_eq!((answer.head.status, answer.body.as_slice()), (200, &b"abc"[..]));
        assert_eq!(answer.head.field("replay-nonce").as_deref(), Some("n"));
        let head = &text[..text.len() - 3];
        assert!(head_alone(head, false).unwrap().unwrap().body.is_empty());
        assert!(whole(b"HTTP/1.1 204 No Content\r\n\r\n", false).unwrap().is_some());
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        assert!(whole(long.as_bytes(), false).is_err());
    }
}
