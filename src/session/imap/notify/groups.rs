//! Which events are wanted of a mailbox by its name (RFC 5465 6).

use std::collections::BTreeSet;

use crate::session::imap::grammar::{EventGroup, Events, Filter, MailboxName};

/// Events that are wanted of one mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    pub new: bool,
    pub expunged: bool,
    pub flags: bool,
    pub names: bool,
    pub subscriptions: bool,
}

/// The event groups of one NOTIFY, but for the selected mailbox's. Of more than one that means a mailbox all hold.
#[derive(Debug, Default)]
pub struct Groups(Vec<(Meant, Kinds)>);

/// Which mailboxes a group means.
#[derive(Debug)]
enum Meant {
    All,
    Subscribed,
    /// Each, and what is below it.
    Subtrees(BTreeSet<String>),
    Named(BTreeSet<String>),
}

impl Groups {
    pub fn of(groups: &[EventGroup]) -> Self {
        let of_others = groups.iter().filter_map(|EventGroup { filter, events }| {
            let names = |names: &[MailboxName]| names.iter().filter_map(|name| name.0.clone()).collect();
            let meant = match filter {
                Filter::Selected { .. } => return None,
                Filter::Personal => Meant::All,
                Filter::Subscribed => Meant::Subscribed,
                Filter::Subtree(roots) => Meant::Subtrees(names(roots)),
                Filter::Mailboxes(named) => Meant::Named(names(named)),
            };
            Some((meant, Kinds::of(events)))
        });
        Self(of_others.filter(|(_, kinds)| kinds.are_some()).collect())
    }

    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wanted of this mailbox.
    pub fn kinds(&self, name: &str, subscribed: bool) -> Kinds {
        let meaning = self.0.iter().filter(|(meant, _)| meant.means(name, subscribed));
        meaning.fold(Kinds::default(), |all, (_, kinds)| all.and(*kinds))
    }
}

impl Meant {
    fn means(&self, name: &str, subscribed: bool) -> bool {
        match self {
            Self::All => true,
            Self::Subscribed => subscribed,
            Self::Named(names) => names.contains(name),
            Self::Subtrees(roots) => {
                let above = name.match_indices('/').map(|(at, _)| &name[..at]);
                above.chain([name, ""]).any(|level| roots.contains(level))
            }
        }
    }
}

impl Kinds {
    fn of(events: &Events) -> Self {
        Self {
            new: events.message_new,
            expunged: events.message_expunge,
            flags: events.flag_change,
            names: events.mailbox_name,
            subscriptions: events.subscription_change,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            new: self.new || other.new,
            expunged: self.expunged || other.expunged,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
        }
    }

    pub fn are_some(self) -> bool {
        self != Self::default()
    }

    /// Events of the mailbox's messages.
    pub fn of_messages(self) -> bool {
        self.new || self.expunged || self.flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::imap::grammar::NameCoding;

    #[test]
    fn groups_mean_what_their_filters_say() {
        let group = |filter, events| EventGroup { filter, events };
        let new = Events { message_new: true, ..Events::default() };
        let names = Events { mailbox_name: true, ..Events::default() };
        let named = |names: &[&str]| {
            names.iter().map(|name| MailboxName::from_wire(name.as_bytes(), NameCoding::Utf7)).collect()
        };
        let groups = Groups::of(&[
            group(Filter::Selected { delayed: false }, new.clone()),
            group(Filter::Mailboxes(named(&["a", "*"])), new.clone()),
            group(Filter::Subtree(named(&["a/b"])), names),
            group(Filter::Subscribed, Events { flag_change: true, ..Events::default() }),
            group(Filter::Personal, Events::default()),
        ]);
        let kinds = |name, subscribed| {
            let kinds = groups.kinds(name, subscribed);
            (kinds.new, kinds.names, kinds.flags)
        };
        assert_eq!(kinds("a", false), (true, false, false));
        assert_eq!(kinds("a", true), (true, false, true));
        assert_eq!(kinds("a/b", false), (false, true, false));
        assert_eq!(kinds("a/b/c/d", false), (false, true, false));
        assert_eq!(kinds("a/bc", false), (false, false, false));
        assert_eq!(kinds("anything", false), (false, false, false), "RFC 5465 6.6: no wildcards");
        let all = Groups::of(&[group(Filter::Subtree(named(&[""])), new)]);
        assert!(all.kinds("x/y", false).new);
        assert!(Groups::of(&[group(Filter::Personal, Events::default())]).are_none());
    }
}
