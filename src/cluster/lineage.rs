//! Where this node's history was forked by an operator, so that two that went different ways are never joined.
//!
//! A node that was cut off for good may be told to go on alone (`pollux cluster takeover`). From then on its log is
//! another than that of whoever did not follow, under the same cluster's name, and Raft cannot tell: both may hold an
//! entry of the same index and term. So each takeover gives the history a new random name and notes behind which entry
//! it begins. Nodes show each other these *forks* before any Raft message, and speak only if they are the same. Who lacks
//! some, and has nothing of its own behind them, takes them on and follows; who has gone on by itself stays apart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bincode::{Decode, Encode};
use tokio::sync::watch;

use super::wire;
use crate::mail::ids::{NodeId, Timestamp};
use crate::store::files::write_atomically;
use crate::store::log::LogState;

/// Takeovers of one cluster, one after another; the next is refused. Each is the end of a disaster.
pub const FORKS_MAX: usize = 64;

/// Where a log ends, compared as Raft compares logs: term first. Zeros: it is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct End {
    pub term: u64,
    /// Index of the last entry, plus one.
    pub next: u64,
}

impl End {
    /// Of what this disk holds, committed or not: what was acknowledged by whoever holds it cannot be told from what was not.
    pub fn of(log: LogState) -> Self {
        log.last.map_or(Self::default(), |last| Self { term: last.term, next: last.index + 1 })
    }
}

/// One takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Fork {
    /// Random.
    pub id: [u8; 16],
    /// Which node was told to go on alone, and when.
    pub node: NodeId,
    pub at: Timestamp,
    /// All that counts of the history before it. A log that ends no later than here is a part of it: one of an earlier
    /// term has nothing committed that is not in it (leader completeness), one of the same term is its beginning (log matching).
    pub behind: End,
}

/// All forks of a history, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Forks(pub Vec<Fork>);

impl Forks {
    /// The forks that `self` has and `shorter` lacks; `None` if `shorter` is no beginning of it.
    fn beyond(&self, shorter: &Self) -> Option<&[Fork]> {
        self.0.strip_prefix(shorter.0.as_slice())
    }

    /// Whether a node with `own` forks whose log ends there lacks some of these, and has nothing of its own behind them.
    pub fn is_reached_from(&self, own: &Self, end: End) -> bool {
        self.beyond(own).is_some_and(|more| !more.is_empty() && Self::holds(more, end))
    }

    /// Whether a log of the history before these forks, which ends there, has nothing behind the first of them.
    fn holds(forks: &[Fork], end: End) -> bool {
        forks.first().is_none_or(|fork| end <= fork.behind)
    }
}

/// What two nodes are to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    Same,
    /// The peer has yet to follow, and can.
    PeerFollows,
    /// This node has yet to follow, and can.
    Follows,
    /// The peer was not there at a takeover, and has gone on without it.
    PeerStrayed(Fork),
    /// This node has.
    Strayed(Fork),
    /// Both were told to go on alone.
    Parted(Fork, Fork),
}

/// One side: its forks, and where its log ends.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    pub forks: &'a Forks,
    pub end: End,
}

pub fn relate(own: Side, peer: Side) -> Relation {
    if let Some(more) = own.forks.beyond(peer.forks) {
        return match more.first() {
            None => Relation::Same,
            Some(_) if Forks::holds(more, peer.end) => Relation::PeerFollows,
            Some(first) => Relation::PeerStrayed(*first),
        };
    }
    if let Some(more) = peer.forks.beyond(own.forks) {
        return match more.first() {
            Some(first) if !Forks::holds(more, own.end) => Relation::Strayed(*first),
            _ => Relation::Follows,
        };
    }
    let differ = own.forks.0.iter().zip(&peer.forks.0).find(|(own, theirs)| own != theirs);
    let (own, theirs) = differ.expect("neither is a beginning of the other, so they differ somewhere");
    Relation::Parted(*own, *theirs)
}

