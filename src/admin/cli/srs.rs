//! `pollux srs`: the secret of return addresses. The next one is made here and handed to the node.

use std::path::Path;

use serde_json::Value;

use super::arguments::SrsCommand;
use super::{Problem, print};
use crate::admin::control::client;
use crate::admin::control::request::Request;
use crate::admin::control::srs::WantedSecret;
use crate::clock::Clock;
use crate::state::srs::{NewSrsSecret, SECRET_BYTES};

pub fn run(socket: &Path, command: SrsCommand) -> Result<(), Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    match command {
        SrsCommand::Show { json } => {
            let shown = ask(Request::SrsShow)?;
            print(&if json { format!("{shown:#}\n") } else { listing(&shown) });
        }
        SrsCommand::Rotate => {
            let mut dice = [0; SECRET_BYTES];
            Clock::system().fill(&mut dice);
            let secret = WantedSecret(NewSrsSecret::of(dice, true).secret.0);
            let answer = ask(Request::SrsRotate { secret })?;
            print(&format!("{}\n", answer["done"].as_str().unwrap_or_default()));
        }
    }
    Ok(())
}

fn listing(shown: &Value) -> String {
    match (shown["current_made"].as_str(), shown["previous_made"].as_str()) {
        (None, _) => "no secret yet: it is made when the first mail is passed on\n".to_owned(),
        (Some(current), None) => format!("in use since {current}\n"),
        (Some(current), Some(previous)) => {
            format!("in use since {current}\nstill good: the one made at {previous}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_said_since_when() {
        let (one, other) = ("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
        for (current, previous, told) in [
            (None, None, "no secret yet: it is made when the first mail is passed on\n".to_owned()),
            (Some(one), None, format!("in use since {one}\n")),
            (Some(one), Some(other), format!("in use since {one}\nstill good: the one made at {other}\n")),
        ] {
            assert_eq!(listing(&json!({ "current_made": current, "previous_made": previous })), told);
        }
    }
}
