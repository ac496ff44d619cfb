//! An answer, behind which the connection is closed.

use bytes::BytesMut;
use chrono::DateTime;

use super::request::{Method, Status};
use crate::mail::ids::Timestamp;

/// A document and its type.
pub struct Document {
    pub kind: &'static str,
    pub text: String,
}

pub struct Response {
    /// Its code and words.
    pub status: &'static str,
    /// Whole lines, for what this status alone has.
    pub fields: String,
    pub document: Document,
}

impl Response {
    pub fn ok(document: Document) -> Self {
        Self { status: "200 OK", fields: String::new(), document }
    }

    pub fn refused(status: Status) -> Self {
        let fields = match status {
            Status::MethodNotAllowed(methods) => format!("Allow: {methods}\r\n"),
            _ => String::new(),
        };
        let text = format!("{}\n", status.line());
        let document = Document { kind: "text/plain; charset=utf-8", text };
        Self { status: status.line(), fields, document }
    }

    /// With its document, unless only the head was asked for (RFC 9110 9.3.2).
    pub fn write(&self, asked: Method, now: Timestamp, out: &mut BytesMut) {
        let Self { status, fields, document: Document { kind, text } } = self;
        let (date, bytes) = (http_date(now), text.len());
        let head = format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\n{fields}Content-Type: {kind}\r\nContent-Length: {bytes}\r\n\
             Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        if asked != Method::Head {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// IMF-fixdate (RFC 9110 5.6.7).
fn http_date(now: Timestamp) -> String {
    let now = DateTime::from_timestamp_millis(now.0 as i64).unwrap_or_default();
    now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
