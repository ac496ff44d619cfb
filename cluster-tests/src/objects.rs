//! An object store of the stories' own (Amazon's protocol, S3): strict in signatures, lists a few names at a time, and breaks off,
//! is overloaded or held up when a story wants it. What lies in it can be looked at, changed and aged.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use ring::digest::{SHA256, digest};
use ring::hmac;

pub const KEY_ID: &str = "AKIDOFTHESTORIES";
pub const SECRET_KEY: &str = "secret/of+the/stories";
pub const BUCKET: &str = "office";
const REGION: &str = "us-east-1";
/// Names in one answer to a listing: few, so that there are several.
const LISTED_MAX: usize = 5;
/// The smallest part but the last, as Amazon has it.
const PART_BYTES_MIN: usize = 5 << 20;

/// Listens until the process ends.
#[derive(Clone)]
pub struct Objects {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Whoever waits for the state to change.
    changed: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    holds_parts: bool,
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    last_upload: u64,
    /// Answers to come that are none.
    troubles: Vec<Trouble>,
}

#[derive(Clone)]
struct Object {
    bytes: Vec<u8>,
    modified: SystemTime,
}

struct Upload {
    key: String,
    parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// 503: come again.
    Overloaded,
    /// It does what is asked, and breaks off in the middle of its answer.
    BreaksOff,
}

