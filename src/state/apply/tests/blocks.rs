//! Offenses are tolerated as often as was said, and no more; a block ends in its time; there are never too many rows.

use super::*;
use crate::state::blocks::{
    BLOCKS_MAX, Block, Blocks, Host, NOTE_BYTES_MAX, NewBlock, NoteOffense, OFFENDERS_MAX, Offense, Reason,
};
use crate::state::codec::encode_row;
use crate::state::keys;
use crate::state::stored::{BlockRow, BlocksRow, OffenderRow};

const HOST: Host = Host::V4([192, 0, 2, 1]);
const MINUTE_MS: u64 = 60_000;

fn later(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp(at.0 + ms)
}

/// Three are tolerated within a minute; the fourth blocks for two.
fn note(world: &mut World, host: Host, offense: Offense) -> Applied {
    world.run(Command::NoteOffense(Box::new(NoteOffense {
        host,
        offense,
        tolerated: 3,
        forget_at: later(world.at, MINUTE_MS),
        blocked_until: later(world.at, 2 * MINUTE_MS),
    })))
}

fn add(world: &World, host: Host, minutes: u64) -> Command {
    let until = later(world.at, minutes * MINUTE_MS);
    Command::AddBlock(Box::new(NewBlock { host, until, note: "spam".into() }))
}

fn block(world: &World, host: Host) -> Option<Block> {
    Blocks::load(&world.rows).unwrap().of(host, world.at).cloned()
}

/// Rows that there are, and those that are counted.
fn rows(world: &World) -> (u32, u32) {
    let (mut blocks, mut offenders) = (0, 0);
    reading::visit::<BlockRow>(&world.rows, &keys::table(keys::BLOCK), |_, _| blocks += 1).unwrap();
    reading::visit::<OffenderRow>(&world.rows, &keys::table(keys::OFFENDER), |_, _| offenders += 1).unwrap();
    let tally = reading::get::<BlocksRow>(&world.rows, &keys::blocks()).unwrap().unwrap_or_default();
    assert_eq!((tally.blocks, tally.offenders), (blocks, offenders), "they are counted");
    (blocks, offenders)
}

#[test]
fn n_are_tolerated_and_the_next_one_blocks_until_its_time_is_over() {
    for offense in Offense::ALL {
        let mut world = World::new();
        for time in 1..=3 {
            let applied = note(&mut world, HOST, offense);
            assert_eq!((applied.outcome, applied.changes.len()), (Outcome::Done, 0), "time {time}");
            assert_eq!(block(&world, HOST), None);
            world.at.0 += 1_000;
        }
        assert_eq!(note(&mut world, HOST, offense).changes, [Change::Blocks]);
        let (since, until) = (world.at, later(world.at, 2 * MINUTE_MS));
        assert_eq!(block(&world, HOST), Some(Block { since, until, reason: Reason::of(offense) }));
        assert_eq!(block(&world, Host::V4([192, 0, 2, 2])), None, "another host");
        assert_eq!(rows(&world), (1, 0));
        world.at = Timestamp(until.0 - 1);
        assert!(block(&world, HOST).is_some());
        world.at = until;
        assert_eq!(block(&world, HOST), None);
    }
}

#[test]
fn what_was_done_is_forgotten_in_its_time_and_each_offense_has_a_count_of_its_own() {
    let mut world = World::new();
    for _ in 0..3 {
        note(&mut world, HOST, Offense::FailedLogin);
        note(&mut world, HOST, Offense::UnknownRecipient);
    }
    assert_eq!((block(&world, HOST), rows(&world)), (None, (0, 2)));
    world.at.0 += MINUTE_MS;
    note(&mut world, HOST, Offense::FailedLogin);
    assert_eq!(block(&world, HOST), None, "the first of another minute");
    world.at.0 -= 1;
    note(&mut world, HOST, Offense::UnknownRecipient);
    assert!(block(&world, HOST).is_some(), "the fourth within one");
}

