//! The command line. Exit 0 done, 1 failed, 2 usage; an error is one line on stderr that says what to do.

pub mod arguments;
mod ask;
mod authorities;
mod backup;
mod blocks;
mod certificate;
mod compare;
mod dkim;
mod dns;
mod drain;
mod firewall;
pub mod found;
pub mod identity;
mod mail;
mod manual;
pub mod progress;
mod queue;
mod rehearsal;
mod relays;
mod rules;
mod show;
mod sieve;
mod srs;
mod trace;
mod verify;
pub mod words;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use serde_json::Value;

use self::arguments::{Arguments, Backup, Cluster, Command, Place, Policy};
use crate::address;
use crate::admin::demo;
use crate::config::Config;
use crate::node;

/// One line for stderr.
pub type Problem = String;

/// Runs one command.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match execute(arguments) {
        Ok(code) => code,
        Err(problem) => {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "pollux: {}", one_line(&problem));
            ExitCode::from(1)
        }
    }
}

fn execute(arguments: Arguments) -> Result<ExitCode, Problem> {
    let Arguments { place, command } = arguments;
    match command {
        Command::Init(init) => found::init(&init)?,
        Command::Join(join) => found::join(&join)?,
        Command::Serve => node::serve(load(&place)?)?,
        Command::HoldAddresses => address::holder::run()?,
        Command::Completions { shell } => manual::completions(shell),
        Command::Manual { dir } => manual::pages(&dir)?,
        Command::Demo(arguments) => return Ok(demo::run(arguments)),
        Command::Cluster(Cluster::Takeover { fenced: _, lost }) => found::take_over(&load(&place)?, lost)?,
        Command::Cluster(Cluster::Drain { node, wait: Some(seconds) }) => {
            drain::run(&socket(&place)?, node, Duration::from_secs(seconds))?;
        }
        Command::Cluster(Cluster::Compare { dir, mail_into, json }) => {
            compare::run(&socket(&place)?, &dir, mail_into.as_deref(), json)?;
        }
        Command::Cluster(Cluster::Verify { bodies, json }) => {
            return verify::run(&socket(&place)?, bodies, json);
        }
        Command::Backup(Backup::Create { to, json }) => backup::create(&socket(&place)?, to, json)?,
        Command::Backup(wanted) => backup::run(wanted)?,
        Command::Check { json } => return ask::check(&place, json),
        Command::Policy(Policy::Rule(wanted)) => rules::run(&socket(&place)?, wanted)?,
        Command::Policy(Policy::Test(wanted)) => rehearsal::run(&socket(&place)?, wanted)?,
        Command::Block(wanted) => blocks::run(&socket(&place)?, wanted)?,
        Command::Dkim(wanted) => dkim::run(&socket(&place)?, wanted)?,
        Command::Ca(wanted) => authorities::run(&socket(&place)?, wanted)?,
        Command::Relay(wanted) => relays::run(&socket(&place)?, wanted)?,
        Command::Dns(wanted) => return dns::run(&socket(&place)?, wanted),
        Command::Firewall(wanted) => firewall::run(&socket(&place)?, wanted)?,
        Command::Certificate(wanted) => {
            let own = load(&place).is_ok_and(|config| config.tls.is_some());
            certificate::run(&socket(&place)?, wanted, own)?;
        }
        Command::Srs(wanted) => srs::run(&socket(&place)?, wanted)?,
        Command::Sieve(wanted) => sieve::run(&place, wanted)?,
        Command::Queue(wanted) => queue::run(&socket(&place)?, wanted)?,
        Command::Mail(wanted) => return mail::run(&socket(&place)?, wanted),
        Command::Trace { about, since, json } => trace::run(&socket(&place)?, about, (since, json))?,
        other => ask::ask(&place, other)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn load(place: &Place) -> Result<Config, Problem> {
    let Some(path) = &place.config else {
        return Err("which node? Give --config D/pollux.toml or set POLLUX_CONFIG".to_owned());
    };
    Config::load(path).map_err(|error| error.to_string())
}

/// Where the running node listens for commands.
fn socket(place: &Place) -> Result<PathBuf, Problem> {
    if let Some(socket) = &place.socket {
        return Ok(socket.clone());
    }
    if place.config.is_none() && Path::new("/etc/pollux/pollux.toml").exists() {
        let config = Some(PathBuf::from("/etc/pollux/pollux.toml"));
        return Ok(load(&Place { config, socket: None })?.control_socket);
    }
    if place.config.is_none() {
        return Err(
            "which node? Give --config D/pollux.toml or --socket D/control.sock, or set POLLUX_CONFIG"
                .to_owned(),
        );
    }
    Ok(load(place)?.control_socket)
}

/// What clap says, in one line; help and version go to stdout and are no failure.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    let _ = writeln!(std::io::stderr(), "pollux: {}", usage_line(error));
    ExitCode::from(2)
}

fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.split("\n\nUsage:").next().unwrap_or_default();
    let said = said.split("\n\nFor more").next().unwrap_or_default();
    let said = said.strip_prefix("error: ").unwrap_or(said);
    format!("{}; see 'pollux --help'", one_line(said))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A listing that comes in portions: what stands under `key` of each, until none is next or there are `limit`.
fn portions(
    key: &str,
    limit: usize,
    mut ask: impl FnMut(&Value) -> Result<Value, Problem>,
) -> Result<Vec<Value>, Problem> {
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut answer = ask(&after)?;
        if let Some(Value::Array(more)) = answer.get_mut(key).map(Value::take) {
            all.extend(more);
        }
        after = answer.get_mut("next").map(Value::take).unwrap_or_default();
        if after.is_null() || all.len() >= limit {
            all.truncate(limit);
            return Ok(all);
        }
    }
}

