//! How an APPEND is refused in the middle: what still comes of it is thrown away, so that the session stays in step.

use super::{Append, Stage, too_long};
use crate::session::imap::core::{Io, Next, Reply};
use crate::session::imap::grammar::Place;
use crate::session::imap::limits::SWALLOWED_LITERAL_BYTES_MAX;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::reader::{Read, Reader};

impl Append {
    /// A fault of ours, no room in the quota, or an answer that does not fit.
    pub(super) fn failed(&mut self, stage: &Stage, answer: Option<Answer>, io: &mut Io) -> Next {
        let reply = Reply::unexpected(answer);
        match stage {
            Stage::Commit => Next::Done(reply),
            _ => self.refuse(reply, io),
        }
    }

    pub(super) fn refuse(&mut self, reply: Reply, io: &mut Io) -> Next {
        if std::mem::take(&mut self.placing) {
            self.stage = Stage::Abandon(reply);
            return Next::Ask(Question::Abandon);
        }
        self.turn_away(reply, io)
    }

    /// The client that waits for our word never sends its literal; of another all is thrown away.
    pub(super) fn turn_away(&mut self, reply: Reply, io: &mut Io) -> Next {
        match &self.literal {
            None => Next::Done(reply),
            Some(literal) if literal.waits => Next::Done(reply),
            Some(_) if self.left > SWALLOWED_LITERAL_BYTES_MAX => {
                io.out.extend_from_slice(b"* BYE That is too much to be thrown away\r\n");
                Next::Close(reply)
            }
            Some(_) => self.swallow(reply, io),
        }
    }

    pub(super) fn swallow(&mut self, reply: Reply, io: &mut Io) -> Next {
        let here = self.left.min(io.input.len() as u64);
        bytes::Buf::advance(io.input, here as usize);
        self.left -= here;
        if self.left > 0 {
            self.stage = Stage::Swallow(reply);
            return Next::NeedInput;
        }
        self.swallow_line(reply, io)
    }

    pub(super) fn swallow_line(&mut self, reply: Reply, io: &mut Io) -> Next {
        // Whatever it says: no literal of it is of use.
        match io.reader.read_append(io.input, Place::Between) {
            Read::Nothing => {
                self.stage = Stage::SwallowLine(reply);
                Next::NeedInput
            }
            Read::Append(text) => {
                self.take_text(text);
                self.turn_away(reply, io)
            }
            Read::Command(_) | Read::TooLarge { .. } => Next::Done(reply),
            // A URL that the client waits to send, and never will.
            Read::Continue => {
                *io.reader = Reader::default();
                Next::Done(reply)
            }
            Read::Lost => too_long(io),
        }
    }
}
