//! Budgets: never more than n tokens in a window over all nodes; all n where all nodes live; and no more rows than fit.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::state::keys;
use crate::state::limits::*;
use crate::state::stored::{BudgetRow, BudgetsRow};

const MINUTE: Timestamp = Timestamp(1_700_000_040_000);

fn budget(key: &[u8]) -> BudgetId {
    BudgetId { until: MINUTE, limit: Limit::MessagesPerMinute, key: key.to_vec() }
}

/// What a node holds, and how it asks.
#[derive(Default, Clone, Copy)]
struct Holds {
    tokens: u64,
    grant: LogIndex,
}

struct Pair {
    world: World,
    nodes: BTreeMap<u64, Holds>,
    tokens_max: u64,
    passed: u64,
    commits: u64,
}

impl Pair {
    fn new(tokens_max: u64) -> Self {
        let nodes = [1, 2].map(|node| (node, Holds::default())).into();
        Self { world: World::new(), nodes, tokens_max, passed: 0, commits: 0 }
    }

    fn ask(&mut self, node: u64, needed: u64) -> (Granted, bool) {
        let holds = self.nodes[&node];
        let ask = TakeTokens {
            node: NodeId(node),
            budget: budget(b"host"),
            tokens_max: self.tokens_max,
            grant: holds.grant,
            unused: holds.tokens,
            needed,
        };
        self.commits += 1;
        let applied = self.world.run(Command::TakeTokens(ask));
        let Outcome::TokensTaken(granted) = applied.outcome else { panic!("{:?}", applied.outcome) };
        self.nodes.insert(node, Holds { tokens: granted.tokens, grant: granted.grant });
        let told = applied.changes.contains(&Change::Budget { budget: budget(b"host") });
        (granted, told)
    }

    /// One client of `node`; the others give back what they are asked for, where they live.
    fn pass(&mut self, node: u64, peer_lives: bool) -> bool {
        if self.nodes[&node].tokens == 0 {
            let (granted, told) = self.ask(node, 1);
            if granted.tokens == 0 && granted.others_hold && peer_lives {
                if told {
                    self.ask(3 - node, 0);
                }
                self.ask(node, 1);
            }
        }
        let holds = self.nodes.get_mut(&node).unwrap();
        let passes = holds.tokens > 0;
        if passes {
            holds.tokens -= 1;
            self.passed += 1;
        }
        passes
    }
}

proptest! {
    #[test]
    fn exactly_n_pass_wherever_they_come_while_both_nodes_live(
        tokens_max in 1u64..200,
        clients in prop::collection::vec(1u64..3, 0..400),
    ) {
        let mut pair = Pair::new(tokens_max);
        for (at, node) in clients.iter().enumerate() {
            let passes = pair.pass(*node, true);
            prop_assert_eq!(passes, (at as u64) < tokens_max, "client {} of {}", at + 1, tokens_max);
        }
    }

    #[test]
    fn never_more_than_n_pass_though_nodes_die_and_proposals_come_late(
        tokens_max in 1u64..100,
        steps in prop::collection::vec((1u64..3, 0u8..8), 0..300),
    ) {
        let mut pair = Pair::new(tokens_max);
        let mut late: Vec<Command> = Vec::new();
        for (node, what) in steps {
            let holds = pair.nodes[&node];
            match what {
                // It starts anew, and knows nothing of what it held.
                0 => { pair.nodes.insert(node, Holds::default()); }
                // It asks or gives back, and does not hear the answer; the proposal waits somewhere.
                1 => {
                    late.push(Command::TakeTokens(TakeTokens {
                        node: NodeId(node),
                        budget: budget(b"host"),
                        tokens_max,
                        grant: holds.grant,
                        unused: holds.tokens,
                        needed: u64::from(late.len().is_multiple_of(2)),
                    }));
                    pair.nodes.insert(node, Holds::default());
                }
                2 => {
                    if let Some(ask) = late.pop() {
                        pair.world.run(ask);
                    }
                }
                3 => { pair.ask(node, 0); }
                _ => { pair.pass(node, what % 2 == 0); }
            }
            prop_assert!(pair.passed <= tokens_max, "{} of {tokens_max} passed", pair.passed);
        }
    }
}

#[test]
fn a_thousand_tokens_of_one_node_cost_few_commits() {
    let mut pair = Pair::new(1_000);
    while pair.pass(1, true) {}
    assert_eq!(pair.passed, 1_000);
    assert!(pair.commits <= 30, "{} commits", pair.commits);
}

