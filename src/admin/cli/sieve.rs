//! `pollux sieve`: the scripts of users, and whether a file is one.

use std::path::Path;

use serde_json::Value;

use super::arguments::SieveCommand;
use super::show::columns;
use super::{Place, Problem, ask, print, socket};
use crate::admin::control::client;
use crate::admin::control::request::Request;
use crate::sieve::Script;

pub fn run(place: &Place, command: SieveCommand) -> Result<(), Problem> {
    let request = match command {
        SieveCommand::Check { file } => return check(&file),
        SieveCommand::List { user, json } => {
            let scripts = asked(place, Request::ScriptList { user })?;
            print(&if json { format!("{scripts:#}\n") } else { listing(&scripts) });
            return Ok(());
        }
        SieveCommand::Show { user, name } => {
            let script = asked(place, Request::ScriptShow { user, name })?;
            print(script["text"].as_str().unwrap_or_default());
            return Ok(());
        }
        SieveCommand::Put { user, name, file, activate } => {
            let text = read(&file)?;
            Request::ScriptPut { user, name, text, activate }
        }
        SieveCommand::Remove { user, name } => Request::ScriptRemove { user, name },
        SieveCommand::Activate { user, name } => Request::ScriptActivate { user, name: Some(name) },
        SieveCommand::Deactivate { user } => Request::ScriptActivate { user, name: None },
    };
    print(&format!("{}\n", asked(place, request)?["done"].as_str().unwrap_or_default()));
    Ok(())
}

fn asked(place: &Place, request: Request) -> Result<Value, Problem> {
    client::ask(&socket(place)?, request).map_err(|failure| failure.to_string())
}

fn read(file: &Path) -> Result<String, Problem> {
    ask::read_bounded(file).map_err(|why| format!("{}: {why}", file.display()))
}

/// Asks no node.
fn check(file: &Path) -> Result<(), Problem> {
    Script::compile(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    print(&format!("{}: a good script\n", file.display()));
    Ok(())
}

fn listing(scripts: &Value) -> String {
    let cells = |script: &Value| {
        let active = if script["active"] == true { "active" } else { "-" };
        let name = script["name"].as_str().unwrap_or_default().to_owned();
        vec![name, format!("{} bytes", script["bytes"]), active.to_owned()]
    };
    columns(&scripts.as_array().into_iter().flatten().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_has_a_line_a_script() {
        let scripts = json!([
            { "name": "main", "bytes": 1200, "active": true },
            { "name": "away", "bytes": 7, "active": false },
        ]);
        assert_eq!(listing(&scripts), "main  1200 bytes  active\naway  7 bytes     -\n");
    }
}
