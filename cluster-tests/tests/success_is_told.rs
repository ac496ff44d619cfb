//! Notices of success for those who ask: delivered, handed to several, handed on to a server that tells nobody. To senders here
//! and elsewhere, from either node; and once for each mail that there is, though the leader dies while they come in.

use std::collections::BTreeMap;

use cluster_tests::checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const MAILS: usize = 12;

/// What is in the mailbox, as this node shows it.
fn inbox(cluster: &Cluster, at: usize, user: &str) -> Vec<String> {
    let contents = checker::read(&cluster.nodes[at]).expect("the node can be read");
    let inbox = contents.get(&(user.to_owned(), "INBOX".to_owned())).expect("there is one");
    inbox.messages.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect()
}

/// Each recipient in a notice, with what became of the mail.
fn told(notice: &str) -> Vec<(String, String)> {
    let of = |name: &str| -> Vec<String> {
        notice
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .map(|value| value.trim().to_owned())
            .collect()
    };
    of("Final-Recipient: rfc822;").into_iter().zip(of("Action:")).collect()
}

fn asked(smtp: &mut Smtp, from: &str, envid: &str, to: &[&str], subject: &str) -> std::io::Result<String> {
    smtp.command(&format!("MAIL FROM:<{from}> RET=HDRS ENVID={envid}"), "250")?;
    for to in to {
        smtp.command(&format!("RCPT TO:<{to}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;asked-{to}"), "250")?;
    }
    smtp.command("DATA", "354")?;
    smtp.command(&format!("From: <{from}>\r\nSubject: {subject}\r\n\r\nThe text.\r\n."), "250")
}

#[test]
fn success_is_told() {
    let Some(mut cluster) = Cluster::start() else { return };
    let sink = Sink::start("127.0.0.9:2525");
    cluster.nodes[0].must(&["policy", "set", "relay.host", "127.0.0.9:2525"], None);
    cluster.nodes[1].must(&["alias", "add", "team@example.test", "bob", "carol", "x@away.test"], None);
    cluster.wait_until_caught_up();

    // A user, at either node.
    for at in [0, 1] {
        let mut smtp = Smtp::login(cluster.nodes[at].port(587), "alice").expect("alice logs in");
        // Of x, to whom the team leads too, she asks by his own name.
        let to = ["bob@example.test", "a@away.test", "team@example.test", "no@away.test", "x@away.test"];
        asked(&mut smtp, "alice@example.test", &format!("E{at}"), &to, "to all").expect("it is taken");
        let notices = eventually("alice is told of each", || {
            let all: Vec<String> = inbox(&cluster, at, "alice");
            let mine: Vec<String> = all
                .into_iter()
                .filter(|text| text.contains(&format!("Original-Envelope-Id: E{at}\r\n")))
                .collect();
            (mine.iter().flat_map(|text| told(text)).count() == 5).then_some(mine)
        });
        let mut each: Vec<(String, String)> = notices.iter().flat_map(|text| told(text)).collect();
        each.sort();
        let expected = [
            ("a@away.test", "relayed"),
            ("bob@example.test", "delivered"),
            ("no@away.test", "failed"),
            ("team@example.test", "expanded"),
            ("x@away.test", "relayed"),
        ];
        assert_eq!(each, expected.map(|(to, action)| (to.to_owned(), action.to_owned())));
        for notice in &notices {
            assert!(notice.contains("Subject: to all") && !notice.contains("The text."), "{notice}");
            assert!(notice.contains("Original-Recipient: rfc822; asked-"), "{notice}");
        }
    }

    // A stranger is told where he is.
    let mut smtp = Smtp::connect(cluster.nodes[1].smtp()).expect("SMTP serves");
    asked(&mut smtp, "joe@far.test", "J", &["bob@example.test"], "from far").expect("it is taken");
    let notice =
        eventually("joe is told", || sink.taken().into_iter().find(|mail| mail.to == ["joe@far.test"]));
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert_eq!(notice.from, "");
    assert_eq!(told(&text), [("bob@example.test".to_owned(), "delivered".to_owned())]);

    // The leader dies while mails come in by the other node: as many notices as mails.
    let leader = cluster.leader();
    let left = cluster.peer_of(leader);
    let mut acknowledged = 0;
    for number in 0..MAILS {
        if number == MAILS / 3 {
            cluster.nodes[leader].kill();
        }
        let sent = Smtp::login(cluster.nodes[left].port(587), "alice").and_then(|mut smtp| {
            asked(
                &mut smtp,
                "alice@example.test",
                &format!("N{number}"),
                &["carol@example.test"],
                &format!("n{number}."),
            )
        });
        acknowledged += usize::from(sent.is_ok());
    }
    assert!(acknowledged >= MAILS / 3, "those before the leader's death");
    cluster.leader_other_than(leader);
    let count = |texts: Vec<String>, mark: &dyn Fn(usize) -> String| -> BTreeMap<usize, usize> {
        (0..MAILS)
            .map(|number| (number, texts.iter().filter(|text| text.contains(&mark(number))).count()))
            .collect()
    };
    let (mails, notices) = eventually("the node that is left serves", || {
        checker::read(&cluster.nodes[left]).ok()?;
        let mails = count(inbox(&cluster, left, "carol"), &|number| format!("Subject: n{number}.\r\n"));
        let notices =
            count(inbox(&cluster, left, "alice"), &|number| format!("Original-Envelope-Id: N{number}\r\n"));
        Some((mails, notices))
    });
    assert_eq!(mails, notices, "one notice for one mail");
    assert!(mails.values().sum::<usize>() >= acknowledged);
}
