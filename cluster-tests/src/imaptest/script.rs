//! A script, read from its file: a header, then groups of commands with the replies that are wanted.

use super::value::split_inline;

/// How far the server is brought before the script begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    NonAuth,
    Auth,
    Created,
    Appended,
    Selected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// In capitals.
    pub capabilities: Vec<String>,
    pub connections: usize,
    /// `None`: all messages of the mbox.
    pub messages: Option<usize>,
    pub state: State,
    pub ignore_extra_untagged: bool,
    pub groups: Vec<Group>,
}

/// Commands that are sent together, on one connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// From 0.
    pub connection: usize,
    pub commands: Vec<Command>,
    pub replies: Vec<Reply>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    pub text: Vec<u8>,
    /// OK, NO or BAD; empty: whatever it is.
    pub status: String,
    /// What stands behind the status, as a pattern.
    pub prefix: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub wanted: bool,
    pub pattern: Vec<u8>,
}

/// A line of the body, as it can be told by itself.
enum Line {
    Reply(Reply),
    Status {
        connection: usize,
        status: String,
        rest: Vec<u8>,
    },
    /// A command, or `tag OK`.
    Other {
        connection: usize,
        text: Vec<u8>,
    },
}

impl Script {
    pub fn parse(file: &[u8]) -> Result<Script, String> {
        let file = without_conditions(file);
        let mut script = Script {
            capabilities: Vec::new(),
            connections: 1,
            messages: None,
            state: State::Selected,
            ignore_extra_untagged: true,
            groups: Vec::new(),
        };
        let body = script.header(&file)?;
        let lines: Vec<Line> = logical_lines(body)?
            .iter()
            .filter_map(|line| script.line(line).transpose())
            .collect::<Result<_, _>>()?;
        script.groups = groups(lines)?;
        Ok(script)
    }

    /// Reads `key: value` lines up to the first blank line, and gives the rest.
    fn header<'a>(&mut self, file: &'a [u8]) -> Result<&'a [u8], String> {
        let mut rest = file;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            let line = String::from_utf8_lossy(&rest[..end]);
            let line = line.trim();
            rest = &rest[end..];
            if line.is_empty() {
                break;
            }
            if line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or_else(|| format!("not a header line: {line}"))?;
            self.header_line(key.trim(), value.trim())?;
        }
        Ok(rest)
    }

    fn header_line(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<usize>().map_err(|_| format!("not a number: {value}"));
        match key.to_ascii_lowercase().as_str() {
            "capabilities" => {
                self.capabilities = value.to_uppercase().split(' ').map(str::to_owned).collect()
            }
            "connections" => self.connections = number()?.max(1),
            "messages" if value == "all" => self.messages = None,
            "messages" => self.messages = Some(number()?),
            "ignore_extra_untagged" => self.ignore_extra_untagged = value != "no",
            "state" => {
                self.state = match value {
                    "nonauth" => State::NonAuth,
                    "auth" => State::Auth,
                    "created" => State::Created,
                    "appended" => State::Appended,
                    "selected" => State::Selected,
                    other => return Err(format!("not a state: {other}")),
                }
            }
            other => return Err(format!("not a header: {other}")),
        }
        Ok(())
    }

    fn line(&self, line: &[u8]) -> Result<Option<Line>, String> {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(None);
        }
        for (sign, wanted) in [(&b"* "[..], true), (b"! ", false)] {
            if let Some(pattern) = line.strip_prefix(sign) {
                return Ok(Some(Line::Reply(Reply { wanted, pattern: pattern.to_vec() })));
            }
        }
        let (connection, line) = self.connection(line)?;
        Ok(Some(match status(line) {
            Some((status, rest)) => Line::Status { connection, status, rest },
            None => Line::Other { connection, text: line.to_vec() },
        }))
    }

    /// With more than one connection, each line begins with the number of its own.
    fn connection<'a>(&self, line: &'a [u8]) -> Result<(usize, &'a [u8]), String> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if self.connections == 1 || digits == 0 || line.get(digits) != Some(&b' ') {
            return Ok((0, line));
        }
        let number: usize = String::from_utf8_lossy(&line[..digits]).parse().map_err(|_| "a huge number")?;
        if number == 0 || number > self.connections {
            return Err(format!("there is no connection {number}"));
        }
        Ok((number - 1, line[digits..].trim_ascii_start()))
    }
}

/// `OK`, `NO`, `BAD` or `""` at the front, and what follows.
fn status(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let word = String::from_utf8_lossy(&line[..end]).to_ascii_uppercase();
    let rest = line[end..].trim_ascii_start().to_vec();
    match word.as_str() {
        "OK" | "NO" | "BAD" => Some((word, rest)),
        "\"\"" => Some((String::new(), rest)),
        _ => None,
    }
}

/// Drops what `!ifenv` encloses: no variable is set here.
fn without_conditions(file: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(file.len());
    let mut skipping: Vec<bool> = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let word = line.trim_ascii().split(|byte| *byte == b' ').next().unwrap_or_default();
        match word {
            b"!ifenv" => skipping.push(true),
            b"!ifnenv" => skipping.push(false),
            b"!else" => {
                if let Some(skip) = skipping.last_mut() {
                    *skip = !*skip;
                }
            }
            b"!endif" => {
                skipping.pop();
            }
            _ if skipping.contains(&true) => {}
            _ => kept.extend_from_slice(line),
        }
    }
    kept
}

