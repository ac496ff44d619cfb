//! Writes what was found: SEARCH and SORT (RFC 3501 7.2.5, RFC 5256 4), ESEARCH (RFC 4731, RFC 5267, RFC 9394).

use std::collections::VecDeque;

use bytes::BytesMut;

use super::find::Found;
use crate::mail::ids::{ModSeq, Uid};
use crate::session::imap::grammar::{PartialRange, Results};
use crate::session::imap::limits::OUTPUT_CHUNK_BYTES;
use crate::session::imap::write;

/// An answer that is sent in parts.
#[derive(Debug, Default)]
pub struct Pieces(VecDeque<Piece>);

#[derive(Debug)]
enum Piece {
    Text(Vec<u8>),
    /// Numbers with a blank before each.
    Numbers(std::vec::IntoIter<u32>),
    /// `1:3,5`.
    Runs {
        left: std::vec::IntoIter<(u32, u32)>,
        begun: bool,
    },
}

impl Pieces {
    pub fn text(&mut self, text: impl Into<Vec<u8>>) {
        self.0.push_back(Piece::Text(text.into()));
    }

    fn runs(&mut self, numbers: impl Iterator<Item = u32>) {
        self.0.push_back(Piece::Runs { left: runs(numbers).into_iter(), begun: false });
    }

    /// Writes until all is written, or enough to be sent first: then it is true.
    pub fn write(&mut self, out: &mut BytesMut) -> bool {
        while let Some(piece) = self.0.front_mut() {
            match piece {
                Piece::Text(text) => {
                    let room = (OUTPUT_CHUNK_BYTES + 1).saturating_sub(out.len()).min(text.len());
                    out.extend_from_slice(&text[..room]);
                    if room < text.len() {
                        text.drain(..room);
                        return true;
                    }
                }
                Piece::Numbers(numbers) => {
                    for number in numbers.by_ref() {
                        out.extend_from_slice(b" ");
                        write::number(number, out);
                        if out.len() > OUTPUT_CHUNK_BYTES {
                            return true;
                        }
                    }
                }
                Piece::Runs { left, begun } => {
                    for run in left.by_ref() {
                        if std::mem::replace(begun, true) {
                            out.extend_from_slice(b",");
                        }
                        write_run(run, out);
                        if out.len() > OUTPUT_CHUNK_BYTES {
                            return true;
                        }
                    }
                }
            }
            self.0.pop_front();
        }
        false
    }
}

/// Numbers that follow each other upwards, as ranges, in the order given.
fn runs(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// `1:3,5`; `numbers` in the order given.
pub fn write_runs(numbers: &[u32], out: &mut BytesMut) {
    for (at, run) in runs(numbers.iter().copied()).into_iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b",");
        }
        write_run(run, out);
    }
}

fn write_run((first, last): (u32, u32), out: &mut BytesMut) {
    write::number(first, out);
    if first != last {
        out.extend_from_slice(b":");
        write::number(last, out);
    }
}

/// `* SEARCH 1 2 (MODSEQ 9)` or `* SORT …`; with a mod-sequence where the key asked for one.
pub fn plain(name: &str, uid: bool, found: &[Found], modseq: bool) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.text(format!("* {name}"));
    let numbers: Vec<u32> = found.iter().map(|found| found.number(uid)).collect();
    pieces.0.push_back(Piece::Numbers(numbers.into_iter()));
    let highest = found.iter().map(|found| found.modseq).max().filter(|_| modseq);
    pieces.text(highest.map_or("\r\n".to_owned(), |modseq| format!(" (MODSEQ {modseq})\r\n")));
    pieces
}

/// `* ESEARCH (TAG "a") UID MIN 1 …`. `found` is in the order of the answer: by number, or sorted.
pub fn extended(tag: &str, uid: bool, results: &Results, found: &[Found], modseq: bool) -> Pieces {
    let mut pieces = Pieces::default();
    let uid_text = if uid { " UID" } else { "" };
    pieces.text(format!("* ESEARCH (TAG \"{tag}\"){uid_text}"));
    let number = |found: &Found| found.number(uid);
    if let Some(first) = found.first().filter(|_| results.min) {
        pieces.text(format!(" MIN {}", number(first)));
    }
    if let Some(last) = found.last().filter(|_| results.max) {
        pieces.text(format!(" MAX {}", number(last)));
    }
    if results.all && !found.is_empty() {
        pieces.text(" ALL ");
        pieces.runs(found.iter().map(number));
    }
    if let Some(range) = &results.partial {
        let part = range.of(found);
        pieces.text(format!(" PARTIAL ({range} "));
        if part.is_empty() {
            pieces.text("NIL");
        } else {
            pieces.runs(part.iter().map(number));
        }
        pieces.text(")");
    }
    if results.count {
        pieces.text(format!(" COUNT {}", found.len()));
    }
    if let Some(modseq) = highest(results, found).filter(|_| modseq) {
        pieces.text(format!(" MODSEQ {modseq}"));
    }
    pieces.text("\r\n");
    pieces
}

