//! The in-sync set, and bodies that must lie on all of it.

use super::*;

fn on(nodes: &[u64]) -> PlacedBody {
    PlacedBody { on: nodes.iter().map(|node| NodeId(*node)).collect(), ..body(1, 10) }
}

#[test]
fn a_body_must_lie_on_every_in_sync_node() {
    let (mut world, alice) = World::with_alice();
    for node in [NodeId(1), NodeId(2)] {
        world.done(Command::AddReplica { node });
        let complete_to = LogIndex(world.index.0 - 1);
        assert_eq!(world.refusal(Command::MarkInSync { node, complete_to }), Refusal::StillBehind);
        let complete_to = world.index;
        world.done(Command::MarkInSync { node, complete_to });
    }
    assert_eq!(world.refusal(deliver(&[alice], on(&[1]))), Refusal::NotPlaced);
    assert_eq!(world.refusal(deliver(&[alice], on(&[]))), Refusal::NotPlaced);
    assert!(matches!(world.outcome(deliver(&[alice], on(&[2, 1]))), Outcome::Delivered { .. }));
    world.done(Command::MarkBehind { node: NodeId(2) });
    let applied = world.run(deliver(&[alice], on(&[1])));
    assert!(applied.changes.iter().any(|change| matches!(change, Change::Replicas { .. })));
    let missed = reading::replicas(&world.rows).unwrap()[1].missed_at;
    assert_eq!(missed, world.index);
    let before = LogIndex(missed.0 - 1);
    let in_sync = |complete_to| Command::MarkInSync { node: NodeId(2), complete_to };
    assert_eq!(world.refusal(in_sync(before)), Refusal::StillBehind);
    world.done(in_sync(missed));
    assert_eq!(world.refusal(deliver(&[alice], on(&[1]))), Refusal::NotPlaced);
}

fn pair_in_sync(world: &mut World) {
    for node in [NodeId(1), NodeId(2)] {
        world.done(Command::AddReplica { node });
        world.done(Command::MarkInSync { node, complete_to: world.index });
    }
}

fn retire(node: u64) -> Command {
    Command::RetireReplica { node: NodeId(node), lost: false }
}

fn in_sync(world: &World) -> Vec<u64> {
    let replicas = reading::replicas(&world.rows).unwrap();
    replicas.iter().filter(|it| it.in_sync).map(|it| it.node.0).collect()
}

#[test]
fn nothing_is_placed_by_lying_on_a_node_that_is_to_be_removed() {
    let (mut world, alice) = World::with_alice();
    pair_in_sync(&mut world);
    world.done(retire(1));
    assert_eq!(in_sync(&world), [2]);
    assert_eq!(world.refusal(deliver(&[alice], on(&[1]))), Refusal::NotPlaced);
    assert!(matches!(world.outcome(deliver(&[alice], on(&[1, 2]))), Outcome::Delivered { .. }));
    // It does not come back into sync by itself.
    let complete_to = world.index;
    assert_eq!(world.refusal(Command::MarkInSync { node: NodeId(1), complete_to }), Refusal::StillBehind);
    // Although the one that stays is slow: what is acknowledged lies on it.
    world.done(Command::MarkBehind { node: NodeId(2) });
    assert_eq!(world.refusal(deliver(&[alice], on(&[1]))), Refusal::NotPlaced);
    assert!(matches!(world.outcome(deliver(&[alice], on(&[2]))), Outcome::Delivered { .. }));
    // The removed one's proposal may come after its removal.
    world.done(Command::RemoveReplica { node: NodeId(1) });
    assert_eq!(reading::retired(&world.rows).unwrap(), []);
    assert_eq!(world.refusal(deliver(&[alice], on(&[1]))), Refusal::NotPlaced);
}

#[test]
fn the_last_node_in_sync_is_retired_only_when_it_is_lost() {
    let mut world = World::new();
    pair_in_sync(&mut world);
    world.done(Command::MarkBehind { node: NodeId(2) });
    assert_eq!(world.refusal(retire(1)), Refusal::LastCopies(NodeId(1)));
    assert_eq!(in_sync(&world), [1]);
    world.done(retire(2));
    world.done(Command::RetireReplica { node: NodeId(1), lost: true });
    assert!(in_sync(&world).is_empty());
    // One that was never in sync may have all of a lone founder's mail.
    let mut world = World::new();
    world.done(Command::AddReplica { node: NodeId(1) });
    assert_eq!(world.refusal(retire(1)), Refusal::LastCopies(NodeId(1)));
}

#[test]
fn a_removal_that_came_to_nothing_is_taken_back_once() {
    let mut world = World::new();
    pair_in_sync(&mut world);
    world.done(retire(1));
    let first = world.index;
    world.done(retire(1));
    let reinstate = |retired_at| Command::ReinstateReplica { node: NodeId(1), retired_at };
    assert!(matches!(world.refusal(reinstate(first)), Refusal::NotFound(_)), "a newer removal holds");
    let second = LogIndex(first.0 + 1);
    world.done(reinstate(second));
    let at = world.index;
    assert!(matches!(world.refusal(reinstate(second)), Refusal::NotFound(_)));
    assert_eq!(in_sync(&world), [2]);
    let mark = |complete_to| Command::MarkInSync { node: NodeId(1), complete_to };
    assert_eq!(world.refusal(mark(second)), Refusal::StillBehind, "a word of before");
    world.done(mark(at));
    assert_eq!(in_sync(&world), [1, 2]);
}

#[test]
fn adding_twice_and_removing_once() {
    let mut world = World::new();
    let node = NodeId(5);
    world.done(Command::AddReplica { node });
    assert_eq!(world.run(Command::AddReplica { node }).changes, []);
    world.done(Command::RemoveReplica { node });
    assert!(matches!(world.refusal(Command::RemoveReplica { node }), Refusal::NotFound(_)));
    assert!(matches!(world.refusal(Command::MarkBehind { node }), Refusal::NotFound(_)));
}

#[test]
fn the_cluster_version_only_rises() {
    let mut world = World::new();
    world.done(Command::SetClusterVersion { version: 2 });
    assert!(matches!(world.refusal(Command::SetClusterVersion { version: 1 }), Refusal::Invalid(_)));
    assert_eq!(reading::cluster_version(&world.rows).unwrap(), 2);
}