#[test]
fn what_a_dead_node_held_is_spent_once_it_asks_again() {
    let mut pair = Pair::new(8);
    assert!(pair.pass(1, true));
    assert_eq!(pair.nodes[&1].tokens, 1, "a quarter of 8, and one of them used");
    pair.nodes.insert(1, Holds::default());
    while pair.pass(2, false) {}
    assert_eq!(pair.passed, 7, "one is held by the node that died");
    assert!(!pair.pass(1, true));
}

#[test]
fn a_budget_that_shrinks_or_grows_holds_from_the_next_question_on() {
    let mut pair = Pair::new(4);
    while pair.pass(1, true) {}
    pair.tokens_max = 2;
    assert!(!pair.pass(2, true));
    pair.tokens_max = 5;
    assert!(pair.pass(2, true));
    assert!(!pair.pass(2, true));
}

fn take(world: &mut World, key: &[u8], tokens_max: u64) -> u64 {
    let ask =
        TakeTokens { node: NODE, budget: budget(key), tokens_max, grant: LogIndex(0), unused: 0, needed: 1 };
    match world.outcome(Command::TakeTokens(ask)) {
        Outcome::TokensTaken(granted) => granted.tokens,
        other => panic!("{other:?}"),
    }
}

fn budgets(world: &World) -> usize {
    let mut count = 0;
    reading::visit::<BudgetRow>(&world.rows, &keys::table(keys::BUDGET), |_, _| count += 1).unwrap();
    let tally = reading::get::<BudgetsRow>(&world.rows, &keys::budgets()).unwrap().unwrap();
    assert_eq!(tally.budgets as usize, count, "they are counted");
    count
}

#[test]
fn those_who_find_no_room_share_with_their_neighbours_and_beyond_that_with_all() {
    let mut world = World::new();
    take(&mut world, b"1st", 3);
    let fill = |world: &mut World, budgets: u32| {
        let row = crate::state::codec::encode_row(&keys::budgets(), &BudgetsRow { budgets }).unwrap();
        world.rows.0.insert(keys::budgets(), row);
    };
    fill(&mut world, BUDGETS_MAX - 1);
    assert_eq!(take(&mut world, &[9, 9, 9, 9], 3), 1, "the last with a budget of its own");
    for host in 0..5u8 {
        let had = take(&mut world, &[192, 0, 2, host], 3);
        assert_eq!(had, u64::from(host < 3), "host {host} shares with its neighbours");
    }
    assert_eq!(take(&mut world, &[198, 51, 100, 1], 3), 1, "another network");
    assert_eq!(take(&mut world, &[0x20, 1, 0xd, 0xb8, 1, 2, 3, 4], 3), 1, "one of IPv6");
    assert_eq!(take(&mut world, &[9, 9, 9, 9], 3), 1, "whoever has one keeps it");
    fill(&mut world, BUDGETS_MAX + WIDE_BUDGETS_MAX);
    for network in 0..5u8 {
        let had = take(&mut world, &[10, network, 0, 1], 3);
        assert_eq!(had, u64::from(network < 3), "network {network} shares with all");
    }
    assert_eq!(take(&mut world, &[198, 51, 1, 1], 3), 1, "that network keeps its own");
    let mut rows = 0;
    reading::visit::<BudgetRow>(&world.rows, &keys::table(keys::BUDGET), |_, _| rows += 1).unwrap();
    assert_eq!(rows, 6);
}

#[test]
fn past_budgets_are_forgotten_a_few_at_a_time() {
    let mut world = World::new();
    for host in 0..(FORGOTTEN_MAX + 10) as u8 {
        take(&mut world, &[host], 3);
    }
    assert_eq!(budgets(&world), FORGOTTEN_MAX + 10);
    let later = |world: &mut World| {
        let budget = BudgetId { until: world.at, ..budget(b"later") };
        let ask = TakeTokens { node: NODE, budget, tokens_max: 3, grant: LogIndex(0), unused: 0, needed: 1 };
        world.outcome(Command::TakeTokens(ask))
    };
    world.at = Timestamp(MINUTE.0 + KEPT_MS);
    later(&mut world);
    assert_eq!(budgets(&world), FORGOTTEN_MAX + 11, "a window is kept until a while after its end");
    world.at.0 += 1;
    later(&mut world);
    assert_eq!(budgets(&world), 12);
    later(&mut world);
    assert_eq!(budgets(&world), 2);
    assert_eq!(
        take(&mut world, &[0], 3),
        1,
        "a clock that is far behind counts anew, and is not refused for good"
    );
}
