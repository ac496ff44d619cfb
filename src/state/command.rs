//! What can be asked of the replicated state. Append-only: a change of meaning is a new variant, and
//! a released struct never changes (design 7). Encoding lives in [`super::codec`], beside its golden bytes.

use bincode::{Decode, Encode};

use super::acl::RightsChange;
use super::alarms::{ClearAlarm, RaiseAlarm};
use super::authorities::NewAuthority;
use super::backups::NoteBackup;
use super::blocks::{Host, NewBlock, NoteOffense};
use super::certificate::{AcmeStep, NewCertificate, Renewal};
use super::dkim::NewDkimKey;
use super::firewall::NewFirewallRule;
use super::greylist::GreyTry;
use super::holder::PassAddresses;
use super::limits::TakeTokens;
use super::lists::NewRule;
use super::queue::{Acceptance, AcceptanceWithTls, ParcelId, Report, Steering, Submit};
use super::relays::NewRelay;
use super::removed::Undelete;
use super::scram_keys::NewScramKeys;
use super::seats::TakeSeats;
use super::sieve::VacationReply;
use super::srs::NewSrsSecret;
use super::sts::KeepStsPolicy;
use super::tls_reports::{TlsReport, TlsTally};
use crate::mail::flags::NamedFlags;
use crate::mail::ids::{
    AccountId, BodyId, CommandId, LeaseId, LogIndex, MailboxId, ModSeq, NodeId, QueueId, Timestamp, Uid,
};
use crate::mail::rights::Rights;

