//! Message flags (RFC 9051 2.3.2): the system flags as bits, keywords as bits of their mailbox's table.

use bincode::{Decode, Encode};

/// Keywords a mailbox may hold, each a bit of [`Flags::keywords`].
pub const KEYWORDS_PER_MAILBOX_MAX: usize = 64;
/// Bytes of one keyword's name.
pub const KEYWORD_BYTES_MAX: usize = 100;

/// The flags of one message. `\Recent` is a session's affair and is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Flags {
    /// Bits of [`SystemFlag`].
    pub system: u8,
    /// Bit *n* is keyword *n* of the mailbox's keyword table.
    pub keywords: u64,
}

/// The system flags that are stored (RFC 9051 2.3.2), each with its bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[repr(u8)]
pub enum SystemFlag {
    Seen = 1,
    Answered = 2,
    Flagged = 4,
    Deleted = 8,
    Draft = 16,
}

impl SystemFlag {
    pub const ALL: [SystemFlag; 5] = [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// The wire name, with its backslash.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }
}

impl Flags {
    pub const SEEN: Flags = Flags { system: SystemFlag::Seen as u8, keywords: 0 };
    pub const DELETED: Flags = Flags { system: SystemFlag::Deleted as u8, keywords: 0 };
    /// Every flag there may be.
    pub const ALL: Flags = Flags { system: 31, keywords: u64::MAX };

    pub fn has(self, flag: SystemFlag) -> bool {
        self.system & flag as u8 != 0
    }

    pub fn union(self, other: Flags) -> Flags {
        Flags { system: self.system | other.system, keywords: self.keywords | other.keywords }
    }

    pub fn without(self, other: Flags) -> Flags {
        Flags { system: self.system & !other.system, keywords: self.keywords & !other.keywords }
    }

    pub fn within(self, other: Flags) -> Flags {
        Flags { system: self.system & other.system, keywords: self.keywords & other.keywords }
    }

    /// As IMAP writes them; `keywords` is the mailbox's table.
    pub fn names<'a>(self, keywords: &'a [String]) -> impl Iterator<Item = &'a str> {
        let system = SystemFlag::ALL
            .into_iter()
            .filter(move |flag| self.has(*flag))
            .map(|flag| -> &'a str { flag.name() });
        let keywords = keywords.iter().take(KEYWORDS_PER_MAILBOX_MAX).enumerate();
        let here = keywords.filter(move |(bit, _)| self.keywords >> bit & 1 == 1);
        system.chain(here.map(|(_, name)| name.as_str()))
    }

    /// Of the flags named, those that are here. Keywords are all here, or none.
    pub fn permit(self, named: &NamedFlags) -> NamedFlags {
        let keywords = if self.keywords == 0 { Vec::new() } else { named.keywords.clone() };
        NamedFlags { system: named.system & self.system, keywords }
    }
}

/// Flags as a client names them: system flags as bits, keywords by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct NamedFlags {
    /// Bits of [`SystemFlag`].
    pub system: u8,
    /// Keyword names as the client spelt them; compared without case.
    pub keywords: Vec<String>,
}

impl NamedFlags {
    /// These, and those of `others` that are not among them.
    pub fn join(&mut self, others: &NamedFlags) {
        self.system |= others.system;
        for keyword in &others.keywords {
            if !self.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword)) {
                self.keywords.push(keyword.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_their_names_back() {
        let keywords = ["a", "b", "c"].map(str::to_owned);
        let some = Flags { system: SystemFlag::Seen as u8 | SystemFlag::Draft as u8, keywords: 0b101 };
        assert_eq!(some.names(&keywords).collect::<Vec<_>>(), ["\\Seen", "\\Draft", "a", "c"]);
        assert_eq!(Flags::default().names(&keywords).next(), None);
    }
}
