//! The seal on mail of others that is passed on (ARC, RFC 8617): what was found when it came, so that whoever trusts us may
//! trust that, though the mail comes from a server for which its author's domain does not speak.
//!
//! A seal goes on with a chain that holds, or begins one. A chain that is broken, or that cannot be verified at the moment, is
//! left as it is: RFC 8617 5.1.2 has nothing to add to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::AuthenticatedMessage;
use mail_auth::common::crypto::SigningKey;

use super::facts::{ArcResult, Facts};
use super::gather::Read;
use super::signing::{self, Key, SigningError};
use crate::mail::ids::Timestamp;
use crate::state::dkim::{DkimAlgorithm, DkimKey, DkimKeys};

/// RFC 8617 4.2.1.
const INSTANCE_MAX: usize = 50;
/// Sealed as often as it is there, beside what is signed of our own mail: the next one may add his.
const SIGNATURE: &str = "DKIM-Signature";
/// Of them, from the bottom.
const SIGNATURES_MAX: usize = 10;
const NAMES_PER_LINE: usize = 8;

/// The domain's key to seal with, if it has one that signs. RSA first: not all who verify know Ed25519, and a chain has one seal
/// for each who passed the mail on.
pub fn key<'a>(keys: &'a DkimKeys, domain: &str) -> Option<&'a DkimKey> {
    let rsa = |key: &&DkimKey| key.algorithm == DkimAlgorithm::RsaSha256;
    keys.signing(domain).find(rsa).or_else(|| keys.signing(domain).next())
}

/// Three fields to stand above all others. `None`: the chain is none to go on with, or was not looked at.
/// `found`: as in the message's Authentication-Results by `receiver`.
pub fn seal(
    read: &Read,
    facts: &Facts,
    (receiver, found): (&str, &[String]),
    (key, now): (&DkimKey, Timestamp),
) -> Result<Option<String>, SigningError> {
    let (Some(message), Some(arc)) = (read.message(), &facts.arc) else { return Ok(None) };
    let sets = message.as_headers.len();
    let validity = match arc.result {
        ArcResult::None if sets == 0 => "none",
        ArcResult::Pass if sets < INSTANCE_MAX => "pass",
        ArcResult::None | ArcResult::Pass | ArcResult::Fail | ArcResult::TempError => return Ok(None),
    };
    let Some(body_hash) = read.hash_for_seals() else { return Ok(None) };
    let begin = format!(
        "i={}; a={}; d={}; s={}; t={};",
        sets + 1,
        key.algorithm.word(),
        key.domain,
        key.selector,
        now.0 / 1_000
    );
    let results = if found.is_empty() { "none".to_owned() } else { found.join(";\r\n\t") };
    let results = Field {
        name: "ARC-Authentication-Results",
        value: format!("i={}; {receiver};\r\n\t{results}", sets + 1),
    };
    let private = signing::open(&key.private)?;
    let names = names(&message);
    let signature = Field {
        name: "ARC-Message-Signature",
        value: format!(
            "{begin}\r\n\tc=relaxed/relaxed; bh={};\r\n\th={};\r\n\tb=",
            STANDARD.encode(body_hash),
            names.chunks(NAMES_PER_LINE).map(|line| line.join(":")).collect::<Vec<_>>().join(":\r\n\t"),
        ),
    };
    let signature = signature.signed(&private, selected(&message, &names))?;
    let seal = Field { name: "ARC-Seal", value: format!("{begin} cv={validity};\r\n\tb=") };
    let mut sealed = chain(&message);
    sealed.extend(
        [results.relaxed(), signature.relaxed()].map(|field| [field, b"\r\n".to_vec()].concat()).concat(),
    );
    let seal = seal.signed(&private, sealed)?;
    Ok(Some([results, signature, seal].map(|field| format!("{}: {}\r\n", field.name, field.value)).concat()))
}

struct Field {
    name: &'static str,
    /// Folded; its end is not.
    value: String,
}

impl Field {
    fn relaxed(&self) -> Vec<u8> {
        relaxed(self.name.as_bytes(), self.value.as_bytes())
    }

    /// With the signature, at its end, of what goes before it and of itself without one (RFC 6376 3.7).
    fn signed(mut self, key: &Key, mut before: Vec<u8>) -> Result<Self, SigningError> {
        before.extend(self.relaxed());
        let signature = match key {
            Key::Rsa(key) => key.sign(before.as_slice()),
            Key::Ed25519(key) => key.sign(before.as_slice()),
        };
        let signature = signature.map_err(|error| SigningError::NotSigned(error.to_string()))?;
        self.value.push_str(&signing::folded(&signature));
        Ok(self)
    }
}

/// Without its line's end. RFC 6376 3.4.2: the name in lower case, the value unfolded, each blank a single one.
fn relaxed(name: &[u8], value: &[u8]) -> Vec<u8> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let words = value.split(is_blank).filter(|word| !word.is_empty());
    let value = words.collect::<Vec<_>>().join(&b' ');
    [name.trim_ascii().to_ascii_lowercase(), b":".to_vec(), value].concat()
}

/// What is signed: a name stands for the next field of that name from the bottom, or for none (RFC 6376 5.4.2).
fn names(message: &AuthenticatedMessage<'_>) -> Vec<&'static str> {
    let is_signature = |(name, _): &&(&[u8], &[u8])| name.eq_ignore_ascii_case(SIGNATURE.as_bytes());
    let signatures = message.headers.iter().filter(is_signature).count().min(SIGNATURES_MAX);
    let all = signing::FIELDS.iter().copied();
    all.chain(std::iter::repeat_n(SIGNATURE, signatures)).collect()
}

fn selected(message: &AuthenticatedMessage<'_>, names: &[&str]) -> Vec<u8> {
    let mut left: Vec<_> = message.headers.iter().collect();
    let mut text = Vec::new();
    for wanted in names {
        if let Some(at) = left.iter().rposition(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes())) {
            let (name, value) = left.remove(at);
            text.extend(relaxed(name, value));
            text.extend(b"\r\n");
        }
    }
    text
}

/// The sets that there are, by their instances.
fn chain(message: &AuthenticatedMessage<'_>) -> Vec<u8> {
    let sets = message.aar_headers.iter().zip(&message.ams_headers).zip(&message.as_headers);
    let fields = sets.flat_map(|((results, signature), seal)| {
        [(results.name, results.value), (signature.name, signature.value), (seal.name, seal.value)]
    });
    fields.flat_map(|(name, value)| [relaxed(name, value), b"\r\n".to_vec()].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6376 3.4.5.
    #[test]
    fn blanks_and_case_are_evened_out() {
        for (name, value, expected) in [
            ("A", " X\r\n", "a:X"),
            ("B ", " Y\t\r\n\tZ  \r\n", "b:Y Z"),
            ("c", "\r\n", "c:"),
            ("D", " \u{fc} \u{a0}\r\n", "d:\u{fc} \u{a0}"),
        ] {
            assert_eq!(relaxed(name.as_bytes(), value.as_bytes()), expected.as_bytes(), "{name}");
        }
    }
}