/// One command as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// A retry carries the same id and gets the first try's outcome.
    pub id: CommandId,
    /// What the proposer had applied when it first tried. Apply refuses a proposal whose id can no
    /// longer be in the window of remembered ids (`Refusal::Expired`), so none is ever applied twice.
    pub base: LogIndex,
    /// The proposer's clock; the only time that apply knows.
    pub at: Timestamp,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    // Directory.
    AddDomain {
        name: String,
    },
    RemoveDomain {
        name: String,
    },
    AddUser(NewUser),
    /// Sets the password's PHC string (argon2id; hashing is the proposer's work), and drops its SCRAM keys.
    SetPassword {
        name: String,
        password_phc: String,
    },
    /// `None` is the setting `quota.default_bytes`. Bytes.
    SetQuota {
        name: String,
        quota_bytes: Option<u64>,
    },
    SetUserEnabled {
        name: String,
        enabled: bool,
    },
    /// Removes the user with all mailboxes and messages.
    RemoveUser {
        name: String,
    },
    /// Creates the alias or replaces its targets.
    SetAlias {
        address: String,
        targets: Vec<String>,
    },
    RemoveAlias {
        address: String,
    },
    /// All or nothing; `None` unsets. Values are canonical text, validated against the settings table.
    SetSettings {
        changes: Vec<(String, Option<String>)>,
    },

    // Mailboxes.
    CreateMailbox {
        account: AccountId,
        name: String,
        special_use: Option<SpecialUse>,
    },
    DeleteMailbox {
        account: AccountId,
        name: String,
    },
    /// RFC 3501 6.3.5: inferiors follow; renaming INBOX moves its messages.
    RenameMailbox {
        account: AccountId,
        from: String,
        to: String,
    },
    Subscribe {
        account: AccountId,
        name: String,
        subscribed: bool,
    },

    // Messages.
    Deliver(Deliver),
    Append(Append),
    Store(StoreFlags),
    /// Removes those of `uids` that carry \Deleted (`only_deleted`) or all of them (POP3 DELE).
    Expunge {
        mailbox: MailboxId,
        uids: UidSet,
        only_deleted: bool,
    },
    Copy(Transfer),
    Move(Transfer),
    /// Messages below `up_to` have been shown as \Recent to some session (RFC 3501 2.3.2).
    ClaimRecent {
        mailbox: MailboxId,
        up_to: Uid,
    },

    // Replication of bodies (design 3, 6).
    /// A data node becomes known to the in-sync set, at first behind.
    AddReplica {
        node: NodeId,
    },
    RemoveReplica {
        node: NodeId,
    },
    /// `node` did not take a body in time: acks go on without it.
    MarkBehind {
        node: NodeId,
    },
    /// `node` holds every body named up to `complete_to`. Refused (`Refusal::StillBehind`) if a body
    /// was committed without it after that index.
    MarkInSync {
        node: NodeId,
        complete_to: LogIndex,
    },
    /// Raises the replicated cluster version (design 7).
    SetClusterVersion {
        version: u32,
    },

    // Members.
    /// Gives out a node id that was never given before, above `above`: the highest that the proposer knows to be in use.
    GiveNodeId {
        above: NodeId,
    },

    // Access control (RFC 4314).
    SetAcl(SetAcl),
    /// What `guest` does where another's mailbox is concerned: done only if his rights allow it.
    AsGuest {
        guest: AccountId,
        command: GuestCommand,
    },

    // Messages again.
    Replace(Box<Replace>),

    // Passwords with what SCRAM needs of them (RFC 5802 3).
    AddUserWithScram {
        user: NewUser,
        keys: Box<NewScramKeys>,
    },
    SetPasswordWithScram {
        name: String,
        password_phc: String,
        keys: Box<NewScramKeys>,
    },
    /// Of the password behind `password_phc`; refused when the user has another one by now.
    AddScramKeys {
        name: String,
        password_phc: String,
        keys: Box<NewScramKeys>,
    },

    // Replication of bodies again.
    /// The first step of the removal of a data node: from here on a body that lies on no other data node is not
    /// placed. Refused (`Refusal::LastCopies`) while no other is in sync, unless the node's disk is `lost`.
    RetireReplica {
        node: NodeId,
        lost: bool,
    },
    /// The removal came to nothing: the node counts again, at first behind. Only as long as what retired it is the
    /// entry at `retired_at`.
    ReinstateReplica {
        node: NodeId,
        retired_at: LogIndex,
    },
    // Annotations (RFC 5464).
    SetMetadata(SetMetadata),
    // The outbound queue.
    Submit(Box<Submit>),
    /// Takes those of `parcels` that are due and free. The id was never used before.
    LeaseQueued {
        lease: LeaseId,
        node: NodeId,
        parcels: Vec<ParcelId>,
    },
    RenewLeases {
        leases: Vec<LeaseId>,
    },
    /// Gives the lease's parcels back, unless it was renewed since it had been renewed `renewals` times.
    EndLease {
        lease: LeaseId,
        renewals: u64,
    },
    ReportDelivery(Box<Report>),
    SteerQueue {
        messages: Vec<QueueId>,
        steering: Steering,
    },
    // The lists of rules.
    AddRule(Box<NewRule>),
    RemoveRule {
        name: String,
    },
    /// Before that rule; `None`: behind all.
    MoveRule {
        name: String,
        before: Option<String>,
    },
    // Limits over all nodes.
    TakeTokens(TakeTokens),
    // Hosts that are shut out.
    NoteOffense(Box<NoteOffense>),
    AddBlock(Box<NewBlock>),
    /// `None`: all blocks.
    ClearBlocks {
        host: Option<Host>,
    },
    TakeSeats(Box<TakeSeats>),
    // Keys for signing.
    AddDkimKey(Box<NewDkimKey>),
    RemoveDkimKey {
        domain: String,
        selector: String,
    },
    UseDkimKey {
        domain: String,
        selector: String,
        signs: bool,
    },
    /// A stranger names a recipient.
    Greylist(Box<GreyTry>),
    // Servers that mail goes through.
    AddRelay(Box<NewRelay>),
    RemoveRelay {
        name: String,
    },
    // Scripts (RFC 5804).
    /// Makes the script or replaces its text. That it is a script at all is the proposer's affair.
    PutScript {
        account: AccountId,
        name: String,
        text: String,
    },
    /// Refused ([`Refusal::ScriptActive`](super::outcome::Refusal::ScriptActive)) if it is active.
    RemoveScript {
        account: AccountId,
        name: String,
    },
    RenameScript {
        account: AccountId,
        from: String,
        to: String,
    },
    /// `None`: no script is active any longer.
    ActivateScript {
        account: AccountId,
        name: Option<String>,
    },
    /// Submits a reply unless it is remembered ([`Outcome::AlreadyAnswered`](super::outcome::Outcome::AlreadyAnswered)).
    Vacation(Box<VacationReply>),
    // Who may connect where (row 72).
    AddFirewallRule(Box<NewFirewallRule>),
    RemoveFirewallRule {
        name: String,
    },
    // Certificates that are trusted of other servers.
    AddAuthority(Box<NewAuthority>),
    RemoveAuthority {
        name: String,
    },
    /// Of another domain (RFC 8461), unless a later one is kept.
    KeepStsPolicy(Box<KeepStsPolicy>),
    // Mail that is passed on for others.
    Accept(Box<Acceptance>),
    /// Makes the secret of return addresses, or the next one.
    KeepSrsSecret(Box<NewSrsSecret>),
    // What somebody should look after.
    RaiseAlarm(Box<RaiseAlarm>),
    ClearAlarm(Box<ClearAlarm>),
    // Planned work on a box.
    /// The data node lets no clients in and sends no mail until it is undrained. Refused (`Refusal::LastServing`) unless
    /// another one that is in sync serves.
    DrainNode {
        node: NodeId,
    },
    UndrainNode {
        node: NodeId,
    },
    /// As [`Command::Accept`].
    AcceptWithTls(Box<AcceptanceWithTls>),
    // Reports on TLS to other domains (RFC 8460).
    TallyTls(Box<TlsTally>),
    ReportTls(Box<TlsReport>),

    // From here on cluster version 2 (`versions`).
    NoteBackup(NoteBackup),
    /// Puts back what users have expunged.
    Undelete(Undelete),
    /// Gives up what was expunged before that moment, a portion at a time.
    ForgetRemoved {
        before: Timestamp,
    },
    PassAddresses(PassAddresses),
    // The certificate of the mail services.
    SetCertificate(Box<NewCertificate>),
    RemoveCertificate,
    /// Another one is to be ordered before its time.
    RenewCertificate(Renewal),
    StepAcme(Box<AcmeStep>),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SetAcl {
    /// Who changes the list: its owner, or somebody who may.
    pub by: AccountId,
    pub mailbox: MailboxId,
    /// A login name or `anyone`, with `-` before it for rights that are taken away.
    pub identifier: String,
    pub change: RightsChange,
    pub rights: Rights,
}