/// The forks of this node's history while it runs, and what it learnt of others' from their first words.
pub struct Lineage {
    path: PathBuf,
    forks: ArcSwap<Forks>,
    /// What a peer has that this node can follow; see `keeper::follow_takeover`.
    ahead: watch::Sender<Option<Arc<Forks>>>,
}

impl Lineage {
    /// Blocks. A file that cannot be read is an error: without it this node might join those it parted from.
    pub fn open(dir: &Path) -> Result<Self, String> {
        let path = file(dir);
        let forks = read(&path).map_err(|why| {
            format!(
                "{}: {why}; copy it from another node of the same cluster, or remove this node and join it anew",
                path.display()
            )
        })?;
        Ok(Self { path, forks: ArcSwap::from_pointee(forks), ahead: watch::Sender::new(None) })
    }

    pub fn forks(&self) -> Arc<Forks> {
        self.forks.load_full()
    }

    /// A peer is further, and this node may follow.
    pub fn saw_ahead(&self, forks: Forks) {
        self.ahead.send_replace(Some(Arc::new(forks)));
    }

    pub fn ahead(&self) -> watch::Receiver<Option<Arc<Forks>>> {
        self.ahead.subscribe()
    }

    /// Durable before it is shown to anybody. Blocks.
    pub fn take_on(&self, forks: &Forks) -> io::Result<()> {
        write_file(&self.path, forks)?;
        self.forks.store(Arc::new(forks.clone()));
        Ok(())
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("cluster").join("lineage")
}

fn write_file(path: &Path, forks: &Forks) -> io::Result<()> {
    let mut bytes = wire::encode(forks).map_err(io::Error::other)?;
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    write_atomically(path, &bytes)
}

fn read(path: &Path) -> Result<Forks, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Forks::default()),
        Err(error) => return Err(error.to_string()),
    };
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or("it is cut short")?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err("the checksum does not fit".into());
    }
    wire::decode(body).map_err(|error| error.to_string())
}

/// How a refusal begins by which `node` hears that it has to give way.
pub fn strayed(node: NodeId) -> String {
    format!("node {node} has gone on apart")
}

/// Words of a refusal where only the operator can say which of the two gives way.
pub fn parted() -> &'static str {
    "both were told to go on alone"
}

/// On the disk of a node that gave way: it does not start again.
pub fn quarantine(dir: &Path) -> PathBuf {
    dir.join("cluster").join("quarantined")
}

