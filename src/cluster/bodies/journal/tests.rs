//! The journal of a witness between nodes in one process: what is kept, read back, refused and given back.

use crate::cluster::bodies::tests::{
    JOURNAL_BYTES_MAX, Manner, Node, STALLED_MS, cluster, content, ids, in_sync, patient, place,
};
use crate::cluster::bodies::{BodyBounds, SMALL_BODY_BYTES_MAX};

use super::*;

/// Node 1 is left alone: node 2 is behind and takes nothing, node 3 is a witness; node 4 comes to need what 1 took.
async fn left_alone(bounds: BodyBounds) -> Vec<Node> {
    let nodes = cluster(bounds, &[Manner::Stalls, Manner::Good, Manner::Good]).await;
    for node in &nodes {
        data_nodes(node, &[1, 2, 4]);
        in_sync(node, ids(&[1]).into_iter());
        *locked(&node.hooks.witnesses) = ids(&[3]);
    }
    for lane in [Lane::Control, Lane::Bulk] {
        nodes[3].transport.connected(NodeId(3), lane).await.unwrap();
    }
    // For node 1 there is no fourth node yet.
    data_nodes(&nodes[0], &[1, 2]);
    nodes
}

fn data_nodes(node: &Node, nodes: &[u64]) {
    node.hooks.replicas.send_modify(|set| set.data_nodes = ids(nodes).into_iter().collect());
}

/// What node 4 can have of the journal alone.
async fn read_by_the_fourth(nodes: &[Node], id: BodyId) -> Option<Bytes> {
    // Node 1 is lost, as far as it knows.
    data_nodes(&nodes[3], &[4]);
    in_sync(&nodes[3], ids(&[4]).into_iter());
    nodes[3].service.body(id).await.ok()
}

#[tokio::test]
async fn a_body_of_any_size_has_its_second_copy_in_the_journal_and_comes_back() {
    let nodes = left_alone(patient()).await;
    let mut placed = Vec::new();
    for size in [0, 1, 4096, SMALL_BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX + 1, 300_000] {
        let body = content(size, 7);
        let before = nodes[2].journal.bytes();
        assert_eq!(place(&nodes[0], &body).await.unwrap().on, ids(&[1]));
        assert!(
            nodes[2].journal.bytes() >= before + size as u64,
            "{size} octets are durable when finish returns"
        );
        placed.push(body);
    }
    assert_eq!(nodes[0].service.counts().journaled, placed.len() as u64);
    assert_eq!(nodes[0].service.single_copies(), None);
    assert_eq!(nodes[2].store.count(), 0, "a witness has no bodies, only what it cannot read");
    for body in &placed {
        assert_eq!(read_by_the_fourth(&nodes, BodyId::of(body)).await.as_ref(), Some(body));
    }
    assert_eq!(nodes[3].store.count(), placed.len() as u64);
}

#[tokio::test]
async fn with_another_node_in_sync_nothing_is_journaled() {
    let nodes = cluster(patient(), &[Manner::Good, Manner::Good]).await;
    *locked(&nodes[0].hooks.witnesses) = ids(&[3]);
    data_nodes(&nodes[0], &[1, 2]);
    in_sync(&nodes[0], ids(&[1, 2]).into_iter());
    assert_eq!(place(&nodes[0], &content(4096, 1)).await.unwrap().on, ids(&[1, 2]));
    // Nor where one that catches up has taken it.
    in_sync(&nodes[0], ids(&[1]).into_iter());
    assert_eq!(place(&nodes[0], &content(4096, 2)).await.unwrap().on, ids(&[1, 2]));
    assert_eq!(nodes[2].journal.bytes(), 0);
}

#[tokio::test]
async fn a_full_journal_is_a_single_copy_which_is_said_or_refused() {
    let nodes = left_alone(patient()).await;
    assert!(place(&nodes[0], &content(JOURNAL_BYTES_MAX as usize / 2, 1)).await.is_ok());
    let large = content(JOURNAL_BYTES_MAX as usize, 2);
    assert_eq!(place(&nodes[0], &large).await.unwrap().on, ids(&[1]));
    let (count, why) = nodes[0].service.single_copies().expect("one has no second copy");
    assert!(count == 1 && why.contains("has the 1048576 octets that it may have"), "{why}");

    nodes[0].hooks.refuses.store(true, Ordering::Relaxed);
    let refused = place(&nodes[0], &content(10, 3)).await;
    assert!(
        matches!(&refused, Err(Fault::NotReplicated(why)) if why.contains("no witness takes")),
        "{refused:?}"
    );
    // What is left out by itself is tried again after a while, and a small one fits.
    locked(&nodes[0].service.inner.slow).clear();
    assert_eq!(place(&nodes[0], &content(10, 4)).await.unwrap().on, ids(&[1]));
    locked(&nodes[0].service.inner.slow).clear();
    let refused = place(&nodes[0], &large).await;
    assert!(
        matches!(&refused, Err(Fault::NotReplicated(why)) if why.contains("no witness has")),
        "{refused:?}"
    );

    in_sync(&nodes[0], ids(&[1, 2]).into_iter());
    assert_eq!(nodes[0].service.single_copies(), None, "the other one has fetched them");
}

