//! The bounds, each at its edge.

use super::harness::{House, MESSAGE_BYTES_MAX};
use crate::cluster::replica::{Fault, Replica};
use crate::session::imap::limits::{
    ACL_IDENTIFIER_BYTES_MAX, APPEND_LINES_BYTES_MAX, APPEND_MESSAGES_MAX, APPEND_SECONDS_MAX,
    BAD_COMMANDS_MAX, BAD_COMMANDS_MAX_LOGGED_IN, BADURL_BYTES_MAX, CANCELLED_TAGS_MAX, CATENATE_PARTS_MAX,
    COMMAND_LINE_BYTES_MAX, COMMAND_LITERAL_BYTES_MAX, CONTEXTS_MAX, FACTS_PER_QUESTION_MAX, FETCH_ITEMS_MAX,
    METADATA_ENTRIES_MAX, OUTPUT_CHUNK_BYTES, REFUSED_LOGINS_MAX, SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX,
    SORT_CRITERIA_MAX,
};
use crate::session::machine::Machine;
use crate::state::acl::ACL_ENTRIES_MAX;
use crate::state::apply::METADATA_VALUE_BYTES_MAX;
use crate::state::command::{Command, NewUser};
use crate::state::view::MESSAGES_PER_COMMAND_MAX;

const LOGIN: &[u8] = b"l LOGIN alice demo-alice\r\n";

async fn say(bytes: impl AsRef<[u8]>) -> String {
    let house = House::new();
    let mut session = house.session(true);
    session.send(LOGIN).await;
    session.send(b"s SELECT INBOX\r\n").await;
    session.take_sent();
    session.send(bytes.as_ref()).await;
    session.take_sent()
}

#[tokio::test]
async fn a_command_line_is_bounded() {
    let head = "a NOOP ";
    let fits = format!("{head}{}\r\n", "x".repeat(COMMAND_LINE_BYTES_MAX - head.len() - 1));
    assert!(say(fits).await.starts_with("a BAD"));
    let beyond = "x".repeat(COMMAND_LINE_BYTES_MAX + 1);
    assert!(say(beyond).await.contains("* BYE"));
}

#[tokio::test]
async fn literals_are_bounded_in_sum() {
    let half = COMMAND_LITERAL_BYTES_MAX / 2;
    let text = "x".repeat(half);
    let fits = format!("a LOGIN {{{half}+}}\r\n{text} {{{half}+}}\r\n{text}\r\nb NOOP\r\n");
    let sent = say(fits).await;
    assert!(sent.starts_with("a BAD You are logged in"), "{sent}");
    let more = half + 1;
    let beyond = format!("a LOGIN {{{half}+}}\r\n{text} {{{more}+}}\r\n{text}x\r\nb NOOP\r\n");
    let sent = say(beyond).await;
    assert!(sent.starts_with("a BAD [TOOBIG]") && sent.contains("b OK"), "{sent}");
    let waits = format!("a LOGIN {{{}}}\r\nb NOOP\r\n", COMMAND_LITERAL_BYTES_MAX + 1);
    let sent = say(waits).await;
    assert!(sent.starts_with("a BAD [TOOBIG]") && sent.contains("b OK"), "{sent}");
}

#[tokio::test]
async fn a_message_is_bounded() {
    let size = MESSAGE_BYTES_MAX;
    let text = "x".repeat(size as usize);
    let sent = say(format!("a APPEND INBOX {{{size}+}}\r\n{text}\r\nb NOOP\r\n")).await;
    assert!(sent.contains("a OK [APPENDUID") && sent.contains("b OK"), "{sent}");
    let sent = say(format!("a APPEND INBOX {{{}+}}\r\n{text}x\r\nb NOOP\r\n", size + 1)).await;
    assert!(sent.starts_with("a NO [TOOBIG]") && sent.contains("b OK"), "{sent}");
    let sent = say(format!("a APPEND INBOX {{{}}}\r\nb NOOP\r\n", size + 1)).await;
    assert!(sent.starts_with("a NO [TOOBIG]") && sent.contains("b OK"), "{sent}");
    let sent = say("a APPEND INBOX {99999999999+}\r\n").await;
    assert!(sent.contains("* BYE"), "{sent}");
}

