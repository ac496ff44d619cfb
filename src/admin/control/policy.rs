//! The settings, as requests see them. Pure.

use serde_json::{Value, json};

use super::plan::Plan;
use super::request::Failure;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::settings;

/// What was set; the defaults of the others come from the settings table.
pub fn list(directory: &Directory) -> Plan {
    Plan::Show(Value::Array(
        directory.settings.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect(),
    ))
}

pub fn show(key: &str, directory: &Directory) -> Result<Plan, Failure> {
    let value = directory.settings.get(key);
    Ok(Plan::Show(json!({ "key": key, "value": value })))
}

/// All or nothing: one value out of bounds, and none is set.
pub fn set(changes: Vec<(String, Option<String>)>) -> Result<Plan, Failure> {
    if changes.is_empty() {
        return Err(Failure::refused("there is nothing to set"));
    }
    let done = match changes.as_slice() {
        [(key, Some(value))] => format!("{key} = {value}"),
        [(key, None)] => format!("{key} is at its default again"),
        many => format!("{} settings changed", many.len()),
    };
    let checked = changes.into_iter().map(|(key, value)| match value {
        Some(value) => settings::validate(&key, &value).map(|value| (key, Some(value))),
        None => Ok((key, None)),
    });
    let changes = checked.collect::<Result<Vec<_>, String>>().map_err(Failure::refused)?;
    Ok(Plan::Propose { commands: vec![Command::SetSettings { changes }], done })
}
