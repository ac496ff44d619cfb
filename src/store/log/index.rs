//! Where the entries are: one extent for each run of entries in a frame, so that memory goes by syncs, not by entries.

use std::collections::VecDeque;
use std::ops::Range;

use super::frame::Record;
use super::{LogPosition, LogState};

/// A frame in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub file: u32,
    pub offset: u32,
    pub bytes: u32,
}

/// A run of entries in one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub first: u64,
    pub end: u64,
    pub place: Place,
}

/// What is on the disk, as the records in their order made it.
#[derive(Debug, Default)]
pub struct Index {
    pub state: LogState,
    pub extents: VecDeque<Extent>,
    /// Entries up to this index stood in files before the first one; all must have been purged.
    absent_upto: Option<u64>,
}

impl Index {
    /// Takes a record that stands in the frame at `place`.
    pub fn apply(&mut self, record: &Record<'_>, place: Place) -> Result<(), String> {
        match record {
            Record::Vote(vote) => self.state.vote = Some(*vote),
            Record::Committed(position) => self.state.committed = *position,
            Record::Checkpoint(state) => self.check_checkpoint(state)?,
            Record::TruncateAfter(position) => self.truncate_after(*position),
            Record::Purge(position) => self.purge(*position),
            Record::Entry(position, _) => self.entry(*position, place)?,
        }
        Ok(())
    }

    /// The extents that hold `range`, in order.
    pub fn holding(&self, range: &Range<u64>) -> impl Iterator<Item = Extent> + '_ {
        let from = self.extents.partition_point(|extent| extent.end <= range.start);
        let end = range.end;
        self.extents.iter().skip(from).take_while(move |extent| extent.first < end).copied()
    }

    /// The oldest file that still holds an entry.
    pub fn oldest_file(&self) -> Option<u32> {
        self.extents.front().map(|extent| extent.place.file)
    }

    /// Whether the entries behind `purged` up to `last` are all there.
    pub fn is_whole(&self) -> bool {
        let joined = self.extents.iter().zip(self.extents.iter().skip(1)).all(|(a, b)| a.end == b.first);
        let starts = match (self.extents.front(), self.state.purged) {
            (Some(front), Some(purged)) => front.first <= purged.index + 1,
            _ => true,
        };
        let ends = match self.extents.back() {
            Some(back) => self.state.last.is_some_and(|last| last.index + 1 == back.end),
            None => self.state.last == self.state.purged,
        };
        let absent_are_purged = self.absent_upto <= self.state.purged.map(|purged| purged.index);
        joined && starts && ends && absent_are_purged
    }

    /// The first file's checkpoint stands for the files purged before it; a later one repeats what is known.
    fn check_checkpoint(&mut self, state: &LogState) -> Result<(), String> {
        if self.state == LogState::default() && self.extents.is_empty() {
            self.state = *state;
            self.absent_upto = state.last.map(|last| last.index);
        }
        if self.state != *state {
            return Err(format!("a checkpoint says {state:?}, the records before it {:?}", self.state));
        }
        Ok(())
    }

    fn entry(&mut self, position: LogPosition, place: Place) -> Result<(), String> {
        if self.state.last.is_some_and(|last| last.index + 1 != position.index) {
            return Err(format!("entry {position:?} follows {:?}", self.state.last));
        }
        self.state.last = Some(position);
        match self.extents.back_mut() {
            Some(back) if back.place == place && back.end == position.index => back.end += 1,
            _ => {
                self.extents.push_back(Extent { first: position.index, end: position.index + 1, place });
            }
        }
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogPosition>) {
        let end = last.map_or(0, |last| last.index + 1);
        self.absent_upto = self.absent_upto.min(last.map(|last| last.index));
        while self.extents.back().is_some_and(|back| back.first >= end) {
            self.extents.pop_back();
        }
        if let Some(back) = self.extents.back_mut() {
            back.end = back.end.min(end);
        }
        self.state = truncated(self.state, last);
    }

    fn purge(&mut self, upto: LogPosition) {
        while self.extents.front().is_some_and(|front| front.end <= upto.index + 1) {
            self.extents.pop_front();
        }
        self.state = purged(self.state, upto);
    }
}

/// The state after a truncation.
pub fn truncated(mut state: LogState, last: Option<LogPosition>) -> LogState {
    let index = |position: Option<LogPosition>| position.map(|position| position.index);
    if index(last) < index(state.last) {
        state.last = if index(last) < index(state.purged) { state.purged } else { last };
    }
    state
}

/// The state after a purge; one beyond the last entry moves the end too.
pub fn purged(mut state: LogState, upto: LogPosition) -> LogState {
    if state.purged.is_none_or(|purged| purged.index < upto.index) {
        state.purged = Some(upto);
    }
    if state.last.is_none_or(|last| last.index <= upto.index) {
        state.last = state.purged;
    }
    state
}
