//! The read barrier: what was acknowledged on one node is known on the other when it is asked for.

use super::three::pair_and_witness;
use crate::cluster::config::Retention;
use crate::cluster::replica::{Fault, Replica};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_knows_behind_the_barrier_what_it_missed() {
    let [a, mut b, _w] = pair_and_witness(Retention::default()).await;
    b.stop().await;
    a.add_domains(0, 300).await;
    a.add_domain("missed.test").await;
    b.start().await;
    // All at once, as recipients that are unknown may ask.
    let asked = (0..200).map(|_| b.handle().refresh());
    for refreshed in futures_util::future::join_all(asked).await {
        refreshed.unwrap();
    }
    assert!(b.has_domain("missed.test"));
    b.add_domain("back.test").await;
    a.handle().refresh().await.unwrap();
    assert!(a.has_domain("back.test"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_known_for_certain() {
    let [mut a, b, mut w] = pair_and_witness(Retention::default()).await;
    w.stop().await;
    a.stop().await;
    let refreshed = b.handle().refresh().await;
    assert!(matches!(refreshed, Err(Fault::NoQuorum)), "{refreshed:?}");
}
