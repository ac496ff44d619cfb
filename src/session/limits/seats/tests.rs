//! Two nodes over one replica: together they let n in, and more once some have gone.

use super::*;
use crate::clock::Clock;
use crate::cluster::memory::MemoryReplica;
use crate::mail::ids::Timestamp;

const HOST: Host = Host::V4([192, 0, 2, 1]);

/// A node that died says nothing.
struct Deaf(MemoryReplica);

impl Cluster for Deaf {
    fn propose(&self, command: Command) -> Wish<'_, Outcome> {
        Cluster::propose(&self.0, command)
    }

    fn watch_seats(&self) -> broadcast::Receiver<Arc<SeatsChanged>> {
        broadcast::Sender::new(1).subscribe()
    }

    fn held(&self) -> Wish<'_, Vec<Held>> {
        Cluster::held(&self.0)
    }

    fn nodes(&self) -> usize {
        2
    }
}

fn replica() -> MemoryReplica {
    let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
    for node in [1, 2] {
        let added = replica.run(Command::AddReplica { node: NodeId(node) }).unwrap();
        assert_eq!(added, Outcome::Done);
    }
    replica
}

fn node(replica: &MemoryReplica, number: u64) -> Arc<SeatKeeper> {
    SeatKeeper::of(Arc::new(replica.clone()), NodeId(number))
}

async fn fill(node: &Arc<SeatKeeper>, seats_max: u64) -> Vec<HostSeat> {
    let mut seats = Vec::new();
    while let Some(seat) = node.admit(HOST, seats_max).await {
        seats.push(seat);
    }
    seats
}

#[tokio::test(start_paused = true)]
async fn n_get_in_over_two_nodes_and_as_many_more_as_go() {
    for seats_max in [1u64, 2, 7, 50] {
        let replica = replica();
        let (one, other) = (node(&replica, 1), node(&replica, 2));
        let mut seats = Vec::new();
        for at in 0..seats_max {
            let node = if at % 2 == 0 { &one } else { &other };
            seats.push(node.admit(HOST, seats_max).await.expect("there is a seat"));
        }
        assert!(one.admit(HOST, seats_max).await.is_none(), "{seats_max} and one more");
        assert!(other.admit(HOST, seats_max).await.is_none());
        assert!(one.admit(Host::V4([192, 0, 2, 2]), seats_max).await.is_some(), "another host");
        drop(seats.pop());
        sleep(Duration::from_millis(REFUSED_MS)).await;
        let again = one.admit(HOST, seats_max).await;
        assert!(again.is_some() && one.admit(HOST, seats_max).await.is_none(), "one has gone");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_come_at_once_are_n_together() {
    let replica = replica();
    let nodes = [node(&replica, 1), node(&replica, 2)];
    let mut clients = tokio::task::JoinSet::new();
    for at in 0..150 {
        let node = Arc::clone(&nodes[at % 2]);
        clients.spawn(async move { node.admit(HOST, 50).await });
    }
    let seats: Vec<HostSeat> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(seats.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn the_seats_of_a_dead_node_are_free_and_it_keeps_to_that_when_it_starts_again() {
    let replica = replica();
    let dead = SeatKeeper::of(Arc::new(Deaf(replica.clone())), NodeId(2));
    let before = fill(&dead, 20).await;
    assert_eq!(before.len(), 20, "nobody else says that it has any");
    let one = node(&replica, 1);
    let seats = fill(&one, 20).await;
    assert_eq!(seats.len(), 20, "who says nothing has nothing");
    let again = node(&replica, 2);
    assert!(again.admit(HOST, 20).await.is_none());
    drop((before, seats));
}

#[tokio::test(start_paused = true)]
async fn what_is_used_no_longer_is_given_back_and_leaves_no_row() {
    let replica = replica();
    let (one, other) = (node(&replica, 1), node(&replica, 2));
    drop(fill(&one, 20).await);
    let rows = || async { Cluster::held(&replica).await.unwrap().len() };
    assert_eq!(rows().await, 1);
    while rows().await > 0 {
        sleep(Duration::from_millis(GIVE_BACK_MS)).await;
    }
    assert_eq!(fill(&other, 20).await.len(), 20);
    assert!(one.locked().hosts.len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn each_node_counts_for_itself_while_the_cluster_cannot_be_asked() {
    let replica = replica();
    let (one, other) = (node(&replica, 1), node(&replica, 2));
    let mut seats = fill(&one, 8).await;
    seats.extend(fill(&other, 8).await);
    assert_eq!(seats.len(), 8);
    replica.fail(Some(Fault::NoQuorum));
    sleep(Duration::from_millis(REFUSED_MS)).await;
    let more = fill(&other, 8).await;
    assert_eq!(more.len(), 8, "no more than n here");
    drop((seats, more));
    assert!(other.admit(HOST, 8).await.is_some());
}
