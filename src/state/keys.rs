//! Which key holds which row. Big-endian, so that order of bytes is order of meaning.
//!
//! The first byte is the table. Tables are never renumbered; 0x00 and 0xf0 upwards are left to
//! `cluster` and `store` for rows of their own (last applied, membership).

use super::acl::Grantee;
use super::alarms::{AlarmId, AlarmKind};
use super::blocks::{Host, Offense};
use super::greylist::{ClientNet, TripletId};
use super::limits::BudgetId;
use super::queue::ParcelId;
use super::removed::RemovedId;
use super::sieve::ReplyId;
use super::tls_reports::Day;
use crate::mail::ids::{
    AccountId, BodyId, CommandId, LeaseId, MailboxId, ModSeq, NodeId, QueueId, Timestamp, Uid,
};

/// Messages to a row (design 4a): a compromise of memory, disk and the cost of a change.
pub const MESSAGES_PER_ROW: u32 = 8;

pub const META: u8 = 0x01;
pub const REPLICAS: u8 = 0x02;
pub const NODE_IDS: u8 = 0x03;
pub const STAND_IN: u8 = 0x04;
pub const RETIRED: u8 = 0x05;
pub const DRAINED: u8 = 0x06;
pub const LAST_BACKUP: u8 = 0x07;
pub const ADDRESS_HOLDER: u8 = 0x08;
pub const DOMAIN: u8 = 0x10;
pub const USER: u8 = 0x11;
pub const ACCOUNT: u8 = 0x12;
pub const ALIAS: u8 = 0x13;
pub const SETTING: u8 = 0x14;
pub const SCRAM: u8 = 0x15;
pub const RULE: u8 = 0x16;
pub const RULES: u8 = 0x17;
pub const DKIM_KEY: u8 = 0x18;
pub const RELAY: u8 = 0x19;
pub const FIREWALL: u8 = 0x1a;
pub const AUTHORITY: u8 = 0x1b;
pub const SRS: u8 = 0x1c;
pub const CERTIFICATE: u8 = 0x1d;
pub const CHAIN: u8 = 0x1e;
pub const ACME: u8 = 0x1f;
pub const MAILBOX: u8 = 0x20;
pub const NAME: u8 = 0x21;
pub const KEYWORDS: u8 = 0x22;
pub const EXPUNGED: u8 = 0x23;
pub const ACL: u8 = 0x24;
pub const GRANT: u8 = 0x25;
pub const GRANTS: u8 = 0x26;
pub const METADATA: u8 = 0x27;
pub const METADATA_TALLY: u8 = 0x28;
pub const METADATA_GUEST: u8 = 0x29;
pub const MESSAGES: u8 = 0x30;
pub const REMOVED: u8 = 0x31;
pub const BODY: u8 = 0x40;
pub const SLOT: u8 = 0x50;
pub const SLOT_PART: u8 = 0x51;
pub const COMMAND: u8 = 0x52;
pub const SWEEP: u8 = 0x60;
pub const QUEUE: u8 = 0x70;
pub const QUEUED: u8 = 0x71;
pub const PARCEL: u8 = 0x72;
pub const RECIPIENT: u8 = 0x73;
pub const DUE: u8 = 0x74;
pub const LEASE: u8 = 0x75;
pub const LEASED: u8 = 0x76;
pub const PASSED_ON: u8 = 0x77;
pub const TLS_WISH: u8 = 0x78;
pub const BUDGETS: u8 = 0x80;
pub const BUDGET: u8 = 0x81;
pub const BLOCKS: u8 = 0x82;
pub const BLOCK: u8 = 0x83;
pub const OFFENDER: u8 = 0x84;
pub const SEATS_TALLY: u8 = 0x85;
pub const SEATS: u8 = 0x86;
pub const GREY_TALLY: u8 = 0x90;
pub const GREY_TRIPLET: u8 = 0x91;
pub const GREY_CLIENT: u8 = 0x92;
pub const GREY_END: u8 = 0x93;
pub const SCRIPTS: u8 = 0xa0;
pub const SCRIPT: u8 = 0xa1;
pub const SCRIPT_PART: u8 = 0xa2;
pub const REPLIES: u8 = 0xa3;
pub const REPLY: u8 = 0xa4;
pub const REPLY_END: u8 = 0xa5;
pub const STS_TALLY: u8 = 0xb0;
pub const STS_POLICY: u8 = 0xb1;
pub const STS_END: u8 = 0xb2;
pub const TLS_DAYS: u8 = 0xb8;
pub const TLS_DAY: u8 = 0xb9;
pub const TLS_POLICY: u8 = 0xba;
pub const TLS_FAILURE: u8 = 0xbb;
pub const ALARM: u8 = 0xd0;
/// What [`digest`](super::digest) keeps of all other tables.
pub const DIGEST: u8 = 0xe0;

