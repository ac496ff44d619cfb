//! `pollux dns`: what the zones of our domains should say, and what they say.

use std::path::Path;
use std::process::ExitCode;

use super::arguments::DnsCommand;
use super::{Problem, ask, print};
use crate::admin::check::Finding;
use crate::admin::control::client;
use crate::admin::control::request::Request;

pub fn run(socket: &Path, command: DnsCommand) -> Result<ExitCode, Problem> {
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    match command {
        DnsCommand::Records { domain, json } => {
            let answer = ask(Request::DnsRecords { domain })?;
            print(&match json {
                true => format!("{answer:#}\n"),
                false => answer["zone"].as_str().unwrap_or_default().to_owned(),
            });
            Ok(ExitCode::SUCCESS)
        }
        DnsCommand::Check { domain, json } => {
            let answer = ask(Request::DnsCheck { domain })?;
            let findings: Vec<Finding> =
                serde_json::from_value(answer).map_err(|error| format!("the node's answer: {error}"))?;
            Ok(ask::tell(&findings, json))
        }
    }
}
