//! Values held against keys: comparators (RFC 4790 9), match types (RFC 5228 2.7.1, RFC 5231). Every step is paid for.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use memchr::memmem;

use super::program::{Comparator, Relation};
use super::template::MATCH_MAX;
use super::work::{Fault, Work};

/// Text as that comparator sees it; octets stay where they are.
pub(super) fn folded<'a>(
    comparator: Comparator,
    text: &'a str,
    work: &mut Work,
) -> Result<Cow<'a, [u8]>, Fault> {
    if comparator != Comparator::AsciiCasemap {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    work.spend(text.len())?;
    // RFC 4790 9.2.1: letters count as capitals, which places them before the underscore.
    Ok(Cow::Owned(text.as_bytes().to_ascii_uppercase()))
}

pub(super) fn is(comparator: Comparator, value: &[u8], key: &[u8]) -> bool {
    match comparator {
        Comparator::AsciiNumeric => compare(comparator, value, key) == Ordering::Equal,
        Comparator::Octet | Comparator::AsciiCasemap => value == key,
    }
}

pub(super) fn relates(comparator: Comparator, relation: Relation, value: &[u8], key: &[u8]) -> bool {
    let order = compare(comparator, value, key);
    match relation {
        Relation::Greater => order == Ordering::Greater,
        Relation::GreaterOrEqual => order != Ordering::Less,
        Relation::Less => order == Ordering::Less,
        Relation::LessOrEqual => order != Ordering::Greater,
        Relation::Equal => order == Ordering::Equal,
        Relation::NotEqual => order != Ordering::Equal,
    }
}

fn compare(comparator: Comparator, value: &[u8], key: &[u8]) -> Ordering {
    if comparator != Comparator::AsciiNumeric {
        return value.cmp(key);
    }
    // RFC 4790 9.1.1: what begins with no digit is greater than every number.
    match (number(value), number(key)) {
        (Some(value), Some(key)) => value.len().cmp(&key.len()).then(value.cmp(key)),
        (value, key) => value.is_none().cmp(&key.is_none()),
    }
}

/// The digits at the front, without zeros before them.
fn number(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|byte| **byte == b'0').count();
    (end > 0).then(|| &text[zeros..end])
}

pub(super) fn contains(value: &[u8], key: &[u8], work: &mut Work) -> Result<bool, Fault> {
    work.spend(value.len() / 4 + key.len() + 1)?;
    Ok(memmem::find(value, key).is_some())
}

/// A key of `:matches`: `*` is any number of characters, `?` is one, a backslash takes the meaning of what follows it.
pub(super) struct Pattern {
    /// What stands between the stars: one more than there are stars.
    segments: Vec<Vec<Glyph>>,
    /// Octets that are no wildcards, taken apart only where that is needed.
    literals: Vec<Option<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Glyph {
    Octet(u8),
    AnyCharacter,
}

/// Where the wildcards of a pattern found what they stand for, the first [`MATCH_MAX`] of them.
pub(super) type Captures = Vec<Range<usize>>;

impl Pattern {
    pub(super) fn new(key: &[u8], work: &mut Work) -> Result<Self, Fault> {
        work.spend(key.len() * 2)?;
        let mut segments = vec![Vec::new()];
        let mut octets = key.iter();
        while let Some(octet) = octets.next() {
            let glyph = match octet {
                b'*' => {
                    segments.push(Vec::new());
                    continue;
                }
                b'?' => Glyph::AnyCharacter,
                b'\\' => Glyph::Octet(*octets.next().unwrap_or(&b'\\')),
                octet => Glyph::Octet(*octet),
            };
            if let Some(segment) = segments.last_mut() {
                segment.push(glyph);
            }
        }
        let literals = segments.iter().map(|segment| literal(segment)).collect();
        Ok(Self { segments, literals })
    }