/// `[from, to)` over all keys that begin with `prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

/// Everything under a prefix, whose last byte is never 0xff in our tables unless an id fills it.
pub fn under(prefix: Vec<u8>) -> Span {
    let mut to = prefix.clone();
    while let Some(last) = to.pop() {
        if last < u8::MAX {
            to.push(last + 1);
            break;
        }
    }
    Span { from: prefix, to }
}

pub fn table(table: u8) -> Span {
    under(vec![table])
}

fn key(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

pub fn meta() -> Vec<u8> {
    vec![META]
}

pub fn replicas() -> Vec<u8> {
    vec![REPLICAS]
}

pub fn node_ids() -> Vec<u8> {
    vec![NODE_IDS]
}

pub fn retired() -> Vec<u8> {
    vec![RETIRED]
}

pub fn drained() -> Vec<u8> {
    vec![DRAINED]
}

pub fn last_backup() -> Vec<u8> {
    vec![LAST_BACKUP]
}

pub fn address_holder() -> Vec<u8> {
    vec![ADDRESS_HOLDER]
}

pub fn stand_in() -> Vec<u8> {
    vec![STAND_IN]
}

pub fn domain(name: &str) -> Vec<u8> {
    key(DOMAIN, &[name.as_bytes()])
}

pub fn user(name: &str) -> Vec<u8> {
    key(USER, &[name.as_bytes()])
}

pub fn scram(user: &str) -> Vec<u8> {
    key(SCRAM, &[user.as_bytes()])
}

pub fn account(account: AccountId) -> Vec<u8> {
    key(ACCOUNT, &[&account.0.to_be_bytes()])
}

/// An alias's targets lie in parts, since a thousand of them outgrow a row. NUL stands in no address.
pub fn alias_part(address: &str, part: u16) -> Vec<u8> {
    key(ALIAS, &[address.as_bytes(), &[0], &part.to_be_bytes()])
}

pub fn alias(address: &str) -> Span {
    under(key(ALIAS, &[address.as_bytes(), &[0]]))
}

pub fn setting(name: &str) -> Vec<u8> {
    key(SETTING, &[name.as_bytes()])
}

pub fn rule(name: &str) -> Vec<u8> {
    key(RULE, &[name.as_bytes()])
}

/// How many there are.
pub fn rules() -> Vec<u8> {
    vec![RULES]
}

pub fn relay(name: &str) -> Vec<u8> {
    key(RELAY, &[name.as_bytes()])
}

pub fn firewall(name: &str) -> Vec<u8> {
    key(FIREWALL, &[name.as_bytes()])
}

pub fn authority(name: &str) -> Vec<u8> {
    key(AUTHORITY, &[name.as_bytes()])
}

pub fn srs() -> Vec<u8> {
    vec![SRS]
}

pub fn certificate() -> Vec<u8> {
    vec![CERTIFICATE]
}

/// The leaf is at place 0.
pub fn chain(place: u8) -> Vec<u8> {
    vec![CHAIN, place]
}

pub fn acme() -> Vec<u8> {
    vec![ACME]
}

pub fn acme_answers() -> Vec<u8> {
    vec![ACME, 1]
}

/// A domain has no NUL.
pub fn dkim_key(domain: &str, selector: &str) -> Vec<u8> {
    key(DKIM_KEY, &[domain.as_bytes(), &[0], selector.as_bytes()])
}

/// Of that domain.
pub fn dkim_keys(domain: &str) -> Span {
    under(key(DKIM_KEY, &[domain.as_bytes(), &[0]]))
}

/// Domain and selector.
pub fn dkim_named_by(key: &[u8]) -> (String, String) {
    let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default());
    let (domain, selector) = name.split_once('\0').unwrap_or((&name, ""));
    (domain.to_owned(), selector.to_owned())
}

pub fn mailbox(mailbox: MailboxId) -> Vec<u8> {
    key(MAILBOX, &[&mailbox.0.to_be_bytes()])
}

/// The mailbox within a [`mailbox`] key, or one of its [`keywords`].
pub fn mailbox_of(key: &[u8]) -> Option<MailboxId> {
    id_at(key, 1).map(MailboxId)
}

pub fn name(account: AccountId, name: &str) -> Vec<u8> {
    key(NAME, &[&account.0.to_be_bytes(), name.as_bytes()])
}

pub fn names(account: AccountId) -> Span {
    under(key(NAME, &[&account.0.to_be_bytes()]))
}

/// The names below `superior` in its hierarchy.
pub fn inferiors(account: AccountId, superior: &str) -> Span {
    under(key(NAME, &[&account.0.to_be_bytes(), superior.as_bytes(), b"/"]))
}

