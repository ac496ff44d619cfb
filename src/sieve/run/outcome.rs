//! Actions as they gather: folded, bounded, and refused where they exclude each other (RFC 5228 2.10, RFC 5429 2).

use crate::mail::address::Address;
use crate::mail::flags::NamedFlags;
use crate::sieve::vacation::Vacation;
use crate::sieve::work::Fault;
use crate::sieve::{ACTIONS_MAX, Action, Actions, MAILBOX_BYTES_MAX, REDIRECTS_MAX};

#[derive(Default)]
pub(super) struct Outcome {
    actions: Vec<Action>,
    /// Some action took the place of the implicit keep (RFC 5228 2.10.2).
    placed: bool,
    /// A reply was asked for, whether or not one may be sent.
    replied: bool,
}

impl Outcome {
    pub(super) fn keep(&mut self, flags: NamedFlags) -> Result<(), Fault> {
        self.not_with_reject("kept")?;
        self.placed = true;
        let kept = self.actions.iter_mut().find_map(|action| match action {
            Action::Keep { flags } => Some(flags),
            _ => None,
        });
        match kept {
            Some(known) => {
                known.join(&flags);
                Ok(())
            }
            None => self.push(Action::Keep { flags }),
        }
    }

    pub(super) fn file_into(
        &mut self,
        mailbox: String,
        create: bool,
        flags: NamedFlags,
        copy: bool,
    ) -> Result<(), Fault> {
        if mailbox.eq_ignore_ascii_case("INBOX") {
            let placed = self.placed;
            self.keep(flags)?;
            self.placed = placed || !copy;
            return Ok(());
        }
        self.not_with_reject("filed")?;
        let fits = (1..=MAILBOX_BYTES_MAX).contains(&mailbox.len()) && !mailbox.contains(char::is_control);
        if !fits {
            return Err(Fault::new(format!(
                "a mailbox has a name of 1 to {MAILBOX_BYTES_MAX} octets without control characters"
            )));
        }
        self.placed |= !copy;
        for action in &mut self.actions {
            if let Action::FileInto { mailbox: known, create: creates, flags: known_flags } = action
                && *known == mailbox
            {
                *creates |= create;
                known_flags.join(&flags);
                return Ok(());
            }
        }
        self.push(Action::FileInto { mailbox, create, flags })
    }

    pub(super) fn redirect(&mut self, address: Address, copy: bool) -> Result<(), Fault> {
        self.not_with_reject("redirected")?;
        self.placed |= !copy;
        let known = self.actions.iter().filter_map(|action| match action {
            Action::Redirect { address } => Some(address.canonical()),
            _ => None,
        });
        let known: Vec<String> = known.collect();
        if known.contains(&address.canonical()) {
            return Ok(());
        }
        if known.len() == REDIRECTS_MAX {
            return Err(Fault::new(format!("a mail is redirected to {REDIRECTS_MAX} addresses at the most")));
        }
        self.push(Action::Redirect { address })
    }

    pub(super) fn discard(&mut self) {
        self.placed = true;
    }

    /// RFC 5429 2.4: nothing else becomes of what is refused.
    pub(super) fn reject(&mut self, reason: String) -> Result<(), Fault> {
        if !self.actions.is_empty() || self.replied {
            return Err(Fault::new(
                "a mail that is kept, filed, redirected, answered or rejected already cannot be rejected",
            ));
        }
        self.placed = true;
        self.push(Action::Reject { reason })
    }

    /// RFC 5230 4.7: one in a run, and none to what is rejected. `None`: the mail is one that must not be answered.
    pub(super) fn vacation(&mut self, vacation: Option<Vacation>) -> Result<(), Fault> {
        self.not_with_reject("answered")?;
        if self.replied {
            return Err(Fault::new("a mail is answered once at the most"));
        }
        self.replied = true;
        match vacation {
            Some(vacation) => self.push(Action::Vacation(Box::new(vacation))),
            None => Ok(()),
        }
    }

    /// With the implicit keep, which has these flags (RFC 5232 5). After a fault the mail is kept in any case.
    pub(super) fn finish(mut self, flags: NamedFlags, fault: Option<String>) -> Actions {
        if fault.is_some() {
            // A mail is kept or refused, not both.
            self.actions.retain(|action| !matches!(action, Action::Reject { .. }));
        }
        let kept = self.actions.iter().any(|action| matches!(action, Action::Keep { .. }));
        if !kept && (fault.is_some() || !self.placed) {
            self.actions.push(Action::Keep { flags });
        }
        Actions { actions: self.actions, fault }
    }

    fn push(&mut self, action: Action) -> Result<(), Fault> {
        if self.actions.len() == ACTIONS_MAX {
            return Err(Fault::new(format!("a mail has {ACTIONS_MAX} actions at the most")));
        }
        self.actions.push(action);
        Ok(())
    }

    fn not_with_reject(&self, done: &str) -> Result<(), Fault> {
        match self.actions.iter().any(|action| matches!(action, Action::Reject { .. })) {
            true => Err(Fault::new(format!("a mail that is rejected cannot be {done}"))),
            false => Ok(()),
        }
    }
}
