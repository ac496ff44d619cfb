//! Settings and quotas: each has the value that was given last, on every node, and a quota is a bound of what is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Tally, Violation};
use crate::clients::{LIMITED, QUOTA, content_of};
use crate::history::{Call, End, Op, Seen};

/// Names and values as a node shows them. `None`: nobody has set it.
pub type Shown = BTreeMap<String, Option<u64>>;

/// A value that was given: once, so that whoever shows it shows this.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    value: Option<u64>,
    began_us: u64,
    /// `None`: nobody knows whether, and when, it took effect.
    ended_us: Option<u64>,
    /// `None`: it was so from the beginning.
    by: Option<&'a Call>,
}

impl Given<'_> {
    /// Whether `other` certainly came later.
    fn is_before(&self, other: &Given<'_>) -> bool {
        self.ended_us.is_some_and(|ended_us| ended_us < other.began_us)
    }
}

/// All values that `name` was ever given, the beginning's first.
fn given<'a>(calls: &'a [Call], name: &str) -> Vec<Given<'a>> {
    let nobodys = Given { value: None, began_us: 0, ended_us: Some(0), by: None };
    let set = calls.iter().filter_map(|call| {
        let Op::Set { name: set, value } = &call.op else { return None };
        let ended_us = matches!(call.end, End::Ok(_)).then_some(call.ended_us);
        (set == name).then_some(Given {
            value: Some(*value),
            began_us: call.began_us,
            ended_us,
            by: Some(call),
        })
    });
    std::iter::once(nobodys).chain(set).collect()
}

/// `shown`: what each node shows at the end.
pub fn judge_settings(calls: &[Call], shown: &[(String, Shown)], wrong: &mut Vec<Violation>) {
    let names: BTreeSet<&String> = shown.iter().flat_map(|(_, shown)| shown.keys()).collect();
    for name in names {
        let given = given(calls, name);
        judge_answers(calls, name, &given, wrong);
        for (node, shown) in shown {
            let value = shown.get(name).copied().flatten();
            let replaced =
                |one: &Given<'_>| given.iter().any(|other| other.ended_us.is_some() && one.is_before(other));
            if !given.iter().any(|one| one.value == value && !replaced(one)) {
                let what = format!("{node} shows {value:?} for {name}, which is not what was given last");
                wrong.push(Violation::new(Rule::Setting, what));
            }
        }
        let values: BTreeSet<_> = shown.iter().map(|(_, shown)| shown.get(name)).collect();
        if values.len() > 1 {
            wrong.push(Violation::new(Rule::Nodes, format!("{name} differs: {shown:?}")));
        }
    }
}

/// A process never shows what was replaced by something that it had acknowledged or shown before.
fn judge_answers(calls: &[Call], name: &str, given: &[Given<'_>], wrong: &mut Vec<Violation>) {
    let mut asked: Vec<(&Call, Option<u64>)> = Vec::new();
    for call in calls {
        if let (Op::Get { name: asked_for }, End::Ok(Seen::Value(value))) = (&call.op, &call.end)
            && asked_for == name
        {
            asked.push((call, *value));
        }
    }
    for (call, value) in &asked {
        let by_here = |other: &Call| other.host == call.host && other.ended_us < call.began_us;
        let known = |other: &&Given<'_>| {
            other.by.is_some_and(|by| by_here(by) && other.ended_us.is_some())
                || asked.iter().any(|(before, seen)| by_here(before) && *seen == other.value)
        };
        let shown = given.iter().find(|one| one.value == *value && one.began_us <= call.ended_us);
        let why = match shown {
            None => Some("nobody gave it by then".to_string()),
            Some(one) => {
                let later = given.iter().filter(known).find(|other| one.is_before(other));
                later.map(|other| format!("{:?} was there already", other.value))
            }
        };
        if let Some(why) = why {
            let (client, began_us) = (&call.client, call.began_us);
            let what = format!("{client}, {began_us} us: {name} is {value:?}, but {why}");
            wrong.push(Violation::new(Rule::Setting, what));
        }
    }
}

/// One message of the limited user.
struct Taken {
    octets: u64,
    began_us: u64,
    /// `None`: nobody knows whether it was taken.
    ended_us: Option<u64>,
    /// From when on it may be gone.
    may_go_us: u64,
    /// From when on it is gone for sure.
    gone_us: u64,
}