/// The name within a [`name`] key. `None` for bytes that no [`name`] made.
pub fn name_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(9..)?).ok()
}

pub fn keywords_part(mailbox: MailboxId, part: u8) -> Vec<u8> {
    key(KEYWORDS, &[&mailbox.0.to_be_bytes(), &[part]])
}

pub fn keywords(mailbox: MailboxId) -> Span {
    under(key(KEYWORDS, &[&mailbox.0.to_be_bytes()]))
}

/// One portion of what one command expunged; `first` is its lowest UID.
pub fn expunged_part(mailbox: MailboxId, modseq: ModSeq, first: Uid) -> Vec<u8> {
    key(EXPUNGED, &[&mailbox.0.to_be_bytes(), &modseq.0.to_be_bytes(), &first.0.to_be_bytes()])
}

pub fn expunged(mailbox: MailboxId) -> Span {
    under(key(EXPUNGED, &[&mailbox.0.to_be_bytes()]))
}

/// The mod-sequence within an [`expunged_part`] key.
pub fn modseq_of(key: &[u8]) -> Option<ModSeq> {
    id_at(key, 9).map(ModSeq)
}

pub fn acl(mailbox: MailboxId) -> Vec<u8> {
    key(ACL, &[&mailbox.0.to_be_bytes()])
}

/// No account has the number 0.
fn grantee(grantee: Grantee) -> [u8; 8] {
    match grantee {
        Grantee::Anyone => 0,
        Grantee::Account(account) => account.0,
    }
    .to_be_bytes()
}

/// That the mailbox's access control list names the grantee.
pub fn grant(whom: Grantee, mailbox: MailboxId) -> Vec<u8> {
    key(GRANT, &[&grantee(whom), &mailbox.0.to_be_bytes()])
}

pub fn grants_of(whom: Grantee) -> Span {
    under(key(GRANT, &[&grantee(whom)]))
}

/// The mailbox within a [`grant`] key.
pub fn granted_of(key: &[u8]) -> Option<MailboxId> {
    id_at(key, 9).map(MailboxId)
}

/// How many of them there are.
pub fn grants(whom: Grantee) -> Vec<u8> {
    key(GRANTS, &[&grantee(whom)])
}

/// A part of the value of an annotation. `mailbox` 0 is the server, `account` 0 is shared; NUL stands in no name.
pub fn metadata_part(mailbox: MailboxId, account: AccountId, entry: &str, part: u16) -> Vec<u8> {
    [metadata_prefix(mailbox, account, entry), vec![0], part.to_be_bytes().to_vec()].concat()
}

/// One annotation.
pub fn metadata_entry(mailbox: MailboxId, account: AccountId, entry: &str) -> Span {
    under([metadata_prefix(mailbox, account, entry), vec![0]].concat())
}

/// The annotations below `entry` in its hierarchy.
pub fn metadata_below(mailbox: MailboxId, account: AccountId, entry: &str) -> Span {
    under([metadata_prefix(mailbox, account, entry), vec![b'/']].concat())
}

/// All annotations of a mailbox, private and shared.
pub fn metadata(mailbox: MailboxId) -> Span {
    under(key(METADATA, &[&mailbox.0.to_be_bytes()]))
}

/// The private annotations of one account, of a mailbox or of the server.
pub fn private_metadata(mailbox: MailboxId, account: AccountId) -> Span {
    under(metadata_prefix(mailbox, account, ""))
}

fn metadata_prefix(mailbox: MailboxId, account: AccountId, entry: &str) -> Vec<u8> {
    key(METADATA, &[&mailbox.0.to_be_bytes(), &account.0.to_be_bytes(), entry.as_bytes()])
}

/// The name of the annotation within a [`metadata_part`] key.
pub fn metadata_entry_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(17..key.len().checked_sub(3)?)?).ok()
}

/// Of the parts of an annotation's value there is always a first.
pub fn is_first_metadata_part(key: &[u8]) -> bool {
    key.ends_with(&[0, 0, 0])
}

/// Whose annotation it is, within a [`metadata_part`] key; 0: it is shared.
pub fn metadata_account_of(key: &[u8]) -> Option<AccountId> {
    id_at(key, 9).map(AccountId)
}

/// The [`metadata_part`] key of the same part in another mailbox.
pub fn metadata_part_in(mailbox: MailboxId, key: &[u8]) -> Vec<u8> {
    [self::metadata(mailbox).from.as_slice(), key.get(9..).unwrap_or_default()].concat()
}