/// What the operator is told, at once and at each start.
pub fn advice(node: NodeId, dir: &Path, why: &str) -> String {
    format!(
        "{why}; it is in quarantine, and its mail stays where it is, in {dir}: `pollux cluster remove {node}` on a node \
         that goes on, and join this box anew with another directory",
        dir = dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(term: u64, next: u64) -> End {
        End { term, next }
    }

    fn fork(name: u8, term: u64, next: u64) -> Fork {
        Fork {
            id: [name; 16],
            node: NodeId(name.into()),
            at: Timestamp(name.into()),
            behind: end(term, next),
        }
    }

    fn forks(forks: &[Fork]) -> Forks {
        Forks(forks.to_vec())
    }

    /// Both ways, for what one is to the other the other is to it, turned round.
    fn related(own: (&[Fork], End), peer: (&[Fork], End)) -> Relation {
        let (own_forks, peer_forks) = (forks(own.0), forks(peer.0));
        let (own, peer) = (Side { forks: &own_forks, end: own.1 }, Side { forks: &peer_forks, end: peer.1 });
        let there = relate(own, peer);
        let back = relate(peer, own);
        let turned = match there.clone() {
            Relation::Same => Relation::Same,
            Relation::PeerFollows => Relation::Follows,
            Relation::Follows => Relation::PeerFollows,
            Relation::PeerStrayed(fork) => Relation::Strayed(fork),
            Relation::Strayed(fork) => Relation::PeerStrayed(fork),
            Relation::Parted(own, theirs) => Relation::Parted(theirs, own),
        };
        assert_eq!(back, turned);
        there
    }

    #[test]
    fn those_of_one_history_are_the_same_wherever_their_logs_end() {
        assert_eq!(related((&[], end(3, 50)), (&[], end(9, 10))), Relation::Same);
        let taken = [fork(1, 3, 50)];
        assert_eq!(related((&taken, end(1 << 32, 60)), (&taken, end(3, 40))), Relation::Same);
    }

    #[test]
    fn one_that_has_nothing_behind_the_fork_follows() {
        let taken = [fork(1, 3, 50)];
        let ahead = (taken.as_slice(), end(1 << 32, 60));
        for (behind, why) in [
            (end(3, 50), "at the bound"),
            (end(3, 20), "less of the same term"),
            (end(2, 400), "an older term's tail, which was never committed or is in the other log too"),
            (end(0, 0), "it has just joined"),
        ] {
            assert_eq!(related(ahead, (&[], behind)), Relation::PeerFollows, "{why}");
        }
    }

    #[test]
    fn one_that_has_gone_on_strayed() {
        let taken = [fork(1, 3, 50)];
        let ahead = (taken.as_slice(), end(1 << 32, 60));
        for (beyond, why) in [
            (end(3, 51), "an entry more of the same term: it may have been acknowledged"),
            (end(4, 10), "a later leader's, which the other never had"),
            (end(1 << 32, 60), "whatever it is"),
        ] {
            assert_eq!(related(ahead, (&[], beyond)), Relation::PeerStrayed(taken[0]), "{why}");
        }
    }

    #[test]
    fn of_two_takeovers_that_one_missed_the_first_counts() {
        let taken = [fork(1, 3, 50), fork(2, 1 << 32, 90)];
        let ahead = (taken.as_slice(), end(2 << 32, 95));
        assert_eq!(related(ahead, (&[], end(3, 50))), Relation::PeerFollows);
        assert_eq!(related(ahead, (&[], end(3, 51))), Relation::PeerStrayed(taken[0]));
        assert_eq!(related(ahead, (&taken[..1], end(1 << 32, 90))), Relation::PeerFollows);
        assert_eq!(related(ahead, (&taken[..1], end(1 << 32, 91))), Relation::PeerStrayed(taken[1]));
    }

    #[test]
    fn twins_are_parted_however_short_their_logs() {
        let (a, b) = (fork(1, 3, 50), fork(2, 3, 50));
        assert_eq!(related((&[a], end(1 << 32, 52)), (&[b], end(1 << 32, 52))), Relation::Parted(a, b));
        let earlier = fork(9, 1, 5);
        assert_eq!(
            related((&[earlier, a], end(1 << 32, 52)), (&[earlier, b, a], end(0, 0))),
            Relation::Parted(a, b)
        );
    }

    #[test]
    fn what_was_taken_on_outlives_the_process_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("cluster")).unwrap();
        let lineage = Lineage::open(dir.path()).unwrap();
        assert_eq!(*lineage.forks(), Forks::default());
        let taken = forks(&[fork(1, 3, 50)]);
        lineage.take_on(&taken).unwrap();
        assert_eq!(*lineage.forks(), taken);
        assert_eq!(*Lineage::open(dir.path()).unwrap().forks(), taken);
        std::fs::write(file(dir.path()), b"damaged").unwrap();
        assert!(Lineage::open(dir.path()).err().expect("a refusal").contains("join it anew"));
    }

    #[test]
    fn the_bytes_of_forks_do_not_change() {
        let mut expected = vec![1];
        expected.extend([7; 16]);
        expected.extend([7, 7, 3, 50]);
        assert_eq!(wire::encode(&forks(&[fork(7, 3, 50)])).unwrap(), expected);
    }
}
