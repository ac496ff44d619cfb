//! Digests of groups of rows, kept as the rows change: what the rows of a replica should add up to. At the same index of
//! the log they are the same on every replica, however its entries were batched, so that two replicas are compared by
//! them; and a replica whose rows do not add up to its own is the one that is wrong.
//!
//! Nothing is ever decided by them in apply. They tell of accidents and of hands on the rows, not of somebody who writes
//! rows and digests alike.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bincode::{Decode, Encode};

use super::keys;
use super::rows::{Batch, Rows, RowsError};
use crate::mail::ids::{AccountId, LogIndex, MailboxId};

/// What is told apart when rows are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Group {
    /// Its messages, its own row, keywords, remembered expunges, rights and annotations.
    Mailbox(MailboxId),
    /// What is an account's, but for its mailboxes. 0: what is anyone's.
    Account(AccountId),
    /// What belongs to no mailbox and no account: whole tables of `keys` that change together, by the first of them. Each
    /// group that an entry changes costs a row, so that there are few.
    Table(u8),
}

const MAILBOX: u8 = 0;
const ACCOUNT: u8 = 1;
const TABLE: u8 = 2;
/// The digest of the group that each entry changes, and behind it up to where the log is in the digests. The last of them.
const KEPT: [u8; 2] = [keys::DIGEST, 0xff];
const ALWAYS_CHANGED: Group = Group::Table(keys::META);

/// Octets of a digest in its row: four words and the number of rows, little endian.
const DIGEST_BYTES: usize = 40;

/// The rows of a group, in no order: the sum, word by word and wrapping, of a hash of each; and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Digest {
    sum: [u64; 4],
    pub rows: u64,
}

/// The group of a row; `None`: it is in none, since it is the machine's own, or a digest.
pub fn group_of(key: &[u8]) -> Option<Group> {
    let table = *key.first()?;
    let id = |at: usize| Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?));
    // Mailbox 0 is the server.
    let mailbox = |at| id(at).filter(|id| *id != 0).map(|id| Group::Mailbox(MailboxId(id)));
    let account = |at| id(at).map(|id| Group::Account(AccountId(id)));
    let group = match table {
        // Last applied and membership are the machine's, which writes them at other times on each node.
        0x00 | keys::DIGEST | 0xf0.. => return None,
        keys::MAILBOX | keys::KEYWORDS | keys::EXPUNGED | keys::ACL | keys::METADATA => mailbox(1),
        keys::MESSAGES => mailbox(9),
        keys::METADATA_TALLY if key.get(1) == Some(&0) => mailbox(2),
        keys::METADATA_TALLY => account(2),
        keys::ACCOUNT | keys::NAME | keys::GRANT | keys::GRANTS | keys::METADATA_GUEST => account(1),
        keys::SCRIPTS | keys::SCRIPT | keys::SCRIPT_PART => account(1),
        keys::REPLIES | keys::REPLY | keys::REPLY_END => account(1),
        _ => None,
    };
    Some(group.unwrap_or(Group::Table(first_of(table))))
}

/// Of the tables that change together, the first.
fn first_of(table: u8) -> u8 {
    match table {
        keys::META | keys::BODY | keys::SLOT..=keys::COMMAND | keys::SWEEP => keys::META,
        keys::REPLICAS | keys::NODE_IDS | keys::RETIRED | keys::DRAINED => keys::REPLICAS,
        keys::STAND_IN | keys::USER | keys::SCRAM => keys::USER,
        keys::RULE | keys::RULES => keys::RULE,
        keys::QUEUE..=keys::TLS_WISH => keys::QUEUE,
        keys::BUDGETS..=keys::SEATS => keys::BUDGETS,
        keys::GREY_TALLY..=keys::GREY_END => keys::GREY_TALLY,
        keys::STS_TALLY..=keys::STS_END => keys::STS_TALLY,
        keys::TLS_DAYS..=keys::TLS_FAILURE => keys::TLS_DAYS,
        alone => alone,
    }
}

