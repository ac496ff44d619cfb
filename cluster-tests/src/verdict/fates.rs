//! What must be there at the end, may be there, and must not: folded from the calls, held against the contents.
//!
//! Only calls on what one client writes alone are folded in full; flags of shared messages are judged in
//! [`super::order`]. An unknown call makes a fate a *perhaps*.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Tally, Violation};
use crate::checker::{Contents, Place};
use crate::clients::{changed, content_of};
use crate::history::{Call, End, Flags, Key, Op, Seen};
use crate::imap::Fetched;
use crate::ledger::token_of;

/// One copy of a message, as far as the calls tell.
#[derive(Debug, Clone)]
struct Copy {
    user: String,
    /// The mailbox; several while a move or a rename is unknown.
    mailboxes: Vec<String>,
    /// `None`: nobody was told.
    key: Option<Key>,
    sure: bool,
    /// What its flags may be. `None`: several write them, or nobody knows.
    flags: Option<Vec<Flags>>,
}

impl Copy {
    fn new((user, mailbox): (&str, &str), key: Option<Key>, sure: bool, flags: &[String]) -> Copy {
        let (user, mailboxes) = (user.to_string(), vec![mailbox.to_string()]);
        Copy { user, mailboxes, key, sure, flags: Some(vec![flags.to_vec()]) }
    }
}

/// Whether a mailbox that a client made is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    There,
    Perhaps,
    Gone,
}

#[derive(Default)]
struct Fold {
    copies: BTreeMap<String, Vec<Copy>>,
    mailboxes: BTreeMap<Place, Standing>,
    /// Messages that several clients change.
    shared: BTreeSet<Key>,
    /// Fate unknown from the first; whether it came by SMTP.
    unknown: BTreeMap<String, bool>,
}

pub fn judge(calls: &[Call], contents: &Contents, wrong: &mut Vec<Violation>, tally: &mut Tally) {
    let mut in_order: Vec<&Call> = calls.iter().collect();
    in_order.sort_by_key(|call| call.began_us);
    let mut fold = Fold { shared: shared(&in_order), ..Fold::default() };
    in_order.iter().for_each(|call| fold.take(call));
    for call in calls {
        if let End::Ok(Seen::Text { token, whole: false }) = &call.end {
            wrong.push(Violation::new(Rule::Altered, format!("POP3 gave `{token}` with other octets")));
        }
    }
    fold.judge_mailboxes(contents, wrong);
    fold.judge_messages(contents, wrong, tally);
}

/// Messages that more than one client writes.
fn shared(calls: &[&Call]) -> BTreeSet<Key> {
    let mut writer: BTreeMap<&Key, &str> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for call in calls {
        let key = match &call.op {
            Op::Store { key, .. } | Op::Expunge { key, .. } => key,
            _ => continue,
        };
        if *writer.entry(key).or_insert(&call.client) != call.client {
            shared.insert(key.clone());
        }
    }
    // Its maker may be a third.
    for call in calls {
        if let (Op::Append { user, .. }, End::Ok(Seen::At { validity, uid })) = (&call.op, &call.end) {
            let key = Key { user: user.clone(), validity: *validity, uid: *uid };
            if writer.get(&key).is_some_and(|writer| *writer != call.client) {
                shared.insert(key);
            }
        }
    }
    shared
}

