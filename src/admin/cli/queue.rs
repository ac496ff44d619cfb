//! `pollux queue`: listings that come in portions, and what is done to many mails at once.

use std::path::Path;

use serde_json::{Value, json};

use super::arguments::{Chosen, Queue, QueueFilters};
use super::show::columns;
use super::{Problem, portions, print};
use crate::admin::control::client;
use crate::admin::control::request::{QueueFilter, QueueSteering, Request};

/// Mails named in one request.
const IDS_PER_REQUEST_MAX: usize = 1_000;

pub fn run(socket: &Path, queue: Queue) -> Result<(), Problem> {
    match queue {
        Queue::List { filters, limit, json } => {
            let mails = list(socket, &filter(filters), limit)?;
            print(&if json { format!("{:#}\n", Value::Array(mails)) } else { listing(&mails) });
        }
        Queue::Show { id, json } => {
            let mail = ask(socket, Request::QueueShow { id })?;
            print(&if json { format!("{mail:#}\n") } else { shown(&mail) });
        }
        Queue::Hold(chosen) => steer(socket, chosen, QueueSteering::Hold)?,
        Queue::Release(chosen) => steer(socket, chosen, QueueSteering::Release)?,
        Queue::Retry(chosen) => steer(socket, chosen, QueueSteering::Retry)?,
        Queue::Remove(chosen) => steer(socket, chosen, QueueSteering::Remove)?,
        Queue::Sts { json } => {
            let portion =
                |after: &Value| ask(socket, Request::StsList { after: after.as_str().map(str::to_owned) });
            let policies = portions("policies", usize::MAX, portion)?;
            print(&if json { format!("{:#}\n", Value::Array(policies)) } else { demands(&policies) });
        }
        Queue::TlsReports { send, json } => {
            let request = if send { Request::TlsReportSend } else { Request::TlsReportList };
            let answer = ask(socket, request)?;
            print(&if json { format!("{answer:#}\n") } else { reports(&answer) });
        }
    }
    Ok(())
}

pub fn ask(socket: &Path, request: Request) -> Result<Value, Problem> {
    client::ask(socket, request).map_err(|failure| failure.to_string())
}

fn filter(filters: QueueFilters) -> QueueFilter {
    let QueueFilters { sender, recipient, host, older_than } = filters;
    QueueFilter { sender, recipient, host, older_than_seconds: older_than }
}

/// Up to `limit` mails, oldest first.
pub fn list(socket: &Path, filter: &QueueFilter, limit: usize) -> Result<Vec<Value>, Problem> {
    let portion =
        |after: &Value| ask(socket, Request::QueueList { filter: filter.clone(), after: after.as_u64() });
    portions("mails", limit, portion)
}

fn steer(socket: &Path, chosen: Chosen, steering: QueueSteering) -> Result<(), Problem> {
    let Chosen { ids, all, filters } = chosen;
    let filter = filter(filters);
    let ids = match (ids.is_empty(), all || filter != QueueFilter::default()) {
        (false, false) => ids,
        (true, true) => {
            list(socket, &filter, usize::MAX)?.iter().filter_map(|mail| mail["id"].as_u64()).collect()
        }
        (true, false) => {
            return Err(
                "which mails? Give their ids, --all, or a filter such as --host; see 'pollux queue list'"
                    .into(),
            );
        }
        (false, true) => return Err("give ids, or --all and filters, not both".into()),
    };
    let mut done = json!({ "done": "there is no such mail in the queue" });
    let mut count = 0;
    for some in ids.chunks(IDS_PER_REQUEST_MAX) {
        done = ask(socket, Request::QueueSteer { ids: some.to_vec(), steering })?;
        count += done["count"].as_u64().unwrap_or(0);
    }
    let text = done["done"].as_str().unwrap_or_default();
    match ids.len() > IDS_PER_REQUEST_MAX {
        true => print(&format!("{count} mails: the last {text}\n")),
        false => print(&format!("{text}\n")),
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn recipients(mail: &Value) -> &[Value] {
    mail["recipients"].as_array().map_or(&[], Vec::as_slice)
}

/// A line a mail: id, when it came, size, sender, the first recipient, how it stands.
fn listing(mails: &[Value]) -> String {
    let line = |mail: &Value| {
        let to = recipients(mail);
        let first = to.first().unwrap_or(&Value::Null);
        let more = match (to.len(), mail["more_recipients"] == true) {
            (0 | 1, false) => String::new(),
            (count, false) => format!(" and {} more", count - 1),
            (_, true) => " and more".to_owned(),
        };
        let reply = first["reply"].as_str().map_or(String::new(), |reply| format!(": {}", cut(reply)));
        format!(
            "{}  {}  {} bytes  <{}> to <{}>{more}  {}{reply}\n",
            mail["id"],
            text(mail, "queued_at"),
            mail["size"],
            text(mail, "sender"),
            text(first, "address"),
            text(first, "state"),
        )
    };
    mails.iter().map(line).collect()
}

fn cut(reply: &str) -> String {
    const CHARS_MAX: usize = 100;
    match reply.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &reply[..end]),
        None => reply.to_owned(),
    }
}