#[tokio::test]
async fn a_binary_message_is_bounded_as_it_is_sent() {
    let head = "Content-Transfer-Encoding: binary\r\n\r\n";
    let size = MESSAGE_BYTES_MAX;
    let text = format!("{head}{}", "\0".repeat(size as usize - head.len()));
    let sent = say(format!("a APPEND INBOX ~{{{size}+}}\r\n{text}\r\nb FETCH 1 BINARY.SIZE[1]\r\n")).await;
    let decoded = format!("(BINARY.SIZE[1] {})", text.len() - head.len());
    assert!(sent.contains("a OK [APPENDUID") && sent.contains(&decoded) && sent.contains("b OK"), "{sent}");
    let sent = say(format!("a APPEND INBOX ~{{{}+}}\r\n{text}x\r\nb NOOP\r\n", size + 1)).await;
    assert!(sent.starts_with("a NO [TOOBIG]") && sent.contains("b OK"), "{sent}");
}

/// However often a part is asked for, its encoding is undone once.
#[tokio::test]
async fn decoded_parts_are_held_once() {
    let house = House::new();
    let text = format!("Content-Transfer-Encoding: base64\r\n\r\n{}", "QUJD\r\n".repeat(20_000));
    house.deliver("INBOX", &text);
    let mut session = house.session(true);
    session.send(LOGIN).await;
    session.send(b"s EXAMINE INBOX\r\n").await;
    session.take_sent();
    let items = vec!["BINARY.PEEK[1]"; FETCH_ITEMS_MAX].join(" ");
    session.send(format!("a FETCH 1 ({items})\r\n").as_bytes()).await;
    assert_eq!(session.take_sent().matches("BINARY[1] {60000}\r\nABCABC").count(), FETCH_ITEMS_MAX);
    assert!(session.out_bytes_max <= OUTPUT_CHUNK_BYTES + 1024, "{}", session.out_bytes_max);
    let sent = say(format!("a FETCH 1 ({items} UID)\r\n")).await;
    assert!(sent.starts_with("a BAD"), "{sent}");
}

#[tokio::test]
async fn the_parts_of_one_append_are_bounded() {
    let append = |size: usize, count: usize| {
        let texts = vec![format!("TEXT {{{size}+}}\r\n{}", "x".repeat(size)); count].join(" ");
        format!("a APPEND INBOX CATENATE ({texts})\r\nb NOOP\r\n")
    };
    let sent = say(append(1, CATENATE_PARTS_MAX)).await;
    assert!(sent.contains("a OK [APPENDUID") && sent.contains("b OK"), "{sent}");
    let sent = say(append(1, CATENATE_PARTS_MAX + 1)).await;
    assert!(sent.starts_with("a NO [LIMIT]") && sent.contains("b OK"), "{sent}");
    // Texts of nothing do not pile up on each other.
    let sent = say(append(0, CATENATE_PARTS_MAX)).await;
    assert!(sent.starts_with("a NO [CANNOT]") && sent.contains("b OK"), "{sent}");
    let many = vec!["URL /INBOX/;UID=9"; CATENATE_PARTS_MAX + 1].join(" ");
    let sent = say(format!("a APPEND INBOX CATENATE ({many})\r\nb NOOP\r\n")).await;
    assert!(sent.starts_with("a BAD") && sent.contains("b OK"), "{sent}");
}

#[tokio::test]
async fn a_message_that_is_put_together_is_bounded() {
    let half = MESSAGE_BYTES_MAX as usize / 2;
    let append = |one: usize, other: usize| {
        let text = |size: usize| format!("TEXT {{{size}+}}\r\n{}", "x".repeat(size));
        format!("a APPEND INBOX CATENATE ({} {})\r\nb NOOP\r\n", text(one), text(other))
    };
    let sent = say(append(half, half)).await;
    assert!(sent.contains("a OK [APPENDUID") && sent.contains("b OK"), "{sent}");
    let sent = say(append(half, half + 1)).await;
    assert!(sent.starts_with("a NO [TOOBIG]") && sent.contains("b OK"), "{sent}");
    let house = House::new();
    house.deliver("INBOX", &"x".repeat(half + 1));
    let mut session = house.session(true);
    session.send(LOGIN).await;
    session.take_sent();
    session.send(b"a APPEND INBOX CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1)\r\n").await;
    let sent = session.take_sent();
    assert!(sent.starts_with("a NO [TOOBIG]"), "{sent}");
    session.send(b"b APPEND INBOX CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1/;PARTIAL=2)\r\n").await;
    let sent = session.take_sent();
    assert!(sent.starts_with("b OK [APPENDUID"), "{sent}");
}

