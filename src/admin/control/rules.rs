//! The lists, as requests see them. Pure.

use serde_json::{Value, json};

use super::plan::Plan;
use super::request::Failure;
use crate::admin::status::rfc3339;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::lists::{self, NewRule, Rule, RuleAction, RuleKind};

/// Rules in one answer, so that it fits a line whatever stands in them.
pub const RULES_PER_ANSWER_MAX: usize = 500;

/// As it comes over the socket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedRule {
    pub name: String,
    pub kind: String,
    pub pattern: String,
    pub action: String,
    pub before: Option<String>,
}

pub fn add(wanted: WantedRule, directory: &Directory) -> Result<Plan, Failure> {
    let WantedRule { name, kind, pattern, action, before } = wanted;
    let kind = RuleKind::ALL.into_iter().find(|it| it.word() == kind);
    let kind = kind.ok_or_else(|| Failure::refused(format!("a kind is one of {}", words(&RuleKind::ALL))))?;
    let action = RuleAction::ALL.into_iter().find(|it| it.word() == action);
    let of_kind: Vec<_> = kind.actions().iter().map(|action| action.word()).collect();
    let no_action = || Failure::refused(format!("an action of this kind is one of {}", of_kind.join(", ")));
    let rule = NewRule { name, kind, pattern, action: action.ok_or_else(no_action)?, before };
    let rule = lists::canonical(rule).map_err(Failure::refused)?;
    if find(&rule.name, directory).is_some() {
        let problem = format!("rule {0} exists already; 'pollux policy rule remove {0}' first", rule.name);
        return Err(Failure::refused(problem));
    }
    if let Some(before) = &rule.before {
        known(before, directory)?;
    }
    let done =
        format!("rule {} added: {} {} {}", rule.name, rule.kind.word(), rule.pattern, rule.action.word());
    Ok(Plan::Propose { commands: vec![Command::AddRule(Box::new(rule))], done })
}

pub fn remove(name: &str, directory: &Directory) -> Result<Plan, Failure> {
    let name = known(name, directory)?.name.clone();
    let done = format!("rule {name} removed");
    Ok(Plan::Propose { commands: vec![Command::RemoveRule { name }], done })
}

pub fn move_to(name: &str, before: Option<&str>, directory: &Directory) -> Result<Plan, Failure> {
    let name = known(name, directory)?.name.clone();
    let before = before.map(|before| known(before, directory).map(|rule| rule.name.clone())).transpose()?;
    let done = match &before {
        Some(before) => format!("rule {name} stands before {before}"),
        None => format!("rule {name} stands behind all others"),
    };
    Ok(Plan::Propose { commands: vec![Command::MoveRule { name, before }], done })
}

/// Some rules in their order, behind the one of order `after`; `next` where there are more.
pub fn list(after: Option<u64>, directory: &Directory, hits: impl Fn(&Rule) -> u64) -> Value {
    let rules = directory.lists.rules();
    let from = after.map_or(0, |after| rules.partition_point(|rule| rule.order <= after));
    let some: Vec<&Rule> = rules[from..].iter().take(RULES_PER_ANSWER_MAX).collect();
    let more = rules.len() > from + some.len();
    let next = some.last().filter(|_| more).map(|rule| rule.order);
    let shown: Vec<Value> = some.into_iter().map(|rule| shown(rule, hits(rule))).collect();
    json!({ "rules": shown, "next": next })
}

fn shown(rule: &Rule, hits_here: u64) -> Value {
    json!({
        "name": rule.name,
        "kind": rule.kind.word(),
        "pattern": rule.pattern,
        "action": rule.action.word(),
        "created": rfc3339(rule.created),
        "hits_here": hits_here,
    })
}

fn words(kinds: &[RuleKind]) -> String {
    kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(", ")
}

fn find<'a>(name: &str, directory: &'a Directory) -> Option<&'a Rule> {
    directory.lists.rules().iter().find(|rule| rule.name.eq_ignore_ascii_case(name))
}

