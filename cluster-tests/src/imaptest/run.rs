//! Runs one script: prepares the account as its header asks, sends its commands, holds the replies against it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::connection::{Connection, Followed};
use super::mailbox::{Mail, messages};
use super::pattern::{Variables, fill_in, matches, matches_prefix};
use super::script::{Group, Script, State};
use super::step::{Observers, name_of};
use super::value::Value;

/// The test's mailbox; all whose names begin with it are removed before a script.
const MAILBOX: &str = "imaptest";

/// Where scripts run, and as whom.
#[derive(Debug, Clone)]
pub struct Place {
    /// Connection *n* of a script is on node *n* of these, modulo their number.
    pub nodes: Vec<SocketAddr>,
    pub user: String,
    pub domain: String,
    pub password: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// Capabilities that the server does not announce.
    Skipped(Vec<String>),
    Failed(Vec<String>),
}

/// Runs the script in `file`.
pub fn run(place: &Place, file: &Path) -> Verdict {
    let script =
        match std::fs::read(file).map_err(|error| error.to_string()).and_then(|text| Script::parse(&text)) {
            Ok(script) => script,
            Err(error) => return Verdict::Failed(vec![error]),
        };
    match try_run(place, file, &script) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Failed(vec![error.to_string()]),
    }
}

fn try_run(place: &Place, file: &Path, script: &Script) -> io::Result<Verdict> {
    let mut observers = Observers::new(place)?;
    let announced = observers.must(b"CAPABILITY")?.concat();
    let announced = String::from_utf8_lossy(&announced).to_uppercase();
    let mut missing = script.capabilities.clone();
    missing.retain(|wanted| !announced.split(' ').any(|known| known == wanted));
    if !missing.is_empty() {
        return Ok(Verdict::Skipped(missing));
    }
    let mbox = file.with_extension("mbox");
    let mbox = if mbox.exists() { mbox } else { file.with_file_name("default.mbox") };
    let mut running = Running {
        connections: Vec::new(),
        observers,
        mail: messages(&std::fs::read(mbox)?),
        appended: 0,
        variables: place.variables(),
        failures: Vec::new(),
    };
    running.prepare(place, script)?;
    for group in &script.groups {
        if let Err(error) = running.group(group, script.ignore_extra_untagged) {
            running.failures.push(error);
            break;
        }
        if script.connections > 1 && script.state != State::NonAuth {
            running.observers.wait(MAILBOX)?;
        }
    }
    Ok(if running.failures.is_empty() { Verdict::Passed } else { Verdict::Failed(running.failures) })
}

impl Place {
    pub fn login(&self, node: SocketAddr) -> io::Result<Connection> {
        let mut connection = Connection::open(node)?;
        connection.must(format!("LOGIN {} {}", self.user, self.password).as_bytes())?;
        Ok(connection)
    }

    fn variables(&self) -> Variables {
        let text = |text: &str| Value::Atom(text.into());
        let address = format!("{}@{}", self.user, self.domain);
        let mut variables = Variables::from([
            ("domain".to_string(), text(&self.domain)),
            ("password".to_string(), text(&self.password)),
            ("mailbox".to_string(), text(MAILBOX)),
            // The scripts write the slash before it.
            ("mailbox_url".to_string(), text(MAILBOX)),
        ]);
        for number in ["", "2", "3", "4"] {
            variables.insert(format!("user{number}"), text(&address));
            variables.insert(format!("username{number}"), text(&self.user));
        }
        variables
    }
}

struct Running {
    connections: Vec<Connection>,
    observers: Observers,
    mail: Vec<Mail>,
    /// Messages of the mbox that the script itself has appended.
    appended: usize,
    variables: Variables,
    failures: Vec<String>,
}

impl Running {
    fn prepare(&mut self, place: &Place, script: &Script) -> io::Result<()> {
        for number in 0..script.connections {
            let node = place.nodes[number % place.nodes.len()];
            let connection =
                if script.state == State::NonAuth { Connection::open(node)? } else { place.login(node)? };
            self.connections.push(connection);
        }
        if script.state == State::NonAuth {
            return Ok(());
        }
        let first = &mut self.connections[0];
        for (list, removal) in [("LIST", "DELETE"), ("LSUB", "UNSUBSCRIBE")] {
            // From the end, so that inferiors go before what they are under.
            let replies = first.must(format!("{list} \"\" {MAILBOX}*").as_bytes())?;
            for name in replies.iter().rev().filter_map(|reply| name_of(reply)) {
                first.must(&[removal.as_bytes(), b" ", &name].concat())?;
            }
        }
        if script.state >= State::Created {
            first.must(format!("CREATE {MAILBOX}").as_bytes())?;
        }
        if script.state >= State::Appended {
            let count = script.messages.unwrap_or(self.mail.len());
            for mail in self.mail.iter().cycle().take(count) {
                let date = mail.date.iter().map(|date| format!("{date} ")).collect::<String>();
                let append = format!("APPEND {MAILBOX} {date}{{{}+}}\r\n", mail.raw.len());
                first.must(&[append.as_bytes(), &mail.raw].concat())?;
            }
        }
        self.observers.wait(MAILBOX)?;
        if script.state >= State::Selected {
            for connection in &mut self.connections {
                connection.must(format!("SELECT {MAILBOX}").as_bytes())?;
            }
        }
        Ok(())
    }

