//! LSUB (RFC 3501 6.3.9).

use std::collections::{BTreeMap, BTreeSet};

use super::names::{Patterns, superiors};
use super::{too_many_wildcards, write_name};
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::question::{Answer, Question};

pub struct Lsub {
    pub reference: String,
    pub pattern: String,
}

impl Task for Lsub {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        let names = match answer {
            None if self.pattern.is_empty() => {
                io.out.extend_from_slice(b"* LSUB (\\Noselect) \"/\" \"\"\r\n");
                return Next::Done(Reply::ok("That is the separator"));
            }
            None => return Next::Ask(Question::Subscriptions(core.account())),
            Some(Answer::Names(names)) => names,
            Some(other) => return Next::Done(Reply::unexpected(Some(other))),
        };
        let Some(pattern) = Patterns::new(&self.reference, [&self.pattern]) else {
            return too_many_wildcards();
        };
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        // RFC 3501 6.3.9: with `%`, a name that is not subscribed stands for its subscribed inferiors.
        let mut shown: BTreeMap<&str, bool> = BTreeMap::new();
        for name in &names {
            if pattern.mean(name) {
                shown.insert(name, true);
            } else if self.pattern.ends_with('%') {
                for superior in superiors(name).filter(|superior| pattern.mean(superior)) {
                    shown.entry(superior).or_insert(names.contains(superior));
                }
            }
        }
        for (name, subscribed) in shown {
            let attributes: &[&str] = if subscribed { &[] } else { &["\\Noselect"] };
            write_name("LSUB", (name, core.names), attributes, io.out);
            io.out.extend_from_slice(b"\r\n");
        }
        Next::Done(Reply::ok("Listed"))
    }
}
