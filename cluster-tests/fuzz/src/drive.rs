//! Drives a protocol machine as the product's driver does, and holds it to its contract.

use bytes::BytesMut;
use pollux::session::machine::{Machine, Step};

/// What a session may say before the run is cut short, octets: an answer may be far longer than its question.
const SAID_BYTES_MAX: usize = 8 << 20;

pub struct Driven<M: Machine, F> {
    pub machine: M,
    answer: F,
    input: BytesMut,
    /// What the server said since it was last taken.
    pub said: Vec<u8>,
    said_bytes: usize,
    /// Octets that the machine may gather before it lets them be sent.
    gathered_bytes_max: usize,
    /// Closed, at the TLS handshake, or cut short.
    pub ended: bool,
    /// The rest of what was said is missing: it was too much.
    pub cut_short: bool,
}

impl<M: Machine, F: FnMut(M::Question) -> M::Answer> Driven<M, F> {
    pub fn new(mut machine: M, gathered_bytes_max: usize, answer: F) -> Self {
        let mut out = BytesMut::new();
        machine.open(&mut out);
        let said = out.to_vec();
        let input = BytesMut::new();
        Self {
            machine,
            answer,
            input,
            said,
            said_bytes: 0,
            gathered_bytes_max,
            ended: false,
            cut_short: false,
        }
    }

    /// Hands `bytes` over in pieces of at most `pace`.
    pub fn feed(&mut self, bytes: &[u8], pace: usize) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.ended {
            let room = self.machine.input_max() - self.input.len();
            let (piece, after) = rest.split_at(rest.len().min(pace.max(1)).min(room));
            rest = after;
            self.input.extend_from_slice(piece);
            self.run();
        }
    }

    pub fn take_said(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said)
    }

    /// Steps until the machine wants input.
    pub fn run(&mut self) {
        let mut out = BytesMut::new();
        while !self.ended {
            let step = self.machine.step(&mut self.input, &mut out);
            assert!(out.len() <= self.gathered_bytes_max, "{} octets gathered unsent", out.len());
            let wrote = !out.is_empty();
            self.said_bytes += out.len();
            self.said.extend_from_slice(&out.split());
            match step {
                Step::NeedInput => {
                    let full = self.input.len() >= self.machine.input_max();
                    assert!(!full, "the machine must make progress on a full buffer");
                    break;
                }
                Step::Flush => assert!(wrote, "a flush of nothing can go on for ever"),
                Step::Ask(question) => {
                    let answer = (self.answer)(question);
                    self.machine.answer(answer, &mut out);
                }
                // What follows is the same machine's, compressed or not.
                Step::Compress => {}
                Step::StartTls | Step::Close => self.ended = true,
            }
            if self.said_bytes > SAID_BYTES_MAX {
                (self.ended, self.cut_short) = (true, true);
            }
        }
    }
}
