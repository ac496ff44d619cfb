//! `pollux cluster drain --wait`: drains, then tells how far it is until the node may be switched off.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::ask::report;
use super::{Problem, print};
use crate::admin::control::client;
use crate::admin::control::request::Request;

/// Between two looks.
const LOOK_EACH: Duration = Duration::from_millis(500);

/// `within` counts from when the node was told.
pub fn run(socket: &Path, node: String, within: Duration) -> Result<(), Problem> {
    let answer = client::ask(socket, Request::Drain { node }).map_err(|failure| failure.to_string())?;
    let name = answer["node"].as_str().unwrap_or_default().to_owned();
    let (until, mut said) = (Instant::now() + within, String::new());
    loop {
        let waits_for = waits_for(socket, &name);
        let Some(waits_for) = waits_for else {
            print(&format!("{name} is drained and may be switched off\n"));
            return Ok(());
        };
        if Instant::now() >= until {
            return Err(format!(
                "{name} may not be switched off yet ({waits_for}); wait on with 'pollux cluster drain {name} \
                 --wait', or take it back with 'pollux cluster undrain {name}'"
            ));
        }
        if waits_for != said {
            print(&format!("{name}: {waits_for}\n"));
            said = waits_for;
        }
        sleep(LOOK_EACH);
    }
}

/// `None`: it may be switched off. A node that cannot be asked just now is no reason to give up.
fn waits_for(socket: &Path, name: &str) -> Option<String> {
    let answer = match client::ask(socket, Request::Status) {
        Ok(answer) => answer,
        Err(failure) => return Some(failure.to_string()),
    };
    let report = match report(&answer) {
        Ok(report) => report,
        Err(problem) => return Some(problem),
    };
    match report.nodes.into_iter().find(|node| node.name == name) {
        None => Some("it is no member any longer".to_owned()),
        Some(node) => match node.drain {
            None => Some("it has yet to hear of it, or was undrained".to_owned()),
            Some(drain) => drain.waits_for,
        },
    }
}