fn known<'a>(name: &str, directory: &'a Directory) -> Result<&'a Rule, Failure> {
    let missing = || Failure::refused(format!("there is no rule {name}; see 'pollux policy rule list'"));
    find(name, directory).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mail::ids::Timestamp;
    use crate::state::lists::Lists;

    fn directory(count: usize) -> Directory {
        let rule = |at: usize| Rule {
            name: format!("r{at}"),
            order: at as u64,
            kind: RuleKind::Sender,
            pattern: format!("{}{at}@a.test", "\"".repeat(150)),
            action: RuleAction::Reject,
            created: Timestamp(0),
        };
        Directory { lists: Arc::new(Lists::new((0..count).map(rule).collect())), ..Directory::default() }
    }

    fn wanted(name: &str, kind: &str, pattern: &str, action: &str) -> WantedRule {
        let [name, kind, pattern, action] = [name, kind, pattern, action].map(str::to_owned);
        WantedRule { name, kind, pattern, action, before: None }
    }

    #[test]
    fn wishes_become_commands_and_wrong_ones_say_what_is_wrong() {
        let directory = directory(2);
        let plan = add(wanted("New", "mask", "192.168.0.", "allow"), &directory).unwrap();
        let Plan::Propose { commands, done } = plan else { panic!("{plan:?}") };
        let rule = NewRule {
            name: "new".into(),
            kind: RuleKind::Mask,
            pattern: "192.168.0.0/24".into(),
            action: RuleAction::Allow,
            before: None,
        };
        assert_eq!(commands, [Command::AddRule(Box::new(rule))]);
        assert_eq!(done, "rule new added: mask 192.168.0.0/24 allow");
        for (rule, said) in [
            (wanted("R1", "ip", "192.0.2.1", "allow"), "exists already"),
            (wanted("x y", "ip", "192.0.2.1", "allow"), "a rule's name is"),
            (wanted("x", "cook", "192.0.2.1", "allow"), "sender, recipient, ip, mask, domain, client"),
            (wanted("x", "ip", "192.0.2.1", "cook"), "discard, reject, allow"),
            (wanted("x", "ip", "192.0.2.0/24", "allow"), "is not one IP address"),
            (wanted("x", "domain", "a.test", "reject"), "it may allow"),
            (
                wanted("x", "client", "0.0.0.0/0", "relay"),
                "everybody could send through this server to anywhere",
            ),
            (
                WantedRule { before: Some("nobody".into()), ..wanted("x", "ip", "192.0.2.1", "allow") },
                "no rule nobody",
            ),
        ] {
            let message = add(rule, &directory).unwrap_err().message;
            assert!(message.contains(said), "{message}");
        }
        let Ok(Plan::Propose { commands, .. }) = move_to("R1", Some("r0"), &directory) else { panic!() };
        assert_eq!(commands, [Command::MoveRule { name: "r1".into(), before: Some("r0".into()) }]);
        let Ok(Plan::Propose { commands, .. }) = remove("R1", &directory) else { panic!() };
        assert_eq!(commands, [Command::RemoveRule { name: "r1".into() }]);
        assert!(remove("r9", &directory).is_err() && move_to("r1", Some("r9"), &directory).is_err());
    }

    #[test]
    fn a_long_listing_comes_in_portions_that_fit_a_line() {
        let directory = directory(RULES_PER_ANSWER_MAX + 1);
        let first = list(None, &directory, |rule| rule.order);
        assert!(first.to_string().len() < crate::admin::control::request::LINE_BYTES_MAX / 2);
        assert_eq!(first["rules"][7]["hits_here"], 7);
        assert_eq!(first["next"], RULES_PER_ANSWER_MAX as u64 - 1);
        let second = list(first["next"].as_u64(), &directory, |_| 0);
        assert_eq!((second["rules"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    }
}
