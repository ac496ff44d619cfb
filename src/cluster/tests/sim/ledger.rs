//! What clients did to each mail, what they heard, and what a node may therefore show.

use std::collections::BTreeMap;

use crate::mail::ids::BodyId;

/// Whether something was done, as who asked for it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Done {
    #[default]
    No,
    Yes,
    /// It was asked for, and there was no answer, or not yet.
    Perhaps,
}

/// What became of a mail. One client alone changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    pub sent: Done,
    /// It has \Seen.
    pub seen: Done,
    /// It was moved there.
    pub archived: Done,
    pub expunged: Done,
}

/// A message as a node shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub body: BodyId,
    pub seen: bool,
    pub archived: bool,
}

#[derive(Default)]
pub struct Ledger {
    pub fates: BTreeMap<BodyId, Fate>,
    /// Flags, moves and expunges that were acknowledged.
    pub changes: u64,
}

impl Ledger {
    pub fn change(&mut self, body: BodyId, change: impl FnOnce(&mut Fate)) {
        change(self.fates.entry(body).or_default());
    }

    /// Mails that were acknowledged.
    pub fn acked(&self) -> usize {
        self.fates.values().filter(|fate| fate.sent == Done::Yes).count()
    }

    /// `before`: the fates as they stood before the node was asked to catch up. What a client was busy with since then
    /// decides nothing.
    pub fn judge(&self, node: u64, before: &BTreeMap<BodyId, Fate>, held: &[Held]) -> Result<(), String> {
        let mut found: BTreeMap<BodyId, Vec<&Held>> = BTreeMap::new();
        held.iter().for_each(|one| found.entry(one.body).or_default().push(one));
        if let Some((body, found)) = found.iter().find(|(_, found)| found.len() > 1) {
            return Err(format!("node {node} has the mail {body} {} times", found.len()));
        }
        if let Some(body) = found.keys().find(|body| !self.fates.contains_key(body)) {
            return Err(format!("node {node} has the mail {body} that nobody sent"));
        }
        for (body, fate) in before.iter().filter(|(body, fate)| self.fates.get(body) == Some(fate)) {
            let held = found.get(body).and_then(|found| found.first());
            judge_one(fate, held.copied()).map_err(|what| format!("node {node} {what} {body}"))?;
        }
        Ok(())
    }
}

fn judge_one(fate: &Fate, held: Option<&Held>) -> Result<(), &'static str> {
    let agrees = |done: Done, shown: bool| done == Done::Perhaps || (done == Done::Yes) == shown;
    match held {
        None if fate.sent == Done::Yes && fate.expunged == Done::No => Err("has lost the acknowledged mail"),
        None => Ok(()),
        Some(_) if fate.expunged == Done::Yes => Err("shows the expunged mail"),
        Some(held) if !agrees(fate.seen, held.seen) => Err("shows another \\Seen than acknowledged of mail"),
        Some(held) if !agrees(fate.archived, held.archived) => {
            Err("shows in another mailbox than acknowledged the mail")
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mail_is_as_its_client_left_it() {
        let body = BodyId::of(b"one");
        let judge = |fate: Fate, held: &[Held]| {
            let ledger = Ledger { fates: BTreeMap::from([(body, fate)]), changes: 0 };
            ledger.judge(1, &ledger.fates, held)
        };
        let held = Held { body, seen: false, archived: false };
        let sent = Fate { sent: Done::Yes, ..Fate::default() };
        assert_eq!(judge(sent, &[held]), Ok(()));
        assert!(judge(sent, &[]).is_err_and(|what| what.contains("lost")));
        assert!(judge(sent, &[held, held]).is_err_and(|what| what.contains("2 times")));
        let other = Held { body: BodyId::of(b"two"), ..held };
        assert!(judge(sent, &[held, other]).is_err_and(|what| what.contains("nobody sent")));
        let gone = Fate { expunged: Done::Yes, ..sent };
        assert_eq!(judge(gone, &[]), Ok(()));
        assert!(judge(gone, &[held]).is_err_and(|what| what.contains("expunged")));
        let (seen, archived) = (Held { seen: true, ..held }, Held { archived: true, ..held });
        assert!(judge(sent, &[seen]).is_err() && judge(sent, &[archived]).is_err());
        assert!(judge(Fate { seen: Done::Yes, ..sent }, &[held]).is_err());
        assert!(judge(Fate { archived: Done::Yes, ..sent }, &[held]).is_err());
        // Without an answer both may be.
        for known in [sent, Fate { sent: Done::Perhaps, ..Fate::default() }] {
            let perhaps =
                Fate { expunged: Done::Perhaps, seen: Done::Perhaps, archived: Done::Perhaps, ..known };
            for held in [&[][..], &[held], &[seen], &[archived]] {
                assert_eq!(judge(perhaps, held), Ok(()));
            }
        }
        // What was done meanwhile is not held against the node.
        let ledger = Ledger { fates: BTreeMap::from([(body, gone)]), changes: 0 };
        assert_eq!(ledger.judge(1, &BTreeMap::from([(body, sent)]), &[]), Ok(()));
    }
}
