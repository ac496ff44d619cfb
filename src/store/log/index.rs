//! Where the entries are: runs of entries in a file, with a point to begin reading at every so many bytes. Memory
//! goes by the bytes of the log, and little of it: neither by entries nor by syncs.

use std::collections::VecDeque;
use std::ops::Range;

use super::frame::Record;
use super::summary::Summary;
use super::{LogPosition, LogState};

/// A frame in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub file: u32,
    pub offset: u32,
}

/// The frame at `offset` is the first that holds entry `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub first: u64,
    pub offset: u32,
}

/// Entries that follow each other in one file, each frame after the one before, without one that was truncated in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub file: u32,
    pub end: u64,
    /// Ascending; the first is where the run begins.
    pub points: Vec<Point>,
}

impl Run {
    pub fn first(&self) -> u64 {
        self.points.first().map_or(self.end, |point| point.first)
    }
}

/// Entries to read: from the frame at `offset` on, until the last of them has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    pub file: u32,
    pub offset: u32,
    pub entries: Range<u64>,
}

/// What is on the disk, as the records in their order made it.
#[derive(Debug)]
pub struct Index {
    pub state: LogState,
    runs: VecDeque<Run>,
    point_each_bytes: u64,
    /// The next entry begins a run: what stands between it and the last one counts no longer.
    broken: bool,
    /// The lowest entry that the file now read or written has truncated, so that those before it lost it too.
    cut_from: Option<u64>,
    /// Entries up to this index stood in files before the first one; all must have been purged.
    absent_upto: Option<u64>,
}

impl Index {
    pub fn new(point_each_bytes: u64) -> Self {
        Self {
            state: LogState::default(),
            runs: VecDeque::new(),
            point_each_bytes,
            broken: false,
            cut_from: None,
            absent_upto: None,
        }
    }

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

    /// A new file begins.
    pub fn begin_file(&mut self) {
        self.cut_from = None;
        if let Some(back) = self.runs.back_mut() {
            back.points.shrink_to_fit();
        }
    }

    /// What file `number`, which is written no more, has said beyond its head.
    pub fn summary(&self, number: u32) -> (LogState, Option<u64>, Vec<Run>) {
        let runs = self.runs.iter().filter(|run| run.file == number).cloned().collect();
        (self.state, self.cut_from, runs)
    }

    /// As if all records of the file behind its checkpoint had been applied.
    pub fn absorb(&mut self, summary: Summary) {
        if let Some(cut_from) = summary.cut_from {
            self.cut(cut_from);
        }
        self.runs.extend(summary.runs);
        self.state = summary.state;
        self.drop_purged();
        self.broken = true;
    }

    /// Where `range` stands, in order.
    pub fn holding(&self, range: &Range<u64>) -> Vec<Stretch> {
        let from = self.runs.partition_point(|run| run.end <= range.start);
        let touched = self.runs.iter().skip(from).take_while(|run| run.first() < range.end);
        let stretch = |run: &Run| {
            let entries = range.start.max(run.first())..range.end.min(run.end);
            let behind = run.points.partition_point(|point| point.first <= entries.start);
            let point = behind.checked_sub(1).and_then(|at| run.points.get(at))?;
            Some(Stretch { file: run.file, offset: point.offset, entries })
        };
        touched.filter_map(stretch).collect()
    }

    /// The oldest file that still holds an entry.
    pub fn oldest_file(&self) -> Option<u32> {
        self.runs.front().map(|run| run.file)
    }

    /// What this index takes in memory.
    pub fn bytes(&self) -> usize {
        let points: usize = self.runs.iter().map(|run| run.points.capacity()).sum();
        self.runs.capacity() * size_of::<Run>() + points * size_of::<Point>()
    }

    /// Whether the entries behind `purged` up to `last` are all there.
    pub fn is_whole(&self) -> bool {
        let joined = self.runs.iter().zip(self.runs.iter().skip(1)).all(|(a, b)| a.end == b.first());
        let starts = match (self.runs.front(), self.state.purged) {
            (Some(front), Some(purged)) => front.first() <= purged.index + 1,
            _ => true,
        };
        let ends = match self.runs.back() {
            Some(back) => self.state.last.is_some_and(|last| last.index + 1 == back.end),
            None => self.state.last == self.state.purged,
        };
        let absent_are_purged = self.absent_upto <= self.state.purged.map(|purged| purged.index);
        joined && starts && ends && absent_are_purged
    }

    /// The first file's checkpoint stands for the files purged before it; a later one repeats what is known.
    fn check_checkpoint(&mut self, state: &LogState) -> Result<(), String> {
        if self.state == LogState::default() && self.runs.is_empty() {
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
        let point = Point { first: position.index, offset: place.offset };
        match self.runs.back_mut() {
            Some(back) if !self.broken && back.file == place.file && back.end == position.index => {
                back.end += 1;
                let last = back.points.last().map_or(0, |point| point.offset);
                if u64::from(place.offset - last) >= self.point_each_bytes {
                    back.points.push(point);
                }
            }
            _ => {
                let end = position.index + 1;
                self.runs.push_back(Run { file: place.file, end, points: vec![point] });
                self.broken = false;
            }
        }
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogPosition>) {
        let from = last.map_or(0, |last| last.index + 1);
        if self.state.last.is_some_and(|last| last.index >= from) {
            self.cut_from = Some(self.cut_from.map_or(from, |lowest| lowest.min(from)));
        }
        self.cut(from);
        self.state = truncated(self.state, last);
    }

    /// Drops the entries from `from` on.
    fn cut(&mut self, from: u64) {
        self.absent_upto = self.absent_upto.min(from.checked_sub(1));
        while self.runs.back().is_some_and(|back| back.first() >= from) {
            self.runs.pop_back();
            self.broken = true;
        }
        if let Some(back) = self.runs.back_mut()
            && back.end > from
        {
            back.end = from;
            back.points.retain(|point| point.first < from);
            self.broken = true;
        }
    }

    fn purge(&mut self, upto: LogPosition) {
        self.state = purged(self.state, upto);
        self.drop_purged();
    }

    fn drop_purged(&mut self) {
        let next = self.state.purged.map_or(0, |purged| purged.index + 1);
        while self.runs.front().is_some_and(|front| front.end <= next) {
            self.runs.pop_front();
        }
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
