//! A mailbox's access control list (RFC 4314 2). It names accounts by their ids, which are never given twice, so
//! that nobody inherits the rights of a user whose name he got.
//!
//! The owner is not in it: he always has all rights, and cannot lock himself out.

use bincode::{Decode, Encode};

use crate::mail::ids::AccountId;
use crate::mail::rights::Rights;

/// Entries of one mailbox's list: they fill half a row.
pub const ACL_ENTRIES_MAX: usize = 256;
/// The identifier that means every user.
pub const ANYONE: &str = "anyone";

/// Whom an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Grantee {
    Anyone,
    Account(AccountId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AclEntry {
    pub grantee: Grantee,
    /// `-identifier`: the rights are taken away, whatever grants them.
    pub negative: bool,
    /// Never none.
    pub rights: Rights,
}

impl AclEntry {
    fn key(&self) -> (bool, Grantee) {
        (self.negative, self.grantee)
    }
}

/// How SETACL changes what an identifier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum RightsChange {
    Replace,
    Add,
    Remove,
}

/// The list, as it lies in its row: entries that grant before those that take away, each kind by grantee.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Acl {
    entries: Vec<AclEntry>,
}

impl Acl {
    pub fn entries(&self) -> &[AclEntry] {
        &self.entries
    }

    /// What `account`, which is not the owner, may do: all that is granted to it or to anyone, but what is taken
    /// away from one of them.
    pub fn rights_of(&self, account: AccountId) -> Rights {
        let sum = |negative: bool| {
            let meant = self.entries.iter().filter(|entry| {
                let is_meant = match entry.grantee {
                    Grantee::Anyone => true,
                    Grantee::Account(named) => named == account,
                };
                is_meant && entry.negative == negative
            });
            meant.fold(Rights::NONE, |all, entry| all.union(entry.rights))
        };
        sum(false).without(sum(true)).known()
    }

    pub fn names(&self, grantee: Grantee) -> bool {
        self.entries.iter().any(|entry| entry.grantee == grantee)
    }

    /// An entry without rights goes. `None`: there is no room for one more.
    pub fn change(
        &mut self,
        (grantee, negative): (Grantee, bool),
        change: RightsChange,
        rights: Rights,
    ) -> Option<()> {
        let at = self.entries.binary_search_by_key(&(negative, grantee), AclEntry::key);
        let old = at.map_or(Rights::NONE, |at| self.entries[at].rights);
        let rights = match change {
            RightsChange::Replace => rights.known(),
            RightsChange::Add => old.union(rights.known()),
            RightsChange::Remove => old.without(rights),
        };
        match at {
            Ok(at) if rights.is_none() => drop(self.entries.remove(at)),
            Ok(at) => self.entries[at].rights = rights,
            Err(_) if rights.is_none() => {}
            Err(_) if self.entries.len() >= ACL_ENTRIES_MAX => return None,
            Err(at) => self.entries.insert(at, AclEntry { grantee, negative, rights }),
        }
        Some(())
    }

    pub fn forget(&mut self, grantee: Grantee) {
        self.entries.retain(|entry| entry.grantee != grantee);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(letters: &str) -> Rights {
        Rights::parse(letters.as_bytes()).unwrap()
    }

    fn account(id: u64) -> Grantee {
        Grantee::Account(AccountId(id))
    }

    #[test]
    fn rights_are_summed_and_then_taken_away() {
        let mut acl = Acl::default();
        let mut set = |grantee, negative, letters| {
            acl.change((grantee, negative), RightsChange::Replace, rights(letters)).unwrap();
        };
        set(Grantee::Anyone, false, "lr");
        set(account(7), false, "swi");
        set(account(7), true, "w");
        set(account(8), true, "l");
        assert_eq!(acl.rights_of(AccountId(7)), rights("lrsi"));
        assert_eq!(acl.rights_of(AccountId(8)), rights("r"));
        assert_eq!(acl.rights_of(AccountId(9)), rights("lr"));
        acl.change((Grantee::Anyone, true), RightsChange::Replace, rights("r")).unwrap();
        assert_eq!(acl.rights_of(AccountId(7)), rights("lsi"));
        let kinds: Vec<bool> = acl.entries().iter().map(|entry| entry.negative).collect();
        assert_eq!(kinds, [false, false, true, true, true]);
    }

    #[test]
    fn an_entry_is_replaced_added_to_and_taken_from() {
        let mut acl = Acl::default();
        let mut change = |how, letters: &str| {
            acl.change((account(1), false), how, rights(letters)).unwrap();
            acl.rights_of(AccountId(1))
        };
        assert_eq!(change(RightsChange::Remove, "l"), Rights::NONE);
        assert_eq!(change(RightsChange::Add, "lr"), rights("lr"));
        assert_eq!(change(RightsChange::Add, "rs"), rights("lrs"));
        assert_eq!(change(RightsChange::Remove, "ra"), rights("ls"));
        assert_eq!(change(RightsChange::Replace, "p"), rights("p"));
        assert_eq!(change(RightsChange::Remove, "p"), Rights::NONE);
        assert_eq!(acl, Acl::default());
    }

    #[test]
    fn a_list_ends_at_its_bound() {
        let mut acl = Acl::default();
        let mut add = |id| acl.change((account(id), false), RightsChange::Replace, Rights::ALL);
        let most = ACL_ENTRIES_MAX as u64;
        assert!((1..=most).all(|id| add(id).is_some()));
        assert_eq!(add(most + 1), None);
        assert_eq!(add(1), Some(()), "one that is there may be changed");
        acl.forget(account(1));
        assert!(!acl.names(account(1)));
        assert_eq!(acl.change((account(u64::MAX), true), RightsChange::Add, Rights::ALL), Some(()));
    }
}
