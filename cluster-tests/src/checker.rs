//! Reads every node back and holds it against the ledger, and against what was seen before.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, USERS, password};
use crate::imap::{Fetched, Imap, Selected};
use crate::ledger::{Fate, Ledger, Message, token_of};
use crate::verdict::ends::Counted;
use crate::wait::eventually;

/// One mailbox as one node shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    pub selected: Selected,
    pub messages: Vec<Fetched>,
}

/// `(user, mailbox)`.
pub type Place = (String, String);

/// Everything one node shows.
pub type Contents = BTreeMap<Place, Mailbox>;

/// Remembers across checks, so that nothing that must only ascend goes back.
#[derive(Default)]
pub struct Checker {
    before: Contents,
    /// `(user, mailbox, uidvalidity, uid)` to the token it was first seen with: a UID never names another message.
    uids: BTreeMap<(String, String, u32, u32), String>,
}

impl Checker {
    /// Panics, with all that is wrong, unless all data nodes show the same and it is what was acknowledged.
    pub fn check(&mut self, cluster: &Cluster, ledger: &Ledger) {
        let nodes: Vec<Contents> = cluster
            .data_nodes()
            .iter()
            .map(|node| eventually("a node can be read back", || read(node).ok()))
            .collect();
        let mut wrong = Vec::new();
        nodes[1..].iter().for_each(|other| compare(&nodes[0], other, &mut wrong));
        hold_against(&ledger.snapshot(), &nodes[0], &mut wrong);
        self.hold_against_before(&nodes[0], &mut wrong);
        let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        assert!(wrong.is_empty(), "{} things are wrong:\n{shown}", wrong.len());
        self.before = nodes.into_iter().next().expect("there is a data node");
    }

    /// Monotone: UIDVALIDITY stays, UIDNEXT and MODSEQ never go back, a UID keeps its message.
    pub fn hold_against_before(&mut self, now: &Contents, wrong: &mut Vec<String>) {
        for (place, mailbox) in now {
            if let Some(before) = self.before.get(place) {
                let (then, now) = (&before.selected, &mailbox.selected);
                if then.uid_validity != now.uid_validity {
                    wrong.push(format!(
                        "{place:?}: UIDVALIDITY {} became {}",
                        then.uid_validity, now.uid_validity
                    ));
                }
                if now.uid_next < then.uid_next || now.highest_modseq < then.highest_modseq {
                    wrong.push(format!("{place:?}: UIDNEXT or HIGHESTMODSEQ went back: {then:?} {now:?}"));
                }
            }
            for message in &mailbox.messages {
                let token = token_of(&message.body).unwrap_or_default();
                let key = (place.0.clone(), place.1.clone(), mailbox.selected.uid_validity, message.uid);
                let first = self.uids.entry(key).or_insert_with(|| token.clone());
                if *first != token {
                    wrong.push(format!("{place:?}: UID {} was {first}, is {token}", message.uid));
                }
                if message.uid >= mailbox.selected.uid_next
                    || message.modseq > mailbox.selected.highest_modseq
                {
                    wrong.push(format!("{place:?}: {} is beyond UIDNEXT or HIGHESTMODSEQ", message.uid));
                }
            }
        }
    }
}

/// Reads all mailboxes of all users from one node.
pub fn read(node: &crate::node::Node) -> std::io::Result<Contents> {
    let mut contents = Contents::new();
    for user in USERS {
        contents.extend(read_user(node, user)?);
    }
    Ok(contents)
}

/// The same of one user.
pub fn read_user(node: &crate::node::Node, user: &str) -> std::io::Result<Contents> {
    let mut contents = Contents::new();
    let mut imap = Imap::login(node.imap(), user, &password(user))?;
    let (listed, _) = imap.command("LIST \"\" *")?;
    let names = listed.iter().filter(|row| !row.text.contains("\\Noselect"));
    for name in names.filter_map(|row| row.text.rsplit_once("\"/\" ").map(|(_, name)| name.trim_matches('"')))
    {
        let selected = imap.select(name)?;
        let messages = if selected.exists > 0 { imap.fetch_all()? } else { Vec::new() };
        if messages.len() != selected.exists as usize {
            let lost = format!("{user} {name}: EXISTS {} but FETCH gave {}", selected.exists, messages.len());
            return Err(std::io::Error::other(lost));
        }
        contents.insert((user.to_string(), name.to_string()), Mailbox { selected, messages });
    }
    Ok(contents)
}

