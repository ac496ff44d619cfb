//! CANCELUPDATE (RFC 5267 4.3.4): results that are no longer kept current.

use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::question::Answer;

pub struct CancelUpdate(pub Vec<String>);

impl Task for CancelUpdate {
    fn step(&mut self, core: &mut Core, _answer: Option<Answer>, _io: &mut Io) -> Next {
        if let Some(selected) = &mut core.selected {
            self.0.iter().for_each(|tag| selected.contexts.close(tag));
        }
        Next::Done(Reply::ok("No longer updated"))
    }
}
