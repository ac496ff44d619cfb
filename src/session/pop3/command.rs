//! The grammar of POP3 commands (RFC 1939 3, 5, 6, 7).

/// RFC 2449 4: a command with its CRLF. AUTH lines are SASL's and longer.
pub const COMMAND_LINE_BYTES_MAX: usize = 255;
/// RFC 5034 4 leaves the length open; a base64 PLAIN of the longest credentials fits.
pub const SASL_LINE_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Capa,
    Stls,
    User(String),
    Pass(String),
    /// Without a mechanism: list them.
    Auth {
        mechanism: Option<String>,
        initial: Option<String>,
    },
    Stat,
    /// Message numbers from 1; `None` lists all.
    List(Option<usize>),
    Uidl(Option<usize>),
    Retr(usize),
    Top {
        message: usize,
        lines: u64,
    },
    Dele(usize),
    Noop,
    Rset,
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("unknown command")]
    Unknown,
    #[error("syntax error in the arguments")]
    Syntax,
    #[error("line too long")]
    TooLong,
}

/// Parses one line without its ending.
pub fn parse(line: &[u8]) -> Result<Command, Bad> {
    let text = std::str::from_utf8(line).map_err(|_| Bad::Syntax)?;
    if text.chars().any(char::is_control) {
        return Err(Bad::Syntax);
    }
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let verb = verb.to_ascii_uppercase();
    if line.len() + 2 > COMMAND_LINE_BYTES_MAX && !matches!(verb.as_str(), "AUTH" | "PASS" | "USER") {
        return Err(Bad::TooLong);
    }
    match verb.as_str() {
        "CAPA" => bare(rest, Command::Capa),
        "STLS" => bare(rest, Command::Stls),
        "USER" if !rest.trim_ascii().is_empty() => Ok(Command::User(rest.trim_ascii().to_owned())),
        // A password may hold blanks: all of the rest is one argument.
        "PASS" if !rest.is_empty() => Ok(Command::Pass(rest.to_owned())),
        "USER" | "PASS" => Err(Bad::Syntax),
        "AUTH" => auth(rest),
        "STAT" => bare(rest, Command::Stat),
        "LIST" => Ok(Command::List(optional_number(rest)?)),
        "UIDL" => Ok(Command::Uidl(optional_number(rest)?)),
        "RETR" => Ok(Command::Retr(number(rest)?)),
        "TOP" => top(rest),
        "DELE" => Ok(Command::Dele(number(rest)?)),
        "NOOP" => bare(rest, Command::Noop),
        "RSET" => bare(rest, Command::Rset),
        "QUIT" => bare(rest, Command::Quit),
        _ => Err(Bad::Unknown),
    }
}

fn bare(rest: &str, command: Command) -> Result<Command, Bad> {
    if rest.trim_ascii().is_empty() { Ok(command) } else { Err(Bad::Syntax) }
}

fn number(text: &str) -> Result<usize, Bad> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Bad::Syntax);
    }
    text.parse().map_err(|_| Bad::Syntax)
}

fn optional_number(text: &str) -> Result<Option<usize>, Bad> {
    if text.trim_ascii().is_empty() { Ok(None) } else { number(text).map(Some) }
}

fn top(rest: &str) -> Result<Command, Bad> {
    let (message, lines) = rest.trim_ascii().split_once(' ').ok_or(Bad::Syntax)?;
    Ok(Command::Top { message: number(message)?, lines: number(lines)? as u64 })
}

fn auth(rest: &str) -> Result<Command, Bad> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().map(str::to_ascii_uppercase);
    let initial = words.next().map(str::to_owned);
    if words.next().is_some() {
        return Err(Bad::Syntax);
    }
    Ok(Command::Auth { mechanism, initial })
}
