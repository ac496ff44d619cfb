//! The messages of one mailbox in memory: ascending by UID, in chunks. A message costs 76 bytes, also while the mailbox
//! grows to a million of them, and no change moves more than a chunk.

use super::command::InternalDate;
use super::record::MessageRecord;
use crate::mail::flags::Flags;
use crate::mail::ids::{BodyId, ModSeq, Timestamp, Uid};

/// Messages of one chunk.
const CHUNK_MESSAGES_MAX: usize = 512;
/// Neighbours that have no more than this between them become one.
const MERGED_MESSAGES_MAX: usize = CHUNK_MESSAGES_MAX / 2;

/// Every chunk holds at least one message.
#[derive(Debug, Clone, Default)]
pub struct Messages {
    chunks: Vec<Chunk>,
    len: usize,
}

impl Messages {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, uid: Uid) -> Option<MessageRecord> {
        let chunk = self.chunks.get(self.chunk_of(uid))?;
        chunk.uids.binary_search(&uid).ok().map(|at| chunk.record(at))
    }

    /// Ascending by UID.
    pub fn iter(&self) -> impl Iterator<Item = MessageRecord> + '_ {
        self.chunks.iter().flat_map(|chunk| (0..chunk.len()).map(|at| chunk.record(at)))
    }

    /// Ascending.
    pub fn uids(&self) -> impl Iterator<Item = Uid> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.uids.iter().copied())
    }

    /// Those at or above `uid`, ascending.
    pub fn uids_from(&self, uid: Uid) -> impl Iterator<Item = Uid> + '_ {
        let number = self.chunk_of(uid);
        let first = self.chunks.get(number).map_or(&[][..], |chunk| {
            let at = chunk.uids.partition_point(|known| *known < uid);
            &chunk.uids[at..]
        });
        let others = self.chunks.iter().skip(number + 1).flat_map(|chunk| &chunk.uids);
        first.iter().chain(others).copied()
    }

    /// Those with a mod-sequence above `modseq`, ascending by UID; a chunk without any is passed over whole.
    pub fn changed_since(&self, modseq: ModSeq) -> impl Iterator<Item = MessageRecord> + '_ {
        let chunks = self.chunks.iter().filter(move |chunk| chunk.modseq_bound > modseq);
        let records = chunks.flat_map(|chunk| (0..chunk.len()).map(|at| chunk.record(at)));
        records.filter(move |message| message.modseq > modseq)
    }

    /// Adds the message, or replaces the one with its UID.
    pub fn put(&mut self, message: &MessageRecord) {
        // A UID above all others goes into the last chunk.
        let number = self.chunk_of(message.uid).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(number) else {
            self.chunks.push(Chunk::default());
            return self.put(message);
        };
        match chunk.uids.binary_search(&message.uid) {
            Ok(at) => chunk.rest[at] = Rest::of(message),
            Err(at) if at < CHUNK_MESSAGES_MAX && chunk.len() == CHUNK_MESSAGES_MAX => {
                let upper = chunk.split();
                self.chunks.insert(number + 1, upper);
                return self.put(message);
            }
            // Full, and behind its end: UIDs ascend, so that this chunk stays full.
            Err(at) if at == CHUNK_MESSAGES_MAX => {
                self.chunks.push(Chunk::default());
                self.len += 1;
                return self.chunks[number + 1].insert(0, message);
            }
            Err(at) => {
                chunk.insert(at, message);
                self.len += 1;
            }
        }
        let chunk = &mut self.chunks[number];
        chunk.modseq_bound = chunk.modseq_bound.max(message.modseq);
    }

    /// `uids` ascend; those that are not there are passed over.
    pub fn remove(&mut self, uids: &[Uid]) {
        let Some(first) = uids.first() else { return };
        let from = self.chunk_of(*first);
        let mut left = uids;
        for chunk in &mut self.chunks[from..] {
            let here = chunk.uids.last().map_or(0, |last| left.partition_point(|uid| uid <= last));
            self.len -= chunk.remove(&left[..here]);
            left = &left[here..];
            if left.is_empty() {
                break;
            }
        }
        for chunk in self.chunks.split_off(from) {
            match self.chunks.last_mut() {
                _ if chunk.uids.is_empty() => {}
                Some(last) if last.len() + chunk.len() <= MERGED_MESSAGES_MAX => last.append(chunk),
                _ => self.chunks.push(chunk),
            }
        }
    }

    /// The first chunk that ends at or behind `uid`; the number of chunks if none does.
    fn chunk_of(&self, uid: Uid) -> usize {
        self.chunks.partition_point(|chunk| chunk.uids.last().is_some_and(|last| *last < uid))
    }
}

