//! `pollux cluster verify`: what the data nodes found when they looked at what they hold, as JSON and as text.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::cluster::bodies::{Trouble, WrongBody};
use crate::cluster::verify::{Looked, NodeVerified, Verification};
use crate::mail::ids::{AccountId, MailboxId};
use crate::state::digest::Group as StateGroup;
use crate::state::naming::{Mention, NamedGroup};

/// Groups that are named of one node; of further ones there is the number alone.
const GROUPS_NAMED_MAX: usize = 1_000;
/// Lines of text about one node.
const LINES_MAX: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// All data nodes answered, and nothing was wrong anywhere.
    pub equal: bool,
    pub nodes: Vec<Node>,
    /// They differ between nodes each of which agrees with itself.
    pub disputed: Vec<Group>,
    pub rebuild: Option<Rebuild>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: u64,
    pub name: String,
    /// Why nothing is known of it; then nothing below means anything.
    pub unasked: Option<String>,
    /// The entry of the log behind which it looked.
    pub entry: u64,
    pub groups: u64,
    pub rows: u64,
    /// Groups that are not what was applied there, the first thousand, and how many there are.
    pub wrong: Vec<Group>,
    pub wrong_groups: u64,
    /// Why its rows cannot all be read.
    pub damaged: Option<String>,
    pub bodies: u64,
    pub bodies_read_bytes: u64,
    pub wrong_bodies: Vec<Body>,
    /// Further ones, and how many of them were mended.
    pub wrong_bodies_unnamed: u64,
    pub mended_bodies_unnamed: u64,
    /// Why not all bodies were looked at.
    pub bodies_unseen: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// `mailbox`, `account` or `table`.
    pub kind: String,
    pub id: u64,
    pub user: Option<String>,
    pub mailbox: Option<String>,
    pub words: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    pub id: String,
    /// `missing` or `rotten`.
    pub trouble: String,
    pub mended: bool,
    pub named_by: Vec<String>,
}

/// A node that has its rows anew when it is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuild {
    pub node: String,
    pub from: String,
    /// Why it could not be told.
    pub untold: Option<String>,
}

impl From<Verification> for Report {
    fn from(verification: Verification) -> Self {
        Report {
            equal: verification.is_equal(),
            nodes: verification.nodes.into_iter().map(node).collect(),
            disputed: verification.disputed.iter().take(GROUPS_NAMED_MAX).map(group).collect(),
            rebuild: verification.rebuild.map(|rebuild| Rebuild {
                node: rebuild.node,
                from: rebuild.from,
                untold: rebuild.untold,
            }),
        }
    }
}

fn node(verified: NodeVerified) -> Node {
    let (looked, unasked) = match verified.looked {
        Ok(looked) => (Some(looked), None),
        Err(why) => (None, Some(why)),
    };
    let of = |figure: fn(&Looked) -> u64| looked.as_ref().map_or(0, figure);
    let bodies = looked.iter().flat_map(|looked| looked.bodies.wrong.iter().map(|wrong| body(wrong, looked)));
    Node {
        id: verified.node.0,
        name: verified.name,
        unasked,
        entry: of(|looked| looked.index.0),
        groups: of(|looked| looked.groups),
        rows: of(|looked| looked.rows),
        wrong: looked.iter().flat_map(|it| it.wrong.iter().take(GROUPS_NAMED_MAX).map(group)).collect(),
        wrong_groups: of(|looked| looked.wrong.len() as u64),
        damaged: looked.as_ref().and_then(|looked| looked.damaged.clone()),
        bodies: of(|looked| looked.bodies.bodies),
        bodies_read_bytes: of(|looked| looked.bodies.bytes),
        wrong_bodies: bodies.collect(),
        wrong_bodies_unnamed: of(|looked| looked.bodies.wrong_unnamed),
        mended_bodies_unnamed: of(|looked| looked.bodies.mended_unnamed),
        bodies_unseen: looked.as_ref().and_then(|looked| looked.bodies_unseen.clone()),
    }
}

fn group(named: &NamedGroup) -> Group {
    let (kind, id) = match named.group {
        StateGroup::Mailbox(MailboxId(id)) => ("mailbox", id),
        StateGroup::Account(AccountId(id)) => ("account", id),
        StateGroup::Table(table) => ("table", u64::from(table)),
    };
    Group {
        kind: kind.to_owned(),
        id,
        user: named.user.clone(),
        mailbox: named.mailbox.clone(),
        words: named.to_string(),
    }
}

