//! Learns of the messages found what they are sorted or threaded by, a portion at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::find::Found;
use crate::session::imap::arrange::Facts;
use crate::session::imap::commands::FAULTS_PER_COMMAND_MAX;
use crate::session::imap::core::{Core, Next, Progress, Reply};
use crate::session::imap::limits::{FACTS_PER_QUESTION_MAX, SEARCH_MESSAGES_PER_TURN};
use crate::session::imap::question::{Answer, Question};
use crate::state::record::MessageRecord;

pub struct Gatherer<T> {
    left: VecDeque<Found>,
    /// How many there were.
    all: usize,
    /// Those whose facts were asked for.
    asked: Vec<(Found, MessageRecord)>,
    needs_facts: bool,
    /// What is known, in the order of the messages.
    pub known: Vec<T>,
    bytes: usize,
    bytes_max: usize,
    /// Messages that could not be read.
    pub faults: u32,
}

impl<T> Gatherer<T> {
    pub fn new(found: &[Found], needs_facts: bool, bytes_max: usize) -> Self {
        let left = found.iter().copied().collect();
        Self {
            left,
            all: found.len(),
            asked: Vec::new(),
            needs_facts,
            known: Vec::new(),
            bytes: 0,
            bytes_max,
            faults: 0,
        }
    }

    /// Per cent of a command that has found these messages before: half of it was done then.
    pub fn progress(&self) -> Progress {
        let done = self.all - self.left.len() - self.asked.len();
        Progress::percent(50 + done * 50 / self.all.max(1))
    }

    /// `make` gives what is to be known of a message, and its bytes. `Ok(None)`: all is known.
    pub fn step(
        &mut self,
        core: &Core,
        answer: Option<Answer>,
        make: impl Fn(Found, &MessageRecord, &Arc<Facts>) -> (T, usize),
    ) -> Result<Option<Question>, Next> {
        let asked = std::mem::take(&mut self.asked);
        match answer {
            Some(Answer::Facts(facts)) if facts.len() == asked.len() => {
                for ((found, record), facts) in asked.iter().zip(facts) {
                    match facts {
                        Some(facts) => self.learn(make(*found, record, &facts))?,
                        None => self.faults += 1,
                    }
                }
            }
            None | Some(Answer::Done) if asked.is_empty() => {}
            answer => return Err(Next::Done(Reply::unexpected(answer))),
        }
        if self.faults >= FAULTS_PER_COMMAND_MAX {
            return Ok(None);
        }
        self.ask(core, make)
    }

    fn learn(&mut self, (known, bytes): (T, usize)) -> Result<(), Next> {
        self.bytes += bytes;
        if self.bytes > self.bytes_max {
            return Err(Next::Done(Reply::no("LIMIT", "There are too many messages to arrange at once")));
        }
        self.known.push(known);
        Ok(())
    }

    fn ask(
        &mut self,
        core: &Core,
        make: impl Fn(Found, &MessageRecord, &Arc<Facts>) -> (T, usize),
    ) -> Result<Option<Question>, Next> {
        let Some(selected) = &core.selected else { return Ok(None) };
        let portion = if self.needs_facts { FACTS_PER_QUESTION_MAX } else { SEARCH_MESSAGES_PER_TURN };
        let portion: Vec<Found> = self.left.drain(..portion.min(self.left.len())).collect();
        if portion.is_empty() {
            return Ok(None);
        }
        let records: Vec<(Found, MessageRecord)> = selected.view().read(|view| {
            portion.into_iter().filter_map(|found| Some((found, view.get(found.uid)?))).collect()
        });
        if !self.needs_facts {
            let none = Arc::new(Facts::default());
            for (found, record) in records {
                self.learn(make(found, &record, &none))?;
            }
            return Ok((!self.left.is_empty()).then_some(Question::Pause));
        }
        let bodies = records.iter().map(|(_, record)| (record.body, record.size)).collect();
        self.asked = records;
        Ok(Some(Question::Facts(bodies)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_bounded() {
        let mut gatherer: Gatherer<u8> = Gatherer::new(&[], true, 10);
        assert!(gatherer.learn((1, 4)).is_ok());
        assert!(gatherer.learn((2, 6)).is_ok(), "up to the bound");
        assert!(matches!(gatherer.learn((3, 1)), Err(Next::Done(reply)) if reply.code == "LIMIT"));
        assert_eq!(gatherer.known, [1, 2]);
    }
}
