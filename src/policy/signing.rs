//! DKIM keys and the signatures made with them (RFC 6376, RFC 8463).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use mail_auth::dkim::generate::DkimKeyPair;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::mail::address::canonical_domain;
use crate::mail::header::{self, Address};
use crate::state::dkim::{DkimAlgorithm, DkimKey, PRIVATE_BYTES_MAX};
use crate::state::secret::Secret;

/// RFC 8301 3.2.
const RSA_BITS: usize = 2_048;
/// Digits of a signature on one line.
const BASE64_PER_LINE: usize = 72;
/// What is signed where it is there, and cannot be added where it is not. Those named twice cannot be added a second time
/// either (RFC 6376 8.15): they are what a reader sees.
pub(super) const FIELDS: [&str; 17] = [
    "From",
    "From",
    "Subject",
    "Subject",
    "Date",
    "Date",
    "To",
    "To",
    "Cc",
    "Cc",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    #[error("this is no private key in PEM: PKCS#8, or PKCS#1 for RSA")]
    NotPem,
    #[error("the private key is longer than {PRIVATE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the private key cannot be used ({0}); RSA needs 2,048 bits or more")]
    Unusable(String),
    #[error("the mail cannot be signed: {0}")]
    NotSigned(String),
}

pub(super) enum Key {
    Rsa(RsaKey<Sha256>),
    Ed25519(Ed25519Key),
}

/// A new key; RSA takes some of the processor's time.
pub fn generate(algorithm: DkimAlgorithm) -> Result<Secret, SigningError> {
    let unusable = |error: mail_auth::Error| SigningError::Unusable(error.to_string());
    let (label, der) = match algorithm {
        DkimAlgorithm::RsaSha256 => {
            let pair = DkimKeyPair::generate_rsa(RSA_BITS).map_err(unusable)?;
            ("RSA PRIVATE KEY", pair.into_inner().0)
        }
        DkimAlgorithm::Ed25519Sha256 => ("PRIVATE KEY", Ed25519Key::generate_pkcs8().map_err(unusable)?),
    };
    Ok(Secret(pem(label, &der)))
}

/// What an administrator pasted, if it can be used.
pub fn read(text: &str) -> Result<(DkimAlgorithm, Secret), SigningError> {
    if text.len() > PRIVATE_BYTES_MAX {
        return Err(SigningError::TooLong);
    }
    let private = Secret(text.trim().to_owned() + "\n");
    let algorithm = match open(&private)? {
        Key::Rsa(_) => DkimAlgorithm::RsaSha256,
        Key::Ed25519(_) => DkimAlgorithm::Ed25519Sha256,
    };
    Ok((algorithm, private))
}

/// The public half, in PEM.
pub fn public_pem(private: &Secret) -> Result<String, SigningError> {
    Ok(pem("PUBLIC KEY", &public_info(&open(private)?)))
}

/// The text of the TXT record at `SELECTOR._domainkey.DOMAIN`.
pub fn record(private: &Secret) -> Result<String, SigningError> {
    Ok(match open(private)? {
        key @ Key::Rsa(_) => format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public_info(&key))),
        // RFC 8463 4: the bare key.
        Key::Ed25519(key) => format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key.public_key())),
    })
}

/// The domain of the first author; a mail is signed for it.
pub fn author_domain(text: &[u8]) -> Option<String> {
    let from = header::find(text, "From")?;
    let mailbox = header::addresses(from.value).into_iter().find_map(Address::into_mailbox)?;
    canonical_domain(&String::from_utf8(mailbox.domain?).ok()?)
}

/// The fields to put in front of `text`, one for each key. `text` must be as it goes out, with CRLF.
pub fn sign<'a>(text: &[u8], keys: impl IntoIterator<Item = &'a DkimKey>) -> Result<String, SigningError> {
    let mut fields = String::new();
    for key in keys {
        let about = (key.domain.as_str(), key.selector.as_str());
        fields.push_str(&match open(&key.private)? {
            Key::Rsa(key) => sign_with(text, key, about)?,
            Key::Ed25519(key) => sign_with(text, key, about)?,
        });
    }
    Ok(fields)
}

