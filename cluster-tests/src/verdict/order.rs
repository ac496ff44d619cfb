//! Is there one order of all calls about a message that explains what each client saw?
//!
//! Searched as Wing and Gong do (1993), with what is documented instead of plain linearizability. Writes have one
//! order, that of the log, which keeps real time whichever node was asked. A read tells what its node had applied: at
//! least all that this node's process had acknowledged or shown before the read began, all that any node had before the login of
//! its session was asked for, and nothing that was asked later. Else reads on different nodes are not ordered by time: a node may
//! be behind.

use std::collections::{BTreeMap, HashSet};

use super::{Rule, Tally, Violation};
use crate::checker::Contents;
use crate::clients::changed;
use crate::history::{Call, Change, End, Flags, Host, Key, Op, Row, Seen};

/// States visited for one message before the search is given up (and said so).
const STATES_MAX: usize = 200_000;

/// `None`: not there.
type State = Option<Flags>;

#[derive(Debug, Clone, PartialEq)]
enum Act {
    Make(Flags),
    Change(Change, Flags),
    /// Takes effect if \Deleted is set.
    Expunge,
    /// Takes effect.
    Remove,
    See(State),
}

#[derive(Debug, Clone)]
struct Event {
    act: Act,
    /// See [`Call::current_us`].
    current_us: u64,
    began_us: u64,
    /// `u64::MAX`: it may take effect at any later time.
    ended_us: u64,
    /// It may also never have taken effect.
    perhaps: bool,
    /// `None`: read at the end from a node that has everything.
    host: Option<Host>,
}

pub fn judge(calls: &[Call], shown: &[(String, Contents)], wrong: &mut Vec<Violation>, tally: &mut Tally) {
    let mut histories: BTreeMap<Key, Vec<Event>> = BTreeMap::new();
    for call in calls {
        gather(call, &mut histories);
    }
    // What only readers saw has no known maker (it came by SMTP).
    histories.retain(|_, events| events.iter().any(|event| matches!(event.act, Act::Make(_))));
    add_ends(shown, &mut histories);
    for (key, events) in &histories {
        tally.orders += 1;
        match explain(events, STATES_MAX) {
            Found::Order => {}
            Found::None => wrong.push(Violation::new(Rule::Order, format!("{key:?}: {}", tell(events)))),
            Found::TooMany => {
                let what = format!("{key:?}: {} calls, {STATES_MAX} states", events.len());
                wrong.push(Violation::new(Rule::Undecided, what));
            }
        }
    }
}

fn gather(call: &Call, histories: &mut BTreeMap<Key, Vec<Event>>) {
    let (unknown, answer) = match &call.end {
        End::Ok(seen) => (false, Some(seen)),
        End::Unknown(_) => (true, None),
        End::Refused(_) => return,
    };
    let mut add = |key: Key, act: Act, perhaps: bool| {
        let ended_us = if unknown { u64::MAX } else { call.ended_us };
        let host = Some(call.host.clone());
        histories.entry(key).or_default().push(Event {
            act,
            current_us: call.current_us,
            began_us: call.began_us,
            ended_us,
            perhaps,
            host,
        });
    };
    let made = |user: &str| match answer {
        Some(Seen::At { validity, uid }) => {
            Some(Key { user: user.to_string(), validity: *validity, uid: *uid })
        }
        _ => None,
    };
    match &call.op {
        Op::Append { user, flags, .. } => {
            made(user).into_iter().for_each(|key| add(key, Act::Make(flags.clone()), false));
        }
        Op::Copy { key, flags, .. } => {
            made(&key.user).into_iter().for_each(|key| add(key, Act::Make(flags.clone()), false));
        }
        Op::Move { key, flags, .. } => {
            made(&key.user).into_iter().for_each(|key| add(key, Act::Make(flags.clone()), false));
            add(key.clone(), Act::Remove, unknown);
        }
        // A STORE that named no message did nothing, or the message went before the answer was written.
        Op::Store { key, change, flags, .. } => {
            let perhaps = answer != Some(&Seen::Changed);
            add(key.clone(), Act::Change(*change, flags.clone()), perhaps);
        }
        // So does an EXPUNGE that told of none.
        Op::Expunge { key, .. } => add(key.clone(), Act::Expunge, answer != Some(&Seen::Changed)),
        Op::Look { key } => {
            if let Some(Seen::Message(row)) = answer {
                add(key.clone(), Act::See(row.as_ref().map(|row| row.flags.clone())), false);
            }
        }
        Op::Tail { user, .. } => {
            if let Some(Seen::Mailbox { numbers, rows }) = answer {
                for Row { uid, flags, .. } in rows {
                    let key = Key { user: user.clone(), validity: numbers.validity, uid: *uid };
                    add(key, Act::See(Some(flags.clone())), false);
                }
            }
        }
        // Whole mailboxes go by themselves only when nobody else looks into them.
        Op::Deliver { .. }
        | Op::Create { .. }
        | Op::Rename { .. }
        | Op::Delete { .. }
        | Op::Name { .. }
        | Op::Set { .. }
        | Op::Get { .. }
        | Op::Drop { .. }
        | Op::Retrieve { .. } => {}
    }
}

