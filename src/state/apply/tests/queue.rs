//! The outbound queue: enqueued with the acknowledged command, leased, reported under a lease that holds, steered.

use std::collections::BTreeSet;

use super::*;
use crate::mail::ids::{LeaseId, QueueId};
use crate::state::queue::reading::{self as queue, DueThere, Wanted};
use crate::state::queue::*;
use crate::state::{keys, reading};

const NEAR: NodeId = NodeId(1);
const FAR: NodeId = NodeId(2);

fn recipient(address: &str) -> NewRecipient {
    NewRecipient { address: address.into(), orcpt: None, notify: None }
}

fn queued(to: &[&str]) -> NewQueued {
    let of = |address: &&str| (address.rsplit_once('@').unwrap().1.to_owned(), recipient(address));
    NewQueued {
        sender: "alice@example.test".into(),
        account: Some(AccountId(1)),
        near: NEAR,
        envid: None,
        ret: None,
        smtputf8: false,
        parcels: parcels(to.iter().map(of)),
    }
}

fn submit(here: &[AccountId], elsewhere: &[&str], body: PlacedBody) -> Command {
    let Command::Deliver(Deliver { body, to }) = deliver(here, body) else { unreachable!() };
    let queue = (!elsewhere.is_empty()).then(|| queued(elsewhere));
    Command::Submit(Box::new(Submit { body, to, queue }))
}

fn id(message: u64, number: u16) -> ParcelId {
    ParcelId { message: QueueId(message), number }
}

fn lease(lease: u64, node: NodeId, parcels: &[ParcelId]) -> Command {
    Command::LeaseQueued { lease: LeaseId(lease), node, parcels: parcels.to_vec() }
}

fn report(lease: u64, parcel: ParcelId, next: u64, results: Vec<(u16, RecipientResult)>) -> Command {
    let parcel = ParcelReport { parcel, next_attempt: Timestamp(next), results };
    Command::ReportDelivery(Box::new(Report {
        lease: LeaseId(lease),
        parcels: vec![parcel],
        notices: vec![],
    }))
}

fn deferred() -> RecipientResult {
    RecipientResult::Deferred { reply: "450 later".into(), delay_told: false }
}

/// What `node` may take now, as `destination:mail.parcel …`, and when something more will be there.
fn due(world: &World, tried: bool, node: NodeId, full: &[&str]) -> (Vec<String>, Option<u64>) {
    let room = |destination: &str| if full.contains(&destination) { 0 } else { 3 };
    let wanted = Wanted {
        tried,
        now: world.at,
        node,
        others_after_ms: 2_000,
        room: &room,
        leave: &BTreeSet::new(),
        destinations_max: 10,
    };
    let work = queue::due(&world.rows, &wanted).unwrap();
    let shown = |there: &DueThere| {
        let ids = there.parcels.iter().map(|id| format!(" {}.{}", id.message, id.number));
        format!("{}:{}", there.destination, ids.collect::<String>())
    };
    (work.there.iter().map(shown).collect(), work.next.map(|at| at.0))
}

#[test]
fn one_entry_holds_all_recipients_here_and_elsewhere() {
    let (mut world, alice) = World::with_alice();
    let bob = world.add_user("bob", Some(9));
    let elsewhere = ["a@x.test", "b@y.test", "c@x.test"];
    assert_eq!(world.refusal(submit(&[alice, bob], &elsewhere, body(1, 10))), Refusal::OverQuota);
    assert_eq!(
        world.refusal(submit(&[], &elsewhere, PlacedBody { on: vec![], ..body(1, 10) })),
        Refusal::NotPlaced
    );
    assert!(matches!(world.refusal(submit(&[], &[], body(1, 10))), Refusal::Invalid(_)));
    let applied = world.run(submit(&[alice], &elsewhere, body(1, 10)));
    assert!(applied.changes.contains(&Change::Queue));
    let Outcome::Submitted { delivered, queued } = applied.outcome else { panic!() };
    assert_eq!((delivered.len(), queued), (1, Some(QueueId(1))));
    // Catch-up and the keeper of bodies go by references: one for the mailbox, one for the queue.
    assert_eq!(reading::body_references(&world.rows, BodyId([1; 32])).unwrap(), 2);
    assert_eq!(reading::bodies(&world.rows, None, 9).unwrap(), [BodyId([1; 32])]);
    assert_eq!(due(&world, false, NEAR, &[]).0, ["x.test: 1.0", "y.test: 1.1"]);
    let parcel = queue::parcel(&world.rows, id(1, 0)).unwrap().unwrap();
    let addresses: Vec<_> =
        parcel.recipients.iter().map(|(number, it)| (*number, it.address.as_str())).collect();
    assert_eq!(addresses, [(0, "a@x.test"), (1, "c@x.test")]);
    assert_eq!((parcel.mail.size, parcel.mail.parcels, parcel.mail.queued_at), (10, 2, world.at));
}