/// What STATUS says of a mailbox on a node.
pub fn status(node: &crate::node::Node, user: &str, mailbox: &str) -> std::io::Result<Counted> {
    let mut imap = Imap::login(node.imap(), user, &password(user))?;
    let line = format!("STATUS \"{mailbox}\" (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)");
    let (untagged, _) = imap.command(&line)?;
    let text = untagged.into_iter().map(|response| response.text).find(|text| text.starts_with("* STATUS"));
    let text = text.ok_or_else(|| std::io::Error::other("no STATUS"))?;
    let number = |name: &str| -> std::io::Result<u64> {
        let rest = text.split_once(&format!("{name} ")).map(|(_, rest)| rest);
        let digits =
            rest.and_then(|rest| rest.split([' ', ')']).next()).and_then(|digits| digits.parse().ok());
        digits.ok_or_else(|| std::io::Error::other(format!("no {name} in {text}")))
    };
    let small = |name: &str| Ok::<u32, std::io::Error>(u32::try_from(number(name)?).unwrap_or(u32::MAX));
    Ok(Counted {
        messages: small("MESSAGES")?,
        unseen: small("UNSEEN")?,
        next: small("UIDNEXT")?,
        validity: small("UIDVALIDITY")?,
        modseq: number("HIGHESTMODSEQ")?,
    })
}

/// How many messages a node lists over all mailboxes, whether or not it has their bodies.
pub fn listed(node: &crate::node::Node) -> usize {
    let count = |user: &str| -> std::io::Result<usize> {
        let mut imap = Imap::login(node.imap(), user, &password(user))?;
        let mut total = 0;
        for name in ["INBOX", "Archive"] {
            total += imap.select(name)?.exists as usize;
        }
        Ok(total)
    };
    USERS.iter().map(|user| eventually("a node lists its mailboxes", || count(user).ok())).sum()
}

/// What differs between two nodes.
pub fn compare(one: &Contents, other: &Contents, wrong: &mut Vec<String>) {
    let places: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    for place in places {
        match (one.get(place), other.get(place)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => {
                let uids =
                    |mailbox: &Mailbox| mailbox.messages.iter().map(|m| m.uid).collect::<BTreeSet<_>>();
                let difference: Vec<_> = uids(a).symmetric_difference(&uids(b)).copied().take(10).collect();
                wrong.push(format!(
                    "{place:?} differs: {:?} and {:?}; UIDs on one only: {difference:?}",
                    a.selected, b.selected
                ));
            }
            (a, _) => wrong.push(format!(
                "{place:?} is only on the {} node",
                if a.is_some() { "first" } else { "second" }
            )),
        }
    }
}

/// Each acknowledged message exactly once, each unknown at most once, none that was refused or expunged; bodies and flags as acknowledged.
pub fn hold_against(ledger: &BTreeMap<String, Message>, contents: &Contents, wrong: &mut Vec<String>) {
    let mut found: BTreeMap<String, Vec<(&Place, &Fetched)>> = BTreeMap::new();
    for (place, mailbox) in contents {
        for message in &mailbox.messages {
            found.entry(token_of(&message.body).unwrap_or_default()).or_default().push((place, message));
        }
    }
    for (token, message) in ledger {
        let copies = found.remove(token).unwrap_or_default();
        let (least, most) = expected_copies(message);
        if copies.len() < least || copies.len() > most {
            wrong.push(format!(
                "{token} ({:?}, expunged {:?}) is there {} times, not {least} to {most}",
                message.fate,
                message.expunged,
                copies.len()
            ));
        }
        for (place, copy) in copies {
            hold_copy_against(token, message, place, copy, wrong);
        }
    }
    wrong.extend(found.into_keys().map(|token| format!("`{token}` is there, but nobody sent it")));
}

