//! Commands that the running node answers: arguments to a request, the answer to text.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::arguments::{Alias, Cluster, Command, Domain, Place, Policy, SecurityCommand, Upgrade, User};
use super::{Problem, load, print, show, socket, words};
use crate::admin::check::{self, Finding, Level};
use crate::admin::control::client;
use crate::admin::control::request::{LINE_BYTES_MAX, Request};
use crate::admin::status::{self, Report};
use crate::clock::Clock;
use crate::state::password;
use crate::state::scram_keys::NewScramKeys;

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Done,
    Token,
    Status,
    Members,
    Upgrade,
    Security,
    Domains,
    Users,
    User,
    Aliases,
    Policies,
    Policy,
    PolicyFile,
}

pub fn ask(place: &Place, command: Command) -> Result<(), Problem> {
    if let Command::Cluster(Cluster::Status { watch: true, json }) = command {
        return watch(place, json);
    }
    let socket = socket(place)?;
    let (request, form) = request(command)?;
    let answer = client::ask(&socket, request).map_err(|failure| failure.to_string())?;
    print(&show::answer(form, &answer, &Clock::system())?);
    Ok(())
}

/// Shows the status in place, every second, until interrupted. A node that is away is said, not fatal.
fn watch(place: &Place, json: bool) -> Result<(), Problem> {
    let socket = socket(place)?;
    loop {
        let text = match client::ask(&socket, Request::Status) {
            Ok(answer) if json => format!("{answer}\n"),
            Ok(answer) => show::answer(Form::Status, &answer, &Clock::system())?,
            Err(failure) => format!("{failure}\n"),
        };
        // Home, the text with each line's rest cleared, then all below cleared: no flicker.
        let frame = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"));
        print(if json { &text } else { &frame });
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What to ask, and how to show what comes back.
fn request(command: Command) -> Result<(Request, Form), Problem> {
    let form = |json: bool, form: Form| if json { Form::Json } else { form };
    Ok(match command {
        Command::JoinToken { role, ttl, json } => {
            (Request::JoinToken { role, ttl_seconds: ttl }, form(json, Form::Token))
        }
        Command::Cluster(Cluster::Status { json, .. }) => (Request::Status, form(json, Form::Status)),
        Command::Cluster(Cluster::Members { json }) => (Request::Status, form(json, Form::Members)),
        Command::Cluster(Cluster::Transfer { node }) => (Request::Transfer { node }, Form::Done),
        Command::Cluster(Cluster::Drain { node, .. }) => (Request::Drain { node }, Form::Done),
        Command::Cluster(Cluster::Undrain { node }) => (Request::Undrain { node }, Form::Done),
        Command::Security(SecurityCommand::Report { json }) => {
            (Request::Security, form(json, Form::Security))
        }
        Command::Cluster(Cluster::Upgrade(Upgrade::Status { json })) => {
            (Request::Upgrade { finalize: false }, form(json, Form::Upgrade))
        }
        Command::Cluster(Cluster::Upgrade(Upgrade::Finalize)) => {
            (Request::Upgrade { finalize: true }, Form::Done)
        }
        Command::Cluster(Cluster::Quarantine) => (Request::Quarantine, Form::Done),
        Command::Cluster(Cluster::Remove { node, lost }) => (Request::Remove { node, lost }, Form::Done),
        Command::Domain(Domain::Add { name }) => (Request::DomainAdd { name }, Form::Done),
        Command::Domain(Domain::List { json }) => (Request::DomainList, form(json, Form::Domains)),
        Command::Domain(Domain::Remove { name }) => (Request::DomainRemove { name }, Form::Done),
        Command::User(user) => user_request(user)?,
        Command::Alias(alias) => alias_request(alias),
        Command::Policy(policy) => policy_request(policy)?,
        Command::Init(_)
        | Command::Serve
        | Command::HoldAddresses
        | Command::Join(_)
        | Command::Cluster(Cluster::Verify { .. } | Cluster::Compare { .. })
        | Command::Backup(_)
        | Command::Check { .. }
        | Command::Queue(_)
        | Command::Dkim(_)
        | Command::Relay(_)
        | Command::Firewall(_)
        | Command::Dns(_)
        | Command::Ca(_)
        | Command::Certificate(_)
        | Command::Srs(_)
        | Command::Sieve(_)
        | Command::Mail(_)
        | Command::Completions { .. }
        | Command::Manual { .. }
        | Command::Cluster(Cluster::Takeover { .. })
        | Command::Trace { .. }
        | Command::Block(_)
        | Command::Demo(_) => {
            return Err("this command does not ask the node".to_owned());
        }
    })
}

fn user_request(user: User) -> Result<(Request, Form), Problem> {
    Ok(match user {
        User::Add { name, password_stdin, quota } => {
            let (password_phc, scram) = read_password(&name, password_stdin)?;
            (Request::UserAdd { name, password_phc, scram, quota }, Form::Done)
        }
        User::Passwd { name, password_stdin } => {
            let (password_phc, scram) = read_password(&name, password_stdin)?;
            (Request::UserPasswd { name, password_phc, scram }, Form::Done)
        }
        User::List { json } => (Request::UserList, if json { Form::Json } else { Form::Users }),
        User::Show { name, json } => (Request::UserShow { name }, if json { Form::Json } else { Form::User }),
        User::Set { name, quota, enable, disable } => {
            let enabled = if enable || disable { Some(enable) } else { None };
            (Request::UserSet { name, quota, enabled }, Form::Done)
        }
        User::Remove { name } => (Request::UserRemove { name }, Form::Done),
    })
}

fn alias_request(alias: Alias) -> (Request, Form) {
    let listing = |json: bool| if json { Form::Json } else { Form::Aliases };
    match alias {
        Alias::Add { address, targets } => (Request::AliasAdd { address, targets }, Form::Done),
        Alias::List { json } => (Request::AliasList, listing(json)),
        Alias::Show { address, json } => (Request::AliasShow { address }, listing(json)),
        Alias::Set { address, targets } => (Request::AliasSet { address, targets }, Form::Done),
        Alias::Remove { address } => (Request::AliasRemove { address }, Form::Done),
    }
}

fn policy_request(policy: Policy) -> Result<(Request, Form), Problem> {
    Ok(match policy {
        Policy::List { json } => (Request::PolicyList, if json { Form::Json } else { Form::Policies }),
        Policy::Show { key, json } => {
            (Request::PolicyShow { key }, if json { Form::Json } else { Form::Policy })
        }
        Policy::Set { key, value } => (Request::PolicySet { changes: vec![(key, Some(value))] }, Form::Done),
        Policy::Unset { key } => (Request::PolicySet { changes: vec![(key, None)] }, Form::Done),
        Policy::Export => (Request::PolicyList, Form::PolicyFile),
        Policy::Import { file } => {
            let name = file.display().to_string();
            let text = read_bounded(&file).map_err(|problem| format!("{name}: {problem}"))?;
            let changes = words::policy_file(&text).map_err(|problem| format!("{name}: {problem}"))?;
            (Request::PolicySet { changes }, Form::Done)
        }
        Policy::Rule(_) | Policy::Test(_) => return Err("this command asks in its own way".to_owned()),
    })
}

pub fn read_bounded(file: &Path) -> Result<String, Problem> {
    let mut text = String::new();
    let limit = LINE_BYTES_MAX as u64 / 2;
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().take(limit + 1).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|file| file.take(limit + 1).read_to_string(&mut text)),
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > limit {
        return Err(format!("is longer than {limit} bytes; is it the right file?"));
    }
    Ok(text)
}

/// What the operator types, twice, or the one line on standard input.
pub fn clear_password(name: &str, from_stdin: bool) -> Result<String, Problem> {
    if from_stdin {
        return from_one_line();
    }
    let first = prompted(&format!("Password for {name}: "))?;
    if first != prompted("Again: ")? {
        return Err("the two passwords differ; try again".to_owned());
    }
    words::password(&first)
}

/// One that is set already, elsewhere.
pub fn existing_password(name: &str, from_stdin: bool) -> Result<String, Problem> {
    match from_stdin {
        true => from_one_line(),
        false => words::password(&prompted(&format!("Password of {name}: "))?),
    }
}

fn from_one_line() -> Result<String, Problem> {
    let mut line = String::new();
    let limit = words::PASSWORD_BYTES_MAX as u64 + 3;
    let read = std::io::stdin().lock().take(limit).read_to_string(&mut line);
    read.map_err(|error| format!("standard input cannot be read as text: {error}"))?;
    words::password(&line)
}

fn prompted(prompt: &str) -> Result<String, Problem> {
    let no_terminal = |_| "there is no terminal to ask for the password; use --password-stdin".to_owned();
    rpassword::prompt_password(prompt).map_err(no_terminal)
}

/// The PHC string and SCRAM keys of it.
fn read_password(name: &str, from_stdin: bool) -> Result<(String, Option<NewScramKeys>), Problem> {
    let clear = clear_password(name, from_stdin)?;
    let clock = Clock::system();
    let mut salt = [0; 16];
    clock.fill(&mut salt);
    let scram = NewScramKeys::of(clear.as_bytes(), |octets| clock.fill(octets));
    Ok((password::hash(clear.as_bytes(), &salt), scram))
}

/// The check-up: what this side sees, then what the node says. Exit 1 if anything fails.
pub fn check(place: &Place, json: bool) -> Result<ExitCode, Problem> {
    Ok(tell(&findings(place), json))
}

/// 1 where one of them is a failure.
pub fn tell(findings: &[Finding], json: bool) -> ExitCode {
    match json {
        true => print(&format!("{}\n", serde_json::json!(findings))),
        false => print(&check::render(findings)),
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    if failed { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn findings(place: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    if place.config.is_some() {
        match load(place) {
            Ok(config) => {
                findings.push(Finding::new(Level::Ok, "configuration", format!("{} is valid", config.name)));
                findings.extend(check::tls_files(&config, Clock::system().now()));
            }
            Err(problem) => {
                findings.push(Finding::new(Level::Fail, "configuration", problem));
                return findings;
            }
        }
    }
    let answer = socket(place)
        .and_then(|socket| client::ask(&socket, Request::Check).map_err(|failure| failure.to_string()));
    let from_node = answer.and_then(|answer| {
        serde_json::from_value::<Vec<Finding>>(answer).map_err(|error| format!("the node's answer: {error}"))
    });
    match from_node {
        Ok(more) => findings.extend(more),
        Err(problem) => findings.push(Finding::new(Level::Fail, "node", problem)),
    }
    findings
}

/// The status out of an answer.
pub fn report(answer: &Value) -> Result<Report, Problem> {
    understood(answer.clone())
}

/// The shape differs only if the node is of another build.
pub fn understood<T: DeserializeOwned>(answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|error| {
        format!("the node's answer is not understood ({error}); use the pollux command of its build")
    })
}

pub fn status_text(answer: &Value, clock: &Clock) -> Result<String, Problem> {
    Ok(status::render(&report(answer)?, clock.now()))
}
