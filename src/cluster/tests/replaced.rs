//! A node comes back to a cluster whose other data node was replaced meanwhile.

use tokio::time::Instant;

use super::scene::{Node, PATIENCE};
use super::three::pair_and_witness;
use crate::cluster::config::Retention;
use crate::cluster::membership::Files;
use crate::cluster::types::Role;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up_from_one_that_it_has_never_heard_of() {
    let [mut a, mut b, w] = pair_and_witness(Retention::default()).await;
    let [a_id, b_id, w_id] = [&a, &b, &w].map(|node| node.handle().node());
    b.stop().await;
    a.add_domain("by-a.test").await;
    let c = Node::joined("c", Role::Data, &a).await;
    let c_id = c.handle().node();
    a.until_in_sync(c_id).await;
    a.hand_over_to(c_id).await;
    c.handle().remove(a_id, false).await.unwrap();
    a.stop().await;
    c.add_domain("by-c.test").await;
    w.until("it knows that c took the place of a", |metrics| {
        metrics.committed_membership_config.nodes().map(|(id, _)| *id).eq([b_id.0, w_id.0, c_id.0])
    })
    .await;

    b.start().await;
    b.until_domain("by-c.test").await;
    assert!(b.has_domain("by-a.test"));
    c.until_in_sync(b_id).await;
    // Its log has it all now: what it was told falls away, and who was removed is refused for ever.
    let until = Instant::now() + PATIENCE;
    let peers = || b.handle().local.transport.peers();
    while peers() != [w_id, c_id] {
        assert!(Instant::now() < until, "b talks to {:?}", peers());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(b.handle().local.transport.was_removed(a_id));
    let heard = Files::new(&b.config.dir).read_heard();
    assert!(heard.members.iter().any(|member| member.node == c_id), "a restart would not have to ask");

    c.hand_over_to(b_id).await;
    b.add_domain("by-b.test").await;
    c.until_domain("by-b.test").await;
}