fn body(wrong: &WrongBody, looked: &Looked) -> Body {
    let trouble = match wrong.trouble {
        Trouble::Missing => "missing",
        Trouble::Rotten => "rotten",
    };
    let mentions = looked.mentions.get(&wrong.id).map(Vec::as_slice).unwrap_or_default();
    Body {
        id: wrong.id.to_string(),
        trouble: trouble.to_owned(),
        mended: wrong.mended,
        named_by: mentions.iter().map(Mention::to_string).collect(),
    }
}

/// For people.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for node in &report.nodes {
        let mut lines = about(node);
        let more = lines.len().saturating_sub(LINES_MAX);
        lines.truncate(LINES_MAX);
        if more > 0 {
            lines.push(format!("and {more} more; --json has them"));
        }
        for line in lines {
            let _ = writeln!(text, "{}: {line}", node.name);
        }
    }
    for group in &report.disputed {
        let _ = writeln!(text, "{} differs, and each node agrees with itself", group.words);
    }
    let _ = writeln!(text, "{}", conclusion(report));
    text
}

fn about(node: &Node) -> Vec<String> {
    if let Some(why) = &node.unasked {
        return vec![format!("nothing is known of it: {why}")];
    }
    let mut lines: Vec<String> =
        node.damaged.iter().map(|why| format!("its rows are damaged: {why}")).collect();
    lines.extend(node.wrong.iter().map(|group| format!("{} is not what was applied there", group.words)));
    let unnamed = node.wrong_groups.saturating_sub(node.wrong.len() as u64);
    if unnamed > 0 {
        lines.push(format!("and {unnamed} further groups of rows"));
    }
    if lines.is_empty() {
        lines
            .push(format!("{} rows in {} groups add up, as of entry {}", node.rows, node.groups, node.entry));
    }
    if let Some(why) = &node.bodies_unseen {
        lines.push(format!("its bodies could not all be looked at: {why}"));
    }
    for body in &node.wrong_bodies {
        let named_by = match body.named_by.is_empty() {
            true => String::new(),
            false => format!(" ({})", body.named_by.join(", ")),
        };
        let fate = if body.mended { "mended from another node" } else { "on no other node that answers" };
        lines.push(format!("the body {} was {}: {fate}{named_by}", body.id, body.trouble));
    }
    if node.wrong_bodies_unnamed > 0 {
        let (more, mended) = (node.wrong_bodies_unnamed, node.mended_bodies_unnamed);
        lines.push(format!("and {more} further bodies, {mended} of them mended"));
    }
    if node.wrong_bodies.is_empty() && node.bodies_unseen.is_none() && node.damaged.is_none() {
        let seen = if node.bodies_read_bytes > 0 { "were read and are right" } else { "are there" };
        lines.push(format!("{} bodies {seen}", node.bodies));
    }
    lines
}