#[tokio::test]
async fn urls_are_bounded_and_repeated_in_part() {
    let append = |size: usize| {
        let url = format!("/{}", "x".repeat(size - 1));
        format!("a APPEND INBOX CATENATE (URL {{{size}+}}\r\n{url} TEXT {{1+}}\r\nx)\r\nb NOOP\r\n")
    };
    let sent = say(append(COMMAND_LITERAL_BYTES_MAX)).await;
    let shown = format!("a NO [BADURL /{}] ", "x".repeat(BADURL_BYTES_MAX - 1));
    assert!(sent.starts_with(&shown) && sent.contains("b OK"), "{sent}");
    let sent = say(append(COMMAND_LITERAL_BYTES_MAX + 1)).await;
    assert!(sent.starts_with("a BAD [TOOBIG]") && sent.contains("b OK"), "{sent}");
}

#[tokio::test]
async fn a_search_is_bounded() {
    let sent = say(format!("a SEARCH{}\r\n", " ALL".repeat(SEARCH_KEYS_MAX))).await;
    assert!(sent.contains("a OK"), "{sent}");
    assert!(say(format!("a SEARCH{}\r\n", " ALL".repeat(SEARCH_KEYS_MAX + 1))).await.starts_with("a BAD"));
    let sent = say(format!("a SEARCH {}ALL\r\n", "NOT ".repeat(SEARCH_DEPTH_MAX - 1))).await;
    assert!(sent.contains("a OK"), "{sent}");
    assert!(say(format!("a SEARCH {}ALL\r\n", "NOT ".repeat(SEARCH_DEPTH_MAX))).await.starts_with("a BAD"));
}

#[tokio::test]
async fn too_many_bad_commands_end_the_session() {
    let house = House::new();
    let mut session = house.session(true);
    for _ in 1..BAD_COMMANDS_MAX {
        session.send(b"a NOSUCH\r\n").await;
    }
    assert!(!session.closed);
    session.send(b"a NOSUCH\r\n").await;
    assert!(session.closed);
    let mut session = house.session(true);
    session.send(LOGIN).await;
    for _ in 1..BAD_COMMANDS_MAX_LOGGED_IN {
        session.send(b"a NOSUCH\r\n").await;
    }
    session.send(b"a NOOP\r\na NOSUCH\r\n").await;
    assert!(!session.closed, "a good command starts the count again");
}

#[tokio::test]
async fn too_many_wrong_logins_end_the_session() {
    let house = House::new();
    let mut session = house.session(true);
    for _ in 1..REFUSED_LOGINS_MAX {
        session.send(b"a LOGIN alice wrong\r\n").await;
    }
    assert!(!session.closed);
    session.send(b"a LOGIN alice wrong\r\n").await;
    assert!(session.closed);
}

#[tokio::test]
async fn a_large_message_goes_out_in_parts() {
    let house = House::new();
    let text = format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(20 * OUTPUT_CHUNK_BYTES));
    house.deliver("INBOX", &text);
    let mut session = house.session(true);
    session.send(LOGIN).await;
    session.send(b"s EXAMINE INBOX\r\n").await;
    session.take_sent();
    session.send(b"a FETCH 1 (BODY[] UID)\r\n").await;
    let sent = session.take_sent();
    assert!(sent.contains(&format!("BODY[] {{{}}}\r\n{text} UID 1)\r\na OK", text.len())));
    assert!(session.out_bytes_max <= OUTPUT_CHUNK_BYTES + 1024, "{}", session.out_bytes_max);
}

#[tokio::test]
async fn an_append_is_not_gathered() {
    let house = House::new();
    let mut session = house.session(true);
    session.send(LOGIN).await;
    session.send(format!("a APPEND INBOX {{{MESSAGE_BYTES_MAX}}}\r\n").as_bytes()).await;
    assert!(session.take_sent().contains("\r\n+ "));
    for _ in 0..MESSAGE_BYTES_MAX / 1000 {
        session.send(&[b'x'; 1000]).await;
        assert!(session.input.is_empty(), "all of it has gone on");
    }
    session.send(b"\r\n").await;
    assert!(session.take_sent().starts_with("a OK [APPENDUID"));
}

