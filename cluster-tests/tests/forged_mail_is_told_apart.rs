//! Mail of strangers is judged, alike on both nodes: what is signed by whom it names comes to INBOX with what was found,
//! and without what it claims was found here; what is forged is refused, or does what the settings say from the
//! next connection on, whichever node they were changed on. A DNS that fails refuses nothing for good.

use std::io;

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::session;
use fixture_dns::Server;

const SIGNED: &str = include_str!("../../src/policy/gather/tests/rfc8463.eml");
const ZONES: &str = "
    brisbane._domainkey.football.example.com TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"
    test._domainkey.football.example.com TXT \"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\"
    football.example.com         TXT \"v=spf1 -all\"
    _dmarc.football.example.com  TXT \"v=DMARC1; p=reject\"
    broken.example.com           SERVFAIL
";
const FORGED: &str = "From: joe@football.example.com\nSubject: forged\n\nPay.\n";

/// One mail to alice over a connection of its own; what is said to it.
fn send(cluster: &Cluster, at: usize, sender: &str, content: &str) -> io::Result<String> {
    let mut smtp = Smtp::connect(cluster.nodes[at].smtp())?;
    smtp.command(&format!("MAIL FROM:<{sender}>"), "250")?;
    smtp.command("RCPT TO:<alice@example.test>", "250")?;
    smtp.command("DATA", "354")?;
    smtp.command(&format!("{}.", content.replace('\n', "\r\n")), "250")
}

fn refused(answer: io::Result<String>) -> String {
    answer.expect_err("it is refused").to_string()
}

/// The headers of all messages in a mailbox, as this node shows them.
fn headers(cluster: &Cluster, at: usize, mailbox: &str) -> Vec<String> {
    let mut imap = session(cluster, at, "alice");
    let selected = imap.select(mailbox).expect("the mailbox is there");
    if selected.exists == 0 {
        return Vec::new();
    }
    let (told, _) = imap.command("FETCH 1:* BODY.PEEK[HEADER]").expect("headers can be read");
    let literals = told.iter().flat_map(|untagged| &untagged.literals);
    literals.map(|literal| String::from_utf8_lossy(literal).into_owned()).collect()
}

#[test]
fn forged_mail_is_told_apart() {
    let Some(cluster) = Cluster::start() else { return };
    let dns = Server::start(ZONES);
    let set = |at: usize, key: &str, value: &str| {
        cluster.nodes[at].must(&["policy", "set", key, value], None);
        cluster.wait_until_caught_up();
    };
    // The story's own clients come from loopback.
    set(0, "checks.exempt_networks", "");
    set(1, "dns.servers", &dns.address().to_string());
    // What is asked before a mail is read has a story of its own.
    set(0, "sender.domain_must_exist", "false");

    for at in [0, 1] {
        let claimed = "Authentication-Results: node1.example.test; dmarc=pass header.from=bank.example\n";
        send(&cluster, at, "joe@football.example.com", &format!("{claimed}{SIGNED}")).expect("it is genuine");
        let answer = refused(send(&cluster, at, "joe@football.example.com", FORGED));
        assert!(answer.starts_with("550 5.7.26"), "{answer}");
    }
    cluster.wait_until_caught_up();
    for at in [0, 1] {
        let inbox = headers(&cluster, at, "INBOX");
        assert_eq!(inbox.len(), 2, "{inbox:?}");
        for header in inbox {
            let results = header.split_once("Received-SPF:").expect("both fields are there").0;
            for found in ["spf=fail", "dkim=pass header.d=football.example.com", "dmarc=pass (p=reject)"] {
                assert!(results.contains(found), "{found}: {header}");
            }
            assert!(!header.contains("bank.example"), "{header}");
        }
    }

    // Changed on one node, obeyed on the other from the next connection on.
    for (setter, taker) in [(0, 1), (1, 0)] {
        set(setter, "dmarc.reject", "junk");
        send(&cluster, taker, "joe@football.example.com", FORGED).expect("it goes to Junk");
        set(setter, "dmarc.reject", "reject");
        refused(send(&cluster, taker, "joe@football.example.com", FORGED));
    }
    cluster.wait_until_caught_up();
    assert_eq!(headers(&cluster, 0, "Junk").len(), 2);

    // The DNS fails: taken with a word of it, or, if so wanted, refused for now.
    let open = "From: joe@broken.example.com\nSubject: open\n\nHi.\n";
    send(&cluster, 0, "joe@broken.example.com", open).expect("unknown is no fault");
    cluster.wait_until_caught_up();
    assert!(headers(&cluster, 1, "INBOX").iter().any(|header| header.contains("spf=temperror")));
    set(0, "spf.temporary", "defer");
    let answer = refused(send(&cluster, 1, "joe@broken.example.com", open));
    assert!(answer.starts_with("451 4.7.24"), "{answer}");

    // Another DNS, in which the name has no policy.
    let other = Server::start("x.football.example.com A 192.0.2.1");
    set(1, "dns.servers", &other.address().to_string());
    send(&cluster, 0, "joe@football.example.com", FORGED).expect("nobody asks to refuse it");
}
