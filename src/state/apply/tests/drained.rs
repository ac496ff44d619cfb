//! Nodes that are drained: never all of those that could serve.

use super::*;

fn drain(node: u64) -> Command {
    Command::DrainNode { node: NodeId(node) }
}

fn undrain(node: u64) -> Command {
    Command::UndrainNode { node: NodeId(node) }
}

fn in_sync(world: &mut World, nodes: &[u64]) {
    for node in nodes.iter().copied().map(NodeId) {
        world.done(Command::AddReplica { node });
        world.done(Command::MarkInSync { node, complete_to: world.index });
    }
}

fn drained(world: &World) -> Vec<u64> {
    reading::drained(&world.rows).unwrap().into_iter().map(|node| node.0).collect()
}

#[test]
fn of_two_nodes_one_is_drained_and_the_other_is_not() {
    let mut world = World::new();
    in_sync(&mut world, &[1, 2]);
    let told = world.run(drain(1)).changes;
    assert_eq!(told, [Change::Drained { nodes: vec![NodeId(1)] }]);
    assert_eq!(world.run(drain(1)).changes, [], "again");
    assert_eq!(world.refusal(drain(2)), Refusal::LastServing(NodeId(2)));
    assert_eq!(drained(&world), [1]);
    world.done(undrain(2));
    world.done(undrain(1));
    assert!(drained(&world).is_empty());
    world.done(drain(2));
}

#[test]
fn who_is_behind_or_about_to_be_removed_does_not_serve_in_anothers_place() {
    let mut world = World::new();
    in_sync(&mut world, &[1, 2, 3]);
    world.done(drain(3));
    world.done(Command::MarkBehind { node: NodeId(2) });
    assert_eq!(world.refusal(drain(1)), Refusal::LastServing(NodeId(1)));
    // One that is behind itself may be.
    world.done(drain(2));
    world.done(undrain(2));
    world.done(Command::MarkInSync { node: NodeId(2), complete_to: world.index });
    world.done(Command::RetireReplica { node: NodeId(2), lost: false });
    assert_eq!(world.refusal(drain(1)), Refusal::LastServing(NodeId(1)));
    world.done(undrain(3));
    world.done(drain(1));
}

#[test]
fn only_data_nodes_are_drained_and_one_that_is_removed_is_no_longer() {
    let mut world = World::new();
    in_sync(&mut world, &[1, 2]);
    assert!(matches!(world.refusal(drain(3)), Refusal::NotFound(_)));
    assert!(matches!(world.refusal(undrain(3)), Refusal::NotFound(_)));
    world.done(drain(2));
    let told = world.run(Command::RemoveReplica { node: NodeId(2) }).changes;
    assert!(told.contains(&Change::Drained { nodes: vec![] }), "{told:?}");
    in_sync(&mut world, &[2]);
    assert!(drained(&world).is_empty());
}