/// What to do next.
fn conclusion(report: &Report) -> String {
    let unsound = |node: &&Node| node.wrong_groups > 0 || node.damaged.is_some();
    match &report.rebuild {
        Some(Rebuild { node, from, untold: None }) => {
            return format!(
                "{node} ends now, and once started again (systemd does that) has its rows anew from {from} or its log: then \
                 verify again."
            );
        }
        Some(Rebuild { node, untold: Some(why), .. }) => {
            return format!("{node} could not be told to have its rows anew ({why}): verify again.");
        }
        None => {}
    }
    if !report.disputed.is_empty() {
        return "Nobody can tell which node is right: choose one, 'pollux cluster remove' the other, empty its folder and join \
                it anew."
            .to_owned();
    }
    if let Some(node) = report.nodes.iter().find(unsound) {
        return format!(
            "No data node that is in sync can give {} its rows: bring one up ('pollux cluster status'), and verify again.",
            node.name
        );
    }
    if let Some(node) = report.nodes.iter().find(|node| node.unasked.is_some()) {
        return format!("{} was not looked at: see 'pollux cluster status', and verify again.", node.name);
    }
    let unmended = |node: &&Node| {
        node.wrong_bodies.iter().any(|body| !body.mended)
            || node.wrong_bodies_unnamed > node.mended_bodies_unnamed
            || node.bodies_unseen.is_some()
    };
    match report.nodes.iter().find(unmended) {
        Some(node) => format!(
            "Not all bodies of {} could be mended: start all data nodes and verify again; what is on none of them is in a \
             backup, or lost.",
            node.name
        ),
        None if report.equal => "All data nodes hold the same.".to_owned(),
        None => "What was wrong is mended: verify again to see it.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            id: 1,
            name: name.to_owned(),
            unasked: None,
            entry: 789,
            groups: 12,
            rows: 345,
            wrong: Vec::new(),
            wrong_groups: 0,
            damaged: None,
            bodies: 67,
            bodies_read_bytes: 0,
            wrong_bodies: Vec::new(),
            wrong_bodies_unnamed: 0,
            mended_bodies_unnamed: 0,
            bodies_unseen: None,
        }
    }

    fn report(spoil: impl FnOnce(&mut Report)) -> String {
        let nodes = vec![node("node1"), node("node2")];
        let mut report = Report { equal: true, nodes, disputed: Vec::new(), rebuild: None };
        spoil(&mut report);
        render(&report)
    }

    fn inbox() -> Group {
        let (user, mailbox) = (Some("alice".to_owned()), Some("INBOX".to_owned()));
        let words = "mailbox INBOX of alice".to_owned();
        Group { kind: "mailbox".to_owned(), id: 7, user, mailbox, words }
    }

    #[test]
    fn equal_nodes() {
        let shown = report(|_| {});
        let expected = "node1: 345 rows in 12 groups add up, as of entry 789\nnode1: 67 bodies are there\n\
                        node2: 345 rows in 12 groups add up, as of entry 789\nnode2: 67 bodies are there\n\
                        All data nodes hold the same.\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_do() {
        let shown = report(|report| {
            report.equal = false;
            (report.nodes[1].wrong, report.nodes[1].wrong_groups) = (vec![inbox()], 1);
            let (node, from) = ("node2".to_owned(), "node1".to_owned());
            report.rebuild = Some(Rebuild { node, from, untold: None });
        });
        assert!(shown.contains("node2: mailbox INBOX of alice is not what was applied there\n"), "{shown}");
        assert!(shown.ends_with("from node1 or its log: then verify again.\n"), "{shown}");
        let rotten = |mended| Body {
            id: "ab".to_owned(),
            trouble: "rotten".to_owned(),
            mended,
            named_by: vec!["UID 5 in INBOX of alice".to_owned()],
        };
        type Spoil = fn(&mut Report);
        let spoilt: [(Spoil, &str); 5] = [
            (|it| it.disputed.push(inbox()), "choose one, 'pollux cluster remove' the other"),
            (|it| it.nodes[0].unasked = Some("it does not answer".to_owned()), "node1 was not looked at"),
            (|it| it.nodes[0].damaged = Some("a row".to_owned()), "No data node that is in sync"),
            (|it| it.nodes[0].bodies_unseen = Some("the disk".to_owned()), "Not all bodies of node1"),
            (|_| {}, "What was wrong is mended"),
        ];
        for (spoil, said) in spoilt {
            let shown = report(|report| {
                report.equal = false;
                spoil(report);
            });
            assert!(shown.lines().last().is_some_and(|last| last.contains(said)), "{shown}");
        }
        let shown = report(|report| {
            report.equal = false;
            report.nodes[1].wrong_bodies = vec![rotten(true), rotten(false)];
        });
        let line = "node2: the body ab was rotten: mended from another node (UID 5 in INBOX of alice)\n";
        assert!(shown.contains(line) && shown.contains("Not all bodies of node2"), "{shown}");
    }

    #[test]
    fn of_much_that_is_wrong_some_is_shown() {
        let shown = report(|report| {
            report.nodes[1].wrong = vec![inbox(); LINES_MAX + 5];
            report.nodes[1].wrong_groups = 2_000;
        });
        assert!(shown.contains("node2: and 7 more; --json has them\n"), "{shown}");
        assert_eq!(shown.lines().filter(|line| line.contains("of alice")).count(), LINES_MAX);
    }
}
