//! The rows as they lie on disk. Frozen: a change is a new version (see [`super::codec`]).

use bincode::{Decode, Encode};

use super::blocks::Reason;
use super::certificate::{AcmeAccount, AcmeAnswer, AcmeOrder, Renewal};
use super::command::{SpecialUse, UidSet};
use super::dkim::DkimAlgorithm;
use super::firewall::{FirewallAction, FirewallPort, Source};
use super::lists::{RuleAction, RuleKind};
use super::queue::TlsWish;
use super::record::{MailboxRecord, MessageRecord, ReplicaRecord};
use super::relays::{RelayFor, RelayLogin, RelayTls};
use super::scram_keys::{KEY_BYTES, ScramKeys};
use super::seats::HeldSeats;
use super::secret::Secret;
use super::srs::SrsSecret;
use super::sts::StsPolicy;
use super::tls_reports::{FailedSession, TlsPolicy};
use crate::mail::dsn::{Notify, Ret};
use crate::mail::ids::{
    AccountId, BodyId, CommandId, LeaseId, LogIndex, MailboxId, ModSeq, NodeId, QueueId, Timestamp, Uid,
    UidValidity,
};
use crate::mail::rights::Rights;

/// Counters over everything. One row, read by every entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct MetaRow {
    pub last_account: AccountId,
    pub last_mailbox: MailboxId,
    pub last_uid_validity: UidValidity,
    pub cluster_version: u32,
    pub domains: u32,
    pub users: u32,
    pub aliases: u32,
    /// Sweeps are numbered; those from `sweeps_done` to below `sweeps_made` are still to do.
    pub sweeps_made: u64,
    pub sweeps_done: u64,
    /// Bytes of all remembered outcomes.
    pub outcome_bytes: u64,
    /// Outcomes of entries up to this may have been forgotten to stay within the bound on bytes.
    pub forgotten_to: LogIndex,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ReplicasRow {
    pub replicas: Vec<ReplicaRecord>,
}

/// Data nodes that are to be removed, ascending by node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct RetiredRow {
    pub retired: Vec<Retired>,
}

/// What lies on this node alone does not count as placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Retired {
    pub node: NodeId,
    /// The entry that said so.
    pub at: LogIndex,
}

/// Data nodes that are to serve no clients for now, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct DrainedRow {
    pub nodes: Vec<NodeId>,
}

/// Of all nodes that ever were.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeIdsRow {
    pub last_given: NodeId,
}

/// That the row exists is all it says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct DomainRow {}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UserRow {
    pub account: AccountId,
    pub password_phc: String,
    pub quota_bytes: Option<u64>,
    pub enabled: bool,
}

/// Of the password behind the user's `password_phc`. There is none for passwords that were set without.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ScramRow {
    pub keys: ScramKeys,
}

/// What the SCRAM keys of those who have none are derived from; once and for all.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct StandInRow {
    pub secret: [u8; KEY_BYTES],
}

/// A secret is not for logs.
impl std::fmt::Debug for StandInRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StandInRow(…)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AccountRow {
    /// The user's login name.
    pub user: String,
    pub used_bytes: u64,
    pub mailboxes: u32,
    /// Subscribed names, existing or not.
    pub subscriptions: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AliasPartRow {
    pub targets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SettingRow {
    pub value: String,
}

/// A rule of the lists, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RuleRow {
    pub order: u64,
    pub kind: RuleKind,
    pub pattern: String,
    pub action: RuleAction,
    pub created: Timestamp,
}

/// A firewall rule, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FirewallRow {
    /// From 1 on, without gaps.
    pub place: u32,
    pub ports: Vec<FirewallPort>,
    pub action: FirewallAction,
    pub sources: Vec<Source>,
    pub interface: Option<String>,
    pub created: Timestamp,
}

/// A server that mail goes through, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RelayRow {
    pub applies: RelayFor,
    pub host: String,
    pub port: u16,
    pub tls: RelayTls,
    pub login: Option<RelayLogin>,
    pub created: Timestamp,
}

/// A certificate that is trusted, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuthorityRow {
    pub hosts: Option<String>,
    pub certificate: Vec<u8>,
    pub created: Timestamp,
}

/// What return addresses are made with.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SrsRow {
    pub current: SrsSecret,
    pub previous: Option<SrsSecret>,
}

/// The services' certificate, but for its chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CertificateRow {
    /// Certificates in it.
    pub chain: u8,
    pub private: Secret,
    pub from: Option<String>,
    pub taken: Timestamp,
}

/// One certificate of the chain, in DER.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChainRow {
    pub certificate: Vec<u8>,
}