#[test]
fn what_is_delivered_leaves_the_queue_and_the_last_one_frees_the_body() {
    let (mut world, _) = World::with_alice();
    world.run(submit(&[], &["a@x.test", "c@x.test", "b@y.test"], body(1, 10)));
    let taken = world.outcome(lease(7, NEAR, &[id(1, 0), id(1, 0), id(9, 9), id(1, 1)]));
    assert_eq!(taken, Outcome::Leased { parcels: vec![id(1, 0), id(1, 1)] });
    assert_eq!(due(&world, false, NEAR, &[]), (vec![], None));
    assert_eq!(world.outcome(lease(8, FAR, &[id(1, 0)])), Outcome::Leased { parcels: vec![] });
    assert!(matches!(world.refusal(lease(7, FAR, &[])), Refusal::Exists(_)));
    assert_eq!(
        world.refusal(report(8, id(1, 0), 0, vec![(0, RecipientResult::Over)])),
        Refusal::LeaseChanged
    );
    let next = world.at.0 + 5_000;
    world.done(report(7, id(1, 0), next, vec![(0, RecipientResult::Over), (1, deferred()), (5, deferred())]));
    let left = queue::parcel(&world.rows, id(1, 0)).unwrap().unwrap();
    assert_eq!((left.row.recipients, left.row.attempts, left.row.lease), (1, 1, None));
    assert_eq!(left.recipients[0].1.reply.as_deref(), Some("450 later"));
    assert_eq!(due(&world, true, NEAR, &[]), (vec![], Some(next)));
    world.done(report(7, id(1, 1), 0, vec![(0, RecipientResult::Over)]));
    assert_eq!(queue::leases(&world.rows).unwrap(), [], "the last parcel ends the lease");
    assert_eq!(world.refusal(report(7, id(1, 1), 0, vec![])), Refusal::LeaseChanged);
    assert_eq!(
        world.outcome(lease(9, NEAR, &[id(1, 0)])),
        Outcome::Leased { parcels: vec![] },
        "not yet due"
    );
    world.at = Timestamp(next);
    assert_eq!(due(&world, true, NEAR, &[]).0, ["x.test: 1.0"]);
    world.run(lease(9, NEAR, &[id(1, 0)]));
    let applied = world.run(report(9, id(1, 0), 0, vec![(1, RecipientResult::Over)]));
    assert!(applied.changes.contains(&Change::BodyDropped { body: BodyId([1; 32]) }));
    assert_eq!(queue::mails(&world.rows, None, 9).unwrap(), []);
    assert_eq!(queue::counts(&world.rows).unwrap().messages, 0);
}

#[test]
fn a_lease_that_was_not_renewed_passes_on_and_fences_its_holder() {
    let (mut world, _) = World::with_alice();
    world.run(submit(&[], &["a@x.test"], body(1, 10)));
    world.run(lease(7, NEAR, &[id(1, 0)]));
    let renewals = |world: &World| queue::leases(&world.rows).unwrap()[0].1.renewals;
    let seen = renewals(&world);
    let renew = Command::RenewLeases { leases: vec![LeaseId(7), LeaseId(70)] };
    assert_eq!(world.outcome(renew), Outcome::Renewed { leases: vec![LeaseId(7)] });
    let end = |renewals| Command::EndLease { lease: LeaseId(7), renewals };
    assert_eq!(world.refusal(end(seen)), Refusal::LeaseChanged, "renewed since");
    let seen = renewals(&world);
    assert!(world.run(end(seen)).changes.contains(&Change::Queue));
    assert_eq!(world.outcome(lease(8, FAR, &[id(1, 0)])), Outcome::Leased { parcels: vec![id(1, 0)] });
    let late = report(7, id(1, 0), 0, vec![(0, RecipientResult::Over)]);
    assert_eq!(world.refusal(late), Refusal::LeaseChanged);
    world.done(report(8, id(1, 0), 0, vec![(0, RecipientResult::Over)]));
}

#[test]
fn the_other_node_leaves_a_moment_to_the_one_that_took_the_mail() {
    let (mut world, _) = World::with_alice();
    world.run(submit(&[], &["a@x.test"], body(1, 10)));
    let later = world.at.0 + 2_000;
    assert_eq!(due(&world, false, FAR, &[]), (vec![], Some(later)));
    world.at = Timestamp(later);
    assert_eq!(due(&world, false, FAR, &[]).0, ["x.test: 1.0"]);
}

