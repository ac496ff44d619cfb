//! NOTIFY (RFC 5465 8).

use super::cursor::{Cursor, Parsed, Syntax};
use super::fetch::attributes;
use super::mailbox_name::MailboxName;
use crate::session::imap::item::FetchItem;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyRequest {
    None,
    /// `status`: how what is listened to stands is told at once.
    Set {
        status: bool,
        groups: Vec<EventGroup>,
    },
}

/// Mailboxes, and what is wanted of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGroup {
    pub filter: Filter,
    pub events: Events,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The selected mailbox; `delayed`: expunges wait for a command that may tell of them.
    Selected {
        delayed: bool,
    },
    /// INBOXES and PERSONAL: each mailbox takes deliveries, so that they are the same (RFC 5465 6.3).
    Personal,
    Subscribed,
    Subtree(Vec<MailboxName>),
    Mailboxes(Vec<MailboxName>),
}

/// None of them for NONE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    pub message_new: bool,
    /// What is wanted of new messages in the selected mailbox.
    pub attributes: Vec<FetchItem>,
    pub message_expunge: bool,
    pub flag_change: bool,
    pub mailbox_name: bool,
    pub subscription_change: bool,
    pub mailbox_metadata_change: bool,
    pub server_metadata_change: bool,
    /// Something that this server does not tell of.
    pub unsupported: bool,
}

pub fn notify(cursor: &mut Cursor) -> Parsed<NotifyRequest> {
    if cursor.take_word("NONE") {
        return Ok(NotifyRequest::None);
    }
    if !cursor.take_word("SET") {
        return Err(Syntax::Malformed("NOTIFY is followed by SET or NONE"));
    }
    cursor.space()?;
    let status = cursor.take_word("STATUS");
    if status {
        cursor.space()?;
    }
    let mut groups = vec![event_group(cursor)?];
    while cursor.take(b' ') {
        groups.push(event_group(cursor)?);
    }
    let of_selected = |group: &&EventGroup| matches!(group.filter, Filter::Selected { .. });
    if groups.iter().filter(of_selected).count() > 1 {
        return Err(Syntax::Malformed("SELECTED is given twice"));
    }
    Ok(NotifyRequest::Set { status, groups })
}

fn event_group(cursor: &mut Cursor) -> Parsed<EventGroup> {
    cursor.expect(b'(', "an event group is missing")?;
    let filter = filter(cursor)?;
    cursor.space()?;
    let events = events(cursor)?;
    cursor.close()?;
    if matches!(filter, Filter::Selected { .. }) {
        fits_selected(&events)?;
    } else if !events.attributes.is_empty() {
        return Err(Syntax::Malformed("attributes are for new messages of the selected mailbox"));
    }
    Ok(EventGroup { filter, events })
}

fn filter(cursor: &mut Cursor) -> Parsed<Filter> {
    Ok(match cursor.word()?.as_str() {
        "SELECTED" => Filter::Selected { delayed: false },
        "SELECTED-DELAYED" => Filter::Selected { delayed: true },
        "INBOXES" | "PERSONAL" => Filter::Personal,
        "SUBSCRIBED" => Filter::Subscribed,
        "SUBTREE" => Filter::Subtree(mailboxes(cursor)?),
        "MAILBOXES" => Filter::Mailboxes(mailboxes(cursor)?),
        _ => return Err(Syntax::Malformed("the mailbox filter is not known")),
    })
}

/// One, or several in parentheses. How many there may be is not a matter of form: see the command.
fn mailboxes(cursor: &mut Cursor) -> Parsed<Vec<MailboxName>> {
    cursor.space()?;
    if cursor.peek() != Some(b'(') {
        return Ok(vec![MailboxName::read(cursor)?]);
    }
    let names = cursor.list(usize::MAX, MailboxName::read)?;
    if names.is_empty() { Err(Syntax::Malformed("no mailbox is named")) } else { Ok(names) }
}

