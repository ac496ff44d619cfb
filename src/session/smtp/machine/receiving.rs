//! A message on its way in: how its end is found, and the text not yet handed on.

use bytes::{Buf, BytesMut};

use super::submission::HeaderEdit;
use crate::session::smtp::body::{DotReader, TextCheck};
use crate::session::smtp::envelope::Envelope;
use crate::session::smtp::received::Trace;
use crate::session::smtp::reply::{self, Reply};

pub(super) enum Framing {
    Dot(DotReader),
    Chunk {
        bytes: u64,
        left: u64,
        last: bool,
    },
    /// Behind a BDAT that was not the last: commands again.
    BetweenChunks,
}

pub(super) struct Receiving {
    pub envelope: Box<Envelope>,
    pub framing: Framing,
    pub check: TextCheck,
    /// Text not yet handed on.
    pub text: BytesMut,
    pub id: String,
    /// Of a message that our user hands in.
    pub edit: Option<HeaderEdit>,
    /// Of a message that is judged first; else they are in the text already.
    pub trace: Option<Trace>,
    pub refused: Option<Reply>,
}

impl Receiving {
    /// Takes text from the input; true at the end of the message (DATA) or of the chunk (BDAT).
    pub fn read(&mut self, input: &mut BytesMut) -> bool {
        let before = self.text.len();
        let ended = match &mut self.framing {
            Framing::Dot(dot) => dot.read(input, &mut self.text),
            Framing::Chunk { left, .. } => {
                let taken = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.text.extend_from_slice(&input[..taken]);
                input.advance(taken);
                *left -= taken as u64;
                *left == 0
            }
            Framing::BetweenChunks => return false,
        };
        self.check.take(&self.text[before..]);
        if let Some(edit) = &mut self.edit {
            let part = self.text.split_off(before);
            if edit.take(part, &mut self.text).is_err() {
                self.refused.get_or_insert(reply::HEADER_TOO_LONG);
            }
        }
        self.note_refusal();
        ended
    }

    pub fn finish(&mut self) {
        self.check.finish();
        self.note_refusal();
        if self.refused.is_some() {
            return;
        }
        let missing: &[u8] = if self.check.is_open_line() { b"\r\n" } else { b"" };
        match &mut self.edit {
            None => self.text.extend_from_slice(missing),
            // The line may be one that goes.
            Some(edit) => match edit.take(BytesMut::from(missing), &mut self.text) {
                Ok(()) => edit.finish(&mut self.text),
                Err(_) => {
                    self.refused.get_or_insert(reply::HEADER_TOO_LONG);
                    self.text.clear();
                }
            },
        }
    }

    fn note_refusal(&mut self) {
        if let Some(reply) = self.check.refused() {
            self.refused.get_or_insert_with(|| reply.clone());
        }
        if self.refused.is_some() {
            self.text.clear();
        }
    }
}
