//! A cluster of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::{Node, PATIENCE};
use crate::clock::Clock;
use crate::cluster::config::{ClusterConfig, Retention};
use crate::cluster::membership::{found, join};
use crate::cluster::replica::{Placing, Replica};
use crate::cluster::start::Cluster;
use crate::mail::ids::BodyId;
use crate::meters::METERS;
use crate::state::change::Change;
use crate::state::rows::MemoryRows;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proposed_is_there_at_once_and_after_a_restart() {
    let mut node = Node::founder("a", Retention::default()).await;
    node.add_domain("example.test").await;
    assert!(node.has_domain("example.test"), "the proposer reads its own write");
    node.stop().await;
    node.start().await;
    assert!(node.has_domain("example.test"));
    node.add_domain("second.test").await;
    node.stop().await;
}

/// The first may go alone; the others come while it is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proposed_together_is_committed_in_few_rounds() {
    let mut node = Node::founder("a", Retention::default()).await;
    let before = METERS.log_syncs.seen().count();
    node.add_domains(0, 200).await;
    let syncs = METERS.log_syncs.seen().count() - before;
    assert!((0..200).all(|at| node.has_domain(&format!("d{at}.test"))));
    assert!(syncs < 100, "{syncs} syncs for 200 proposals");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_placed_and_read_back() {
    let node = Node::founder("a", Retention::default()).await;
    node.until_in_sync(node.handle().node()).await;
    let mut placing = node.handle().place().await.unwrap();
    placing.push("Subject: x\r\n\r\n".into()).await.unwrap();
    placing.push("body\r\n".into()).await.unwrap();
    let placed = placing.finish().await.unwrap();
    assert_eq!(placed.id, BodyId::of(b"Subject: x\r\n\r\nbody\r\n"));
    assert_eq!(placed.on, [node.handle().node()]);
    assert_eq!(node.handle().body(placed.id).await.unwrap(), "Subject: x\r\n\r\nbody\r\n");
}

/// A thread that borrowed the in-sync set twice waited for ever where a change of it came in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_may_be_asked_for_while_the_in_sync_set_changes() {
    const TIMES: usize = 2_000;
    let node = Node::founder("a", Retention::default()).await;
    let (local, data) = (node.handle().local.clone(), node.data());
    let replicas = data.feed.replicas().borrow().to_vec();
    let over = Arc::new(AtomicBool::new(false));
    let changing = {
        let over = over.clone();
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let change = Change::Replicas { replicas: replicas.clone() };
                data.feed.publish(&MemoryRows::default(), vec![change]).unwrap();
            }
        })
    };
    let (told, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let known = (0..TIMES).all(|_| local.figures().replica.is_some());
        told.send(known).unwrap();
    });
    assert!(asked.recv_timeout(PATIENCE).expect("neither waits for the other"));
    over.store(true, Ordering::Relaxed);
    changing.join().unwrap();
}

#[tokio::test]
async fn a_directory_without_a_node_is_told_what_to_do() {
    let mut node = Node::founder("a", Retention::default()).await;
    let empty = tempfile::tempdir().unwrap();
    let config = ClusterConfig { dir: empty.path().to_owned(), ..node.config.clone() };
    let error = Cluster::start(config, Clock::system()).await.err().unwrap().to_string();
    assert!(error.contains("pollux init"), "{error}");
    let error = found(&node.config, &Clock::system()).unwrap_err().to_string();
    assert!(error.contains("belongs to a cluster already"), "{error}");
    let error = join(&node.config, "nonsense", &Clock::system()).await.unwrap_err().to_string();
    assert!(error.contains("not a join token"), "{error}");
    let error = Cluster::start(node.config.clone(), Clock::system()).await.err().unwrap().to_string();
    assert_eq!(error.lines().count(), 1, "one directory, one process: {error}");
    node.stop().await;
}
