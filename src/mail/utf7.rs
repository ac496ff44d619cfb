//! Modified UTF-7 (RFC 3501 5.1.3): mailbox names in ASCII, on the wire of IMAP and in the folders of Maildir++.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// RFC 3501 5.1.3: base64 with `,` for `/`, without padding.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

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

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(name in "[^\0]{0,40}") {
            prop_assert_eq!(decode_utf7(encode_utf7(&name).as_bytes()), Some(name));
        }
    }
}
