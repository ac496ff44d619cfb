//! One HTTP request (RFC 9112): its head, and how long its body is.

/// Bytes of a request's head; beyond it: 431.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Fields of a head; beyond it: 431.
pub const FIELDS_MAX: usize = 64;
/// Bytes of a body; Outlook's are some 400. Beyond it: 413.
pub const BODY_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Without the query; of the absolute form (RFC 9112 3.2.2) too.
    pub path: String,
    pub query: String,
    /// Without its port.
    pub host: String,
    pub body_bytes: usize,
    /// RFC 9110 10.1.1: the client waits for our word before it sends the body.
    pub waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Other,
}

/// An answer that needs no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    BadRequest,
    NotFound,
    /// With what is allowed.
    MethodNotAllowed(&'static str),
    ContentTooLarge,
    HeadTooLarge,
    NotImplemented,
    VersionNotSupported,
    Unavailable,
    Timeout,
}

impl Status {
    /// Its code and words (RFC 9110 15, RFC 6585 5).
    pub fn line(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed(_) => "405 Method Not Allowed",
            Self::Timeout => "408 Request Timeout",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::Unavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// A request's head and how many bytes it has; `None`: more is needed.
pub fn parse(input: &[u8]) -> Result<Option<(Request, usize)>, Status> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let bytes = match head.parse(input) {
        Ok(httparse::Status::Complete(bytes)) if bytes > HEAD_BYTES_MAX => return Err(Status::HeadTooLarge),
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) if input.len() >= HEAD_BYTES_MAX => return Err(Status::HeadTooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
        Err(httparse::Error::Version) => return Err(Status::VersionNotSupported),
        Err(_) => return Err(Status::BadRequest),
    };
    let method = match head.method.unwrap_or_default() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => Method::Other,
    };
    let mut request = target(method, head.path.unwrap_or_default());
    for field in head.headers.iter() {
        take(field, &mut request)?;
    }
    Ok(Some((request, bytes)))
}

fn target(method: Method, target: &str) -> Request {
    let relative = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    let (path, query) = relative.split_once('?').unwrap_or((relative, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    Request { method, path, query, host: String::new(), body_bytes: 0, waits: false }
}

fn take(field: &httparse::Header, request: &mut Request) -> Result<(), Status> {
    let value = std::str::from_utf8(field.value).map_err(|_| Status::BadRequest)?.trim();
    let is = |name: &str| field.name.eq_ignore_ascii_case(name);
    if is("Host") {
        let port = value.rfind(':').filter(|at| !value[*at..].contains(']'));
        request.host = value[..port.unwrap_or(value.len())].to_owned();
    } else if is("Content-Length") {
        // RFC 9110 8.6: digits alone; two lengths that differ are one request too many.
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let bytes = value.parse().ok().filter(|_| digits);
        let bytes: usize = match (digits, bytes) {
            (false, _) => return Err(Status::BadRequest),
            (true, None) => return Err(Status::ContentTooLarge),
            (true, Some(bytes)) => bytes,
        };
        if request.body_bytes != 0 && request.body_bytes != bytes {
            return Err(Status::BadRequest);
        }
        if bytes > BODY_BYTES_MAX {
            return Err(Status::ContentTooLarge);
        }
        request.body_bytes = bytes;
    } else if is("Transfer-Encoding") {
        return Err(Status::NotImplemented);
    } else if is("Expect") {
        request.waits = value.eq_ignore_ascii_case("100-continue");
    }
    Ok(())
}
