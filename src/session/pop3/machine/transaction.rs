//! TRANSACTION and UPDATE (RFC 1939 5 and 6): the maildrop is listed, read, and emptied at QUIT.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use super::long::{Long, Text, TextBound};
use super::{Asked, Maildrop, Phase, Pop3, Question, line, ok};
use crate::cluster::replica::Fault;
use crate::mail::ids::Uid;
use crate::session::machine::Step;
use crate::session::pop3::command::Command;

pub(super) struct Session {
    pub drop: Maildrop,
    /// Indices into the maildrop.
    pub deleted: BTreeSet<usize>,
}

impl Pop3 {
    pub(super) fn in_transaction(
        &mut self,
        command: Command,
        mut session: Box<Session>,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        let asked = match command {
            Command::Stat => {
                let (count, octets) = session.totals();
                line(out, format_args!("+OK {count} {octets}"));
                None
            }
            Command::List(None) => {
                line(out, format_args!("+OK scan listing follows"));
                self.phase = Phase::Sending(session, Long::List { next: 0 });
                return None;
            }
            Command::Uidl(None) => {
                line(out, format_args!("+OK unique-id listing follows"));
                self.phase = Phase::Sending(session, Long::Uidl { next: 0 });
                return None;
            }
            Command::Rset => {
                session.deleted.clear();
                ok("nothing is marked for deletion", out)
            }
            Command::Noop => ok("", out),
            Command::List(Some(number)) | Command::Uidl(Some(number)) | Command::Dele(number)
                if session.find(number).is_none() =>
            {
                self.bad("no such message", out)
            }
            Command::Retr(number) | Command::Top { message: number, .. }
                if session.find(number).is_none() =>
            {
                self.bad("no such message", out)
            }
            Command::List(Some(number)) => {
                line(out, format_args!("+OK {number} {}", session.drop.messages[number - 1].1));
                None
            }
            Command::Uidl(Some(number)) => {
                let uid = session.drop.messages[number - 1].0;
                line(out, format_args!("+OK {number} {}.{uid}", session.drop.uid_validity));
                None
            }
            Command::Dele(number) => {
                session.deleted.insert(number - 1);
                ok("marked for deletion", out)
            }
            Command::Retr(number) => return self.fetch(session, number, TextBound::Whole),
            Command::Top { message, lines } => {
                return self.fetch(session, message, TextBound::BodyLines(lines));
            }
            Command::Capa
            | Command::Quit
            | Command::Stls
            | Command::User(_)
            | Command::Pass(_)
            | Command::Auth { .. } => self.bad("already logged in", out),
        };
        // Unless too many errors have closed the session.
        if asked.is_none() {
            self.phase = Phase::Transaction(session);
        }
        asked
    }

    fn fetch(&mut self, session: Box<Session>, number: usize, bound: TextBound) -> Option<Asked> {
        let uid = session.drop.messages[number - 1].0;
        self.phase = Phase::Fetching(session, bound);
        Some(Step::Ask(Question::Body(uid)))
    }

    pub(super) fn on_body(&mut self, body: Result<Option<Bytes>, Fault>, out: &mut BytesMut) {
        let Phase::Fetching(session, bound) = std::mem::replace(&mut self.phase, Phase::Closing) else {
            return;
        };
        match body {
            Ok(Some(raw)) => {
                match bound {
                    TextBound::Whole => line(out, format_args!("+OK {} octets", raw.len())),
                    TextBound::BodyLines(_) => line(out, format_args!("+OK top of message follows")),
                }
                self.phase = Phase::Sending(session, Long::Text(Text::new(raw, bound)));
                return;
            }
            Ok(None) => line(out, format_args!("-ERR the message was deleted by another session")),
            Err(_) => line(out, format_args!("-ERR [SYS/TEMP] the message is unavailable, try again")),
        }
        self.phase = Phase::Transaction(session);
    }

    /// Writes the next part of a long answer.
    pub(super) fn step_sending(&mut self, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Sending(session, mut long) = std::mem::replace(&mut self.phase, Phase::Closing) else {
            return None;
        };
        if session.write_part(&mut long, out) {
            self.phase = Phase::Transaction(session);
            return None;
        }
        self.phase = Phase::Sending(session, long);
        Some(Step::Flush)
    }

    pub(super) fn on_quit(&mut self, out: &mut BytesMut) -> Option<Asked> {
        match std::mem::replace(&mut self.phase, Phase::Closing) {
            Phase::Transaction(session) if !session.deleted.is_empty() => {
                let uids = session.deleted.iter().map(|at| session.drop.messages[*at].0).collect();
                self.phase = Phase::Updating;
                Some(Step::Ask(Question::Delete(uids)))
            }
            _ => {
                ok("bye", out);
                Some(Step::Close)
            }
        }
    }

    pub(super) fn on_deleted(&mut self, deleted: Result<(), Fault>, out: &mut BytesMut) {
        match deleted {
            Ok(()) => line(out, format_args!("+OK bye")),
            // RFC 1939 6. What became of it is not known: a proposal that was not answered in time may be committed.
            Err(_) => {
                line(out, format_args!("-ERR [SYS/TEMP] some deleted messages may not be removed, try again"))
            }
        }
        self.phase = Phase::Closing;
    }
}

fn octets<'a>(messages: impl Iterator<Item = &'a (Uid, u32)>) -> u64 {
    messages.map(|(_, size)| u64::from(*size)).sum()
}

impl Session {
    pub fn new(drop: Maildrop) -> Self {
        Self { drop, deleted: BTreeSet::new() }
    }

    /// How many messages, and their octets, without those marked as deleted.
    pub fn totals(&self) -> (usize, u64) {
        let kept = self.kept();
        (kept.len(), octets(kept.iter().map(|(_, message)| *message)))
    }

    /// Message `number` unless it is marked as deleted.
    fn find(&self, number: usize) -> Option<usize> {
        let at = number.checked_sub(1)?;
        (at < self.drop.messages.len() && !self.deleted.contains(&at)).then_some(at)
    }

    fn kept(&self) -> Vec<(usize, &(Uid, u32))> {
        let all = self.drop.messages.iter().enumerate();
        all.filter(|(at, _)| !self.deleted.contains(at)).collect()
    }
}
