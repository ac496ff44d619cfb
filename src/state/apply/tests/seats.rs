//! Seats: never more than the bound on living nodes together, and no fewer where all that is not used is given back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::state::blocks::Host;
use crate::state::codec::encode_row;
use crate::state::keys;
use crate::state::seats::*;
use crate::state::stored::{SeatsRow, SeatsTallyRow};

const HOST: Host = Host::V4([192, 0, 2, 1]);

#[derive(Default, Clone, Copy)]
struct Here {
    in_use: u64,
    /// And of how large a bound.
    held: Option<(u64, u64)>,
}

/// Two data nodes, as they keep to what they hear.
struct Pair {
    world: World,
    nodes: BTreeMap<u64, Here>,
    seats_max: u64,
    commits: u64,
}

impl Pair {
    fn new(seats_max: u64) -> Self {
        let mut world = World::new();
        for node in [1, 2] {
            world.done(Command::AddReplica { node: NodeId(node) });
        }
        Self { world, nodes: [1, 2].map(|node| (node, Here::default())).into(), seats_max, commits: 0 }
    }

    fn ask(&mut self, node: u64, wants_one: bool, silent: &[u64]) -> Seats {
        let ask = TakeSeats {
            node: NodeId(node),
            host: HOST,
            seats_max: self.seats_max,
            in_use: self.nodes[&node].in_use,
            wants_one,
            silent: silent.iter().map(|node| NodeId(*node)).collect(),
        };
        self.commits += 1;
        let applied = self.world.run(Command::TakeSeats(Box::new(ask)));
        for change in &applied.changes {
            let Change::Seats(changed) = change else { panic!("{change:?}") };
            for (node, here) in &mut self.nodes {
                let mine = changed.held.iter().find(|held| held.node == NodeId(*node));
                here.held = mine.map(|held| (held.seats, changed.seats_max));
            }
        }
        let Outcome::SeatsTaken(seats) = applied.outcome else { panic!("{:?}", applied.outcome) };
        seats
    }

    fn enter(&mut self, node: u64) -> bool {
        let share = share(self.seats_max, 2);
        let here = self.nodes.get_mut(&node).unwrap();
        let bound = match here.held {
            Some((held, seats_max)) if seats_max == self.seats_max => held,
            Some(_) => 0,
            None => share,
        };
        let has_one = here.in_use < bound.min(self.seats_max);
        here.in_use += u64::from(has_one);
        has_one
    }

    fn connect(&mut self, node: u64, peer_lives: bool) -> bool {
        if self.enter(node) {
            return true;
        }
        let first = self.ask(node, true, &[]);
        if self.enter(node) {
            return true;
        }
        let peer = 3 - node;
        match (first.holders.is_empty(), peer_lives) {
            (true, _) => {}
            (false, true) => {
                self.ask(peer, false, &[]);
                self.ask(node, true, &[]);
            }
            (false, false) => {
                self.ask(node, true, &[peer]);
            }
        }
        self.enter(node)
    }

    fn open(&self) -> u64 {
        self.nodes.values().map(|here| here.in_use).sum()
    }

    fn rows(&self) -> u32 {
        let mut rows = 0;
        reading::visit::<SeatsRow>(&self.world.rows, &keys::table(keys::SEATS), |_, _| rows += 1).unwrap();
        let tally = reading::get::<SeatsTallyRow>(&self.world.rows, &keys::seats_tally()).unwrap();
        assert_eq!(tally.unwrap_or_default().hosts, rows, "they are counted");
        rows
    }
}