#[tokio::test]
async fn the_messages_of_one_append_are_bounded() {
    let append = |count: usize| format!("a APPEND INBOX{}\r\nb NOOP\r\n", " {1+}\r\nx".repeat(count));
    let sent = say(append(APPEND_MESSAGES_MAX)).await;
    assert!(sent.contains(&format!(" 1:{APPEND_MESSAGES_MAX}]")) && sent.contains("b OK"), "{sent}");
    let sent = say(append(APPEND_MESSAGES_MAX + 1)).await;
    assert!(
        sent.starts_with(&format!("a NO [MESSAGELIMIT {APPEND_MESSAGES_MAX}]")) && sent.contains("b OK"),
        "{sent}"
    );
    // The lines of all of them together: each is a space, a flag of its length, and the literal's announcement.
    let keyword = "k".repeat(50_000);
    let flagged = |count: usize| {
        let messages = format!(" ({keyword}) {{1+}}\r\nx").repeat(count);
        format!("a APPEND INBOX{messages}\r\nb NOOP\r\n")
    };
    let sent = say(flagged(APPEND_LINES_BYTES_MAX / 50_000 + 1)).await;
    assert!(sent.starts_with("a NO [LIMIT] The command's lines") && sent.contains("b OK"), "{sent}");
}

#[tokio::test]
async fn the_messages_of_one_append_come_in_time() {
    let house = House::new();
    let mut session = house.session(true);
    session.send(LOGIN).await;
    for (seconds, end) in [(APPEND_SECONDS_MAX, "a OK ["), (APPEND_SECONDS_MAX + 1, "a NO [LIMIT]")] {
        session.send(b"a APPEND INBOX {1+}\r\nx {1+}\r\n").await;
        session.take_sent();
        house.replica.clock().advance_ms(seconds * 1000);
        session.send(b"y\r\n").await;
        let sent = session.take_sent();
        assert!(sent.starts_with(end), "{sent}");
    }
}

#[tokio::test]
async fn a_fault_in_the_middle_of_an_append_keeps_step() {
    let house = House::new();
    let mut session = house.session(true);
    session.send(LOGIN).await;
    session.send(b"a APPEND INBOX {10}\r\n").await;
    session.take_sent();
    house.replica.fail(Some(Fault::NoQuorum));
    session.send(b"01234").await;
    house.replica.fail(None);
    session.send(b"56789\r\nb NOOP\r\n").await;
    let sent = session.take_sent();
    assert!(sent.starts_with("a NO [UNAVAILABLE]") && sent.contains("b OK"), "{sent}");
}

#[tokio::test]
async fn silence_has_its_time() {
    let house = House::new();
    let mut session = house.session(true);
    assert_eq!(session.machine.idle_seconds_max(), 180);
    session.send(LOGIN).await;
    assert_eq!(session.machine.idle_seconds_max(), 1_800);
    session.send(b"i IDLE\r\n").await;
    assert!(session.machine.idle_seconds_max() > 29 * 60);
    session.take_sent();
    let mut out = bytes::BytesMut::new();
    session.machine.timed_out(&mut out);
    assert!(out.starts_with(b"* BYE"));
}

#[tokio::test]
async fn what_is_too_much_for_one_copy_is_refused_whole_and_moved_in_portions() {
    let house = House::new();
    house.deliver("INBOX", "Subject: one of many\r\n\r\n");
    let mut session = house.session(true);
    session.send(LOGIN).await;
    session.send(b"s SELECT INBOX\r\n").await;
    let mut messages = 1;
    while messages <= MESSAGES_PER_COMMAND_MAX {
        session.send(b"c COPY 1:* INBOX\r\n").await;
        messages *= 2;
    }
    session.take_sent();
    session.send(b"c COPY 1:* Archive\r\nn STATUS Archive (MESSAGES)\r\n").await;
    let sent = session.take_sent();
    let from = messages - MESSAGES_PER_COMMAND_MAX + 1;
    assert!(sent.starts_with(&format!("c NO [MESSAGELIMIT {MESSAGES_PER_COMMAND_MAX} {from}]")), "{sent}");
    assert!(sent.contains("(MESSAGES 0)"), "{sent}");
    session.send(format!("c UID COPY {from}:* Drafts\r\n").as_bytes()).await;
    assert!(session.take_sent().starts_with("c OK [COPYUID "), "up to the bound");
    session.send(b"m MOVE 1:* Archive\r\n").await;
    let sent = session.take_sent();
    assert_eq!(sent.lines().filter(|line| line.starts_with("* OK [COPYUID ")).count(), 2);
    assert_eq!(sent.lines().filter(|line| line.ends_with(" EXPUNGE")).count(), messages);
    session.send(b"n STATUS Archive (MESSAGES)\r\n").await;
    assert!(session.take_sent().contains(&format!("(MESSAGES {messages})")));
}

