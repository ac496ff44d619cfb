//! Steps that the cases of known bugs share: who is cut off, what a client is told, whether all nodes agree.

use std::io;

use crate::checker::{self, Contents};
use crate::cluster::{Cluster, password};
use crate::imap::{Imap, Selected};
use crate::ledger::{message, token_of};
use crate::wait::eventually;

/// A logged-in session on `nodes[at]`. Waits until the node lets the user in.
pub fn session(cluster: &Cluster, at: usize, user: &str) -> Imap {
    eventually("IMAP lets the user in", || Imap::login(cluster.nodes[at].imap(), user, &password(user)).ok())
}

/// The node hears no other and none hears it. `Lab::heal` ends it.
pub fn isolate(cluster: &mut Cluster, at: usize) {
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.address.to_string()).collect();
    for other in (0..addresses.len()).filter(|other| *other != at) {
        cluster.lab.cut(&addresses[at], &addresses[other]);
    }
}

/// The node that leads and the data node that follows it.
pub fn leader_and_follower(cluster: &Cluster) -> (usize, usize) {
    let leader = cluster.leader();
    (leader, cluster.peer_of(leader))
}

/// Gives each command to the session; panics at the first that is not answered with OK.
pub fn run(imap: &mut Imap, commands: &[&str]) {
    for command in commands {
        imap.command(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

/// Appends one message for each token and returns their UIDs.
pub fn append_all(imap: &mut Imap, mailbox: &str, tokens: &[&str]) -> Vec<u32> {
    let append = |token: &&str| {
        imap.append(mailbox, &message(token, 200)).unwrap_or_else(|error| panic!("append {token}: {error}"))
    };
    tokens.iter().map(append).collect()
}

/// The answer is no, and it says that it is not for good (RFC 5530: UNAVAILABLE).
pub fn must_be_temporary<T: std::fmt::Debug>(answer: io::Result<T>) {
    let error = answer.expect_err("a node without a majority must not say OK");
    let text = error.to_string();
    assert!(error.kind() == io::ErrorKind::PermissionDenied, "an answer, not a broken connection: {text}");
    assert!(text.starts_with("NO [UNAVAILABLE]"), "temporary, not: {text}");
}

/// Waits until all have caught up; panics unless both data nodes show the same. Returns it.
pub fn agreed(cluster: &Cluster) -> Contents {
    cluster.wait_until_caught_up();
    let mut nodes = cluster
        .data_nodes()
        .iter()
        .map(|node| eventually("a node can be read back", || checker::read(node).ok()));
    let (one, other) = (nodes.next().expect("two data nodes"), nodes.next().expect("two data nodes"));
    let mut wrong = Vec::new();
    checker::compare(&one, &other, &mut wrong);
    assert!(wrong.is_empty(), "the nodes differ: {wrong:#?}");
    one
}

/// The tokens in one mailbox, in the order of UIDs; `None`: there is no such mailbox.
pub fn tokens(contents: &Contents, user: &str, mailbox: &str) -> Option<Vec<String>> {
    let mailbox = contents.get(&(user.to_string(), mailbox.to_string()))?;
    Some(mailbox.messages.iter().map(|message| token_of(&message.body).unwrap_or_default()).collect())
}

/// What SELECT says of a mailbox that must be there.
pub fn selected<'a>(contents: &'a Contents, user: &str, mailbox: &str) -> &'a Selected {
    let place = (user.to_string(), mailbox.to_string());
    &contents.get(&place).unwrap_or_else(|| panic!("{place:?} is not there")).selected
}

/// The names that LIST or LSUB shows, sorted, each with its attributes: `(\HasChildren) Parent`.
pub fn listed(imap: &mut Imap, command: &str) -> Vec<String> {
    let (rows, _) = imap.command(&format!("{command} \"\" *")).expect("LIST answers");
    let name = |text: &str| {
        let rest = text.strip_prefix(&format!("* {command} "))?;
        let (attributes, name) = rest.split_once(" \"/\" ")?;
        Some(format!("{attributes} {}", name.trim_matches('"')))
    };
    let mut names: Vec<String> = rows.iter().filter_map(|row| name(&row.text)).collect();
    names.sort();
    names
}

/// The names alone.
pub fn names(imap: &mut Imap, command: &str) -> Vec<String> {
    let name = |row: String| row.split_once(") ").map(|(_, name)| name.to_string()).unwrap_or(row);
    listed(imap, command).into_iter().map(name).collect()
}

/// Entries kept where [`keep_a_short_log`] prepared the nodes.
pub const SHORT_LOG_ENTRIES: u32 = 100;

/// For `Cluster::start_with`: whoever was away for [`outgrow_the_log`] needs a snapshot.
pub fn keep_a_short_log(node: &crate::node::Node) {
    let path = node.dir.join("pollux.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration was written");
    let kept = format!("[raft]\nlog_entries_kept = {SHORT_LOG_ENTRIES}\n");
    let text = match text.split_once("[raft]\n") {
        Some((before, after)) => format!("{before}{kept}{after}"),
        None => format!("{text}\n{kept}"),
    };
    std::fs::write(&path, text).expect("the configuration can be written");
}

/// Makes more entries than a short log keeps. Leaves everything as it was but the log.
pub fn outgrow_the_log(imap: &mut Imap) {
    for _ in 0..2 * SHORT_LOG_ENTRIES {
        run(imap, &["SUBSCRIBE Filler", "UNSUBSCRIBE Filler"]);
    }
}