/// Whatever order the calls took effect in: what was taken found room, what was refused found none.
pub fn judge_quota(calls: &[Call], wrong: &mut Vec<Violation>, tally: &mut Tally) {
    let limits = given(calls, QUOTA);
    let mut there: BTreeMap<&str, Taken> = BTreeMap::new();
    for call in calls {
        match &call.op {
            Op::Append { user, token, .. } if user == LIMITED && !matches!(call.end, End::Refused(_)) => {
                let ended_us = matches!(call.end, End::Ok(_)).then_some(call.ended_us);
                let taken = Taken {
                    octets: octets_of(token),
                    began_us: call.began_us,
                    ended_us,
                    may_go_us: u64::MAX,
                    gone_us: u64::MAX,
                };
                there.insert(token, taken);
            }
            Op::Expunge { key, token } if key.user == LIMITED => {
                if let Some(taken) = there.get_mut(token.as_str()) {
                    taken.may_go_us = taken.may_go_us.min(call.began_us);
                    if call.end == End::Ok(Seen::Changed) {
                        taken.gone_us = call.ended_us;
                    }
                }
            }
            _ => {}
        }
    }
    for call in calls {
        let Op::Append { user, token, .. } = &call.op else { continue };
        if user != LIMITED {
            continue;
        }
        let others = || there.iter().filter(|(other, _)| *other != token).map(|(_, taken)| taken);
        // The quotas that may have held at some moment of the call.
        let held = limits.iter().filter(|limit| {
            let replaced = |other: &Given<'_>| {
                limit.is_before(other) && other.ended_us.is_some_and(|ended_us| ended_us < call.began_us)
            };
            limit.began_us <= call.ended_us && !limits.iter().any(replaced)
        });
        let held: Vec<u64> = held.map(|limit| limit.value.unwrap_or(u64::MAX)).collect();
        let (least, most) = (held.iter().min().copied(), held.iter().max().copied());
        let at = format!("{} at {:?}, {} us", call.client, call.host, call.began_us);
        match &call.end {
            End::Ok(_) => {
                let surely = |taken: &&Taken| {
                    taken.ended_us.is_some_and(|ended_us| ended_us < call.began_us)
                        && taken.may_go_us > call.ended_us
                };
                let used: u64 = others().filter(surely).map(|taken| taken.octets).sum();
                if used + octets_of(token) > most.unwrap_or(u64::MAX) {
                    let what =
                        format!("{at}: {token} was taken, beside {used} octets; the quota was {held:?}");
                    wrong.push(Violation::new(Rule::Quota, what));
                }
            }
            End::Refused(_) => {
                tally.over_quota += 1;
                let perhaps =
                    |taken: &&Taken| taken.began_us < call.ended_us && taken.gone_us > call.began_us;
                let used: u64 = others().filter(perhaps).map(|taken| taken.octets).sum();
                if used + octets_of(token) <= least.unwrap_or(0) {
                    let what =
                        format!("{at}: {token} was refused, beside {used} octets; the quota was {held:?}");
                    wrong.push(Violation::new(Rule::Quota, what));
                }
            }
            End::Unknown(_) => {}
        }
    }
}