/// What is known of orders for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcmeRow {
    pub account: Option<AcmeAccount>,
    pub order: Option<AcmeOrder>,
    pub failures: u32,
    pub renewal: Option<Renewal>,
}

/// What an ACME server is told when it asks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcmeAnswersRow {
    pub answers: Vec<AcmeAnswer>,
}

/// A key for signing, by its domain and selector.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DkimKeyRow {
    pub algorithm: DkimAlgorithm,
    pub private: Secret,
    pub signs: bool,
    pub created: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct RulesRow {
    pub rules: u32,
    /// Of a rule that was put behind all others; none has a higher one.
    pub last_order: u64,
}

/// A mailbox without its keywords, which would outgrow the row and are seldom read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MailboxRow {
    pub account: AccountId,
    pub name: String,
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub highest_modseq: ModSeq,
    pub special_use: Option<SpecialUse>,
    pub no_select: bool,
    pub recent_from: Uid,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub bytes: u64,
    pub keywords: u8,
    /// UIDs in the rows that remember expunges.
    pub expunged: u32,
    /// Expunges at or below this are no longer all remembered.
    pub expunged_floor: ModSeq,
}

/// A name: of a mailbox, or only subscribed to (RFC 3501 6.3.6), or both.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NameRow {
    pub mailbox: Option<MailboxId>,
    pub subscribed: bool,
}

/// Keywords `16 n` to `16 n + 15` of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct KeywordsPartRow {
    pub names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ExpungedPartRow {
    pub uids: UidSet,
}

/// That a mailbox's access control list names a grantee; the list itself is [`super::acl::Acl`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct GrantRow {}

/// How many lists name a grantee.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GrantsRow {
    pub mailboxes: u32,
}

/// Up to eight messages, ascending by UID.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct MessagesRow {
    pub messages: Vec<MessageRecord>,
}

/// Up to eight messages that were expunged together, ascending by UID.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RemovedRow {
    /// The mailbox's, when they went.
    pub name: String,
    /// What the bits of their keywords meant there.
    pub keywords: Vec<(u8, String)>,
    pub messages: Vec<MessageRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BodyRow {
    /// Messages that refer to it; never 0.
    pub references: u64,
}

/// A remembered outcome: its encoding lies in `parts` rows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SlotRow {
    pub id: CommandId,
    pub index: LogIndex,
    pub parts: u16,
    pub bytes: u32,
}

/// A piece of an encoded outcome, itself a versioned record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SlotPartRow {
    pub bytes: Vec<u8>,
}

/// In which slot the outcome of a command lies.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CommandRow {
    pub slot: u32,
}

/// What a deletion has left to be removed, a few rows with each entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SweepRow {
    Mailbox {
        account: AccountId,
        mailbox: MailboxId,
    },
    Account {
        account: AccountId,
    },
    /// Whose messages are kept for a while, as if they had been expunged at `at`. From cluster version 2 on.
    MailboxKept {
        account: AccountId,
        mailbox: MailboxId,
        name: String,
        at: Timestamp,
    },
}

/// A piece of the value of an annotation; an empty value has one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MetadataPartRow {
    pub bytes: Vec<u8>,
}

/// How many annotations there are, and how much they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct MetadataTallyRow {
    /// Of a mailbox, all; of an account, those that it keeps with the server.
    pub entries: u32,
    /// Of names and values: of a mailbox, or of all that an account has.
    pub bytes: u64,
}

/// An account has private annotations of another's mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MetadataGuestRow {}

/// The outbound queue in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct QueueRow {
    pub last_message: QueueId,
    pub messages: u32,
    pub leases: u32,
}

/// A mail in the queue. Its body counts one reference for as long as it is there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct QueuedRow {
    pub body: BodyId,
    pub size: u32,
    pub sender: String,
    pub account: Option<AccountId>,
    pub envid: Option<String>,
    pub ret: Option<Ret>,
    pub smtputf8: bool,
    pub queued_at: Timestamp,
    /// Parcels that are left.
    pub parcels: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ParcelRow {
    pub destination: String,
    /// The node that is to try it first.
    pub near: NodeId,
    pub attempts: u32,
    pub next_attempt: Timestamp,
    /// Recipients that are left.
    pub recipients: u16,
    pub held: bool,
    pub lease: Option<LeaseId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecipientRow {
    pub address: String,
    pub orcpt: Option<String>,
    pub notify: Option<Notify>,
    /// The last server's, or what stood in the way of one.
    pub reply: Option<String>,
    pub delay_told: bool,
}

/// That a mail in the queue is passed on for others, and is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct PassedOnRow {}

/// What the sender of a mail in the queue wants of TLS, where that is something.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TlsWishRow {
    pub wish: TlsWish,
}