/// As the commands of the same names. Append-only, as they are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum GuestCommand {
    CreateMailbox {
        owner: AccountId,
        name: String,
    },
    DeleteMailbox {
        owner: AccountId,
        name: String,
    },
    RenameMailbox {
        owner: AccountId,
        from: String,
        to: String,
    },
    Append(Append),
    Store(StoreFlags),
    /// Of those that carry \Deleted.
    Expunge {
        mailbox: MailboxId,
        uids: UidSet,
    },
    Copy(Transfer),
    Move(Transfer),
    Replace(Box<Replace>),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewUser {
    /// The login name: an address's local part, lower case.
    pub name: String,
    pub password_phc: String,
    pub quota_bytes: Option<u64>,
}

/// RFC 6154. Each account gets Drafts, Sent, Junk, Trash and Archive at its making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum SpecialUse {
    Archive,
    Drafts,
    Junk,
    Sent,
    Trash,
}

/// A body that lies durably on nodes. Built only by `cluster::bodies`, after their word.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlacedBody {
    pub id: BodyId,
    /// Octets of the raw message.
    pub size: u32,
    /// Apply refuses (`Refusal::NotPlaced`) unless this covers the in-sync set and is not empty.
    pub on: Vec<NodeId>,
}

/// One accepted mail for its local recipients: all or nothing per recipient, one log entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Deliver {
    pub body: PlacedBody,
    pub to: Vec<DeliverTo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeliverTo {
    pub account: AccountId,
    /// The mailbox wanted; INBOX if it does not exist.
    pub mailbox: String,
    pub flags: NamedFlags,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Append {
    pub mailbox: MailboxId,
    /// All or nothing (RFC 3502).
    pub messages: Vec<NewMessage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewMessage {
    pub body: PlacedBody,
    pub flags: NamedFlags,
    pub internal_date: InternalDate,
}

/// Messages that go from a mailbox into another, or the same.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Transfer {
    pub from: MailboxId,
    pub uids: UidSet,
    pub to: MailboxId,
}

/// `message` comes into `to` as `uid` goes from `from`, in one step (RFC 8508); nothing happens if that has gone already.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Replace {
    pub from: MailboxId,
    pub uid: Uid,
    pub to: MailboxId,
    pub message: NewMessage,
}