/// Brings the digests into `batch`, which is about to be written over `rows` and is all that the entries up to `applied`
/// changed.
pub fn keep(rows: &dyn Rows, batch: &mut Batch, applied: LogIndex) -> Result<(), RowsError> {
    let mut changed: BTreeMap<Group, Digest> = BTreeMap::new();
    let mut hasher = RowHasher::default();
    for (key, new) in batch.iter() {
        let Some(group) = group_of(key) else { continue };
        let old = rows.get(key)?;
        if old == *new {
            continue;
        }
        let digest = changed.entry(group).or_default();
        old.iter().for_each(|old| digest.take_off(hasher.hash(key, old)));
        new.iter().for_each(|new| digest.put_in(hasher.hash(key, new)));
    }
    changed.entry(ALWAYS_CHANGED).or_default();
    for (group, change) in changed {
        let key = key_of(group);
        let before = rows.get(&key)?.and_then(|bytes| Digest::decode(&bytes)).unwrap_or_default();
        batch.insert(key, before.plus(change).row_of(group, applied.0 + 1));
    }
    Ok(())
}

/// Whether the digests in `rows` are of these rows: not so where an older build wrote them, or went on with them.
/// `applied` is the last entry that they hold.
pub fn are_kept(rows: &dyn Rows, applied: Option<LogIndex>) -> Result<bool, RowsError> {
    let next = applied.map_or(0, |applied| applied.0 + 1);
    let kept = rows.get(&KEPT)?;
    Ok(match kept.as_deref().and_then(<[u8]>::split_last_chunk::<8>) {
        Some((_, kept)) => *kept == next.to_be_bytes(),
        None => next == 0,
    })
}

/// All digests, from the rows as they are, and nothing of those that stood there before. Reads all rows.
pub fn count_anew(rows: &dyn Rows, applied: Option<LogIndex>) -> Result<Batch, RowsError> {
    let (mut tally, mut batch) = (Tally::default(), Batch::new());
    rows.scan(&[], &[0xff], &mut |key, value| {
        if key.first() == Some(&keys::DIGEST) {
            batch.insert(key.to_vec(), None);
        }
        tally.add(key, value);
        ControlFlow::Continue(())
    })?;
    let next = applied.map_or(0, |applied| applied.0 + 1);
    tally.found.entry(ALWAYS_CHANGED).or_default();
    batch.extend(tally.found.into_iter().map(|(group, digest)| (key_of(group), digest.row_of(group, next))));
    Ok(batch)
}

/// Adds rows up, one by one, and holds them against the digests among them.
#[derive(Debug, Default)]
pub struct Tally {
    found: BTreeMap<Group, Digest>,
    kept: BTreeMap<Group, Digest>,
    hasher: RowHasher,
    pub rows: u64,
}

impl Tally {
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        if let Some(group) = group_of(key) {
            self.rows += 1;
            self.found.entry(group).or_default().put_in(self.hasher.hash(key, value));
        } else if let Some(group) = digest_of(key) {
            self.kept.insert(group, Digest::decode(value).unwrap_or_default());
        }
    }

    /// The digests that were kept, and the groups whose rows do not add up to theirs.
    pub fn hold(self) -> (BTreeMap<Group, Digest>, Vec<Group>) {
        let all: std::collections::BTreeSet<&Group> = self.found.keys().chain(self.kept.keys()).collect();
        let of = |digests: &BTreeMap<Group, Digest>, group| digests.get(group).copied().unwrap_or_default();
        let wrong = all.into_iter().filter(|group| of(&self.found, group) != of(&self.kept, group));
        let wrong = wrong.copied().collect();
        (self.kept, wrong)
    }
}

impl Digest {
    fn put_in(&mut self, hash: [u64; 4]) {
        self.rows = self.rows.wrapping_add(1);
        for (word, hashed) in self.sum.iter_mut().zip(hash) {
            *word = word.wrapping_add(hashed);
        }
    }

    fn take_off(&mut self, hash: [u64; 4]) {
        self.rows = self.rows.wrapping_sub(1);
        for (word, hashed) in self.sum.iter_mut().zip(hash) {
            *word = word.wrapping_sub(hashed);
        }
    }

    fn plus(mut self, change: Self) -> Self {
        self.rows = self.rows.wrapping_add(change.rows);
        for (word, more) in self.sum.iter_mut().zip(change.sum) {
            *word = word.wrapping_add(more);
        }
        self
    }

    /// What stands under its key; `None`: of a group without rows there is no row.
    fn row_of(&self, group: Group, kept_next: u64) -> Option<Vec<u8>> {
        let kept_next = (group == ALWAYS_CHANGED).then(|| kept_next.to_be_bytes());
        if *self == Self::default() && kept_next.is_none() {
            return None;
        }
        let words = self.sum.iter().chain([&self.rows]).flat_map(|word| word.to_le_bytes());
        Some(words.chain(kept_next.into_iter().flatten()).collect())
    }