#[tokio::test]
async fn results_that_are_kept_current_are_few() {
    let open = |number: usize| format!("u{number} SEARCH RETURN (UPDATE COUNT) ALL\r\n");
    let fits: String = (0..CONTEXTS_MAX).map(open).collect();
    let sent = say(&fits).await;
    assert!(!sent.contains("NOUPDATE"), "{sent}");
    let sent = say(format!("{fits}{}", open(CONTEXTS_MAX))).await;
    assert!(sent.contains(&format!("* NO [NOUPDATE \"u{CONTEXTS_MAX}\"]")), "{sent}");
    assert!(sent.contains(&format!("u{CONTEXTS_MAX} OK")), "the search itself is answered: {sent}");
    // One that is given up makes room.
    let sent = say(format!("{fits}c CANCELUPDATE \"u0\"\r\n{}", open(CONTEXTS_MAX))).await;
    assert!(!sent.contains("NOUPDATE"), "{sent}");
}

#[tokio::test]
async fn sort_criteria_and_cancelled_tags_are_bounded() {
    let sort = |count: usize| format!("a SORT ({}) UTF-8 ALL\r\n", vec!["SIZE"; count].join(" "));
    assert!(say(sort(SORT_CRITERIA_MAX)).await.contains("a OK"));
    assert!(say(sort(SORT_CRITERIA_MAX + 1)).await.contains("a BAD"));
    let cancel = |count: usize| format!("a CANCELUPDATE {}\r\n", vec!["\"x\""; count].join(" "));
    assert!(say(cancel(CANCELLED_TAGS_MAX)).await.contains("a OK"));
    assert!(say(cancel(CANCELLED_TAGS_MAX + 1)).await.contains("a BAD"));
}

#[tokio::test]
async fn identifiers_are_bounded() {
    let set = |bytes: usize| format!("a LISTRIGHTS INBOX {}\r\n", "x".repeat(bytes));
    assert!(say(set(ACL_IDENTIFIER_BYTES_MAX)).await.contains("a OK"));
    assert!(say(set(ACL_IDENTIFIER_BYTES_MAX + 1)).await.starts_with("a BAD"));
    for bad in ["{3+}\r\na\tb", "-", "\"\""] {
        let sent = say(format!("a LISTRIGHTS INBOX {bad}\r\n")).await;
        assert!(sent.starts_with("a BAD"), "{bad}: {sent}");
    }
    let not_utf8 = say(b"a LISTRIGHTS INBOX {1+}\r\n\xff\r\n").await;
    assert!(not_utf8.starts_with("a BAD"), "{not_utf8}");
}

#[tokio::test]
async fn a_list_ends_at_its_bound() {
    let house = House::new();
    let mut session = house.session(true);
    session.send(LOGIN).await;
    for number in 1..=ACL_ENTRIES_MAX {
        let user = NewUser { name: format!("u{number}"), password_phc: "$x".into(), quota_bytes: None };
        house.replica.run(Command::AddUser(user)).unwrap();
        session.send(format!("a SETACL INBOX u{number} lr\r\n").as_bytes()).await;
        assert!(session.take_sent().ends_with("a OK The list is changed\r\n"));
    }
    session.send(b"a SETACL INBOX anyone lr\r\n").await;
    assert!(session.take_sent().starts_with("a NO [LIMIT]"));
    session.send(b"a DELETEACL INBOX u1\r\nb SETACL INBOX anyone lr\r\n").await;
    assert!(session.take_sent().contains("b OK"));
}

#[tokio::test]
async fn a_sort_of_many_messages_takes_turns() {
    let house = House::new();
    let mut session = house.session(true);
    session.send(LOGIN).await;
    for number in 0..FACTS_PER_QUESTION_MAX + 2 {
        house.deliver("INBOX", &format!("Subject: {}\r\n\r\n", FACTS_PER_QUESTION_MAX + 2 - number));
    }
    session.send(b"s SELECT INBOX\r\n").await;
    session.take_sent();
    session.send(b"a SORT RETURN (COUNT MIN) (REVERSE ARRIVAL SUBJECT) UTF-8 ALL\r\n").await;
    let sent = session.take_sent();
    assert!(sent.contains(&format!("COUNT {}", FACTS_PER_QUESTION_MAX + 2)), "{sent}");
}

