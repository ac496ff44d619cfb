//! The grammar of SMTP commands (RFC 5321 4.1 and its extensions). Parses, decides nothing.

use super::envelope::{MailParams, Notify, RcptParams, Ret};
use super::reply::{self, Reply};
use crate::mail::address::{AddressError, ForwardPath, ReversePath};

/// RFC 5321 4.5.3.1.4, with CRLF.
pub const COMMAND_LINE_BYTES_MAX: usize = 512;
/// MAIL and RCPT with everything their extensions may add (RFC 3461 4, 4954 3, 6531 3.4).
pub const ENVELOPE_LINE_BYTES_MAX: usize = 2048;
/// RFC 4954 4: base64 lines of an authentication, with CRLF.
pub const SASL_LINE_BYTES_MAX: usize = 12_288;
/// RFC 3461 4.4 and 4.2, octets.
const ENVID_BYTES_MAX: usize = 100;
const ORCPT_BYTES_MAX: usize = 500;
const HELLO_BYTES_MAX: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Hello { verb: HelloVerb, name: String },
    Mail { from: ReversePath, params: MailParams },
    Rcpt { to: ForwardPath, params: RcptParams },
    Data,
    Bdat { bytes: u64, last: bool },
    Auth { mechanism: String, initial: Option<String> },
    StartTls,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloVerb {
    Helo,
    Ehlo,
    Lhlo,
}

/// Parses one line without its ending; the error is what the client hears.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    let text = std::str::from_utf8(line).map_err(|_| reply::UNKNOWN)?;
    if text.chars().any(|char| char.is_control() && char != '\t') {
        return Err(reply::UNKNOWN);
    }
    let text = text.trim_end();
    let (verb, rest) = match text.find([' ', '\t']) {
        Some(at) => (&text[..at], text[at + 1..].trim_start()),
        None => (text, ""),
    };
    let verb = verb.to_ascii_uppercase();
    let bound = match verb.as_str() {
        "MAIL" | "RCPT" => ENVELOPE_LINE_BYTES_MAX,
        "AUTH" => SASL_LINE_BYTES_MAX,
        _ => COMMAND_LINE_BYTES_MAX,
    };
    if line.len() + 2 > bound {
        return Err(reply::LINE_TOO_LONG);
    }
    match verb.as_str() {
        "HELO" => hello(HelloVerb::Helo, rest),
        "EHLO" => hello(HelloVerb::Ehlo, rest),
        "LHLO" => hello(HelloVerb::Lhlo, rest),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => bare(rest, Command::Data),
        "BDAT" => bdat(rest),
        "AUTH" => auth(rest),
        "STARTTLS" => bare(rest, Command::StartTls),
        "RSET" => bare(rest, Command::Rset),
        "QUIT" => bare(rest, Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if rest.is_empty() => Err(reply::SYNTAX),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" | "ETRN" | "TURN" | "SEND" | "SOML" | "SAML" => Err(reply::NOT_IMPLEMENTED),
        _ => Err(reply::UNKNOWN),
    }
}

fn bare(rest: &str, command: Command) -> Result<Command, Reply> {
    if rest.is_empty() { Ok(command) } else { Err(reply::SYNTAX) }
}

/// Lenient in what a name is (underscores, single labels), strict in what a Received field can carry.
fn hello(verb: HelloVerb, name: &str) -> Result<Command, Reply> {
    let fits = |char: char| {
        char.is_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']' | '/' | '+' | '~' | '=')
    };
    if name.is_empty() || name.len() > HELLO_BYTES_MAX || !name.chars().all(fits) {
        return Err(reply::HELLO_NAME);
    }
    Ok(Command::Hello { verb, name: name.to_owned() })
}

/// What follows `FROM:` or `TO:`. Blanks after the colon and a path without its brackets are common enough.
fn after_keyword(rest: &str, keyword: &str) -> Result<String, Reply> {
    let head = rest.get(..keyword.len()).ok_or(reply::SYNTAX)?;
    if !head.eq_ignore_ascii_case(keyword) {
        return Err(reply::SYNTAX);
    }
    let path = rest[keyword.len()..].trim_start();
    if path.starts_with('<') {
        return Ok(path.to_owned());
    }
    let (word, params) = path.split_once(' ').unwrap_or((path, ""));
    if word.is_empty() {
        return Err(reply::SYNTAX);
    }
    Ok(format!("<{word}> {params}"))
}

