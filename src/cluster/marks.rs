//! What this node remembers of the others' disks, so that one that was put back to an older state is found out.
//!
//! Raft counts on a voter that never forgets: a node whose disk is rolled back (an old image, a copied folder, a disk
//! that lied) votes twice in a term, or elects a leader that lacks what it had acknowledged itself. So each node tells
//! the others how far its disk has come, they write that down, and the first words of its next start are held against
//! it before any Raft message passes. What may be told are things that never go back on an honest disk: the vote's
//! term, and the last *committed* entry in the durable log; an uncommitted tail may be cut, and proves nothing.
//!
//! A node that has forgotten must not be let in again under its id, by anybody: it says so on its own disk and stops.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bincode::{Decode, Encode};

use super::types::LogId;
use super::wire;
use crate::mail::ids::NodeId;
use crate::store::files::write_atomically;
use crate::store::log::{LogState, LogStore};

/// How far a disk has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Mark {
    pub vote_term: u64,
    /// A log entry's term, and its index plus one; zeros: none.
    pub log_term: u64,
    pub log_next: u64,
}

impl Mark {
    /// What a log that begins now shows: its vote and its last entry.
    pub fn shown(log: LogState) -> Self {
        let (log_term, log_next) = log.last.map_or((0, 0), |last| (last.term, last.index + 1));
        Self { vote_term: log.vote.map_or(0, |vote| vote.term), log_term, log_next }
    }

    /// What may be held against this node later: its durable vote, and what is applied (so committed) and durable.
    pub fn promised(durable: LogState, applied: Option<LogId>) -> Self {
        let shown = Self::shown(durable);
        // Raft applies what is committed even before this disk has it.
        let held = applied.filter(|applied| applied.index < shown.log_next);
        let (log_term, log_next) = held.map_or((0, 0), |held| (held.leader_id.term, held.index + 1));
        Self { log_term, log_next, ..shown }
    }

    /// Whether a disk that shows `self` has all that `promised` says. A log whose last entry is not older than a
    /// committed one holds that one (Raft's leader completeness and log matching).
    fn covers(self, promised: Self) -> bool {
        self.vote_term >= promised.vote_term
            && (self.log_term, self.log_next) >= (promised.log_term, promised.log_next)
    }

    fn merge(&mut self, other: Self) {
        self.vote_term = self.vote_term.max(other.vote_term);
        (self.log_term, self.log_next) = (self.log_term, self.log_next).max((other.log_term, other.log_next));
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a vote of term {}", self.vote_term)?;
        match self.log_next.checked_sub(1) {
            Some(index) => write!(f, " and entry {}-{index}", self.log_term),
            None => write!(f, " and no entry"),
        }
    }
}

/// A node's word of its own disk, with the number of the process that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Word {
    /// Random for each start: a running process does not forget, and its words may overtake each other.
    pub start: u64,
    pub mark: Mark,
}

/// What is remembered of one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
struct Remembered {
    start: u64,
    mark: Mark,
}

/// The marks of all peers; in a file, except for what they acknowledge to this node while it leads.
pub struct Book {
    own_start: u64,
    log: LogStore,
    path: PathBuf,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    peers: BTreeMap<NodeId, Remembered>,
    /// The last entry each acknowledged to this leader, committed or not, as term and next index. Exact, where the
    /// marks lag by a second; of use while this process lives.
    acked: BTreeMap<NodeId, (u64, u64)>,
    unwritten: bool,
}

impl Book {
    /// `own_start` is random. A book that cannot be read is begun anew: it only ever adds safety. Blocks.
    pub fn open(dir: &Path, log: LogStore, own_start: u64) -> Self {
        let path = dir.join("cluster").join("marks");
        let peers = read(&path).unwrap_or_else(|why| {
            tracing::warn!(
                "{}: {why}; what was remembered of the other nodes' disks is lost",
                path.display()
            );
            BTreeMap::new()
        });
        Self { own_start, log, path, pages: Mutex::new(Pages { peers, ..Pages::default() }) }
    }

    /// What may be told of this node now.
    pub fn own_promise(&self, applied: Option<LogId>) -> Word {
        self.own_word(Mark::promised(self.log.durable_state(), applied))
    }

    /// This process says `mark` of its disk.
    pub fn own_word(&self, mark: Mark) -> Word {
        Word { start: self.own_start, mark }
    }

