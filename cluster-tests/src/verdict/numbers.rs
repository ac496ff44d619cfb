//! UIDs, UIDVALIDITY, UIDNEXT and mod-sequences: they only ascend, and none ever means two things.

use std::collections::BTreeMap;

use super::{Rule, Violation};
use crate::checker::Contents;
use crate::history::{Call, End, Flags, Host, Key, Numbers, Op, Row, Seen};
use crate::ledger::token_of;

pub fn judge(calls: &[Call], shown: &[(String, Contents)], wrong: &mut Vec<Violation>) {
    let mut names = Names::default();
    let mut ascents = Ascents::default();
    for call in calls {
        names.take(call, wrong);
        ascents.take(call);
    }
    for (_, contents) in shown {
        for ((user, _), mailbox) in contents {
            for message in &mailbox.messages {
                let key =
                    Key { user: user.clone(), validity: mailbox.selected.uid_validity, uid: message.uid };
                let token = token_of(&message.body).unwrap_or_default();
                names.row(&key, &token, Some((&message.flags, message.modseq)), wrong);
            }
        }
    }
    ascents.judge(wrong);
}

/// What a UID named, and what a mod-sequence stood for, whoever saw it, wherever and whenever.
#[derive(Default)]
struct Names {
    tokens: BTreeMap<Key, String>,
    states: BTreeMap<(Key, u64), Flags>,
}

impl Names {
    fn take(&mut self, call: &Call, wrong: &mut Vec<Violation>) {
        let End::Ok(seen) = &call.end else { return };
        match (&call.op, seen) {
            (Op::Append { user, token, .. }, Seen::At { validity, uid }) => {
                let key = Key { user: user.clone(), validity: *validity, uid: *uid };
                self.row(&key, token, None, wrong);
            }
            (Op::Copy { key, token, .. } | Op::Move { key, token, .. }, Seen::At { validity, uid }) => {
                let key = Key { user: key.user.clone(), validity: *validity, uid: *uid };
                self.row(&key, token, None, wrong);
            }
            (Op::Look { key }, Seen::Message(Some(row))) => {
                self.row(key, &row.token, Some((&row.flags, row.modseq)), wrong);
            }
            (Op::Tail { user, .. }, Seen::Mailbox { numbers, rows }) => {
                for Row { uid, token, flags, modseq } in rows {
                    let key = Key { user: user.clone(), validity: numbers.validity, uid: *uid };
                    self.row(&key, token, Some((flags, *modseq)), wrong);
                }
            }
            _ => {}
        }
    }

    fn row(&mut self, key: &Key, token: &str, state: Option<(&Flags, u64)>, wrong: &mut Vec<Violation>) {
        let first = self.tokens.entry(key.clone()).or_insert_with(|| token.to_string());
        if first != token {
            wrong.push(Violation::new(Rule::Uid, format!("{key:?} was {first}, is {token}")));
        }
        let Some((flags, modseq)) = state else { return };
        let first = self.states.entry((key.clone(), modseq)).or_insert_with(|| flags.clone());
        if first != flags {
            let what = format!("{key:?} had flags {first:?} and {flags:?} under one mod-sequence, {modseq}");
            wrong.push(Violation::new(Rule::ModSeq, what));
        }
    }
}

/// Numbers that must not go back from a call to one that came after it.
#[derive(Default)]
struct Ascents {
    /// What is counted, for whom, and its sightings.
    lines: BTreeMap<(String, Option<Host>), Vec<Sighting>>,
}

struct Sighting {
    /// It came after what had ended by then.
    after_us: u64,
    ended_us: u64,
    number: u64,
    rise: Rise,
}

/// Whose sightings are compared: a node may be behind another, but not to who logs in there.
#[derive(Clone, Copy)]
enum Among {
    All,
    OneHost,
}

/// What a later number must do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rise {
    OrStay,
    Only,
}

impl Ascents {
    fn take(&mut self, call: &Call) {
        let End::Ok(seen) = &call.end else { return };
        match (&call.op, seen) {
            (Op::Append { user, mailbox, .. }, Seen::At { validity, uid }) => {
                let line = format!("UIDVALIDITY {user} {mailbox}");
                self.see(call, (line, Among::All), u64::from(*validity), Rise::OrStay);
                self.given(call, user, *validity, *uid);
            }
            (Op::Copy { key, .. } | Op::Move { key, .. }, Seen::At { validity, uid }) => {
                self.given(call, &key.user, *validity, *uid);
            }
            (Op::Look { key }, Seen::Message(Some(row))) => {
                self.see(call, (format!("MODSEQ {key:?}"), Among::OneHost), row.modseq, Rise::OrStay);
            }
            (Op::Tail { user, mailbox }, Seen::Mailbox { numbers, rows }) => {
                let Numbers { validity, next, modseq, .. } = numbers;
                let mut see = |line: String, number: u64| {
                    self.see(call, (line, Among::OneHost), number, Rise::OrStay);
                };
                see(format!("UIDVALIDITY {user} {mailbox}"), u64::from(*validity));
                see(format!("UIDNEXT {user} {validity}"), u64::from(*next));
                see(format!("HIGHESTMODSEQ {user} {validity}"), *modseq);
                for row in rows {
                    let key = Key { user: user.clone(), validity: *validity, uid: row.uid };
                    see(format!("MODSEQ {key:?}"), row.modseq);
                }
            }
            _ => {}
        }
    }

    /// A UID that a write was told. Writes of all clients through all nodes have one order.
    fn given(&mut self, call: &Call, user: &str, validity: u32, uid: u32) {
        self.see(call, (format!("UID {user} {validity}"), Among::All), u64::from(uid), Rise::Only);
        let line = format!("UIDNEXT {user} {validity}");
        self.see(call, (line, Among::OneHost), u64::from(uid) + 1, Rise::OrStay);
    }

    fn see(&mut self, call: &Call, (line, among): (String, Among), number: u64, rise: Rise) {
        let mut push = |line: String, host: Option<Host>, after_us: u64| {
            let sighting = Sighting { after_us, ended_us: call.ended_us, number, rise };
            self.lines.entry((line, host)).or_default().push(sighting);
        };
        match among {
            Among::All => push(line, None, call.began_us),
            Among::OneHost => {
                push(format!("{line} for who logs in"), None, call.current_us);
                push(line, Some(call.host.clone()), call.began_us);
            }
        }
    }

    fn judge(&self, wrong: &mut Vec<Violation>) {
        for ((line, host), sightings) in &self.lines {
            let mut by_end: Vec<&Sighting> = sightings.iter().collect();
            by_end.sort_by_key(|sighting| sighting.ended_us);
            let mut in_turn: Vec<&Sighting> = sightings.iter().collect();
            in_turn.sort_by_key(|sighting| sighting.after_us);
            let mut ended = by_end.into_iter().peekable();
            let mut floor: Option<u64> = None;
            for sighting in in_turn {
                while let Some(before) = ended.next_if(|before| before.ended_us < sighting.after_us) {
                    floor = floor.max(Some(before.number));
                }
                let back = floor.is_some_and(|floor| {
                    sighting.number < floor || (sighting.rise == Rise::Only && sighting.number == floor)
                });
                if back {
                    let what = format!(
                        "{line} at {host:?}: {} after {floor:?}, at {} us",
                        sighting.number, sighting.after_us
                    );
                    wrong.push(Violation::new(Rule::Ascent, what));
                }
            }
        }
    }
}
