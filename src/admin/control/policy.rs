//! The settings, as requests see them. Pure.

use serde_json::{Value, json};

use super::plan::Plan;
use super::request::Failure;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::settings::{self, Setting, TABLE};

/// Every setting of the table, in its order.
pub fn list(directory: &Directory) -> Plan {
    Plan::Show(Value::Array(TABLE.iter().map(|setting| shown(setting, directory)).collect()))
}

pub fn show(key: &str, directory: &Directory) -> Result<Plan, Failure> {
    match settings::find(key) {
        Some(setting) => Ok(Plan::Show(shown(setting, directory))),
        None => Err(Failure::refused(format!("there is no setting {key}; see 'pollux policy list'"))),
    }
}

/// All or nothing: one value out of bounds, and none is set.
pub fn set(changes: &[(String, Option<String>)], directory: &Directory) -> Result<Plan, Failure> {
    if changes.is_empty() {
        return Err(Failure::refused("there is nothing to set"));
    }
    let changes = settings::validate_changes(directory, changes).map_err(Failure::refused)?;
    let done = match changes.as_slice() {
        [(key, Some(value))] => format!("{key} = {value}"),
        [(key, None)] => format!("{key} is at its default again"),
        many => format!("{} settings changed", many.len()),
    };
    Ok(Plan::Propose { commands: vec![Command::SetSettings { changes }], done })
}

fn shown(setting: &Setting, directory: &Directory) -> Value {
    let now = directory.settings();
    json!({
        "key": setting.key,
        "value": now.get(setting.key),
        "set": now.is_set(setting.key),
        "default": setting.default,
        "bounds": setting.bounds(),
        "help": setting.help,
        "since": setting.since,
    })
}
