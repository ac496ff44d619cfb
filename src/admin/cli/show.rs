//! Answers of the node as text. Pure.

use serde_json::Value;

use super::ask::{Form, report, status_text, understood};
use super::{Problem, words};
use crate::admin::{security, upgrade};
use crate::clock::Clock;

/// The answer as it goes to stdout, ending in a line feed.
pub fn answer(form: Form, answer: &Value, clock: &Clock) -> Result<String, Problem> {
    Ok(match form {
        Form::Json => format!("{answer:#}\n"),
        Form::Done => format!("{}\n", text(answer, "done")),
        Form::Token => format!("{}\n", text(answer, "token")),
        Form::Status => status_text(answer, clock)?,
        Form::Members => members(answer)?,
        Form::Security => security::render(&understood(answer.clone())?),
        Form::Upgrade => upgrade_status(answer)?,
        Form::Domains => lines(answer, |domain| vec![text(domain, "name")]),
        Form::Users => lines(answer, |user| vec![text(user, "name"), enabled(user), quota(user)]),
        Form::User => user(answer),
        Form::Aliases => aliases(answer),
        Form::Policies => lines(answer, |setting| {
            let mark = if is_set(setting) { "(set)" } else { "" };
            vec![text(setting, "key"), text(setting, "value"), mark.to_owned()]
        }),
        Form::Policy => policy(answer),
        Form::PolicyFile => items(answer)
            .filter(|setting| is_set(setting))
            .map(|setting| words::policy_line(&text(setting, "key"), &text(setting, "value")))
            .collect(),
    })
}

fn items(answer: &Value) -> impl Iterator<Item = &Value> {
    let one = std::slice::from_ref(answer);
    answer.as_array().map_or(one, Vec::as_slice).iter()
}

/// A field as a person reads it.
fn text(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// One line an item, cells in columns.
fn lines(answer: &Value, cells: impl Fn(&Value) -> Vec<String>) -> String {
    columns(&items(answer).map(cells).collect::<Vec<_>>())
}

pub fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let count = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn members(answer: &Value) -> Result<String, Problem> {
    let report = report(answer)?;
    Ok(lines(&serde_json::json!(report.nodes), |node| {
        ["id", "name", "role", "address", "state"].map(|key| text(node, key)).to_vec()
    }))
}

fn upgrade_status(answer: &Value) -> Result<String, Problem> {
    Ok(upgrade::render(&understood(answer.clone())?, columns))
}

fn enabled(user: &Value) -> String {
    if user["enabled"] == true { "enabled".to_owned() } else { "disabled".to_owned() }
}

fn quota(user: &Value) -> String {
    match user["quota_bytes"].as_u64() {
        None => "default quota".to_owned(),
        Some(bytes) => format!("quota {}", size(bytes)),
    }
}

fn user(answer: &Value) -> String {
    let mut text = format!("{}  {}  {}\n", text(answer, "name"), enabled(answer), quota(answer));
    if let Some(used) = answer["used_bytes"].as_u64() {
        text.push_str(&format!("uses {}\n", size(used)));
    }
    let counted = |key: &str| {
        let counted = &answer["sent_today"][key];
        Some((counted["sent"].as_u64()?, counted["most"].as_u64()?))
    };
    if let Some((sent, most)) = counted("messages") {
        text.push_str(&format!("has sent {sent} of {most} messages today\n"));
    }
    if let Some((sent, most)) = counted("bytes") {
        text.push_str(&format!("has sent {} of {} today\n", size(sent), size(most)));
    }
    for address in items(&answer["addresses"]).filter_map(Value::as_str) {
        text.push_str(&format!("{address}\n"));
    }
    text
}

/// Bytes in the largest unit that keeps the number exact to a tenth.
fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        None => format!("{bytes} bytes"),
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

fn aliases(answer: &Value) -> String {
    lines(answer, |alias| {
        let targets: Vec<&str> = items(&alias["targets"]).filter_map(Value::as_str).collect();
        vec![text(alias, "address"), "->".to_owned(), targets.join(", ")]
    })
}

fn is_set(setting: &Value) -> bool {
    setting["set"] == true
}

fn policy(setting: &Value) -> String {
    let mut shown = format!("{} = {}\n", text(setting, "key"), text(setting, "value"));
    for key in ["default", "bounds", "help"] {
        if setting.get(key).is_some() {
            shown.push_str(&format!("  {key}: {}\n", text(setting, key)));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(form: Form, value: Value) -> String {
        answer(form, &value, &Clock::fixed(crate::mail::ids::Timestamp(0))).unwrap()
    }

    #[test]
    fn listings_stand_in_columns() {
        let users = json!([
            { "name": "bob", "enabled": true, "quota_bytes": null },
            { "name": "caroline", "enabled": false, "quota_bytes": 5_u64 << 30 },
        ]);
        assert_eq!(
            shown(Form::Users, users),
            "bob       enabled   default quota\ncaroline  disabled  quota 5.0 GiB\n"
        );
        assert_eq!(shown(Form::Users, json!([])), "");
    }

    #[test]
    fn an_alias_alone_and_in_a_list_look_alike() {
        let alias = json!({ "address": "info", "targets": ["bob", "carol@example.com"] });
        let line = "info  ->  bob, carol@example.com\n";
        assert_eq!(shown(Form::Aliases, alias.clone()), line);
        assert_eq!(shown(Form::Aliases, json!([alias])), line);
    }

    #[test]
    fn an_export_holds_only_what_was_set() {
        let settings = json!([
            { "key": "smtp.port", "value": "2525", "set": true },
            { "key": "imap.port", "value": "143", "set": false },
        ]);
        assert_eq!(shown(Form::PolicyFile, settings), "smtp.port = \"2525\"\n");
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