/// What each node shows at the end comes after everything that was answered.
fn add_ends(shown: &[(String, Contents)], histories: &mut BTreeMap<Key, Vec<Event>>) {
    for (_, contents) in shown {
        let mut states: BTreeMap<Key, Flags> = BTreeMap::new();
        let mut validities = HashSet::new();
        for ((user, _), mailbox) in contents {
            let validity = mailbox.selected.uid_validity;
            validities.insert((user.clone(), validity));
            for message in &mailbox.messages {
                let key = Key { user: user.clone(), validity, uid: message.uid };
                states.insert(key, message.flags.clone());
            }
        }
        for (key, events) in histories.iter_mut() {
            // A mailbox that was deleted takes its messages along: that is judged elsewhere.
            if validities.contains(&(key.user.clone(), key.validity)) {
                let act = Act::See(states.get(key).cloned());
                let (began_us, ended_us) = (u64::MAX, u64::MAX);
                events.push(Event { act, current_us: 0, began_us, ended_us, perhaps: false, host: None });
            }
        }
    }
}

enum Found {
    Order,
    None,
    TooMany,
}

/// Depth first over what may come next, remembering where it has been.
fn explain(events: &[Event], states_max: usize) -> Found {
    let before: Vec<Vec<usize>> = (0..events.len())
        .map(|at| (0..events.len()).filter(|other| must_precede(&events[*other], &events[at])).collect())
        .collect();
    let mut visited: HashSet<(Vec<bool>, State)> = HashSet::new();
    let mut open = vec![(vec![false; events.len()], None::<Flags>)];
    while let Some((mut done, state)) = open.pop() {
        take_reads(events, &before, &mut done, &state);
        if events.iter().zip(&done).all(|(event, done)| *done || event.perhaps) {
            return Found::Order;
        }
        if visited.len() >= states_max {
            return Found::TooMany;
        }
        if !visited.insert((done.clone(), state.clone())) {
            continue;
        }
        for at in 0..events.len() {
            let ready = !done[at] && before[at].iter().all(|other| done[*other] || events[*other].perhaps);
            // What was passed over as never having been is not taken later.
            let passed = (0..events.len()).any(|other| done[other] && before[other].contains(&at));
            let next = if ready && !passed { after(&state, &events[at].act) } else { None };
            let Some(next) = next else { continue };
            let mut done = done.clone();
            done[at] = true;
            open.push((done, next));
        }
    }
    Found::None
}

/// A read that fits changes nothing: to take it at once is never wrong.
fn take_reads(events: &[Event], before: &[Vec<usize>], done: &mut [bool], state: &State) {
    let mut took = true;
    while took {
        took = false;
        for at in 0..events.len() {
            let fits = matches!(&events[at].act, Act::See(seen) if seen == state);
            let ready = before[at].iter().all(|other| done[*other] || events[*other].perhaps);
            if fits && !done[at] && ready {
                done[at] = true;
                took = true;
            }
        }
    }
}

/// The state after a write; `None` when it cannot be next.
fn after(state: &State, act: &Act) -> Option<State> {
    match (act, state) {
        (Act::See(_), _) => None,
        (Act::Make(flags), None) => Some(Some(flags.clone())),
        (Act::Make(_), Some(_)) => None,
        (Act::Change(change, flags), Some(now)) => Some(Some(changed(now, *change, flags))),
        (Act::Remove, Some(_)) => Some(None),
        // Neither finds a message that is not there.
        (Act::Change(..) | Act::Remove, None) => None,
        (Act::Expunge, Some(now)) if now.iter().any(|flag| flag == "\\Deleted") => Some(None),
        (Act::Expunge, state) => Some((*state).clone()),
    }
}

