//! Backups are made at full speed, on both nodes, one of them cut short by kill -9; then all boxes are lost. The last backup but
//! one, named by its moment, becomes a new cluster, a second node and a witness join, and all is there that was acknowledged
//! before it began, and nothing that came after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use cluster_tests::checker::{Contents, compare, read};
use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::ledger::{Fate, Ledger, Message, message, token_of};
use cluster_tests::node::{Node, pollux, succeeded};
use cluster_tests::sink::Sink;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::traffic::Traffic;
use cluster_tests::wait::eventually;

type Messages = BTreeMap<String, Message>;

#[test]
fn backup_and_restore() {
    let Some(mut cluster) = Cluster::start() else { return };
    furnish(&cluster);
    let key = signing_key(&cluster.nodes[0]);
    let folder = cluster.home().join("backups");
    let traffic = Traffic::start(&cluster, Ledger::default(), 41);
    traffic.wait_for(40);

    killed_in_the_middle(&mut cluster, &folder);
    for at in [0, 1, 0] {
        back_up(&cluster.nodes[at], &folder);
        traffic.wait_for(30);
    }
    assert!(!verify(&folder).contains(" 0 messages"), "it reads mail");
    damage_is_found(&folder);

    let before = traffic.ledger.snapshot();
    let made = back_up(&cluster.nodes[1], &folder);
    let after = traffic.ledger.snapshot();
    traffic.wait_for(40);
    back_up(&cluster.nodes[0], &folder);
    let ever = traffic.finish().snapshot();
    cluster.wait_until_caught_up();
    let lost = eventually("a node can be read back", || read(&cluster.nodes[0]).ok());

    nothing_is_older_than_the_first(&folder);
    let folder = folder.display().to_string();
    let id = made["id"].as_str().expect("a backup has a name");
    let said = cluster.lose_and_found_anew(&["backup", "restore", &folder, "--at", &moment_of(id)]);
    assert!(said.contains(id), "the last at that moment is taken: {said}");
    let [one, two] = [0, 1].map(|at| eventually("a node can be read back", || read(&cluster.nodes[at]).ok()));
    let mut wrong = Vec::new();
    compare(&one, &two, &mut wrong);
    hold_against(&one, (&before, &after, &ever), &mut wrong);
    uid_validities_are_new(&lost, &one, &mut wrong);
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    what_is_not_mail_works(&cluster, &key);
    // Who restores can be restored.
    back_up(&cluster.nodes[1], Path::new(&folder));
    verify(Path::new(&folder));
}

/// What lies beside mail in the rows.
fn furnish(cluster: &Cluster) {
    let node = &cluster.nodes[0];
    node.must(&["alias", "add", "info", "bob"], None);
    node.must(&["policy", "set", "relay.host", "127.0.0.9:2525"], None);
    let relay =
        ["relay", "add", "r", "--host", "relay.test", "--for-recipient", "@relayed.test", "--user", "me"];
    node.must(&[&relay[..], &["--password-stdin"]].concat(), Some("correct-horse\n"));
    node.must(
        &["dkim", "generate", "example.test", "--selector", "s1", "--algorithm", "ed25519-sha256"],
        None,
    );
    cluster.wait_until_caught_up();
    let mut smtp = Smtp::login(node.port(587), "alice").expect("alice logs in");
    smtp.submit("alice", &["a@far.test"], &message("outbound", 500)).expect("it is queued");
    // What is large makes a backup last.
    let mut imap = Imap::login(node.imap(), "carol", "demo-carol").expect("carol logs in");
    for at in 0..4 {
        imap.append("Sent", &message(&format!("large-{at}"), 4 << 20)).expect("there is room");
    }
}

fn signing_key(node: &Node) -> String {
    node.must(&["dkim", "export", "example.test", "s1", "--private"], None)
}

fn back_up(node: &Node, folder: &Path) -> serde_json::Value {
    let said = node.must(&["backup", "create", &folder.display().to_string(), "--json"], None);
    serde_json::from_str(&said).expect("a backup is shown as JSON")
}

/// RFC 3339, of the id of a backup: `20261128T131803.938Z`.
fn moment_of(id: &str) -> String {
    let (date, time) = id.split_once('T').expect("an id is a moment");
    let date = [&date[..4], &date[4..6], &date[6..]].join("-");
    format!("{date}T{}", [&time[..2], &time[2..4], &time[4..]].join(":"))
}