/// Says that `account` has private annotations of another's mailbox.
pub fn metadata_guest(account: AccountId, mailbox: MailboxId) -> Vec<u8> {
    key(METADATA_GUEST, &[&account.0.to_be_bytes(), &mailbox.0.to_be_bytes()])
}

pub fn metadata_guests(account: AccountId) -> Span {
    under(key(METADATA_GUEST, &[&account.0.to_be_bytes()]))
}

/// The mailbox within a [`metadata_guest`] key.
pub fn metadata_guest_mailbox(key: &[u8]) -> Option<MailboxId> {
    id_at(key, 9).map(MailboxId)
}

pub fn mailbox_metadata_tally(mailbox: MailboxId) -> Vec<u8> {
    key(METADATA_TALLY, &[&[0], &mailbox.0.to_be_bytes()])
}

pub fn account_metadata_tally(account: AccountId) -> Vec<u8> {
    key(METADATA_TALLY, &[&[1], &account.0.to_be_bytes()])
}

/// The row that holds `uid`, with up to seven neighbours.
pub fn messages_of(account: AccountId, mailbox: MailboxId, uid: Uid) -> Vec<u8> {
    let group = uid.0 / MESSAGES_PER_ROW;
    key(MESSAGES, &[&account.0.to_be_bytes(), &mailbox.0.to_be_bytes(), &group.to_be_bytes()])
}

pub fn messages(account: AccountId, mailbox: MailboxId) -> Span {
    under(key(MESSAGES, &[&account.0.to_be_bytes(), &mailbox.0.to_be_bytes()]))
}

/// In order of time.
pub fn removed(id: RemovedId) -> Vec<u8> {
    let RemovedId { at, account, mailbox, uid } = id;
    key(
        REMOVED,
        &[&at.0.to_be_bytes(), &account.0.to_be_bytes(), &mailbox.0.to_be_bytes(), &uid.0.to_be_bytes()],
    )
}

/// Within a [`removed`] key.
pub fn removed_of(key: &[u8]) -> Option<RemovedId> {
    let (at, rest) = key.strip_prefix(&[REMOVED])?.split_first_chunk()?;
    let (account, rest) = rest.split_first_chunk()?;
    let (mailbox, uid) = rest.split_first_chunk()?;
    Some(RemovedId {
        at: Timestamp(u64::from_be_bytes(*at)),
        account: AccountId(u64::from_be_bytes(*account)),
        mailbox: MailboxId(u64::from_be_bytes(*mailbox)),
        uid: Uid(u32::from_be_bytes(uid.try_into().ok()?)),
    })
}

/// Those that went before that moment.
pub fn removed_before(before: Timestamp) -> Span {
    Span { from: vec![REMOVED], to: key(REMOVED, &[&before.0.to_be_bytes()]) }
}

/// And at it, or after.
pub fn removed_since(since: Timestamp) -> Span {
    Span { from: key(REMOVED, &[&since.0.to_be_bytes()]), to: vec![REMOVED + 1] }
}

/// The mailbox within a [`messages_of`] key.
pub fn mailbox_of_messages(key: &[u8]) -> Option<MailboxId> {
    id_at(key, 9).map(MailboxId)
}

/// The rows that hold the UIDs `first..=last`.
pub fn messages_between(account: AccountId, mailbox: MailboxId, first: Uid, last: Uid) -> Span {
    let from = messages_of(account, mailbox, first);
    Span { from, to: under(messages_of(account, mailbox, last)).to }
}

pub fn body(body: BodyId) -> Vec<u8> {
    key(BODY, &[&body.0])
}

/// The body within a [`body`] key.
pub fn body_of(key: &[u8]) -> Option<BodyId> {
    Some(BodyId(key.get(1..33)?.try_into().ok()?))
}

pub fn slot(slot: u32) -> Vec<u8> {
    key(SLOT, &[&slot.to_be_bytes()])
}

pub fn slot_part(slot: u32, part: u16) -> Vec<u8> {
    key(SLOT_PART, &[&slot.to_be_bytes(), &part.to_be_bytes()])
}

pub fn command(id: CommandId) -> Vec<u8> {
    key(COMMAND, &[&id.0.to_be_bytes()])
}

pub fn sweep(number: u64) -> Vec<u8> {
    key(SWEEP, &[&number.to_be_bytes()])
}

/// No node has the number 0.
pub fn alarm(alarm: AlarmId) -> Vec<u8> {
    let about = alarm.about.map_or(0, |node| node.0);
    key(ALARM, &[&[alarm.kind.code()], &about.to_be_bytes()])
}

/// The alarm within an [`alarm`] key.
pub fn alarm_of(key: &[u8]) -> Option<AlarmId> {
    let kind = AlarmKind::of_code(*key.get(1)?)?;
    let about = id_at(key, 2).filter(|node| *node != 0).map(NodeId);
    Some(AlarmId { kind, about })
}

