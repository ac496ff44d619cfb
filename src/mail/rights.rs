//! What an access control list grants (RFC 4314 2.1), as bits.

use std::fmt;

use bincode::{Decode, Encode};

use super::flags::{Flags, NamedFlags};

/// A set of rights. `Display` and [`Rights::parse`] speak the letters of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Rights(u16);

/// In the order in which they are shown.
const LETTERS: [(u8, Rights); 11] = [
    (b'l', Rights::LOOKUP),
    (b'r', Rights::READ),
    (b's', Rights::SEEN),
    (b'w', Rights::WRITE),
    (b'i', Rights::INSERT),
    (b'p', Rights::POST),
    (b'k', Rights::CREATE),
    (b'x', Rights::DELETE_MAILBOX),
    (b't', Rights::DELETE_MESSAGES),
    (b'e', Rights::EXPUNGE),
    (b'a', Rights::ADMINISTER),
];

/// RFC 4314 2.1.1: the rights of RFC 2086 that were split, and what they stand for. As in Dovecot, the right to
/// delete a mailbox belongs to `c`.
const OBSOLETE: [(u8, Rights); 2] = [
    (b'c', Rights::CREATE.union(Rights::DELETE_MAILBOX)),
    (b'd', Rights::DELETE_MESSAGES.union(Rights::EXPUNGE)),
];

impl Rights {
    pub const NONE: Rights = Rights(0);
    /// To see that the mailbox is there.
    pub const LOOKUP: Rights = Rights(1);
    pub const READ: Rights = Rights(1 << 1);
    /// To set and clear \Seen.
    pub const SEEN: Rights = Rights(1 << 2);
    /// To set and clear flags other than \Seen and \Deleted.
    pub const WRITE: Rights = Rights(1 << 3);
    /// To put messages in.
    pub const INSERT: Rights = Rights(1 << 4);
    /// To send mail to the mailbox: kept and shown, IMAP asks for it nowhere.
    pub const POST: Rights = Rights(1 << 5);
    /// To make mailboxes below.
    pub const CREATE: Rights = Rights(1 << 6);
    pub const DELETE_MAILBOX: Rights = Rights(1 << 7);
    /// To set and clear \Deleted.
    pub const DELETE_MESSAGES: Rights = Rights(1 << 8);
    pub const EXPUNGE: Rights = Rights(1 << 9);
    /// To read and change the access control list.
    pub const ADMINISTER: Rights = Rights(1 << 10);
    /// What an owner has.
    pub const ALL: Rights = Rights((1 << 11) - 1);
    /// RFC 4314 5.2: without one of these a mailbox is opened for reading only. All flags are shared.
    pub const CHANGING: Rights = Rights(
        Rights::INSERT.0 | Rights::EXPUNGE.0 | Rights::SEEN.0 | Rights::WRITE.0 | Rights::DELETE_MESSAGES.0,
    );
    /// RFC 4314 4: MYRIGHTS is answered to those who have one of these.
    pub const ANY: Rights = Rights(
        Rights::LOOKUP.0
            | Rights::READ.0
            | Rights::INSERT.0
            | Rights::CREATE.0
            | Rights::DELETE_MAILBOX.0
            | Rights::ADMINISTER.0,
    );

