//! mbsync keeps a Maildir and an account alike, in both directions, while flags change on both sides, mails are moved in and
//! expunged, and the node that it talks to is killed. Each time it comes back to the other node: the UIDs are the same there,
//! so nothing comes twice and nothing is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::imap::Imap;
use cluster_tests::ledger::{message, token_of};
use cluster_tests::node::Node;
use cluster_tests::steps::{append_all, session};
use cluster_tests::wait::eventually;

const ROUNDS: usize = 4;
/// At first, and a few more with each round from either side.
const MAILS: usize = 60;
const BOX: &str = "Kept";

#[test]
fn two_way_sync() {
    if Command::new("mbsync").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: mbsync is not installed (make tools)");
        return;
    }
    let Some(mut cluster) = Cluster::start() else { return };
    let home = tempfile::tempdir().expect("a temporary folder");
    let near = Maildir::new(home.path());
    let mut imap = session(&cluster, 0, "alice");
    imap.command(&format!("CREATE {BOX}")).expect("it is made");
    let first: Vec<String> = (0..MAILS).map(|at| format!("far{at}")).collect();
    append_all(&mut imap, BOX, &first.iter().map(String::as_str).collect::<Vec<_>>());
    let mut expected: BTreeMap<String, String> =
        first.into_iter().map(|token| (token, String::new())).collect();
    sync_until_done(&cluster.nodes[0], home.path());
    assert_eq!(near.contents(), expected, "after the first pull");

    for round in 0..ROUNDS {
        let (killed, other) = (round % 2, 1 - round % 2);
        let mut imap = session(&cluster, other, "alice");
        change_both_sides(round, &mut imap, &near, &mut expected);
        drop(imap);
        // It dies while it is talked to; how far that came is left to chance.
        let mut cut_off = mbsync(&cluster.nodes[killed], home.path()).spawn().expect("mbsync starts");
        std::thread::sleep(Duration::from_millis(20 + 60 * round as u64));
        cluster.nodes[killed].kill();
        cut_off.wait().expect("mbsync ends");
        sync_until_done(&cluster.nodes[other], home.path());
        assert_eq!(near.contents(), expected, "the Maildir after round {round}");
        cluster.nodes[killed].start();
        cluster.wait_until_protected();
        cluster.wait_until_caught_up();
        for at in [killed, other] {
            let mut imap = session(&cluster, at, "alice");
            assert_eq!(contents(&mut imap), expected, "node {at} after round {round}");
        }
        // Nothing is left to be done, whichever node is asked.
        sync_until_done(&cluster.nodes[killed], home.path());
        assert_eq!(near.contents(), expected, "nothing changes any more in round {round}");
    }
}

/// Other mails on each side: marked as read here and as answered there, one more from each, one gone from each.
fn change_both_sides(round: usize, imap: &mut Imap, near: &Maildir, expected: &mut BTreeMap<String, String>) {
    imap.select(BOX).expect("it is there");
    let rows = imap.rows("1:*").expect("it is read");
    let uid = |token: &str| rows.iter().find(|row| row.token == token).expect("it is there").uid;
    for (at, (token, flags)) in expected.iter_mut().enumerate().filter(|(at, _)| at % ROUNDS == round) {
        let (here, flag) = if at % 8 < 4 { (true, 'S') } else { (false, 'R') };
        match here {
            true => near.add_flag(token, flag),
            false => {
                let stored = format!("UID STORE {} +FLAGS.SILENT (\\Answered)", uid(token));
                imap.command(&stored).expect("it is marked");
            }
        }
        flags.push(flag);
        let mut sorted: Vec<char> = flags.chars().collect();
        sorted.sort_unstable();
        *flags = sorted.into_iter().collect();
    }
    let gone: Vec<String> = expected.keys().skip(2 * round).take(2).cloned().collect();
    near.remove(&gone[0]);
    imap.command(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", uid(&gone[1]))).expect("it is marked");
    imap.command("EXPUNGE").expect("it goes");
    gone.iter().for_each(|token| drop(expected.remove(token)));
    let (from_far, from_near) = (format!("more{round}"), format!("near{round}"));
    append_all(imap, BOX, &[&from_far]);
    near.put(&from_near);
    expected.extend([(from_far, String::new()), (from_near, String::new())]);
}

/// What is on a node: the token in each mail, and its flags as Maildirs write them.
fn contents(imap: &mut Imap) -> BTreeMap<String, String> {
    imap.examine(BOX).expect("it is there");
    let rows = imap.rows("1:*").expect("it is read");
    let mut found = BTreeMap::new();
    for row in rows {
        let flag = |name: &str, letter: &'static str| match row.flags.iter().any(|flag| flag == name) {
            true => letter,
            false => "",
        };
        let flags = [flag("\\Answered", "R"), flag("\\Seen", "S"), flag("\\Deleted", "T")].concat();
        assert!(found.insert(row.token.clone(), flags).is_none(), "{} is there twice", row.token);
    }
    found
}

