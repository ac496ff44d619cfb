//! `pollux dkim`: keys for signing. A new one is made here and handed to the node.

use std::path::Path;

use serde_json::Value;

use super::arguments::DkimCommand;
use super::show::columns;
use super::{Problem, ask, print};
use crate::admin::control::client;
use crate::admin::control::dkim::WantedKey;
use crate::admin::control::request::Request;
use crate::admin::status::rfc3339;
use crate::clock::Clock;
use crate::policy::signing;
use crate::state::dkim::DkimAlgorithm;

pub fn run(socket: &Path, command: DkimCommand) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let done = |answer: &Value| print(&format!("{}\n", answer["done"].as_str().unwrap_or_default()));
    match command {
        DkimCommand::Generate { domain, selector, algorithm, hold } => {
            let algorithm = DkimAlgorithm::ALL.into_iter().find(|it| it.word() == algorithm);
            let algorithm = algorithm.ok_or("there is no such algorithm")?;
            let selector = selector.unwrap_or_else(|| selector_of_today(algorithm));
            let private = signing::generate(algorithm).map_err(|error| error.to_string())?.0;
            done(&ask(Request::DkimAdd { key: WantedKey { domain, selector, private, signs: !hold } })?);
        }
        DkimCommand::Import { domain, selector, file, hold } => {
            let private = ask::read_bounded(&file).map_err(|why| format!("{}: {why}", file.display()))?;
            done(&ask(Request::DkimAdd { key: WantedKey { domain, selector, private, signs: !hold } })?);
        }
        DkimCommand::List { json } => {
            let keys = ask(Request::DkimList)?;
            print(&if json { format!("{keys:#}\n") } else { listing(&keys) });
        }
        DkimCommand::Show { domain, selector } => {
            let key = ask(Request::DkimShow { domain, selector, private: false })?;
            print(&format!("{} TXT {}\n", text(&key["name"]), text(&key["record"])));
        }
        DkimCommand::Export { domain, selector, private } => {
            let key = ask(Request::DkimShow { domain, selector, private })?;
            print(key[if private { "private" } else { "public" }].as_str().unwrap_or_default());
        }
        DkimCommand::Activate { domain, selector } => {
            done(&ask(Request::DkimUse { domain, selector, signs: true })?);
        }
        DkimCommand::Retire { domain, selector } => {
            done(&ask(Request::DkimUse { domain, selector, signs: false })?);
        }
        DkimCommand::Remove { domain, selector } => done(&ask(Request::DkimRemove { domain, selector })?),
    }
    Ok(())
}

/// A date, and what tells the kinds of one day apart.
fn selector_of_today(algorithm: DkimAlgorithm) -> String {
    let today = rfc3339(Clock::system().now());
    let date: String = today.chars().take(10).filter(char::is_ascii_digit).collect();
    match algorithm {
        DkimAlgorithm::RsaSha256 => format!("p{date}"),
        DkimAlgorithm::Ed25519Sha256 => format!("p{date}e"),
    }
}

fn listing(keys: &Value) -> String {
    let cells = |key: &Value| {
        let signs = if key["signs"] == true { "signs" } else { "held" };
        vec![text(&key["name"]), text(&key["algorithm"]), signs.to_owned(), text(&key["created"])]
    };
    columns(&keys.as_array().into_iter().flatten().map(cells).collect::<Vec<_>>())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_has_a_line_a_key() {
        let key = |selector: &str, signs: bool| {
            json!({ "name": format!("{selector}._domainkey.a.test"), "algorithm": "rsa-sha256", "signs": signs,
                    "created": "2026-11-26T06:00:00Z", "record": "v=DKIM1" })
        };
        assert_eq!(
            listing(&json!([key("s1", true), key("s2.mail", false)])),
            "s1._domainkey.a.test       rsa-sha256  signs  2026-11-26T06:00:00Z\n\
             s2.mail._domainkey.a.test  rsa-sha256  held   2026-11-26T06:00:00Z\n"
        );
        assert!(selector_of_today(DkimAlgorithm::RsaSha256).len() == 9);
    }
}
