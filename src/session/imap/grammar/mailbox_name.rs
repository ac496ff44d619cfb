//! Mailbox names: modified UTF-7 on the wire (RFC 3501 5.1.3), UTF-8 with `/` between levels inside;
//! INBOX, and INBOX as the first level, in capitals.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::session::imap::limits::{MAILBOX_NAME_BYTES_MAX, MAILBOX_NAME_LEVELS_MAX};

/// RFC 3501 5.1.3: base64 with `,` for `/`, without padding.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A name as a client gave it. What cannot be a name is `None`: it names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxName(pub Option<String>);

impl MailboxName {
    pub fn from_wire(wire: &[u8]) -> Self {
        let canonical = decode_utf7(wire).filter(|name| name.len() <= MAILBOX_NAME_BYTES_MAX);
        Self(canonical.map(|name| with_inbox_in_capitals(&name)))
    }
}

/// RFC 3501 5.1: INBOX in any case is INBOX.
fn with_inbox_in_capitals(name: &str) -> String {
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("INBOX") {
        format!("INBOX{}", &name[first.len()..])
    } else {
        name.to_owned()
    }
}

/// True for a name that CREATE and RENAME may make.
pub fn is_creatable(name: &str) -> bool {
    name.len() <= MAILBOX_NAME_BYTES_MAX
        && name.split('/').count() <= MAILBOX_NAME_LEVELS_MAX
        && name.split('/').all(|level| !level.is_empty() && level != "." && level != "..")
        && !name.chars().any(|c| c.is_control() || matches!(c, '%' | '*'))
}

/// `None` when it is not well-formed modified UTF-7.
pub fn decode_utf7(wire: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'&' => {
                let end = rest.iter().position(|byte| *byte == b'-')?;
                if end == 0 {
                    name.push('&');
                } else {
                    name.push_str(&decode_shifted(&rest[..end])?);
                }
                rest = &rest[end + 1..];
            }
            0x20..=0x7e => name.push(byte as char),
            _ => return None,
        }
    }
    Some(name)
}

fn decode_shifted(base64: &[u8]) -> Option<String> {
    let bytes = ENGINE.decode(base64).ok()?;
    if bytes.is_empty() || bytes.len() % 2 != 0 {
        return None;
    }
    let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    // RFC 3501 5.1.3: printable ASCII never stands in base64, lest one mailbox had two names.
    (!text.chars().any(|c| (' '..='~').contains(&c) || c == '\0')).then_some(text)
}

pub fn encode_utf7(name: &str) -> String {
    let mut wire = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if (' '..='~').contains(&c) {
            unshift(&mut shifted, &mut wire);
            wire.push(c);
            if c == '&' {
                wire.push('-');
            }
        } else {
            let mut units = [0; 2];
            shifted.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    unshift(&mut shifted, &mut wire);
    wire
}

fn unshift(shifted: &mut Vec<u8>, wire: &mut String) {
    if !shifted.is_empty() {
        wire.push('&');
        wire.push_str(&ENGINE.encode(&shifted));
        wire.push('-');
        shifted.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(decode_utf7(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap(), "~peter/mail/台北/日本語");
        assert_eq!(encode_utf7("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode_utf7(b"&Jjo-!").unwrap(), "☺!");
        assert_eq!(encode_utf7("a&b"), "a&-b");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for wire in ["&", "&Jjo!", "&AGE-", "&Jj-", "&U,BTFw", "a\x07", "\u{e9}", "&2AA-"] {
            assert_eq!(decode_utf7(wire.as_bytes()), None, "{wire:?}");
        }
    }

    #[test]
    fn inbox_has_no_case() {
        assert_eq!(MailboxName::from_wire(b"iNbOx").0.unwrap(), "INBOX");
        assert_eq!(MailboxName::from_wire(b"inbox/a").0.unwrap(), "INBOX/a");
        assert_eq!(MailboxName::from_wire(b"inboxes").0.unwrap(), "inboxes");
    }

    #[test]
    fn names_are_bounded() {
        assert!(is_creatable(&"a".repeat(MAILBOX_NAME_BYTES_MAX)));
        assert!(!is_creatable(&"a".repeat(MAILBOX_NAME_BYTES_MAX + 1)));
        assert!(is_creatable(&vec!["a"; MAILBOX_NAME_LEVELS_MAX].join("/")));
        assert!(!is_creatable(&vec!["a"; MAILBOX_NAME_LEVELS_MAX + 1].join("/")));
        for name in ["", "/a", "a//b", "a/", "a*", "%", "..", "a\tb"] {
            assert!(!is_creatable(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(name in "[^\0]{0,40}") {
            prop_assert_eq!(decode_utf7(encode_utf7(&name).as_bytes()), Some(name));
        }
    }
}
