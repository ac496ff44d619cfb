//! The small readers of mail: addresses, dates, headers, encodings. Total; and what they write they read.

use pollux::mail::address::{Address, ForwardPath, ReversePath, canonical_domain};
use pollux::mail::date::{
    DateTime, format_imap_date_time, parse_imap_date, parse_imap_date_time, parse_rfc5322,
};
use pollux::mail::header;
use pollux::mail::mime::{Encoding, transfer};
use pollux::session::imap::search::Needle;

use super::dice::Dice;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let kind = dice.below(6);
    let rest = dice.rest();
    match kind {
        0 => std::str::from_utf8(rest).map_or((), addresses),
        1 => dates(rest, &mut dice),
        2 => headers(rest),
        3 => values(rest),
        4 => transfers(rest),
        _ => needles(&mut dice),
    }
}

fn addresses(text: &str) {
    if let Ok(address) = Address::parse(text) {
        let again = Address::parse(&address.to_string());
        assert_eq!(again.as_ref(), Ok(&address), "an address that cannot be read back");
        let canonical = Address::parse(&address.canonical()).expect("a canonical address is one");
        assert_eq!(canonical.canonical(), address.canonical());
    }
    for utf8 in [false, true] {
        if let Ok((path, rest)) = ReversePath::parse(text, utf8) {
            assert!(text.ends_with(rest));
            let written = path.to_string();
            assert_eq!(ReversePath::parse(&written, utf8), Ok((path, "")));
        }
        if let Ok((path, rest)) = ForwardPath::parse(text, utf8) {
            assert!(text.ends_with(rest));
            let written = path.to_string();
            assert_eq!(ForwardPath::parse(&written, utf8), Ok((path, "")));
        }
    }
    if let Some(domain) = canonical_domain(text) {
        assert_eq!(canonical_domain(&domain), Some(domain));
    }
}

fn dates(text: &[u8], dice: &mut Dice) {
    let _ = parse_imap_date(text);
    for parsed in [parse_imap_date_time(text), parse_rfc5322(text)].into_iter().flatten() {
        let again = DateTime::from_unix(parsed.unix_seconds(), parsed.zone_minutes);
        assert_eq!(again.unix_seconds(), parsed.unix_seconds(), "{parsed:?}");
    }
    if let Some(parsed) = parse_imap_date_time(text) {
        let written = format_imap_date_time(&parsed);
        let read = parse_imap_date_time(written.as_bytes());
        assert_eq!(read.map(|read| read.unix_seconds()), Some(parsed.unix_seconds()), "{written}");
    }
    let when = DateTime::from_unix(dice.number() as i64, dice.number() as i16);
    let _ = (when.unix_seconds(), format_imap_date_time(&when));
}

fn headers(bytes: &[u8]) {
    let mut fields = header::fields(bytes);
    let mut length = 0;
    for field in fields.by_ref() {
        assert!(!field.raw.is_empty());
        length += field.raw.len();
        let line = header::unfold(field.value);
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        values(field.value);
    }
    assert_eq!(length + fields.rest().len(), bytes.len(), "a header is its fields and the rest");
}

fn values(value: &[u8]) {
    assert!(header::addresses(value).len() <= header::ADDRESSES_MAX + 2);
    if let Some(found) = header::content_type(value) {
        assert!(found.params.len() <= header::PARAMS_MAX);
    }
    if let Some((_, params)) = header::disposition(value) {
        assert!(params.len() <= header::PARAMS_MAX);
    }
    assert!(header::token_list(value).len() <= header::PARAMS_MAX);
    let _ = header::decode_text(value);
    let _ = parse_rfc5322(value);
    let _ = Encoding::named(value);
}

fn transfers(text: &[u8]) {
    assert!(transfer::base64(text).len() <= text.len());
    assert!(transfer::quoted_printable(text).len() <= text.len());
    assert!(transfer::quoted_word(text).len() <= text.len());
    // Only what is escaped changes.
    if !text.contains(&b'=') && !text.contains(&b' ') && !text.contains(&b'\t') && !text.contains(&b'\r') {
        assert_eq!(transfer::quoted_printable(text), text);
    }
}

/// A piece of a text is in it.
fn needles(dice: &mut Dice) {
    let cut = dice.bytes(64).len();
    let text = String::from_utf8_lossy(dice.rest());
    let needle: String = text.chars().skip(cut).take(dice.below(20)).collect();
    assert!(Needle::new(&needle).is_in(&text), "{needle:?} in {text:?}");
}
