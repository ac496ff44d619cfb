//! Whatever comes in, the session lives or ends, and never grows.

use proptest::prelude::*;

use super::harness::House;
use crate::session::imap::limits::{COMMAND_LINE_BYTES_MAX, OUTPUT_CHUNK_BYTES};

const LOGIN: &[u8] = b"l LOGIN alice demo-alice\r\ns SELECT INBOX\r\n";

fn survives(logged_in: bool, chunks: &[Vec<u8>]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let house = House::new();
        house.deliver("INBOX", "Subject: a\r\n\r\nb\r\n");
        let mut session = house.session(true);
        if logged_in {
            session.send(LOGIN).await;
        }
        for chunk in chunks {
            session.send(chunk).await;
        }
        assert!(session.out_bytes_max < 4 * OUTPUT_CHUNK_BYTES);
    });
}

fn tokens() -> Vec<Vec<u8>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpora");
    let corpora = std::env::var("POLLUX_CORPORA").unwrap_or_else(|_| beside.to_owned());
    // Where it is not there, our own tokens have to do.
    let dictionary = std::fs::read_to_string(format!("{corpora}/fuzz/imap.dict")).unwrap_or_default();
    let from_dictionary = dictionary.lines().map(|line| line.trim_matches('"').replace("\\\\", "\\"));
    let ours = [
        "a ",
        "SELECT INBOX",
        "FETCH ",
        "UID ",
        "STORE ",
        "SEARCH ",
        "1:*",
        "*",
        " ",
        "(",
        ")",
        "FLAGS",
        "+FLAGS ",
        "(\\Seen)",
        "BODY[",
        "]",
        "BODY[1.MIME]",
        "BINARY[1]",
        "BINARY.SIZE[",
        "~{3+}",
        "<0.5>",
        "{3}",
        "{3+}",
        "\r\n",
        "\r\n",
        "\r\n",
        "abc",
        "\"",
        "\\",
        "NOT ",
        "OR ",
        "UNCHANGEDSINCE 1",
        "CHANGEDSINCE 0",
        "MODSEQ",
        "APPEND INBOX ",
        "REPLACE 1 INBOX ",
        "CATENATE (",
        "UTF8 (~{3+}\r\n",
        "ENABLE UTF8=ACCEPT",
        "TEXT {3+}\r\n",
        "URL /INBOX/;UID=1",
        "IDLE",
        "DONE",
        "COPY ",
        "MOVE ",
        "EXPUNGE",
        "ENVELOPE",
        "BODYSTRUCTURE",
        "HEADER.FIELDS (a)",
        "LIST \"\" ",
        "%",
        "RETURN",
        "1",
        "STATUS INBOX (MESSAGES)",
        "CREATE x",
        "DELETE x",
        "RENAME x y",
        "AUTHENTICATE PLAIN",
        "=",
        "\0",
        "\u{fe}",
        "CHARSET UTF-8 ",
        "CLOSE",
        "ENABLE CONDSTORE",
        "ENABLE IMAP4rev2",
        "ENABLE UIDONLY",
        "UIDAFTER ",
        "4294967295",
        "18446744073709551616",
        "&AOk-",
        "SETACL INBOX bob +lrs",
        "GETACL ",
        "MYRIGHTS user/bob/INBOX",
        "LISTRIGHTS INBOX -anyone",
        "user/bob/",
    ];
    ours.iter()
        .map(|token| token.as_bytes().to_vec())
        .chain(from_dictionary.map(String::into_bytes))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(logged_in: bool, chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        survives(logged_in, &chunks);
    }

    #[test]
    fn any_tokens(chosen in prop::collection::vec(prop::sample::select(tokens()), 0..200)) {
        survives(true, &[chosen.concat()]);
    }

    #[test]
    fn any_command_line(chosen in prop::collection::vec(prop::sample::select(tokens()), 1..12)) {
        let line = [b"t ".as_slice(), &chosen.concat(), b"\r\n"].concat();
        survives(true, &[line]);
    }
}

#[test]
fn ten_thousand_bytes_of_garbage() {
    let garbage: Vec<u8> = (0..10_000u32).map(|at| blake3::hash(&at.to_le_bytes()).as_bytes()[0]).collect();
    survives(false, std::slice::from_ref(&garbage));
    survives(true, &garbage.chunks(7).map(<[u8]>::to_vec).collect::<Vec<_>>());
}

#[test]
fn a_line_without_end() {
    survives(true, &vec![vec![b'x'; 10_000]; 2 * COMMAND_LINE_BYTES_MAX / 10_000]);
}