    /// What is no digest counts as none, to which no rows add up.
    fn decode(row: &[u8]) -> Option<Self> {
        let (bytes, rest) = row.split_first_chunk::<DIGEST_BYTES>()?;
        if !matches!(rest.len(), 0 | 8) {
            return None;
        }
        let (words, _) = bytes.as_chunks::<8>();
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        Some(Self { sum: [word(0), word(1), word(2), word(3)], rows: word(4) })
    }
}

/// Of a row: its key, told apart from its value by its length.
#[derive(Debug, Default)]
struct RowHasher {
    row: Vec<u8>,
}

impl RowHasher {
    fn hash(&mut self, key: &[u8], value: &[u8]) -> [u64; 4] {
        self.row.clear();
        self.row.extend((key.len() as u32).to_le_bytes());
        self.row.extend_from_slice(key);
        self.row.extend_from_slice(value);
        let hash = *blake3::hash(&self.row).as_bytes();
        let (words, _) = hash.as_chunks::<8>();
        std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
    }
}

fn key_of(group: Group) -> Vec<u8> {
    let (kind, id) = match group {
        ALWAYS_CHANGED => return KEPT.to_vec(),
        Group::Mailbox(mailbox) => (MAILBOX, mailbox.0),
        Group::Account(account) => (ACCOUNT, account.0),
        Group::Table(table) => return vec![keys::DIGEST, TABLE, table],
    };
    [&[keys::DIGEST, kind][..], &id.to_be_bytes()].concat()
}

