//! Greylisting: who waits, who passes, what is forgotten and when.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::state::apply::greylist::EXPIRED_PER_TRY;
use crate::state::codec::encode_row;
use crate::state::greylist::reading::look;
use crate::state::greylist::{
    CLIENTS_MAX, COUNT_EVERY_MS, ClientNet, Decision, GreyTerms, GreyTry, RENEW_EVERY_MS, TRIPLETS_MAX,
    TripletId,
};
use crate::state::keys::{self, GreyKind};
use crate::state::stored::{GreyClientRow, GreyEndRow, GreyTallyRow, GreyTripletRow};

const DELAY_MS: u64 = 300_000;
const WINDOW_MS: u64 = 172_800_000;
const LIFETIME_MS: u64 = 3_024_000_000;
const TERMS: GreyTerms =
    GreyTerms { delay_ms: DELAY_MS, retry_window_ms: WINDOW_MS, lifetime_ms: LIFETIME_MS, client_passes: 3 };

fn triplet(number: u32) -> TripletId {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    TripletId(id)
}

fn net(number: u32) -> ClientNet {
    let [_, a, b, c] = number.to_be_bytes();
    ClientNet::V4([a, b, c])
}

fn attempt(client: u32, number: u32) -> GreyTry {
    GreyTry { client: net(client), triplet: triplet(number), terms: TERMS }
}

impl World {
    /// What is still to wait; `None`: it passes.
    fn tries(&mut self, wanted: &GreyTry) -> Option<u64> {
        match self.outcome(Command::Greylist(Box::new(wanted.clone()))) {
            Outcome::Greylisted { left_ms } => Some(left_ms),
            Outcome::Done => None,
            other => panic!("{other:?}"),
        }
    }

    fn later(&mut self, ms: u64) {
        self.at.0 += ms;
    }

    fn sees(&self, wanted: &GreyTry) -> Decision {
        look(&self.rows, wanted, self.at).unwrap()
    }

    fn put<R: crate::state::codec::Record>(&mut self, key: Vec<u8>, row: &R) {
        let bytes = encode_row(&key, row).unwrap();
        self.rows.0.insert(key, bytes);
    }

    /// A triplet as apply leaves it, without its command.
    fn remember(&mut self, number: u32, passed: bool, expires: Timestamp) {
        let id = triplet(number);
        let kind = if passed { GreyKind::Passed } else { GreyKind::Waiting };
        self.put(keys::grey_triplet(id), &GreyTripletRow { first: self.at, passed, expires });
        self.put(keys::grey_end(kind, expires, &id.0), &GreyEndRow {});
    }
}

/// Each row has its end, each end its row, and the tally counts them. How many triplets and clients there are.
pub fn check(rows: &MemoryRows) -> (usize, usize) {
    let mut ends: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let all = |table| rows.0.range(vec![table]..vec![table + 1]);
    for (key, bytes) in all(keys::GREY_TRIPLET) {
        let row: GreyTripletRow = crate::state::codec::decode_row(key, bytes).unwrap();
        let kind = if row.passed { GreyKind::Passed } else { GreyKind::Waiting };
        ends.insert(keys::grey_end(kind, row.expires, &key[1..]), key.clone());
    }
    let triplets = ends.len();
    for (key, bytes) in all(keys::GREY_CLIENT) {
        let row: GreyClientRow = crate::state::codec::decode_row(key, bytes).unwrap();
        ends.insert(keys::grey_end(GreyKind::Client, row.expires, &key[1..]), key.clone());
    }
    let clients = ends.len() - triplets;
    assert!(ends.keys().eq(all(keys::GREY_END).map(|(key, _)| key)), "rows and their ends");
    let tally: GreyTallyRow = reading::get(rows, &keys::grey_tally()).unwrap().unwrap_or_default();
    assert_eq!((tally.triplets as usize, tally.clients as usize), (triplets, clients));
    (triplets, clients)
}

