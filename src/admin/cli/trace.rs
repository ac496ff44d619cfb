//! `pollux trace`: where is my mail?

use std::path::Path;

use serde_json::Value;

use super::{Problem, print};
use crate::admin::control::client;
use crate::admin::control::request::Request;
use crate::clock::Clock;

pub fn run(socket: &Path, about: String, (since, json): (Option<u64>, bool)) -> Result<(), Problem> {
    let since_ms = since.map(|seconds| Clock::system().now().0.saturating_sub(seconds.saturating_mul(1_000)));
    let request = Request::Trace { about, since_ms };
    let answer = client::ask(socket, request).map_err(|failure| failure.to_string())?;
    print(&if json { format!("{answer:#}\n") } else { told(&answer) });
    Ok(())
}

/// A paragraph an event.
fn told(answer: &Value) -> String {
    let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out: String = events.iter().map(event).collect();
    if events.is_empty() {
        out.push_str("Nothing is known of it.\n");
    }
    if answer["more"] == true {
        out.push_str("There is more, older than this; narrow it down with --since or by a Message-ID.\n");
    }
    for node in answer["silent"].as_array().into_iter().flatten() {
        out.push_str(&format!("{} did not answer: what it knows is missing.\n", text(node)));
    }
    out
}

fn event(event: &Value) -> String {
    let (at, node) = (text(&event["at"]), text(&event["node"]));
    let sender = format!("<{}>", text(&event["sender"]));
    match event["event"].as_str() {
        Some("received") => {
            let mut out =
                format!("{at} {node} received {} from {sender}{}", text(&event["id"]), by(&event["client"]));
            out.push_str(&format!(": {}\n", text(&event["outcome"])));
            if let Some(id) = event["message_id"].as_str() {
                out.push_str(&format!("    Message-ID <{}>\n", plain(id)));
            }
            for recipient in event["recipients"].as_array().into_iter().flatten() {
                out.push_str(&format!(
                    "    to <{}>: {}\n",
                    text(&recipient["to"]),
                    text(&recipient["outcome"])
                ));
            }
            for check in event["checks"].as_array().into_iter().flatten() {
                out.push_str(&format!("    {}: {}\n", text(&check["check"]), text(&check["result"])));
            }
            if let Some(rule) = event["decided_by"].as_str() {
                out.push_str(&format!("    decided by {}\n", plain(rule)));
            }
            if let Some(queued) = event["queued"].as_u64() {
                out.push_str(&format!("    {queued} in the queue\n"));
            }
            out
        }
        Some("refused") => {
            let to = event["recipient"].as_str().map(|to| format!(" to <{}>", plain(to))).unwrap_or_default();
            let (by, said) = (by(&event["client"]), text(&event["said"]));
            format!("{at} {node} refused mail from {sender}{to}{by}: {said}\n")
        }
        Some("sent") => {
            let tls = event["tls"].as_str().map(|tls| format!(" (TLS: {})", plain(tls))).unwrap_or_default();
            let via = event["via"].as_str().map(|via| format!(" by {}{tls}", plain(via))).unwrap_or_default();
            let (to, queued) = (text(&event["to"]), text(&event["queued"]));
            let (outcome, said) = (text(&event["outcome"]), text(&event["said"]));
            format!("{at} {node} {outcome} {queued} from {sender} to <{to}>{via}: {said}\n")
        }
        Some("heard") => {
            let of = event["message_id"].as_str().map_or(String::new(), |id| format!(" of <{}>", plain(id)));
            let mut out = format!(
                "{at} {node} heard{of} in the notice {}{}\n",
                text(&event["id"]),
                by(&event["client"])
            );
            event["recipients"].as_array().into_iter().flatten().for_each(|it| out.push_str(&fate(it)));
            out
        }
        _ => format!("{at} {node} {}\n", plain(&event.to_string())),
    }
}