fn sign_with<T: SigningKey>(
    text: &[u8],
    key: T,
    (domain, selector): (&str, &str),
) -> Result<String, SigningError> {
    let signer = DkimSigner::from_key(key).domain(domain).selector(selector).headers(FIELDS);
    let mut signature = signer.sign(text).map_err(|error| SigningError::NotSigned(error.to_string()))?;
    let digits = folded(&std::mem::take(&mut signature.b));
    // Without its signature the field is as it was signed, and ends in `b=;`.
    let field = signature.to_header();
    let begin = field.trim_end().trim_end_matches(';');
    Ok(format!("{begin}\r\n\t{digits};\r\n"))
}

/// A signature for its field, whose lines break between digits alone. mail-auth may break them behind the last one as well:
/// that blank is a part of the signature (RFC 6376 3.5), but dkimpy takes away only those before a digit, and then finds
/// another text than was signed.
pub(super) fn folded(signature: &[u8]) -> String {
    let mut folded = String::new();
    for (at, digit) in STANDARD.encode(signature).chars().enumerate() {
        if at > 0 && at % BASE64_PER_LINE == 0 {
            folded.push_str("\r\n\t");
        }
        folded.push(digit);
    }
    folded
}

pub(super) fn open(private: &Secret) -> Result<Key, SigningError> {
    let der = PrivateKeyDer::from_pem_slice(private.0.as_bytes()).map_err(|_| SigningError::NotPem)?;
    if let PrivateKeyDer::Pkcs8(der) = &der
        && let Ok(key) = Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_pkcs8_der())
    {
        return Ok(Key::Ed25519(key));
    }
    RsaKey::from_key_der(der).map(Key::Rsa).map_err(|error| SigningError::Unusable(error.to_string()))
}

