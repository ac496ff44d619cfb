//! IDLE (RFC 2177): tells what changes as it changes, until DONE.

use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::question::Answer;
use crate::session::imap::reader::Read;
use crate::session::imap::selected::{Expunges, Selected};
use crate::session::imap::telling::{Manner, tell};

/// RFC 5465 4: what NOTIFY wants, if there was one.
const TELLING: Manner = Manner { expunges: Expunges::Tell, uid: false, others: true };

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
            if let Some(watch) = core.watch() {
                return Next::Ask(watch);
            }
        }
        if !std::mem::replace(&mut core.idling, true) {
            io.out.extend_from_slice(b"+ idling\r\n");
        }
        if let Some(next) = tell(core, TELLING, answer, io) {
            return next;
        }
        if core.selected.as_ref().and_then(Selected::farewell).is_some() {
            return Self::end(core, Reply::ok("Idled"));
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