fn id_at(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}

pub fn queue() -> Vec<u8> {
    vec![QUEUE]
}

pub fn queued(message: QueueId) -> Vec<u8> {
    key(QUEUED, &[&message.0.to_be_bytes()])
}

/// That it is passed on for others.
pub fn passed_on(message: QueueId) -> Vec<u8> {
    key(PASSED_ON, &[&message.0.to_be_bytes()])
}

/// What its sender wants of TLS.
pub fn tls_wish(message: QueueId) -> Vec<u8> {
    key(TLS_WISH, &[&message.0.to_be_bytes()])
}

/// The mail within a [`queued`] key.
pub fn queued_of(key: &[u8]) -> Option<QueueId> {
    Some(QueueId(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?)))
}

pub fn parcel(parcel: ParcelId) -> Vec<u8> {
    key(PARCEL, &[&parcel.message.0.to_be_bytes(), &parcel.number.to_be_bytes()])
}

pub fn parcels(message: QueueId) -> Span {
    under(key(PARCEL, &[&message.0.to_be_bytes()]))
}

pub fn recipient(parcel: ParcelId, number: u16) -> Vec<u8> {
    key(RECIPIENT, &[&parcel.message.0.to_be_bytes(), &parcel.number.to_be_bytes(), &number.to_be_bytes()])
}

pub fn recipients(parcel: ParcelId) -> Span {
    under(key(RECIPIENT, &[&parcel.message.0.to_be_bytes(), &parcel.number.to_be_bytes()]))
}

/// The recipient's number within a [`recipient`] key.
pub fn recipient_of(key: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(key.get(11..13)?.try_into().ok()?))
}

/// A parcel that may be taken at `at`. First-time mail stands apart from what was tried before. NUL stands in no
/// destination.
pub fn due(tried: bool, destination: &str, at: Timestamp, parcel: ParcelId) -> Vec<u8> {
    let tail = [&at.0.to_be_bytes()[..], &parcel.message.0.to_be_bytes(), &parcel.number.to_be_bytes()];
    key(DUE, &[&[u8::from(tried)], destination.as_bytes(), &[0], &tail.concat()])
}

pub fn all_due(tried: bool) -> Span {
    under(vec![DUE, u8::from(tried)])
}

/// The first key behind all of `destination`.
pub fn behind_due(tried: bool, destination: &str) -> Vec<u8> {
    key(DUE, &[&[u8::from(tried)], destination.as_bytes(), &[1]])
}

/// Destination, time and parcel within a [`due`] key.
pub fn due_of(key: &[u8]) -> Option<(&str, Timestamp, ParcelId)> {
    let (head, tail) = key.split_at_checked(key.len().checked_sub(18)?)?;
    let destination = std::str::from_utf8(head.get(2..)?.strip_suffix(&[0])?).ok()?;
    let at = Timestamp(u64::from_be_bytes(tail.get(..8)?.try_into().ok()?));
    Some((destination, at, parcel_at(tail.get(8..)?)?))
}

pub fn lease(lease: LeaseId) -> Vec<u8> {
    key(LEASE, &[&lease.0.to_be_bytes()])
}

/// The lease within a [`lease`] key.
pub fn lease_of(key: &[u8]) -> Option<LeaseId> {
    Some(LeaseId(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?)))
}

/// That the lease holds the parcel.
pub fn leased(lease: LeaseId, parcel: ParcelId) -> Vec<u8> {
    let parcel = [&parcel.message.0.to_be_bytes()[..], &parcel.number.to_be_bytes()];
    key(LEASED, &[&lease.0.to_be_bytes(), &parcel.concat()])
}

pub fn leased_by(lease: LeaseId) -> Span {
    under(key(LEASED, &[&lease.0.to_be_bytes()]))
}

/// The parcel within a [`leased`] key.
pub fn leased_of(key: &[u8]) -> Option<ParcelId> {
    parcel_at(key.get(9..)?)
}

/// The parcel within a [`parcel`] key.
pub fn parcel_of(key: &[u8]) -> Option<ParcelId> {
    parcel_at(key.get(1..)?)
}

pub fn budgets() -> Vec<u8> {
    vec![BUDGETS]
}

/// By the end of its window, so that what is past stands in front.
pub fn budget(budget: &BudgetId) -> Vec<u8> {
    key(BUDGET, &[&budget.until.0.to_be_bytes(), &[budget.limit.code()], &budget.key])
}

/// The first key of windows that end at `until` or later.
pub fn budgets_from(until: Timestamp) -> Vec<u8> {
    key(BUDGET, &[&until.0.to_be_bytes()])
}