/// SubjectPublicKeyInfo (RFC 5280 4.1.2.7): what is published of RSA keys (RFC 6376, erratum 3017), and in PEM of both.
fn public_info(key: &Key) -> Vec<u8> {
    const RSA: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    const ED25519: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
    let (algorithm, public) = match key {
        Key::Rsa(key) => (&RSA[..], key.public_key()),
        Key::Ed25519(key) => (&ED25519[..], key.public_key()),
    };
    let bits = der(0x03, &[&[0], public.as_slice()].concat());
    der(0x30, &[algorithm, &bits].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        _ => {
            out.push(0x80 | length.len() as u8);
            out.extend_from_slice(length);
        }
    }
    out.extend_from_slice(content);
    out
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::mail::ids::Timestamp;

    /// RFC 8463 A.2.
    const RFC_ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

    #[test]
    fn the_keys_of_the_rfc_give_its_record() {
        let (algorithm, private) = read(RFC_ED25519).unwrap();
        assert_eq!(algorithm, DkimAlgorithm::Ed25519Sha256);
        assert_eq!(
            record(&private).unwrap(),
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        );
        let public = public_pem(&private).unwrap();
        assert!(public.contains("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), "{public}");
    }

    #[test]
    fn a_new_key_is_read_back_and_published_as_others_expect_it() {
        for (algorithm, begins) in [
            (DkimAlgorithm::RsaSha256, "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"),
            (DkimAlgorithm::Ed25519Sha256, "v=DKIM1; k=ed25519; p="),
        ] {
            let private = generate(algorithm).unwrap();
            assert_eq!(read(&private.0), Ok((algorithm, private.clone())));
            assert!(record(&private).unwrap().starts_with(begins), "{}", record(&private).unwrap());
            let spaced = format!("\r\n{}\r\n\r\n", private.0.replace('\n', "\r\n"));
            assert_eq!(read(&spaced).unwrap().0, algorithm);
            assert_ne!(generate(DkimAlgorithm::Ed25519Sha256).unwrap(), private);
        }
    }

    #[test]
    fn what_is_no_usable_key_is_refused() {
        let cut = &RFC_ED25519[..60];
        let garbage = RFC_ED25519.replace("MC4C", "AAAA");
        let public = public_pem(&read(RFC_ED25519).unwrap().1).unwrap();
        for text in ["", "key", cut, &garbage, &public] {
            assert!(read(text).is_err(), "{text}");
        }
        let long = |bytes: usize| format!("{RFC_ED25519}{}", " ".repeat(bytes - RFC_ED25519.len()));
        assert!(read(&long(PRIVATE_BYTES_MAX)).is_ok());
        assert_eq!(read(&long(PRIVATE_BYTES_MAX + 1)), Err(SigningError::TooLong));
    }

    static RSA: LazyLock<Secret> = LazyLock::new(|| generate(DkimAlgorithm::RsaSha256).unwrap());

    fn letter(names: &[&str]) -> String {
        let fields: String = names.iter().map(|name| format!("{name}: a@b.test\r\n")).collect();
        format!("{fields}From: a@b.test\r\n\r\nHi.\r\n")
    }

    /// What dkimpy leaves of a signature: it takes away each digit with the blanks before it.
    fn left_by_dkimpy(field: &str) -> &str {
        let (_, mut left) = field.rsplit_once("; b=").unwrap();
        let digit = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        while let Some(rest) = left.trim_start().strip_prefix(digit) {
            left = rest;
        }
        left
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The names of the fields that there are decide where lines break. That mail-auth takes what is signed is shown over a
        /// DNS (`gather/tests/signing`).
        #[test]
        fn whatever_is_signed_lines_break_between_digits_alone(
            names in prop::collection::vec(prop::sample::select(&FIELDS[..]), 0..30),
            selector in "[a-z]{1,63}",
            domain in "[a-z]{1,40}\\.test",
            is_rsa: bool,
        ) {
            let private = if is_rsa { RSA.clone() } else { Secret(RFC_ED25519.to_owned()) };
            let algorithm = read(&private.0).unwrap().0;
            let key = DkimKey { domain, selector, algorithm, private, signs: true, created: Timestamp(0) };
            let field = sign(letter(&names).as_bytes(), [&key]).unwrap();
            prop_assert_eq!(left_by_dkimpy(&field), ";\r\n", "{}", field);
            let (_, digits) = field.rsplit_once("; b=\r\n").unwrap();
            prop_assert!(digits.lines().all(|line| line.len() <= 1 + BASE64_PER_LINE + ";".len()), "{}", field);
        }
    }

    /// Should this fail, mail-auth writes fields that dkimpy takes too, and may write ours.
    #[test]
    fn the_library_breaks_lines_behind_the_last_digit_of_some() {
        let is_broken = |times: &usize| {
            let Key::Rsa(key) = open(&RSA).unwrap() else { panic!("it is one") };
            let signer = DkimSigner::from_key(key).domain("b.test").selector("s").headers(FIELDS);
            let signature = signer.sign(letter(&["Cc"].repeat(*times)).as_bytes()).unwrap();
            left_by_dkimpy(&signature.to_header()) != ";\r\n"
        };
        assert!((0..20).any(|times| is_broken(&times)));
    }

    #[test]
    fn a_mail_is_signed_for_its_first_author_with_each_key() {
        for (text, domain) in [
            ("From: A <a@B.Test>, c@d.test\r\n\r\n", Some("b.test")),
            ("From: us: a@b.test;\r\n\r\n", Some("b.test")),
            ("From: a@b\u{fc}cher.test\r\n\r\n", Some("xn--bcher-kva.test")),
            ("From: nobody:;\r\n\r\n", None),
            ("From: a\r\n\r\n", None),
            ("To: a@b.test\r\n\r\nFrom: a@b.test\r\n", None),
        ] {
            assert_eq!(author_domain(text.as_bytes()).as_deref(), domain, "{text}");
        }
        let key = |selector: &str| DkimKey {
            domain: "b.test".to_owned(),
            selector: selector.to_owned(),
            algorithm: DkimAlgorithm::Ed25519Sha256,
            private: Secret(RFC_ED25519.to_owned()),
            signs: true,
            created: Timestamp(0),
        };
        let text = b"From: a@b.test\r\nSubject: s\r\n\r\nHi.\r\n";
        let fields = sign(text, [&key("one"), &key("two")]).unwrap();
        assert_eq!(fields.matches("DKIM-Signature: v=1; a=ed25519-sha256; s=").count(), 2);
        assert!(
            fields.ends_with("\r\n") && fields.contains("d=b.test") && fields.contains("s=two"),
            "{fields}"
        );
        let flat = fields.to_lowercase().replace("\r\n\t", "");
        assert_eq!(flat.matches("from:").count(), 4, "none can be added: {flat}");
        assert_eq!(sign(text, []).unwrap(), "");
    }
}