#[test]
fn a_stranger_waits_once_and_passes_from_then_on() {
    let mut world = World::new();
    let one = attempt(1, 1);
    assert_eq!(world.tries(&one), Some(DELAY_MS));
    world.later(1);
    assert_eq!(world.tries(&one), Some(DELAY_MS - 1));
    assert_eq!(world.sees(&one), Decision::TooEarly { left_ms: DELAY_MS - 1 }, "so that nothing is proposed");
    world.later(DELAY_MS - 1);
    assert_eq!(world.sees(&one), Decision::FirstPass);
    assert_eq!(world.tries(&one), None);
    assert_eq!(world.sees(&one), Decision::Known { renew: false });
    world.later(WINDOW_MS);
    assert_eq!(world.tries(&one), None, "the window is for the first pass alone");
    assert_eq!(world.tries(&attempt(1, 2)), Some(DELAY_MS), "another triplet is another story");
    assert_eq!(check(&world.rows), (2, 1));
}

#[test]
fn whoever_comes_back_too_late_is_a_stranger_again() {
    let mut world = World::new();
    let one = attempt(1, 1);
    assert_eq!(world.tries(&one), Some(DELAY_MS));
    world.later(WINDOW_MS - 1);
    assert_eq!(world.sees(&one), Decision::FirstPass);
    world.later(1);
    assert_eq!(world.tries(&one), Some(DELAY_MS));
    assert_eq!(check(&world.rows), (1, 0));
}

#[test]
fn use_once_a_day_keeps_it_and_a_lifetime_without_ends_it() {
    let mut world = World::new();
    let one = attempt(1, 1);
    world.tries(&one);
    world.later(DELAY_MS);
    assert_eq!(world.tries(&one), None);
    for _ in 0..100 {
        world.later(RENEW_EVERY_MS);
        assert_eq!(world.sees(&one), Decision::Known { renew: true });
        assert_eq!(world.tries(&one), None);
        assert_eq!(world.sees(&one), Decision::Known { renew: false });
    }
    world.later(LIFETIME_MS - 1);
    assert_eq!(world.sees(&one), Decision::Known { renew: true });
    world.later(1);
    assert_eq!(world.tries(&one), Some(DELAY_MS));
    assert_eq!(check(&world.rows), (1, 0), "the client is forgotten as well");
}

#[test]
fn after_some_passes_a_network_is_let_through_and_one_run_of_retries_is_one_pass() {
    let mut world = World::new();
    for round in 0..3 {
        let many: Vec<GreyTry> = (0..10).map(|at| attempt(7, round * 10 + at)).collect();
        many.iter().for_each(|one| assert_eq!(world.tries(one), Some(DELAY_MS), "round {round}"));
        world.later(DELAY_MS);
        many.iter().for_each(|one| assert_eq!(world.tries(one), None));
        world.later(COUNT_EVERY_MS - DELAY_MS);
    }
    let new = attempt(7, 99);
    assert_eq!(world.sees(&new), Decision::KnownClient { renew: false });
    assert_eq!(world.tries(&new), None);
    assert_eq!(check(&world.rows), (30, 1), "and leaves nothing behind");
    assert_eq!(world.tries(&attempt(8, 100)), Some(DELAY_MS), "its neighbour is not");
    world.later(RENEW_EVERY_MS);
    assert_eq!(world.sees(&new), Decision::KnownClient { renew: true });
    assert_eq!(world.tries(&new), None);
    assert_eq!(world.sees(&new), Decision::KnownClient { renew: false });
    world.later(LIFETIME_MS);
    assert_eq!(world.tries(&new), Some(DELAY_MS));
}

#[test]
fn a_setting_of_no_passes_lets_no_network_through() {
    let mut world = World::new();
    let never = GreyTerms { client_passes: 0, ..TERMS };
    for number in 0..5 {
        let one = GreyTry { terms: never, ..attempt(1, number) };
        assert_eq!(world.tries(&one), Some(DELAY_MS));
        world.later(COUNT_EVERY_MS);
        assert_eq!(world.tries(&one), None);
    }
    assert_eq!(check(&world.rows), (5, 0));
}

#[test]
fn what_has_expired_goes_a_few_at_a_time() {
    let mut world = World::new();
    let count = EXPIRED_PER_TRY as u32 * 2 + 1;
    (0..count).for_each(|number| assert_eq!(world.tries(&attempt(1, number)), Some(DELAY_MS)));
    world.later(WINDOW_MS);
    for left in [EXPIRED_PER_TRY + 1, 1, 0, 0] {
        world.tries(&attempt(1, 1_000));
        assert_eq!(check(&world.rows).0, left + 1);
    }
}