#[tokio::test]
async fn a_witness_that_does_not_answer_is_waited_for_once() {
    let bounds = BodyBounds { ack_ms_max: STALLED_MS, ..patient() };
    let nodes = cluster(bounds, &[Manner::Stalls, Manner::Stalls]).await;
    *locked(&nodes[0].hooks.witnesses) = ids(&[3]);
    data_nodes(&nodes[0], &[1, 2]);
    in_sync(&nodes[0], ids(&[1]).into_iter());
    for (count, said) in [(1, "no answer in time"), (2, "a moment ago")] {
        assert_eq!(place(&nodes[0], &content(100, count)).await.unwrap().on, ids(&[1]));
        let (single, why) = nodes[0].service.single_copies().unwrap();
        assert!(single == count && why.contains(said), "{single}: {why}");
    }
}

#[tokio::test]
async fn a_journal_is_read_through_once_for_as_long_as_it_stays_the_same() {
    let nodes = left_alone(patient()).await;
    let body = content(4096, 1);
    place(&nodes[0], &body).await.unwrap();
    let missing = BodyId([9; 32]);
    assert_eq!(read_by_the_fourth(&nodes, missing).await, None);
    assert!(nodes[3].service.inner.is_nowhere(missing).await, "all that there is was read");
    assert_eq!(nodes[3].store.count(), 1, "what came with it is kept");
    let (id, end) =
        (BodyId::of(&body), *locked(&nodes[3].service.inner.journals_read).get(&NodeId(3)).unwrap());
    std::thread::scope(|scope| scope.spawn(|| nodes[3].store.forget(&[id])).join()).unwrap().unwrap();
    assert_eq!(read_by_the_fourth(&nodes, id).await, None, "it was not read again");
    // One more in it, and it is.
    data_nodes(&nodes[0], &[1, 2]);
    place(&nodes[0], &content(10, 2)).await.unwrap();
    assert_eq!(read_by_the_fourth(&nodes, id).await, Some(body));
    assert_ne!(locked(&nodes[3].service.inner.journals_read).get(&NodeId(3)), Some(&end));
}

#[tokio::test]
async fn while_a_journal_cannot_be_read_nothing_is_called_lost() {
    let nodes = left_alone(patient()).await;
    data_nodes(&nodes[3], &[4]);
    let missing = BodyId([9; 32]);
    nodes[2].transport.shutdown().await;
    assert!(!nodes[3].service.inner.is_nowhere(missing).await);
    locked(&nodes[3].hooks.witnesses).clear();
    assert!(nodes[3].service.inner.is_nowhere(missing).await);
}

#[tokio::test]
async fn what_two_nodes_have_is_dropped_up_to_where_it_was_asked_for() {
    let nodes = left_alone(patient()).await;
    let state = |drop_before| nodes[0].service.journal_state(NodeId(3), drop_before);
    assert_eq!(state(None).await.unwrap().unwrap().bytes, 0);
    place(&nodes[0], &content(300_000, 1)).await.unwrap();
    let end = state(None).await.unwrap().unwrap().end();
    let later = content(10, 2);
    place(&nodes[0], &later).await.unwrap();
    let before = state(None).await.unwrap().unwrap().bytes;
    let left = state(Some(end)).await.unwrap().unwrap();
    assert!(left.bytes < before && left.bytes > 0, "{} of {before}", left.bytes);
    assert_eq!(read_by_the_fourth(&nodes, BodyId::of(&later)).await, Some(later));
    let all = left.end();
    assert_eq!(
        state(Some((all.0 + 1, all.1))).await.unwrap().unwrap().bytes,
        left.bytes,
        "another run's place"
    );
    assert_eq!(state(Some(all)).await.unwrap().unwrap().bytes, 0);
}

#[tokio::test]
async fn bytes_that_are_no_pieces_are_refused_or_left_out() {
    let nodes = left_alone(patient()).await;
    for kind in [KIND_KEEP, KIND_READ] {
        for garbage in [&b""[..], b"x", &[7; 100], &[0xff; 70_000]] {
            let mut stream = nodes[0].transport.open_stream(NodeId(3), Lane::Bulk, kind).await.unwrap();
            // The peer may have hung up already.
            let _ = stream.send(Bytes::copy_from_slice(garbage)).await;
            stream.finish();
            while let Ok(Some(_)) = stream.recv().await {}
        }
    }
    let body = content(10, 1);
    place(&nodes[0], &body).await.unwrap();
    assert_eq!(read_by_the_fourth(&nodes, BodyId::of(&body)).await, Some(body));
}
