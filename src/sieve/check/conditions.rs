//! Tests: what each takes, and needs.

use super::arguments::Arguments;
use super::matching::{Tags, Takes};
use super::{Checker, capability, no_tests};
use crate::sieve::error::{Place, ScriptError, quoted};
use crate::sieve::grammar::Node;
use crate::sieve::program::{Seen, Test, Zone};
use crate::sieve::template::Template;

/// Fields that hold addresses: the others have none to test (RFC 5228 5.1).
const ADDRESS_FIELDS: [&str; 19] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "resent-sender",
    "resent-reply-to",
    "return-path",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "errors-to",
    "disposition-notification-to",
    "mail-followup-to",
];

const DATE_PARTS: [&str; 13] = [
    "year", "month", "day", "date", "julian", "hour", "minute", "second", "time", "iso8601", "std11", "zone",
    "weekday",
];

impl Checker {
    pub(super) fn test(&mut self, node: &Node) -> Result<Test, ScriptError> {
        match node.name.as_str() {
            "not" | "allof" | "anyof" => return self.combined(node),
            _ => no_tests(node)?,
        }
        let arguments = &mut Arguments::new(node);
        match node.name.as_str() {
            "true" | "false" => {
                arguments.finish()?;
                Ok(Test::Always(node.name == "true"))
            }
            "size" => size(node, arguments),
            "exists" => {
                let names = self.header_names(arguments)?;
                arguments.finish()?;
                Ok(Test::Exists(names))
            }
            "header" => {
                let tags = Tags::all(self, arguments, Takes { index: true, ..Takes::default() })?;
                let names = self.header_names(arguments)?;
                Ok(Test::Header { names, index: tags.index()?, matching: tags.matching(self, arguments)? })
            }
            "address" => self.address(arguments),
            "envelope" => self.envelope(node, arguments),
            "body" => self.body(node, arguments),
            "date" | "currentdate" => self.date(node, arguments),
            "string" => {
                self.needs(node.place, "`string`", "variables")?;
                let tags = Tags::all(self, arguments, Takes::default())?;
                let sources = arguments.texts("the strings to test")?;
                let sources = self.templates(sources)?;
                Ok(Test::Texts { sources, matching: tags.matching(self, arguments)? })
            }
            "hasflag" => self.has_flag(node, arguments),
            "mailboxexists" => {
                self.needs(node.place, "`mailboxexists`", "mailbox")?;
                let names = arguments.texts("the names of mailboxes")?;
                arguments.finish()?;
                Ok(Test::MailboxExists(self.templates(names)?))
            }
            "ihave" => self.have(node, arguments),
            name => Err(node.place.error(format!("the test {} is not known", quoted(name)))),
        }
    }

    fn combined(&mut self, node: &Node) -> Result<Test, ScriptError> {
        Arguments::new(node).finish()?;
        if node.name == "not" {
            return match node.tests.as_slice() {
                [test] if !node.listed => Ok(match self.test(test)? {
                    Test::Have(has) => Test::Have(!has),
                    test => Test::Not(Box::new(test)),
                }),
                _ => Err(node.place.error("`not` needs one test")),
            };
        }
        if !node.listed {
            return Err(node.place.error(format!("`{}` needs tests in parentheses", node.name)));
        }
        // `Have(decisive)` decides the whole; what stands after it need not be known (RFC 5463 4).
        let decisive = node.name == "anyof";
        let mut tests = Vec::new();
        for inner in &node.tests {
            match self.test(inner)? {
                Test::Have(has) if has == decisive => return Ok(Test::Have(decisive)),
                Test::Have(_) => {}
                test => tests.push(test),
            }
        }
        Ok(match (tests.is_empty(), decisive) {
            (true, _) => Test::Have(!decisive),
            (false, true) => Test::Any(tests),
            (false, false) => Test::All(tests),
        })
    }