impl Fold {
    fn take(&mut self, call: &Call) {
        let at = |user: &str| match &call.end {
            End::Ok(Seen::At { validity, uid }) => {
                Some(Key { user: user.to_string(), validity: *validity, uid: *uid })
            }
            _ => None,
        };
        let sure = match &call.end {
            End::Ok(_) => true,
            End::Unknown(_) => false,
            End::Refused(_) => return self.refused(call),
        };
        match &call.op {
            Op::Deliver { token, to, .. } => {
                to.iter().for_each(|user| self.add(token, Copy::new((user, "INBOX"), None, sure, &[])));
                self.note_unknown(token, sure, true);
            }
            Op::Append { user, mailbox, token, flags, .. } => {
                self.add(token, Copy::new((user, mailbox), at(user), sure, flags));
                self.note_unknown(token, sure, false);
            }
            Op::Copy { key, token, to, flags, .. } => {
                self.add(token, Copy::new((&key.user, to), at(&key.user), sure, flags));
            }
            Op::Move { key, token, to, .. } => self.moved((key, token), (to, at(&key.user)), sure),
            Op::Store { key, token, change, flags } => {
                let shared = self.shared.contains(key);
                self.change(token, key, |copy| match (&mut copy.flags, shared) {
                    (known, true) => *known = None,
                    (None, _) => {}
                    (Some(known), false) => {
                        let after: Vec<Flags> =
                            known.iter().map(|before| changed(before, *change, flags)).collect();
                        if sure {
                            *known = after;
                        } else {
                            known.extend(after);
                        }
                    }
                });
            }
            Op::Expunge { key, token } => {
                // Of a shared message another client's STORE may have taken \Deleted away again.
                let gone = call.end == End::Ok(Seen::Changed) && !self.shared.contains(key);
                self.remove(token, gone, |copy| copy.key.as_ref() == Some(key));
            }
            Op::Drop { user, tokens } => tokens.iter().for_each(|token| {
                self.remove(token, sure, |copy| copy.user == *user && copy.mailboxes == ["INBOX"]);
            }),
            Op::Create { user, mailbox } => self.stands(user, mailbox, sure, Standing::There),
            Op::Rename { user, from, to } => self.renamed(user, (from, to), sure),
            Op::Delete { user, mailbox } => {
                self.stands(user, mailbox, sure, Standing::Gone);
                let tokens: Vec<String> = self.copies.keys().cloned().collect();
                for token in tokens {
                    self.remove(&token, sure, |copy| copy.user == *user && copy.mailboxes.contains(mailbox));
                }
            }
            Op::Retrieve { .. }
            | Op::Look { .. }
            | Op::Tail { .. }
            | Op::Name { .. }
            | Op::Set { .. }
            | Op::Get { .. } => {}
        }
    }

    /// What was refused must not be there: its token is known, with no copy.
    fn refused(&mut self, call: &Call) {
        if let Op::Deliver { token, .. } | Op::Append { token, .. } = &call.op {
            self.copies.entry(token.clone()).or_default();
        }
    }

    fn note_unknown(&mut self, token: &str, sure: bool, by_smtp: bool) {
        if !sure {
            self.unknown.insert(token.to_string(), by_smtp);
        }
    }

    fn add(&mut self, token: &str, copy: Copy) {
        self.copies.entry(token.to_string()).or_default().push(copy);
    }

    fn change(&mut self, token: &str, key: &Key, change: impl Fn(&mut Copy)) {
        let copies = self.copies.get_mut(token).into_iter().flatten();
        copies.filter(|copy| copy.key.as_ref() == Some(key)).for_each(change);
    }

    fn remove(&mut self, token: &str, sure: bool, which: impl Fn(&Copy) -> bool) {
        let Some(copies) = self.copies.get_mut(token) else { return };
        match sure {
            // One that may be elsewhere may still be there.
            true => copies.retain(|copy| !which(copy) || copy.mailboxes.len() > 1),
            false => copies.iter_mut().filter(|copy| which(copy)).for_each(|copy| copy.sure = false),
        }
    }

    fn moved(&mut self, (from, token): (&Key, &str), (to, now): (&str, Option<Key>), sure: bool) {
        self.change(token, from, |copy| match sure {
            true => {
                copy.mailboxes = vec![to.to_string()];
                copy.key.clone_from(&now);
            }
            false => {
                copy.mailboxes.push(to.to_string());
                copy.key = None;
            }
        });
    }

    fn renamed(&mut self, user: &str, (from, to): (&str, &str), sure: bool) {
        self.stands(user, from, sure, Standing::Gone);
        self.stands(user, to, sure, Standing::There);
        for copy in self.copies.values_mut().flatten() {
            if copy.user == user && copy.mailboxes.iter().any(|mailbox| mailbox == from) {
                if sure {
                    copy.mailboxes.retain(|mailbox| mailbox != from);
                }
                copy.mailboxes.push(to.to_string());
            }
        }
    }

