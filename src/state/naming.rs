//! What operators call rows: whose mailbox it is, which messages name a body. For reports alone, of rows that may be wrong:
//! what cannot be told is left out.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};

use super::digest::Group;
use super::keys;
use super::reading::{get, visit};
use super::rows::{Rows, RowsError};
use super::stored::{AccountRow, MailboxRow, MessagesRow, QueuedRow};
use crate::mail::ids::{AccountId, BodyId, MailboxId, QueueId, Uid};

/// A group as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NamedGroup {
    pub group: Group,
    pub user: Option<String>,
    pub mailbox: Option<String>,
}

/// What names a body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Mention {
    Message { user: Option<String>, mailbox: Option<String>, uid: Uid },
    Queued(QueueId),
}

pub fn name(rows: &dyn Rows, group: Group) -> NamedGroup {
    let (user, mailbox) = match group {
        Group::Mailbox(id) => mailbox(rows, id),
        Group::Account(account) => (user(rows, account), None),
        Group::Table(_) => (None, None),
    };
    NamedGroup { group, user, mailbox }
}

fn mailbox(rows: &dyn Rows, id: MailboxId) -> (Option<String>, Option<String>) {
    match get::<MailboxRow>(rows, &keys::mailbox(id)).ok().flatten() {
        Some(row) => (user(rows, row.account), Some(row.name)),
        None => (None, None),
    }
}

fn user(rows: &dyn Rows, account: AccountId) -> Option<String> {
    get::<AccountRow>(rows, &keys::account(account)).ok().flatten().map(|row| row.user)
}

/// For each of `bodies` the first `each_max` that name it. Reads the rows of all messages.
pub fn mentions(
    rows: &dyn Rows,
    bodies: &BTreeSet<BodyId>,
    each_max: usize,
) -> Result<BTreeMap<BodyId, Vec<Mention>>, RowsError> {
    let mut found: BTreeMap<BodyId, Vec<Mention>> = BTreeMap::new();
    let mut note = |body: BodyId, mention: Mention| {
        let mentions = found.entry(body).or_default();
        if mentions.len() < each_max {
            mentions.push(mention);
        }
    };
    visit::<MessagesRow>(rows, &keys::table(keys::MESSAGES), |key, row| {
        for message in row.messages.iter().filter(|message| bodies.contains(&message.body)) {
            let (user, mailbox) = keys::mailbox_of_messages(key).map_or((None, None), |id| mailbox(rows, id));
            note(message.body, Mention::Message { user, mailbox, uid: message.uid });
        }
    })?;
    visit::<QueuedRow>(rows, &keys::table(keys::QUEUED), |key, row| {
        if let Some(id) = keys::queued_of(key).filter(|_| bodies.contains(&row.body)) {
            note(row.body, Mention::Queued(id));
        }
    })?;
    Ok(found)
}

impl std::fmt::Display for NamedGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_deref().unwrap_or("somebody unknown");
        match (self.group, &self.mailbox) {
            (Group::Mailbox(_), Some(mailbox)) => write!(f, "mailbox {mailbox} of {user}"),
            (Group::Mailbox(id), None) => write!(f, "mailbox {id}, whose name is not known"),
            (Group::Account(AccountId(0)), _) => write!(f, "what is shared with anyone"),
            (Group::Account(_), _) if self.user.is_some() => write!(f, "the account of {user}"),
            (Group::Account(id), _) => write!(f, "account {id}, whose user is not known"),
            (Group::Table(table), _) => match table_word(table) {
                Some(word) => f.write_str(word),
                None => write!(f, "the rows of table {table:#04x}"),
            },
        }
    }
}

impl std::fmt::Display for Mention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mention::Message { user, mailbox, uid } => {
                let user = user.as_deref().unwrap_or("somebody unknown");
                let mailbox = mailbox.as_deref().unwrap_or("a mailbox without a name");
                write!(f, "UID {uid} in {mailbox} of {user}")
            }
            Mention::Queued(id) => write!(f, "mail {id} of the queue"),
        }
    }
}

/// Of the groups of tables that an operator would ask about.
fn table_word(table: u8) -> Option<&'static str> {
    Some(match table {
        keys::META => "the counters, what was answered lately, or which bodies are named",
        keys::REPLICAS => "what is known of the nodes",
        keys::DOMAIN => "the domains",
        keys::USER => "the users and their passwords",
        keys::ALIAS => "the aliases",
        keys::SETTING => "the settings",
        keys::RULE => "the lists",
        keys::DKIM_KEY => "the DKIM keys",
        keys::RELAY => "the relays",
        keys::FIREWALL => "the firewall's rules",
        keys::METADATA => "the annotations of the server",
        keys::QUEUE => "the outbound queue",
        keys::BUDGETS => "the limits and blocks",
        keys::GREY_TALLY => "the greylist",
        keys::STS_TALLY => "the MTA-STS policies",
        keys::TLS_DAYS => "the TLS reports",
        keys::ALARM => "the alarms",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_mentions_have_the_words_of_their_owners() {
        let named = |group, user: Option<&str>, mailbox: Option<&str>| {
            let (user, mailbox) = (user.map(str::to_owned), mailbox.map(str::to_owned));
            NamedGroup { group, user, mailbox }.to_string()
        };
        let (mailbox, account) = (Group::Mailbox(MailboxId(7)), Group::Account(AccountId(5)));
        assert_eq!(named(mailbox, Some("alice"), Some("INBOX")), "mailbox INBOX of alice");
        assert_eq!(named(mailbox, None, None), "mailbox 7, whose name is not known");
        assert_eq!(named(account, Some("alice"), None), "the account of alice");
        assert_eq!(named(account, None, None), "account 5, whose user is not known");
        assert_eq!(named(Group::Table(keys::DOMAIN), None, None), "the domains");
        assert_eq!(named(Group::Table(0xdf), None, None), "the rows of table 0xdf");
        assert_eq!(Mention::Queued(QueueId(3)).to_string(), "mail 3 of the queue");
    }
}