    /// Each star takes as little as it can, the first ones first (RFC 5229 3.2). The work is that of looking for each
    /// segment once: no choice is ever taken back.
    pub(super) fn find(&self, value: &[u8], work: &mut Work) -> Result<Option<Captures>, Fault> {
        let mut captures = Captures::new();
        let last = self.segments.len() - 1;
        let Some(mut at) = front(&self.segments[0], value, 0, &mut captures, work)? else { return Ok(None) };
        if last == 0 {
            return Ok((at == value.len()).then_some(captures));
        }
        for (segment, literal) in self.segments.iter().zip(&self.literals).take(last).skip(1) {
            let Some((start, end, inner)) = search(segment, literal.as_deref(), value, at, work)? else {
                return Ok(None);
            };
            add(&mut captures, at..start);
            inner.into_iter().for_each(|range| add(&mut captures, range));
            at = end;
        }
        let Some(start) = back(&self.segments[last], value, at, work)? else { return Ok(None) };
        add(&mut captures, at..start);
        front(&self.segments[last], value, start, &mut captures, work)?;
        Ok(Some(captures))
    }
}

fn literal(segment: &[Glyph]) -> Option<Vec<u8>> {
    let octet = |glyph: &Glyph| match glyph {
        Glyph::Octet(octet) => Some(*octet),
        Glyph::AnyCharacter => None,
    };
    segment.iter().map(octet).collect()
}

fn add(captures: &mut Captures, range: Range<usize>) {
    if captures.len() < MATCH_MAX {
        captures.push(range);
    }
}

/// The end of `segment` where it stands at `start`.
fn front(
    segment: &[Glyph],
    value: &[u8],
    start: usize,
    captures: &mut Captures,
    work: &mut Work,
) -> Result<Option<usize>, Fault> {
    let mut at = start;
    for (steps, glyph) in segment.iter().enumerate() {
        at = match (glyph, value.get(at)) {
            (Glyph::Octet(wanted), Some(octet)) if wanted == octet => at + 1,
            (Glyph::AnyCharacter, Some(_)) => {
                let end = character_end(value, at);
                add(captures, at..end);
                end
            }
            _ => {
                work.spend(steps + 1)?;
                return Ok(None);
            }
        };
    }
    work.spend(segment.len() + 1)?;
    Ok(Some(at))
}

/// Where `segment` begins if it ends with the value, and not before `floor`.
fn back(segment: &[Glyph], value: &[u8], floor: usize, work: &mut Work) -> Result<Option<usize>, Fault> {
    work.spend(segment.len() + 1)?;
    let mut at = value.len();
    for glyph in segment.iter().rev() {
        if at <= floor {
            return Ok(None);
        }
        at -= 1;
        match glyph {
            Glyph::Octet(wanted) if *wanted == value[at] => {}
            Glyph::Octet(_) => return Ok(None),
            Glyph::AnyCharacter => {
                while at > floor && is_continuation(value[at]) {
                    at -= 1;
                }
            }
        }
    }
    Ok(Some(at))
}

type Found = (usize, usize, Captures);

/// The first place from `from` on where `segment` stands.
fn search(
    segment: &[Glyph],
    literal: Option<&[u8]>,
    value: &[u8],
    from: usize,
    work: &mut Work,
) -> Result<Option<Found>, Fault> {
    if let Some(literal) = literal {
        let found = memmem::find(&value[from..], literal);
        let looked_at = found.unwrap_or(value.len() - from);
        work.spend(looked_at / 4 + literal.len() + 1)?;
        return Ok(found.map(|at| (from + at, from + at + literal.len(), Captures::new())));
    }
    let mut start = from;
    while start < value.len() {
        let mut captures = Captures::new();
        if let Some(end) = front(segment, value, start, &mut captures, work)? {
            return Ok(Some((start, end, captures)));
        }
        start = character_end(value, start);
    }
    Ok(None)
}

fn is_continuation(octet: u8) -> bool {
    octet & 0xc0 == 0x80
}

/// Where the character at `at` ends: values are UTF-8.
fn character_end(value: &[u8], at: usize) -> usize {
    let more = value[at + 1..].iter().take_while(|octet| is_continuation(**octet)).count();
    at + 1 + more
}