/// The order in time that the documentation promises.
fn must_precede(first: &Event, then: &Event) -> bool {
    if then.host.is_none() {
        return first.host.is_some() && first.ended_us != u64::MAX;
    }
    let apart = first.ended_us < then.began_us;
    // What a read of one node shows says nothing of what another shows later, but to who logs in there.
    let is_heard = first.host == then.host || first.ended_us < then.current_us;
    apart && (!matches!(then.act, Act::See(_)) || is_heard)
}

/// The calls, shortly, for whoever has to find out.
fn tell(events: &[Event]) -> String {
    let mut events: Vec<&Event> = events.iter().collect();
    events.sort_by_key(|event| event.began_us);
    let line = |event: &&Event| {
        let host = event.host.as_ref().map_or("end".into(), |host| format!("{}.{}", host.node, host.life));
        let sure = if event.perhaps { "?" } else { "" };
        let span = match (event.began_us, event.ended_us) {
            (u64::MAX, _) => String::new(),
            (began, u64::MAX) => format!("{began}-"),
            (began, ended) => format!("{began}-{ended}"),
        };
        format!("\n    {span} {host} {:?}{sure}", event.act)
    };
    events.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(act: Act, node: &str, began_us: u64, ended_us: u64) -> Event {
        let host = Some(Host { node: node.to_string(), life: 0 });
        Event { act, current_us: 0, began_us, ended_us, perhaps: false, host }
    }

    fn make(began_us: u64, ended_us: u64) -> Event {
        event(Act::Make(vec![]), "a", began_us, ended_us)
    }

    fn add(flag: &str, node: &str, began_us: u64, ended_us: u64) -> Event {
        event(Act::Change(Change::Add, vec![flag.to_string()]), node, began_us, ended_us)
    }

    fn see(flags: Option<&[&str]>, node: &str, began_us: u64, ended_us: u64) -> Event {
        let state = flags.map(|flags| flags.iter().map(|flag| (*flag).to_string()).collect());
        event(Act::See(state), node, began_us, ended_us)
    }

    fn holds(events: &[Event]) -> bool {
        matches!(explain(events, STATES_MAX), Found::Order)
    }

    #[test]
    fn a_write_shows_on_the_node_that_acknowledged_it() {
        let written = [make(0, 1), add("x", "a", 2, 3)];
        assert!(holds(&[&written[..], &[see(Some(&["x"]), "a", 4, 5)]].concat()));
        assert!(!holds(&[&written[..], &[see(Some(&[]), "a", 4, 5)]].concat()), "lost on its own node");
        assert!(holds(&[&written[..], &[see(Some(&[]), "b", 4, 5)]].concat()), "the other may be behind");
        assert!(holds(&[&written[..], &[see(None, "b", 4, 5)]].concat()), "far behind");
    }

    #[test]
    fn a_login_on_the_other_node_shows_what_was_acknowledged_or_shown_before() {
        let written = [make(0, 1), add("x", "a", 2, 3)];
        let login = |at: u64, seen: Event| Event { current_us: at, ..seen };
        let with = |seen: Event| holds(&[&written[..], &[seen]].concat());
        assert!(with(login(4, see(Some(&["x"]), "b", 6, 7))));
        assert!(!with(login(4, see(Some(&[]), "b", 6, 7))), "acknowledged before the login");
        assert!(!with(login(4, see(None, "b", 6, 7))), "acknowledged before the login");
        assert!(with(login(3, see(Some(&[]), "b", 6, 7))), "acknowledged while it logged in");
        let perhaps = [make(0, 1), Event { perhaps: true, ended_us: u64::MAX, ..add("x", "a", 2, 3) }];
        let shown = see(Some(&["x"]), "a", 4, 5);
        let behind = see(Some(&[]), "b", 8, 9);
        assert!(holds(&[&perhaps[..], &[shown.clone(), behind.clone()]].concat()));
        assert!(!holds(&[&perhaps[..], &[shown, login(6, behind)]].concat()), "shown before the login");
    }

    #[test]
    fn no_node_goes_back() {
        let events =
            [make(0, 1), add("x", "a", 2, 3), see(Some(&["x"]), "b", 4, 5), see(Some(&[]), "b", 6, 7)];
        assert!(!holds(&events), "b showed it already");
        assert!(holds(&events[..3]));
    }

    #[test]
    fn nothing_is_seen_before_it_is_asked() {
        assert!(!holds(&[make(0, 1), see(Some(&["x"]), "b", 2, 3), add("x", "a", 4, 5)]));
        assert!(holds(&[make(0, 1), see(Some(&["x"]), "b", 2, 6), add("x", "a", 4, 5)]));
    }

    #[test]
    fn both_nodes_show_writes_in_one_order() {
        let replace =
            |flag: &str, node: &str| event(Act::Change(Change::Replace, vec![flag.to_string()]), node, 2, 9);
        let written = [make(0, 1), replace("x", "a"), replace("y", "b")];
        let one = [see(Some(&["x"]), "a", 10, 11), see(Some(&["y"]), "a", 12, 13)];
        let same = [see(Some(&["x"]), "b", 10, 11), see(Some(&["y"]), "b", 12, 13)];
        let other = [see(Some(&["y"]), "b", 3, 4), see(Some(&["x"]), "b", 5, 6)];
        assert!(holds(&[&written[..], &one].concat()), "a had not yet heard of y, which b acknowledged");
        let early = [see(Some(&["x"]), "a", 3, 4), see(Some(&["y"]), "a", 5, 6)];
        assert!(holds(&[&written[..], &early].concat()));
        assert!(!holds(&[&written[..], &early, &same].concat()), "b acknowledged y, and then shows x");
        assert!(!holds(&[&written[..], &early, &other].concat()), "two orders");
    }

    #[test]
    fn what_is_expunged_stays_away() {
        let gone = |at| event(Act::Remove, "a", at, at + 1);
        assert!(holds(&[make(0, 1), gone(2), see(None, "a", 4, 5)]));
        assert!(!holds(&[make(0, 1), gone(2), see(Some(&[]), "a", 4, 5)]), "it came back");
        let end = Event { host: None, ..see(Some(&[]), "a", u64::MAX, u64::MAX) };
        assert!(!holds(&[make(0, 1), gone(2), end]), "it came back at the end");
        let deleted = add("\\Deleted", "a", 2, 3);
        let expunge = |at| event(Act::Expunge, "a", at, at + 1);
        assert!(holds(&[make(0, 1), deleted.clone(), expunge(4), see(None, "a", 6, 7)]));
        assert!(!holds(&[make(0, 1), deleted, expunge(4), see(Some(&["\\Deleted"]), "a", 6, 7)]));
        assert!(holds(&[make(0, 1), expunge(4), see(Some(&[]), "a", 6, 7)]), "it was not \\Deleted");
    }

    #[test]
    fn an_unknown_write_may_come_late_or_never_and_no_more() {
        let unknown = |act: Act| Event { perhaps: true, ended_us: u64::MAX, ..event(act, "a", 2, 3) };
        let perhaps = unknown(Act::Change(Change::Add, vec!["x".into()]));
        let none = see(Some(&[]), "a", 4, 5);
        let there = see(Some(&["x"]), "a", 6, 7);
        assert!(holds(&[make(0, 1), perhaps.clone(), none.clone(), there.clone()]), "late");
        assert!(holds(&[make(0, 1), perhaps.clone(), none.clone()]), "never");
        let away = event(Act::Change(Change::Remove, vec!["x".into()]), "a", 8, 9);
        let again = see(Some(&["x"]), "a", 10, 11);
        assert!(
            !holds(&[
                make(0, 1),
                perhaps,
                there,
                away,
                see(Some(&[]), "a", 10, 11),
                Event { began_us: 12, ended_us: 13, ..again }
            ]),
            "twice"
        );
    }

    #[test]
    fn what_has_too_many_orders_is_not_taken_for_good() {
        let flags = ["a", "b", "c", "d", "e", "f", "g"];
        let at_once = flags.iter().map(|flag| add(flag, "a", 2, 9));
        let never = see(Some(&["z"]), "a", 10, 11);
        let events: Vec<Event> = [make(0, 1)].into_iter().chain(at_once).chain([never]).collect();
        assert!(matches!(explain(&events, STATES_MAX), Found::None));
        assert!(matches!(explain(&events, 100), Found::TooMany));
    }

    #[test]
    fn all_that_was_acknowledged_shows_at_the_end_on_every_node() {
        let end = |flags: &[&str]| Event { host: None, ..see(Some(flags), "", u64::MAX, u64::MAX) };
        let written = [make(0, 1), add("x", "a", 2, 3), add("y", "b", 4, 5)];
        assert!(holds(&[&written[..], &[end(&["x", "y"]), end(&["x", "y"])]].concat()));
        assert!(!holds(&[&written[..], &[end(&["x", "y"]), end(&["x"])]].concat()), "one node lost a flag");
    }
}