#[test]
fn at_the_bound_those_go_first_that_never_came_back() {
    let mut world = World::new();
    // Before a new one does.
    let soon = Timestamp(world.at.0 + WINDOW_MS - 10);
    let late = Timestamp(world.at.0 + LIFETIME_MS);
    let waiting = 3;
    for number in 0..TRIPLETS_MAX {
        let is_waiting = number < waiting;
        let expires = if is_waiting { Timestamp(soon.0 + u64::from(number)) } else { late };
        world.remember(number, !is_waiting, expires);
    }
    world.put(keys::grey_tally(), &GreyTallyRow { triplets: TRIPLETS_MAX, clients: 0 });
    check(&world.rows);
    let is_there = |world: &World, number| world.rows.0.contains_key(&keys::grey_triplet(triplet(number)));
    let newer = |at| attempt(1, TRIPLETS_MAX + at);
    // A new one for the oldest that waits, then for each other one, and then for itself.
    for at in 0..waiting {
        assert!(is_there(&world, at));
        assert_eq!(world.tries(&newer(at)), Some(DELAY_MS));
        assert!(!is_there(&world, at) && is_there(&world, TRIPLETS_MAX + at));
    }
    world.tries(&newer(waiting));
    assert!(!is_there(&world, TRIPLETS_MAX), "a new one that waits, before any that passed");
    assert_eq!(check(&world.rows).0, TRIPLETS_MAX as usize);
    // Where none waits any more, those that passed go, the one that would be forgotten first before others.
    world.later(DELAY_MS);
    for at in 1..=waiting {
        assert_eq!(world.tries(&newer(at)), None);
    }
    assert!(is_there(&world, waiting));
    world.tries(&newer(waiting + 1));
    assert!(!is_there(&world, waiting) && is_there(&world, waiting + 1));
    assert_eq!(check(&world.rows).0, TRIPLETS_MAX as usize);
}

#[test]
fn at_the_bound_of_networks_the_one_goes_that_would_be_forgotten_first() {
    let mut world = World::new();
    for number in 0..CLIENTS_MAX {
        let expires = Timestamp(world.at.0 + LIFETIME_MS / 2 + u64::from(number));
        world.put(keys::grey_client(net(number)), &GreyClientRow { passes: 1, counted: world.at, expires });
        world.put(keys::grey_end(GreyKind::Client, expires, &keys::grey_net(net(number))), &GreyEndRow {});
    }
    world.put(keys::grey_tally(), &GreyTallyRow { triplets: 0, clients: CLIENTS_MAX });
    let one = attempt(CLIENTS_MAX, 1);
    world.tries(&one);
    assert_eq!(check(&world.rows), (1, CLIENTS_MAX as usize), "a try counts for nothing yet");
    world.later(DELAY_MS);
    assert_eq!(world.tries(&one), None);
    assert_eq!(check(&world.rows), (1, CLIENTS_MAX as usize));
    let is_there = |number| world.rows.0.contains_key(&keys::grey_client(net(number)));
    assert!(!is_there(0) && is_there(1) && is_there(CLIENTS_MAX));
}

proptest! {
    /// Whatever the times and terms: rows, ends and counts agree, a look tells what apply does, and nobody who passes is
    /// told to wait by the same clock a moment later.
    #[test]
    fn rows_and_counts_agree_and_a_look_foretells(
        tries in prop::collection::vec((0u32..3, 0u32..5, 0u64..2_000, 0u32..3, any::<bool>()), 1..60)
    ) {
        let mut world = World::new();
        for (client, number, ms, client_passes, back) in tries {
            // Another node's clock may be behind.
            world.at.0 = if back { world.at.0 - ms / 4 } else { world.at.0 + ms };
            let terms = GreyTerms { delay_ms: 500, retry_window_ms: 3_000, lifetime_ms: 5_000, client_passes };
            let one = GreyTry { terms, ..attempt(client, number) };
            let foretold = world.sees(&one);
            let waits = world.tries(&one);
            match foretold {
                Decision::First => prop_assert_eq!(waits, Some(500)),
                Decision::TooEarly { left_ms } => prop_assert_eq!(waits, Some(left_ms)),
                Decision::FirstPass | Decision::Known { .. } | Decision::KnownClient { .. } => {
                    prop_assert_eq!(waits, None);
                    prop_assert_eq!(world.tries(&one), None);
                }
            }
            check(&world.rows);
        }
    }
}
