//! Commands sent without waiting for the answers (RFC 9051 5.5): message numbers hold for as long as a client may rely
//! on them, whatever another session does meanwhile, and each command is read by what the one before it has enabled.

use super::harness::{Driven, House};

/// A house with four mails, and two sessions that have them selected.
async fn selected() -> (House, Driven, Driven) {
    let house = House::new();
    for subject in ["one", "two", "three", "four"] {
        house.deliver("INBOX", &format!("Subject: {subject}\r\n\r\nHello.\r\n"));
    }
    let mut sessions = [house.session(true), house.session(true)];
    for session in &mut sessions {
        session.send(b"l LOGIN alice demo-alice\r\ns SELECT INBOX\r\n").await;
        session.take_sent();
    }
    let [one, other] = sessions;
    (house, one, other)
}

async fn expunge(session: &mut Driven, uid: u32) {
    let commands = format!("x UID STORE {uid} +FLAGS.SILENT \\Deleted\r\ny UID EXPUNGE {uid}\r\n");
    session.send(commands.as_bytes()).await;
    assert!(session.take_sent().contains("y OK"));
}

/// Runs `script` after another session has expunged the second message; whole and byte by byte it must say the same.
async fn after_an_expunge(enable: &str, script: &str) -> String {
    let mut said = Vec::new();
    for bytes_at_a_time in [usize::MAX, 1] {
        let (_house, mut one, mut other) = selected().await;
        one.send(enable.as_bytes()).await;
        expunge(&mut other, 2).await;
        one.take_sent();
        for bytes in script.as_bytes().chunks(bytes_at_a_time.min(script.len())) {
            one.send(bytes).await;
        }
        said.push(one.take_sent());
    }
    assert_eq!(said[0], said[1]);
    said.remove(0)
}

#[tokio::test]
async fn numbers_hold_through_fetch_store_and_search() {
    let script = "1 FETCH 3 UID\r\n2 STORE 3 +FLAGS.SILENT \\Flagged\r\n3 SEARCH FLAGGED\r\n4 SORT (SIZE) UTF-8 FLAGGED\r\n\
        5 THREAD REFERENCES UTF-8 FLAGGED\r\n6 NOOP\r\n7 FETCH 2 UID\r\n";
    let said = after_an_expunge("", script).await;
    assert_eq!(
        said,
        "* 3 FETCH (UID 3)\r\n1 OK Fetched\r\n2 OK Stored\r\n* SEARCH 3\r\n3 OK Searched\r\n* SORT 3\r\n4 OK Sorted\r\n\
         * THREAD (3)\r\n5 OK Threaded\r\n* 2 EXPUNGE\r\n6 OK Nothing done\r\n* 2 FETCH (UID 3)\r\n7 OK Fetched\r\n"
    );
}

#[tokio::test]
async fn a_uid_search_by_number_keeps_numbers_too() {
    let later = "* OK [HIGHESTMODSEQ 5] What went since is told later\r\n";
    let gone = "* VANISHED 2\r\n* OK [HIGHESTMODSEQ 7] All is told";
    for (enable, later, gone) in [("", "", "* 2 EXPUNGE"), ("q ENABLE QRESYNC\r\n", later, gone)] {
        let script =
            "1 UID SEARCH 3\r\n2 UID SORT (SIZE) UTF-8 3\r\n3 UID SEARCH UID 3\r\n4 UID SEARCH 2\r\n";
        let said = after_an_expunge(enable, script).await;
        assert_eq!(
            said,
            format!(
                "* SEARCH 3\r\n{later}1 OK Searched\r\n* SORT 3\r\n{later}2 OK Sorted\r\n* SEARCH 3\r\n{gone}\r\n\
                 3 OK Searched\r\n* SEARCH 3\r\n4 OK Searched\r\n"
            )
        );
    }
}

#[tokio::test]
async fn what_was_saved_is_of_the_search_before() {
    let script = "1 SEARCH RETURN (SAVE) SUBJECT t\r\n2 FETCH $ UID\r\n3 COPY $ Archive\r\n4 STORE $ +FLAGS.SILENT \\Seen\r\n\
        5 SEARCH SEEN\r\n";
    let said = after_an_expunge("", script).await;
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[..3], ["1 OK Searched", "* 3 FETCH (UID 3)", "2 OK Fetched"]);
    assert_eq!(said[3], "* 2 EXPUNGE", "COPY may tell");
    assert!(said[4].starts_with("3 OK [COPYUID ") && said[4].ends_with(" 3 1] Copied"), "{said:?}");
    assert_eq!(said[5..], ["4 OK Stored", "* SEARCH 2", "5 OK Searched"]);
}

/// RFC 9051 7.5.1: a command is not in progress while it is being negotiated.
#[tokio::test]
async fn nothing_is_told_while_a_literal_is_awaited() {
    let (_house, mut one, mut other) = selected().await;
    one.send(b"1 STATUS {7}\r\n").await;
    assert_eq!(one.take_sent(), "+ OK\r\n");
    expunge(&mut other, 1).await;
    one.hear().await;
    one.send(b"Archive").await;
    assert_eq!(one.take_sent(), "");
    one.send(b" (MESSAGES)\r\n").await;
    assert_eq!(
        one.take_sent(),
        "* STATUS \"Archive\" (MESSAGES 0)\r\n* 1 EXPUNGE\r\n1 OK That is how it stands\r\n"
    );
}

#[tokio::test]
async fn what_is_enabled_holds_for_the_command_behind() {
    let script =
        "1 CREATE caf&AOk-\r\n2 ENABLE IMAP4rev2\r\n3 LIST \"\" \"caf\u{e9}\"\r\n4 SEARCH SUBJECT four\r\n";
    let said = after_an_expunge("", script).await;
    assert!(
        said.contains("\r\n2 OK Enabled\r\n* LIST (\\HasNoChildren) \"/\" \"caf\u{e9}\"\r\n3 OK"),
        "{said}"
    );
    assert!(said.ends_with("* ESEARCH (TAG \"4\") ALL 3\r\n4 OK Searched\r\n"), "{said}");
    let script = "1 ENABLE UIDONLY\r\n2 FETCH 1 FLAGS\r\n3 UID FETCH 3 (FLAGS)\r\n";
    let said = after_an_expunge("", script).await;
    let end = "2 BAD [UIDREQUIRED] Messages have no numbers but their UIDs\r\n* 3 UIDFETCH (FLAGS (\\Recent))\r\n3 OK Fetched\r\n";
    assert!(said.ends_with(end), "{said}");
}

#[tokio::test]
async fn a_whole_session_in_one_go() {
    let house = House::new();
    house.deliver("INBOX", "Subject: one\r\n\r\n");
    let script = b"1 LOGIN alice demo-alice\r\n2 ENABLE CONDSTORE\r\n3 SELECT INBOX\r\n4 STORE 1 +FLAGS.SILENT \\Deleted\r\n\
        5 EXPUNGE\r\n6 FETCH 1 UID\r\n7 LOGOUT\r\n8 NOOP\r\n";
    let mut session = house.session(true);
    session.send(script).await;
    let said = session.take_sent();
    let ends: Vec<&str> = said.lines().filter(|line| line.as_bytes()[0].is_ascii_digit()).collect();
    let ends: Vec<String> =
        ends.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(ends, ["1 OK", "2 OK", "3 OK", "4 OK", "5 OK", "6 BAD", "7 OK"], "{said}");
}