fn mail(rest: &str) -> Result<Command, Reply> {
    let text = after_keyword(rest, "FROM:")?;
    let (from, rest) = ReversePath::parse(&text, true).map_err(|error| bad_path(error, reply::BAD_SENDER))?;
    let mut params = MailParams::default();
    for (key, value) in parameters(rest)? {
        match (key.as_str(), value) {
            ("SIZE", Some(value)) if is_number(value) => params.size = value.parse().ok().or(Some(u64::MAX)),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => params.eight_bit = false,
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => params.eight_bit = true,
            ("SMTPUTF8", None) => params.smtputf8 = true,
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => params.ret = Some(Ret::Full),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => params.ret = Some(Ret::Headers),
            ("ENVID", Some(value)) if value.len() <= ENVID_BYTES_MAX && is_xtext(value) => {
                params.envid = Some(value.to_owned());
            }
            // RFC 4954 5: believed of nobody, as if it were AUTH=<>.
            ("AUTH", Some(value)) if is_xtext(value) => {}
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(reply::SYNTAX),
            _ => return Err(reply::BAD_PARAMETER),
        }
    }
    if let ReversePath::Address(address) = &from
        && address.is_utf8()
        && !params.smtputf8
    {
        return Err(reply::NEEDS_UTF8);
    }
    Ok(Command::Mail { from, params })
}

fn rcpt(rest: &str) -> Result<Command, Reply> {
    let text = after_keyword(rest, "TO:")?;
    let (to, rest) =
        ForwardPath::parse(&text, true).map_err(|error| bad_path(error, reply::BAD_RECIPIENT))?;
    let mut params = RcptParams::default();
    for (key, value) in parameters(rest)? {
        match (key.as_str(), value) {
            ("NOTIFY", Some(value)) => params.notify = Some(notify(value).ok_or(reply::SYNTAX)?),
            ("ORCPT", Some(value)) if is_orcpt(value) => params.orcpt = Some(value.to_owned()),
            ("NOTIFY" | "ORCPT", _) => return Err(reply::SYNTAX),
            _ => return Err(reply::BAD_PARAMETER),
        }
    }
    Ok(Command::Rcpt { to, params })
}

fn bad_path(error: AddressError, syntax: Reply) -> Reply {
    match error {
        AddressError::NeedsUtf8 => reply::NEEDS_UTF8,
        AddressError::Syntax
        | AddressError::LocalTooLong
        | AddressError::DomainTooLong
        | AddressError::PathTooLong => syntax,
    }
}

/// `KEY[=VALUE]`, each at most once; keys in capitals.
fn parameters(text: &str) -> Result<Vec<(String, Option<&str>)>, Reply> {
    if !text.is_empty() && !text.starts_with([' ', '\t']) {
        return Err(reply::SYNTAX);
    }
    let mut found: Vec<(String, Option<&str>)> = Vec::new();
    for word in text.split_ascii_whitespace() {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let key = key.to_ascii_uppercase();
        if value == Some("") || found.iter().any(|(known, _)| *known == key) {
            return Err(reply::SYNTAX);
        }
        found.push((key, value));
    }
    Ok(found)
}

fn notify(value: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 3461 4: `!` to `~` without `+` and `=`, or `+` and two capital hexadecimal digits.
fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => {
                let hex = |byte: Option<u8>| byte.is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
                if !(hex(bytes.next()) && hex(bytes.next())) {
                    return false;
                }
            }
            b'=' => return false,
            b'!'..=b'~' => {}
            _ => return false,
        }
    }
    true
}

/// `addr-type;xtext`; RFC 6533's utf-8 type may go beyond ASCII.
fn is_orcpt(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else { return false };
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let known = !kind.is_empty() && kind.bytes().all(atom) && !address.is_empty();
    known && value.len() <= ORCPT_BYTES_MAX && (is_xtext(address) || kind.eq_ignore_ascii_case("utf-8"))
}

fn bdat(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split_ascii_whitespace();
    let size = words.next().filter(|word| is_number(word)).ok_or(reply::SYNTAX)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(reply::SYNTAX),
    };
    if words.next().is_some() {
        return Err(reply::SYNTAX);
    }
    Ok(Command::Bdat { bytes: size.parse().map_err(|_| reply::SYNTAX)?, last })
}

fn auth(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().ok_or(reply::SYNTAX)?.to_ascii_uppercase();
    let initial = words.next().map(str::to_owned);
    if words.next().is_some() {
        return Err(reply::SYNTAX);
    }
    Ok(Command::Auth { mechanism, initial })
}