fn shown(mail: &Value) -> String {
    let mut shown = format!(
        "mail {} from <{}>, {} bytes, came {}\n",
        mail["id"],
        text(mail, "sender"),
        mail["size"],
        text(mail, "queued_at")
    );
    match mail["tls"].as_str() {
        Some("required") => shown.push_str("  requires TLS all the way (REQUIRETLS)\n"),
        Some("waived") => shown.push_str("  goes without TLS too (TLS-Required: No)\n"),
        _ => {}
    }
    for to in recipients(mail) {
        let tries = match to["attempts"].as_u64().unwrap_or(0) {
            0 => "not tried yet".to_owned(),
            1 => "tried once".to_owned(),
            many => format!("tried {many} times"),
        };
        let next = match text(to, "state") {
            "waiting" => format!(", next {}", text(to, "next_attempt")),
            _ => String::new(),
        };
        shown.push_str(&format!("  <{}>  {}, {tries}{next}\n", text(to, "address"), text(to, "state")));
        if let Some(reply) = to["reply"].as_str() {
            shown.push_str(&format!("    {reply}\n"));
        }
    }
    if mail["more_recipients"] == true {
        shown.push_str("  and more\n");
    }
    shown
}

/// A line a domain: its mode, until when it holds, the servers that it names.
fn demands(policies: &[Value]) -> String {
    let cells = |policy: &Value| {
        let mx = policy["mx"].as_array().map_or(&[][..], Vec::as_slice);
        let mx: Vec<&str> = mx.iter().filter_map(Value::as_str).collect();
        let until = format!("until {}", text(policy, "until"));
        vec![text(policy, "domain").to_owned(), text(policy, "mode").to_owned(), until, mx.join(" ")]
    };
    columns(&policies.iter().map(cells).collect::<Vec<_>>())
}

/// A line a domain: what was counted, or to whom it was reported.
fn reports(answer: &Value) -> String {
    let line = |it: &Value| {
        let (day, domain) = (text(it, "day"), text(it, "domain"));
        match it["to"].as_array() {
            Some(to) => {
                let to: Vec<&str> = to.iter().filter_map(Value::as_str).collect();
                format!("{day}  {domain}  reported to {}\n", to.join(", "))
            }
            None => format!("{day}  {domain}  {} went well, {} failed\n", it["successful"], it["failed"]),
        }
    };
    match answer.as_array().map(Vec::as_slice) {
        None | Some([]) => "there is nothing to report\n".to_owned(),
        Some(all) => all.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Value {
        let to = |address, state, attempts, reply: Option<&str>| {
            json!({ "address": address, "state": state, "attempts": attempts,
                    "next_attempt": "2026-11-26T06:00:00Z", "reply": reply })
        };
        json!({
            "id": 7, "sender": "a@b.test", "size": 900, "queued_at": "2026-11-26T05:00:00Z",
            "recipients": [to("x@x.test", "waiting", 2, Some("450 4.2.0 later")), to("y@y.test", "due", 0, None)],
            "more_recipients": false,
        })
    }

    #[test]
    fn a_listing_has_a_line_a_mail() {
        assert_eq!(
            listing(&[mail()]),
            "7  2026-11-26T05:00:00Z  900 bytes  <a@b.test> to <x@x.test> and 1 more  waiting: 450 4.2.0 later\n"
        );
        assert_eq!(listing(&[]), "");
        assert_eq!(cut(&"x".repeat(101)), format!("{}…", "x".repeat(100)));
    }

    #[test]
    fn what_a_domain_demands_is_a_line() {
        let policy = |domain, mode, mx| json!({ "domain": domain, "mode": mode, "mx": mx, "until": "U" });
        let policies = [
            policy("a.test", "enforce", json!(["mx.a.test", "*.b.test"])),
            policy("bb.test", "none", json!([])),
        ];
        assert_eq!(
            demands(&policies),
            "a.test   enforce  until U  mx.a.test *.b.test\nbb.test  none     until U\n"
        );
        assert_eq!(demands(&[]), "");
    }

    #[test]
    fn what_is_reported_has_a_line_a_domain() {
        let counted = json!({ "day": "2026-11-26", "domain": "x.test", "successful": 5, "failed": 1 });
        let sent = json!({ "day": "2026-11-26", "domain": "x.test", "to": ["a@x.test", "https://x.test/r"] });
        assert_eq!(reports(&json!([counted])), "2026-11-26  x.test  5 went well, 1 failed\n");
        assert_eq!(reports(&json!([sent])), "2026-11-26  x.test  reported to a@x.test, https://x.test/r\n");
        assert_eq!(reports(&json!([])), "there is nothing to report\n");
    }

    #[test]
    fn one_mail_is_shown_with_every_recipient() {
        assert_eq!(
            shown(&mail()),
            "mail 7 from <a@b.test>, 900 bytes, came 2026-11-26T05:00:00Z\n  \
             <x@x.test>  waiting, tried 2 times, next 2026-11-26T06:00:00Z\n    450 4.2.0 later\n  \
             <y@y.test>  due, not tried yet\n"
        );
    }
}
