//! Whole mailboxes come in from Maildir, mbox, another IMAP server and a backup, and go out to Maildir and mbox: flags, keywords,
//! dates and folders as they were, each message once, also when the command is run twice or the node dies in the middle.

use std::process::{Child, Command, Stdio};

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::imap::Imap;
use cluster_tests::ledger::message;
use cluster_tests::node::{Node, binary};
use cluster_tests::steps::{leader_and_follower, session};
use cluster_tests::wait::eventually;

/// Flags, date, text of each message, in order.
type Shown = Vec<(Vec<String>, String, Vec<u8>)>;

const FOLDERS: [&str; 4] = ["INBOX", "Sent", "Work/2024", "Entw&APw-rfe"];

#[test]
fn as_they_were() {
    let Some(cluster) = Cluster::start() else { return };
    let mut alice = session(&cluster, 0, "alice");
    furnish(&mut alice);
    let wanted = shown(&mut alice, &FOLDERS);
    assert_eq!(wanted.iter().map(Vec::len).sum::<usize>(), 12);
    let maildir = cluster.home().join("maildir").display().to_string();
    let out = run(&cluster.nodes[0], &["mail", "export", "--user", "alice", "--json", "maildir", &maildir]);
    assert_eq!((&out["messages"], &out["there"]), (&12.into(), &0.into()), "{out}");
    let again = run(&cluster.nodes[0], &["mail", "export", "--user", "alice", "--json", "maildir", &maildir]);
    assert_eq!((&again["messages"], &again["there"]), (&0.into(), &12.into()), "{again}");

    // Through the other node, so that what one wrote is what the other has.
    let import = ["mail", "import", "--user", "bob", "--json", "maildir", &maildir];
    let first = run(&cluster.nodes[1], &import);
    assert_eq!((&first["imported"], &first["there"]), (&12.into(), &0.into()), "{first}");
    assert_eq!(shown(&mut session(&cluster, 1, "bob"), &FOLDERS), wanted);
    let second = run(&cluster.nodes[0], &import);
    assert_eq!((&second["imported"], &second["there"]), (&0.into(), &12.into()), "{second}");

    let imap = cluster.nodes[0].imap();
    let (host, port) = (imap.ip().to_string(), imap.port().to_string());
    let words =
        ["mail", "import", "--user", "carol", "--json", "--into", "Old", "imap", &host, "--port", &port];
    let words = [&words[..], &["--security", "off", "--login", "alice", "--password-stdin"]].concat();
    for imported in [12, 0] {
        let said = cluster.nodes[0].must(&words, Some(&format!("{}\n", password("alice"))));
        let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(report["imported"], imported, "{report}");
    }
    let below: Vec<String> = FOLDERS.iter().map(|folder| format!("Old/{folder}")).collect();
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    assert_eq!(shown(&mut session(&cluster, 0, "carol"), &below), wanted);

    let boxes = cluster.home().join("boxes");
    run(
        &cluster.nodes[0],
        &["mail", "export", "--user", "alice", "--json", "mbox", &boxes.display().to_string()],
    );
    for (folder, file) in [("INBOX", "INBOX.mbox"), ("Work/2024", "Work%2F2024.mbox")] {
        let file = boxes.join(file).display().to_string();
        let words = ["mail", "import", "--user", "carol", "--json", "mbox", &file, "--folder", folder];
        run(&cluster.nodes[0], &words);
    }
    let back = shown(&mut session(&cluster, 0, "carol"), &["INBOX", "Work/2024"]);
    assert_eq!(back, [wanted[0].clone(), wanted[2].clone()]);
}