    fn stands(&mut self, user: &str, mailbox: &str, sure: bool, standing: Standing) {
        let standing = if sure { standing } else { Standing::Perhaps };
        self.mailboxes.insert((user.to_string(), mailbox.to_string()), standing);
    }

    fn judge_mailboxes(&self, contents: &Contents, wrong: &mut Vec<Violation>) {
        for (place, standing) in &self.mailboxes {
            let there = contents.contains_key(place);
            if (*standing == Standing::There && !there) || (*standing == Standing::Gone && there) {
                let what = format!("{place:?} should be {standing:?}, and is there: {there}");
                wrong.push(Violation::new(Rule::Mailbox, what));
            }
        }
    }

    fn judge_messages(&self, contents: &Contents, wrong: &mut Vec<Violation>, tally: &mut Tally) {
        let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for (place, mailbox) in contents {
            for message in &mailbox.messages {
                let (token, validity) =
                    (token_of(&message.body).unwrap_or_default(), mailbox.selected.uid_validity);
                let key = Key { user: place.0.clone(), validity, uid: message.uid };
                found.entry(token).or_default().push(Found { place, message, key });
            }
        }
        for (token, copies) in &self.copies {
            let there = found.remove(token).unwrap_or_default();
            tally.looked_for += copies.iter().filter(|copy| copy.sure).count();
            if let Some(by_smtp) = self.unknown.get(token) {
                let of = if *by_smtp { &mut tally.delivered } else { &mut tally.appended };
                of.all += 1;
                of.there += usize::from(!there.is_empty());
            }
            self.judge_message(token, copies, &there, wrong);
        }
        wrong.extend(
            found
                .into_keys()
                .map(|token| Violation::new(Rule::Ghost, format!("`{token}` is there, but nobody sent it"))),
        );
    }

    /// Gives each copy that is there to one that may be; what is left on either side is wrong.
    fn judge_message(&self, token: &str, copies: &[Copy], there: &[Found], wrong: &mut Vec<Violation>) {
        let content = content_of(token);
        let mut left: Vec<&Copy> = copies.iter().collect();
        // Told UIDs first, then sure ones, so that no perhaps takes the place of a must.
        left.sort_by_key(|copy| (copy.key.is_none(), !copy.sure));
        for found in there {
            let Some(at) = left.iter().position(|copy| found.may_be(copy)) else {
                let rule =
                    if copies.iter().any(|copy| found.may_be(copy)) { Rule::Duplicate } else { Rule::Ghost };
                let what =
                    format!("{token} is in {:?} as {:?}, and not expected there", found.place, found.key);
                wrong.push(Violation::new(rule, what));
                continue;
            };
            let copy = left.remove(at);
            if !content.as_ref().is_some_and(|content| found.message.body.ends_with(content)) {
                let what = format!("{token} in {:?}: its octets are not what was sent", found.place);
                wrong.push(Violation::new(Rule::Altered, what));
            }
            if let Some(known) = copy.flags.as_ref().filter(|_| !self.shared.contains(&found.key))
                && !known.contains(&found.message.flags)
            {
                let what = format!(
                    "{token} in {:?} has flags {:?}, acknowledged were {known:?}",
                    found.place, found.message.flags
                );
                wrong.push(Violation::new(Rule::Flags, what));
            }
        }
        for copy in left.into_iter().filter(|copy| copy.sure) {
            let what =
                format!("{token}, acknowledged, is not in {} {:?} {:?}", copy.user, copy.mailboxes, copy.key);
            wrong.push(Violation::new(Rule::Lost, what));
        }
    }
}

/// A message as it is at the end.
struct Found<'a> {
    place: &'a Place,
    message: &'a Fetched,
    key: Key,
}

impl Found<'_> {
    fn may_be(&self, copy: &Copy) -> bool {
        copy.user == self.place.0
            && copy.mailboxes.contains(&self.place.1)
            && copy.key.as_ref().is_none_or(|key| *key == self.key)
    }
}
