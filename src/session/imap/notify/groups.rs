//! Which events are wanted of a mailbox by its name (RFC 5465 6).

use std::collections::BTreeSet;

use crate::session::imap::grammar::{EventGroup, Events, Filter, MailboxName};
use crate::state::namespace::{self, Place};

/// Events that are wanted of one mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    pub new: bool,
    pub expunged: bool,
    pub flags: bool,
    pub names: bool,
    pub subscriptions: bool,
    pub annotations: bool,
}

/// The event groups of one NOTIFY, but for the selected mailbox's. Of more than one that means a mailbox all hold.
#[derive(Debug, Default)]
pub struct Groups {
    meant: Vec<(Meant, Kinds)>,
    /// ServerMetadataChange: whichever mailboxes its group names.
    server_annotations: bool,
}

/// Which mailboxes a group means.
#[derive(Debug)]
enum Meant {
    /// One's own.
    Personal,
    Subscribed,
    /// Each, and what is below it.
    Subtrees(BTreeSet<String>),
    Named(BTreeSet<String>),
}

impl Groups {
    /// `user` is whose session it is: one's own mailboxes may be given as other users see them.
    pub fn of(groups: &[EventGroup], user: &str) -> Self {
        let of_others = groups.iter().filter_map(|EventGroup { filter, events }| {
            let named = |name: &MailboxName| name.0.as_deref().map(|name| listed_name(name, user).to_owned());
            let names = |names: &[MailboxName]| names.iter().filter_map(named).collect();
            let meant = match filter {
                Filter::Selected { .. } => return None,
                Filter::Personal => Meant::Personal,
                Filter::Subscribed => Meant::Subscribed,
                Filter::Subtree(roots) => Meant::Subtrees(names(roots)),
                Filter::Mailboxes(named) => Meant::Named(names(named)),
            };
            Some((meant, Kinds::of(events)))
        });
        Self {
            meant: of_others.filter(|(_, kinds)| kinds.are_some()).collect(),
            server_annotations: groups.iter().any(|group| group.events.server_metadata_change),
        }
    }

    pub fn are_none(&self) -> bool {
        self.meant.is_empty() && !self.server_annotations
    }

    pub fn want_server_annotations(&self) -> bool {
        self.server_annotations
    }

    pub fn want_annotations(&self) -> bool {
        self.server_annotations || self.meant.iter().any(|(_, kinds)| kinds.annotations)
    }

    /// What is wanted of this mailbox.
    pub fn kinds(&self, name: &str, subscribed: bool) -> Kinds {
        let meaning = self.meant.iter().filter(|(meant, _)| meant.means(name, subscribed));
        meaning.fold(Kinds::default(), |all, (_, kinds)| all.and(*kinds))
    }
}

impl Meant {
    fn means(&self, name: &str, subscribed: bool) -> bool {
        match self {
            Self::Personal => matches!(namespace::place(name), Place::Own(_)),
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
            annotations: events.mailbox_metadata_change,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            new: self.new || other.new,
            expunged: self.expunged || other.expunged,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            annotations: self.annotations || other.annotations,
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

/// How LIST names a mailbox: one's own are not under `user/ONESELF/`.
pub fn listed_name<'a>(name: &'a str, user: &str) -> &'a str {
    match namespace::place(name) {
        Place::Of { user: owner, name } if owner == user => name,
        _ => name,
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
        let of = |groups: &[EventGroup]| Groups::of(groups, "alice");
        let groups = of(&[
            group(Filter::Selected { delayed: false }, new.clone()),
            group(Filter::Mailboxes(named(&["a", "*", "user/alice/own"])), new.clone()),
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
        assert_eq!(kinds("own", false), (true, false, false));
        let all = of(&[group(Filter::Subtree(named(&[""])), new.clone())]);
        assert!(all.kinds("x/y", false).new && all.kinds("user/bob/x", false).new);
        let personal = of(&[group(Filter::Personal, new)]);
        assert!(personal.kinds("x/y", false).new && !personal.kinds("user/bob/x", false).new);
        assert!(of(&[group(Filter::Personal, Events::default())]).are_none());
        let server = Events { server_metadata_change: true, ..Events::default() };
        let server = of(&[group(Filter::Mailboxes(named(&["nowhere"])), server)]);
        assert!(!server.are_none() && server.want_server_annotations() && server.want_annotations());
    }
}