fn mbsync(node: &Node, home: &Path) -> Command {
    let config = home.join("config");
    let (host, port, secret, home) = (node.address, node.imap().port(), password("alice"), home.display());
    let text = format!(
        "FSync no\n\n\
         IMAPAccount pollux\nHost {host}\nPort {port}\nUser alice\nPass {secret}\nSSLType None\nTimeout 10\n\n\
         IMAPStore far\nAccount pollux\n\n\
         MaildirStore near\nPath {home}/mail/\nInbox {home}/mail/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns {BOX}\nCreate Near\nSync All\nExpunge Both\nSyncState {home}/\n"
    );
    fs::write(&config, text).expect("the configuration is written");
    let mut command = Command::new("mbsync");
    command.arg("-q").arg("-q").arg("-c").arg(config).arg("-a").stderr(Stdio::null());
    command
}

/// A node whose peer has just died refuses for a moment; a client tries again.
fn sync_until_done(node: &Node, home: &Path) {
    eventually("mbsync is content", || {
        mbsync(node, home).status().expect("mbsync starts").success().then_some(())
    });
}

struct Maildir(PathBuf);

impl Maildir {
    fn new(home: &Path) -> Maildir {
        let root = home.join("mail").join(BOX);
        for folder in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(folder)).expect("a folder is made");
        }
        Maildir(root)
    }

    /// Each mail's token, and its file.
    fn files(&self) -> Vec<(String, PathBuf)> {
        let folders = ["cur", "new"].map(|folder| fs::read_dir(self.0.join(folder)).expect("it is there"));
        let paths = folders.into_iter().flatten().map(|entry| entry.expect("it is readable").path());
        let token = |path: &PathBuf| {
            let content = fs::read(path).expect("it is readable");
            token_of(&content).unwrap_or_else(|| panic!("{} is no mail of ours", path.display()))
        };
        paths.map(|path| (token(&path), path)).collect()
    }

    fn contents(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for (token, path) in self.files() {
            let flags = flags(&path);
            assert!(found.insert(token.clone(), flags).is_none(), "{token} is there twice");
        }
        found
    }

    fn file(&self, token: &str) -> PathBuf {
        let files = self.files();
        let found = files.into_iter().find(|(of, _)| of == token);
        found.unwrap_or_else(|| panic!("{token} is not there")).1
    }

    fn add_flag(&self, token: &str, flag: char) {
        let path = self.file(token);
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let base = name.split(":2,").next().unwrap_or_default().to_owned();
        let mut flags: Vec<char> = flags(&path).chars().chain([flag]).collect();
        flags.sort_unstable();
        let flags: String = flags.into_iter().collect();
        fs::rename(&path, self.0.join("cur").join(format!("{base}:2,{flags}"))).expect("it is renamed");
    }

    fn remove(&self, token: &str) {
        fs::remove_file(self.file(token)).expect("it is removed");
    }

    fn put(&self, token: &str) {
        let text = String::from_utf8(message(token, 300)).expect("it is text").replace("\r\n", "\n");
        fs::write(self.0.join("cur").join(format!("1.{token}.story:2,")), text).expect("it is written");
    }
}

/// As in the name, without what mbsync adds to it.
fn flags(path: &Path) -> String {
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    name.split(":2,").nth(1).unwrap_or_default().to_owned()
}
