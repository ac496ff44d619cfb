//! Names as the rows hold them: bounded, and folded by ASCII rules only, so that every build agrees.

use crate::mail::lines::beginning;
use crate::state::outcome::Refusal;

pub const MAILBOX_NAME_BYTES_MAX: usize = 1_000;
pub const MAILBOX_DEPTH_MAX: usize = 20;
pub const LOCAL_BYTES_MAX: usize = 64;
pub const DOMAIN_BYTES_MAX: usize = 253;
/// Bytes of a client's text that a refusal repeats.
const SHOWN_BYTES_MAX: usize = 100;

/// `text`, cut to what a refusal may repeat of it.
pub fn shown(text: &str) -> String {
    beginning(text, SHOWN_BYTES_MAX).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

pub fn invalid(what: &str, text: &str) -> Refusal {
    Refusal::Invalid(format!("{what} \"{}\"", shown(text)))
}

/// A domain in A-labels, lower case, without a leading or trailing dot (requirement 7).
pub fn domain(text: &str) -> Result<String, Refusal> {
    let bare = text.strip_prefix('.').unwrap_or(text);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if bare.len() > DOMAIN_BYTES_MAX || !bare.split('.').all(label) {
        return Err(invalid("domain", text));
    }
    Ok(bare.to_ascii_lowercase())
}

/// A local part that needs no quoting (RFC 5321 dot-string, RFC 6531), lower case.
pub fn local(text: &str) -> Result<String, Refusal> {
    let atom = |c: char| match c {
        '!' | '#'..='\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^'..='`' | '{'..='~' => true,
        c => c.is_ascii_alphanumeric() || (!c.is_ascii() && !c.is_control()),
    };
    let well_formed = text.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    if text.len() > LOCAL_BYTES_MAX || !well_formed {
        return Err(invalid("name", text));
    }
    Ok(text.to_ascii_lowercase())
}

/// A name of an operator's choice, folded.
pub fn plain(what: &str, text: &str, bytes_max: usize) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=bytes_max).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(invalid(what, text)),
    }
}

/// A bare local part, or `local@domain`.
pub fn address(text: &str) -> Result<String, Refusal> {
    match text.rsplit_once('@') {
        Some((left, right)) => Ok(format!("{}@{}", local(left)?, domain(right)?)),
        None => local(text),
    }
}

/// A mailbox name: UTF-8 without control characters, parts parted by `/`, INBOX in capitals
/// (RFC 3501 5.1). One trailing separator is dropped (RFC 3501 6.3.3).
pub fn mailbox(text: &str) -> Result<String, Refusal> {
    let name = text.strip_suffix('/').unwrap_or(text);
    let parts = name.split('/').count();
    let well_formed = name.split('/').all(|part| !part.is_empty()) && !name.chars().any(char::is_control);
    if !well_formed {
        return Err(invalid("mailbox name", text));
    }
    if name.len() > MAILBOX_NAME_BYTES_MAX || parts > MAILBOX_DEPTH_MAX {
        return Err(Refusal::Limit(format!(
            "a mailbox name has at most {MAILBOX_NAME_BYTES_MAX} bytes in {MAILBOX_DEPTH_MAX} levels"
        )));
    }
    Ok(fold_inbox(name))
}

/// INBOX stands for itself in any case, also as the first of several levels.
fn fold_inbox(name: &str) -> String {
    match name.split_at_checked(5) {
        Some((first, rest))
            if first.eq_ignore_ascii_case(INBOX) && (rest.is_empty() || rest.starts_with('/')) =>
        {
            format!("{INBOX}{rest}")
        }
        _ => name.to_owned(),
    }
}

pub const INBOX: &str = "INBOX";

/// The names above `name`, from the top.
pub fn superiors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_bounded() {
        assert_eq!(domain(".X.Example.").unwrap(), "x.example");
        assert_eq!(address("Info@.Example.TEST").unwrap(), "info@example.test");
        assert_eq!(mailbox("inBox/Sub/").unwrap(), "INBOX/Sub");
        assert_eq!(mailbox("inboxes").unwrap(), "inboxes");
        assert_eq!(superiors("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        for bad in ["", ".", "a..b", "-a.b", "bücher.example", "a b", &"x".repeat(64)] {
            assert!(domain(bad).is_err(), "{bad}");
        }
        for bad in ["", "a@b", "a b", "a..b", ".a", "\"a\"", "a\u{7f}", &"x".repeat(65)] {
            assert!(local(bad).is_err(), "{bad}");
        }
        for bad in ["", "/", "/a", "a//b", "a\nb", "a//"] {
            assert!(mailbox(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mailbox_names_end_at_their_bounds() {
        assert!(mailbox(&"x".repeat(MAILBOX_NAME_BYTES_MAX)).is_ok());
        assert!(mailbox(&"x".repeat(MAILBOX_NAME_BYTES_MAX + 1)).is_err());
        assert!(mailbox(&vec!["x"; MAILBOX_DEPTH_MAX].join("/")).is_ok());
        assert!(mailbox(&vec!["x"; MAILBOX_DEPTH_MAX + 1].join("/")).is_err());
    }
}