#[test]
fn an_operator_blocks_and_clears_and_a_longer_block_is_not_cut_short() {
    let mut world = World::new();
    let command = add(&world, HOST, 60);
    world.done(command);
    assert_eq!(block(&world, HOST).unwrap().reason.text(), "spam");
    for _ in 0..4 {
        note(&mut world, HOST, Offense::FailedLogin);
    }
    assert_eq!(block(&world, HOST).unwrap().until, later(world.at, 60 * MINUTE_MS));
    let command = add(&world, HOST, 1);
    world.done(command);
    assert_eq!(block(&world, HOST).unwrap().until, later(world.at, MINUTE_MS), "an operator's word counts");
    note(&mut world, HOST, Offense::UnknownRecipient);
    assert_eq!(world.run(Command::ClearBlocks { host: Some(HOST) }).changes, [Change::Blocks]);
    assert_eq!((block(&world, HOST), rows(&world)), (None, (0, 0)), "what it did is forgotten, too");
    for host in 0..5 {
        let command = add(&world, Host::V4([10, 0, 0, host]), 1);
        world.done(command);
    }
    world.done(Command::ClearBlocks { host: None });
    assert_eq!(rows(&world), (0, 0));
    for note in ["x".repeat(NOTE_BYTES_MAX + 1), "a\nb".into()] {
        let new = NewBlock { host: HOST, until: later(world.at, 1), note };
        assert!(matches!(world.refusal(Command::AddBlock(Box::new(new))), Refusal::Invalid(_)));
    }
    let new = NewBlock { host: HOST, until: later(world.at, 1), note: "x".repeat(NOTE_BYTES_MAX) };
    world.done(Command::AddBlock(Box::new(new)));
}

/// Puts so many rows that the next one finds no room.
fn fill(world: &mut World, (blocks, offenders): (u32, u32), reason: &Reason) {
    let host = |at: u32| Host::V4(at.to_be_bytes());
    for at in 0..blocks {
        let row =
            BlockRow { since: world.at, until: later(world.at, u64::from(at) + 10), reason: reason.clone() };
        let key = keys::block(host(at));
        world.rows.0.insert(key.clone(), encode_row(&key, &row).unwrap());
    }
    for at in 0..offenders {
        let key = keys::offender(Offense::FailedLogin, host(at));
        let row = OffenderRow { count: 1, forget_at: later(world.at, MINUTE_MS) };
        world.rows.0.insert(key.clone(), encode_row(&key, &row).unwrap());
    }
    let tally = BlocksRow { blocks, offenders, swept_to: Vec::new() };
    world.rows.0.insert(keys::blocks(), encode_row(&keys::blocks(), &tally).unwrap());
}

#[test]
fn one_block_more_than_fit_ends_the_one_that_ends_first_and_no_operators() {
    let mut world = World::new();
    fill(&mut world, (BLOCKS_MAX, 0), &Reason::FailedLogins);
    for _ in 0..4 {
        note(&mut world, HOST, Offense::FailedLogin);
    }
    assert_eq!(rows(&world), (BLOCKS_MAX, 0));
    assert!(block(&world, HOST).is_some());
    assert_eq!(block(&world, Host::V4([0; 4])), None, "the first to end");
    world.at.0 += 15;
    let command = add(&world, Host::V4([9; 4]), 1);
    world.done(command);
    assert_eq!(rows(&world), (BLOCKS_MAX - 5 + 1, 0), "those that were over are gone");

    fill(&mut world, (BLOCKS_MAX, 0), &Reason::Operator(String::new()));
    let new = Host::V4([203, 0, 113, 1]);
    let command = add(&world, new, 1);
    world.rows.0.remove(&keys::block(HOST));
    world.rows.0.remove(&keys::block(Host::V4([9; 4])));
    assert!(matches!(world.refusal(command), Refusal::Limit(_)));
    for _ in 0..4 {
        assert_eq!(note(&mut world, new, Offense::FailedLogin).outcome, Outcome::Done);
    }
    assert_eq!((block(&world, new), rows(&world)), (None, (BLOCKS_MAX, 0)));
}

#[test]
fn one_count_more_than_fit_is_counted_in_anothers_place_and_old_ones_go_first() {
    let mut world = World::new();
    fill(&mut world, (0, OFFENDERS_MAX), &Reason::FailedLogins);
    for _ in 0..4 {
        note(&mut world, HOST, Offense::FailedLogin);
    }
    assert!(block(&world, HOST).is_some());
    assert_eq!(rows(&world), (1, OFFENDERS_MAX - 1));
    world.at.0 += MINUTE_MS;
    for host in 0..100 {
        note(&mut world, Host::V4([198, 51, 100, host]), Offense::FailedLogin);
    }
    let (_, offenders) = rows(&world);
    assert_eq!(offenders, OFFENDERS_MAX - 1 - 4 * 100 + 100, "each new one finds four that are over");
}
