//! `pollux block`: hosts that are shut out for a time, in portions where they are many.

use std::path::Path;

use serde_json::Value;

use super::arguments::BlockCommand;
use super::show::columns;
use super::{Problem, portions, print};
use crate::admin::control::client;
use crate::admin::control::request::Request;

pub fn run(socket: &Path, command: BlockCommand) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let request = match command {
        BlockCommand::List { json } => {
            let blocks = list(ask)?;
            print(&if json { format!("{:#}\n", Value::Array(blocks)) } else { listing(&blocks) });
            return Ok(());
        }
        BlockCommand::Add { address, seconds, reason } => {
            Request::BlockAdd { address, seconds, note: reason }
        }
        BlockCommand::Clear { address, .. } => Request::BlockClear { address },
    };
    print(&format!("{}\n", ask(request)?["done"].as_str().unwrap_or_default()));
    Ok(())
}

fn list(ask: impl Fn(Request) -> Result<Value, Problem>) -> Result<Vec<Value>, Problem> {
    let portion = |after: &Value| ask(Request::BlockList { after: after.as_str().map(str::to_owned) });
    portions("blocks", usize::MAX, portion)
}

fn listing(blocks: &[Value]) -> String {
    let cells = |block: &Value| {
        let text = |key: &str| block[key].as_str().unwrap_or("-").to_owned();
        vec![
            text("address"),
            format!("since {}", text("since")),
            format!("until {}", text("until")),
            text("reason"),
        ]
    };
    columns(&blocks.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_has_a_line_a_block_and_portions_are_put_together() {
        let block = |address: &str| json!({ "address": address, "since": "S", "until": "U", "reason": "failed logins" });
        let ask = |request| match request {
            Request::BlockList { after: None } => {
                Ok(json!({ "blocks": [block("192.0.2.1")], "next": "192.0.2.1" }))
            }
            Request::BlockList { after: Some(after) } if after == "192.0.2.1" => {
                Ok(json!({ "blocks": [block("2001:db8::/64")], "next": null }))
            }
            other => Err(format!("{other:?}")),
        };
        assert_eq!(
            listing(&list(ask).unwrap()),
            "192.0.2.1      since S  until U  failed logins\n\
             2001:db8::/64  since S  until U  failed logins\n"
        );
        assert_eq!(listing(&[]), "");
    }
}
