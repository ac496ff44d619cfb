//! A node id is given once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn give(above: u64) -> Command {
    Command::GiveNodeId { above: NodeId(above) }
}

fn given(world: &mut World, above: u64) -> NodeId {
    match world.outcome(give(above)) {
        Outcome::NodeIdGiven { node } => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_founder_has_the_first_and_each_other_gets_the_next() {
    let mut world = World::new();
    assert_eq!(given(&mut world, 0), NodeId(2));
    assert_eq!(given(&mut world, 1), NodeId(3), "whether node 2 is still a member or not");
    assert_eq!(given(&mut world, 7), NodeId(8));
    assert_eq!(given(&mut world, 3), NodeId(9), "from one who was away and knows of three nodes only");
}

#[test]
fn the_ids_end_at_the_last_one() {
    let mut world = World::new();
    assert_eq!(given(&mut world, u64::MAX - 1), NodeId(u64::MAX));
    assert!(matches!(world.refusal(give(0)), Refusal::Limit(_)));
}

proptest! {
    #[test]
    fn no_two_joins_ever_get_the_same_and_a_retry_gets_its_own_again(
        // How much each proposer knows, and whose proposal it is: a number that comes again is a retry.
        asked in prop::collection::vec((0u64..40, 0usize..30), 1..60)
    ) {
        let mut world = World::new();
        let mut first: BTreeMap<usize, (Proposal, NodeId)> = BTreeMap::new();
        for (above, who) in asked {
            let proposal = match first.get(&who) {
                Some((proposal, _)) => proposal.clone(),
                None => world.proposal(give(above)),
            };
            let outcome = world.apply(&proposal).outcome;
            let Outcome::NodeIdGiven { node } = outcome else { panic!("{outcome:?}") };
            match first.get(&who) {
                Some((_, before)) => prop_assert_eq!(node, *before),
                None => {
                    prop_assert!(first.values().all(|(_, other)| *other < node), "{} after {:?}", node, first);
                    prop_assert!(node.0 > above);
                    first.insert(who, (proposal, node));
                }
            }
        }
    }
}