fn nothing_is_older_than_the_first(folder: &Path) {
    let (from, dir) = (folder.display().to_string(), folder.with_extension("none").display().to_string());
    let words =
        ["backup", "restore", &from, "--dir", &dir, "--name", "node1", "--cluster-address", "127.0.0.1"];
    let output = pollux(&[&words[..], &["--at", "2001-01-01T00:00:00Z"]].concat(), None, None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no backup as old as that"), "{said}");
}

/// Without a node.
fn backup(what: &str, folder: &Path) -> Output {
    pollux(&["backup", what, &folder.display().to_string()], None, None)
}

fn verify(folder: &Path) -> String {
    succeeded(&["backup", "verify"], &backup("verify", folder))
}

/// The node is gone while it copies: no backup is there, or a whole one, and the next clears up.
fn killed_in_the_middle(cluster: &mut Cluster, folder: &Path) {
    let node = &mut cluster.nodes[1];
    let asking = {
        let (socket, folder) = (node.dir.join("control.sock"), folder.display().to_string());
        std::thread::spawn(move || {
            pollux(&["--socket", &socket.display().to_string(), "backup", "create", &folder], None, None)
        })
    };
    eventually("it copies messages", || {
        let names = names(folder);
        names.iter().any(|name| name.starts_with("pack-")).then_some(())
    });
    node.kill();
    let told = asking.join().expect("the command does not panic");
    if !told.status.success() {
        assert_eq!(succeeded(&["backup", "list"], &backup("list", folder)), "There is no backup yet.\n");
    }
    node.start();
    cluster.wait_until_caught_up();
    // That it was away may be committed after it is back: then it says that it may lack mail, and catches up.
    eventually("it makes a backup again", || {
        let output = cluster.nodes[1].command(&["backup", "create", &folder.display().to_string()]);
        output.status.success().then_some(())
    });
    let left: Vec<String> = names(folder).into_iter().filter(|name| name.ends_with(".part")).collect();
    assert!(left.is_empty(), "{left:?}");
    let count = |prefix: &str| names(folder).iter().filter(|name| name.starts_with(prefix)).count();
    assert_eq!((count("rows-"), count("keys-")), (count("backup-"), count("backup-")));
    verify(folder);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn damage_is_found(folder: &Path) {
    let path = folder.join("pack-000001");
    let whole = std::fs::read(&path).expect("there is a pack");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&path, &flipped).expect("the folder is ours");
    let found = backup("verify", folder);
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("pack-000001: message ") && said.contains(" is damaged"), "{said}");
    std::fs::write(&path, &whole).expect("the folder is ours");
    verify(folder);
}

/// `before` the backup began, `after` it was made, and `ever`.
fn hold_against(
    shown: &Contents,
    (before, after, ever): (&Messages, &Messages, &Messages),
    wrong: &mut Vec<String>,
) {
    let mut found = BTreeMap::new();
    for ((user, mailbox), contents) in shown {
        for message in &contents.messages {
            let token = token_of(&message.body).unwrap_or_default();
            if let Some(twice) = found.insert(token, (user, mailbox, message)) {
                wrong.push(format!("{user} {mailbox}: {} is there twice", twice.2.uid));
            }
        }
    }
    for (token, then) in before {
        let (there, now) = (found.get(token), &after[token]);
        let sure = then.fate == Fate::Acknowledged && now.expunged.is_none();
        if sure && there.is_none() {
            wrong.push(format!("{token} was acknowledged before the backup and is missing"));
        }
        if there.is_some() && then.expunged == Some(Fate::Acknowledged) {
            wrong.push(format!("{token} was expunged before the backup and is there"));
        }
        let flags_stayed = then.flags == now.flags && !now.flags_unknown;
        if let (Some((.., message)), true, Some(flags)) = (there, flags_stayed, &then.flags)
            && !flags.iter().all(|flag| message.flags.contains(flag))
        {
            wrong.push(format!("{token} has {:?}, not {flags:?}", message.flags));
        }
    }
    for (token, (user, mailbox, message)) in found {
        match ever.get(&token) {
            // It began after the backup was made.
            Some(_) if !after.contains_key(&token) => {
                wrong.push(format!("{user} {mailbox}: {token} is younger than the backup"));
            }
            Some(sent) => {
                let place = (&sent.user, &sent.mailbox) == (user, mailbox);
                if !place || sent.fate == Fate::Refused || !message.body.ends_with(&sent.content) {
                    wrong.push(format!("{user} {mailbox}: {token} is not what was sent"));
                }
            }
            None if token.starts_with("large-") => {}
            None => wrong.push(format!("{user} {mailbox}: {token} was never sent")),
        }
    }
}

/// RFC 9051 2.3.1.1: UIDs may be given again, to other messages.
fn uid_validities_are_new(lost: &Contents, now: &Contents, wrong: &mut Vec<String>) {
    let highest = lost.values().map(|mailbox| mailbox.selected.uid_validity).max().unwrap_or_default();
    for (place, mailbox) in now {
        if mailbox.selected.uid_validity <= highest {
            wrong.push(format!("{place:?} has UIDVALIDITY {} again", mailbox.selected.uid_validity));
        }
    }
}

/// Settings, aliases, keys, the queue. That passwords work is seen by whoever reads.
fn what_is_not_mail_works(cluster: &Cluster, key: &str) {
    for node in cluster.data_nodes() {
        assert_eq!(signing_key(node), key, "{} signs as before", node.name);
        assert!(node.must(&["relay", "list"], None).contains("relay.test"));
        assert!(!node.said().contains("sealed with another CA key"), "{} opens its secrets", node.name);
        let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
        let token = format!("to-info-at-{}", node.name);
        assert_eq!(smtp.send(&["info@example.test"], &message(&token, 10)).0, Sent::Acknowledged);
        eventually("the alias leads to bob", || {
            let contents = read(node).ok()?;
            let inbox = &contents.get(&("bob".to_owned(), "INBOX".to_owned()))?.messages;
            inbox.iter().any(|it| token_of(&it.body).as_deref() == Some(&token)).then_some(())
        });
    }
    let sink = Sink::start("127.0.0.9:2525");
    let waiting = cluster.nodes[1].must(&["queue", "show", &queued(&cluster.nodes[1])], None);
    assert!(waiting.contains("held"), "it may have gone out since: {waiting}");
    assert!(sink.taken().is_empty());
    cluster.nodes[1].must(&["queue", "release", "--all"], None);
    // It was tried before the backup: its next try is far off.
    cluster.nodes[1].must(&["queue", "retry", "--all"], None);
    eventually("what was held leaves", || (sink.taken().len() == 1).then_some(()));
    assert_eq!(token_of(&sink.taken()[0].content).as_deref(), Some("outbound"));
}

fn queued(node: &Node) -> String {
    let listed = node.must(&["queue", "list", "--json"], None);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("a listing is JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    listed[0]["id"].to_string()
}
