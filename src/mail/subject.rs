//! The base subject (RFC 5256 2.1): what is left of a subject when reply and forward marks are taken off.

use super::header::decode_text;

/// Characters of a subject that are looked at.
const SUBJECT_CHARS_MAX: usize = 1_000;

/// A subject without its marks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseSubject {
    /// Decoded, with single blanks; its case is as written.
    pub text: String,
    /// A mark was taken off: the message answers another, or passes it on.
    pub is_reply: bool,
}

/// Takes the value of a Subject field.
pub fn base_subject(value: &[u8]) -> BaseSubject {
    let decoded = decode_text(value);
    let words: Vec<&str> = decoded.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect();
    let text: String = words.join(" ").chars().take(SUBJECT_CHARS_MAX).collect();
    let mut rest = text.as_str();
    let mut is_reply = false;
    loop {
        while let Some(shorter) = strip_suffix(rest, "(fwd)") {
            (rest, is_reply) = (shorter.trim_end_matches(' '), true);
        }
        rest = rest.trim_end_matches(' ');
        while let Some((shorter, was_mark)) = without_leader(rest) {
            (rest, is_reply) = (shorter, is_reply || was_mark);
        }
        let wrapped = strip_prefix(rest, "[fwd:").and_then(|inner| inner.strip_suffix(']'));
        match wrapped {
            Some(inner) => (rest, is_reply) = (inner.trim_matches(' '), true),
            None => break,
        }
    }
    BaseSubject { text: rest.to_owned(), is_reply }
}

/// Takes off one `Re:` or `Fwd:` with the blobs before it, or a blob that something follows; true for the former.
fn without_leader(text: &str) -> Option<(&str, bool)> {
    let text = text.trim_start_matches(' ');
    let mut behind_blobs = text;
    while let Some(rest) = without_blob(behind_blobs) {
        behind_blobs = rest;
    }
    if let Some(rest) = without_mark(behind_blobs) {
        return Some((rest, true));
    }
    // A blob is kept where nothing but blobs would be left.
    without_blob(text).filter(|rest| !rest.is_empty()).map(|rest| (rest, false))
}

/// `re`, `fw` or `fwd`, perhaps a blob, and a colon.
fn without_mark(text: &str) -> Option<&str> {
    let rest = ["re", "fwd", "fw"].iter().find_map(|mark| strip_prefix(text, mark))?;
    let rest = rest.trim_start_matches(' ');
    let rest = without_blob(rest).unwrap_or(rest);
    Some(rest.strip_prefix(':')?.trim_start_matches(' '))
}

/// `[anything but brackets]` and the blanks behind it.
fn without_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    Some(inner[end..].strip_prefix(']')?.trim_start_matches(' '))
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(prefix.len())?;
    front.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn strip_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_are_taken_off() {
        for (subject, base, is_reply) in [
            ("test", "test", false),
            ("Re: test", "test", true),
            ("re : FW: Fwd: test", "test", true),
            ("Re[2]: test", "test", true),
            ("test (fwd) (FWD) ", "test", true),
            ("[list] test", "test", false),
            ("[list] Re: [other] test", "test", true),
            ("Re: [list]", "[list]", true),
            ("[list]", "[list]", false),
            ("[a] [b]", "[b]", false),
            ("[fwd: Re: test (fwd)]", "test", true),
            ("[Fwd: [fwd: test]]", "test", true),
            ("[fwd: test", "[fwd: test", false),
            ("Re:", "", true),
            ("", "", false),
            ("   ", "", false),
            ("rest of it", "rest of it", false),
            ("Reply: no mark", "Reply: no mark", false),
            ("a \t b\r\n c", "a b c", false),
            ("=?utf-8?q?Re:_Gr=C3=BC=C3=9Fe?=", "Grüße", true),
        ] {
            let found = base_subject(subject.as_bytes());
            assert_eq!((found.text.as_str(), found.is_reply), (base, is_reply), "{subject:?}");
        }
    }

    #[test]
    fn a_subject_is_bounded() {
        let long = "x".repeat(2 * SUBJECT_CHARS_MAX);
        assert_eq!(base_subject(long.as_bytes()).text.len(), SUBJECT_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn a_base_has_no_mark_left(subject in "((Re|fwd|\\[a\\]|\\[fwd:|\\(fwd\\)|:|\\]| |é|x){0,12})") {
            let base = base_subject(subject.as_bytes()).text;
            prop_assert_eq!(&base_subject(base.as_bytes()).text, &base);
        }
    }
}