pub fn blocks() -> Vec<u8> {
    vec![BLOCKS]
}

pub fn block(host: Host) -> Vec<u8> {
    key(BLOCK, &[host.octets()])
}

pub fn block_of(key: &[u8]) -> Option<Host> {
    Host::from_octets(key.get(1..)?)
}

pub fn offender(offense: Offense, host: Host) -> Vec<u8> {
    key(OFFENDER, &[&[offense.code()], host.octets()])
}

pub fn seats_tally() -> Vec<u8> {
    vec![SEATS_TALLY]
}

pub fn seats(host: Host) -> Vec<u8> {
    key(SEATS, &[host.octets()])
}

pub fn seats_of(key: &[u8]) -> Option<Host> {
    Host::from_octets(key.get(1..)?)
}

fn parcel_at(bytes: &[u8]) -> Option<ParcelId> {
    let message = QueueId(u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?));
    let number = u16::from_be_bytes(bytes.get(8..10)?.try_into().ok()?);
    (bytes.len() == 10).then_some(ParcelId { message, number })
}

/// What greylisting remembers, by how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GreyKind {
    /// A triplet that did not come back yet.
    Waiting,
    Passed,
    Client,
}

impl GreyKind {
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Passed, Self::Client];

    fn byte(self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Passed => 1,
            Self::Client => 2,
        }
    }
}

/// How much greylisting remembers.
pub fn grey_tally() -> Vec<u8> {
    vec![GREY_TALLY]
}

pub fn grey_triplet(triplet: TripletId) -> Vec<u8> {
    key(GREY_TRIPLET, &[&triplet.0])
}

pub fn grey_client(client: ClientNet) -> Vec<u8> {
    key(GREY_CLIENT, &[&grey_net(client)])
}

pub fn grey_net(client: ClientNet) -> Vec<u8> {
    match client {
        ClientNet::V4(octets) => key(4, &[&octets]),
        ClientNet::V6(octets) => key(6, &[&octets]),
    }
}

/// When what stands under `name` in its own table ends.
pub fn grey_end(kind: GreyKind, expires: Timestamp, name: &[u8]) -> Vec<u8> {
    key(GREY_END, &[&[kind.byte()], &expires.0.to_be_bytes(), name])
}

pub fn grey_ends(kind: GreyKind) -> Span {
    under(vec![GREY_END, kind.byte()])
}

/// The time within a [`grey_end`] key.
pub fn grey_expiry_of(key: &[u8]) -> Option<Timestamp> {
    id_at(key, 2).map(Timestamp)
}

/// The row whose end a [`grey_end`] key is.
pub fn grey_named_by(kind: GreyKind, end: &[u8]) -> Vec<u8> {
    let table = match kind {
        GreyKind::Waiting | GreyKind::Passed => GREY_TRIPLET,
        GreyKind::Client => GREY_CLIENT,
    };
    key(table, &[end.get(10..).unwrap_or_default()])
}

/// How many policies of other domains are kept.
pub fn sts_tally() -> Vec<u8> {
    vec![STS_TALLY]
}

pub fn sts_policy(domain: &str) -> Vec<u8> {
    key(STS_POLICY, &[domain.as_bytes()])
}

/// The domain within an [`sts_policy`] key.
pub fn sts_domain_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(1..)?).ok()
}

/// When a domain's policy ends.
pub fn sts_end(until: Timestamp, domain: &str) -> Vec<u8> {
    key(STS_END, &[&until.0.to_be_bytes(), domain.as_bytes()])
}

/// The time within an [`sts_end`] key.
pub fn sts_until_of(key: &[u8]) -> Option<Timestamp> {
    id_at(key, 1).map(Timestamp)
}

/// The row whose end an [`sts_end`] key is.
pub fn sts_named_by(end: &[u8]) -> Vec<u8> {
    key(STS_POLICY, &[end.get(9..).unwrap_or_default()])
}

/// Of an account's scripts, which is active, and how many there are.
pub fn scripts(account: AccountId) -> Vec<u8> {
    key(SCRIPTS, &[&account.0.to_be_bytes()])
}

pub fn script(account: AccountId, name: &str) -> Vec<u8> {
    key(SCRIPT, &[&account.0.to_be_bytes(), name.as_bytes()])
}

pub fn scripts_of(account: AccountId) -> Span {
    under(key(SCRIPT, &[&account.0.to_be_bytes()]))
}

/// The name within a [`script`] key.
pub fn script_name_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(9..)?).ok()
}

/// A part of a script's text. NUL stands in no name.
pub fn script_part(account: AccountId, name: &str, part: u16) -> Vec<u8> {
    key(SCRIPT_PART, &[&account.0.to_be_bytes(), name.as_bytes(), &[0], &part.to_be_bytes()])
}