/// A parcel that may be taken.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DueRow {
    pub near: NodeId,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LeaseRow {
    pub node: NodeId,
    pub renewals: u64,
    /// Parcels that are left under it; never 0.
    pub parcels: u16,
}

/// That a lease holds a parcel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct LeasedRow {}

/// Over all budgets of limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct BudgetsRow {
    pub budgets: u32,
}

/// Tokens of one budget that are not free.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct BudgetRow {
    pub spent: u64,
    /// In advance, by nodes.
    pub held: Vec<HeldTokens>,
    pub scarce: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HeldTokens {
    pub node: NodeId,
    pub tokens: u64,
    /// The entry that granted them.
    pub grant: LogIndex,
}

/// Over all blocks, and all counts of offenses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct BlocksRow {
    pub blocks: u32,
    pub offenders: u32,
    /// The count that was looked at last, to see whether it is old.
    pub swept_to: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BlockRow {
    pub since: Timestamp,
    pub until: Timestamp,
    pub reason: Reason,
}

/// How often a host did something.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OffenderRow {
    pub count: u64,
    pub forget_at: Timestamp,
}

/// Over all hosts with seats.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct SeatsTallyRow {
    pub hosts: u32,
}

/// Seats of a host, by nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct SeatsRow {
    /// As of the last that spoke.
    pub seats_max: u64,
    pub held: Vec<HeldSeats>,
}
/// How much greylisting remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct GreyTallyRow {
    pub triplets: u32,
    pub clients: u32,
}

/// A client network, a sender and a recipient that were seen together.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GreyTripletRow {
    pub first: Timestamp,
    /// It came back in time.
    pub passed: bool,
    /// Forgotten from then on.
    pub expires: Timestamp,
}

/// How often triplets of a client network passed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GreyClientRow {
    pub passes: u32,
    /// The last of them.
    pub counted: Timestamp,
    pub expires: Timestamp,
}

/// That something greylisted ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct GreyEndRow {}

/// How many policies of other domains are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct StsTallyRow {
    pub policies: u32,
}

/// The policy of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StsPolicyRow {
    pub policy: StsPolicy,
}

/// That it ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct StsEndRow {}

/// Over all counts of TLS sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct TlsDaysRow {
    /// Domains times days.
    pub domains: u32,
}

/// That TLS sessions with a domain's servers were counted on a day.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TlsDayRow {
    /// Of those before, a report has told.
    pub since: Timestamp,
    /// The node that counted last: it reports first.
    pub near: NodeId,
    /// How often the counts have changed.
    pub changes: u64,
    /// How often they were reported.
    pub reports: u32,
    /// Nothing is counted any longer.
    pub over: bool,
}

/// Sessions under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TlsPolicyRow {
    pub policy: TlsPolicy,
    pub successful: u64,
    pub failed: u64,
}

/// Sessions that failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TlsFailureRow {
    pub failure: FailedSession,
    pub count: u64,
}

/// An account's scripts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ScriptsRow {
    pub scripts: u32,
    /// The name of the one that is active.
    pub active: Option<String>,
}

/// A script without its text.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ScriptRow {
    pub bytes: u32,
}

/// A piece of a script's text; an empty text has none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ScriptPartRow {
    pub bytes: Vec<u8>,
}

/// Vacation replies of an account that are remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct RepliesRow {
    pub replies: u32,
}

/// A vacation reply.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReplyRow {
    pub until: Timestamp,
}

/// That a reply is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ReplyEndRow {}

/// An alarm that is raised.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AlarmRow {
    pub since: Timestamp,
    pub by: NodeId,
    pub note: String,
    pub mailed: bool,
}

/// The backup that holds the latest moment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LastBackupRow {
    pub of: Timestamp,
    pub by: NodeId,
    pub id: String,
}

/// Who holds the virtual addresses; no row: nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AddressHolderRow {
    pub node: NodeId,
    pub term: u64,
}

impl MailboxRow {
    /// As its owner sees it.
    pub fn into_record(self, id: MailboxId, subscribed: bool, keywords: Vec<String>) -> MailboxRecord {
        MailboxRecord {
            id,
            account: self.account,
            name: self.name,
            uid_validity: self.uid_validity,
            uid_next: self.uid_next,
            highest_modseq: self.highest_modseq,
            special_use: self.special_use,
            subscribed,
            no_select: self.no_select,
            recent_from: self.recent_from,
            messages: self.messages,
            unseen: self.unseen,
            deleted: self.deleted,
            bytes: self.bytes,
            keywords,
            rights: Rights::ALL,
        }
    }
}