/// The group whose digest stands under this key.
fn digest_of(key: &[u8]) -> Option<Group> {
    let id = |rest: &[u8]| rest.try_into().ok().map(u64::from_be_bytes);
    match key {
        key if *key == KEPT => Some(ALWAYS_CHANGED),
        [keys::DIGEST, MAILBOX, rest @ ..] => id(rest).map(|id| Group::Mailbox(MailboxId(id))),
        [keys::DIGEST, ACCOUNT, rest @ ..] => id(rest).map(|id| Group::Account(AccountId(id))),
        [keys::DIGEST, TABLE, table] => Some(Group::Table(*table)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::Uid;
    use crate::state::rows::MemoryRows;

    fn written(rows: &mut MemoryRows, changes: &[(Vec<u8>, Option<&[u8]>)], applied: u64) {
        let mut batch: Batch =
            changes.iter().map(|(key, value)| (key.clone(), value.map(<[u8]>::to_vec))).collect();
        keep(rows, &mut batch, LogIndex(applied)).unwrap();
        rows.write(batch);
    }

    fn wrong(rows: &MemoryRows) -> Vec<Group> {
        let mut tally = Tally::default();
        rows.0.iter().for_each(|(key, value)| tally.add(key, value));
        tally.hold().1
    }

    fn messages(mailbox: u64) -> Vec<u8> {
        keys::messages_of(AccountId(1), MailboxId(mailbox), Uid(1))
    }

    #[test]
    fn a_row_that_nobody_applied_is_found_in_its_group_and_stays_found() {
        let mut rows = MemoryRows::default();
        let (one, other) = (messages(7), messages(8));
        written(&mut rows, &[(one.clone(), Some(b"a")), (other.clone(), Some(b"b"))], 1);
        written(&mut rows, &[(keys::name(AccountId(1), "x"), Some(b"n")), (keys::meta(), Some(b"m"))], 2);
        assert_eq!(wrong(&rows), []);
        let right = rows.clone();
        rows.0.insert(one.clone(), b"tampered".to_vec());
        assert_eq!(wrong(&rows), [Group::Mailbox(MailboxId(7))]);
        // Later changes of the same row do not cover it up.
        written(&mut rows, &[(one.clone(), Some(b"c")), (other.clone(), None)], 3);
        assert_eq!(wrong(&rows), [Group::Mailbox(MailboxId(7))]);
        for (key, value) in [(vec![0x21, 1], Some(b"new".to_vec())), (keys::meta(), None)] {
            let mut rows = right.clone();
            rows.write(Batch::from([(key.clone(), value)]));
            assert_eq!(wrong(&rows), group_of(&key).into_iter().collect::<Vec<_>>());
        }
        let mut rows = right;
        rows.0.insert(key_of(ALWAYS_CHANGED), b"no digest".to_vec());
        assert_eq!(wrong(&rows), [Group::Table(keys::META)]);
    }

    #[test]
    fn what_is_gone_leaves_no_digest() {
        let mut rows = MemoryRows::default();
        written(&mut rows, &[(messages(7), Some(b"a"))], 1);
        written(&mut rows, &[(messages(7), None)], 2);
        assert_eq!(rows.0.keys().collect::<Vec<_>>(), [&KEPT.to_vec()]);
    }

    #[test]
    fn digests_that_are_not_of_these_rows_are_counted_anew() {
        let mut rows = MemoryRows::default();
        assert!(are_kept(&rows, None).unwrap());
        written(&mut rows, &[(messages(7), Some(b"a")), (messages(8), Some(b"b"))], 4);
        assert!(are_kept(&rows, Some(LogIndex(4))).unwrap());
        // An older build goes on with the rows.
        rows.write(Batch::from([(messages(7), None), (messages(9), Some(b"c".to_vec()))]));
        assert!(!are_kept(&rows, Some(LogIndex(5))).unwrap());
        let anew = count_anew(&rows, Some(LogIndex(5))).unwrap();
        rows.write(anew);
        assert!(are_kept(&rows, Some(LogIndex(5))).unwrap() && wrong(&rows).is_empty());
        let mut alike = MemoryRows::default();
        written(&mut alike, &[(messages(8), Some(b"b")), (messages(9), Some(b"c"))], 5);
        assert_eq!(rows, alike, "the same as if they had always been kept");
        assert!(!are_kept(&MemoryRows::default(), Some(LogIndex(0))).unwrap());
    }

    #[test]
    fn rows_are_told_apart_by_what_they_belong_to() {
        let (account, mailbox) = (AccountId(5), MailboxId(6));
        for key in [
            keys::mailbox(mailbox),
            keys::keywords_part(mailbox, 1),
            keys::messages_of(account, mailbox, Uid(9)),
            keys::acl(mailbox),
            keys::metadata_part(mailbox, account, "/private/a", 0),
            keys::mailbox_metadata_tally(mailbox),
        ] {
            assert_eq!(group_of(&key), Some(Group::Mailbox(mailbox)), "{key:02x?}");
        }
        for key in [
            keys::account(account),
            keys::name(account, "INBOX"),
            keys::account_metadata_tally(account),
            keys::script(account, "a"),
        ] {
            assert_eq!(group_of(&key), Some(Group::Account(account)), "{key:02x?}");
        }
        let of_the_server = keys::metadata_part(MailboxId(0), AccountId(0), "/shared/a", 0);
        for (key, table) in [(keys::meta(), keys::META), (of_the_server, keys::METADATA)] {
            assert_eq!(group_of(&key), Some(Group::Table(table)));
        }
        for key in [vec![], vec![0, 1], vec![0xf0, 0], KEPT.to_vec(), key_of(Group::Mailbox(mailbox))] {
            assert_eq!(group_of(&key), None, "{key:02x?}");
        }
        for (table, first) in
            [(keys::COMMAND, keys::META), (keys::DUE, keys::QUEUE), (keys::DOMAIN, keys::DOMAIN)]
        {
            assert_eq!(group_of(&[table, 1]), Some(Group::Table(first)));
        }
        for group in [Group::Mailbox(mailbox), Group::Account(account), Group::Table(7), ALWAYS_CHANGED] {
            assert_eq!(digest_of(&key_of(group)), Some(group));
        }
    }

    /// Once written, always read.
    #[test]
    fn the_bytes_of_a_digest() {
        let mut digest = Digest::default();
        digest.put_in(RowHasher::default().hash(b"key", b"value"));
        let bytes = digest.row_of(Group::Table(7), 0x0102).unwrap();
        assert_eq!(Digest::decode(&bytes), Some(digest));
        assert_eq!(Digest::decode(&bytes[1..]), None);
        let hash = blake3::hash(b"\x03\0\0\0keyvalue");
        assert_eq!(bytes, [hash.as_bytes().as_slice(), &[1, 0, 0, 0, 0, 0, 0, 0]].concat());
        let kept = digest.row_of(ALWAYS_CHANGED, 0x0102).unwrap();
        assert_eq!(kept, [bytes.as_slice(), &[0, 0, 0, 0, 0, 0, 1, 2]].concat());
        assert_eq!(Digest::decode(&kept), Some(digest));
        assert_eq!(Digest::default().row_of(Group::Table(7), 1), None);
    }
}
