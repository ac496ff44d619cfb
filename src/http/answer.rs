//! The answer of another web server (RFC 9112), as it comes in.

/// Octets before the body.
pub const ANSWER_HEAD_BYTES_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;

/// What comes before the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerHead {
    pub status: u16,
    fields: Vec<(String, Vec<u8>)>,
    /// Octets of it.
    bytes: usize,
}

impl AnswerHead {
    /// `None`: more has to come; `ended`: nothing more will.
    pub fn read(bytes: &[u8], ended: bool) -> Result<Option<Self>, String> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let head = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head)) if head <= ANSWER_HEAD_BYTES_MAX => head,
            Ok(httparse::Status::Partial) if ended => return Err("it breaks off".to_owned()),
            Ok(httparse::Status::Partial) if bytes.len() < ANSWER_HEAD_BYTES_MAX => return Ok(None),
            Ok(_) => return Err("its header is too long".to_owned()),
            Err(error) => return Err(format!("it speaks no HTTP ({error})")),
        };
        let owned = |field: &httparse::Header<'_>| (field.name.to_owned(), field.value.to_vec());
        let fields = response.headers.iter().map(owned).collect();
        Ok(Some(Self { status: response.code.unwrap_or_default(), fields, bytes: head }))
    }

    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// In lower case.
    pub fn field(&self, wanted: &str) -> Option<String> {
        let found = self.fields().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| String::from_utf8_lossy(value).trim().to_ascii_lowercase())
    }

    /// The body of that answer, once it is whole, from all that has come. What chunks add to a body is less than the body may
    /// have, or it is refused by whoever reads no more than [`answer_bytes_max`].
    pub fn body(&self, bytes: &[u8], ended: bool, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        let rest = &bytes[self.bytes..];
        match (self.field("Transfer-Encoding"), self.field("Content-Length")) {
            (Some(coding), _) if coding == "chunked" => unchunked(rest, ended, bytes_max),
            (Some(coding), _) => Err(format!("it sends {coding}, which is not known here")),
            (None, Some(length)) => {
                let length: usize = length.parse().map_err(|_| "its length is no number".to_owned())?;
                bounded(length, bytes_max)?;
                match rest.get(..length) {
                    Some(body) => Ok(Some(body.to_vec())),
                    None if ended => Err("it breaks off".to_owned()),
                    None => Ok(None),
                }
            }
            (None, None) => {
                bounded(rest.len(), bytes_max)?;
                Ok(ended.then(|| rest.to_vec()))
            }
        }
    }
}

/// All that is read of an answer whose body has at most so many octets.
pub const fn answer_bytes_max(body_bytes_max: usize) -> usize {
    ANSWER_HEAD_BYTES_MAX + 2 * body_bytes_max
}

fn unchunked(mut rest: &[u8], ended: bool, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    let partial = || if ended { Err("it breaks off".to_owned()) } else { Ok(None) };
    loop {
        let (line, length) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return partial(),
            Err(_) => return Err("its chunks are none".to_owned()),
        };
        if length == 0 {
            return Ok(Some(body));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        bounded(body.len().saturating_add(length), bytes_max)?;
        let Some(chunk) = rest.get(line..line + length) else { return partial() };
        match rest.get(line + length..line + length + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err("its chunks are none".to_owned()),
            None => return partial(),
        }
        body.extend_from_slice(chunk);
        rest = &rest[line + length + 2..];
    }
}

fn bounded(length: usize, bytes_max: usize) -> Result<(), String> {
    match length <= bytes_max {
        true => Ok(()),
        false => Err(format!("it is longer than {bytes_max} octets")),
    }
}