struct Asked {
    method: String,
    path: String,
    /// Decoded, ascending.
    query: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    code: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Objects {
    /// In the namespace of the calling thread.
    pub fn start(address: &str) -> Objects {
        let listener = TcpListener::bind(address).expect("the object store's address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let objects = Objects { address, state: Arc::default(), changed: Arc::default() };
        let serving = objects.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let serving = serving.clone();
                // Who breaks off hears nothing.
                thread::spawn(move || serving.serve(socket).unwrap_or_default());
            }
        });
        objects
    }

    /// What a command needs to find it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            set("AWS_ACCESS_KEY_ID", KEY_ID),
            set("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            set("AWS_ENDPOINT_URL", &format!("http://{}", self.address)),
        ]
    }

    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.state().objects.get(name).expect("the object is there").bytes.clone()
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state().objects.insert(name.to_owned(), Object { bytes, modified: SystemTime::now() });
    }

    pub fn flip(&self, name: &str, at: usize) {
        self.state().objects.get_mut(name).expect("the object is there").bytes[at] ^= 1;
    }

    /// As if nobody had touched it for so long.
    pub fn age(&self, name: &str, by: Duration) {
        let mut state = self.state();
        let object = state.objects.get_mut(name).expect("the object is there");
        object.modified -= by;
    }

    /// The next answers, one of each.
    pub fn trouble(&self, troubles: &[Trouble]) {
        self.state().troubles.extend(troubles.iter().rev());
    }

    pub fn troubles_left(&self) -> usize {
        self.state().troubles.len()
    }

    /// Begun and neither ended nor given up.
    pub fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// Whether parts of what goes up in several are left without an answer.
    pub fn hold_parts(&self, holds: bool) {
        self.state().holds_parts = holds;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn serve(&self, socket: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        let mut socket = socket;
        while let Some(asked) = Asked::read(&mut reader)? {
            let trouble = self.state().troubles.pop();
            let answer = match trouble {
                Some(Trouble::Overloaded) => Answer::error(503, "SlowDown"),
                _ if !asked.is_signed() => Answer::error(403, "SignatureDoesNotMatch"),
                _ => self.answer(&asked),
            };
            let whole = answer.written(asked.method == "HEAD");
            if trouble == Some(Trouble::BreaksOff) {
                socket.write_all(&whole[..whole.len() / 2])?;
                return Ok(());
            }
            socket.write_all(&whole)?;
        }
        Ok(())
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let Some(key) = asked.path.strip_prefix(&format!("/{BUCKET}")) else {
            return Answer::error(404, "NoSuchBucket");
        };
        let key = key.trim_start_matches('/').to_owned();
        let upload = asked.query.get("uploadId").cloned();
        let mut state = self.state();
        while state.holds_parts && asked.query.contains_key("partNumber") {
            state = self.changed.wait(state).expect("no holder of this lock panics");
        }
        match (asked.method.as_str(), key.is_empty(), upload) {
            ("GET", true, None) => state.listed(asked),
            ("GET" | "HEAD", false, None) => state.read(&key, asked),
            ("PUT", false, None) => {
                state.objects.insert(key, Object { bytes: asked.body.clone(), modified: SystemTime::now() });
                Answer::ok(Vec::new()).with("ETag", etag(&asked.body))
            }
            ("DELETE", false, None) => {
                state.objects.remove(&key);
                Answer { code: 204, ..Answer::ok(Vec::new()) }
            }
            ("POST", false, None) if asked.query.contains_key("uploads") => {
                state.last_upload += 1;
                let id = format!("upload-{}", state.last_upload);
                state.uploads.insert(id.clone(), Upload { key, parts: BTreeMap::new() });
                Answer::xml(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            ("PUT", false, Some(id)) => state.part(&id, asked),
            ("POST", false, Some(id)) => state.complete(&id),
            ("DELETE", false, Some(id)) => {
                state.uploads.remove(&id);
                Answer { code: 204, ..Answer::ok(Vec::new()) }
            }
            _ => Answer::error(501, "NotImplemented"),
        }
    }
}

impl State {
    fn listed(&self, asked: &Asked) -> Answer {
        let field = |name: &str| asked.query.get(name).map(String::as_str).unwrap_or_default();
        let (prefix, after) = (field("prefix"), field("continuation-token"));
        if field("list-type") != "2" || field("delimiter") != "/" {
            return Answer::error(501, "NotImplemented");
        }
        let here = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| !rest.contains('/'));
        let mut found = self.objects.iter().filter(|(name, _)| here(name) && name.as_str() > after);
        let page: Vec<_> = found.by_ref().take(LISTED_MAX).collect();
        let more = match (found.next(), page.last()) {
            (Some(_), Some((last, _))) => {
                format!(
                    "<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"
                )
            }
            _ => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        let content = |(name, object): &(&String, &Object)| {
            format!(
                "<Contents><Key>{name}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                DateTime::<Utc>::from(object.modified).to_rfc3339_opts(SecondsFormat::Millis, true),
                etag(&object.bytes),
                object.bytes.len()
            )
        };
        let contents: String = page.iter().map(content).collect();
        Answer::xml(&format!("<ListBucketResult>{more}{contents}</ListBucketResult>"))
    }

    fn read(&self, key: &str, asked: &Asked) -> Answer {
        let Some(object) = self.objects.get(key) else { return Answer::error(404, "NoSuchKey") };
        let length = object.bytes.len();
        let range = asked.fields.get("range").and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
        });
        let answer = match range {
            None => Answer::ok(object.bytes.clone()),
            Some((from, _)) if from >= length => return Answer::error(416, "InvalidRange"),
            Some((from, to)) => {
                let end = (to + 1).min(length);
                let part = Answer { code: 206, ..Answer::ok(object.bytes[from..end].to_vec()) };
                part.with("Content-Range", format!("bytes {from}-{}/{length}", end - 1))
            }
        };
        answer
            .with("ETag", etag(&object.bytes))
            .with("Last-Modified", DateTime::<Utc>::from(object.modified).to_rfc2822())
    }

    fn part(&mut self, id: &str, asked: &Asked) -> Answer {
        let number = asked.query.get("partNumber").and_then(|number| number.parse().ok());
        match (self.uploads.get_mut(id), number) {
            (Some(upload), Some(number)) => {
                upload.parts.insert(number, asked.body.clone());
                Answer::ok(Vec::new()).with("ETag", etag(&asked.body))
            }
            _ => Answer::error(404, "NoSuchUpload"),
        }
    }

    fn complete(&mut self, id: &str) -> Answer {
        let Some(upload) = self.uploads.remove(id) else { return Answer::error(404, "NoSuchUpload") };
        let parts: Vec<_> = upload.parts.into_values().collect();
        if parts.iter().rev().skip(1).any(|part| part.len() < PART_BYTES_MIN) {
            return Answer::error(400, "EntityTooSmall");
        }
        let bytes = parts.concat();
        let etag = etag(&bytes);
        self.objects.insert(upload.key, Object { bytes, modified: SystemTime::now() });
        Answer::xml(&format!(
            "<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        ))
    }
}

impl Asked {
    /// `None`: nothing more comes.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut asked = Asked {
            method: method.to_owned(),
            path: decoded(path),
            query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
            fields: BTreeMap::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            asked.fields.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = asked.fields.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        asked.body = vec![0; length];
        reader.read_exact(&mut asked.body)?;
        Ok(Some(asked))
    }

    /// Signature Version 4 of Amazon's services, over the payload as well.
    fn is_signed(&self) -> bool {
        let field = |name: &str| self.fields.get(name).cloned().unwrap_or_default();
        let authorization = field("authorization");
        let part = |name: &str| {
            let found = authorization.split([' ', ',']).find_map(|part| part.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        let (credential, names, signature) =
            (part("Credential="), part("SignedHeaders="), part("Signature="));
        let payload = hex(digest(&SHA256, &self.body).as_ref());
        let (day, date) = (field("x-amz-date").chars().take(8).collect::<String>(), field("x-amz-date"));
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        if credential != format!("{KEY_ID}/{scope}") || field("x-amz-content-sha256") != payload {
            return false;
        }
        let query: Vec<_> =
            self.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let fields: String = names.split(';').map(|name| format!("{name}:{}\n", field(name))).collect();
        let path: Vec<_> = self.path.split('/').map(encoded).collect();
        let canonical =
            format!("{}\n{}\n{}\n{fields}\n{names}\n{payload}", self.method, path.join("/"), query.join("&"));
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex(digest(&SHA256, canonical.as_bytes()).as_ref())
        );
        let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
        for word in [day.as_str(), REGION, "s3", "aws4_request"] {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), word.as_bytes()).as_ref().to_vec();
        }
        let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes());
        signature == hex(signed.as_ref())
    }
}

impl Answer {
    fn ok(body: Vec<u8>) -> Self {
        Self { code: 200, fields: Vec::new(), body }
    }

    fn xml(text: &str) -> Self {
        Self::ok(text.as_bytes().to_vec()).with("Content-Type", "application/xml".to_owned())
    }

    fn error(code: u16, word: &str) -> Self {
        let text = format!("<Error><Code>{word}</Code><Message>{word}</Message></Error>");
        Self { code, ..Self::xml(&text) }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }

    fn written(&self, without_body: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Said\r\nContent-Length: {}\r\n", self.code, self.body.len());
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body: &[u8] = if without_body { &[] } else { &self.body };
        [head.as_bytes(), b"\r\n", body].concat()
    }
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (decoded(name), decoded(value))
}

fn decoded(text: &str) -> String {
    let (mut octets, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let coded = after.get(..2).filter(|_| *first == b'%').and_then(|it| std::str::from_utf8(it).ok());
        match coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) => (octets.push(octet), rest = &after[2..]).0,
            None => (octets.push(*first), rest = after).0,
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// As signatures want it.
fn encoded(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (octet as char).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(octet).collect()
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&digest(&SHA256, bytes).as_ref()[..16]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
