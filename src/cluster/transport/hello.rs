//! The first words on every connection, both ways, and what may be wrong with them. Pure.

use bincode::{Decode, Encode};

use super::PeerAddress;
use crate::cluster::pki::ClusterId;
use crate::cluster::wire::{self, WireError};
use crate::mail::ids::NodeId;

/// The layout of [`Hello`] itself. A released layout stays readable, so that builds which share
/// nothing else can still tell each other so.
const HELLO_LAYOUT: u16 = 1;
/// The ALPN of node to node traffic names the hello's layout; all else is negotiated by ranges.
pub(super) const ALPN: &[u8] = b"pollux/1";
/// Build, lineage and ranges need far less.
pub(super) const HELLO_BYTES_MAX: usize = 64 * 1024;

/// Versions from `min` to `max`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Range {
    pub min: u16,
    pub max: u16,
}

impl Range {
    fn meets(self, other: Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

/// What a build speaks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Versions {
    /// For people: "0.1.0 (abcdef)".
    pub build: String,
    pub protocol: Range,
    pub command: Range,
    pub snapshot: Range,
}

impl Versions {
    /// `Err` is one line for the operators of both nodes.
    pub fn check(&self, peer: &Self) -> Result<(), String> {
        let ranges = [
            ("protocol", self.protocol, peer.protocol),
            ("command", self.command, peer.command),
            ("snapshot", self.snapshot, peer.snapshot),
        ];
        match ranges.into_iter().find(|(_, own, other)| !own.meets(*other)) {
            None => Ok(()),
            Some((what, own, other)) => Err(format!(
                "build {} speaks {what} versions {own}, build {} speaks {other}: upgrade the older node",
                self.build, peer.build
            )),
        }
    }
}

/// What each side says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// Random per start of the process, so that a restart is noticed at once.
    pub incarnation: u64,
    pub versions: Versions,
    /// Opaque here; [`Handshake`] compares it.
    pub lineage: Vec<u8>,
}

/// What a peer said of itself, once it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHello {
    pub versions: Versions,
    pub incarnation: u64,
}

/// The part of the handshake that needs to know the cluster's history.
pub trait Handshake: Send + Sync + 'static {
    /// What this node says of its history, read anew for each connection.
    fn lineage(&self) -> Vec<u8>;
    /// Why the peer is of another history than this node, if it is: asked first, and also of who is no member. What this
    /// node says of such a peer's membership is not for it.
    fn apart(&self, peer: NodeId, lineage: &[u8]) -> Option<String>;
    /// `Err` is the reason, one line, shown to both sides.
    fn accept(&self, peer: NodeId, lineage: &[u8]) -> Result<(), String>;
}

/// The accepting side's word.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    Accepted(Hello),
    Refused(String),
    /// For ever: it was a member, and is none any longer.
    Removed(String),
}

/// What is wrong with `peer`'s hello, given what its verified certificate says; first things first.
pub(super) fn judge(own: &Hello, certified: (NodeId, ClusterId), peer: &Hello) -> Result<(), String> {
    if certified.1 != own.cluster || peer.cluster != own.cluster {
        return Err(format!("it is of another cluster ({}), this one is {}", peer.cluster, own.cluster));
    }
    if certified.0 != peer.node {
        return Err(format!("it says to be node {}, its certificate is node {}'s", peer.node, certified.0));
    }
    if peer.node == own.node {
        return Err(format!(
            "another process runs as node {}: each node needs an identity of its own",
            own.node
        ));
    }
    own.versions.check(&peer.versions)
}

/// The layout's number, then the message.
pub fn encode<T: Encode>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = HELLO_LAYOUT.to_be_bytes().to_vec();
    bytes.extend(wire::encode(message)?);
    Ok(bytes)
}

pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, String> {
    let (layout, rest) = bytes.split_first_chunk::<2>().ok_or("its hello is cut short")?;
    match u16::from_be_bytes(*layout) {
        HELLO_LAYOUT => wire::decode(rest).map_err(|error| error.to_string()),
        other => Err(format!("its hello has layout {other}, this build reads {HELLO_LAYOUT}")),
    }
}

/// Which lane's address.
impl PeerAddress {
    pub(super) fn of(&self, lane: super::Lane) -> &str {
        match lane {
            super::Lane::Control => &self.control,
            super::Lane::Bulk => &self.bulk,
        }
    }
}

/// What a node that is not known yet is told, or one whose removal this node did not see.
pub fn not_a_member(node: NodeId) -> String {
    format!("node {node} is not a member of this cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn hello(node: u64) -> Hello {
        let range = Range { min: 1, max: 2 };
        let versions =
            Versions { build: format!("0.{node}"), protocol: range, command: range, snapshot: range };
        Hello { cluster: CLUSTER, node: NodeId(node), incarnation: 9, versions, lineage: vec![1] }
    }

    fn verdict(change: impl FnOnce(&mut Hello)) -> Result<(), String> {
        let mut peer = hello(2);
        change(&mut peer);
        judge(&hello(1), (NodeId(2), CLUSTER), &peer)
    }

    #[test]
    fn what_fits_is_accepted() {
        assert_eq!(verdict(|_| ()), Ok(()));
        assert_eq!(verdict(|peer| peer.versions.command = Range { min: 2, max: 9 }), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_told_why() {
        let says = |change: fn(&mut Hello), words: &str| {
            let reason = verdict(change).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        };
        says(|peer| peer.cluster = ClusterId([2; 16]), "another cluster");
        says(|peer| peer.node = NodeId(3), "its certificate is node 2's");
        says(
            |peer| peer.versions.protocol = Range { min: 3, max: 3 },
            "build 0.1 speaks protocol versions 1-2",
        );
        says(|peer| peer.versions.command = Range { min: 3, max: 3 }, "command versions 1-2");
        says(|peer| peer.versions.snapshot = Range { min: 0, max: 0 }, "snapshot versions 1-2");
        let own = hello(1);
        assert!(judge(&own, (NodeId(1), CLUSTER), &own).unwrap_err().contains("another process"));
        assert!(judge(&own, (NodeId(2), ClusterId([3; 16])), &hello(2)).is_err());
    }

    #[test]
    fn a_hello_of_another_layout_is_named() {
        let bytes = encode(&hello(1)).unwrap();
        assert_eq!(decode::<Hello>(&bytes), Ok(hello(1)));
        assert!(decode::<Hello>(&bytes[..1]).is_err());
        let mut other = bytes;
        other[1] = 7;
        assert!(decode::<Hello>(&other).unwrap_err().contains("layout 7"));
    }

    #[test]
    fn hello_bytes_do_not_change() {
        // Layout, cluster (an array: no length before it), node, incarnation, build, ranges, lineage.
        let mut expected = vec![0, 1];
        expected.extend([1; 16]);
        expected.extend([1, 9, 3, b'0', b'.', b'1', 1, 2, 1, 2, 1, 2, 1, 1]);
        assert_eq!(encode(&hello(1)).unwrap(), expected);
    }
}