#[test]
fn a_destination_that_is_full_hides_none_of_the_others() {
    let (mut world, _) = World::with_alice();
    for _ in 0..5 {
        world.run(submit(&[], &["a@dead.test", "b@live.test"], body(1, 10)));
    }
    assert_eq!(due(&world, false, NEAR, &[]).0, ["dead.test: 1.0 2.0 3.0", "live.test: 1.1 2.1 3.1"]);
    assert_eq!(due(&world, false, NEAR, &["dead.test"]).0, ["live.test: 1.1 2.1 3.1"]);
}

#[test]
fn notices_come_with_the_report_or_not_at_all() {
    let (mut world, alice) = World::with_alice();
    world.run(Command::SetQuota { name: "alice".into(), quota_bytes: Some(1) });
    world.run(submit(&[], &["a@x.test"], body(1, 10)));
    world.run(lease(7, NEAR, &[id(1, 0)]));
    let notice = |account, on: Vec<NodeId>| {
        let Command::Submit(submit) = submit(&[account], &[], PlacedBody { on, ..body(2, 10) }) else {
            panic!()
        };
        *submit
    };
    let with = |lease: u64, notices| {
        let results = vec![(0, RecipientResult::Over)];
        let parcels = vec![ParcelReport { parcel: id(1, 0), next_attempt: Timestamp(0), results }];
        Command::ReportDelivery(Box::new(Report { lease: LeaseId(lease), parcels, notices }))
    };
    assert_eq!(world.refusal(with(8, vec![notice(alice, vec![NODE])])), Refusal::LeaseChanged);
    assert_eq!(world.refusal(with(7, vec![notice(alice, vec![])])), Refusal::NotPlaced);
    // A full mailbox takes it; an account that is gone loses its own notice alone.
    world.done(with(7, vec![notice(AccountId(99), vec![NODE]), notice(alice, vec![NODE])]));
    assert_eq!(world.mailbox(alice, "INBOX").messages, 1);
    assert_eq!(reading::bodies(&world.rows, None, 9).unwrap(), [BodyId([2; 32])]);
}

#[test]
fn operators_hold_release_retry_and_remove() {
    let (mut world, _) = World::with_alice();
    world.run(submit(&[], &["a@x.test", "b@y.test"], body(1, 10)));
    let steer = |steering| Command::SteerQueue { messages: vec![QueueId(9), QueueId(1)], steering };
    let steered = Outcome::Steered { messages: vec![QueueId(1)], looked_at: 2 };
    world.run(lease(7, NEAR, &[id(1, 0)]));
    assert_eq!(world.outcome(steer(Steering::Hold)), steered);
    assert_eq!(due(&world, false, NEAR, &[]), (vec![], None));
    let next = world.at.0 + 5_000;
    world.done(report(7, id(1, 0), next, vec![(0, deferred())]));
    world.at = Timestamp(next);
    assert_eq!(due(&world, true, NEAR, &[]), (vec![], None), "held while it was under way");
    assert_eq!(world.outcome(lease(8, NEAR, &[id(1, 0)])), Outcome::Leased { parcels: vec![] });
    assert_eq!(world.outcome(steer(Steering::Release)), steered);
    assert_eq!(due(&world, true, NEAR, &[]).0, ["x.test: 1.0"]);
    world.run(lease(8, NEAR, &[id(1, 0)]));
    world.done(report(8, id(1, 0), next + 9_000, vec![(0, deferred())]));
    assert_eq!(due(&world, true, NEAR, &[]), (vec![], Some(next + 9_000)));
    assert_eq!(world.outcome(steer(Steering::Retry)), steered);
    assert_eq!(due(&world, true, NEAR, &[]).0, ["x.test: 1.0"]);
    world.run(lease(9, NEAR, &[id(1, 0)]));
    assert_eq!(world.outcome(steer(Steering::Remove)), steered);
    assert_eq!(
        (queue::leases(&world.rows).unwrap(), queue::mails(&world.rows, None, 9).unwrap()),
        (vec![], vec![])
    );
    assert_eq!(reading::bodies(&world.rows, None, 9).unwrap(), []);
    assert_eq!(world.refusal(report(9, id(1, 0), 0, vec![])), Refusal::LeaseChanged);
}