#[test]
fn what_was_lost_comes_back_from_a_backup() {
    let Some(cluster) = Cluster::start() else { return };
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| session(&cluster, 0, user));
    furnish(&mut alice);
    furnish(&mut bob);
    let wanted = shown(&mut alice, &FOLDERS);
    let dir = cluster.home().join("backups");
    let folder = dir.display().to_string();
    run(&cluster.nodes[0], &["backup", "create", &folder, "--json"]);

    // Two of three are expunged, one gets another flag, a folder goes, and something new comes.
    for line in ["SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "STORE 1 +FLAGS (\\Answered)"] {
        alice.command(line).expect("she may");
    }
    alice.append("INBOX", &message("since-then", 100)).expect("there is room");
    let since = of(&mut alice, "INBOX");
    alice.command("UNSELECT").and_then(|_| alice.command("DELETE Work/2024")).expect("she may");

    let import = |at: usize, user: &str, more: &[&str]| {
        let words = ["mail", "import", "--user", user, "--json", "backup", &folder];
        let report = run(&cluster.nodes[at], &[&words[..], more].concat());
        [&report["imported"], &report["there"]].map(|count| count.as_u64().expect("a number"))
    };
    assert_eq!(import(0, "alice", &["--folder", "Work"]), [3, 0]);
    assert_eq!(of(&mut alice, "Work/2024"), wanted[2]);
    assert_eq!(of(&mut alice, "INBOX"), since, "nothing else is touched");
    assert_eq!(import(1, "alice", &[]), [2, 10]);
    let mut inbox = since.clone();
    inbox.extend([wanted[0][0].clone(), wanted[0][2].clone()]);
    assert_eq!(of(&mut alice, "INBOX"), inbox, "what was lost comes last, what is there stays as it is");
    assert_eq!(import(0, "alice", &[]), [0, 12], "nothing is lacking any more");

    // A user that was removed by mistake; and what was another's.
    let node = &cluster.nodes[0];
    node.must(&["user", "remove", "bob"], None);
    node.must(&["user", "add", "bob", "--password-stdin"], Some(&format!("{}\n", password("bob"))));
    assert_eq!(import(0, "bob", &[]), [12, 0]);
    assert_eq!(shown(&mut session(&cluster, 0, "bob"), &FOLDERS), wanted);
    let found = ["mail", "import", "--user", "carol", "--into", "Found", "--json", "backup", &folder];
    run(node, &[&found[..], &["--from", "alice", "--folder", "Sent"]].concat());
    assert_eq!(of(&mut session(&cluster, 0, "carol"), "Found/Sent"), wanted[1]);

    for (more, why) in [
        (["--from", "zoe"], "has no user zoe"),
        (["--folder", "Wor"], "alice has no folder Wor"),
        (["--at", "2001-01-01T00:00:00Z"], "no backup as old as that"),
        (["--backup", "x"], "there is no backup x"),
    ] {
        let output =
            node.command(&[&["mail", "import", "--user", "alice", "backup", &folder], &more[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
    }
    damage(&dir, "mail-1-0");
    alice.command("DELETE Sent").expect("she may");
    let output = node.command(&["mail", "import", "--user", "alice", "--json", "backup", &folder]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!([&report["imported"], &report["gone"]], [2, 1], "{report}");
    assert_eq!(output.status.code(), Some(1), "not all is there again");
}

/// Changes an octet of the message in the folder of backups.
fn damage(dir: &std::path::Path, token: &str) {
    for entry in std::fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let mut bytes = std::fs::read(&path).expect("it can be read");
        let is_pack = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pack-"));
        let at = bytes.windows(token.len()).position(|window| window == token.as_bytes());
        if let Some(at) = at.filter(|_| is_pack) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).expect("it can be written");
            return;
        }
    }
    panic!("{token} is in no pack");
}

