//! Alarms as told by several nodes: raised once, mailed once, cleared once.

use super::*;
use crate::state::alarms::{
    ALARMS_MAX, Alarm, AlarmId, AlarmKind, ClearAlarm, NOTE_BYTES_MAX, RaiseAlarm, alarms,
};
use crate::state::queue::Submit;

fn id(kind: AlarmKind, about: u64) -> AlarmId {
    AlarmId { kind, about: Some(NodeId(about)) }
}

fn mail(to: &[AccountId], seed: u8) -> Option<Submit> {
    let Command::Deliver(Deliver { body, to }) = deliver(to, body(seed, 10)) else { unreachable!() };
    Some(Submit { body, to, queue: None })
}

fn raise(alarm: AlarmId, by: u64, mail: Option<Submit>) -> Command {
    Command::RaiseAlarm(Box::new(RaiseAlarm { alarm, by: NodeId(by), note: format!("by {by}"), mail }))
}

fn clear(alarm: AlarmId, mail: Option<Submit>) -> Command {
    Command::ClearAlarm(Box::new(ClearAlarm { alarm, mail }))
}

fn raised(world: &World) -> Vec<Alarm> {
    alarms(&world.rows).unwrap()
}

fn mails(world: &World, account: AccountId) -> usize {
    world.view(world.mailbox(account, "INBOX").id).messages().len()
}

#[test]
fn two_nodes_that_see_the_same_raise_and_mail_it_once() {
    let (mut world, alice) = World::with_alice();
    let alarm = id(AlarmKind::Degraded, 2);
    let since = world.at;
    world.done(raise(alarm, 1, mail(&[alice], 1)));
    world.at.0 += 5;
    world.done(raise(alarm, 3, mail(&[alice], 2)));
    let first = Alarm { id: alarm, since, by: NodeId(1), note: "by 1".into(), mailed: true };
    assert_eq!((raised(&world), mails(&world, alice)), (vec![first], 1));

    world.done(clear(alarm, mail(&[alice], 3)));
    world.done(clear(alarm, mail(&[alice], 4)));
    assert_eq!((raised(&world), mails(&world, alice)), (vec![], 2));
    world.done(raise(alarm, 3, mail(&[alice], 5)));
    assert_eq!((raised(&world)[0].since, mails(&world, alice)), (world.at, 3), "it is another one");
}

#[test]
fn an_alarm_that_could_not_be_mailed_is_mailed_later_and_its_end_only_to_who_heard_of_it() {
    let (mut world, alice) = World::with_alice();
    let alarm = AlarmId { kind: AlarmKind::QueueOld, about: None };
    let since = world.at;
    world.done(raise(alarm, 1, None));
    world.done(clear(alarm, mail(&[alice], 1)));
    assert_eq!((raised(&world), mails(&world, alice)), (vec![], 0), "nobody was told of it");
    world.done(raise(alarm, 1, None));
    world.at.0 += 5;
    world.done(raise(alarm, 2, mail(&[alice], 1)));
    assert_eq!((raised(&world)[0].since, mails(&world, alice)), (since, 1));
}

#[test]
fn a_mail_that_is_not_placed_holds_the_alarm_up_and_one_for_nobody_does_not() {
    let (mut world, alice) = World::with_alice();
    let alarm = id(AlarmKind::DiskNearlyFull, 1);
    let mut unplaced = mail(&[alice], 1);
    unplaced.as_mut().unwrap().body.on.clear();
    assert_eq!(world.refusal(raise(alarm, 1, unplaced.clone())), Refusal::NotPlaced);
    assert_eq!(raised(&world), []);
    world.done(raise(alarm, 1, mail(&[AccountId(99)], 1)));
    assert_eq!(raised(&world).len(), 1);
    assert_eq!(world.refusal(clear(alarm, unplaced)), Refusal::NotPlaced);
    assert_eq!(raised(&world).len(), 1);
}

#[test]
fn alarms_and_their_notes_are_bounded() {
    let mut world = World::new();
    for about in 1..=ALARMS_MAX as u64 {
        world.done(raise(id(AlarmKind::SyncSlow, about), 1, None));
    }
    let further = id(AlarmKind::Degraded, 1);
    assert!(matches!(world.refusal(raise(further, 1, None)), Refusal::Limit(_)));
    world.done(raise(id(AlarmKind::SyncSlow, 7), 1, None));
    world.done(clear(id(AlarmKind::SyncSlow, 7), None));
    let noted = |note: String| {
        Command::RaiseAlarm(Box::new(RaiseAlarm { alarm: further, by: NODE, note, mail: None }))
    };
    for bad in ["x".repeat(NOTE_BYTES_MAX + 1), "a\nb".to_owned()] {
        assert!(matches!(world.refusal(noted(bad)), Refusal::Invalid(_)));
    }
    world.done(noted("x".repeat(NOTE_BYTES_MAX)));
    assert_eq!(raised(&world).len(), ALARMS_MAX);
}
