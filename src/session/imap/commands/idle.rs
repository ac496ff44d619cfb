//! IDLE (RFC 2177): tells what changes as it changes, until DONE.

use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::reader::Read;
use crate::session::imap::selected::Expunges;

#[derive(Default)]
pub struct Idle {
    begun: bool,
}

impl Idle {
    fn end(core: &mut Core, reply: Reply) -> Next {
        core.idling = false;
        Next::Done(reply)
    }
}

impl Task for Idle {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        if !self.begun {
            self.begun = true;
            // Watch first, then tell: nothing can change unheard in between.
            return Next::Ask(Question::Watch(core.selected.as_ref().map(|selected| selected.mailbox)));
        }
        // The first answer is that of watching; later ones are for results that are kept current.
        let answer = if core.idling { answer } else { None };
        if !std::mem::replace(&mut core.idling, true) {
            io.out.extend_from_slice(b"+ idling\r\n");
        }
        let telling = core.telling(false);
        if let Some(selected) = &mut core.selected {
            selected.tell_changes(Expunges::Tell, telling, io.out);
            if let Some(question) = selected.update_contexts(answer, core.clock.now(), io.out) {
                return Next::Ask(question);
            }
            if selected.farewell().is_some() {
                return Self::end(core, Reply::ok("Idled"));
            }
        }
        match io.reader.read_line(io.input) {
            Read::Nothing => Next::NeedInput,
            Read::Command(line) if line.eq_ignore_ascii_case(b"DONE") => Self::end(core, Reply::ok("Idled")),
            Read::Command(_) => Self::end(core, Reply::bad("IDLE ends with DONE")),
            _ => {
                core.idling = false;
                io.out.extend_from_slice(b"* BYE The line is too long\r\n");
                Next::Close(Reply::bad("IDLE ends with DONE"))
            }
        }
    }
}
