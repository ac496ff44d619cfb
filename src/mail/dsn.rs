//! What a sender may ask of delivery notices (RFC 3461): the words of MAIL and RCPT, and their xtext.

use std::fmt;

use bincode::{Decode, Encode};

/// How much of the message comes back with a notice that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Ret {
    Full,
    Headers,
}

/// All false is NOTIFY=NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

impl Notify {
    pub const NEVER: Notify = Notify { success: false, failure: false, delay: false };
}

/// As it stands behind `NOTIFY=`.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let asked: Vec<&str> = words.into_iter().filter(|(asked, _)| *asked).map(|(_, word)| word).collect();
        f.write_str(if asked.is_empty() { "NEVER" } else { "" })?;
        f.write_str(&asked.join(","))
    }
}

/// As it stands behind `RET=`.
impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ret::Full => "FULL",
            Ret::Headers => "HDRS",
        })
    }
}

/// RFC 3461 4: `text` so that it may stand behind `ENVID=` or in ORCPT.
pub fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => encoded.push_str(&format!("+{byte:02X}")),
            b'!'..=b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("+{other:02X}")),
        }
    }
    encoded
}

/// What xtext stands for, as octets. `None` for what is no xtext.
pub fn decode_xtext(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| match byte? {
        byte @ b'0'..=b'9' => Some(byte - b'0'),
        byte @ b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            b'!'..=b'~' if byte != b'=' => byte,
            _ => return None,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_words_are_those_of_rfc_3461() {
        assert_eq!(Notify::NEVER.to_string(), "NEVER");
        assert_eq!(Notify { failure: true, delay: true, ..Notify::NEVER }.to_string(), "FAILURE,DELAY");
        assert_eq!(Notify { success: true, ..Notify::NEVER }.to_string(), "SUCCESS");
        assert_eq!(format!("{} {}", Ret::Full, Ret::Headers), "FULL HDRS");
        assert_eq!(xtext("a+b=c d@x.test"), "a+2Bb+3Dc+20d@x.test");
    }

    proptest! {
        #[test]
        fn xtext_reads_back(text in ".{0,60}") {
            let encoded = xtext(&text);
            prop_assert!(encoded.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'='));
            prop_assert_eq!(decode_xtext(&encoded), Some(text.into_bytes()));
        }
    }
}
