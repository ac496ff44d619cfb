//! What it costs to keep the digests, beside what applying costs. Not judged: `cargo test -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use crate::mail::ids::{AccountId, BodyId, CommandId, LogIndex, NodeId, Timestamp};
use crate::state::apply::{Overlay, apply};
use crate::state::command::{Command, Deliver, DeliverTo, NewUser, PlacedBody, Proposal};
use crate::state::digest;
use crate::store::tables::Tables;

const DELIVERIES: u64 = 2_000;

/// How long so many deliveries take to be applied and written, `each` to a batch.
fn took(each: usize, keep: bool) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let user = NewUser { name: "alice".into(), password_phc: "$x".into(), quota_bytes: None };
    let deliver = |seed: u64| {
        let id = BodyId::of(&seed.to_be_bytes());
        let body = PlacedBody { id, size: 4_096, on: vec![NodeId(1)] };
        let to = vec![DeliverTo { account: AccountId(1), mailbox: String::new(), flags: Default::default() }];
        Command::Deliver(Deliver { body, to })
    };
    let commands = std::iter::once(Command::AddUser(user)).chain((0..DELIVERIES).map(deliver));
    let proposals: Vec<Proposal> = (1u64..)
        .zip(commands)
        .map(|(at, command)| Proposal {
            id: CommandId(at.into()),
            base: LogIndex(at - 1),
            at: Timestamp(1_700_000_000_000 + at),
            command,
        })
        .collect();
    let (began, mut index) = (Instant::now(), 0);
    for some in proposals.chunks(each) {
        let mut overlay = Overlay::new();
        for proposal in some {
            index += 1;
            apply(&tables, &mut overlay, LogIndex(index), proposal).unwrap();
        }
        let mut batch = overlay.into_batch();
        if keep {
            digest::keep(&tables, &mut batch, LogIndex(index)).unwrap();
        }
        tables.write(batch).unwrap();
    }
    began.elapsed()
}

#[test]
#[ignore = "it measures, and judges nothing"]
fn the_cost_of_keeping_digests() {
    for each in [1, 8, 64] {
        // The better of three, in turn: the machine is never quiet.
        let best = |keep| (0..3).map(|_| took(each, keep)).min().unwrap();
        let (without, with) = (best(false), best(true));
        let percent = with.as_secs_f64() * 100.0 / without.as_secs_f64() - 100.0;
        let us = |took: Duration| took.as_secs_f64() * 1e6 / DELIVERIES as f64;
        println!(
            "{each} to a batch: {:.1} us, with digests {:.1} us: {percent:+.1} %",
            us(without),
            us(with)
        );
    }
}
