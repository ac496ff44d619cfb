//! Names of users: there as long as they were given, on every node. (That mail to them arrives is judged with all mail.)

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Violation};
use crate::history::{Call, End, Op};

/// Alias and user.
pub type Listed = BTreeSet<(String, String)>;

/// What may become of a name that one client gives, and takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fate {
    user: String,
    must: bool,
    may: bool,
}

/// `listed`: what each node lists at the end, beside names that no call speaks of.
pub fn judge(calls: &[Call], listed: &[(String, Listed)], wrong: &mut Vec<Violation>) {
    let mut fates: BTreeMap<&str, Fate> = BTreeMap::new();
    for call in calls {
        let Op::Name { alias, user } = &call.op else { continue };
        let sure = matches!(call.end, End::Ok(_));
        match user {
            Some(user) => {
                let fate = Fate { user: user.clone(), must: sure, may: true };
                fates.insert(alias, fate);
            }
            None => {
                if let Some(fate) = fates.get_mut(alias.as_str()) {
                    (fate.must, fate.may) = (false, fate.may && !sure);
                }
            }
        }
    }
    for (node, listed) in listed {
        for (alias, Fate { user, must, may }) in &fates {
            let users: Vec<&str> =
                listed.iter().filter(|(name, _)| name == alias).map(|(_, user)| user.as_str()).collect();
            let rule = match users.as_slice() {
                [] if *must => Rule::Lost,
                [only] if *may && only == user => continue,
                [] => continue,
                _ => Rule::Ghost,
            };
            let what = format!("{node}: the alias {alias} for {user} is listed for {users:?}");
            wrong.push(Violation::new(rule, what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Host, Seen};

    fn name(user: Option<&str>, sure: bool) -> Call {
        let end = if sure { End::Ok(Seen::Nothing) } else { End::Unknown("it hung up".into()) };
        Call {
            client: "c".into(),
            host: Host { node: "a".into(), life: 0 },
            op: Op::Name { alias: "info".into(), user: user.map(str::to_string) },
            current_us: 0,
            began_us: 0,
            ended_us: 1,
            end,
        }
    }

    fn rules(calls: &[Call], listed: &[(&str, &str)]) -> Vec<Rule> {
        let listed = listed.iter().map(|(alias, user)| ((*alias).to_string(), (*user).to_string())).collect();
        let mut wrong = Vec::new();
        judge(calls, &[("a".to_string(), listed)], &mut wrong);
        wrong.into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn names_are_there_as_they_were_given() {
        let bob = [("info", "bob")];
        let given = name(Some("bob"), true);
        assert_eq!(rules(std::slice::from_ref(&given), &bob), []);
        assert_eq!(rules(std::slice::from_ref(&given), &[]), [Rule::Lost]);
        assert_eq!(rules(std::slice::from_ref(&given), &[("info", "alice")]), [Rule::Ghost], "another's");
        assert_eq!(rules(&[given.clone(), name(None, true)], &[]), []);
        assert_eq!(rules(&[given.clone(), name(None, true)], &bob), [Rule::Ghost], "it came back");
        for listed in [&bob[..], &[]] {
            assert_eq!(rules(&[given.clone(), name(None, false)], listed), []);
            assert_eq!(rules(&[name(Some("bob"), false)], listed), []);
        }
        assert_eq!(rules(&[name(Some("bob"), false), name(None, true)], &bob), [Rule::Ghost]);
        assert_eq!(rules(&[], &bob), [], "not of the crowd");
    }
}
