//! Holds replies against the scripts' patterns, and keeps what their variables stand for.

use std::collections::BTreeMap;

use super::value::{Value, parse, with_crlf};

/// What variables stand for, by name in small letters.
pub type Variables = BTreeMap<String, Value>;

/// Where the message numbers that were valid when a command was sent have gone: `[n - 1]` is the number now.
pub type Numbers = [Option<u32>];

/// A piece of an atom or string in a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Plain(Vec<u8>),
    /// `${case:text}`.
    Exactly(Vec<u8>),
    /// `$`.
    Any,
    Variable(String),
}

fn pieces(text: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'$' {
            plain.push(*byte);
            continue;
        }
        if let Some(after) = rest.strip_prefix(b"$") {
            plain.push(b'$');
            rest = after;
            continue;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        let (name, after) = name(rest);
        rest = after;
        pieces.push(match name {
            [] => Piece::Any,
            [b'c', b'a', b's', b'e', b':', text @ ..] => Piece::Exactly(text.to_vec()),
            name => Piece::Variable(String::from_utf8_lossy(name).to_ascii_lowercase()),
        });
    }
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    pieces
}

/// `{name}` or `name` behind a `$`, and what follows.
fn name(rest: &[u8]) -> (&[u8], &[u8]) {
    if let Some(inner) = rest.strip_prefix(b"{")
        && let Some(end) = inner.iter().position(|byte| *byte == b'}')
    {
        return (&inner[..end], &inner[end + 1..]);
    }
    let end =
        rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len());
    rest.split_at(end)
}

/// A command as it is sent: variables filled in, inline literals made non-synchronising.
pub fn fill_in(text: &[u8], variables: &Variables) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let Some(at) = rest.windows(4).position(|four| four == b"{{{\n") else {
            fill_in_plain(rest, variables, &mut out)?;
            break;
        };
        fill_in_plain(&rest[..at], variables, &mut out)?;
        let binary = out.last() == Some(&b'~');
        let (literal, after) = super::value::split_inline(&rest[at + 4..])?;
        let literal = if binary { literal.to_vec() } else { with_crlf(literal) };
        out.extend_from_slice(format!("{{{}+}}\r\n", literal.len()).as_bytes());
        out.extend_from_slice(&literal);
        rest = after;
    }
    Ok(out)
}

fn fill_in_plain(text: &[u8], variables: &Variables, out: &mut Vec<u8>) -> Result<(), String> {
    let pieces = pieces(text);
    let alone = |at: usize, out: &[u8]| {
        let open = out.last().is_none_or(|byte| b" (".contains(byte));
        let closed = match pieces.get(at + 1) {
            None => true,
            Some(Piece::Plain(next)) => b" )".contains(&next[0]),
            Some(_) => false,
        };
        open && closed
    };
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Plain(text) | Piece::Exactly(text) => out.extend_from_slice(text),
            Piece::Any => return Err("`$` alone cannot be sent".to_string()),
            // When a command is sent, message number n is n.
            Piece::Variable(name) if is_number(name) => out.extend_from_slice(name.as_bytes()),
            Piece::Variable(name) => match variables.get(name) {
                // Within a word it is the bare text; by itself it is quoted where it was.
                Some(value) if alone(at, out) => out.extend_from_slice(&value.to_wire()),
                Some(value) => out.extend_from_slice(value.bytes().unwrap_or_default()),
                None => return Err(format!("${name} has no value yet")),
            },
        }
    }
    Ok(())
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Which defaults a list has (FORMAT.md, Directives).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Plain,
    Fetch,
    Flags,
    List,
    Status,
}

/// How a list is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Manner {
    /// 0: in order.
    chain: usize,
    extra: bool,
    ignored: Vec<String>,
    banned: Vec<String>,
}

impl Manner {
    fn of(context: Context) -> Manner {
        let manner = |chain| Manner { chain, extra: true, ignored: Vec::new(), banned: Vec::new() };
        match context {
            Context::Plain => manner(0),
            Context::Fetch | Context::Status => manner(2),
            Context::List => manner(1),
            Context::Flags => Manner { extra: false, ignored: vec!["\\recent".to_string()], ..manner(1) },
        }
    }

