//! MESSAGELIMIT (RFC 9738), where it is in force: a command takes the messages with the highest UIDs of those named, and
//! says how far down it went.

use bytes::BytesMut;

use crate::mail::ids::Uid;
use crate::session::imap::core::{Core, Reply, Status};
use crate::session::imap::selected::Selected;

/// A command took no more than `limit` messages, of which this is the lowest UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub limit: usize,
    pub lowest: Uid,
}

impl Cut {
    /// RFC 9738 3.1: by the end of the command, or beside it where that has something else to say.
    pub fn tell(self, reply: Reply, out: &mut BytesMut) -> Reply {
        let code = format!("MESSAGELIMIT {} {}", self.limit, self.lowest);
        match reply.status {
            Status::Ok if reply.code.is_empty() => reply.with_code(code),
            Status::Ok => {
                out.extend_from_slice(format!("* NO [{code}] Not all messages were taken\r\n").as_bytes());
                reply
            }
            // Nothing is done that could be gone on with.
            Status::No | Status::Bad => reply,
        }
    }
}

/// RFC 9738 3.1: refused as a whole.
pub fn too_many(limit: usize) -> Reply {
    let text = format!("One command takes at most {limit} messages");
    Reply::no("", text).with_code(format!("MESSAGELIMIT {limit}"))
}

impl Core {
    /// Of index ranges of the selected mailbox, ascending, those that the command may take. It says so at its end.
    pub fn limited(&mut self, mut ranges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
        if let (Some(limit), Some(selected)) = (self.terms.message_limit, &self.selected)
            && highest(&mut ranges, limit)
        {
            self.cut = lowest(selected, &ranges).map(|lowest| Cut { limit, lowest });
        }
        ranges
    }

    /// The same of UIDs, ascending.
    pub fn limited_uids(&mut self, mut uids: Vec<Uid>) -> Vec<Uid> {
        if let Some(limit) = self.terms.message_limit.filter(|limit| uids.len() > *limit) {
            uids.drain(..uids.len() - limit);
            self.cut = uids.first().map(|lowest| Cut { limit, lowest: *lowest });
        }
        uids
    }
}

fn lowest(selected: &Selected, ranges: &[(usize, usize)]) -> Option<Uid> {
    selected.numbered_in(ranges.get(..1)?).first().map(|message| message.uid)
}

/// Leaves the last `count` places of `ranges`. True when there were more.
fn highest(ranges: &mut Vec<(usize, usize)>, count: usize) -> bool {
    let mut room = count;
    for at in (0..ranges.len()).rev() {
        let (from, to) = ranges[at];
        if to - from > room {
            ranges[at].0 = to - room;
            ranges.drain(..at + usize::from(room == 0));
            return true;
        }
        room -= to - from;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_are_left() {
        let all = vec![(0, 2), (5, 6), (8, 11)];
        let left = |count| {
            let mut ranges = all.clone();
            let cut = highest(&mut ranges, count);
            (cut, ranges)
        };
        assert_eq!(left(6), (false, all.clone()));
        assert_eq!(left(5), (true, vec![(1, 2), (5, 6), (8, 11)]));
        assert_eq!(left(4), (true, vec![(5, 6), (8, 11)]));
        assert_eq!(left(3), (true, vec![(8, 11)]));
        assert_eq!(left(1), (true, vec![(10, 11)]));
        assert!(!highest(&mut Vec::new(), 1));
    }
}
