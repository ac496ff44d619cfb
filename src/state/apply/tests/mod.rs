//! Apply, told as small stories over rows in memory.

mod accounts;
mod acl;
mod alarms;
mod authorities;
mod backups;
mod blocks;
mod certificate;
mod dkim;
mod drained;
mod firewall;
mod greylist;
mod holder;
mod idempotency;
mod limits;
mod lists;
mod mailboxes;
mod messages;
mod metadata;
mod node_ids;
mod properties;
mod queue;
mod relays;
mod removed;
mod replace;
mod replicas;
mod seats;
mod sieve;
mod srs;
mod sts;
mod sweeping;
mod tls_reports;
mod transfer;

use super::{Applied, Overlay, apply};
use crate::mail::flags::{NamedFlags, SystemFlag};
use crate::mail::ids::{AccountId, BodyId, CommandId, LogIndex, MailboxId, NodeId, Timestamp, Uid};
use crate::state::change::{Change, MessagesChanged};
use crate::state::command::{
    Command, Deliver, DeliverTo, FlagChange, NewUser, PlacedBody, Proposal, StoreFlags, Transfer, UidSet,
};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::reading;
use crate::state::record::MailboxRecord;
use crate::state::rows::MemoryRows;
use crate::state::view::MailboxView;

pub const NODE: NodeId = NodeId(1);

/// Rows, and a log that grows by one command after the other.
pub struct World {
    pub rows: MemoryRows,
    pub index: LogIndex,
    pub at: Timestamp,
}

impl World {
    pub fn new() -> Self {
        Self { rows: MemoryRows::default(), index: LogIndex(0), at: Timestamp(1_700_000_000_000) }
    }

    /// A world with alice, and her account.
    pub fn with_alice() -> (Self, AccountId) {
        let mut world = Self::new();
        let account = world.add_user("alice", None);
        (world, account)
    }

    pub fn proposal(&self, command: Command) -> Proposal {
        let id = CommandId(u128::from(self.index.0) + 1);
        Proposal { id, base: self.index, at: self.at, command }
    }

    /// Commits and applies one proposal.
    pub fn apply(&mut self, proposal: &Proposal) -> Applied {
        self.index.0 += 1;
        let mut batch = Overlay::new();
        let applied = apply(&self.rows, &mut batch, self.index, proposal).unwrap();
        self.rows.write(batch.into_batch());
        applied
    }

    pub fn run(&mut self, command: Command) -> Applied {
        let proposal = self.proposal(command);
        self.apply(&proposal)
    }

    pub fn outcome(&mut self, command: Command) -> Outcome {
        self.run(command).outcome
    }

    pub fn done(&mut self, command: Command) {
        assert_eq!(self.outcome(command), Outcome::Done);
    }

    pub fn refusal(&mut self, command: Command) -> Refusal {
        let before = self.visible();
        match self.outcome(command) {
            Outcome::Refused(refusal) => {
                assert_eq!(before, self.visible(), "a refusal changed rows");
                refusal
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The rows without what each entry leaves of itself: its outcome and counters.
    fn visible(&self) -> MemoryRows {
        use crate::state::keys::{COMMAND, META, SLOT, SLOT_PART};
        let mut rows = self.rows.clone();
        rows.0.retain(|key, _| ![COMMAND, META, SLOT, SLOT_PART].contains(&key[0]));
        rows
    }

    pub fn add_user(&mut self, name: &str, quota_bytes: Option<u64>) -> AccountId {
        let user = NewUser { name: name.into(), password_phc: "$argon2id$x".into(), quota_bytes };
        match self.outcome(Command::AddUser(user)) {
            Outcome::UserAdded { account } => account,
            other => panic!("{other:?}"),
        }
    }

    pub fn create(&mut self, account: AccountId, name: &str) -> MailboxId {
        match self.outcome(Command::CreateMailbox { account, name: name.into(), special_use: None }) {
            Outcome::MailboxCreated { mailbox, .. } => mailbox,
            other => panic!("{other:?}"),
        }
    }

    pub fn mailbox(&self, account: AccountId, name: &str) -> MailboxRecord {
        reading::mailbox_by_name(&self.rows, account, name).unwrap().expect("the mailbox exists")
    }

    pub fn names(&self, account: AccountId) -> Vec<String> {
        let mailboxes = reading::mailboxes(&self.rows, account).unwrap();
        mailboxes.into_iter().map(|mailbox| mailbox.name).collect()
    }

    pub fn view(&self, mailbox: MailboxId) -> MailboxView {
        MailboxView::load(&self.rows, mailbox).unwrap().expect("the mailbox exists")
    }

    pub fn uids(&self, mailbox: MailboxId) -> Vec<u32> {
        self.view(mailbox).messages().iter().map(|message| message.uid.0).collect()
    }

    /// Delivers `count` mails of ten octets, with different bodies, to INBOX.
    pub fn deliver(&mut self, account: AccountId, count: u8) {
        for seed in 0..count {
            let delivered = self.outcome(deliver(&[account], body(seed, 10)));
            assert!(
                matches!(&delivered, Outcome::Delivered { results } if results[0].is_ok()),
                "{delivered:?}"
            );
        }
    }

    pub fn store(&mut self, mailbox: MailboxId, uid: u32, flag: SystemFlag) {
        let stored = self.outcome(store(mailbox, &[uid], FlagChange::Add, named(&[flag], &[])));
        let is_stored = matches!(stored, Outcome::Stored { .. } | Outcome::StoredNothing { .. });
        assert!(is_stored, "{stored:?}");
    }
}

pub fn body(seed: u8, size: u32) -> PlacedBody {
    PlacedBody { id: BodyId([seed; 32]), size, on: vec![NODE] }
}

pub fn deliver(to: &[AccountId], body: PlacedBody) -> Command {
    let to = to.iter().map(|account| DeliverTo {
        account: *account,
        mailbox: String::new(),
        flags: NamedFlags::default(),
    });
    Command::Deliver(Deliver { body, to: to.collect() })
}

pub fn store(mailbox: MailboxId, uids: &[u32], change: FlagChange, flags: NamedFlags) -> Command {
    Command::Store(StoreFlags { mailbox, uids: set(uids), change, flags, unchanged_since: None })
}

pub fn named(system: &[SystemFlag], keywords: &[&str]) -> NamedFlags {
    NamedFlags {
        system: system.iter().fold(0, |all, flag| all | *flag as u8),
        keywords: keywords.iter().map(|name| name.to_string()).collect(),
    }
}

pub fn set(uids: &[u32]) -> UidSet {
    UidSet::from_ranges(uids.iter().map(|uid| (Uid(*uid), Uid(*uid))))
}

pub fn messages_changed(applied: &Applied) -> Vec<&MessagesChanged> {
    let changes = applied.changes.iter();
    changes.filter_map(|change| if let Change::Messages(it) = change { Some(it) } else { None }).collect()
}