/// RFC 4731 3.2: the highest mod-sequence of what is reported; of all, where ALL or COUNT is.
fn highest(results: &Results, found: &[Found]) -> Option<ModSeq> {
    if results.all || results.count {
        return found.iter().map(|found| found.modseq).max();
    }
    reported(results, found).into_iter().map(|found| found.modseq).max()
}

/// What MIN, MAX and PARTIAL report.
fn reported(results: &Results, found: &[Found]) -> Vec<Found> {
    let mut reported = results.partial.as_ref().map(|range| range.of(found).to_vec()).unwrap_or_default();
    reported.extend(found.first().filter(|_| results.min));
    reported.extend(found.last().filter(|_| results.max));
    reported
}

/// What `$` stands for afterwards (RFC 5182 2.4, RFC 9394 3.3), ascending.
pub fn saved(results: &Results, found: &[Found]) -> Vec<Uid> {
    let all = results.all || results.count || !(results.min || results.max || results.partial.is_some());
    let found = if all { found.to_vec() } else { reported(results, found) };
    let mut uids: Vec<Uid> = found.into_iter().map(|found| found.uid).collect();
    uids.sort_unstable();
    uids.dedup();
    uids
}

impl PartialRange {
    /// How many it names at the most.
    pub fn count(&self) -> usize {
        (self.last - self.first) as usize + 1
    }

    /// The part of `found` that it names; nothing beyond the ends.
    pub fn of<'a, T>(&self, found: &'a [T]) -> &'a [T] {
        let count = found.len();
        let first = (self.first as usize - 1).min(count);
        let last = (self.last as usize).min(count);
        if self.from_end { &found[count - last..count - first] } else { &found[first..last] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(count: u32) -> Vec<Found> {
        (1..=count)
            .map(|number| Found {
                sequence: number,
                uid: Uid(number * 10),
                modseq: ModSeq(u64::from(100_000 - number)),
            })
            .collect()
    }

    fn text(mut pieces: Pieces) -> String {
        let mut out = BytesMut::new();
        assert!(!pieces.write(&mut out));
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn parts_are_counted_from_either_end() {
        let numbers: Vec<u32> = (1..=5).collect();
        let part = |first, last, from_end| PartialRange { first, last, from_end }.of(&numbers).to_vec();
        assert_eq!(part(1, 2, false), [1, 2]);
        assert_eq!(part(4, 9, false), [4, 5]);
        assert!(part(6, 9, false).is_empty());
        assert_eq!(part(1, 2, true), [4, 5]);
        assert_eq!(part(4, u32::MAX, true), [1, 2]);
        assert!(part(6, 6, true).is_empty());
    }

    #[test]
    fn what_is_saved_is_what_was_asked_for() {
        let saved =
            |results: Results| saved(&results, &found(4)).into_iter().map(|uid| uid.0).collect::<Vec<_>>();
        let results = Results { save: true, ..Results::default() };
        assert_eq!(saved(results.clone()), [10, 20, 30, 40]);
        assert_eq!(saved(Results { min: true, ..results.clone() }), [10]);
        assert_eq!(saved(Results { min: true, max: true, ..results.clone() }), [10, 40]);
        assert_eq!(saved(Results { min: true, count: true, ..results.clone() }), [10, 20, 30, 40]);
        let partial = Some(PartialRange { first: 2, last: 3, from_end: false });
        assert_eq!(saved(Results { max: true, partial, ..results }), [20, 30, 40]);
    }

    #[test]
    fn mod_sequences_of_what_is_reported() {
        let answer = |results: Results| text(extended("t", true, &results, &found(3), true));
        let min = Results { min: true, ..Results::default() };
        assert_eq!(answer(min.clone()), "* ESEARCH (TAG \"t\") UID MIN 10 MODSEQ 99999\r\n");
        let max = Results { max: true, ..Results::default() };
        assert_eq!(answer(max), "* ESEARCH (TAG \"t\") UID MAX 30 MODSEQ 99997\r\n");
        let counted = Results { count: true, ..min };
        assert_eq!(answer(counted), "* ESEARCH (TAG \"t\") UID MIN 10 COUNT 3 MODSEQ 99999\r\n");
    }

    #[test]
    fn a_long_answer_is_sent_in_parts() {
        let found = found(40_000);
        let found: Vec<Found> = found.into_iter().step_by(2).collect();
        let results = Results { all: true, ..Results::default() };
        let (mut pieces, mut out, mut parts) =
            (extended("t", false, &results, &found, false), BytesMut::new(), 0);
        let mut whole = Vec::new();
        while pieces.write(&mut out) {
            assert!(out.len() < OUTPUT_CHUNK_BYTES + 32);
            whole.extend_from_slice(&out.split());
            parts += 1;
        }
        whole.extend_from_slice(&out);
        assert!(parts > 0 && whole.ends_with(b",39997,39999\r\n"));
    }
}