#[test]
fn what_a_sender_wants_of_tls_lasts_as_long_as_the_mail_and_holds_for_its_notices() {
    let (mut world, alice) = World::with_alice();
    let notice = |number| Submit { body: body(number, 10), to: vec![], queue: Some(queued(&["n@z.test"])) };
    let accept = |tls| {
        let Command::Submit(mail) = submit(&[alice], &["a@x.test"], body(1, 10)) else { unreachable!() };
        let acceptance = Acceptance { mail: *mail, passed_on: false, notices: vec![notice(2)] };
        Command::AcceptWithTls(Box::new(AcceptanceWithTls { acceptance, tls }))
    };
    let wish =
        |world: &World, message| queue::parcel(&world.rows, id(message, 0)).unwrap().map(|parcel| parcel.tls);
    // The mail and its notice, each time.
    for (first, wanted, of_notice) in [
        (1, TlsWish::Required, TlsWish::Required),
        (3, TlsWish::Waived, TlsWish::Usual),
        (5, TlsWish::Usual, TlsWish::Usual),
    ] {
        assert!(matches!(world.outcome(accept(wanted)), Outcome::Submitted { .. }));
        assert_eq!((wish(&world, first), wish(&world, first + 1)), (Some(wanted), Some(of_notice)));
    }
    for (number, message, of_notice) in [(7, 1, TlsWish::Required), (8, 3, TlsWish::Usual)] {
        world.run(lease(number, NEAR, &[id(message, 0)]));
        let over = vec![(0, RecipientResult::Over)];
        let parcels = vec![ParcelReport { parcel: id(message, 0), next_attempt: world.at, results: over }];
        let report = Report { lease: LeaseId(number), parcels, notices: vec![notice(3)] };
        world.done(Command::ReportDelivery(Box::new(report)));
        assert_eq!((wish(&world, message), wish(&world, number)), (None, Some(of_notice)));
    }
    let left = world.rows.0.keys().filter(|key| key[0] == keys::TLS_WISH).count();
    assert_eq!(left, 2, "of the notices");
}

#[test]
fn each_bound_holds_at_its_last() {
    let (mut world, _) = World::with_alice();
    let to = |count: usize| {
        let recipients = (0..count).map(|n| recipient(&format!("u{n}@x.test")));
        let parcels = parcels(recipients.map(|it| ("x.test".to_owned(), it)));
        let queue = Some(NewQueued { parcels, ..queued(&[]) });
        Command::Submit(Box::new(Submit { body: body(1, 10), to: vec![], queue }))
    };
    assert!(matches!(world.refusal(to(RECIPIENTS_MAX + 1)), Refusal::Limit(_)));
    assert!(matches!(world.outcome(to(RECIPIENTS_MAX)), Outcome::Submitted { .. }));
    let wide = |parcel: NewParcel| {
        let queue = Some(NewQueued { parcels: vec![parcel], ..queued(&[]) });
        Command::Submit(Box::new(Submit { body: body(1, 10), to: vec![], queue }))
    };
    let parcel = |destination: &str, recipients| NewParcel { destination: destination.into(), recipients };
    let many = |count| vec![recipient("a@x.test"); count];
    assert!(matches!(world.refusal(wide(parcel("x", many(101)))), Refusal::Limit(_)));
    assert!(matches!(world.outcome(wide(parcel("x", many(100)))), Outcome::Submitted { .. }));
    let long = "d".repeat(DESTINATION_BYTES_MAX);
    assert!(matches!(world.outcome(wide(parcel(&long, many(1)))), Outcome::Submitted { .. }));
    for bad in ["", "a\0b", &format!("{long}d")] {
        assert!(matches!(world.refusal(wide(parcel(bad, many(1)))), Refusal::Invalid(_)), "{bad:?}");
    }
    let all: Vec<ParcelId> = (0..=PARCELS_PER_LEASE_MAX as u16).map(|number| id(1, number)).collect();
    assert!(matches!(world.refusal(lease(7, NEAR, &all)), Refusal::Limit(_)));
    let taken = world.outcome(lease(7, NEAR, &all[..PARCELS_PER_LEASE_MAX]));
    assert!(matches!(taken, Outcome::Leased { parcels } if parcels.len() == PARCELS_PER_LEASE_MAX));
    // A steering goes on to a second mail only while it has touched few rows.
    let steer = Command::SteerQueue { messages: vec![QueueId(1), QueueId(2)], steering: Steering::Remove };
    let steered = Outcome::Steered { messages: vec![QueueId(1)], looked_at: 1 };
    assert_eq!(world.outcome(steer), steered);
    let reply = "r".repeat(REPLY_BYTES_MAX) + "\u{fc}\r\n";
    world.run(lease(8, NEAR, &[id(2, 0)]));
    world.done(report(8, id(2, 0), 0, vec![(0, RecipientResult::Deferred { reply, delay_told: true })]));
    let kept = queue::parcel(&world.rows, id(2, 0)).unwrap().unwrap().recipients[0].1.clone();
    assert_eq!(kept.reply.map(|reply| reply.len()), Some(REPLY_BYTES_MAX));
    assert!(kept.delay_told);
}

/// What waits for an entry behind all that was committed proposes this (`Local::barrier_command`).
#[test]
fn to_renew_no_lease_changes_nothing() {
    let (mut world, _) = World::with_alice();
    let before = world.visible();
    assert_eq!(
        world.outcome(Command::RenewLeases { leases: Vec::new() }),
        Outcome::Renewed { leases: Vec::new() }
    );
    assert_eq!(world.visible(), before);
}