    fn group(&mut self, group: &Group, ignore_extra: bool) -> Result<(), String> {
        let mut waiting: Vec<(String, &super::script::Command, Vec<u8>)> = Vec::new();
        for command in &group.commands {
            let text = self.with_mail(&command.text);
            let sent = fill_in(&text, &self.variables)?;
            let connection = &mut self.connections[group.connection];
            let tag = connection.send(&sent).map_err(|error| error.to_string())?;
            // `$tag`: ESEARCH names the command it belongs to.
            self.variables.insert("tag".to_string(), Value::Atom(tag.clone().into_bytes()));
            waiting.push((tag, command, sent));
        }
        let connection = &mut self.connections[group.connection];
        let mut numbers = Followed::from(connection.exists);
        let mut replies: Vec<(Vec<u8>, Followed)> = Vec::new();
        while !waiting.is_empty() {
            let reply = connection.reply().map_err(|error| format!("{}: {error}", shown(&waiting[0].2)))?;
            let tagged = waiting.iter().position(|(tag, ..)| {
                reply.strip_prefix(tag.as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
            });
            if let Some(at) = tagged {
                let (tag, command, sent) = waiting.remove(at);
                self.failures.extend(ended(command, &sent, &reply[tag.len() + 1..], &mut self.variables));
            } else if let Some(untagged) = reply.strip_prefix(b"* ") {
                let change = connection.take_note(untagged);
                replies.push((untagged.to_vec(), numbers.clone()));
                if let Some(change) = change {
                    numbers.take_in(change);
                }
            }
        }
        self.hold_against(group, replies, ignore_extra)
    }

    /// `append` without a message takes the next of the mbox; without a mailbox, the test's.
    fn with_mail(&mut self, command: &[u8]) -> Vec<u8> {
        let is_append = command.len() >= 6 && command[..6].eq_ignore_ascii_case(b"append");
        let arguments = command.get(6..).unwrap_or_default().trim_ascii();
        let braced =
            arguments.windows(2).any(|two| two[0] != b'$' && two[1] == b'{') || arguments.starts_with(b"{");
        if !is_append || braced || self.mail.is_empty() {
            return command.to_vec();
        }
        let mail = &self.mail[self.appended % self.mail.len()];
        self.appended += 1;
        let mailbox = if arguments.is_empty() { b"$mailbox" } else { arguments };
        [b"append ", mailbox, b" {{{\n", &mail.raw[..], b"\n}}}"].concat()
    }

    fn hold_against(
        &mut self,
        group: &Group,
        replies: Vec<(Vec<u8>, Followed)>,
        ignore_extra: bool,
    ) -> Result<(), String> {
        let command = shown(&group.commands[0].text);
        // One reply may be what several patterns want: `1 fetch (uid 5)` and `1 fetch (flags ())`.
        let mut wanted_at = vec![false; replies.len()];
        for wanted in group.replies.iter().filter(|reply| reply.wanted) {
            let mut found = None;
            for (at, (reply, numbers)) in replies.iter().enumerate() {
                if matches(&wanted.pattern, reply, &mut self.variables, &numbers.0)? {
                    found = Some(at);
                    break;
                }
            }
            match found {
                Some(at) => wanted_at[at] = true,
                None => {
                    let got: Vec<String> = replies.iter().map(|(reply, _)| shown(reply)).collect();
                    self.failures.push(format!(
                        "{command}: missing {}; got {}",
                        shown(&wanted.pattern),
                        got.join(" | ")
                    ));
                }
            }
        }
        for unwanted in group.replies.iter().filter(|reply| !reply.wanted) {
            for (reply, numbers) in &replies {
                if matches(&unwanted.pattern, reply, &mut self.variables.clone(), &numbers.0)? {
                    self.failures.push(format!("{command}: unwanted {}", shown(reply)));
                }
            }
        }
        let extra = replies.iter().zip(wanted_at).filter(|(_, wanted)| !ignore_extra && !wanted);
        self.failures.extend(extra.map(|((reply, _), _)| format!("{command}: extra {}", shown(reply))));
        Ok(())
    }
}

/// What is wrong with how a command ended.
fn ended(
    command: &super::script::Command,
    sent: &[u8],
    end: &[u8],
    variables: &mut Variables,
) -> Option<String> {
    let status = end.split(|byte| *byte == b' ').next().unwrap_or_default();
    if !command.status.is_empty() && !status.eq_ignore_ascii_case(command.status.as_bytes()) {
        return Some(format!("{} -> {}, not {}", shown(sent), shown(end), command.status));
    }
    if command.prefix.is_empty() {
        return None;
    }
    let text = end[status.len()..].trim_ascii_start();
    match matches_prefix(&command.prefix, text, variables) {
        Ok(true) => None,
        Ok(false) => Some(format!("{} -> {}, not {}", shown(sent), shown(end), shown(&command.prefix))),
        Err(error) => Some(error),
    }
}

/// As much as tells what it was.
fn shown(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().take(300).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    if bytes.len() > 300 { format!("{text}...") } else { text }
}