#[tokio::test]
async fn annotations_are_bounded() {
    let (half, text) = (METADATA_VALUE_BYTES_MAX / 2, "x".repeat(METADATA_VALUE_BYTES_MAX / 2));
    // A value of the largest size, and what is beyond it: said, however it is sent.
    let size = METADATA_VALUE_BYTES_MAX;
    let most = format!(
        "a SETMETADATA INBOX (/private/a ~{{{size}+}}\r\n{text}{text})\r\nb GETMETADATA INBOX /private/a\r\n"
    );
    let sent = say(most).await;
    assert!(
        sent.contains(&format!("(/private/a {{{size}}}\r\n{text}")) && sent.contains("b OK"),
        "{}",
        sent.len()
    );
    for beyond in [
        format!("a SETMETADATA INBOX (/private/a {{{}+}}\r\n{text}{text}x)\r\n", size + 1),
        format!("a SETMETADATA INBOX (/private/a {{{}}}\r\n", size + 1),
        format!(
            "a SETMETADATA INBOX (/private/a {{{half}+}}\r\n{text} /private/b ~{{{}+}}\r\nx{text})\r\n",
            half + 1
        ),
    ] {
        let sent = say(format!("{beyond}b NOOP\r\n")).await;
        assert!(sent.starts_with("a NO [METADATA MAXSIZE 65536]") && sent.contains("b OK"), "{sent}");
    }
    // Any bytes come back, also NUL.
    let sent =
        say("a SETMETADATA INBOX (/private/a ~{3+}\r\n\0\r\n)\r\nb GETMETADATA INBOX /private/a\r\n").await;
    assert!(sent.contains("(/private/a ~{3}\r\n\0\r\n)\r\nb OK"), "{sent}");
    assert!(say("a SETMETADATA INBOX (/private/a {1+}\r\n\0)\r\n").await.starts_with("a BAD"));
    let entries = |count: usize| (0..count).map(|at| format!(" /private/{at} \"\"")).collect::<String>();
    let sent = say(format!("a SETMETADATA INBOX ({})\r\n", &entries(METADATA_ENTRIES_MAX + 1)[1..])).await;
    assert!(sent.starts_with("a BAD"), "{sent}");
    let sent = say(format!("a SETMETADATA INBOX ({})\r\n", &entries(METADATA_ENTRIES_MAX)[1..])).await;
    assert!(sent.starts_with("a NO [METADATA TOOMANY]"), "{sent}");
    let sent = say(format!("a SETMETADATA INBOX ({})\r\n", &entries(100)[1..])).await;
    assert!(sent.starts_with("a OK"), "{sent}");
    let names = |count: usize| " /private/a".repeat(count);
    assert!(say(format!("a GETMETADATA INBOX{}\r\n", names(METADATA_ENTRIES_MAX))).await.contains("a OK"));
    assert!(
        say(format!("a GETMETADATA INBOX{}\r\n", names(METADATA_ENTRIES_MAX + 1))).await.starts_with("a BAD")
    );
}

#[tokio::test]
async fn many_large_annotations_are_told_in_several_responses() {
    let house = House::new();
    let mut session = house.session(true);
    session.send(LOGIN).await;
    let text = "x".repeat(60_000);
    for at in 0..4 {
        session
            .send(format!("a SETMETADATA INBOX (/private/{at} {{60000+}}\r\n{text})\r\n").as_bytes())
            .await;
    }
    session.take_sent();
    session.send(b"b GETMETADATA (DEPTH infinity) INBOX /private\r\n").await;
    let sent = session.take_sent();
    assert_eq!(sent.matches("* METADATA \"INBOX\" (").count(), 2);
    assert_eq!((sent.matches("x").count(), sent.matches(" {60000}\r\n").count()), (240_000, 4));
    assert!(sent.ends_with(")\r\nb OK That is what is noted\r\n"));
    assert!(session.out_bytes_max < 3 * OUTPUT_CHUNK_BYTES, "{}", session.out_bytes_max);
}
