//! What holds of every structure, on hand-made messages, on real mail, and at the bounds.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// Ranges nest and follow each other; every part is reached once.
fn check(raw: &[u8]) -> Structure {
    let structure = parse(raw);
    let parts = structure.parts();
    assert_eq!(parts[0].header.start, 0);
    assert_eq!(parts[0].body.end, raw.len());
    let mut reached = vec![false; parts.len()];
    reached[0] = true;
    for part in parts {
        assert_eq!(part.header.end, part.body.start);
        assert!(part.header.start <= part.header.end && part.body.start <= part.body.end);
        let newlines = raw[part.body.clone()].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(part.lines as usize, newlines, "{:?}", part.body);
        let children: &[PartId] = match &part.kind {
            PartKind::Leaf => &[],
            PartKind::Multipart(children) => children,
            PartKind::Message(child) => {
                assert_eq!(parts[*child].header.start, part.body.start);
                assert_eq!(parts[*child].body.end, part.body.end);
                std::slice::from_ref(child)
            }
        };
        let mut from = part.body.start;
        for child in children {
            assert!(!std::mem::replace(&mut reached[*child], true), "a part has one parent");
            let child = &parts[*child];
            assert!(from <= child.header.start && child.body.end <= part.body.end);
            from = child.body.end;
        }
    }
    assert!(reached.iter().all(|reached| *reached));
    structure
}

/// `main/sub(children)[body]`
fn shown(raw: &[u8], structure: &Structure, id: PartId) -> String {
    let part = structure.part(id);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let inner = match &part.kind {
        PartKind::Leaf => format!("[{}]", text(&raw[part.body.clone()])),
        PartKind::Multipart(children) => {
            let children: Vec<_> = children.iter().map(|child| shown(raw, structure, *child)).collect();
            format!("({})", children.join(" "))
        }
        PartKind::Message(child) => format!("({})", shown(raw, structure, *child)),
    };
    format!("{}/{}{inner}", text(&part.content_type.main), text(&part.content_type.sub))
}

fn tree(raw: &str) -> String {
    shown(raw.as_bytes(), &check(raw.as_bytes()), 0)
}

#[test]
fn plain_messages_are_one_part() {
    assert_eq!(tree(""), "text/plain[]");
    assert_eq!(tree("Subject: no body"), "text/plain[]");
    assert_eq!(tree("\r\nbody"), "text/plain[body]");
    assert_eq!(tree("Content-Type: text/html\n\n--x\nb\n"), "text/html[--x\\nb\\n]");
    assert_eq!(tree("Content-Type: nonsense\r\n\r\nb"), "text/plain[b]");
}

#[test]
fn multiparts_are_taken_apart() {
    let raw = "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\nprologue\r\n--b\r\n\r\none\r\n\r\n--b \r\n\
               Content-Type: text/html\r\n\r\n--b\r\nX: no body\r\n--b--\r\nepilogue\r\n--b\r\n";
    assert_eq!(tree(raw), "multipart/mixed(text/plain[one\\r\\n] text/html[] text/plain[])");
}

#[test]
fn an_outer_delimiter_ends_what_is_open_inside() {
    let raw = "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/digest; boundary=b\n\n\
               --b\n\nSubject: x\n\nin\n--b\n\nSubject: y\n--a\n\nafter\n";
    assert_eq!(
        tree(raw),
        "multipart/mixed(multipart/digest(message/rfc822(text/plain[in]) message/rfc822(text/plain[])) \
         text/plain[after\\n])"
    );
}

#[test]
fn multiparts_without_parts_or_boundary() {
    assert_eq!(tree("Content-Type: multipart/mixed; boundary=a\n\nnothing\n"), "multipart/mixed()");
    assert_eq!(tree("Content-Type: multipart/mixed; boundary=a"), "multipart/mixed()");
    assert_eq!(tree("Content-Type: multipart/mixed\n\n--a\n"), "multipart/mixed()");
    assert_eq!(tree("Content-Type: message/rfc822\n\n"), "message/rfc822(text/plain[])");
}

#[test]
fn one_boundary_used_on_two_levels_closes_the_inner_first() {
    let raw = "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=a\n\n\
               --a\n\nin\n--a--\n\n--a\n\nout\n--a--\n";
    assert_eq!(tree(raw), "multipart/mixed(multipart/alternative(text/plain[in]) text/plain[out])");
}

#[test]
fn nesting_is_bounded() {
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(3 * DEPTH_MAX);
    let multipart =
        |level| format!("Content-Type: multipart/mixed; boundary=b{level:04}\r\n\r\n--b{level:04}\r\n");
    let multiparts = (0..3 * DEPTH_MAX).map(multipart).collect::<String>();
    for raw in [messages, multiparts] {
        let structure = check(raw.as_bytes());
        assert_eq!(structure.parts().len(), DEPTH_MAX);
        assert_eq!(structure.parts().last().unwrap().kind, PartKind::Leaf);
    }
}

#[test]
fn parts_are_bounded() {
    let raw =
        format!("Content-Type: multipart/mixed; boundary=b\n\n{}--b--\nend", "--b\n\nx\n".repeat(PARTS_MAX));
    let structure = check(raw.as_bytes());
    assert_eq!(structure.parts().len(), PARTS_MAX);
    let last = structure.parts().last().unwrap();
    assert_eq!(&raw[last.body.clone()], "x\n--b\n\nx");
}

#[test]
fn text_is_decoded() {
    let raw = b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: Quoted-Printable\n\nJ=F6rg =\nB\n";
    let structure = check(raw);
    assert_eq!(structure.root().text(raw), "Jörg B\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_taken_apart(
        raw in "(Content-Type: |multipart/mixed; boundary=|multipart/digest; boundary=|message/rfc822|a|b|ab|\r\n|\n|\n\n|--a|--b|--ab|--|: ){0,40}",
        bytes: Vec<u8>,
    ) {
        check(raw.as_bytes());
        check(&bytes);
    }
}

#[test]
fn all_mail_of_the_corpora_is_taken_apart() {
    let Some(root) = corpora() else {
        eprintln!("no corpora here: skipped");
        return;
    };
    let mut read = 0;
    for folder in ["mail-parser", "sisimai", "spamassassin"] {
        for_each_file(&root.join(folder), &mut |path| {
            let raw = std::fs::read(path).unwrap();
            let structure = check(&raw);
            structure.parts().iter().for_each(|part| _ = part.text(&raw));
            read += 1;
        });
    }
    assert!(read > 1_000, "{read} messages");
}

fn corpora() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    let root = std::env::var_os("POLLUX_CORPORA").map_or_else(beside, PathBuf::from);
    root.is_dir().then_some(root)
}

fn for_each_file(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { for_each_file(&path, visit) } else { visit(&path) }
    }
}
