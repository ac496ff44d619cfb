//! Plays transcripts against pure machines; for tests only.
//!
//! `C: ` a line of the client (CRLF is added), `R: ` its raw bytes with `\r \n \0 \t \\` escapes, `S: ` a line of
//! the server (a final `…` matches any rest), `TLS` the handshake, `END` the server closes. Client
//! lines that follow each other are sent in one piece, or byte by byte.

use bytes::BytesMut;

use super::machine::{Machine, Step};

/// How the client's bytes arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Whole,
    ByteByByte,
}

pub struct Player<M: Machine, F> {
    pub machine: M,
    answer: F,
    input: BytesMut,
    /// What the server said and the script has not yet read.
    pub out: BytesMut,
    pub closed: bool,
    pub wants_tls: bool,
}

impl<M: Machine, F: FnMut(M::Question) -> M::Answer> Player<M, F> {
    pub fn new(mut machine: M, answer: F) -> Self {
        let mut out = BytesMut::new();
        machine.open(&mut out);
        Self { machine, answer, input: BytesMut::new(), out, closed: false, wants_tls: false }
    }

    pub fn feed(&mut self, bytes: &[u8], pace: Pace) {
        match pace {
            Pace::Whole => {
                // As the driver does: never more than the machine wants to hold.
                for piece in bytes.chunks(self.machine.input_max()) {
                    self.take(piece);
                }
            }
            Pace::ByteByByte => bytes.iter().for_each(|byte| self.take(&[*byte])),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.closed || self.wants_tls {
            return;
        }
        self.input.extend_from_slice(bytes);
        // Sent after every step, as the driver does on `Flush`.
        let mut out = BytesMut::new();
        loop {
            let step = self.machine.step(&mut self.input, &mut out);
            self.out.unsplit(out.split());
            match step {
                Step::NeedInput => break,
                Step::Flush => {}
                Step::Ask(question) => {
                    let answer = (self.answer)(question);
                    self.machine.answer(answer, &mut out);
                    self.out.unsplit(out.split());
                }
                Step::StartTls => {
                    self.wants_tls = true;
                    self.input.clear();
                    break;
                }
                Step::Compress => panic!("neither SMTP nor POP3 compresses"),
                Step::Close => {
                    self.closed = true;
                    break;
                }
            }
        }
        assert!(
            self.input.len() < self.machine.input_max(),
            "the machine must make progress on a full buffer"
        );
    }

    /// The next line of output, without CRLF.
    pub fn line(&mut self) -> Option<String> {
        let end = self.out.windows(2).position(|pair| pair == b"\r\n")?;
        let line = self.out.split_to(end + 2);
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    /// Plays a whole script.
    pub fn play(&mut self, script: &str, pace: Pace) {
        let mut pending = Vec::new();
        for (number, text) in script.lines().enumerate() {
            let at = format!("line {} ({text:?}), {pace:?}", number + 1);
            let (kind, rest) = text.split_once(": ").unwrap_or((text.trim_end_matches(':'), ""));
            if matches!(kind, "C" | "R") {
                pending.extend_from_slice(&if kind == "C" {
                    format!("{rest}\r\n").into_bytes()
                } else {
                    unescape(rest)
                });
                continue;
            }
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            self.feed(&std::mem::take(&mut pending), pace);
            match kind {
                "S" => {
                    let said = self.line().unwrap_or_else(|| panic!("{at}: the server says nothing"));
                    let matches = match rest.strip_suffix('…') {
                        Some(prefix) => said.starts_with(prefix),
                        None => said == rest,
                    };
                    assert!(matches, "{at}: the server says {said:?}");
                }
                "TLS" => {
                    assert!(self.wants_tls && self.out.is_empty(), "{at}: left over {:?}", self.out);
                    self.wants_tls = false;
                    self.machine.tls_started();
                    // What is to be said at once is said.
                    self.take(&[]);
                }
                "END" => assert!(self.closed && self.out.is_empty(), "{at}: left over {:?}", self.out),
                other => panic!("{at}: {other:?} is no kind of line"),
            }
        }
        self.feed(&pending, pace);
        assert!(self.out.is_empty(), "left over: {:?}", self.out);
    }
}

pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let char = match char {
            '\\' => match chars.next() {
                Some('r') => '\r',
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                other => other.unwrap_or('\\'),
            },
            char => char,
        };
        bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    bytes
}