    /// RFC 5463 4. What is there counts as required from here on.
    fn have(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Test, ScriptError> {
        self.needs(node.place, "`ihave`", "ihave")?;
        let (names, _) = arguments.texts("the names of extensions")?;
        arguments.finish()?;
        let known: Option<Vec<&'static str>> = names.iter().map(|name| capability(name)).collect();
        let has = known.is_some();
        known.into_iter().flatten().for_each(|capability| self.add(capability));
        Ok(Test::Have(has))
    }

    fn header_names(&mut self, arguments: &mut Arguments) -> Result<Vec<Template>, ScriptError> {
        let (texts, place) = arguments.texts("the names of header fields")?;
        let names = self.templates((texts, place))?;
        names.iter().try_for_each(|name| header_name(name, place))?;
        Ok(names)
    }

    fn address(&mut self, arguments: &mut Arguments) -> Result<Test, ScriptError> {
        let tags = Tags::all(self, arguments, Takes { part: true, index: true })?;
        let (texts, place) = arguments.texts("the names of header fields")?;
        let names = self.templates((texts, place))?;
        for name in names.iter().filter_map(Template::constant) {
            if !is_address_field(name) {
                return Err(place.error(format!("the field {} holds no addresses", quoted(name))));
            }
        }
        let (index, part) = (tags.index()?, tags.part());
        Ok(Test::Address { names, index, part, matching: tags.matching(self, arguments)? })
    }

    fn envelope(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Test, ScriptError> {
        self.needs(node.place, "`envelope`", "envelope")?;
        let tags = Tags::all(self, arguments, Takes { part: true, index: false })?;
        let (texts, place) = arguments.texts("\"from\" or \"to\"")?;
        let ends = self.templates((texts, place))?;
        for end in ends.iter().filter_map(Template::constant) {
            if !end.eq_ignore_ascii_case("from") && !end.eq_ignore_ascii_case("to") {
                return Err(place.error(format!("the envelope has no {}: \"from\" or \"to\"", quoted(end))));
            }
        }
        Ok(Test::Envelope { ends, part: tags.part(), matching: tags.matching(self, arguments)? })
    }

    fn body(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Test, ScriptError> {
        self.needs(node.place, "`body`", "body")?;
        let (mut tags, mut seen) = (Tags::default(), None);
        while let Some(tag) = arguments.tag()? {
            let chosen = match tag.name {
                "raw" => Seen::Raw,
                "text" => Seen::Text,
                "content" => Seen::Content(self.templates(arguments.texts("content types")?)?),
                _ if tags.take(self, arguments, tag, Takes::default())? => continue,
                _ => return Err(arguments.unknown(tag)),
            };
            if seen.replace(chosen).is_some() {
                return Err(tag.error("is a second transform of the body"));
            }
        }
        Ok(Test::Body { seen: seen.unwrap_or(Seen::Text), matching: tags.matching(self, arguments)? })
    }

    fn date(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Test, ScriptError> {
        self.needs(node.place, &format!("`{}`", node.name), "date")?;
        let of_header = node.name == "date";
        let (mut tags, mut zone) = (Tags::default(), None);
        let takes = Takes { index: of_header, ..Takes::default() };
        while let Some(tag) = arguments.tag()? {
            let chosen = match tag.name {
                "originalzone" if of_header => Zone::Original,
                "zone" => Zone::Given(self.zone(arguments.text("a time zone")?)?),
                _ if tags.take(self, arguments, tag, takes)? => continue,
                _ => return Err(arguments.unknown(tag)),
            };
            if zone.replace(chosen).is_some() {
                return Err(tag.error("is a second time zone"));
            }
        }
        let header = match of_header {
            true => {
                let (name, place) = arguments.text("the name of a header field")?;
                let name = self.template(name, place)?;
                header_name(&name, place)?;
                Some((name, tags.index()?))
            }
            false => None,
        };
        let (part, place) = arguments.text("a part of the date")?;
        let part = self.template(part, place)?;
        if let Some(name) = part.constant()
            && !DATE_PARTS.iter().any(|known| known.eq_ignore_ascii_case(name))
        {
            return Err(place.error(format!("a date has no {}", quoted(name))));
        }
        let matching = tags.matching(self, arguments)?;
        Ok(Test::Date { header, zone: zone.unwrap_or(Zone::Own), part, matching })
    }

    fn zone(&mut self, (text, place): (&str, Place)) -> Result<Template, ScriptError> {
        let zone = self.template(text, place)?;
        match zone.constant() {
            Some(text) if zone_minutes(text).is_none() => {
                Err(place.error(format!("{} is no time zone: it is +0200 or the like", quoted(text))))
            }
            _ => Ok(zone),
        }
    }

    /// RFC 5232 4: variables are named where two lists stand.
    fn has_flag(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Test, ScriptError> {
        self.needs(node.place, "`hasflag`", "imap4flags")?;
        let tags = Tags::all(self, arguments, Takes::default())?;
        let variables = match arguments.left() {
            0 | 1 => None,
            _ => {
                let (names, place) = arguments.texts("the names of variables")?;
                self.needs(place, "the name of a variable", "variables")?;
                let numbers = names.iter().map(|name| self.named_variable((name, place)));
                Some(numbers.collect::<Result<Vec<_>, _>>()?)
            }
        };
        Ok(Test::HasFlag { variables, matching: tags.matching(self, arguments)? })
    }
}

fn size(node: &Node, arguments: &mut Arguments) -> Result<Test, ScriptError> {
    let over = match arguments.tag()? {
        Some(tag) if tag.name == "over" => true,
        Some(tag) if tag.name == "under" => false,
        _ => return Err(node.place.error("`size` needs `:over` or `:under`")),
    };
    let (octets, _) = arguments.number("a number of octets")?;
    arguments.finish()?;
    Ok(Test::Size { over, octets })
}

/// RFC 5322 2.2: printable ASCII without a colon.
fn header_name(name: &Template, place: Place) -> Result<(), ScriptError> {
    match name.constant() {
        Some(name)
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') =>
        {
            Err(place.error(format!("{} is no name of a header field", quoted(name))))
        }
        _ => Ok(()),
    }
}

/// Whether the `address` test may look into that field.
pub(in crate::sieve) fn is_address_field(name: &str) -> bool {
    ADDRESS_FIELDS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// `+hhmm` or `-hhmm`, in minutes east of UTC.
pub(in crate::sieve) fn zone_minutes(text: &str) -> Option<i16> {
    let (sign, digits) = match text.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i16, |sum, digit| sum * 10 + i16::from(digit - b'0'));
    let (hours, minutes) = (value / 100, value % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}
