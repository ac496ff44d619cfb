//! A mailbox's keyword table: names to bits. It only grows, so that a bit means the same for ever.

use super::names::invalid;
use super::transaction::{Stop, Transaction};
use crate::mail::flags::{Flags, KEYWORD_BYTES_MAX, KEYWORDS_PER_MAILBOX_MAX, NamedFlags, SystemFlag};
use crate::mail::ids::MailboxId;
use crate::state::keys;
use crate::state::outcome::Refusal;
use crate::state::rows::RowsError;
use crate::state::stored::KeywordsPartRow;

/// Keywords in one row: sixteen of the longest are 1.6 KB.
const KEYWORDS_PER_ROW: usize = 16;

/// What to do with a keyword for which the table has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// A client asked for it by name and must hear that it did not happen.
    Refuse,
    /// It comes along with a message that matters more.
    LeaveOut,
}

#[derive(Debug, Clone, Default)]
pub struct Table {
    pub names: Vec<String>,
    pub grown: bool,
}

impl Table {
    pub fn load(tx: &Transaction, mailbox: MailboxId) -> Result<Self, RowsError> {
        let parts = tx.first::<KeywordsPartRow>(&keys::keywords(mailbox), usize::MAX)?;
        Ok(Self { names: parts.into_iter().flat_map(|(_, part)| part.names).collect(), grown: false })
    }

    pub fn save(&self, tx: &mut Transaction, mailbox: MailboxId) -> Result<(), RowsError> {
        for (part, names) in self.names.chunks(KEYWORDS_PER_ROW).enumerate() {
            let row = KeywordsPartRow { names: names.to_vec() };
            tx.put(keys::keywords_part(mailbox, part as u8), &row)?;
        }
        Ok(())
    }

    /// The flags as bits; keywords that are new grow the table.
    pub fn flags(&mut self, named: &NamedFlags, no_room: NoRoom) -> Result<Flags, Stop> {
        let mut flags = Flags { system: system_bits(named), keywords: 0 };
        for name in &named.keywords {
            match (self.bit_or_grow(name), no_room) {
                (Ok(bit), _) => flags.keywords |= 1 << bit,
                (Err(refusal), NoRoom::Refuse) => return Err(refusal.into()),
                (Err(_), NoRoom::LeaveOut) => {}
            }
        }
        Ok(flags)
    }

    /// The flags as bits, for taking them off: a keyword that the table lacks is on no message.
    pub fn known_flags(&self, named: &NamedFlags) -> Flags {
        let bits = named.keywords.iter().filter_map(|name| self.bit(name));
        Flags { system: system_bits(named), keywords: bits.fold(0, |all, bit| all | 1 << bit) }
    }

    /// The names behind `bits`.
    pub fn named(&self, flags: Flags) -> NamedFlags {
        let set = |bit: usize| flags.keywords & (1 << bit) != 0;
        let names = self.names.iter().take(KEYWORDS_PER_MAILBOX_MAX).enumerate();
        NamedFlags {
            system: flags.system,
            keywords: names.filter(|(bit, _)| set(*bit)).map(|(_, name)| name.clone()).collect(),
        }
    }

    fn bit(&self, name: &str) -> Option<usize> {
        let known = self.names.iter().take(KEYWORDS_PER_MAILBOX_MAX);
        known.into_iter().position(|known| known.eq_ignore_ascii_case(name))
    }

    fn bit_or_grow(&mut self, name: &str) -> Result<usize, Refusal> {
        if let Some(bit) = self.bit(name) {
            return Ok(bit);
        }
        // RFC 3501 9, flag-keyword: an atom.
        let atom = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte);
        if name.is_empty() || name.len() > KEYWORD_BYTES_MAX || !name.bytes().all(atom) {
            return Err(invalid("keyword", name));
        }
        if self.names.len() >= KEYWORDS_PER_MAILBOX_MAX {
            return Err(Refusal::Limit(format!("{KEYWORDS_PER_MAILBOX_MAX} keywords of a mailbox")));
        }
        self.names.push(name.to_owned());
        self.grown = true;
        Ok(self.names.len() - 1)
    }
}

fn system_bits(named: &NamedFlags) -> u8 {
    named.system & SystemFlag::ALL.iter().fold(0, |all, flag| all | *flag as u8)
}
