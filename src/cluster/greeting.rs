//! What this node says of its history on every connection, and what it holds against a peer's words: whether both are of
//! one history ([`super::lineage`]), and whether the peer still has what it promised ([`super::marks`]).

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::lineage::{End, Fork, Forks, Lineage, Relation, Side, parted, relate, strayed};
use super::marks::{Book, Mark, Word};
use super::transport::Handshake;
use super::wire;
use crate::mail::ids::NodeId;
use crate::store::log::LogStore;

/// What goes into the handshake. New meanings are new variants at the end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum History {
    V1(Word, Forks),
}

/// The histories of this node and of its peers, compared.
pub struct Greeting {
    node: NodeId,
    log: LogStore,
    book: Arc<Book>,
    lineage: Arc<Lineage>,
}

impl Greeting {
    pub fn new(node: NodeId, log: LogStore, book: Arc<Book>, lineage: Arc<Lineage>) -> Self {
        Self { node, log, book, lineage }
    }

    fn read(peer: NodeId, lineage: &[u8]) -> Result<(Word, Forks), String> {
        let History::V1(word, forks) = wire::decode(lineage).map_err(|_| {
            format!("node {peer} tells of its history what this build cannot read: update this node")
        })?;
        Ok((word, forks))
    }

    fn relation(&self, word: Word, forks: &Forks) -> Relation {
        let own = self.lineage.forks();
        let end = End { term: word.mark.log_term, next: word.mark.log_next };
        relate(Side { forks: &own, end: End::of(self.log.state()) }, Side { forks, end })
    }

    /// Why the two may not speak, if they may not.
    fn why_not(&self, peer: NodeId, relation: Relation) -> Option<String> {
        let own = self.node;
        match relation {
            Relation::Same => None,
            Relation::PeerFollows => {
                Some(format!("node {peer} has yet to follow this node, which was told to go on alone"))
            }
            Relation::Follows => {
                Some(format!("node {own} has yet to follow node {peer}, which was told to go on alone"))
            }
            Relation::PeerStrayed(fork) => Some(stray(peer, fork)),
            Relation::Strayed(fork) => Some(stray(own, fork)),
            Relation::Parted(ours, theirs) => Some(format!(
                "{}, node {} and node {}, and each may have mail that the other lacks: decide which of them gives way, \
                 and run `pollux cluster quarantine` there",
                parted(),
                ours.node,
                theirs.node
            )),
        }
    }
}

fn stray(node: NodeId, fork: Fork) -> String {
    format!(
        "{}: node {} was told to go on alone, behind an entry that is not the last of node {node}",
        strayed(node),
        fork.node
    )
}

impl Handshake for Greeting {
    fn lineage(&self) -> Vec<u8> {
        let word = self.book.own_word(Mark::shown(self.log.durable_state()));
        let forks = Forks::clone(&self.lineage.forks());
        wire::encode(&History::V1(word, forks)).expect("some numbers and few forks are under every bound")
    }

    fn apart(&self, peer: NodeId, lineage: &[u8]) -> Option<String> {
        let (word, forks) = Self::read(peer, lineage).ok()?;
        match self.relation(word, &forks) {
            // What one has is a part of what the other has.
            Relation::PeerFollows | Relation::Follows => None,
            other => self.why_not(peer, other),
        }
    }

    fn accept(&self, peer: NodeId, lineage: &[u8]) -> Result<(), String> {
        let (word, forks) = Self::read(peer, lineage)?;
        let relation = self.relation(word, &forks);
        if relation == Relation::Follows {
            self.lineage.saw_ahead(forks);
        }
        match self.why_not(peer, relation) {
            Some(why) => Err(why),
            None => self.book.greeted(peer, word),
        }
    }
}
