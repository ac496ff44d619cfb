//! At the end: all nodes show the same, and what is counted agrees with what is there.

use std::collections::BTreeMap;

use super::{Rule, Violation};
use crate::checker::{self, Contents};
use crate::clients::content_of;
use crate::imap::Fetched;
use crate::ledger::token_of;

pub fn judge(shown: &[(String, Contents)], wrong: &mut Vec<Violation>) {
    for pair in shown.windows(2) {
        let [(one, a), (other, b)] = pair else { continue };
        let mut differences = Vec::new();
        checker::compare(a, b, &mut differences);
        wrong.extend(
            differences
                .into_iter()
                .map(|what| Violation::new(Rule::Nodes, format!("{one}, {other}: {what}"))),
        );
    }
}

/// Of messages that the crowd sent, wherever they are.
pub fn judge_octets(shown: &[(String, Contents)], wrong: &mut Vec<Violation>) {
    for (node, contents) in shown {
        for ((user, name), mailbox) in contents {
            for message in &mailbox.messages {
                let token = token_of(&message.body).unwrap_or_default();
                if !content_of(&token).is_some_and(|content| message.body.ends_with(&content)) {
                    let what = format!("{node}: {token} in {user} {name}: its octets are not what was sent");
                    wrong.push(Violation::new(Rule::Altered, what));
                }
            }
        }
    }
}

/// What STATUS says of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub messages: u32,
    pub unseen: u32,
    pub next: u32,
    pub validity: u32,
    pub modseq: u64,
}

/// `status` gives what STATUS says of a user's mailbox, on the node that showed `contents`.
pub fn judge_counts(contents: &Contents, wrong: &mut Vec<Violation>, status: impl Fn(&str, &str) -> Counted) {
    for ((user, name), mailbox) in contents {
        let unseen = |message: &&Fetched| !message.flags.iter().any(|flag| flag == "\\Seen");
        let there = Counted {
            messages: u32::try_from(mailbox.messages.len()).unwrap_or(u32::MAX),
            unseen: u32::try_from(mailbox.messages.iter().filter(unseen).count()).unwrap_or(u32::MAX),
            next: mailbox.selected.uid_next,
            validity: mailbox.selected.uid_validity,
            modseq: mailbox.selected.highest_modseq,
        };
        let told = status(user, name);
        if told != there {
            let what = format!("{user} {name}: STATUS says {told:?}, there is {there:?}");
            wrong.push(Violation::new(Rule::Counts, what));
        }
    }
}

/// `used` gives the octets that the quota counts for a user.
pub fn judge_space(contents: &Contents, wrong: &mut Vec<Violation>, used: impl Fn(&str) -> u64) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for ((user, _), mailbox) in contents {
        let octets: usize = mailbox.messages.iter().map(|message| message.body.len()).sum();
        *sums.entry(user).or_default() += octets as u64;
    }
    for (user, there) in sums {
        let told = used(user);
        if told != there {
            let what = format!("{user}: the quota counts {told} octets, there are {there}");
            wrong.push(Violation::new(Rule::Counts, what));
        }
    }
}
