//! The grammar of SMTP commands (RFC 5321 4.1 and its extensions). Parses, decides nothing.

use super::envelope::{MailParams, Notify, RcptParams, Ret};
use super::reply::{self, Reply};
use crate::mail::address::{AddressError, ForwardPath, ReversePath};
use crate::mail::dsn::decode_xtext;

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
    let text = text.trim_ascii_end();
    let (verb, rest) = match text.find([' ', '\t']) {
        Some(at) => (&text[..at], text[at + 1..].trim_ascii_start()),
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
    let path = rest[keyword.len()..].trim_ascii_start();
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
            ("REQUIRETLS", None) => params.require_tls = true,
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => params.ret = Some(Ret::Full),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => params.ret = Some(Ret::Headers),
            ("ENVID", Some(value)) if value.len() <= ENVID_BYTES_MAX && is_printable_xtext(value) => {
                params.envid = Some(value.to_owned());
            }
            // RFC 4954 5: believed of nobody, as if it were AUTH=<>.
            ("AUTH", Some(value)) if is_xtext(value) => {}
            ("SIZE" | "BODY" | "SMTPUTF8" | "REQUIRETLS" | "RET" | "ENVID" | "AUTH", _) => {
                return Err(reply::SYNTAX);
            }
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
    decode_xtext(text).is_some()
}

/// RFC 3461 4.2 and 4.4: what ENVID and ORCPT encode is printable ASCII. A line end in it would become one
/// in a notice's fields.
fn is_printable_xtext(text: &str) -> bool {
    decode_xtext(text).is_some_and(|decoded| decoded.iter().all(|byte| matches!(byte, b' '..=b'~')))
}

/// `addr-type;xtext`, or RFC 6533's `utf-8;` with characters beyond ASCII as they are or as `\x{HEX}`.
fn is_orcpt(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else { return false };
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let known = !kind.is_empty() && kind.bytes().all(atom) && !address.is_empty();
    let sound = match kind.eq_ignore_ascii_case("utf-8") {
        true => is_utf8_address(address),
        false => is_printable_xtext(address),
    };
    known && sound && value.len() <= ORCPT_BYTES_MAX
}

/// RFC 6533 3: no `+`, `=` or `\`, but for `\x{HEX}`, which stands for a character that is no control.
fn is_utf8_address(address: &str) -> bool {
    let mut rest = address;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        if char == '\\' {
            let Some((hex, after)) = rest.strip_prefix("x{").and_then(|rest| rest.split_once('}')) else {
                return false;
            };
            let capital = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
            let named = (2..=6).contains(&hex.len()) && hex.bytes().all(capital);
            let meant = u32::from_str_radix(hex, 16).ok().filter(|_| named).and_then(char::from_u32);
            if meant.is_none_or(char::is_control) {
                return false;
            }
            rest = after;
        } else if matches!(char, '+' | '=') || char.is_control() || char.is_whitespace() {
            return false;
        }
    }
    true
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mail_with(params: &str) -> bool {
        parse(format!("MAIL FROM:<a@b.example> {params}").as_bytes()).is_ok()
    }

    fn rcpt_with(params: &str) -> bool {
        parse(format!("RCPT TO:<a@b.example> {params}").as_bytes()).is_ok()
    }

    #[test]
    fn envelope_ids_are_bounded_printable_xtext() {
        assert!(mail_with("ENVID=QQ+3D31+20x") && mail_with("RET=hdrs") && mail_with("ret=FULL"));
        assert!(mail_with(&format!("ENVID={}", "x".repeat(ENVID_BYTES_MAX))));
        assert!(!mail_with(&format!("ENVID={}", "x".repeat(ENVID_BYTES_MAX + 1))));
        for bad in ["ENVID", "ENVID=", "ENVID=a=b", "ENVID=a+", "ENVID=a+2", "ENVID=a+2b", "ENVID=\u{e9}"] {
            assert!(!mail_with(bad), "{bad}");
        }
        for line_end in ["ENVID=a+0D+0Ab", "ENVID=+0A", "ENVID=+00", "ENVID=+7F", "ENVID=+FF"] {
            assert!(!mail_with(line_end), "{line_end}");
        }
        assert!(!mail_with("RET=FULL RET=FULL") && !mail_with("RET=BOTH") && !mail_with("RET"));
    }

    #[test]
    fn original_recipients_are_bounded_and_typed() {
        assert!(rcpt_with("ORCPT=rfc822;bob+2Bx@b.example") && rcpt_with("ORCPT=X-a;+20"));
        let long = |bytes: usize| format!("ORCPT=rfc822;{}", "x".repeat(bytes - "rfc822;".len()));
        assert!(rcpt_with(&long(ORCPT_BYTES_MAX)) && !rcpt_with(&long(ORCPT_BYTES_MAX + 1)));
        for bad in [
            "rfc822",
            "rfc822;",
            ";x",
            "r c;x",
            "rfc_822;x",
            "rfc822;a+0D+0Ab",
            "rfc822;a=b",
            "rfc822;\u{e9}",
        ] {
            assert!(!rcpt_with(&format!("ORCPT={bad}")), "{bad}");
        }
        for good in ["utf-8;d\u{fc}rst@b.example", "UTF-8;d\\x{FC}rst@b.example", "utf-8;a\\x{1F600}"] {
            assert!(rcpt_with(&format!("ORCPT={good}")), "{good}");
        }
        for bad in [
            "a+b",
            "a=b",
            "a\\x{D800}",
            "a\\x{A}",
            "a\\x{0D}",
            "a\\x{110000}",
            "a\\x{fc}",
            "a\\b",
            "a\\x{FC",
            "a\u{85}",
        ] {
            assert!(!rcpt_with(&format!("ORCPT=utf-8;{bad}")), "{bad}");
        }
    }

    #[test]
    fn notify_is_never_alone_or_a_list() {
        for good in ["NEVER", "never", "SUCCESS", "success,Failure,DELAY"] {
            assert!(rcpt_with(&format!("NOTIFY={good}")), "{good}");
        }
        for bad in ["", "NEVER,DELAY", "SUCCESS,", ",", "SOMETIMES", "SUCCESS NOTIFY=DELAY"] {
            assert!(!rcpt_with(&format!("NOTIFY={bad}")), "{bad}");
        }
    }
}