    fn directed(directives: &[String]) -> Result<Manner, String> {
        let mut manner = Manner::of(Context::Plain);
        for directive in directives {
            let (word, value) = directive.split_once('=').unwrap_or((directive, ""));
            match word {
                "ordered" => manner.chain = 0,
                "unordered" => {
                    manner.chain =
                        if value.is_empty() { 1 } else { value.parse().map_err(|_| "bad chain")? }
                }
                "noextra" => manner.extra = false,
                "extra" => manner.extra = true,
                "ignore" => manner.ignored.push(value.to_string()),
                "ban" => manner.banned.push(value.to_string()),
                _ => return Err(format!("not a directive: {directive}")),
            }
        }
        Ok(manner)
    }
}

/// Holds one untagged reply, without its `* `, against a pattern. Variables without a value take theirs from it.
pub fn matches(
    pattern: &[u8],
    reply: &[u8],
    variables: &mut Variables,
    numbers: &Numbers,
) -> Result<bool, String> {
    let (wanted, got) = (parse(pattern)?, parse(reply)?);
    let context = match (wanted.first(), wanted.get(1)) {
        (_, Some(second)) if second.is("fetch") => Context::Fetch,
        (Some(first), _) if first.is("list") || first.is("lsub") => Context::List,
        (Some(first), _) if first.is("status") => Context::Status,
        _ => Context::Plain,
    };
    // Of a condition or farewell the script names only the front.
    let open_ended = wanted
        .first()
        .is_some_and(|first| ["ok", "no", "bad", "bye", "preauth"].iter().any(|word| first.is(word)));
    if got.len() < wanted.len() || (!open_ended && got.len() != wanted.len()) {
        return Ok(false);
    }
    let mut trial = Trial { variables: variables.clone(), numbers };
    for (wanted, got) in wanted.iter().zip(&got) {
        if !trial.value(wanted, got, context)? {
            return Ok(false);
        }
    }
    *variables = trial.variables;
    Ok(true)
}

/// Holds what follows a tagged status against the front that the script names; response codes lose their brackets.
pub fn matches_prefix(pattern: &[u8], text: &[u8], variables: &mut Variables) -> Result<bool, String> {
    let unbracketed = |text: &[u8]| match text.strip_prefix(b"[") {
        Some(inner) => inner.split(|byte| *byte == b']').next().unwrap_or_default().to_vec(),
        None => text.to_vec(),
    };
    let (wanted, got) = (parse(&unbracketed(pattern))?, parse(&unbracketed(text))?);
    let mut trial = Trial { variables: variables.clone(), numbers: &[] };
    for (at, wanted) in wanted.iter().enumerate() {
        let Some(got) = got.get(at) else { return Ok(false) };
        if !trial.value(wanted, got, Context::Plain)? {
            return Ok(false);
        }
    }
    *variables = trial.variables;
    Ok(true)
}

/// imaptest compares strings of C: what stands behind a NUL it does not see, and its script of binary messages names one
/// octet less than there is.
fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Variables as they would be, if what is being compared matches.
struct Trial<'a> {
    variables: Variables,
    numbers: &'a Numbers,
}