/// Lines, each with the inline literals that it opens.
fn logical_lines(body: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut lines = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let mut line = Vec::new();
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            line.extend_from_slice(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or_default();
            if !line.ends_with(b"{{{") {
                break;
            }
            line.push(b'\n');
            let (text, after) = split_inline(rest)?;
            line.extend_from_slice(text);
            line.extend_from_slice(if text.is_empty() { b"}}}" } else { b"\n}}}" });
            rest = after;
        }
        lines.push(line);
    }
    Ok(lines)
}

fn groups(lines: Vec<Line>) -> Result<Vec<Group>, String> {
    let mut groups: Vec<Group> = Vec::new();
    let mut lines = lines.into_iter().peekable();
    while let Some(line) = lines.next() {
        groups.push(match line {
            Line::Reply(_) => return Err("a reply stands before any command".to_string()),
            // Method 1: the status first.
            Line::Status { connection, status, rest } => {
                let command = Command { text: rest, status, prefix: Vec::new() };
                let mut group = Group { connection, commands: vec![command], replies: Vec::new() };
                take_replies(&mut lines, &mut group);
                group
            }
            Line::Other { connection, text } => {
                let command = Command { text, ..Command::default() };
                let mut group = Group { connection, commands: vec![command], replies: Vec::new() };
                while let Some(Line::Other { text, .. }) = lines.next_if(|line| is_command(line, &group)) {
                    group.commands.push(Command { text, ..Command::default() });
                }
                take_replies(&mut lines, &mut group);
                take_ends(&mut lines, &mut group)?;
                group
            }
        });
    }
    Ok(groups)
}

type Lines = std::iter::Peekable<std::vec::IntoIter<Line>>;

fn take_replies(lines: &mut Lines, group: &mut Group) {
    while let Some(Line::Reply(reply)) = lines.next_if(|line| matches!(line, Line::Reply(_))) {
        group.replies.push(reply);
    }
}

fn tag_of(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// Where in the group the command stands that `tag OK …` ends.
fn ended_by(line: &Line, group: &Group) -> Option<usize> {
    let Line::Other { text, .. } = line else { return None };
    let tag = tag_of(text);
    status(text[tag.len()..].trim_ascii_start())?;
    group.commands.iter().position(|command| tag_of(&command.text) == tag)
}

fn is_command(line: &Line, group: &Group) -> bool {
    matches!(line, Line::Other { .. }) && ended_by(line, group).is_none()
}

/// Methods 2 and 3: the status last, by tags when there are several.
fn take_ends(lines: &mut Lines, group: &mut Group) -> Result<(), String> {
    if let Some(Line::Status { status, rest, .. }) = lines
        .next_if(|line| matches!(line, Line::Status { connection, .. } if *connection == group.connection))
    {
        group.commands[0].status = status;
        group.commands[0].prefix = rest;
        return if group.commands.len() == 1 {
            Ok(())
        } else {
            Err("one status ends several commands".into())
        };
    }
    let mut ended = 0;
    while let Some(line) = lines.next_if(|line| ended_by(line, group).is_some()) {
        let (Some(at), Line::Other { text, .. }) = (ended_by(&line, group), line) else { continue };
        if let Some((status, rest)) = status(text[tag_of(&text).len()..].trim_ascii_start()) {
            group.commands[at].status = status;
            group.commands[at].prefix = rest;
        }
        ended += 1;
        take_replies(lines, group);
    }
    for command in &mut group.commands {
        let tag = tag_of(&command.text).len();
        command.text = command.text[tag..].trim_ascii_start().to_vec();
    }
    if ended == group.commands.len() { Ok(()) } else { Err("a command has no end".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(script: &str) -> Group {
        Script::parse(script.as_bytes()).unwrap().groups.remove(0)
    }

    #[test]
    fn a_header_is_read() {
        let script = "capabilities: Sort esearch\nconnections: 2\nstate: created\nmessages: 3\n\n2 ok noop\n";
        let script = Script::parse(script.as_bytes()).unwrap();
        assert_eq!(script.capabilities, ["SORT", "ESEARCH"]);
        assert_eq!((script.connections, script.messages, script.state), (2, Some(3), State::Created));
        assert_eq!(script.groups[0].connection, 1);
        assert!(Script::parse(b"state: nowhere\n\n").is_err());
        assert!(Script::parse(b"connections: 2\n\n3 ok noop\n").is_err());
    }

    #[test]
    fn the_three_ways_to_write_a_command() {
        let one = group("\nok noop\n* 1 exists\n! bye\n");
        assert_eq!(one.commands, [Command { text: b"noop".into(), status: "OK".into(), prefix: vec![] }]);
        assert_eq!(one.replies.iter().map(|reply| reply.wanted).collect::<Vec<_>>(), [true, false]);
        let any = group("\n\"\" delete x\n");
        assert_eq!((any.commands[0].status.as_str(), &any.commands[0].text[..]), ("", &b"delete x"[..]));
        let two = group("\nselect x\n* 0 exists\nok [read-write]\n");
        assert_eq!(two.commands[0].prefix, b"[read-write]");
        let three = group("\na noop\nb check\n* 1 exists\nb bad\na ok\n");
        let ends: Vec<_> =
            three.commands.iter().map(|command| (&command.text[..], command.status.as_str())).collect();
        assert_eq!(ends, [(&b"noop"[..], "OK"), (&b"check"[..], "BAD")]);
        assert!(Script::parse(b"\na noop\nb noop\na ok\n").is_err());
    }

    #[test]
    fn literals_and_conditions() {
        let script = b"\n!ifenv X\nok foo\n!else\nok append {{{\n* a\n}}} {{{\n}}} b\n!endif\n";
        let script = Script::parse(script).unwrap();
        assert_eq!(script.groups.len(), 1);
        assert_eq!(script.groups[0].commands[0].text, b"append {{{\n* a\n}}} {{{\n}}} b");
    }
}
