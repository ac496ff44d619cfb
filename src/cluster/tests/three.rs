//! Two data nodes and a witness.

use super::scene::Node;
use crate::cluster::config::Retention;
use crate::cluster::types::Role;

/// Node a (the founder), node b, and the witness; all in sync.
async fn pair_and_witness(retention: Retention) -> [Node; 3] {
    let a = Node::founder("a", retention).await;
    a.add_domain("first.test").await;
    let b = Node::joined("b", Role::Data, &a).await;
    let w = Node::joined("w", Role::Witness, &a).await;
    a.until_in_sync(b.handle().node()).await;
    [a, b, w]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_data_node_proposes_and_the_others_hear_of_it() {
    let [a, b, _w] = pair_and_witness(Retention::default()).await;
    assert!(b.has_domain("first.test"), "what was there before it joined");
    a.add_domain("by-a.test").await;
    b.until_domain("by-a.test").await;
    b.add_domain("by-b.test").await;
    assert!(b.has_domain("by-b.test"), "the proposer reads its own write, wherever the leader is");
    a.until_domain("by-b.test").await;
}
