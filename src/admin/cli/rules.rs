//! `pollux policy rule`: the lists, in portions where they are long.

use std::path::Path;

use serde_json::Value;

use super::arguments::RuleCommand;
use super::show::columns;
use super::{Problem, portions, print};
use crate::admin::control::client;
use crate::admin::control::request::Request;
use crate::admin::control::rules::WantedRule;

pub fn run(socket: &Path, command: RuleCommand) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let request = match command {
        RuleCommand::List { json } => {
            let rules = list(ask)?;
            print(&if json { format!("{:#}\n", Value::Array(rules)) } else { listing(&rules) });
            return Ok(());
        }
        RuleCommand::Add { name, kind, pattern, action, before } => {
            Request::RuleAdd { rule: WantedRule { name, kind, pattern, action, before } }
        }
        RuleCommand::Remove { name } => Request::RuleRemove { name },
        RuleCommand::Move { name, before, .. } => Request::RuleMove { name, before },
    };
    print(&format!("{}\n", ask(request)?["done"].as_str().unwrap_or_default()));
    Ok(())
}

fn list(ask: impl Fn(Request) -> Result<Value, Problem>) -> Result<Vec<Value>, Problem> {
    portions("rules", usize::MAX, |after| ask(Request::RuleList { after: after.as_u64() }))
}

/// A line a rule; the number is this node's alone, and the last line says so.
fn listing(rules: &[Value]) -> String {
    let cells = |rule: &Value| {
        let text = |key: &str| rule[key].as_str().unwrap_or("-").to_owned();
        let hits = format!("met {} times", rule["hits_here"]);
        vec![text("name"), text("kind"), text("pattern"), text("action"), hits, text("created")]
    };
    let lines = columns(&rules.iter().map(cells).collect::<Vec<_>>());
    match rules.is_empty() {
        true => lines,
        false => format!("{lines}Times are counted on this node alone, since it started.\n"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_has_a_line_a_rule_and_says_what_it_counts() {
        let rule = |name: &str, hits: u64| {
            json!({ "name": name, "kind": "ip", "pattern": "192.0.2.1", "action": "allow", "hits_here": hits,
                    "created": "2026-11-26T06:00:00Z" })
        };
        assert_eq!(
            listing(&[rule("a", 7), rule("partner", 12)]),
            "a        ip  192.0.2.1  allow  met 7 times   2026-11-26T06:00:00Z\n\
             partner  ip  192.0.2.1  allow  met 12 times  2026-11-26T06:00:00Z\n\
             Times are counted on this node alone, since it started.\n"
        );
        assert_eq!(listing(&[]), "");
    }

    #[test]
    fn portions_are_put_together() {
        let ask = |request| match request {
            Request::RuleList { after: None } => Ok(json!({ "rules": [1, 2], "next": 9 })),
            Request::RuleList { after: Some(9) } => Ok(json!({ "rules": [3], "next": null })),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(list(ask).unwrap(), [json!(1), json!(2), json!(3)]);
    }
}