/// `<bob@x.test> bounced by mx.x.test: 5.1.1 550 5.1.1 no such user`.
fn fate(of: &Value) -> String {
    let word = |key: &str| of[key].as_str().map(plain);
    let outcome = match of["outcome"].as_str() {
        Some("failed") => "bounced".to_owned(),
        _ => word("outcome").unwrap_or_else(|| "told of".to_owned()),
    };
    let named = word("named").map_or(String::new(), |named| format!(" (for <{named}>)"));
    let by = word("by").map_or(String::new(), |by| format!(" by {by}"));
    let why: Vec<String> = [word("status"), word("said")].into_iter().flatten().collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(" ")) };
    format!("    <{}>{named} {outcome}{by}{why}\n", text(&of["to"]))
}

fn by(client: &Value) -> String {
    let named = |word: &str, key: &str| client[key].as_str().map(|text| format!("{word}{}", plain(text)));
    let parts = [named("", "address"), named("HELO ", "helo"), named("login ", "login")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), plain)
}

/// Strangers chose much of this: nothing of it steers a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_story_of_a_mail_reads_from_top_to_bottom() {
        let answer = json!({ "silent": ["node3"], "more": true, "events": [
            { "at": "2026-11-26T06:00:00Z", "node": "node1", "event": "refused", "sender": "joe@a.test",
              "recipient": "no\u{1b}body@example.test", "client": { "address": "192.0.2.1", "helo": "x.test" },
              "said": "550 5.1.1 No such user here" },
            { "at": "2026-11-26T06:00:01Z", "node": "node1", "event": "received", "id": "5F", "sender": "alice@example.test",
              "client": { "login": "alice" }, "message_id": "m@a.test", "outcome": "taken", "queued": 7,
              "recipients": [{ "to": "far@away.test", "outcome": "queued" }],
              "checks": [{ "check": "spf", "result": "pass" }], "decided_by": "dmarc.reject" },
            { "at": "2026-11-26T06:00:02Z", "node": "node2", "event": "sent", "queued": 7, "sender": "alice@example.test",
              "to": "far@away.test", "via": "mx.away.test", "tls": "verified", "outcome": "sent", "said": "250 2.0.0 Ok" },
            { "at": "2026-11-26T06:00:03Z", "node": "node1", "event": "heard", "id": "6A", "message_id": "m@a.test",
              "client": { "address": "192.0.2.7", "helo": "mx.away.test" }, "recipients": [
                { "to": "box@in.away.test", "named": "far@away.test", "outcome": "failed", "by": "in.away.test",
                  "status": "5.1.1", "said": "550 no \u{1b}such user" },
                { "to": "x@away.test", "outcome": "delayed" }, { "to": "y@away.test", "status": "4.0.0" }] },
        ] });
        assert_eq!(
            told(&answer),
            "2026-11-26T06:00:00Z node1 refused mail from <joe@a.test> to <no?body@example.test> (192.0.2.1, HELO x.test): 550 5.1.1 No such user here\n\
             2026-11-26T06:00:01Z node1 received 5F from <alice@example.test> (login alice): taken\n    \
             Message-ID <m@a.test>\n    to <far@away.test>: queued\n    spf: pass\n    decided by dmarc.reject\n    7 in the queue\n\
             2026-11-26T06:00:02Z node2 sent 7 from <alice@example.test> to <far@away.test> by mx.away.test (TLS: verified): 250 2.0.0 Ok\n\
             2026-11-26T06:00:03Z node1 heard of <m@a.test> in the notice 6A (192.0.2.7, HELO mx.away.test)\n    \
             <box@in.away.test> (for <far@away.test>) bounced by in.away.test: 5.1.1 550 no ?such user\n    \
             <x@away.test> delayed\n    <y@away.test> told of: 4.0.0\n\
             There is more, older than this; narrow it down with --since or by a Message-ID.\n\
             node3 did not answer: what it knows is missing.\n"
        );
        assert_eq!(told(&json!({ "events": [], "silent": [], "more": false })), "Nothing is known of it.\n");
    }
}
