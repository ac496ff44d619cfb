//! APPEND (RFC 3501 6.3.11, RFC 3502, RFC 4469) and REPLACE (RFC 8508), read a stretch at a time: what stands before,
//! between and behind the literals that flow by without being gathered.

use super::cursor::{Cursor, Parsed, Syntax};
use super::mailbox_name::{MailboxName, NameCoding};
use super::store::flag_list;
use crate::mail::date::{self, DateTime};
use crate::mail::flags::NamedFlags;
use crate::session::imap::limits::CATENATE_PARTS_MAX;

/// The command up to its first literal that flows, or to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendHead {
    /// REPLACE: the message that goes.
    pub replaces: Option<Replaces>,
    pub mailbox: MailboxName,
    pub stretch: Stretch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// True when the number is a UID.
    pub uid: bool,
    /// RFC 8508 5, `seq-number`; `None` is `*`.
    pub number: Option<u32>,
}

/// What stands before each message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHead {
    pub flags: NamedFlags,
    pub internal_date: Option<DateTime>,
}

/// Where a stretch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Behind the mailbox's name, or behind a message's literal.
    Between,
    /// Behind a text of CATENATE.
    Among,
    /// Behind the octets of UTF8, which may be a part of CATENATE.
    InUtf8 { among: bool },
}

