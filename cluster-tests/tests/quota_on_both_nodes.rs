//! A user's quota is one for the whole cluster: mail that came in by either node counts, both nodes tell the same use of
//! it at once, and a limit that is set on one node holds on the other from the next command on. The last message that
//! fits is taken, wherever it comes in; the next one is refused on both nodes, by IMAP and by SMTP.

use std::io;

use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::ledger::message;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::steps::{agreed, run, session, tokens};

/// Of one message; tokens are of one length.
fn size() -> usize {
    token_message(0).len()
}

fn token_message(number: usize) -> Vec<u8> {
    message(&format!("quota-{number:03}"), 3_000)
}

fn set_quota(cluster: &Cluster, at: usize, bytes: usize) {
    cluster.nodes[at].must(&["user", "set", "alice", "--quota", &bytes.to_string()], None);
}

/// What GETQUOTAROOT says of STORAGE: used and limit, KiB.
fn storage(imap: &mut Imap) -> (usize, usize) {
    let (told, _) = imap.command("GETQUOTAROOT INBOX").expect("the quota is told");
    assert_eq!(told[0].text, "* QUOTAROOT \"INBOX\" \"User quota\"");
    let (_, numbers) = told[1].text.split_once("(STORAGE ").expect("there is a limit on space");
    let mut numbers = numbers.split([' ', ')']).map(|number| number.parse().expect("a number"));
    (numbers.next().expect("what is used"), numbers.next().expect("the limit"))
}

fn must_be_over_quota<T: std::fmt::Debug>(answer: io::Result<T>) {
    let text = answer.expect_err("there is no room").to_string();
    assert!(text.contains("NO [OVERQUOTA]"), "{text}");
}

#[test]
fn quota_on_both_nodes() {
    const FITTING: usize = 8;
    let Some(cluster) = Cluster::start() else { return };
    let mut sessions = [session(&cluster, 0, "alice"), session(&cluster, 1, "alice")];
    let agree = |sessions: &mut [Imap; 2], messages: usize, limit: usize| {
        let wanted = ((messages * size()).div_ceil(1024), limit.div_ceil(1024));
        for session in sessions {
            assert_eq!(storage(session), wanted, "with {messages} messages");
        }
    };

    // Half of the mail on each node; each time the other node tells of it at once.
    let limit = FITTING * size();
    set_quota(&cluster, 0, limit);
    for number in 0..FITTING {
        sessions[number % 2].append("INBOX", &token_message(number)).expect("there is room");
        agree(&mut sessions, number + 1, limit);
    }
    for session in &mut sessions {
        must_be_over_quota(session.append("INBOX", &token_message(FITTING)));
        session.select("INBOX").expect("INBOX is there");
        must_be_over_quota(session.command("UID COPY 1 Archive"));
        session.command("UNSELECT").expect("it was selected");
    }
    for node in cluster.data_nodes() {
        let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
        let (sent, reply) = smtp.send(&["alice@example.test"], &token_message(FITTING));
        assert_eq!(sent, Sent::Refused);
        let text = reply.expect_err("there is no room").to_string();
        assert!(text.starts_with("552 5.2.2"), "full by what the cluster knows: {text}");
    }

    // The limit grows by one message and one octet less than a second one, set on one node: the other takes the one.
    for (setter, taker) in [(0, 1), (1, 0)] {
        let held = FITTING + setter;
        let limit = (held + 2) * size() - 1;
        set_quota(&cluster, setter, limit);
        sessions[taker].append("INBOX", &token_message(held)).expect("the new limit holds on the other node");
        must_be_over_quota(sessions[setter].append("INBOX", &token_message(held + 1)));
        agree(&mut sessions, held + 1, limit);
        // By SMTP there is room for some, though not for this: it may come again.
        let mut smtp = Smtp::connect(cluster.nodes[taker].smtp()).expect("SMTP serves");
        smtp.command("MAIL FROM:<sender@elsewhere.test>", "250").expect("a sender is taken");
        smtp.command("RCPT TO:<alice@example.test>", "250").expect("it is not full");
        smtp.command("DATA", "354").expect("the text may come");
        let text = smtp_text(&mut smtp, &token_message(held + 1)).expect_err("there is no room").to_string();
        assert!(text.starts_with("452 4.2.2"), "{text}");
    }

    // It shrinks below what is there: nothing is lost, and nothing is taken, on either node.
    let held = FITTING + 2;
    set_quota(&cluster, 1, size());
    for session in &mut sessions {
        must_be_over_quota(session.append("INBOX", b"x\r\n"));
    }
    agree(&mut sessions, held, size());

    // Room that is made on one node is there on the other.
    let [here, there] = &mut sessions;
    here.select("INBOX").expect("INBOX is there");
    run(here, &["UID STORE 1:* +FLAGS.SILENT (\\Deleted)"]);
    cluster.wait_until_caught_up();
    let (told, _) = there.command("STATUS INBOX (DELETED DELETED-STORAGE)").expect("STATUS answers");
    let all = format!("* STATUS \"INBOX\" (DELETED {held} DELETED-STORAGE {})", held * size());
    assert_eq!(told[0].text, all);
    run(here, &["EXPUNGE"]);
    there.append("INBOX", &token_message(900)).expect("there is room again");
    agree(&mut sessions, 1, size());
    assert_eq!(tokens(&agreed(&cluster), "alice", "INBOX").expect("it is there"), ["quota-900"]);
}

fn smtp_text(smtp: &mut Smtp, content: &[u8]) -> io::Result<String> {
    let text = String::from_utf8_lossy(content);
    smtp.command(&format!("{text}."), "250")
}
