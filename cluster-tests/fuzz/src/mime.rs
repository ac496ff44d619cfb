//! A message taken apart, and all that IMAP shows of it: ranges lie within each other, bounds hold, what is
//! written is grammar and not much longer than the message.

use bytes::BytesMut;
use pollux::mail::mime::{self, DEPTH_MAX, PARTS_MAX, PartKind, Structure};
use pollux::mail::preview::{PREVIEW_CHARS_MAX, preview};
use pollux::session::imap::bodystructure::{Form, write_bodystructure};
use pollux::session::imap::envelope::write_envelope;
use pollux::session::imap::item::{Partial, Section, SectionText};
use pollux::session::imap::search::{Body, Needle};
use pollux::session::imap::section::{cut, section_bytes, top_level_bytes};

use super::responses;

/// The answer to a listing, for each octet of the message and once: `From: 1,1,1` costs most, as it stands for three fields.
const SHOWN_BYTES_PER_BYTE_MAX: usize = 60;
const SHOWN_BYTES_MAX: usize = 1_000;
const DECODED_PARTS_MAX: usize = 20;

pub fn run(raw: &[u8]) {
    let structure = mime::parse(raw);
    check_structure(raw, &structure);
    show(|out| write_envelope(&raw[structure.root().header.clone()], out), raw.len());
    for form in [Form::Body, Form::BodyStructure] {
        show(|out| write_bodystructure(raw, &structure, form, out), raw.len());
    }
    check_sections(raw, &structure);
    for part in structure.parts().iter().take(DECODED_PARTS_MAX) {
        assert!(part.decoded(raw).len() <= part.body.len());
        let _ = part.text(raw);
    }
    let previewed = preview(raw, &structure);
    assert!(previewed.chars().count() <= PREVIEW_CHARS_MAX && !previewed.contains(char::is_control));
    let body = Body::new(raw);
    assert_eq!(body.structure(), &structure);
    let _ = Needle::new("x").is_in(&String::from_utf8_lossy(raw));
}

fn check_structure(raw: &[u8], structure: &Structure) {
    let parts = structure.parts();
    assert!(!parts.is_empty() && parts.len() <= PARTS_MAX);
    assert_eq!((parts[0].header.start, parts[0].body.end), (0, raw.len()));
    // Line ends before each octet: parts nest, and a part must not cost as much as all that are in it.
    let newlines: Vec<usize> = std::iter::once(0)
        .chain(raw.iter().scan(0, |count, byte| {
            *count += usize::from(*byte == b'\n');
            Some(*count)
        }))
        .collect();
    let mut depth = vec![None; parts.len()];
    depth[0] = Some(1);
    for (id, part) in parts.iter().enumerate() {
        let own = depth[id].expect("a part comes behind the one that holds it");
        assert!(own <= DEPTH_MAX);
        assert!(part.header.start <= part.header.end && part.header.end == part.body.start);
        assert!(part.body.start <= part.body.end && part.body.end <= raw.len());
        assert_eq!(part.lines as usize, newlines[part.body.end] - newlines[part.body.start]);
        let children: &[usize] = match &part.kind {
            PartKind::Leaf => &[],
            PartKind::Multipart(children) => children,
            PartKind::Message(child) => std::slice::from_ref(child),
        };
        let mut behind = part.body.start;
        for child in children {
            let (start, end) = (parts[*child].header.start, parts[*child].body.end);
            assert!(behind <= start && end <= part.body.end, "a part reaches out of the one that holds it");
            behind = end;
            assert!(depth[*child].replace(own + 1).is_none(), "a part is held twice");
        }
    }
}

fn show(write: impl Fn(&mut BytesMut), raw_bytes: usize) {
    let mut out = BytesMut::from(&b"* "[..]);
    write(&mut out);
    let bytes_max = SHOWN_BYTES_MAX + SHOWN_BYTES_PER_BYTE_MAX * raw_bytes;
    assert!(out.len() <= bytes_max, "{} octets shown of a message of {raw_bytes}", out.len());
    out.extend_from_slice(b"\r\n");
    assert_eq!(responses::split(&out).len(), 1);
}

fn check_sections(raw: &[u8], structure: &Structure) {
    let names = || vec![b"subject".to_vec(), b"X".to_vec()];
    let texts = [
        SectionText::All,
        SectionText::Header,
        SectionText::Text,
        SectionText::Mime,
        SectionText::HeaderFields(names()),
        SectionText::HeaderFieldsNot(names()),
    ];
    for text in texts {
        for part in [&[][..], &[1], &[2], &[1, 1], &[2, 1], &[1, 1, 1], &[2, 2], &[0], &[u32::MAX]] {
            let section = Section { part: part.to_vec(), text: text.clone() };
            let Some(bytes) = section_bytes(raw, structure, &section) else { continue };
            assert!(bytes.len() <= raw.len() + 4, "a section longer than the message");
            let partial = Partial { start: 3, count: 5 };
            assert_eq!(cut(&bytes, Some(partial)), &bytes[bytes.len().min(3)..bytes.len().min(8)]);
            if part.is_empty() {
                assert_eq!(bytes, top_level_bytes(raw, &text), "{text:?}");
            }
        }
    }
}