/// INTERNALDATE (RFC 9051 2.3.3): an instant, and the zone in which it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct InternalDate {
    /// Seconds since 1970-01-01 UTC.
    pub unix_seconds: i64,
    /// Minutes east of UTC, within a day.
    pub zone_minutes: i16,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoreFlags {
    pub mailbox: MailboxId,
    pub uids: UidSet,
    pub change: FlagChange,
    pub flags: NamedFlags,
    /// RFC 7162 3.1.3: messages changed after this are left alone and reported.
    pub unchanged_since: Option<ModSeq>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum FlagChange {
    Replace,
    Add,
    Remove,
}

/// Annotations of a mailbox or of the server (RFC 5464), all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SetMetadata {
    /// Whose private entries are meant.
    pub account: AccountId,
    /// `None`: what the account keeps with the server, which is private.
    pub mailbox: Option<MailboxId>,
    pub entries: Vec<MetadataEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MetadataEntry {
    /// See [`super::metadata::entry_name`].
    pub name: String,
    /// `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// UIDs as inclusive ranges, ascending, not touching. Bounded at [`UidSet::RANGES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct UidSet {
    ranges: Vec<(Uid, Uid)>,
}

impl UidSet {
    pub const RANGES_MAX: usize = 100_000;

    /// Builds a set from UIDs that ascend strictly; others are ignored.
    pub fn from_ascending(uids: impl IntoIterator<Item = Uid>) -> Self {
        let mut ranges: Vec<(Uid, Uid)> = Vec::new();
        for uid in uids {
            match ranges.last_mut() {
                Some((_, last)) if uid <= *last => {}
                Some((_, last)) if uid.0 == last.0 + 1 => *last = uid,
                _ => ranges.push((uid, uid)),
            }
        }
        Self { ranges }
    }

    /// Builds a set from ranges in any order; the ends of each may stand in either order.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (Uid, Uid)>) -> Self {
        let mut sorted: Vec<(Uid, Uid)> =
            ranges.into_iter().map(|(a, b)| if a <= b { (a, b) } else { (b, a) }).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(Uid, Uid)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some((_, end)) if first.0 <= end.0.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn ranges(&self) -> &[(Uid, Uid)] {
        &self.ranges
    }

    pub fn contains(&self, uid: Uid) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < uid);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= uid)
    }

    /// Every UID of the set, ascending. Only for sets of messages that are or were there: a client's
    /// `1:*` spans four thousand million.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges.iter().flat_map(|(first, last)| (first.0..=last.0).map(Uid))
    }

    /// How many UIDs the ranges span, existing or not.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last.0.saturating_sub(first.0)) + 1).sum()
    }
}
