//! HTTP/1.1 (RFC 9112), as little as one request a connection takes: a request's head in, an answer out. Pure.
//!
//! For `session::autoconfig`, which clients ask, and `admin::metrics`, which machines ask that watch over the node; the other way round
//! [`AnswerHead`], for what other servers say.

mod answer;
mod request;
mod response;

pub use self::answer::{ANSWER_HEAD_BYTES_MAX, AnswerHead, answer_bytes_max};
pub use self::request::{BODY_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX, Method, Request, Status, parse};
pub use self::response::{Document, Response};