fn octets_of(token: &str) -> u64 {
    content_of(token).map_or(0, |content| content.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Host, Key};

    /// In the microseconds `at` to `at + 5`.
    fn call(node: &str, at: u64, op: Op, end: End) -> Call {
        let host = Host { node: node.into(), life: 0 };
        Call { client: "c".into(), host, op, current_us: 0, began_us: at, ended_us: at + 5, end }
    }

    fn unknown() -> End {
        End::Unknown("it hung up".into())
    }

    fn set(at: u64, name: &str, value: u64, end: End) -> Call {
        call("a", at, Op::Set { name: name.into(), value }, end)
    }

    fn get(node: &str, at: u64, value: Option<u64>) -> Call {
        call(node, at, Op::Get { name: "s".into() }, End::Ok(Seen::Value(value)))
    }

    fn settings(calls: &[Call], shown: &[Option<u64>]) -> Vec<Rule> {
        let shown: Vec<(String, Shown)> = shown
            .iter()
            .enumerate()
            .map(|(at, value)| (format!("node{at}"), Shown::from([("s".to_string(), *value)])))
            .collect();
        let mut wrong = Vec::new();
        judge_settings(calls, &shown, &mut wrong);
        wrong.into_iter().map(|violation| violation.rule).collect()
    }

    fn done() -> End {
        End::Ok(Seen::Nothing)
    }

    #[test]
    fn a_setting_is_what_was_given_last() {
        let calls = [set(10, "s", 1, done()), set(20, "s", 2, done())];
        assert_eq!(settings(&calls, &[Some(2), Some(2)]), []);
        assert_eq!(settings(&calls, &[Some(1), Some(1)]), [Rule::Setting, Rule::Setting], "it was replaced");
        assert_eq!(settings(&calls, &[None]), [Rule::Setting], "it was lost");
        assert_eq!(settings(&calls, &[Some(3)]), [Rule::Setting], "nobody gave it");
        assert_eq!(settings(&calls, &[Some(2), Some(1)]), [Rule::Setting, Rule::Nodes]);
        let at_once = [set(10, "s", 1, done()), set(12, "s", 2, done())];
        assert_eq!(settings(&at_once, &[Some(1)]), []);
        // One of unknown fate may come late.
        let late = [set(10, "s", 1, unknown()), set(20, "s", 2, done())];
        assert_eq!(settings(&late, &[Some(1)]), []);
        assert_eq!(settings(&late, &[None]), [Rule::Setting]);
    }

    #[test]
    fn a_process_goes_back_to_no_value() {
        let calls = |answer: Call| [set(10, "s", 1, done()), set(20, "s", 2, done()), answer];
        assert_eq!(settings(&calls(get("a", 30, Some(2))), &[Some(2)]), []);
        assert_eq!(settings(&calls(get("a", 30, Some(1))), &[Some(2)]), [Rule::Setting]);
        assert_eq!(settings(&calls(get("a", 22, Some(1))), &[Some(2)]), [], "while it is given");
        assert_eq!(settings(&calls(get("a", 5, Some(2))), &[Some(2)]), [Rule::Setting], "from the future");
        assert_eq!(settings(&calls(get("b", 30, None)), &[Some(2)]), [], "another node may lag");
        let twice = [&calls(get("b", 30, Some(2)))[..], &[get("b", 40, Some(1))]].concat();
        assert_eq!(settings(&twice, &[Some(2)]), [Rule::Setting], "it showed the later one before");
    }

    /// A message of 1,000 octets of text; `n` tells one from another.
    fn append(at: u64, n: u32, end: End) -> Call {
        let (user, mailbox, token) = (LIMITED.into(), "INBOX".into(), format!("t-{n}-1000"));
        call("a", at, Op::Append { user, mailbox, token, filler: 1_000, flags: vec![] }, end)
    }

    fn taken(at: u64, n: u32) -> Call {
        append(at, n, End::Ok(Seen::At { validity: 1, uid: n }))
    }

    fn refused(at: u64, n: u32) -> Call {
        append(at, n, End::Refused("NO [OVERQUOTA] The quota is exceeded".into()))
    }

    fn expunge(at: u64, n: u32, end: End) -> Call {
        let key = Key { user: LIMITED.into(), validity: 1, uid: n };
        call("a", at, Op::Expunge { key, token: format!("t-{n}-1000") }, end)
    }

    fn quota(calls: &[Call]) -> Vec<Rule> {
        let (mut wrong, mut tally) = (Vec::new(), Tally::default());
        judge_quota(calls, &mut wrong, &mut tally);
        wrong.into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_quota_bounds_what_is_taken_and_refuses_nothing_within_it() {
        let each = octets_of("t-1-1000");
        let with =
            |limit: u64, calls: &[Call]| quota(&[&[set(10, QUOTA, limit, done())][..], calls].concat());
        let two = [taken(20, 1), taken(30, 2)];
        assert_eq!(with(2 * each, &two), []);
        assert_eq!(with(2 * each - 1, &two), [Rule::Quota], "the second had no room");
        assert_eq!(with(2 * each - 1, &[taken(20, 1), refused(30, 2)]), []);
        assert_eq!(with(2 * each, &[taken(20, 1), refused(30, 2)]), [Rule::Quota], "there was room");
        assert_eq!(quota(&[refused(20, 1)]), [Rule::Quota], "nobody set a quota");
        // What is gone makes room; what may be gone decides nothing.
        let gone = End::Ok(Seen::Changed);
        let after = |end: End, then: Call| [taken(20, 1), expunge(30, 1, end), then];
        assert_eq!(with(each, &after(gone.clone(), taken(40, 2))), []);
        assert_eq!(with(each, &after(gone, refused(40, 2))), [Rule::Quota]);
        assert_eq!(with(each, &after(unknown(), taken(40, 2))), []);
        assert_eq!(with(each, &after(unknown(), refused(40, 2))), []);
        assert_eq!(with(each, &[append(20, 1, unknown()), refused(30, 2)]), []);
        assert_eq!(with(each, &[append(20, 1, unknown()), taken(30, 2)]), []);
        // While a quota changes, either holds.
        let changing = [set(10, QUOTA, each, done()), set(20, QUOTA, 2 * each, done()), taken(12, 1)];
        let at = |call: Call| [&changing[..], &[call]].concat();
        assert_eq!(quota(&at(taken(22, 2))), []);
        assert_eq!(quota(&at(refused(22, 2))), []);
        assert_eq!(quota(&at(refused(30, 2))), [Rule::Quota]);
    }
}