/// Prints to stdout; a closed pipe (`| head`) is no failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_contract_of_commands_parses() {
        for line in [
            "pollux init --dir D --role data --domain example.com --hostname mx1.example.com",
            "pollux init --dir D --name node1 --listen 127.0.0.2 --port-offset 10000 --cluster-address 127.0.0.2",
            "pollux serve --config D/pollux.toml",
            "pollux join-token --role witness --ttl 1h",
            "pollux --config D/pollux.toml join-token",
            "pollux join --token T --dir D",
            "pollux cluster status --watch",
            "pollux cluster drain node1",
            "pollux cluster drain node1 --wait",
            "pollux cluster drain --wait=30m 1",
            "pollux cluster undrain node1",
            "pollux cluster verify",
            "pollux cluster verify --bodies --json",
            "pollux cluster status --json --socket D/control.sock",
            "pollux cluster members --json",
            "pollux cluster transfer node2",
            "pollux cluster remove 3",
            "pollux cluster remove node2 --lost",
            "pollux --config D/pollux.toml cluster takeover --fenced --lost",
            "pollux cluster quarantine",
            "pollux domain add example.com",
            "pollux domain list --json",
            "pollux user add bob --password-stdin --quota 5G",
            "pollux user show bob --json",
            "pollux user set bob --disable",
            "pollux user passwd bob",
            "pollux alias add info bob carol@example.com",
            "pollux alias set info bob",
            "pollux policy set smtp.port 2525",
            "pollux policy unset smtp.port",
            "pollux policy export",
            "pollux policy import -",
            "pollux policy rule add partner mask 192.0.2.0/24 allow --before spam",
            "pollux policy rule list --json",
            "pollux policy rule remove partner",
            "pollux policy rule move partner --before spam",
            "pollux policy rule move partner --last",
            "pollux policy test --ip 192.0.2.1 --helo x.test --from a@a.test --rcpt b@b.test --rcpt c@b.test mail.eml",
            "pollux policy test --ip 2001:db8::1 --from <> --rcpt b@b.test --json",
            "pollux block list --json",
            "pollux block add 192.0.2.1 --for 2d --reason scans",
            "pollux block add 2001:db8::1",
            "pollux block clear 192.0.2.1",
            "pollux block clear --all",
            "pollux backup create /mnt/backups --json",
            "pollux backup list /mnt/backups --json",
            "pollux backup verify /mnt/backups --backup 20261127T133742.123Z --json",
            "pollux backup restore /mnt/backups --dir D --at 2026-11-27T13:00:00Z --name node1",
            "pollux backup restore /mnt/backups --dir D --backup 20261127T133742.123Z --partial --json",
            "pollux check --json",
            "pollux queue list --sender alice --recipient bob --host example.com --older-than 2h --limit 5 --json",
            "pollux queue show 7 --json",
            "pollux queue retry 7 8",
            "pollux queue hold --all",
            "pollux queue release --host example.com",
            "pollux queue remove 7",
            "pollux queue sts --json",
            "pollux queue tls-reports --send --json",
            "pollux dkim generate example.com --selector s1 --algorithm ed25519-sha256 --hold",
            "pollux dkim import example.com s1 key.pem",
            "pollux dkim list --json",
            "pollux dkim show example.com s1",
            "pollux dkim export example.com s1 --private",
            "pollux dkim activate example.com s1",
            "pollux dkim retire example.com s1",
            "pollux dkim remove example.com s1",
            "pollux relay add provider --host smtp.example.net:587 --user me --password-stdin",
            "pollux relay add branch --host 192.0.2.1 --for-recipient @branch.example --tls off",
            "pollux relay add boss --host smtp.example.org --for-sender boss@example.com",
            "pollux relay list --json",
            "pollux relay remove branch",
            "pollux firewall add office imap imaps --action allow --from 192.168.1.0/24,fd00::/8 --interface eth0",
            "pollux firewall add web tcp/8080 udp/5000-5010 --action drop --before office --dry-run",
            "pollux firewall list --json",
            "pollux firewall render",
            "pollux dns records example.com --json",
            "pollux dns check example.com",
            "pollux firewall status --json",
            "pollux firewall remove office --force",
            "pollux ca add corp ca.pem --for corp.example",
            "pollux ca add world -",
            "pollux ca list --json",
            "pollux ca remove corp",
            "pollux certificate show --json",
            "pollux certificate set cert.pem key.pem",
            "pollux certificate remove",
            "pollux certificate renew --new-key",
            "pollux srs show --json",
            "pollux srs rotate",
            "pollux mail import --user bob maildir /home/bob/Maildir",
            "pollux mail import --user bob --into Old --json mbox sent.mbox --folder Sent",
            "pollux mail import --user bob imap mail.example.com --login bob@example.com --password-stdin",
            "pollux mail import --user bob imap 10.0.0.9 --port 1143 --security off --login bob",
            "pollux mail export --user bob maildir /srv/out",
            "pollux mail export --user bob --json mbox /srv/out",
            "pollux sieve list bob --json",
            "pollux sieve show bob",
            "pollux sieve show bob main",
            "pollux sieve put bob main filter.sieve --activate",
            "pollux sieve remove bob main",
            "pollux sieve activate bob main",
            "pollux sieve deactivate bob",
            "pollux sieve check filter.sieve",
            "pollux trace <1@example.test> --since 2d --json",
            "pollux completions bash",
            "pollux manual target/man",
            "pollux demo --nodes 2 --base-port 10000 --no-witness --users 3 --no-tour --keep",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_the_way_to_help() {
        for (line, said) in [
            ("pollux frobnicate", "unrecognized subcommand 'frobnicate'"),
            ("pollux join-token --ttl 1y", "write a time such as 30m, 1h or 2d"),
            ("pollux join --dir D", "--token <TOKEN>"),
            ("pollux alias add info", "<TARGETS>"),
            ("pollux user set bob --enable --disable", "cannot be used with"),
            ("pollux policy rule add x cook a.test allow", "invalid value 'cook'"),
            ("pollux policy rule move x", "--before <RULE>"),
            ("pollux cluster takeover --lost", "--fenced"),
            ("pollux block clear", "<ADDRESS|--all>"),
            ("pollux mail import maildir x", "--user <USER>"),
            ("pollux mail export --user bob tar x", "invalid value 'tar'"),
            ("pollux block clear 192.0.2.1 --all", "cannot be used with"),
            ("pollux init --dir D --role cook", "invalid value 'cook'"),
        ] {
            let text = usage_line(&parse(line).unwrap_err());
            assert!(text.contains(said), "{line}: {text}");
            assert!(text.ends_with("; see 'pollux --help'"), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn without_a_node_named_the_error_says_how_to_name_one() {
        let nowhere = Place { config: None, socket: None };
        assert!(load(&nowhere).unwrap_err().contains("POLLUX_CONFIG"));
        let socket_given = Place { config: None, socket: Some("S".into()) };
        assert_eq!(socket(&socket_given).unwrap(), Path::new("S"));
    }
}
