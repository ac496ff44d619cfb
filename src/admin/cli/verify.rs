//! `pollux cluster verify`: asks, waits as long as it takes, shows what was found; exit 1 if something is or was wrong.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::ask::understood;
use super::{Problem, print};
use crate::admin::control::client;
use crate::admin::control::request::Request;
use crate::admin::verify::{Report, render};

/// All bodies of some terabytes.
const ANSWER_MAX: Duration = Duration::from_secs(3 * 86_400);

pub fn run(socket: &Path, bodies: bool, json: bool) -> Result<ExitCode, Problem> {
    let answer = client::ask_patiently(socket, Request::Verify { bodies }, ANSWER_MAX)
        .map_err(|failure| failure.to_string())?;
    let report: Report = understood(answer)?;
    match json {
        true => print(&format!("{}\n", serde_json::json!(report))),
        false => print(&render(&report)),
    }
    Ok(if report.equal { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
