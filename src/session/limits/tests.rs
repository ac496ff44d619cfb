//! Two nodes over one replica, by a clock that stands still: together they let n pass, whoever asks.

use super::*;
use crate::cluster::memory::MemoryReplica;
use crate::mail::ids::Timestamp;

const HOST: &[u8] = &[192, 0, 2, 1];
const LIMIT: Limit = Limit::MessagesPerMinute;

/// A node that died gives nothing back.
struct Deaf(MemoryReplica);

impl Cluster for Deaf {
    fn propose(&self, command: Command) -> Wish<'_> {
        Cluster::propose(&self.0, command)
    }

    fn watch_budgets(&self) -> broadcast::Receiver<BudgetId> {
        broadcast::Sender::new(1).subscribe()
    }
}

fn replica() -> MemoryReplica {
    MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)))
}

fn node(replica: &MemoryReplica, number: u64) -> Arc<Limits> {
    let cluster = Arc::new(replica.clone());
    Limits::of(replica.watch_directory(), cluster, (NodeId(number), replica.clock().clone()))
}

async fn passed(limits: &Limits, clients: u64, tokens_max: u64) -> u64 {
    let mut passed = 0;
    for _ in 0..clients {
        passed += u64::from(limits.take(LIMIT, HOST, tokens_max).await);
    }
    passed
}

#[tokio::test]
async fn n_pass_over_two_nodes_and_what_one_holds_the_other_may_have() {
    for tokens_max in [1u64, 2, 7, 50, 1_000] {
        let replica = replica();
        let (one, other) = (node(&replica, 1), node(&replica, 2));
        let first = passed(&one, tokens_max.div_ceil(2), tokens_max).await;
        assert_eq!(first, tokens_max.div_ceil(2));
        assert_eq!(passed(&other, tokens_max, tokens_max).await, tokens_max - first, "of {tokens_max}");
        assert_eq!(passed(&one, 3, tokens_max).await, 0);
        replica.clock().advance_ms(60_000);
        assert!(one.take(LIMIT, HOST, tokens_max).await, "another minute");
        assert_eq!(passed(&other, tokens_max, tokens_max).await, tokens_max - 1);
    }
}

#[tokio::test]
async fn clients_that_come_at_once_pass_n_times_together() {
    let replica = replica();
    let nodes = [node(&replica, 1), node(&replica, 2)];
    let mut clients = tokio::task::JoinSet::new();
    for at in 0..300 {
        let limits = Arc::clone(&nodes[at % 2]);
        clients.spawn(async move { limits.take(LIMIT, HOST, 100).await });
    }
    let passed = clients.join_all().await.into_iter().filter(|passed| *passed).count();
    assert_eq!(passed, 100);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_node_holds_is_refused_and_no_more_than_that() {
    let replica = replica();
    let deaf = Arc::new(Deaf(replica.clone()));
    let dead = Limits::of(replica.watch_directory(), deaf, (NodeId(1), replica.clock().clone()));
    assert!(dead.take(LIMIT, HOST, 40).await);
    assert_eq!(passed(&node(&replica, 2), 60, 40).await, 30, "the dead one holds a quarter");
}

#[tokio::test]
async fn each_node_counts_for_itself_while_the_cluster_cannot_be_asked() {
    let replica = replica();
    let (one, other) = (node(&replica, 1), node(&replica, 2));
    assert_eq!(passed(&one, 1, 4).await, 1);
    replica.fail(Some(Fault::NoQuorum));
    assert_eq!(passed(&one, 9, 4).await, 3, "no more than n, and those before count");
    assert_eq!(passed(&other, 9, 4).await, 4);
    replica.fail(None);
    assert_eq!(passed(&one, 5, 4).await, 0, "for a while it is not asked");
    replica.clock().advance_ms(60_000);
    assert_eq!(passed(&one, 5, 4).await, 4, "another minute, and the cluster counts");
    assert_eq!(passed(&other, 5, 4).await, 0);
}

#[tokio::test]
async fn a_limit_may_be_lifted_and_raised_within_the_minute() {
    let limits = node(&replica(), 1);
    assert_eq!(passed(&limits, 5, 1).await, 1);
    assert_eq!(passed(&limits, 5, 0).await, 5, "0 is unlimited");
    assert_eq!(passed(&limits, 5, 3).await, 2);
}

#[tokio::test]
async fn purses_are_bounded_and_those_of_past_minutes_make_room() {
    let (budgets, now) = (Budgets::default(), Timestamp(1_700_000_000_000));
    let whose = |key: &[u8], now| budgets.slot(LIMIT, key, now).0;
    for host in 0..budgets::PURSES_MAX as u32 {
        let (_, slot) = budgets.slot(LIMIT, &host.to_be_bytes(), now);
        slot.purse.lock().await.until = LIMIT.window_end(now);
    }
    assert_eq!(whose(&7u32.to_be_bytes(), now), 7u32.to_be_bytes(), "whoever has one keeps it");
    for network in 1..=budgets::WIDE_PURSES_MAX as u16 {
        let [a, b] = network.to_be_bytes();
        let (key, slot) = budgets.slot(LIMIT, &[a, b, 255, 255], now);
        assert_eq!(key, [a, b], "beyond them neighbours share one");
        slot.purse.lock().await.until = LIMIT.window_end(now);
    }
    assert_eq!(whose(&[255, 255, 1, 1], now), Vec::<u8>::new(), "beyond those all share one");
    assert!(Arc::ptr_eq(&budgets.slot(LIMIT, &[255, 254, 1, 1], now).1, &budgets.slot(LIMIT, &[], now).1));
    assert_eq!(whose(&[255, 255, 1, 1], LIMIT.window_end(now)), [255, 255, 1, 1]);
}