proptest! {
    #[test]
    fn one_gets_in_exactly_while_there_is_a_seat_wherever_it_comes(
        seats_max in 1u64..30,
        steps in prop::collection::vec((1u64..3, 0u8..5), 0..200),
    ) {
        let mut pair = Pair::new(seats_max);
        for (node, what) in steps {
            match what {
                0 => {
                    let here = pair.nodes.get_mut(&node).unwrap();
                    here.in_use = here.in_use.saturating_sub(1);
                }
                // What is used no longer is given back.
                1 => { pair.ask(node, false, &[]); }
                _ => {
                    let open = pair.open();
                    prop_assert_eq!(pair.connect(node, true), open < seats_max, "{} of {}", open, seats_max);
                }
            }
            prop_assert!(pair.open() <= seats_max);
            pair.rows();
        }
    }

    #[test]
    fn a_node_that_died_frees_its_seats_and_one_that_starts_again_keeps_to_what_it_has(
        seats_max in 1u64..30,
        before in prop::collection::vec(1u64..3, 0..40),
        after in 1u64..40,
    ) {
        let mut pair = Pair::new(seats_max);
        for node in &before {
            pair.connect(*node, true);
        }
        pair.nodes.get_mut(&2).unwrap().in_use = 0;
        let there = pair.nodes[&1].in_use;
        let more = (0..after).filter(|_| pair.connect(1, false)).count() as u64;
        prop_assert_eq!(more, after.min(seats_max - there), "all of the dead one's are free");
        // It starts, reads its rows, and clients come to it.
        while pair.connect(2, true) {}
        prop_assert_eq!(pair.open(), seats_max);
    }
}

#[test]
fn a_share_needs_no_commit_and_the_rest_few_and_no_row_is_left_behind() {
    let mut pair = Pair::new(50);
    for _ in 0..24 {
        assert!(pair.enter(1) || pair.enter(2));
    }
    assert_eq!((pair.commits, pair.rows()), (0, 0), "a quarter on each node");
    while pair.connect(1, true) {}
    assert_eq!((pair.open(), pair.rows()), (50, 1));
    assert!(pair.commits <= 15, "{} commits", pair.commits);
    for node in [1, 2] {
        pair.nodes.get_mut(&node).unwrap().in_use = 3;
        pair.ask(node, false, &[]);
    }
    assert_eq!(pair.rows(), 0);
    assert_eq!(pair.nodes[&1].held, None, "each has its share again");
}

#[test]
fn a_bound_that_shrinks_lets_nobody_in_until_there_is_room_again() {
    let mut pair = Pair::new(20);
    (0..20).for_each(|at| assert!(pair.connect(1 + at % 2, true)));
    pair.seats_max = 10;
    assert!(!pair.connect(1, true) && !pair.connect(2, true));
    pair.nodes.values_mut().for_each(|here| here.in_use = 4);
    assert_eq!((0..9).filter(|at| pair.connect(1 + at % 2, true)).count(), 2);
    assert_eq!(pair.open(), 10);
}

#[test]
fn what_a_removed_node_had_is_nobodys() {
    let mut pair = Pair::new(20);
    (0..18).for_each(|_| assert!(pair.connect(2, true)));
    pair.world.done(Command::RemoveReplica { node: NodeId(2) });
    pair.nodes.insert(2, Here::default());
    assert_eq!((0..30).filter(|_| pair.connect(1, false)).count(), 20);
}

#[test]
fn hosts_beyond_the_bound_get_no_row_and_are_counted_by_each_node() {
    let mut pair = Pair::new(4);
    let tally = SeatsTallyRow { hosts: HOSTS_MAX };
    let row = encode_row(&keys::seats_tally(), &tally).unwrap();
    pair.world.rows.0.insert(keys::seats_tally(), row);
    pair.nodes.get_mut(&1).unwrap().in_use = 3;
    assert_eq!(pair.ask(1, true, &[]), Seats { at: pair.world.index, seats: 4, holders: Vec::new() });
    let too_many = (0..=SILENT_MAX as u64).map(NodeId).collect();
    let ask =
        TakeSeats { node: NODE, host: HOST, seats_max: 4, in_use: 0, wants_one: true, silent: too_many };
    assert!(matches!(pair.world.refusal(Command::TakeSeats(Box::new(ask))), Refusal::Invalid(_)));
}