    /// A peer's word of its own disk. Words of a process that did not greet this one are not taken.
    pub fn promised(&self, peer: NodeId, word: Word) {
        let mut pages = self.pages();
        let Some(known) = pages.peers.get_mut(&peer).filter(|known| known.start == word.start) else {
            return;
        };
        let before = *known;
        known.mark.merge(word.mark);
        let changed = *known != before;
        pages.unwritten |= changed;
    }

    /// Who has told of the furthest committed entry.
    pub fn furthest(&self) -> Option<(NodeId, Mark)> {
        let pages = self.pages();
        let marks = pages.peers.iter().map(|(peer, known)| (*peer, known.mark));
        marks.max_by_key(|(_, mark)| (mark.log_term, mark.log_next))
    }

    /// A peer has this entry on its disk, it says to this leader.
    pub fn acked(&self, peer: NodeId, upto: Option<LogId>) {
        let Some(upto) = upto else { return };
        let at = (upto.leader_id.term, upto.index + 1);
        let mut pages = self.pages();
        let last = pages.acked.entry(peer).or_default();
        *last = at.max(*last);
    }

    /// Forgets who is no member, and writes what is new. Blocks.
    pub fn write(&self, is_member: impl Fn(NodeId) -> bool) -> std::io::Result<()> {
        let mut pages = self.pages();
        let before = pages.peers.len();
        pages.peers.retain(|peer, _| is_member(*peer));
        pages.acked.retain(|peer, _| is_member(*peer));
        if !std::mem::take(&mut pages.unwritten) && pages.peers.len() == before {
            return Ok(());
        }
        let bytes = to_bytes(&pages.peers);
        drop(pages);
        let written = bytes.and_then(|bytes| write_atomically(&self.path, &bytes));
        if written.is_err() {
            self.pages().unwritten = true;
        }
        written
    }

    /// Whether a process that starts with this word may be the node that made the promises kept here.
    pub fn greeted(&self, peer: NodeId, word: Word) -> Result<(), String> {
        let mut pages = self.pages();
        let known = pages.peers.get(&peer).copied();
        if known.is_some_and(|known| known.start == word.start) {
            return Ok(());
        }
        if let Some(known) = known.filter(|known| !word.mark.covers(known.mark)) {
            return Err(format!(
                "{}: {} is remembered, its disk shows {}",
                forgot(peer),
                known.mark,
                word.mark
            ));
        }
        if let Some((term, next)) = pages.acked.get(&peer).copied()
            // A later leader than the entry's own may have cut it, with a later vote.
            && word.mark.vote_term <= term
        {
            let acked = Mark { vote_term: term, log_term: term, log_next: next };
            if !word.mark.covers(acked) {
                return Err(format!(
                    "{}: it acknowledged {acked}, its disk shows {}",
                    forgot(peer),
                    word.mark
                ));
            }
        }
        pages.acked.remove(&peer);
        pages.peers.entry(peer).or_default().start = word.start;
        pages.unwritten = true;
        Ok(())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a peer's refusal begins when this node is the one that has forgotten.
pub fn forgot(node: NodeId) -> String {
    format!("node {node} has forgotten what it promised")
}

/// On the disk of a node that was told so: it does not start again.
pub fn forgetful(dir: &Path) -> PathBuf {
    dir.join("cluster").join("forgetful")
}

/// What the operator is told, at once and at each start.
pub fn advice(node: NodeId, dir: &Path, why: &str) -> String {
    format!(
        "{why}: its disk was put back to an older state, and it must not vote; `pollux cluster remove {node}` on \
         another node, empty {} and join it anew",
        dir.display()
    )
}

fn to_bytes(peers: &BTreeMap<NodeId, Remembered>) -> std::io::Result<Vec<u8>> {
    let mut bytes = wire::encode(peers).map_err(std::io::Error::other)?;
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

fn read(path: &Path) -> Result<BTreeMap<NodeId, Remembered>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or("it is cut short")?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err("the checksum does not fit".into());
    }
    wire::decode(body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::types::log_id;
    use crate::store::log::{LogLimits, LogPosition, LogVote};

    const PEER: NodeId = NodeId(2);

    fn mark(vote_term: u64, log_term: u64, log_next: u64) -> Mark {
        Mark { vote_term, log_term, log_next }
    }

    fn book(dir: &Path) -> Book {
        std::fs::create_dir_all(dir.join("cluster")).unwrap();
        std::fs::create_dir_all(dir.join("raft")).unwrap();
        Book::open(dir, LogStore::open(&dir.join("raft"), LogLimits::WITNESS).unwrap(), 1)
    }

    fn greet(book: &Book, start: u64, mark: Mark) -> Result<(), String> {
        book.greeted(PEER, Word { start, mark })
    }

    #[test]
    fn a_new_start_must_show_all_that_was_promised() {
        let dir = tempfile::tempdir().unwrap();
        let book = book(dir.path());
        greet(&book, 10, mark(3, 3, 50)).unwrap();
        book.promised(PEER, Word { start: 10, mark: mark(4, 4, 100) });
        greet(&book, 10, mark(3, 3, 50)).expect("a running process only said this before");
        for (short, why) in [
            (mark(3, 4, 100), "an older vote"),
            (mark(4, 4, 99), "an entry less"),
            (mark(9, 3, 500), "an older term's tail, however long"),
            (mark(0, 0, 0), "a wiped disk"),
        ] {
            let refusal = greet(&book, 11, short).expect_err(why);
            assert!(refusal.starts_with(&forgot(PEER)), "{refusal}");
        }
        greet(&book, 12, mark(4, 4, 100)).expect("at the bound");
        greet(&book, 13, mark(5, 5, 60)).expect("a later leader's tail covers, however short");
    }

    #[test]
    fn the_words_of_a_process_that_is_gone_count_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let book = book(dir.path());
        book.promised(PEER, Word { start: 9, mark: mark(8, 8, 800) });
        greet(&book, 10, mark(3, 3, 50)).expect("it never greeted this node");
        book.promised(PEER, Word { start: 9, mark: mark(8, 8, 800) });
        greet(&book, 11, mark(3, 3, 50)).unwrap();
    }

    #[test]
    fn the_leader_holds_a_follower_to_its_acknowledgements_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let book = book(dir.path());
        greet(&book, 10, mark(3, 3, 50)).unwrap();
        book.acked(PEER, Some(log_id(3, 99)));
        assert!(greet(&book, 11, mark(3, 3, 99)).is_err(), "an entry less");
        assert!(greet(&book, 11, mark(2, 2, 500)).is_err(), "the vote is gone too");
        // A later leader may have cut an entry that was not committed.
        greet(&book, 11, mark(4, 3, 60)).unwrap();
        book.acked(PEER, Some(log_id(4, 99)));
        greet(&book, 12, mark(4, 4, 100)).expect("at the bound");
    }

