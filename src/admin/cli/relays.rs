//! `pollux relay`: servers that mail goes through.

use std::path::Path;

use serde_json::Value;

use super::arguments::RelayCommand;
use super::show::columns;
use super::{Problem, ask, print};
use crate::admin::control::client;
use crate::admin::control::relays::WantedRelay;
use crate::admin::control::request::Request;

pub fn run(socket: &Path, command: RelayCommand) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let request = match command {
        RelayCommand::List { json } => {
            let relays = ask(Request::RelayList)?;
            print(&if json { format!("{relays:#}\n") } else { listing(&relays) });
            return Ok(());
        }
        RelayCommand::Add { name, host, for_recipient, for_sender, tls, user, password_stdin } => {
            let password = match &user {
                Some(user) => Some(ask::clear_password(user, password_stdin)?),
                None => None,
            };
            let usual = if user.is_some() { "verified" } else { "opportunistic" };
            let tls = tls.unwrap_or_else(|| usual.to_owned());
            let relay = WantedRelay { name, host, for_recipient, for_sender, tls, user, password };
            Request::RelayAdd { relay }
        }
        RelayCommand::Remove { name } => Request::RelayRemove { name },
    };
    print(&format!("{}\n", ask(request)?["done"].as_str().unwrap_or_default()));
    Ok(())
}

fn listing(relays: &Value) -> String {
    let cells = |relay: &Value| {
        let text = |key: &str| relay[key].as_str().unwrap_or("-").to_owned();
        vec![text("name"), text("for"), text("host"), format!("TLS {}", text("tls")), text("user")]
    };
    columns(&relays.as_array().into_iter().flatten().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_has_a_line_a_relay() {
        let relays = json!([
            { "name": "provider", "for": "all", "host": "smtp.a.test:587", "tls": "verified", "user": "me" },
            { "name": "branch", "for": "recipient @b.test", "host": "192.0.2.1:25", "tls": "off", "user": null },
        ]);
        assert_eq!(
            listing(&relays),
            "provider  all                smtp.a.test:587  TLS verified  me\n\
             branch    recipient @b.test  192.0.2.1:25     TLS off       -\n"
        );
    }
}