fn expected_copies(message: &Message) -> (usize, usize) {
    match (message.fate, message.expunged) {
        (Fate::Refused, _) => (0, 0),
        (Fate::Acknowledged, None) => (1, 1),
        (_, Some(Fate::Acknowledged)) => (0, 0),
        (Fate::Acknowledged, Some(Fate::Refused)) => (1, 1),
        (Fate::Acknowledged, Some(Fate::Unknown)) | (Fate::Unknown, _) => (0, 1),
    }
}

fn hold_copy_against(token: &str, message: &Message, place: &Place, copy: &Fetched, wrong: &mut Vec<String>) {
    if *place != (message.user.clone(), message.mailbox.clone()) {
        wrong.push(format!("{token} is in {place:?}, not in {} {}", message.user, message.mailbox));
    }
    if !copy.body.ends_with(&message.content) {
        wrong.push(format!("{token}: its {} octets are not what was sent", copy.body.len()));
    }
    if message.uid.is_some_and(|uid| uid != copy.uid) {
        wrong.push(format!("{token} has UID {}, APPENDUID said {:?}", copy.uid, message.uid));
    }
    match &message.flags {
        Some(flags) if !message.flags_unknown && *flags != copy.flags => {
            wrong.push(format!("{token} has flags {:?}, acknowledged were {flags:?}", copy.flags));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::message;

    fn sent(fate: Fate) -> Message {
        Message::new("alice", "INBOX", fate, message("t1", 10))
    }

    fn shown(copies: u32) -> Contents {
        let fetched = |uid| Fetched { uid, flags: vec![], modseq: 1, body: message("t1", 10) };
        let selected = Selected { exists: copies, uid_validity: 1, uid_next: copies + 1, highest_modseq: 1 };
        let mailbox = Mailbox { selected, messages: (1..=copies).map(fetched).collect() };
        BTreeMap::from([(("alice".to_string(), "INBOX".to_string()), mailbox)])
    }

    fn faults(message: Message, contents: &Contents) -> usize {
        let mut wrong = Vec::new();
        hold_against(&BTreeMap::from([("t1".to_string(), message)]), contents, &mut wrong);
        wrong.len()
    }

    #[test]
    fn the_checker_rejects_what_it_must_reject() {
        assert_eq!(faults(sent(Fate::Acknowledged), &shown(1)), 0);
        assert_eq!(faults(sent(Fate::Acknowledged), &shown(0)), 1, "lost");
        assert_eq!(faults(sent(Fate::Acknowledged), &shown(2)), 1, "twice");
        assert_eq!(faults(sent(Fate::Unknown), &shown(0)), 0);
        assert_eq!(faults(sent(Fate::Unknown), &shown(2)), 1, "twice");
        assert_eq!(faults(sent(Fate::Refused), &shown(1)), 1, "refused, yet there");
        let expunged = Message { expunged: Some(Fate::Acknowledged), ..sent(Fate::Acknowledged) };
        assert_eq!(faults(expunged, &shown(1)), 1, "came back");
        let altered = Message { content: message("t1", 11), ..sent(Fate::Acknowledged) };
        assert_eq!(faults(altered, &shown(1)), 1, "other bytes");
        let flagged = Message { flags: Some(vec!["\\Seen".into()]), ..sent(Fate::Acknowledged) };
        assert_eq!(faults(flagged, &shown(1)), 1, "a flag lost");
        let elsewhere = Message { mailbox: "Sent".into(), ..sent(Fate::Acknowledged) };
        assert_eq!(faults(elsewhere, &shown(1)), 1, "in another mailbox");
    }

    #[test]
    fn the_checker_rejects_what_goes_back() {
        let mut checker = Checker { before: shown(2), ..Checker::default() };
        let mut wrong = Vec::new();
        checker.hold_against_before(&shown(1), &mut wrong);
        assert_eq!(wrong.len(), 1, "UIDNEXT went back");
        let mut differ = Vec::new();
        compare(&shown(1), &shown(2), &mut differ);
        assert_eq!(differ.len(), 1);
    }
}
