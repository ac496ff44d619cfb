//! The IMAP command parser and what it takes apart: total, and its sets mean the same however they are asked.

use pollux::mail::utf7::{decode_utf7, encode_utf7};
use pollux::session::imap::grammar::{
    MessageUrl, NameCoding, Place, append_head, literal_at_end, literal_flows, parse, tag_of,
};
use pollux::session::imap::sequence_set::{SequenceSet, covers};

pub fn run(bytes: &[u8]) {
    for names in [NameCoding::Utf7, NameCoding::Utf8] {
        let _ = parse(bytes, names);
        let _ = (append_head(bytes, names, false), append_head(bytes, names, true));
    }
    let _ = MessageUrl::parse(bytes, Some("a/b"));
    let _ = tag_of(bytes);
    if let Some((brace, ..)) = literal_at_end(bytes) {
        assert_eq!(bytes[brace], b'{');
    }
    // Commands within the bytes, so that what is found in one place is tried in others.
    for line in bytes.split(|byte| *byte == b'\n').take(50) {
        for names in [NameCoding::Utf7, NameCoding::Utf8] {
            let _ = parse(&[b"t ", line].concat(), names);
            let _ = append_head(&[b"t APPEND ", line].concat(), names, true);
        }
        let _ = (literal_flows(line, Some(Place::Among)), MessageUrl::parse(line, None));
    }
    check_set(bytes);
    check_utf7(bytes);
}

fn check_set(text: &[u8]) {
    let Some(set) = SequenceSet::parse(text) else { return };
    for last in [0, 1, 5, u32::MAX] {
        let ranges = set.resolve(last);
        assert!(ranges.iter().all(|(low, high)| low <= high));
        assert!(ranges.windows(2).all(|two| u64::from(two[0].1) + 1 < u64::from(two[1].0)), "{ranges:?}");
        if text.len() < 500 {
            for number in [1, 2, 3, 5, 6, 1000, u32::MAX - 1, u32::MAX] {
                assert_eq!(set.contains(number, last), covers(&ranges, number), "{number} of {last}");
            }
        }
    }
}

fn check_utf7(wire: &[u8]) {
    if let Some(name) = decode_utf7(wire) {
        assert_eq!(decode_utf7(encode_utf7(&name).as_bytes()), Some(name));
    }
    if let Ok(name) = std::str::from_utf8(wire)
        && !name.chars().any(char::is_control)
    {
        let encoded = encode_utf7(name);
        assert!(encoded.is_ascii());
        assert_eq!(decode_utf7(encoded.as_bytes()).as_deref(), Some(name));
    }
}