#[test]
fn what_cannot_be_taken_is_told() {
    let Some(cluster) = Cluster::start_alone() else { return };
    // A node that has just started serves nobody yet.
    drop(session(&cluster, 0, "bob"));
    let node = &cluster.nodes[0];
    let file = cluster.home().join("box");
    let text = |token: &str, octets: usize| {
        let text = String::from_utf8(message(token, octets)).expect("it is ASCII");
        format!("From x Sat Nov 21 12:00:00 2026\n{}\n", text.replace("\r\n", "\n"))
    };
    std::fs::write(&file, text("small", 10) + &text("large", 300_000) + &text("last", 10)).expect("a file");
    let words =
        ["mail", "import", "--user", "bob", "--json", "mbox", &file.display().to_string()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    node.must(&["policy", "set", "smtp.message_bytes_max", "200000"], None);
    let output = node.command(&words);
    assert_eq!(output.status.code(), Some(1), "something was left behind");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["imported"], &report["refused"]), (&2.into(), &1.into()), "{report}");
    assert!(report["refusals"][0].as_str().expect("a line").contains("<large@elsewhere.test>"), "{report}");

    node.must(&["policy", "set", "smtp.message_bytes_max", "1000000"], None);
    node.must(&["user", "set", "bob", "--quota", "200K"], None);
    let output = node.command(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("raise the quota"), "{said}");
    let output = node.command(&["mail", "import", "--user", "nobody", "mbox", words[6]]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no user nobody"), "{output:?}");
    let output = node.command(&["mail", "import", "--user", "bob", "maildir", words[6]]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no folder"), "{output:?}");
}

#[test]
fn each_once_though_nodes_die_in_the_middle() {
    const MESSAGES: usize = 4_000;
    let Some(mut cluster) = Cluster::start() else { return };
    let file = cluster.home().join("box");
    let tokens: Vec<String> = (0..MESSAGES).map(|at| format!("mail-{at:04}")).collect();
    let text: String = tokens
        .iter()
        .map(|token| {
            let text = String::from_utf8(message(token, 500)).expect("it is ASCII");
            format!("From x Sat Nov 21 12:00:00 2026\n{}\n", text.replace("\r\n", "\n"))
        })
        .collect();
    std::fs::write(&file, text).expect("a file");
    let file = file.display().to_string();
    let import = ["mail", "import", "--user", "bob", "--json", "mbox", &file];
    let (leader, follower) = leader_and_follower(&cluster);

    // The node that takes part without the command's knowing dies: the command goes on.
    let mut running = begin(&cluster.nodes[follower], &import);
    let some = |cluster: &Cluster, at: usize, count: usize| {
        let mut bob = session(cluster, at, "bob");
        eventually("some have come", || (bob.select("INBOX").ok()?.exists as usize > count).then_some(()));
    };
    some(&cluster, follower, 100);
    cluster.nodes[leader].kill();
    some(&cluster, follower, 300);
    // The node that the command talks to dies: it says so, and is run again on the other one.
    cluster.nodes[follower].kill();
    assert!(!running.wait().expect("it is ours").success(), "it was cut off");
    cluster.nodes[leader].start();
    cluster.nodes[follower].start();
    cluster.wait_until_protected();
    run(&cluster.nodes[leader], &import);
    cluster.wait_until_caught_up();
    for at in [0, 1] {
        let mut bob = session(&cluster, at, "bob");
        bob.select("INBOX").expect("it is there");
        let rows = bob.rows("1:*").expect("they can be read");
        let mut came: Vec<String> = rows.into_iter().map(|row| row.token).collect();
        came.sort();
        assert_eq!(came, tokens, "each once");
    }
}

fn begin(node: &Node, arguments: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.args(arguments).env("POLLUX_CONFIG", node.dir.join("pollux.toml"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("pollux starts")
}

fn run(node: &Node, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&node.must(arguments, None)).expect("JSON")
}

/// Three messages in each folder, no two alike.
fn furnish(imap: &mut Imap) {
    let flags = ["\\Seen \\Answered", "\\Flagged $Forwarded NonJunk", "\\Draft \\Deleted"];
    for (at, folder) in FOLDERS.iter().enumerate() {
        if *folder != "INBOX" {
            // Sent may be there from the start.
            let _ = imap.command(&format!("CREATE \"{folder}\""));
        }
        for (number, flags) in flags.iter().enumerate() {
            let content = message(&format!("mail-{at}-{number}"), 100 + 50 * number);
            let date = format!("{:2}-Feb-2023 10:0{number}:00 +0000", at + 1);
            let command = format!("APPEND \"{folder}\" ({flags}) \"{date}\" {{{}}}", content.len());
            let tag = imap.begin(&command).expect("it is sent");
            imap.response().expect("it may go on");
            imap.raw(&content).and_then(|()| imap.raw(b"\r\n")).expect("it is sent");
            imap.finish(&tag).expect("it is taken");
        }
    }
}

fn shown(imap: &mut Imap, folders: &[&str]) -> Vec<Shown> {
    folders.iter().map(|folder| of(imap, folder)).collect()
}

fn of(imap: &mut Imap, folder: &str) -> Shown {
    imap.select(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let (untagged, _) = imap.command("FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])").expect("they can be read");
    let message = |response: &cluster_tests::imap::Untagged| {
        let between = |from: &str, to: &str| {
            let (_, rest) = response.text.split_once(from)?;
            Some(rest.split_once(to)?.0.to_owned())
        };
        let mut flags: Vec<String> = between("FLAGS (", ")")?.split(' ').map(str::to_owned).collect();
        flags.retain(|flag| flag != "\\Recent");
        flags.sort();
        Some((flags, between("INTERNALDATE \"", "\"")?, response.literals.first()?.clone()))
    };
    untagged.iter().filter_map(message).collect()
}