impl Trial<'_> {
    fn value(&mut self, wanted: &Value, got: &Value, context: Context) -> Result<bool, String> {
        match (wanted, got) {
            (Value::List(wanted), Value::List(got)) => self.list(wanted, got, context),
            (Value::List(_), _) => Ok(false),
            (Value::Atom(atom), got) if atom == b"$" => {
                let _ = got;
                Ok(true)
            }
            (Value::Atom(atom), Value::List(_)) => Ok(match pieces(atom).as_slice() {
                [Piece::Variable(name)] => self.known_or_new(name, got),
                _ => false,
            }),
            (Value::Text(_), Value::Atom(nil)) if nil.eq_ignore_ascii_case(b"NIL") => Ok(false),
            (wanted, got) => {
                let (Some(wanted), Some(bytes)) = (wanted.bytes(), got.bytes()) else { return Ok(false) };
                let (wanted, bytes) = (until_nul(wanted), until_nul(bytes));
                match pieces(wanted).as_slice() {
                    [Piece::Variable(name)] if !is_number(name) => Ok(self.known_or_new(name, got)),
                    pieces => Ok(self.pieces(pieces, bytes)),
                }
            }
        }
    }

    fn known_or_new(&mut self, name: &str, got: &Value) -> bool {
        match self.variables.get(name) {
            Some(known) => known.is_like(got),
            None => {
                self.variables.insert(name.to_owned(), got.clone());
                true
            }
        }
    }

    /// All of `text`; what is open takes as much as it can.
    fn pieces(&mut self, pieces: &[Piece], text: &[u8]) -> bool {
        let Some((first, rest)) = pieces.split_first() else { return text.is_empty() };
        let plain = match first {
            Piece::Plain(plain) => plain.clone(),
            Piece::Exactly(exactly) => {
                return text.strip_prefix(&exactly[..]).is_some_and(|text| self.pieces(rest, text));
            }
            Piece::Variable(name) if is_number(name) => {
                let at = name.parse::<usize>().unwrap_or(0);
                match at.checked_sub(1).and_then(|at| self.numbers.get(at).copied()).flatten() {
                    Some(number) => number.to_string().into_bytes(),
                    None => return false,
                }
            }
            Piece::Variable(name) => match self.variables.get(name) {
                Some(known) => known.bytes().unwrap_or_default().to_vec(),
                None => return self.open(Some(name), rest, text),
            },
            Piece::Any => return self.open(None, rest, text),
        };
        text.len() >= plain.len()
            && text[..plain.len()].eq_ignore_ascii_case(&plain)
            && self.pieces(rest, &text[plain.len()..])
    }

    fn open(&mut self, name: Option<&str>, rest: &[Piece], text: &[u8]) -> bool {
        for end in (0..=text.len()).rev() {
            let before = self.variables.clone();
            if let Some(name) = name {
                self.variables.insert(name.to_owned(), Value::Atom(text[..end].to_vec()));
            }
            if self.pieces(rest, &text[end..]) {
                return true;
            }
            self.variables = before;
        }
        false
    }

    fn list(&mut self, wanted: &[Value], got: &[Value], context: Context) -> Result<bool, String> {
        let mut directives = Vec::new();
        let mut items = Vec::new();
        for value in wanted {
            match value {
                Value::Atom(atom) if atom.starts_with(b"$!") => {
                    directives.push(String::from_utf8_lossy(&atom[2..]).to_lowercase());
                }
                value => items.push(value.clone()),
            }
        }
        let manner = if directives.is_empty() { Manner::of(context) } else { Manner::directed(&directives)? };
        if manner.chain == 0 {
            self.in_order(&items, got)
        } else {
            self.in_any_order(&items, got, &manner, context)
        }
    }

    fn in_order(&mut self, wanted: &[Value], got: &[Value]) -> Result<bool, String> {
        if wanted.len() != got.len() {
            return Ok(false);
        }
        for (wanted, got) in wanted.iter().zip(got) {
            if !self.value(wanted, got, Context::Plain)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn in_any_order(
        &mut self,
        wanted: &[Value],
        got: &[Value],
        manner: &Manner,
        context: Context,
    ) -> Result<bool, String> {
        let mut left: Vec<&[Value]> = got.chunks(manner.chain).collect();
        let named = |link: &[Value], names: &[String]| names.iter().any(|name| link[0].is(name));
        if left.iter().any(|link| named(link, &manner.banned)) {
            return Ok(false);
        }
        for wanted in wanted.chunks(manner.chain) {
            let mut found = None;
            for (at, got) in left.iter().enumerate() {
                let before = self.variables.clone();
                if self.link(wanted, got, context)? {
                    found = Some(at);
                    break;
                }
                self.variables = before;
            }
            let Some(at) = found else { return Ok(false) };
            left.remove(at);
        }
        Ok(manner.extra || left.iter().all(|link| named(link, &manner.ignored)))
    }

    fn link(&mut self, wanted: &[Value], got: &[Value], context: Context) -> Result<bool, String> {
        if wanted.len() != got.len() {
            return Ok(false);
        }
        for (at, (one, other)) in wanted.iter().zip(got).enumerate() {
            let flags = at == 1 && context == Context::Fetch && wanted[0].is("flags");
            if !self.value(one, other, if flags { Context::Flags } else { Context::Plain })? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: &str, reply: &str) -> bool {
        matches(pattern.as_bytes(), reply.as_bytes(), &mut Variables::new(), &[Some(1), None, Some(2)])
            .unwrap()
    }

    #[test]
    fn words_and_wildcards() {
        assert!(holds("3 exists", "3 EXISTS"));
        assert!(!holds("3 exists", "4 EXISTS"));
        assert!(holds("search 1 $ 3", "SEARCH 1 2 3"));
        assert!(!holds("search 1", "SEARCH 1 2"), "nothing may be left over");
        assert!(holds("ok [uidnext $]", "OK [UIDNEXT 7] The next"), "a front is enough");
        assert!(holds("list () $ ${case:INBOX}", "LIST () \"/\" INBOX"));
        assert!(!holds("list () $ ${case:INBOX}", "LIST () \"/\" inbox"));
        assert!(!holds("1 fetch (body \"x\")", "1 FETCH (BODY NIL)"));
        assert!(!holds("1 fetch (body \"nil\")", "1 FETCH (BODY NIL)"), "NIL is no string");
    }

    #[test]
    fn lists_by_their_defaults_and_by_directives() {
        assert!(holds("1 fetch (uid 5)", "1 FETCH (FLAGS () UID 5)"));
        assert!(holds("1 fetch (flags (b a))", "1 FETCH (FLAGS (a \\Recent b))"));
        assert!(!holds("1 fetch (flags (a))", "1 FETCH (FLAGS (a b))"), "no flag is extra");
        assert!(holds("1 fetch (flags ($!extra $!unordered a))", "1 FETCH (FLAGS (a b))"));
        assert!(!holds("1 fetch (flags ($!unordered $!ban=b a))", "1 FETCH (FLAGS (a b))"));
        assert!(holds("thread (1 (2)(3))", "THREAD (1 (2)(3))"));
        assert!(!holds("thread (1 (3)(2))", "THREAD (1 (2)(3))"));
        assert!(matches(b"x ($!what)", b"x ()", &mut Variables::new(), &[]).is_err());
    }

    #[test]
    fn variables_take_their_value_once() {
        let mut variables = Variables::new();
        let mut held = |pattern: &str, reply: &str| {
            matches(pattern.as_bytes(), reply.as_bytes(), &mut variables, &[]).unwrap()
        };
        assert!(held("esearch uid all $a:$b", "ESEARCH UID ALL 10:12"));
        assert!(held("search $a $b", "SEARCH 10 12"));
        assert!(!held("search $a", "SEARCH 11"));
        assert!(!held("search $c 5", "SEARCH 1 6"));
        assert!(held("search $c", "SEARCH 9"), "what did not match left nothing behind");
        assert_eq!(fill_in(b"fetch $a,${b} $1", &variables).unwrap(), b"fetch 10,12 1");
        assert!(fill_in(b"fetch $unknown", &variables).is_err());
    }

    #[test]
    fn message_numbers_follow_expunges() {
        assert!(holds("$3 expunge", "2 EXPUNGE"));
        assert!(!holds("$2 expunge", "2 EXPUNGE"), "that message is gone");
    }

    #[test]
    fn a_tagged_status_is_named_by_its_front() {
        let mut variables = Variables::new();
        assert!(matches_prefix(b"[appenduid $v $u]", b"[APPENDUID 7 9] Done", &mut variables).unwrap());
        assert_eq!(variables["u"], Value::Atom(b"9".into()));
        assert!(!matches_prefix(b"[appenduid $v 8]", b"[APPENDUID 7 9] Done", &mut variables).unwrap());
    }

    #[test]
    fn literals_are_sent_with_their_length() {
        let variables = Variables::from([("m".to_string(), Value::Text(b"a b".into()))]);
        assert_eq!(
            fill_in(b"append $m {{{\na\nb\n}}}", &variables).unwrap(),
            b"append \"a b\" {4+}\r\na\r\nb"
        );
        assert_eq!(fill_in(b"x ~{{{\na\nb\n}}}", &variables).unwrap(), b"x ~{3+}\r\na\nb");
        assert_eq!(fill_in(b"x ${m}2 $$", &variables).unwrap(), b"x a b2 $");
    }
}