pub fn script_parts(account: AccountId, name: &str) -> Span {
    under(key(SCRIPT_PART, &[&account.0.to_be_bytes(), name.as_bytes(), &[0]]))
}

pub fn all_script_parts(account: AccountId) -> Span {
    under(key(SCRIPT_PART, &[&account.0.to_be_bytes()]))
}

/// How many replies of an account are remembered.
pub fn replies(account: AccountId) -> Vec<u8> {
    key(REPLIES, &[&account.0.to_be_bytes()])
}

pub fn reply(account: AccountId, reply: ReplyId) -> Vec<u8> {
    key(REPLY, &[&account.0.to_be_bytes(), &reply.0])
}

/// When a reply is forgotten.
pub fn reply_end(account: AccountId, until: Timestamp, reply: ReplyId) -> Vec<u8> {
    key(REPLY_END, &[&account.0.to_be_bytes(), &until.0.to_be_bytes(), &reply.0])
}

pub fn reply_ends(account: AccountId) -> Span {
    under(key(REPLY_END, &[&account.0.to_be_bytes()]))
}

/// The time within a [`reply_end`] key.
pub fn reply_until_of(key: &[u8]) -> Option<Timestamp> {
    id_at(key, 9).map(Timestamp)
}

/// The reply within a [`reply_end`] key.
pub fn reply_of(key: &[u8]) -> Option<ReplyId> {
    Some(ReplyId(key.get(17..33)?.try_into().ok()?))
}

/// How many counts of TLS sessions there are.
pub fn tls_days() -> Vec<u8> {
    vec![TLS_DAYS]
}

/// TLS sessions with a domain's servers on a day, by days, so that what is past stands in front.
pub fn tls_day(day: Day, domain: &str) -> Vec<u8> {
    key(TLS_DAY, &[&day.0.to_be_bytes(), domain.as_bytes()])
}

/// The first key of `day` and later ones.
pub fn tls_days_from(day: Day) -> Vec<u8> {
    key(TLS_DAY, &[&day.0.to_be_bytes()])
}

/// Day and domain within a [`tls_day`] key.
pub fn tls_day_of(key: &[u8]) -> Option<(Day, &str)> {
    let day = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?);
    Some((Day(day), std::str::from_utf8(&key[5..]).ok()?))
}

/// Sessions under a policy, by its number. A domain has no NUL.
pub fn tls_policy(day: Day, domain: &str, policy: u16) -> Vec<u8> {
    key(TLS_POLICY, &[&day.0.to_be_bytes(), domain.as_bytes(), &[0], &policy.to_be_bytes()])
}

pub fn tls_policies(day: Day, domain: &str) -> Span {
    under(key(TLS_POLICY, &[&day.0.to_be_bytes(), domain.as_bytes(), &[0]]))
}

/// Those of them that failed in one way, by its number.
pub fn tls_failure(day: Day, domain: &str, policy: u16, failure: u16) -> Vec<u8> {
    let numbers = [policy.to_be_bytes(), failure.to_be_bytes()].concat();
    key(TLS_FAILURE, &[&day.0.to_be_bytes(), domain.as_bytes(), &[0], &numbers])
}

pub fn tls_failures(day: Day, domain: &str, policy: u16) -> Span {
    under(key(TLS_FAILURE, &[&day.0.to_be_bytes(), domain.as_bytes(), &[0], &policy.to_be_bytes()]))
}

