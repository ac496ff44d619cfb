//! What a person reads of HTML, as one line of text. No browser: it knows which tags part words and which contents are
//! never shown; entities are decoded; whatever is malformed is text, or is left out. One pass, never more than asked for.

use mail_parser::decoders::html::add_html_token;

/// Tags that stand within a word; all others part words.
const INLINE: [&str; 20] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "code", "em", "font", "i", "mark", "s", "small",
    "span", "strong", "sub", "sup", "u", "wbr",
];
/// Elements whose content is not shown.
const HIDDEN: [&str; 5] = ["noembed", "script", "style", "template", "title"];
/// Bytes of an entity, from `&` to `;`: the longest name has 33.
const ENTITY_BYTES_MAX: usize = 40;
/// Bytes of a tag that are looked at for the ends of its attributes' values.
const TAG_BYTES_MAX: usize = 2_048;

/// About `bytes_max` bytes of text, or all there is: markup is gone, blanks are as they come.
pub fn text(html: &str, bytes_max: usize) -> String {
    let mut text = String::new();
    let mut rest = html;
    while text.len() < bytes_max
        && let Some(at) = rest.find(['<', '&'])
    {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = if rest.starts_with('&') { entity(rest, &mut text) } else { tag(rest, &mut text) };
    }
    if text.len() < bytes_max {
        text.push_str(rest);
    }
    text
}

/// Takes an entity off the front of `rest`; an ampersand that begins none is itself.
fn entity<'a>(rest: &'a str, text: &mut String) -> &'a str {
    let within = &rest.as_bytes()[..rest.len().min(ENTITY_BYTES_MAX)];
    let name = within[1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'#').count();
    match within.get(1 + name) {
        Some(b';') if name > 0 => {
            add_html_token(text, &within[..name + 2], false);
            &rest[name + 2..]
        }
        _ => {
            text.push('&');
            &rest[1..]
        }
    }
}

/// Takes a tag, with what it hides, a comment or a declaration off the front; a `<` that begins none is itself.
fn tag<'a>(rest: &'a str, text: &mut String) -> &'a str {
    if let Some(comment) = rest.strip_prefix("<!--") {
        return comment.split_once("-->").map_or("", |(_, rest)| rest);
    }
    let inner = &rest[1..];
    let closes = inner.starts_with('/');
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '!' | '?')) {
        text.push('<');
        return &rest[1..];
    }
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
    let name = inner[..end].to_ascii_lowercase();
    let behind = &inner[tag_end(inner)..];
    if !INLINE.contains(&name.as_str()) {
        text.push(' ');
    }
    if HIDDEN.contains(&name.as_str()) && !closes { behind_hidden(&name, behind) } else { behind }
}

/// Where the tag is over: behind its `>`, which may stand in quoted values of attributes.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate().take(TAG_BYTES_MAX) {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            // A quotation mark is one behind an equal sign alone: elsewhere it is a slip.
            (None, b'"' | b'\'') if tag[..at].trim_ascii_end().ends_with('=') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    // What is not closed was a slip, too: it ends at the first `>`, or is all there is.
    tag.find('>').map_or(tag.len(), |at| at + 1)
}

fn behind_hidden<'a>(name: &str, text: &'a str) -> &'a str {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let tag = from + at + 2;
        let end = tag + name.len();
        let is_name = |found: &[u8]| found.eq_ignore_ascii_case(name.as_bytes());
        let goes_on = text.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric);
        if text.as_bytes().get(tag..end).is_some_and(is_name) && !goes_on {
            return text[tag..].split_once('>').map_or("", |(_, rest)| rest);
        }
        from = tag;
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(html: &str) -> String {
        text(html, 10_000).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_shown_is_left() {
        for (html, wanted) in [
            ("<p>Hello <b>wor</b>ld</p><div>again</div>", "Hello world again"),
            ("<td>a</td><td>b</td>c<br>d<br/>e<li>f", "a b c d e f"),
            ("<head><title>no</title><style>p > a {}</style></head><body>yes", "yes"),
            ("a<style>x<b></STYLE >b<script>if (a</b) \"</i>\"</script>c", "a b c"),
            ("a<!-- <p>no</p> -->b<!DOCTYPE html><?xml v?>c<![endif]>d", "ab c d"),
            ("<a href=\"x>y\" title='>'>link</a>", "link"),
            ("<p title=\"open>text</p>", "text"),
            (
                "&lt;tag&gt; &amp;amp; &#65;&#x42;&eacute; &nosuch; AT&T & &;",
                "<tag> &amp; AB\u{e9} &nosuch; AT&T & &;",
            ),
            ("1 < 2 <3 a<", "1 < 2 <3 a<"),
            ("a&nbsp;b&#0;&#xd800;", "a b\0\u{fffd}"),
            ("<style>a</styles>b</style", ""),
            ("<!-- never closed", ""),
            ("<p never closed", ""),
            ("", ""),
        ] {
            assert_eq!(words(html), wanted, "{html}");
        }
    }

    #[test]
    fn no_more_is_looked_at_than_is_asked_for() {
        let html = "<p>12345</p>".repeat(1_000);
        assert!((100..120).contains(&text(&html, 100).len()));
    }

    #[test]
    fn slips_without_end_cost_no_more_than_a_look_each() {
        for html in ["<a=\">", "<!--", "<style>", "</", "&", "<p title='"] {
            text(&html.repeat(256 * 1024 / html.len()), 16 * 1024);
        }
    }

    proptest! {
        #[test]
        fn anything_is_text(html in "([<>&;/!\"'= -]|style|head|#x|é|\\PC){0,60}") {
            text(&html, 50);
        }
    }
}