fn events(cursor: &mut Cursor) -> Parsed<Events> {
    let mut events = Events::default();
    if cursor.take_word("NONE") {
        return Ok(events);
    }
    if cursor.list(EVENTS_MAX, |cursor| event(cursor, &mut events))?.is_empty() {
        return Err(Syntax::Malformed("no event is named"));
    }
    Ok(events)
}

/// Events of one group; there are eight.
pub const EVENTS_MAX: usize = 32;

fn event(cursor: &mut Cursor, events: &mut Events) -> Parsed<()> {
    match cursor.word()?.as_str() {
        "MESSAGENEW" => {
            events.message_new = true;
            let mut ahead = *cursor;
            if ahead.take(b' ') && ahead.peek() == Some(b'(') {
                *cursor = ahead;
                events.attributes = attributes(cursor)?;
            }
        }
        "MESSAGEEXPUNGE" => events.message_expunge = true,
        "FLAGCHANGE" => events.flag_change = true,
        "MAILBOXNAME" => events.mailbox_name = true,
        "SUBSCRIPTIONCHANGE" => events.subscription_change = true,
        "MAILBOXMETADATACHANGE" => events.mailbox_metadata_change = true,
        "SERVERMETADATACHANGE" => events.server_metadata_change = true,
        // AnnotationChange, and what may come.
        _ => events.unsupported = true,
    }
    Ok(())
}

/// RFC 5465 5, 6.1. Of other mailboxes each event may be had by itself, as that RFC's own examples and Dovecot have it.
fn fits_selected(events: &Events) -> Parsed<()> {
    let of_mailboxes = events.mailbox_name || events.subscription_change || events.mailbox_metadata_change;
    if of_mailboxes || events.server_metadata_change {
        return Err(Syntax::Malformed("of the selected mailbox there are message events only"));
    }
    if events.message_new != events.message_expunge {
        return Err(Syntax::Malformed("MessageNew and MessageExpunge go together"));
    }
    if events.flag_change && !events.message_new {
        return Err(Syntax::Malformed("FlagChange needs MessageNew and MessageExpunge"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<NotifyRequest> {
        let mut cursor = Cursor::new(text.as_bytes());
        let request = notify(&mut cursor).ok()?;
        cursor.end().ok().map(|()| request)
    }

    #[test]
    fn what_is_of_the_form_is_taken() {
        assert_eq!(parsed("none"), Some(NotifyRequest::None));
        let Some(NotifyRequest::Set { status: true, groups }) = parsed(
            "SET STATUS (Selected-Delayed (messagenew (uid BODY.PEEK[HEADER.FIELDS (From To)]) MessageExpunge)) \
             (subtree (a \"b c\") (MailboxName)) (mailboxes INBOX NONE) (inboxes (Foo AnnotationChange))",
        ) else {
            panic!("it is of the form");
        };
        assert_eq!(groups[0].filter, Filter::Selected { delayed: true });
        assert_eq!(groups[0].events.attributes.len(), 2);
        assert!(matches!(&groups[1].filter, Filter::Subtree(names) if names.len() == 2));
        assert_eq!(groups[2].events, Events::default());
        assert!(groups[3].events.unsupported);
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        for wrong in [
            "",
            "NONE (selected NONE)",
            "SET",
            "SET STATUS",
            "SET (selected)",
            "SET (selected ())",
            "SET (selected MessageNew)",
            "SET (selected (MessageNew))",
            "SET (selected (MessageExpunge))",
            "SET (selected (FlagChange))",
            "SET (selected (MessageNew MessageExpunge MailboxName))",
            "SET (selected (MessageNew MessageExpunge MailboxMetadataChange))",
            "SET (selected (ServerMetadataChange))",
            "SET (selected NONE) (selected-delayed NONE)",
            "SET (selected (MessageNew () MessageExpunge))",
            "SET (selected (MessageNew (ALL) MessageExpunge))",
            "SET (personal (MessageNew (UID)))",
            "SET (mailboxes () (MessageNew))",
            "SET (mailboxes (MessageNew))",
            "SET (somewhere (MessageNew))",
            "SET (personal (MessageNew)) ",
            "SET (personal (MessageNew))(subscribed NONE)",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