/// Under whatever policy.
pub fn all_tls_failures(day: Day, domain: &str) -> Span {
    under(key(TLS_FAILURE, &[&day.0.to_be_bytes(), domain.as_bytes(), &[0]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_no_other_within_its_span() {
        let account = AccountId(u64::MAX);
        let one = script_parts(account, "a");
        assert!(one.from < script_part(account, "a", 0) && script_part(account, "a", u16::MAX) < one.to);
        for other in ["a ", "ab", "\u{10ffff}"] {
            let part = script_part(account, other, 7);
            assert!(part < one.from || one.to <= part, "{other}");
            assert_eq!(script_name_of(&script(account, other)), Some(other));
        }
        let (reply, until) = (ReplyId([0xff; 16]), Timestamp(1 << 40));
        let end = reply_end(account, until, reply);
        assert_eq!((reply_until_of(&end), reply_of(&end)), (Some(until), Some(reply)));
        let span = reply_ends(account);
        assert!(span.from < reply_end(account, Timestamp(0), ReplyId([0; 16])) && end < span.to);
    }

    #[test]
    fn keys_of_the_queue_read_back_and_destinations_stand_apart() {
        let parcel = ParcelId { message: QueueId(7 << 40), number: 300 };
        assert_eq!(parcel_of(&super::parcel(parcel)), Some(parcel));
        assert_eq!(leased_of(&leased(LeaseId(u64::MAX), parcel)), Some(parcel));
        assert_eq!(recipient_of(&recipient(parcel, 9)), Some(9));
        let key = |destination, at| due(true, destination, Timestamp(at), parcel);
        assert_eq!(due_of(&key("x.test", 5)), Some(("x.test", Timestamp(5), parcel)));
        assert!(key("x.test", 255) < key("x.test", 256));
        assert!(key("x.test", u64::MAX) < behind_due(true, "x.test"));
        assert!(behind_due(true, "x.test") < key("x.test.example", 0));
        assert!(behind_due(true, "x.test") < key("x.tesu", 0));
        let span = all_due(true);
        assert!(span.from < key("", 0) && key("\u{10ffff}", u64::MAX) < span.to);
        assert!(due(false, "\u{10ffff}", Timestamp(u64::MAX), parcel) < span.from);
    }

    #[test]
    fn an_alarm_is_read_back_from_its_key() {
        for kind in AlarmKind::ALL {
            for about in [None, Some(NodeId(1)), Some(NodeId(u64::MAX))] {
                let id = AlarmId { kind, about };
                assert_eq!(alarm_of(&alarm(id)), Some(id));
            }
        }
        assert_eq!(alarm_of(&[ALARM, 255, 0]), None);
    }

    #[test]
    fn what_greylisting_remembers_is_found_by_its_end() {
        let (id, at) = (TripletId([0xff; 16]), Timestamp(1 << 40));
        for kind in [GreyKind::Waiting, GreyKind::Passed] {
            let end = grey_end(kind, at, &id.0);
            assert_eq!((grey_expiry_of(&end), grey_named_by(kind, &end)), (Some(at), grey_triplet(id)));
            assert!(grey_end(kind, Timestamp(255), &id.0) < grey_end(kind, Timestamp(256), &[0; 16]));
            let span = grey_ends(kind);
            let last = grey_end(kind, Timestamp(u64::MAX), &id.0);
            assert!(span.from < grey_end(kind, Timestamp(0), &[0; 16]) && last < span.to);
        }
        for client in [ClientNet::V4([0xff; 3]), ClientNet::V6([0xff; 8])] {
            let end = grey_end(GreyKind::Client, at, &grey_net(client));
            assert_eq!(
                (grey_expiry_of(&end), grey_named_by(GreyKind::Client, &end)),
                (Some(at), grey_client(client))
            );
        }
    }

    #[test]
    fn a_span_holds_its_prefix_and_nothing_beside() {
        let span = under(vec![0x21, 0, 0xff, 0xff]);
        assert_eq!(span.to, vec![0x21, 1]);
        let account = names(AccountId(u64::MAX));
        assert!(account.from < name(AccountId(u64::MAX), "\u{10ffff}"));
        assert!(name(AccountId(u64::MAX), "\u{10ffff}") < account.to);
    }

    #[test]
    fn order_of_bytes_is_order_of_uids() {
        let at = |uid| messages_of(AccountId(1), MailboxId(2), Uid(uid));
        assert_eq!(at(8), at(15));
        assert!(at(7) < at(8));
        assert!(at(255) < at(256));
        let last = messages_between(AccountId(1), MailboxId(2), Uid(1), Uid::MAX);
        assert!(at(u32::MAX) < last.to && last.to <= messages(AccountId(1), MailboxId(2)).to);
    }

    #[test]
    fn an_annotation_has_no_other_within_its_span() {
        let (mailbox, account) = (MailboxId(u64::MAX), AccountId(u64::MAX));
        let part = |entry, part| metadata_part(mailbox, account, entry, part);
        let one = metadata_entry(mailbox, account, "/private/a");
        assert!(one.from <= part("/private/a", 0) && part("/private/a", u16::MAX) < one.to);
        let below = metadata_below(mailbox, account, "/private/a");
        for (other, is_below) in [("/private/a/b", true), ("/private/a-b", false), ("/private/ab", false)] {
            let key = part(other, 7);
            assert!(key < one.from || one.to <= key, "{other}");
            assert_eq!(below.from <= key && key < below.to, is_below, "{other}");
            assert_eq!(metadata_entry_of(&key), Some(other));
            assert_eq!(metadata_account_of(&key), Some(account));
            assert_eq!(metadata_part_in(MailboxId(9), &key), metadata_part(MailboxId(9), account, other, 7));
        }
    }

    #[test]
    fn the_longest_key_is_within_a_kibibyte() {
        assert!(name(AccountId(1), &"x".repeat(1_000)).len() <= 1_024);
    }
}
