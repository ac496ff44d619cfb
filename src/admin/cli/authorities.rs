//! `pollux ca`: certificates that are believed of other servers.

use std::path::Path;

use serde_json::Value;

use super::arguments::CaCommand;
use super::show::columns;
use super::{Problem, ask, print};
use crate::admin::control::authorities::WantedAuthority;
use crate::admin::control::client;
use crate::admin::control::request::Request;

pub fn run(socket: &Path, command: CaCommand) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let request = match command {
        CaCommand::List { json } => {
            let authorities = ask(Request::AuthorityList)?;
            print(&if json { format!("{authorities:#}\n") } else { listing(&authorities) });
            return Ok(());
        }
        CaCommand::Add { name, file, hosts } => {
            let pem = ask::read_bounded(&file).map_err(|why| format!("{}: {why}", file.display()))?;
            Request::AuthorityAdd { authority: WantedAuthority { name, hosts, pem } }
        }
        CaCommand::Remove { name } => Request::AuthorityRemove { name },
    };
    print(&format!("{}\n", ask(request)?["done"].as_str().unwrap_or_default()));
    Ok(())
}

fn listing(authorities: &Value) -> String {
    let cells = |authority: &Value| {
        let text = |key: &str| authority[key].as_str().unwrap_or("all hosts").to_owned();
        vec![text("name"), text("for"), format!("until {}", text("until")), text("subject")]
    };
    columns(&authorities.as_array().into_iter().flatten().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_has_a_line_a_certificate() {
        let authorities = json!([
            { "name": "corp", "for": "corp.test", "until": "2031-01-01T00:00:00Z", "subject": "CN=Corp CA" },
            { "name": "w", "for": null, "until": "2027-01-01T00:00:00Z", "subject": "O=W" },
        ]);
        assert_eq!(
            listing(&authorities),
            "corp  corp.test  until 2031-01-01T00:00:00Z  CN=Corp CA\n\
             w     all hosts  until 2027-01-01T00:00:00Z  O=W\n"
        );
    }
}