/// By what they hold, however it is cut into chunks.
impl PartialEq for Messages {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl FromIterator<MessageRecord> for Messages {
    fn from_iter<T: IntoIterator<Item = MessageRecord>>(records: T) -> Self {
        let mut messages = Self::default();
        records.into_iter().for_each(|record| messages.put(&record));
        messages
    }
}

/// Neighbours by UID.
#[derive(Debug, Clone, Default)]
struct Chunk {
    uids: Vec<Uid>,
    /// Of the message with the UID at the same place.
    rest: Vec<Rest>,
    /// No mod-sequence here is above this.
    modseq_bound: ModSeq,
}

impl Chunk {
    fn len(&self) -> usize {
        self.uids.len()
    }

    fn record(&self, at: usize) -> MessageRecord {
        self.rest[at].record(self.uids[at])
    }

    fn insert(&mut self, at: usize, message: &MessageRecord) {
        self.uids.insert(at, message.uid);
        self.rest.insert(at, Rest::of(message));
        self.modseq_bound = self.modseq_bound.max(message.modseq);
    }

    /// Keeps the lower half, and gives the upper.
    fn split(&mut self) -> Self {
        let half = self.len() / 2;
        Self {
            uids: self.uids.split_off(half),
            rest: self.rest.split_off(half),
            modseq_bound: self.modseq_bound,
        }
    }

    fn append(&mut self, mut next: Self) {
        self.uids.append(&mut next.uids);
        self.rest.append(&mut next.rest);
        self.modseq_bound = self.modseq_bound.max(next.modseq_bound);
    }

    /// How many went.
    fn remove(&mut self, gone: &[Uid]) -> usize {
        if gone.is_empty() {
            return 0;
        }
        let before = self.len();
        let stays = |uid: &Uid| gone.binary_search(uid).is_err();
        let mut at = 0;
        self.rest.retain(|_| {
            at += 1;
            stays(&self.uids[at - 1])
        });
        self.uids.retain(stays);
        before - self.len()
    }
}

/// A [`MessageRecord`] without its UID, and without the gaps that the order of its fields costs there.
#[derive(Debug, Clone, Copy)]
struct Rest {
    body: BodyId,
    size: u32,
    keywords: [u8; 8],
    modseq: [u8; 8],
    unix_seconds: [u8; 8],
    saved_at: [u8; 8],
    zone_minutes: i16,
    system: u8,
}

const _: () = assert!(size_of::<Rest>() + size_of::<Uid>() == 76);

impl Rest {
    fn of(message: &MessageRecord) -> Self {
        Self {
            body: message.body,
            size: message.size,
            keywords: message.flags.keywords.to_ne_bytes(),
            modseq: message.modseq.0.to_ne_bytes(),
            unix_seconds: message.internal_date.unix_seconds.to_ne_bytes(),
            saved_at: message.saved_at.0.to_ne_bytes(),
            zone_minutes: message.internal_date.zone_minutes,
            system: message.flags.system,
        }
    }