    /// True if all of `wanted` are here.
    pub fn has(self, wanted: Rights) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// True if one of `wanted` is here.
    pub fn has_any(self, wanted: Rights) -> bool {
        self.0 & wanted.0 != 0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub const fn union(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    pub fn without(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }

    /// Bits that are no right of ours are left out.
    pub fn known(self) -> Rights {
        Rights(self.0 & Rights::ALL.0)
    }

    /// `None`: a letter that is no right (RFC 4314 3.1: never passed over).
    pub fn parse(letters: &[u8]) -> Option<Rights> {
        letters.iter().try_fold(Rights::NONE, |rights, letter| {
            let right = LETTERS.iter().chain(&OBSOLETE).find(|(known, _)| known == letter);
            right.map(|(_, right)| rights.union(*right))
        })
    }

    /// The flags that may be set and cleared (RFC 4314 4).
    pub fn over_flags(self) -> Flags {
        let mut flags = Flags::default();
        if self.has(Rights::WRITE) {
            flags = Flags::ALL.without(Flags::SEEN).without(Flags::DELETED);
        }
        if self.has(Rights::SEEN) {
            flags = flags.union(Flags::SEEN);
        }
        if self.has(Rights::DELETE_MESSAGES) {
            flags = flags.union(Flags::DELETED);
        }
        flags
    }

    /// RFC 4314 4: a STORE goes ahead if one of the flags that it names may be changed; one that names none clears.
    pub fn may_store(self, named: &NamedFlags) -> bool {
        let over = self.over_flags();
        let names_none = named.system == 0 && named.keywords.is_empty();
        let permitted = over.permit(named);
        match names_none {
            true => over != Flags::default(),
            false => permitted.system != 0 || !permitted.keywords.is_empty(),
        }
    }
}

impl fmt::Display for Rights {
    /// With `c` and `d` where one of what they stand for is there (RFC 4314 2.1.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let real = LETTERS.iter().filter(|(_, right)| self.has(*right));
        let obsolete = OBSOLETE.iter().filter(|(_, rights)| self.has_any(*rights));
        real.chain(obsolete).try_for_each(|(letter, _)| write!(f, "{}", char::from(*letter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::SystemFlag;

    fn rights(letters: &str) -> Rights {
        Rights::parse(letters.as_bytes()).unwrap()
    }

    #[test]
    fn letters_are_read_and_shown() {
        assert_eq!(rights("lrswipkxtea"), Rights::ALL);
        assert_eq!(Rights::ALL.to_string(), "lrswipkxteacd");
        assert_eq!(rights(""), Rights::NONE);
        assert_eq!(Rights::NONE.to_string(), "");
        assert_eq!(rights("rl").to_string(), "lr");
        for unknown in ["q", "L", "0", "l r", "lé"] {
            assert_eq!(Rights::parse(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    fn obsolete_letters_stand_for_what_they_were_split_into() {
        // The examples of RFC 4314 2.1.1, by our tying.
        assert_eq!(rights("lrswida").to_string(), "lrswitead");
        assert_eq!(rights("lrswikda").to_string(), "lrswikteacd");
        assert_eq!(rights("c"), rights("kx"));
        assert_eq!(rights("d"), rights("te"));
        assert_eq!(rights("x").to_string(), "xc");
        assert_eq!(rights("e").to_string(), "ed");
    }

    #[test]
    fn each_flag_has_its_right() {
        let may = |letters: &str| rights(letters).over_flags();
        assert_eq!(may("lripkxea"), Flags::default());
        assert_eq!(may("s"), Flags::SEEN);
        assert_eq!(may("t"), Flags::DELETED);
        let others = may("w");
        assert!(!others.has(SystemFlag::Seen) && !others.has(SystemFlag::Deleted));
        for flag in [SystemFlag::Answered, SystemFlag::Flagged, SystemFlag::Draft] {
            assert!(others.has(flag));
        }
        assert_eq!(others.keywords, u64::MAX);
        assert_eq!(may("swt"), Flags::ALL);
    }

    #[test]
    fn a_store_goes_ahead_for_one_flag_of_those_it_names() {
        let named = |system: u8, keywords: &[&str]| NamedFlags {
            system,
            keywords: keywords.iter().map(|name| name.to_string()).collect(),
        };
        let seen = SystemFlag::Seen as u8;
        assert!(rights("s").may_store(&named(seen | SystemFlag::Deleted as u8, &["$Work"])));
        assert!(!rights("s").may_store(&named(SystemFlag::Deleted as u8, &["$Work"])));
        assert!(rights("w").may_store(&named(seen, &["$Work"])));
        assert!(!rights("w").may_store(&named(seen, &[])));
        assert!(rights("t").may_store(&named(0, &[])));
        assert!(!rights("lriea").may_store(&named(0, &[])));
    }
}
