//! What follows from what the nodes hold. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::mail::ids::NodeId;
use crate::state::digest::{Digest, Group};

/// One data node's rows, right behind the entry behind which all were looked at.
pub struct Held {
    pub node: NodeId,
    /// It has every body too, and so may give what others lack.
    pub in_sync: bool,
    /// Its rows can be read, and add up to its own digests.
    pub sound: bool,
    pub digests: BTreeMap<Group, Digest>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Groups that differ between nodes each of which agrees with itself: nobody can tell who is right.
    pub disputed: Vec<Group>,
    /// Whose rows are to be built anew, and from whom.
    pub rebuild: Option<(NodeId, NodeId)>,
}

/// One node at a time is rebuilt, as it is away meanwhile; never from one that is not in sync, and never while those that
/// are sound do not agree.
pub fn judge(held: &[Held]) -> Judgement {
    let sound: Vec<&Held> = held.iter().filter(|it| it.sound).collect();
    let disputed = differing(&sound);
    let source = sound.iter().find(|it| it.in_sync).filter(|_| disputed.is_empty());
    let wrong = held.iter().find(|it| !it.sound);
    let rebuild = wrong.zip(source).map(|(wrong, source)| (wrong.node, source.node));
    Judgement { disputed, rebuild }
}

fn differing(sound: &[&Held]) -> Vec<Group> {
    let Some((first, others)) = sound.split_first() else { return Vec::new() };
    let mut differing = BTreeSet::new();
    for other in others {
        let groups: BTreeSet<&Group> = first.digests.keys().chain(other.digests.keys()).collect();
        let of = |held: &Held, group| held.digests.get(group).copied().unwrap_or_default();
        differing.extend(groups.into_iter().filter(|group| of(first, group) != of(other, group)).copied());
    }
    differing.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::MailboxId;
    use crate::state::digest::keep;
    use crate::state::keys;
    use crate::state::rows::{Batch, MemoryRows, Rows};

    /// The digests of a mailbox with such a row.
    fn digests(mailbox: u64, value: &[u8]) -> BTreeMap<Group, Digest> {
        let mut rows = MemoryRows::default();
        let mut batch = Batch::from([(keys::mailbox(MailboxId(mailbox)), Some(value.to_vec()))]);
        keep(&rows, &mut batch, crate::mail::ids::LogIndex(1)).unwrap();
        rows.write(batch);
        let mut tally = crate::state::digest::Tally::default();
        let all = &mut |key: &[u8], value: &[u8]| {
            tally.add(key, value);
            std::ops::ControlFlow::Continue(())
        };
        rows.scan(&[], &[0xff], all).unwrap();
        tally.hold().0
    }

    fn held(node: u64, value: &[u8]) -> Held {
        Held { node: NodeId(node), in_sync: true, sound: true, digests: digests(7, value) }
    }

    fn judged(held: &[Held]) -> (Vec<Group>, Option<(u64, u64)>) {
        let judgement = judge(held);
        (judgement.disputed, judgement.rebuild.map(|(whom, from)| (whom.0, from.0)))
    }

    #[test]
    fn the_node_that_does_not_agree_with_itself_is_built_anew_from_one_that_does() {
        assert_eq!(judged(&[held(1, b"a"), held(2, b"a")]), (vec![], None));
        let unsound = |node| Held { sound: false, ..held(node, b"a") };
        assert_eq!(judged(&[held(1, b"a"), unsound(2)]), (vec![], Some((2, 1))));
        assert_eq!(judged(&[unsound(1), held(2, b"a")]), (vec![], Some((1, 2))));
        let differs = Held { sound: false, ..held(2, b"other") };
        assert_eq!(
            judged(&[held(1, b"a"), differs]),
            (vec![], Some((2, 1))),
            "its digests too are its own affair"
        );
        assert_eq!(judged(&[unsound(1), unsound(2)]), (vec![], None), "nobody to have it from");
        let behind = Held { in_sync: false, ..held(1, b"a") };
        assert_eq!(judged(&[behind, unsound(2)]), (vec![], None), "never from one that is not in sync");
        assert_eq!(judged(&[unsound(1), unsound(2), held(3, b"a")]), (vec![], Some((1, 3))), "one at a time");
    }

    #[test]
    fn nobody_is_healed_by_guess() {
        let mailbox = |id| Group::Mailbox(MailboxId(id));
        assert_eq!(judged(&[held(1, b"a"), held(2, b"b")]), (vec![mailbox(7)], None));
        let other = Held { digests: digests(8, b"a"), ..held(2, b"") };
        assert_eq!(judged(&[held(1, b"a"), other]), (vec![mailbox(7), mailbox(8)], None));
        let unsound = Held { sound: false, ..held(3, b"a") };
        assert_eq!(judged(&[held(1, b"a"), held(2, b"b"), unsound]), (vec![mailbox(7)], None));
    }
}