    #[test]
    fn the_book_outlives_the_process_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let first = book(dir.path());
        greet(&first, 10, mark(3, 3, 50)).unwrap();
        first.promised(PEER, Word { start: 10, mark: mark(4, 4, 100) });
        first.write(|_| true).unwrap();
        drop(first);
        let again = book(dir.path());
        assert!(greet(&again, 11, mark(4, 4, 99)).is_err());
        again.write(|_| false).unwrap();
        greet(&again, 11, mark(0, 0, 0)).expect("who was removed is a stranger");
        drop(again);
        let path = dir.path().join("cluster/marks");
        std::fs::write(&path, b"damaged").unwrap();
        assert!(read(&path).is_err());
        greet(&book(dir.path()), 11, mark(0, 0, 0)).expect("a lost book holds nobody up");
    }

    #[tokio::test]
    async fn only_what_is_durable_and_committed_is_promised() {
        let position = |index| LogPosition { term: 2, leader: 0, index };
        let durable = LogState {
            last: Some(position(9)),
            vote: Some(LogVote { term: 3, voted_for: 1, committed: false }),
            ..LogState::default()
        };
        assert_eq!(Mark::promised(durable, Some(log_id(2, 7))), mark(3, 2, 8), "the tail may be cut");
        assert_eq!(Mark::promised(durable, Some(log_id(2, 9))), mark(3, 2, 10));
        assert_eq!(
            Mark::promised(durable, Some(log_id(2, 10))),
            mark(3, 0, 0),
            "applied before it was durable"
        );
        assert_eq!(Mark::promised(LogState::default(), None), Mark::default());
        assert_eq!(Mark::shown(durable), mark(3, 2, 10));
    }

    #[test]
    fn the_bytes_of_words_and_of_the_book_do_not_change() {
        let word = Word { start: 7, mark: mark(3, 2, 10) };
        assert_eq!(wire::encode(&word).unwrap(), [7, 3, 2, 10]);
        let peers = BTreeMap::from([(PEER, Remembered { start: 7, mark: mark(3, 2, 10) })]);
        let bytes = to_bytes(&peers).unwrap();
        assert_eq!(bytes[..bytes.len() - 4], [1, 2, 7, 3, 2, 10]);
    }
}
