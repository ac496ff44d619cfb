//! The table. What is wrong stands first in words, then who is who, then what to do.

use std::fmt::Write;

use chrono::DateTime;

use super::{Alarm, LastBackup, Node, Protection, Report, SingleCopies, State, VirtualAddress};
use crate::config::Role;
use crate::mail::ids::Timestamp;

/// The whole answer of `pollux cluster status`, ending in a line feed.
pub fn render(report: &Report, now: Timestamp) -> String {
    let mut text = headline(report, now);
    text.push('\n');
    text.push_str(&table(&rows(report)));
    text.push('\n');
    for line in remarks(report)
        .into_iter()
        .chain(report.virtual_addresses.iter().map(on_address))
        .chain(scrubs(report, now))
        .chain(backup(report, now))
        .chain(alarms(report, now))
    {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn headline(report: &Report, now: Timestamp) -> String {
    let word = match report.protection {
        Protection::Protected => "PROTECTED",
        Protection::Degraded => "DEGRADED",
        Protection::Unavailable => "UNAVAILABLE",
    };
    let name = |id: u64| report.nodes.iter().find(|node| node.id == id).map_or("?", |node| &node.name);
    let leader = match report.leader {
        Some(leader) => format!("leader {} (term {})", name(leader), report.term),
        None => format!("no leader (term {})", report.term),
    };
    format!("{word} since {}{}, {leader}\n", report.since, age(&report.since, now))
}

fn on_address(it: &VirtualAddress) -> String {
    let VirtualAddress { address, holder, interface, why } = it;
    match (holder, interface) {
        (Some(holder), Some(interface)) => format!("Virtual address {address}: on {holder}, at {interface}."),
        _ => format!("Virtual address {address}: NOWHERE, {}.", why.as_deref().unwrap_or("nobody says why")),
    }
}

/// When each disk was last read through, and what came of it.
fn scrubs(report: &Report, now: Timestamp) -> Vec<String> {
    let told = report.nodes.iter().filter_map(|node| Some((node, node.scrub.as_ref()?)));
    told.filter_map(|(node, scrub)| {
        let began = scrub.began.as_ref()?;
        let way = if scrub.done { "" } else { ", under way" };
        let found = match (scrub.found, scrub.mended) {
            (0, _) => "nothing found".to_owned(),
            (found, mended) => format!("{found} damaged bodies found since its start, {mended} mended"),
        };
        Some(format!("Scrub of {}: began {began}{}{way}, {found}.", node.name, age(began, now)))
    })
    .collect()
}

fn backup(report: &Report, now: Timestamp) -> Option<String> {
    let LastBackup { id, of, by } = report.last_backup.as_ref()?;
    Some(format!("Last backup: {id} of {of}{}, made by {by}.", age(of, now)))
}

fn alarms(report: &Report, now: Timestamp) -> Vec<String> {
    let Some(alarms) = &report.alarms else {
        return vec!["Alarms are known to the data nodes alone: ask one of them.".to_owned()];
    };
    let line = |alarm: &Alarm| {
        let Alarm { kind, since, raised_by, note, .. } = alarm;
        format!("ALARM {kind} since {since}{}, seen by {raised_by}: {note}.", age(since, now))
    };
    alarms.iter().map(line).collect()
}

/// " (3 h 5 min)"; nothing if the clocks disagree.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = DateTime::parse_from_rfc3339(since) else { return String::new() };
    let seconds = now.0 as i64 / 1000 - since.timestamp();
    match seconds {
        ..0 => String::new(),
        0..60 => format!(" ({seconds} s)"),
        60..3_600 => format!(" ({} min)", seconds / 60),
        3_600..86_400 => format!(" ({} h {} min)", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!(" ({} d {} h)", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

type Row = [String; 7];

fn rows(report: &Report) -> Vec<Row> {
    let heading =
        ["NODE", "ROLE", "STATE", "BEHIND", "BODIES MISSING", "ADDRESS", "VERSION"].map(str::to_owned);
    std::iter::once(heading).chain(report.nodes.iter().map(row)).collect()
}

fn row(node: &Node) -> Row {
    let answered = node.state != State::Down;
    let count = |count: u64, unit: &str| match count {
        0 => "-".to_owned(),
        count => format!("{count}{unit}"),
    };
    let behind = if answered { count(node.lag_entries, " entries") } else { "?".to_owned() };
    let missing = match (node.role, answered) {
        (Role::Witness, _) => String::new(),
        (Role::Data, true) => count(node.bodies_missing, ""),
        (Role::Data, false) => "?".to_owned(),
    };
    let state = if answered { node.state.word() } else { "DOWN" };
    let state = match &node.drain {
        None => state.to_owned(),
        Some(drain) if drain.safe_to_switch_off || !answered => format!("{state}, drained"),
        Some(_) => format!("{state}, draining"),
    };
    let role = node.role.word().to_owned();
    [node.name.clone(), role, state, behind, missing, node.address.clone(), node.version.clone()]
}

fn table(rows: &[Row]) -> String {
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What the table means and what to do about it, most urgent first.
fn remarks(report: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    match report.protection {
        Protection::Protected => remarks.push("Any one node may fail: mail and service go on.".to_owned()),
        Protection::Degraded => {}
        Protection::Unavailable => remarks.push(format!(
            "No majority answers: mail can be read on {}, nothing can be changed. Start the nodes that are down.",
            report.answered_by
        )),
    }
    let alone = report.nodes.iter().filter(|node| node.role == Role::Data).count() < 2;
    if alone && report.protection != Protection::Protected {
        remarks.push("There is one data node only: add the second with 'pollux join-token'.".to_owned());
    } else if !report.nodes.iter().any(|node| node.role == Role::Witness) && report.nodes.len() < 3 {
        remarks.push(
            "There is no witness: if a node fails, the other cannot go on by itself. Add one with \
             'pollux join-token --role witness'."
                .to_owned(),
        );
    }
    remarks.extend(report.nodes.iter().filter_map(on_drained));
    remarks.extend(report.nodes.iter().filter_map(remark_on));
    remarks.extend(
        report.nodes.iter().filter_map(on_copies).filter(|_| report.protection != Protection::Protected),
    );
    remarks.extend(
        report
            .nodes
            .iter()
            .filter(|node| node.firewall_in_sync == Some(false) && node.state != State::Down)
            .map(|node| {
                format!(
                    "The firewall of {} is not as the rules say; see 'pollux firewall status'.",
                    node.name
                )
            }),
    );
    if let (true, Some(because)) = (remarks.is_empty(), &report.because) {
        remarks.push(format!("Not protected: {because}."));
    }
    remarks
}

fn on_drained(node: &Node) -> Option<String> {
    let name = &node.name;
    let drain = node.drain.as_ref()?;
    if node.state == State::Down {
        return Some(format!(
            "{name} is drained: once started it serves nobody until 'pollux cluster undrain {name}'."
        ));
    }
    Some(match &drain.waits_for {
        Some(waits_for) => format!("{name} serves no clients: it is being drained, {waits_for}."),
        None => format!(
            "{name} is drained and may be switched off; 'pollux cluster undrain {name}' brings it back to its clients."
        ),
    })
}

/// Where the second copy of new mail is while one data node alone is left.
fn on_copies(node: &Node) -> Option<String> {
    let name = &node.name;
    if let Some(SingleCopies { messages, why }) = &node.single_copies {
        return Some(format!("{messages} new messages are on {name} alone: {why}."));
    }
    let journal = node.journal.filter(|journal| journal.bytes > 0)?;
    let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
    Some(format!(
        "{name} keeps a second copy of new mail until another data node has it: {} MiB of the {} that it may.",
        mib(journal.bytes),
        mib(journal.bytes_max)
    ))
}

fn remark_on(node: &Node) -> Option<String> {
    let name = &node.name;
    match node.state {
        State::Down => {
            return Some(match &node.refused {
                Some(why) => format!("No connection with {name}: {why}."),
                None => {
                    format!("{name} does not answer: is it running, and can {} be reached?", node.address)
                }
            });
        }
        State::Learner => return Some(format!("{name} is catching up; it does not vote yet.")),
        State::Leader | State::Follower | State::Candidate => {}
    }
    if node.log_alarm {
        let mib = node.log_bytes / (1024 * 1024);
        return Some(format!(
            "{name} holds {mib} MiB of log for a node that is away: bring that one back or remove it."
        ));
    }
    if node.bodies_missing > 0 {
        let bodies = node.bodies_missing;
        return Some(format!("{name} fetches {bodies} messages that have one copy less until it has them."));
    }
    (!node.in_sync)
        .then(|| format!("{name} is behind: mail is acknowledged without its copy until it has caught up."))
}
