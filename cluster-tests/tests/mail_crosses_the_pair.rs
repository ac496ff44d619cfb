//! A mail sent by SMTP to one node is read by IMAP and POP3 from the other, byte for byte.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::{Cluster, password};
use cluster_tests::imap::Imap;
use cluster_tests::ledger::{Fate, Ledger, Message, message};
use cluster_tests::pop3::Pop3;
use cluster_tests::smtp::{Sent, Smtp};

#[test]
fn mail_crosses_the_pair() {
    let Some(cluster) = Cluster::start() else { return };
    let ledger = Ledger::default();
    for (sender, reader) in [(0, 1), (1, 0)] {
        let token = format!("from-{sender}");
        let content = message(&token, 20_000);
        let mut smtp = Smtp::connect(cluster.nodes[sender].smtp()).expect("SMTP serves");
        let (sent, reply) = smtp.send(&["alice@example.test"], &content);
        assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
        record(&ledger, &token, &content);

        let mut imap =
            Imap::login(cluster.nodes[reader].imap(), "alice", &password("alice")).expect("IMAP serves");
        let selected = imap.select("INBOX").expect("INBOX is there");
        let fetched = imap.fetch_all().expect("the mail is there");
        assert_eq!(selected.exists as usize, fetched.len());
        let newest = &fetched.last().expect("one mail at least").body;
        assert!(newest.ends_with(&content));

        let mut pop3 = Pop3::login(cluster.nodes[reader].pop3(), "alice@example.test", &password("alice"))
            .expect("POP3 serves");
        let retrieved = pop3.listing(&format!("RETR {}", fetched.len())).expect("the mail is there");
        assert_eq!(&retrieved, newest);
        pop3.command("QUIT").expect("POP3 says goodbye");
    }
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}

#[test]
fn idle_on_one_node_hears_of_mail_accepted_on_the_other() {
    let Some(cluster) = Cluster::start() else { return };
    let mut imap = Imap::login(cluster.nodes[1].imap(), "bob", &password("bob")).expect("IMAP serves");
    imap.select("INBOX").expect("INBOX is there");
    let tag = imap.begin("IDLE").expect("the connection lives");
    assert!(imap.response().expect("IDLE is accepted").text.starts_with('+'));

    let mut smtp = Smtp::connect(cluster.nodes[0].smtp()).expect("SMTP serves");
    let (sent, _) = smtp.send(&["bob@example.test"], &message("idle", 10));
    assert_eq!(sent, Sent::Acknowledged);

    let mut heard = imap.response().expect("the news comes");
    while heard.text.contains("RECENT") || heard.text.starts_with("* OK") {
        heard = imap.response().expect("the news comes");
    }
    assert_eq!(heard.text, "* 1 EXISTS");
    imap.raw(b"DONE\r\n").expect("the connection lives");
    imap.finish(&tag).expect("IDLE ends with OK");
}

fn record(ledger: &Ledger, token: &str, content: &[u8]) {
    ledger.record(token, Message::new("alice", "INBOX", Fate::Acknowledged, content.to_vec()));
}
