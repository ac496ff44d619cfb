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
        if self.edit.is_some() {
            let part = self.text.split_off(before);
            self.pass(part);
        }
        self.note_refusal();
        ended
    }

    pub fn finish(&mut self) {
        self.check.finish();
        self.note_refusal();
        if self.refused.is_none() && self.check.is_open_line() {
            // The line may be one that goes.
            self.pass(BytesMut::from(&b"\r\n"[..]));
            self.note_refusal();
        }
        if self.refused.is_none()
            && let Some(edit) = &mut self.edit
        {
            edit.finish(&mut self.text);
        }
    }

    /// Through the edit of the header, if there is one.
    fn pass(&mut self, part: BytesMut) {
        let passed = match &mut self.edit {
            Some(edit) => edit.take(part, &mut self.text),
            None => {
                self.text.extend_from_slice(&part);
                Ok(())
            }
        };
        if passed.is_err() {
            self.refused.get_or_insert(reply::HEADER_TOO_LONG);
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
