//! What a client wants to hear of without asking (NOTIFY, RFC 5465).
//!
//! Of the selected mailbox the view tells. Of the others the account's news tell, with counts from apply: no view of a
//! mailbox that is only listened to is ever loaded.

mod compare;
mod groups;
mod listening;
mod own;

pub use groups::{Groups, listed_name};
pub use listening::{Hearer, Listening, Lists};
pub use own::Own;

use super::grammar::{EventGroup, Events, Filter};
use super::item::FetchItem;
use super::selected::Wanted;

/// One NOTIFY. Before the first a session has none, and hears of its selected mailbox when it asks something.
#[derive(Debug, Default)]
pub struct Notify {
    pub selected: OfSelected,
    pub account: Option<Listening>,
    /// What had gathered before NOTIFY SET is still to be told, all of it, as NOOP would (RFC 5465 3.1).
    pub settling: bool,
}

/// What is wanted of the selected mailbox, whichever that is.
#[derive(Debug, Default)]
pub struct OfSelected {
    pub wanted: Wanted,
    /// Expunges wait for a command that may tell of them.
    pub delayed: bool,
    /// Of new messages.
    pub attributes: Vec<FetchItem>,
}

impl Notify {
    /// NOTIFY NONE: nothing is told that was not asked for.
    pub fn none() -> Self {
        Self::default()
    }

    /// True when something is to be told between commands.
    pub fn is_listening(&self) -> bool {
        self.account.is_some() || self.selected.wanted != Wanted::default()
    }
}

impl OfSelected {
    /// RFC 5465 3.1: without such a group nothing is wanted.
    pub fn of(groups: &[EventGroup]) -> Self {
        let of_selected = groups.iter().find_map(|group| match group.filter {
            Filter::Selected { delayed } => Some((delayed, &group.events)),
            _ => None,
        });
        of_selected.map_or_else(Self::default, |(delayed, events)| Self {
            wanted: Wanted::of(events),
            delayed,
            attributes: events.attributes.iter().cloned().map(FetchItem::peeking).collect(),
        })
    }
}

impl Wanted {
    fn of(events: &Events) -> Self {
        Self { new: events.message_new, expunged: events.message_expunge, flags: events.flag_change }
    }
}
