//! What a listing shows of a message: its ENVELOPE and structure, as they go over the wire, and the beginning of its
//! text; what SORT and THREAD read of its header, and what searches ask of it. Derived from the body alone, which never
//! changes, so all are remembered by body id (and could be stored).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::BytesMut;

use super::arrange::Facts;
use super::bodystructure::{Form, write_bodystructure};
use super::envelope::write_envelope;
use super::limits::{
    EXCERPT_CACHE_BYTES_MAX, FACTS_CACHE_BYTES_MAX, PREVIEW_CACHE_BYTES_MAX, SUMMARY_CACHE_BYTES_MAX,
};
use super::search::Excerpt;
use crate::mail::ids::BodyId;
use crate::mail::mime;

/// Rendered once per body; one text behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    texts: Box<[u8]>,
    body_at: usize,
    bodystructure_at: usize,
}

impl Summary {
    /// Of a raw message.
    pub fn of(raw: &[u8]) -> Self {
        let structure = mime::parse(raw);
        let mut out = BytesMut::new();
        write_envelope(&raw[structure.root().header.clone()], &mut out);
        let body_at = out.len();
        write_bodystructure(raw, &structure, Form::Body, &mut out);
        let bodystructure_at = out.len();
        write_bodystructure(raw, &structure, Form::BodyStructure, &mut out);
        Self { texts: out[..].into(), body_at, bodystructure_at }
    }

    pub fn envelope(&self) -> &[u8] {
        &self.texts[..self.body_at]
    }

    /// BODY: without extension data.
    pub fn body(&self) -> &[u8] {
        &self.texts[self.body_at..self.bodystructure_at]
    }

    pub fn bodystructure(&self) -> &[u8] {
        &self.texts[self.bodystructure_at..]
    }
}

/// See [`crate::mail::preview`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview(pub Box<str>);

/// What a node remembers of messages.
#[derive(Debug)]
pub struct SummaryCache {
    pub previews: Remembered<Preview>,
    pub summaries: Remembered<Summary>,
    pub facts: Remembered<Facts>,
    pub excerpts: Remembered<Excerpt>,
}

impl Default for SummaryCache {
    fn default() -> Self {
        Self {
            previews: Remembered::new(PREVIEW_CACHE_BYTES_MAX),
            summaries: Remembered::new(SUMMARY_CACHE_BYTES_MAX),
            facts: Remembered::new(FACTS_CACHE_BYTES_MAX),
            excerpts: Remembered::new(EXCERPT_CACHE_BYTES_MAX),
        }
    }
}

impl SummaryCache {
    pub fn new() -> Self {
        Self::default()
    }

    /// A message that is read for a listing or to be sorted is searched as a rule, and its fields are at hand.
    pub fn keep_excerpt(&self, body: BodyId, raw: &[u8]) {
        if self.excerpts.get(body).is_none() {
            self.excerpts.put(body, Excerpt::of(raw));
        }
    }

    /// Its facts, if its fields are known: nothing is read for them.
    pub fn keep_facts(&self, body: BodyId) {
        if self.facts.get(body).is_none()
            && let Some(excerpt) = self.excerpts.get(body)
        {
            self.facts.put(body, Facts::of(&excerpt.0));
        }
    }
}

/// Bytes of memory.
pub trait Weighed {
    fn bytes(&self) -> usize;
}

impl Weighed for Summary {
    fn bytes(&self) -> usize {
        self.texts.len()
    }
}

impl Weighed for Excerpt {
    fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Weighed for Preview {
    fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Weighed for Facts {
    fn bytes(&self) -> usize {
        self.bytes()
    }
}

/// Of the messages looked at last, by two generations: when the young one is full it becomes the old one, and what the
/// old one still held is forgotten.
#[derive(Debug)]
pub struct Remembered<T> {
    generations: Mutex<Generations<T>>,
}

#[derive(Debug)]
struct Generations<T> {
    young: HashMap<BodyId, Arc<T>>,
    old: HashMap<BodyId, Arc<T>>,
    young_bytes: usize,
    generation_bytes_max: usize,
}

/// What an entry costs besides its text, bytes.
const ENTRY_BYTES: usize = 160;

impl<T: Weighed> Remembered<T> {
    fn new(bytes_max: usize) -> Self {
        Self {
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
                young_bytes: 0,
                generation_bytes_max: bytes_max / 2,
            }),
        }
    }

    pub fn get(&self, body: BodyId) -> Option<Arc<T>> {
        let mut generations = self.lock();
        if let Some(known) = generations.young.get(&body) {
            return Some(known.clone());
        }
        let known = generations.old.get(&body).cloned()?;
        generations.put(body, known.clone());
        Some(known)
    }

    pub fn put(&self, body: BodyId, thing: T) -> Arc<T> {
        let thing = Arc::new(thing);
        self.lock().put(body, thing.clone());
        thing
    }

    fn lock(&self) -> MutexGuard<'_, Generations<T>> {
        self.generations.lock().expect("no holder of the summary cache panics")
    }
}

impl<T: Weighed> Generations<T> {
    fn put(&mut self, body: BodyId, thing: Arc<T>) {
        let bytes = ENTRY_BYTES + thing.bytes();
        if bytes > self.generation_bytes_max {
            return;
        }
        if self.young_bytes + bytes > self.generation_bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.insert(body, thing).is_none() {
            self.young_bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let cache = SummaryCache::new().summaries;
        let summary = || Summary { texts: vec![b'x'; 1024 * 1024].into(), body_at: 0, bodystructure_at: 0 };
        let id = |number: u8| BodyId([number; 32]);
        for number in 0..80 {
            cache.put(id(number), summary());
            cache.get(id(0));
        }
        let held = {
            let generations = cache.lock();
            generations.young.len() + generations.old.len()
        };
        assert!(held * 1024 * 1024 <= SUMMARY_CACHE_BYTES_MAX, "{held}");
        assert!(cache.get(id(0)).is_some(), "what is used stays");
        assert!(cache.get(id(1)).is_none(), "what is not used goes");
        assert!(cache.get(id(79)).is_some());
    }
}