    fn record(&self, uid: Uid) -> MessageRecord {
        MessageRecord {
            uid,
            body: self.body,
            size: self.size,
            flags: Flags { system: self.system, keywords: u64::from_ne_bytes(self.keywords) },
            modseq: ModSeq(u64::from_ne_bytes(self.modseq)),
            internal_date: InternalDate {
                unix_seconds: i64::from_ne_bytes(self.unix_seconds),
                zone_minutes: self.zone_minutes,
            },
            saved_at: Timestamp(u64::from_ne_bytes(self.saved_at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn record(uid: u32, modseq: u64) -> MessageRecord {
        let odd = u64::from(uid).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        MessageRecord {
            uid: Uid(uid),
            body: BodyId::of(&uid.to_le_bytes()),
            size: uid ^ 0x8000_0001,
            flags: Flags { system: odd as u8, keywords: odd },
            modseq: ModSeq(modseq),
            internal_date: InternalDate {
                unix_seconds: -(odd as i64 / 2),
                zone_minutes: -(uid as i16 % 720),
            },
            saved_at: Timestamp(!odd),
        }
    }

    fn check(messages: &Messages, model: &BTreeMap<u32, MessageRecord>) {
        assert_eq!(messages.len(), model.len());
        assert_eq!(messages.is_empty(), model.is_empty());
        assert!(messages.iter().eq(model.values().copied()));
        assert!(messages.uids().eq(model.values().map(|message| message.uid)));
        for chunk in &messages.chunks {
            assert!((1..=CHUNK_MESSAGES_MAX).contains(&chunk.len()));
            assert_eq!(chunk.uids.len(), chunk.rest.len());
        }
        for uid in [0, 1, 3, 511, 512, 513, 1_024, 4_000, u32::MAX] {
            assert_eq!(messages.get(Uid(uid)), model.get(&uid).copied());
            let from = model.range(uid..).map(|(uid, _)| Uid(*uid));
            assert!(messages.uids_from(Uid(uid)).eq(from));
            let changed = model.values().filter(|message| message.modseq.0 > u64::from(uid));
            assert!(messages.changed_since(ModSeq(uid.into())).eq(changed.copied()));
        }
    }

    #[test]
    fn messages_that_come_in_order_fill_their_chunks() {
        let messages: Messages = (1..=3 * CHUNK_MESSAGES_MAX as u32).map(|uid| record(uid, 1)).collect();
        assert_eq!(messages.chunks.len(), 3);
        let slack = messages.chunks.iter().map(|chunk| chunk.rest.capacity() - chunk.rest.len());
        assert_eq!(slack.sum::<usize>(), 0);
    }

    #[test]
    fn what_most_went_from_is_kept_in_few_chunks() {
        let mut messages: Messages = (1..=100_000).map(|uid| record(uid, 1)).collect();
        let gone: Vec<Uid> = (1..=100_000).filter(|uid| uid % 100 != 0).map(Uid).collect();
        messages.remove(&gone);
        assert_eq!(messages.len(), 1_000);
        assert!(messages.chunks.len() <= 8, "{}", messages.chunks.len());
        messages.remove(&(1..=100_000).map(Uid).collect::<Vec<_>>());
        assert!(messages.is_empty() && messages.chunks.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Op {
        Put(u32, u32),
        Remove(u32, u32, u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..5_000u32, 1..900u32).prop_map(|(from, count)| Op::Put(from, count)),
            (0..5_000u32, 1..2_000u32, 1..4u32).prop_map(|(from, count, step)| Op::Remove(from, count, step)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_map_by_uid(ops in prop::collection::vec(op(), 1..20)) {
            let (mut messages, mut model) = (Messages::default(), BTreeMap::new());
            for (modseq, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Put(from, count) => for uid in from..from + count {
                        let message = record(uid, modseq as u64 * 300);
                        messages.put(&message);
                        model.insert(uid, message);
                    },
                    Op::Remove(from, count, step) => {
                        let gone: Vec<u32> = (from..from + count).step_by(step as usize).collect();
                        messages.remove(&gone.iter().copied().map(Uid).collect::<Vec<_>>());
                        gone.iter().for_each(|uid| { model.remove(uid); });
                    }
                }
                check(&messages, &model);
            }
        }
    }
}
