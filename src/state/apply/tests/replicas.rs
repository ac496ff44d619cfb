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