/// What a stretch asks for, in its order, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    pub steps: Vec<AppendStep>,
    pub end: StretchEnd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendStep {
    /// A message begins.
    Message(MessageHead),
    /// What this URL names is a part of it.
    Url(Vec<u8>),
    /// The message is whole.
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StretchEnd {
    /// The command is over.
    Command,
    /// The octets of a whole message follow.
    Message,
    /// The octets of a part of one follow.
    Text,
    /// The octets of a URL follow: they belong to this stretch.
    Url,
    /// The octets of a message in UTF-8 follow, whole or a part of one (RFC 6855 4).
    Utf8 { among: bool },
}

/// Reads a command up to a literal, which `literal` says follows, or to its end. `None`: it is neither APPEND nor REPLACE, or the
/// literal is its mailbox name.
pub fn head(command: &[u8], names: NameCoding, literal: bool) -> Option<Parsed<AppendHead>> {
    let mut cursor = Cursor::with_names(command, names);
    cursor.tag().ok()?;
    cursor.space().ok()?;
    if cursor.take_word("APPEND") {
        cursor.space().ok()?;
        return mailbox_and_more(cursor, None, literal);
    }
    let uid = cursor.take_word("UID");
    if uid {
        cursor.space().ok()?;
    }
    if !cursor.take_word("REPLACE") {
        return None;
    }
    cursor.space().ok()?;
    match seq_number(&mut cursor) {
        Ok(number) => mailbox_and_more(cursor, Some(Replaces { uid, number }), literal),
        Err(syntax) => Some(Err(syntax)),
    }
}

fn seq_number(cursor: &mut Cursor) -> Parsed<Option<u32>> {
    let number = match cursor.take(b'*') {
        true => None,
        false => Some(cursor.number()?),
    };
    if number == Some(0) {
        return Err(Syntax::Malformed("there is no message 0"));
    }
    cursor.space()?;
    Ok(number)
}

fn mailbox_and_more(
    mut cursor: Cursor,
    replaces: Option<Replaces>,
    literal: bool,
) -> Option<Parsed<AppendHead>> {
    if cursor.is_at_end() {
        return None;
    }
    Some(MailboxName::read(&mut cursor).and_then(|mailbox| {
        let stretch = stretch(cursor, Place::Between, literal)?;
        Ok(AppendHead { replaces, mailbox, stretch })
    }))
}

/// True when the octets of the literal behind `text` flow by; false when they belong to it. `None` for the place: the command
/// begins.
pub fn literal_flows(text: &[u8], place: Option<Place>) -> bool {
    let end = match place {
        Some(place) => stretch(Cursor::new(text), place, true).map(|stretch| stretch.end),
        // How a mailbox is named does not matter to where its command ends.
        None => match head(text, NameCoding::default(), true) {
            Some(head) => head.map(|head| head.stretch.end),
            None => return false,
        },
    };
    // What cannot be read is refused by whoever lets it flow by.
    end != Ok(StretchEnd::Url)
}

/// Reads a stretch of the command; `literal`: one follows.
pub fn stretch(mut cursor: Cursor, place: Place, literal: bool) -> Parsed<Stretch> {
    let mut steps = Vec::new();
    let mut among = place == Place::Among;
    let mut urls = 0;
    if let Place::InUtf8 { among: part } = place {
        cursor.close()?;
        among = part;
        steps.extend((!part).then_some(AppendStep::Whole));
    }
    let leads_to = |cursor: &Cursor| literal && cursor.is_at_end();
    loop {
        if among && cursor.take(b')') {
            steps.push(AppendStep::Whole);
            among = false;
            continue;
        }
        if !among && !literal && cursor.is_at_end() {
            return Ok(Stretch { steps, end: StretchEnd::Command });
        }
        cursor.space()?;
        if !among {
            steps.push(AppendStep::Message(message_head(&mut cursor)?));
            if leads_to(&cursor) {
                return Ok(Stretch { steps, end: StretchEnd::Message });
            }
            if cursor.take_word("UTF8") {
                return utf8(cursor, literal, Stretch { steps, end: StretchEnd::Utf8 { among } });
            }
            if !cursor.take_word("CATENATE") {
                return Err(Syntax::Malformed("a message is missing"));
            }
            cursor.space()?;
            cursor.expect(b'(', "an opening parenthesis is missing")?;
            among = true;
        }
        if cursor.take_word("UTF8") {
            return utf8(cursor, literal, Stretch { steps, end: StretchEnd::Utf8 { among } });
        }
        let text = cursor.take_word("TEXT");
        if !text && !cursor.take_word("URL") {
            return Err(Syntax::Malformed("a part is TEXT, URL or UTF8"));
        }
        cursor.space()?;
        if leads_to(&cursor) {
            return Ok(Stretch { steps, end: if text { StretchEnd::Text } else { StretchEnd::Url } });
        }
        if text {
            return Err(Syntax::Malformed("TEXT is a literal"));
        }
        // So that the stretch is read anew for each of its literals at no great cost.
        if urls == CATENATE_PARTS_MAX {
            return Err(Syntax::Malformed("there are too many parts"));
        }
        urls += 1;
        steps.push(AppendStep::Url(cursor.astring()?.into_owned()));
    }
}

/// ` (` and the literal8.
fn utf8(mut cursor: Cursor, literal: bool, stretch: Stretch) -> Parsed<Stretch> {
    cursor.space()?;
    cursor.expect(b'(', "an opening parenthesis is missing")?;
    if literal && cursor.is_at_end() { Ok(stretch) } else { Err(Syntax::Malformed("UTF8 takes a literal8")) }
}

/// Flags and a date, each with a space behind it.
fn message_head(cursor: &mut Cursor) -> Parsed<MessageHead> {
    let mut flags = NamedFlags::default();
    if cursor.peek() == Some(b'(') {
        flags = flag_list(cursor)?;
        cursor.space()?;
    }
    let mut internal_date = None;
    if cursor.peek() == Some(b'"') {
        let text = cursor.string()?;
        let wrong = Syntax::Malformed("the date-time is malformed");
        internal_date = Some(date::parse_imap_date_time(&text).ok_or(wrong)?);
        cursor.space()?;
    }
    Ok(MessageHead { flags, internal_date })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps in short, and the end.
    fn read(text: &str, place: Place, literal: bool) -> Option<(String, StretchEnd)> {
        let stretch = stretch(Cursor::new(text.as_bytes()), place, literal).ok()?;
        let short = |step: &AppendStep| match step {
            AppendStep::Message(_) => "m".to_owned(),
            AppendStep::Url(url) => format!("u{}", String::from_utf8_lossy(url)),
            AppendStep::Whole => ".".to_owned(),
        };
        Some((stretch.steps.iter().map(short).collect(), stretch.end))
    }

    #[test]
    fn stretches_of_every_form() {
        for (text, place, literal, steps, end) in [
            (" ", Place::Between, true, "m", StretchEnd::Message),
            (" (\\Seen) ", Place::Between, true, "m", StretchEnd::Message),
            ("", Place::Between, false, "", StretchEnd::Command),
            (" CATENATE (TEXT ", Place::Between, true, "m", StretchEnd::Text),
            (" catenate (url a url \"b\" Text ", Place::Between, true, "muaub", StretchEnd::Text),
            (" CATENATE (URL ", Place::Between, true, "m", StretchEnd::Url),
            (" CATENATE (URL {1}\r\na URL ", Place::Between, true, "mua", StretchEnd::Url),
            (" CATENATE (URL a)", Place::Between, false, "mua.", StretchEnd::Command),
            (
                " CATENATE (URL a) CATENATE (URL b) (\\Seen) ",
                Place::Between,
                true,
                "mua.mub.m",
                StretchEnd::Message,
            ),
            (")", Place::Among, false, ".", StretchEnd::Command),
            (") ", Place::Among, true, ".m", StretchEnd::Message),
            (" URL a)", Place::Among, false, "ua.", StretchEnd::Command),
            (" TEXT ", Place::Among, true, "", StretchEnd::Text),
            (" UTF8 (", Place::Between, true, "m", StretchEnd::Utf8 { among: false }),
            (" CATENATE (URL a UTF8 (", Place::Between, true, "mua", StretchEnd::Utf8 { among: true }),
            (") ", Place::InUtf8 { among: false }, true, ".m", StretchEnd::Message),
            (") URL a)", Place::InUtf8 { among: true }, false, "ua.", StretchEnd::Command),
        ] {
            assert_eq!(read(text, place, literal), Some((steps.to_owned(), end)), "{text:?}");
        }
    }

    #[test]
    fn malformed_stretches() {
        for (text, place, literal) in [
            ("", Place::Between, true),
            (" ", Place::Between, false),
            (" junk", Place::Between, false),
            (" junk ", Place::Between, true),
            (" CATENATE ()", Place::Between, false),
            (" CATENATE (URL a", Place::Between, false),
            (" CATENATE (TEXT a)", Place::Between, false),
            (" CATENATE (TEXT \"a\")", Place::Between, false),
            (" CATENATE TEXT ", Place::Between, true),
            (" CATENATE (URL a)TEXT ", Place::Between, true),
            ("", Place::Among, true),
            ("", Place::Among, false),
            (" )", Place::Among, false),
            (" UTF8 ", Place::Between, true),
            (" UTF8 (a)", Place::Between, false),
            ("", Place::InUtf8 { among: false }, false),
            (")", Place::InUtf8 { among: true }, false),
        ] {
            assert_eq!(read(text, place, literal), None, "{text:?}");
        }
        let many = |count: usize| format!(" CATENATE ({})", vec!["URL a"; count].join(" "));
        assert!(read(&many(CATENATE_PARTS_MAX), Place::Between, false).is_some());
        assert!(read(&many(CATENATE_PARTS_MAX + 1), Place::Between, false).is_none());
    }

    #[test]
    fn octets_flow_by_but_for_those_of_urls_and_names() {
        for (text, place, flows) in [
            ("a LOGIN ", None, false),
            ("a UID FETCH ", None, false),
            ("a REPLACE 1 ", None, false),
            ("a REPLACE x ", None, true),
            ("a UID REPLACE * x ", None, true),
            ("a UID REPLACE 1 x CATENATE (URL ", None, false),
            ("a APPEND ", None, false),
            ("a APPEND URL ", None, true),
            ("a APPEND x CATENATE (URL ", None, false),
            ("a APPEND x CATENATE (TEXT ", None, true),
            ("a APPEND x junk URL ", None, true),
            (" URL ", Some(Place::Among), false),
            (" URL ", Some(Place::Between), true),
            (" TEXT ", Some(Place::Among), true),
        ] {
            assert_eq!(literal_flows(text.as_bytes(), place), flows, "{text:?}");
        }
    }
}
