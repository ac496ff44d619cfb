//! `pollux firewall`: who may connect where.

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use super::arguments::{FirewallChange, FirewallCommand};
use super::show::columns;
use super::{Problem, print};
use crate::admin::control::client;
use crate::admin::control::firewall::{WantedFirewallRule, Wished};
use crate::admin::control::request::Request;

pub fn run(socket: &Path, command: FirewallCommand) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let text = match command {
        FirewallCommand::List { json } => shown(&ask(Request::FirewallList)?, json, listing),
        FirewallCommand::Status { json } => shown(&ask(Request::FirewallStatus)?, json, standing),
        FirewallCommand::Render => done(&ask(Request::FirewallRender)?),
        FirewallCommand::Add { name, ports, action, from, interface, before, change } => {
            let rule = WantedFirewallRule { name, ports, action, sources: from, interface, before };
            done(&ask(Request::FirewallAdd { rule, wished: wished(&change) })?)
        }
        FirewallCommand::Remove { name, change } => {
            done(&ask(Request::FirewallRemove { name, wished: wished(&change) })?)
        }
    };
    print(&text);
    Ok(())
}

fn shown(answer: &Value, json: bool, form: fn(&Value) -> String) -> String {
    if json { format!("{answer:#}\n") } else { form(answer) }
}

/// What was done, or the table as it is or would be.
fn done(answer: &Value) -> String {
    match (answer["done"].as_str(), answer["table"].as_str()) {
        (Some(done), _) => format!("{done}\n"),
        (None, Some(table)) => table.to_owned(),
        (None, None) => "There is no rule, and no table.\n".to_owned(),
    }
}

fn wished(change: &FirewallChange) -> Wished {
    let session = std::env::var("SSH_CONNECTION").ok().and_then(|text| session(&text));
    Wished { session, force: change.force, dry_run: change.dry_run }
}

/// sshd's words: the client's address and port, the server's address and port.
fn session(text: &str) -> Option<(IpAddr, u16)> {
    let mut words = text.split_ascii_whitespace();
    let from = words.next()?.parse().ok()?;
    Some((from, words.nth(2)?.parse().ok()?))
}

fn listing(rules: &Value) -> String {
    let cells = |rule: &Value| {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let list = |key: &str| {
            let words = rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            words.collect::<Vec<_>>().join(",")
        };
        let from = match list("sources") {
            sources if sources.is_empty() => "from anywhere".to_owned(),
            sources => format!("from {sources}"),
        };
        let on = rule["interface"].as_str().map(|name| format!("on {name}")).unwrap_or_default();
        vec![text("name"), text("action"), list("ports"), from, on]
    };
    columns(&rules.as_array().into_iter().flatten().map(cells).collect::<Vec<_>>())
}

fn standing(nodes: &Value) -> String {
    let cells = |node: &Value| {
        let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
        let since = node["since"].as_str().map(|since| format!("since {since}")).unwrap_or_default();
        let healed = match node["healed"].as_u64() {
            None | Some(0) => String::new(),
            Some(count) => format!("put right {count} times"),
        };
        vec![text("node"), text("state"), since, healed, text("why")]
    };
    columns(&nodes.as_array().into_iter().flatten().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn listings_have_a_line_a_rule_and_a_line_a_node() {
        let rules = json!([
            { "name": "office", "action": "allow", "ports": ["imap", "imaps"],
              "sources": ["192.168.0.0/16", "fd00::/8"], "interface": null },
            { "name": "guests", "action": "drop", "ports": ["tcp/22"], "sources": [], "interface": "wlan*" },
        ]);
        assert_eq!(
            listing(&rules),
            "office  allow  imap,imaps  from 192.168.0.0/16,fd00::/8\n\
             guests  drop   tcp/22      from anywhere                 on wlan*\n"
        );
        let nodes = json!([
            { "node": "node1", "state": "in-step", "since": "2026-11-26T06:00:00Z", "healed": 2 },
            { "node": "node2", "state": "unable", "since": "2026-11-26T06:00:00Z", "healed": 0, "why": "no" },
            { "node": "node3", "state": "silent", "since": null, "healed": 0 },
        ]);
        assert_eq!(
            standing(&nodes),
            "node1  in-step  since 2026-11-26T06:00:00Z  put right 2 times\n\
             node2  unable   since 2026-11-26T06:00:00Z                     no\n\
             node3  silent\n"
        );
    }

    #[test]
    fn the_operators_own_session_is_known() {
        let known = session("192.0.2.1 50000 192.0.2.9 2222");
        assert_eq!(known, Some(([192, 0, 2, 1].into(), 2222)));
        for text in ["", "192.0.2.1", "x 1 y 22", "192.0.2.1 1 192.0.2.9", "192.0.2.1 1 192.0.2.9 x"] {
            assert_eq!(session(text), None, "{text}");
        }
    }
}
