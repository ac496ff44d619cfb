//! Golden bytes: what was ever released must be read for ever. And hostile bytes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::mail::dsn::{Notify, Ret};
use crate::mail::flags::{Flags, NamedFlags};
use crate::mail::ids::*;
use crate::mail::rights::Rights;
use crate::state::acl::{Grantee, RightsChange};
use crate::state::alarms::{AlarmId, AlarmKind, ClearAlarm, RaiseAlarm};
use crate::state::authorities::NewAuthority;
use crate::state::backups::NoteBackup;
use crate::state::blocks::{Host, NewBlock, NoteOffense, Offense, Reason};
use crate::state::certificate::{
    AcmeAccount, AcmeAnswer, AcmeOrder, AcmeStep, AcmeWhat, NewCertificate, Renewal,
};
use crate::state::command::*;
use crate::state::dkim::{DkimAlgorithm, NewDkimKey};
use crate::state::firewall::{FirewallAction, FirewallPort, NewFirewallRule, Protocol, Source};
use crate::state::greylist::{ClientNet, GreyTerms, GreyTry, TripletId};
use crate::state::holder::{AddressHolder, PassAddresses};
use crate::state::limits::{BudgetId, Granted, Limit, TakeTokens};
use crate::state::lists::{NewRule, RuleAction, RuleKind};
use crate::state::outcome::{Delivered, Refusal};
use crate::state::queue::{
    Acceptance, AcceptanceWithTls, NewParcel, NewQueued, NewRecipient, ParcelId, ParcelReport,
    RecipientResult, Report, Steering, Submit, TlsWish,
};
use crate::state::record::{MessageRecord, ReplicaRecord};
use crate::state::relays::{NewRelay, RelayFor, RelayLogin, RelayTls};
use crate::state::removed::{RemovedId, Undelete};
use crate::state::scram_keys::{NewScramKeys, ScramKeys};
use crate::state::seats::{HeldSeats, Seats, TakeSeats};
use crate::state::secret::Secret;
use crate::state::settings::ListenerName;
use crate::state::sieve::{ReplyId, VacationReply};
use crate::state::srs::{NewSrsSecret, SrsSecret};
use crate::state::sts::{KeepStsPolicy, StsMode, StsPolicy};
use crate::state::tls_reports::{
    Day, DomainTally, Extent, FailedSession, PolicyTally, TlsPolicy, TlsPolicyKind, TlsReport, TlsResult,
    TlsTally,
};
use crate::state::versions::why_not_yet;

/// `name hex`, a line each. Lines are added, never changed: `POLLUX_WRITE_GOLDEN=1 cargo test golden`
/// adds those that are missing.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/codec/golden.txt");

fn body() -> PlacedBody {
    PlacedBody { id: BodyId([0xab; 32]), size: 70_000, on: vec![NodeId(1), NodeId(300)] }
}

fn flags() -> NamedFlags {
    NamedFlags { system: 9, keywords: vec!["$Work".into()] }
}

fn uids() -> UidSet {
    UidSet::from_ranges([(Uid(1), Uid(3)), (Uid(70_000), Uid::MAX)])
}

fn date() -> InternalDate {
    InternalDate { unix_seconds: -1, zone_minutes: -90 }
}

fn scram() -> Box<NewScramKeys> {
    let keys = ScramKeys { salt: [1; 16], iterations: 100_000, stored_key: [2; 32], server_key: [3; 32] };
    Box::new(NewScramKeys { keys, stand_in_secret: [4; 32] })
}

fn commands() -> Vec<Command> {
    let (account, mailbox, name) = (AccountId(7), MailboxId(260), || "n\u{fc}".to_owned());
    let user = NewUser { name: name(), password_phc: "$p".into(), quota_bytes: Some(1 << 40) };
    let to = vec![DeliverTo { account, mailbox: name(), flags: flags() }];
    let message = || NewMessage { body: body(), flags: flags(), internal_date: date() };
    let (change, unchanged_since) = (FlagChange::Remove, Some(ModSeq(9)));
    vec![
        Command::AddDomain { name: name() },
        Command::RemoveDomain { name: name() },
        Command::AddUser(user.clone()),
        Command::SetPassword { name: name(), password_phc: "$p".into() },
        Command::SetQuota { name: name(), quota_bytes: None },
        Command::SetUserEnabled { name: name(), enabled: true },
        Command::RemoveUser { name: name() },
        Command::SetAlias { address: name(), targets: vec![name(), "b".into()] },
        Command::RemoveAlias { address: name() },
        Command::SetSettings { changes: vec![("a".into(), Some("b".into())), ("c".into(), None)] },
        Command::CreateMailbox { account, name: name(), special_use: Some(SpecialUse::Trash) },
        Command::DeleteMailbox { account, name: name() },
        Command::RenameMailbox { account, from: name(), to: "t".into() },
        Command::Subscribe { account, name: name(), subscribed: false },
        Command::Deliver(Deliver { body: body(), to }),
        Command::Append(Append { mailbox, messages: vec![message()] }),
        Command::Store(StoreFlags { mailbox, uids: uids(), change, flags: flags(), unchanged_since }),
        Command::Expunge { mailbox, uids: uids(), only_deleted: true },
        Command::Copy(Transfer { from: mailbox, uids: uids(), to: MailboxId(1) }),
        Command::Move(Transfer { from: mailbox, uids: uids(), to: MailboxId(1) }),
        Command::ClaimRecent { mailbox, up_to: Uid(5) },
        Command::AddReplica { node: NodeId(2) },
        Command::RemoveReplica { node: NodeId(2) },
        Command::MarkBehind { node: NodeId(2) },
        Command::MarkInSync { node: NodeId(2), complete_to: LogIndex(9) },
        Command::SetClusterVersion { version: 3 },
        Command::GiveNodeId { above: NodeId(300) },
        Command::SetAcl(SetAcl {
            by: account,
            mailbox,
            identifier: name(),
            change: RightsChange::Remove,
            rights: Rights::ALL,
        }),
        Command::AsGuest { guest: account, command: guest_commands().remove(0) },
        Command::Replace(Box::new(Replace {
            from: mailbox,
            uid: Uid(5),
            to: MailboxId(1),
            message: message(),
        })),
        Command::AddUserWithScram { user: user.clone(), keys: scram() },
        Command::SetPasswordWithScram { name: name(), password_phc: "$p".into(), keys: scram() },
        Command::AddScramKeys { name: name(), password_phc: "$p".into(), keys: scram() },
        Command::RetireReplica { node: NodeId(2), lost: true },
        Command::ReinstateReplica { node: NodeId(2), retired_at: LogIndex(9) },
        Command::SetMetadata(SetMetadata {
            account,
            mailbox: Some(mailbox),
            entries: vec![
                MetadataEntry { name: "/private/a".into(), value: Some(vec![0, 255]) },
                MetadataEntry { name: "/shared/b".into(), value: None },
            ],
        }),
        Command::Submit(Box::new(submit())),
        Command::LeaseQueued { lease: LeaseId(1 << 60), node: NodeId(2), parcels: vec![parcel()] },
        Command::RenewLeases { leases: vec![LeaseId(1 << 60)] },
        Command::EndLease { lease: LeaseId(1 << 60), renewals: 300 },
        Command::ReportDelivery(Box::new(report())),
        Command::SteerQueue { messages: vec![QueueId(300)], steering: Steering::Remove },
        Command::AddRule(Box::new(NewRule {
            name: "r".into(),
            kind: RuleKind::Client,
            pattern: "10.0.0.0/8".into(),
            action: RuleAction::Relay,
            before: Some("s".into()),
        })),
        Command::RemoveRule { name: "r".into() },
        Command::MoveRule { name: "r".into(), before: None },
        Command::TakeTokens(TakeTokens {
            node: NodeId(2),
            budget: BudgetId {
                until: Timestamp(1 << 40),
                limit: Limit::MessagesPerMinute,
                key: vec![192, 0, 2, 1],
            },
            tokens_max: 300,
            grant: LogIndex(9),
            unused: 2,
            needed: 1,
        }),
        Command::NoteOffense(Box::new(NoteOffense {
            host: Host::V4([192, 0, 2, 1]),
            offense: Offense::UnknownRecipient,
            tolerated: 300,
            forget_at: Timestamp(1 << 40),
            blocked_until: Timestamp(1 << 41),
        })),
        Command::AddBlock(Box::new(NewBlock {
            host: Host::V6([32, 1, 13, 184, 0, 0, 0, 7]),
            until: Timestamp(1 << 40),
            note: "n".into(),
        })),
        Command::ClearBlocks { host: Some(Host::V4([192, 0, 2, 1])) },
        Command::TakeSeats(Box::new(TakeSeats {
            node: NodeId(2),
            host: Host::V4([192, 0, 2, 1]),
            seats_max: 300,
            in_use: 7,
            wants_one: true,
            silent: vec![NodeId(1)],
        })),
        Command::AddDkimKey(Box::new(NewDkimKey {
            domain: "a.test".into(),
            selector: "s".into(),
            algorithm: DkimAlgorithm::Ed25519Sha256,
            private: Secret("pem".into()),
            signs: true,
        })),
        Command::RemoveDkimKey { domain: "a.test".into(), selector: "s".into() },
        Command::UseDkimKey { domain: "a.test".into(), selector: "s".into(), signs: true },
        Command::Greylist(Box::new(GreyTry {
            client: ClientNet::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1]),
            triplet: TripletId([0xcd; 16]),
            terms: GreyTerms {
                delay_ms: 300_000,
                retry_window_ms: 1 << 33,
                lifetime_ms: 1 << 34,
                client_passes: 5,
            },
        })),
        Command::AddRelay(Box::new(NewRelay {
            name: "r".into(),
            applies: RelayFor::Sender("a@a.test".into()),
            host: "h".into(),
            port: 587,
            tls: RelayTls::Forced,
            login: Some(RelayLogin { user: "u".into(), password: Secret("p".into()) }),
        })),
        Command::RemoveRelay { name: "r".into() },
        Command::PutScript { account, name: name(), text: "keep;".into() },
        Command::RemoveScript { account, name: name() },
        Command::RenameScript { account, from: name(), to: "t".into() },
        Command::ActivateScript { account, name: Some(name()) },
        Command::Vacation(Box::new(VacationReply {
            account,
            reply: ReplyId([0xcd; 16]),
            until: Timestamp(1 << 40),
            submit: submit(),
        })),
        Command::AddFirewallRule(Box::new(NewFirewallRule {
            name: "r".into(),
            ports: firewall_ports(),
            action: FirewallAction::Reject,
            sources: vec![Source { address: [10, 0, 0, 0].into(), bits: 8 }],
            interface: Some("eth0".into()),
            before: Some("s".into()),
        })),
        Command::RemoveFirewallRule { name: "r".into() },
        Command::AddAuthority(Box::new(NewAuthority {
            name: name(),
            hosts: Some("h".into()),
            certificate: vec![0x30, 255],
        })),
        Command::RemoveAuthority { name: name() },
        Command::KeepStsPolicy(Box::new(KeepStsPolicy { domain: "a.test".into(), policy: sts_policy() })),
        Command::Accept(Box::new(Acceptance { mail: submit(), passed_on: true, notices: vec![submit()] })),
        Command::KeepSrsSecret(Box::new(NewSrsSecret { secret: Secret("s".into()), replaces: true })),
        Command::RaiseAlarm(Box::new(RaiseAlarm {
            alarm: AlarmId { kind: AlarmKind::QueueOld, about: Some(NodeId(300)) },
            by: NodeId(2),
            note: name(),
            mail: Some(submit()),
        })),
        Command::ClearAlarm(Box::new(ClearAlarm {
            alarm: AlarmId { kind: AlarmKind::Degraded, about: None },
            mail: Some(submit()),
        })),
        Command::DrainNode { node: NodeId(2) },
        Command::UndrainNode { node: NodeId(2) },
        Command::AcceptWithTls(Box::new(AcceptanceWithTls {
            acceptance: Acceptance { mail: submit(), passed_on: false, notices: vec![submit()] },
            tls: TlsWish::Waived,
        })),
        Command::TallyTls(Box::new(TlsTally {
            node: NodeId(2),
            day: Day(20_000),
            domains: vec![DomainTally { domain: "a.test".into(), policies: vec![tls_tally()] }],
        })),
        Command::ReportTls(Box::new(TlsReport {
            day: Day(20_000),
            domain: "a.test".into(),
            changes: 300,
            extent: Extent::Whole,
            mails: vec![submit()],
        })),
        Command::NoteBackup(NoteBackup { of: Timestamp(1 << 40), by: NodeId(300), id: "n".into() }),
        Command::Undelete(Undelete { from: vec![removed_id()], into: Some("n".into()) }),
        Command::ForgetRemoved { before: Timestamp(1 << 40) },
        Command::PassAddresses(PassAddresses {
            before: None,
            after: Some(AddressHolder { node: NodeId(300), term: 1 << 33 }),
        }),
        Command::SetCertificate(Box::new(new_certificate())),
        Command::RemoveCertificate,
        Command::RenewCertificate(Renewal::NewKey),
        acme(acme_steps().remove(0)),
    ]
}

/// A node of the first release stops before what it cannot read.
#[test]
fn a_command_that_the_first_release_does_not_know_needs_a_newer_cluster_version() {
    let last_of_the_first = 74;
    for command in commands() {
        let bytes = bincode::encode_to_vec(&command, standard()).unwrap();
        let (variant, _): (u32, usize) = bincode::decode_from_slice(&bytes, standard()).unwrap();
        assert_eq!(why_not_yet(&command, 1).is_some(), variant > last_of_the_first, "{variant}: {command:?}");
    }
}

fn acme_steps() -> Vec<AcmeWhat> {
    vec![
        AcmeWhat::Begin { by: NodeId(300), before: Some(Timestamp(1 << 40)) },
        AcmeWhat::Account(acme_account()),
        AcmeWhat::Answers(vec![acme_answer()]),
        AcmeWhat::Failed("w".into()),
        AcmeWhat::Issued { directory: "d".into(), certificate: new_certificate() },
    ]
}

fn acme(what: AcmeWhat) -> Command {
    Command::StepAcme(Box::new(AcmeStep { began: Timestamp(1 << 41), what }))
}

fn new_certificate() -> NewCertificate {
    NewCertificate { chain: vec![vec![0x30, 255], vec![0x30]], private: Secret("p".into()) }
}

fn acme_account() -> AcmeAccount {
    AcmeAccount { directory: "d".into(), credentials: Secret("c".into()) }
}

fn acme_answer() -> AcmeAnswer {
    AcmeAnswer { token: "t".into(), authorization: "t.a".into() }
}

fn removed_id() -> RemovedId {
    let (at, account, mailbox, uid) = (Timestamp(1 << 40), AccountId(300), MailboxId(70_000), Uid(300));
    RemovedId { at, account, mailbox, uid }
}

fn firewall_ports() -> Vec<FirewallPort> {
    let range = FirewallPort::Ports { protocol: Protocol::Udp, first: 5, last: 300 };
    vec![FirewallPort::Service(ListenerName::ManageSieve), range]
}

fn sts_policy() -> StsPolicy {
    let (fetched, until) = (Timestamp(1 << 40), Timestamp(1 << 41));
    StsPolicy { id: "i1".into(), mode: StsMode::Enforce, mx: vec!["*.a.test".into()], fetched, until }
}

fn tls_tally() -> PolicyTally {
    let failure = FailedSession {
        result: TlsResult::StsWebpkiInvalid,
        sending_ip: Some([192, 0, 2, 1].into()),
        mx: Some("mx.a.test".into()),
        receiving_ip: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
        reason: "r".into(),
    };
    let (kind, lines) = (TlsPolicyKind::Tlsa, vec!["3 1 1 00".into()]);
    let policy = TlsPolicy { kind, domain: "mx.a.test".into(), lines };
    PolicyTally { policy, successful: 300, failed: 2, failures: vec![(failure, 2)] }
}

fn parcel() -> ParcelId {
    ParcelId { message: QueueId(300), number: 9 }
}

fn submit() -> Submit {
    let account = AccountId(7);
    let notify = Some(Notify { success: true, failure: false, delay: true });
    let recipient = NewRecipient { address: "n\u{fc}@x.test".into(), orcpt: Some("rfc822;a".into()), notify };
    let queue = NewQueued {
        sender: "a@b.test".into(),
        account: Some(account),
        near: NodeId(2),
        envid: Some("e".into()),
        ret: Some(Ret::Headers),
        smtputf8: true,
        parcels: vec![NewParcel { destination: "x.test".into(), recipients: vec![recipient] }],
    };
    let to = vec![DeliverTo { account, mailbox: "INBOX".into(), flags: flags() }];
    Submit { body: body(), to, queue: Some(queue) }
}

fn report() -> Report {
    let deferred = RecipientResult::Deferred { reply: "450 later".into(), delay_told: true };
    let parcel = ParcelReport {
        parcel: parcel(),
        next_attempt: Timestamp(1 << 40),
        results: vec![(0, RecipientResult::Over), (300, deferred)],
    };
    Report { lease: LeaseId(1 << 60), parcels: vec![parcel], notices: vec![submit()] }
}

fn guest_commands() -> Vec<GuestCommand> {
    let (owner, mailbox, name) = (AccountId(7), MailboxId(260), || "n\u{fc}".to_owned());
    let message = || NewMessage { body: body(), flags: flags(), internal_date: date() };
    let (change, unchanged_since) = (FlagChange::Remove, Some(ModSeq(9)));
    vec![
        GuestCommand::CreateMailbox { owner, name: name() },
        GuestCommand::DeleteMailbox { owner, name: name() },
        GuestCommand::RenameMailbox { owner, from: name(), to: "t".into() },
        GuestCommand::Append(Append { mailbox, messages: vec![message()] }),
        GuestCommand::Store(StoreFlags { mailbox, uids: uids(), change, flags: flags(), unchanged_since }),
        GuestCommand::Expunge { mailbox, uids: uids() },
        GuestCommand::Copy(Transfer { from: mailbox, uids: uids(), to: MailboxId(1) }),
        GuestCommand::Move(Transfer { from: mailbox, uids: uids(), to: MailboxId(1) }),
        GuestCommand::Replace(Box::new(Replace {
            from: mailbox,
            uid: Uid(5),
            to: MailboxId(1),
            message: message(),
        })),
    ]
}

fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::NotFound("a".into()),
        Refusal::Exists("a".into()),
        Refusal::Invalid("a".into()),
        Refusal::OverQuota,
        Refusal::Limit("a".into()),
        Refusal::NotAllowed,
        Refusal::NotPlaced,
        Refusal::StillBehind,
        Refusal::Expired,
        Refusal::NotPermitted,
        Refusal::LastCopies(NodeId(2)),
        Refusal::QueueFull,
        Refusal::LeaseChanged,
        Refusal::ScriptActive,
        Refusal::LastServing(NodeId(2)),
        Refusal::Changed,
    ]
}

fn outcomes() -> Vec<Outcome> {
    let (mailbox, uid_validity, modseq) = (MailboxId(260), UidValidity(1 << 31), ModSeq(77));
    let results = vec![Ok(Delivered { mailbox, uid: Uid(9) }), Err(Refusal::OverQuota)];
    let mut outcomes = vec![
        Outcome::Done,
        Outcome::UserAdded { account: AccountId(7) },
        Outcome::MailboxCreated { mailbox, uid_validity },
        Outcome::Delivered { results },
        Outcome::Appended { uid_validity, uids: vec![Uid(1), Uid(300)] },
        Outcome::Stored { modseq, modified: uids() },
        Outcome::Expunged { modseq, uids: uids() },
        Outcome::Copied { uid_validity, from: uids(), to: UidSet::default() },
    ];
    outcomes.extend(refusals().into_iter().map(Outcome::Refused));
    outcomes.push(Outcome::StoredNothing { modseq, modified: uids() });
    outcomes.push(Outcome::NodeIdGiven { node: NodeId(300) });
    outcomes.push(Outcome::Replaced { uid_validity, uid: Uid(300) });
    outcomes.push(Outcome::ReplacedNothing);
    let delivered = vec![Delivered { mailbox, uid: Uid(9) }];
    outcomes.push(Outcome::Submitted { delivered, queued: Some(QueueId(300)) });
    outcomes.push(Outcome::Leased { parcels: vec![parcel()] });
    outcomes.push(Outcome::Renewed { leases: vec![LeaseId(1 << 60)] });
    outcomes.push(Outcome::Steered { messages: vec![QueueId(300)], looked_at: 2 });
    outcomes.push(Outcome::TokensTaken(Granted { tokens: 300, grant: LogIndex(9), others_hold: true }));
    outcomes.push(Outcome::SeatsTaken(Seats { at: LogIndex(9), seats: 300, holders: vec![NodeId(1)] }));
    outcomes.push(Outcome::Greylisted { left_ms: 300_000 });
    outcomes.push(Outcome::AlreadyAnswered);
    outcomes.push(Outcome::Undeleted { messages: 300 });
    outcomes.push(Outcome::Forgotten { more: true });
    outcomes
}

type Golden = BTreeMap<String, String>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// Adds the record's bytes under its name, and checks that what is written reads back as it.
fn add<R: Record + PartialEq + Debug>(golden: &mut Golden, written: &Golden, name: &str, record: &R) {
    if let Some(bytes) = written.get(name) {
        assert_eq!(decode::<R>(&unhex(bytes)).as_ref(), Ok(record), "{name}: old bytes read differently");
    }
    assert!(golden.insert(name.to_owned(), hex(&encode(record).unwrap())).is_none(), "{name} twice");
}

/// `Deliver(…)` -> `Deliver`
fn variant(value: &impl Debug) -> String {
    format!("{value:?}").chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}

fn add_rows(golden: &mut Golden, written: &Golden) {
    let (account, mailbox, uid) = (AccountId(7), MailboxId(260), Uid(9));
    let meta = MetaRow {
        last_account: account,
        last_mailbox: mailbox,
        last_uid_validity: UidValidity(1 << 31),
        cluster_version: 1,
        domains: 2,
        users: 3,
        aliases: 4,
        sweeps_made: 6,
        sweeps_done: 5,
        outcome_bytes: 300,
        forgotten_to: LogIndex(8),
    };
    add(golden, written, "row.Meta", &meta);
    let standing =
        ReplicaRecord { node: NodeId(1), in_sync: true, since: Timestamp(1 << 40), missed_at: LogIndex(3) };
    add(golden, written, "row.Replicas", &ReplicasRow { replicas: vec![standing] });
    add(golden, written, "row.Budgets", &BudgetsRow { budgets: 300 });
    let held = vec![HeldTokens { node: NodeId(2), tokens: 300, grant: LogIndex(9) }];
    add(golden, written, "row.Blocks", &BlocksRow { blocks: 300, offenders: 7, swept_to: vec![1, 2] });
    add(golden, written, "row.SeatsTally", &SeatsTallyRow { hosts: 300 });
    add(
        golden,
        written,
        "row.Seats",
        &SeatsRow { seats_max: 300, held: vec![HeldSeats { node: NodeId(2), seats: 300 }] },
    );
    let reason = Reason::Operator("n".into());
    let block = BlockRow { since: Timestamp(1 << 40), until: Timestamp(1 << 41), reason };
    add(golden, written, "row.Block", &block);
    let offender = OffenderRow { count: 300, forget_at: Timestamp(1 << 40) };
    add(golden, written, "row.Offender", &offender);
    add(golden, written, "row.Budget", &BudgetRow { spent: 7, held, scarce: true });
    add(golden, written, "row.NodeIds", &NodeIdsRow { last_given: NodeId(300) });
    let retired = vec![Retired { node: NodeId(2), at: LogIndex(300) }];
    add(golden, written, "row.Retired", &RetiredRow { retired });
    add(golden, written, "row.Drained", &DrainedRow { nodes: vec![NodeId(1), NodeId(300)] });
    add(golden, written, "row.MetadataPart", &MetadataPartRow { bytes: vec![0, 255] });
    add(golden, written, "row.MetadataTally", &MetadataTallyRow { entries: 300, bytes: 1 << 33 });
    add(golden, written, "row.MetadataGuest", &MetadataGuestRow {});
    add(golden, written, "row.Domain", &DomainRow {});
    let user = UserRow { account, password_phc: "$p".into(), quota_bytes: Some(9), enabled: true };
    add(golden, written, "row.User", &user);
    add(golden, written, "row.Scram", &ScramRow { keys: scram().keys });
    add(golden, written, "row.StandIn", &StandInRow { secret: [4; 32] });
    let owner = AccountRow { user: "alice".into(), used_bytes: 1 << 33, mailboxes: 6, subscriptions: 5 };
    add(golden, written, "row.Account", &owner);
    add(golden, written, "row.AliasPart", &AliasPartRow { targets: vec!["a".into(), "b@c".into()] });
    add(golden, written, "row.Setting", &SettingRow { value: "v".into() });
    let row = MailboxRow {
        account,
        name: "INBOX".into(),
        uid_validity: UidValidity(1),
        uid_next: uid,
        highest_modseq: ModSeq(77),
        special_use: Some(SpecialUse::Archive),
        no_select: false,
        recent_from: Uid(2),
        messages: 3,
        unseen: 4,
        deleted: 5,
        bytes: 6,
        keywords: 7,
        expunged: 8,
        expunged_floor: ModSeq(9),
    };
    add(golden, written, "row.Mailbox", &row);
    add(golden, written, "row.Name", &NameRow { mailbox: Some(mailbox), subscribed: true });
    add(golden, written, "row.KeywordsPart", &KeywordsPartRow { names: vec!["$Work".into()] });
    add(golden, written, "row.ExpungedPart", &ExpungedPartRow { uids: uids() });
    let flags = Flags { system: 31, keywords: u64::MAX };
    let (body, internal_date, saved_at) = (BodyId([0xcd; 32]), date(), Timestamp(1 << 40));
    let message =
        MessageRecord { uid, body, size: 70_000, flags, modseq: ModSeq(77), internal_date, saved_at };
    add(golden, written, "row.Messages", &MessagesRow { messages: vec![message] });
    let mut acl = Acl::default();
    for (grantee, negative) in [(Grantee::Account(account), true), (Grantee::Anyone, false)] {
        acl.change((grantee, negative), RightsChange::Add, Rights::ALL).unwrap();
    }
    add(golden, written, "row.Acl", &acl);
    add(golden, written, "row.Grant", &GrantRow {});
    add(golden, written, "row.Grants", &GrantsRow { mailboxes: 300 });
    add(golden, written, "row.Body", &BodyRow { references: 2 });
    let slot = SlotRow { id: CommandId(1 << 100), index: LogIndex(9), parts: 1, bytes: 10 };
    add(golden, written, "row.Slot", &slot);
    add(golden, written, "row.SlotPart", &SlotPartRow { bytes: vec![1, 2, 3] });
    add(golden, written, "row.Command", &CommandRow { slot: 65_535 });
    add(golden, written, "row.Sweep.Mailbox", &SweepRow::Mailbox { account, mailbox });
    add(golden, written, "row.Sweep.Account", &SweepRow::Account { account });
    let kept = SweepRow::MailboxKept { account, mailbox, name: "n".into(), at: Timestamp(1 << 40) };
    add(golden, written, "row.Sweep.MailboxKept", &kept);
    let (name, keywords) = ("n".into(), vec![(63, "$Work".into())]);
    add(golden, written, "row.Removed", &RemovedRow { name, keywords, messages: vec![message] });
    let (kind, pattern, action) = (RuleKind::Client, "10.0.0.0/8".into(), RuleAction::Relay);
    let rule = RuleRow { order: 1 << 33, kind, pattern, action, created: Timestamp(1 << 40) };
    add(golden, written, "row.Rule", &rule);
    let (algorithm, private) = (DkimAlgorithm::RsaSha256, Secret("pem".into()));
    let key = DkimKeyRow { algorithm, private, signs: true, created: Timestamp(1 << 40) };
    add(golden, written, "row.DkimKey", &key);
    let relay = RelayRow {
        applies: RelayFor::Recipient("@a.test".into()),
        host: "h".into(),
        port: 587,
        tls: RelayTls::Verified,
        login: Some(RelayLogin { user: "u".into(), password: Secret("p".into()) }),
        created: Timestamp(1 << 40),
    };
    add(golden, written, "row.Relay", &relay);
    let firewall = FirewallRow {
        place: 300,
        ports: firewall_ports(),
        action: FirewallAction::Drop,
        sources: vec![Source { address: [0xfd; 16].into(), bits: 128 }],
        interface: None,
        created: Timestamp(1 << 40),
    };
    add(golden, written, "row.Firewall", &firewall);
    let certificate = vec![0x30, 255];
    let authority = AuthorityRow { hosts: Some("h".into()), certificate, created: Timestamp(1 << 40) };
    add(golden, written, "row.Authority", &authority);
    let secret = |made: u64| SrsSecret { secret: Secret("s".into()), made: Timestamp(made) };
    let srs = SrsRow { current: secret(1 << 41), previous: Some(secret(1 << 40)) };
    add(golden, written, "row.Srs", &srs);
    let certificate = CertificateRow {
        chain: 2,
        private: Secret("p".into()),
        from: Some("d".into()),
        taken: Timestamp(1 << 40),
    };
    add(golden, written, "row.Certificate", &certificate);
    add(golden, written, "row.Chain", &ChainRow { certificate: vec![0x30, 255] });
    let order = AcmeOrder { by: NodeId(300), began: Timestamp(1 << 40), failed: Some("w".into()) };
    let (account, renewal) = (Some(acme_account()), Some(Renewal::SameKey));
    let acme = AcmeRow { account, order: Some(order), failures: 300, renewal };
    add(golden, written, "row.Acme", &acme);
    add(golden, written, "row.AcmeAnswers", &AcmeAnswersRow { answers: vec![acme_answer()] });
    add(golden, written, "row.Rules", &RulesRow { rules: 300, last_order: 1 << 33 });
    add_queue_rows(golden, written);
    add_grey_rows(golden, written);
    add_script_rows(golden, written);
    add(golden, written, "row.StsTally", &StsTallyRow { policies: 300 });
    add(golden, written, "row.StsPolicy", &StsPolicyRow { policy: sts_policy() });
    add(golden, written, "row.StsEnd", &StsEndRow {});
    let alarm = AlarmRow { since: Timestamp(1 << 40), by: NodeId(300), note: "n".into(), mailed: true };
    add(golden, written, "row.Alarm", &alarm);
    let backup = LastBackupRow { of: Timestamp(1 << 40), by: NodeId(300), id: "n".into() };
    add(golden, written, "row.LastBackup", &backup);
    add(golden, written, "row.AddressHolder", &AddressHolderRow { node: NodeId(300), term: 1 << 33 });
}

fn add_script_rows(golden: &mut Golden, written: &Golden) {
    add(golden, written, "row.Scripts", &ScriptsRow { scripts: 300, active: Some("n\u{fc}".into()) });
    add(golden, written, "row.Script", &ScriptRow { bytes: 70_000 });
    add(golden, written, "row.ScriptPart", &ScriptPartRow { bytes: vec![0, 255] });
    add(golden, written, "row.Replies", &RepliesRow { replies: 300 });
    add(golden, written, "row.Reply", &ReplyRow { until: Timestamp(1 << 40) });
    add(golden, written, "row.ReplyEnd", &ReplyEndRow {});
}

fn add_grey_rows(golden: &mut Golden, written: &Golden) {
    let (first, expires) = (Timestamp(1 << 40), Timestamp(1 << 41));
    add(golden, written, "row.GreyTally", &GreyTallyRow { triplets: 300, clients: 2 });
    add(golden, written, "row.GreyTriplet", &GreyTripletRow { first, passed: true, expires });
    add(golden, written, "row.GreyClient", &GreyClientRow { passes: 5, counted: first, expires });
    add(golden, written, "row.GreyEnd", &GreyEndRow {});
}

fn add_queue_rows(golden: &mut Golden, written: &Golden) {
    add(golden, written, "row.Queue", &QueueRow { last_message: QueueId(300), messages: 2, leases: 1 });
    let queued = QueuedRow {
        body: BodyId([0xcd; 32]),
        size: 70_000,
        sender: "a@b.test".into(),
        account: Some(AccountId(7)),
        envid: Some("e".into()),
        ret: Some(Ret::Full),
        smtputf8: true,
        queued_at: Timestamp(1 << 40),
        parcels: 300,
    };
    add(golden, written, "row.Queued", &queued);
    add(golden, written, "row.PassedOn", &PassedOnRow {});
    let PolicyTally { policy, successful, failed, failures } = tls_tally();
    add(golden, written, "row.TlsPolicy", &TlsPolicyRow { policy, successful, failed });
    add(golden, written, "row.TlsFailure", &TlsFailureRow { failure: failures[0].0.clone(), count: 300 });
    let (since, near) = (Timestamp(1 << 40), NodeId(2));
    add(golden, written, "row.TlsDay", &TlsDayRow { since, near, changes: 300, reports: 1, over: true });
    add(golden, written, "row.TlsDays", &TlsDaysRow { domains: 300 });
    add(golden, written, "row.TlsWish", &TlsWishRow { wish: TlsWish::Waived });
    let parcel = ParcelRow {
        destination: "x.test".into(),
        near: NodeId(2),
        attempts: 3,
        next_attempt: Timestamp(1 << 40),
        recipients: 4,
        held: true,
        lease: Some(LeaseId(1 << 60)),
    };
    add(golden, written, "row.Parcel", &parcel);
    let recipient = RecipientRow {
        address: "n\u{fc}@x.test".into(),
        orcpt: Some("rfc822;a".into()),
        notify: Some(Notify { success: false, failure: true, delay: false }),
        reply: Some("450 later".into()),
        delay_told: true,
    };
    add(golden, written, "row.Recipient", &recipient);
    add(golden, written, "row.Due", &DueRow { near: NodeId(2) });
    add(golden, written, "row.Lease", &LeaseRow { node: NodeId(2), renewals: 300, parcels: 5 });
    add(golden, written, "row.Leased", &LeasedRow {});
}

#[test]
fn golden_bytes_never_change() {
    let text = std::fs::read_to_string(PATH).unwrap_or_default();
    let mut written: Golden = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, bytes)| (name.to_owned(), bytes.to_owned()))
        .collect();
    let mut golden = Golden::new();
    let as_guest = |command: GuestCommand| {
        let name = format!("command.AsGuest.{}", variant(&command));
        (name, Command::AsGuest { guest: AccountId(7), command })
    };
    let further_step = |what: AcmeWhat| (format!("command.StepAcme.{}", variant(&what)), acme(what));
    let named = commands().into_iter().map(|command| (format!("command.{}", variant(&command)), command));
    let of_guests = guest_commands().into_iter().map(as_guest);
    let further_steps = acme_steps().into_iter().skip(1).map(further_step);
    for (name, command) in named.chain(of_guests).chain(further_steps) {
        let (id, base, at) = (CommandId(u128::MAX), LogIndex(70_000), Timestamp(1_700_000_000_000));
        add(&mut golden, &written, &name, &Proposal { id, base, at, command });
    }
    for outcome in outcomes() {
        let name = match &outcome {
            Outcome::Refused(refusal) => format!("outcome.Refused.{}", variant(refusal)),
            other => format!("outcome.{}", variant(other)),
        };
        add(&mut golden, &written, &name, &outcome);
    }
    add_rows(&mut golden, &written);
    if std::env::var_os("POLLUX_WRITE_GOLDEN").is_some() {
        let mut all = golden.clone();
        all.extend(written.clone());
        let lines: String = all.iter().map(|(name, bytes)| format!("{name} {bytes}\n")).collect();
        std::fs::write(PATH, lines).unwrap();
        written = all;
    }
    for (name, bytes) in &golden {
        assert_eq!(written.get(name), Some(bytes), "{name}");
    }
}

/// The samples above have every variant: a variant's number is its place.
#[test]
fn every_variant_has_its_golden_bytes() {
    let number = |bytes: Vec<u8>| usize::from(bytes[0]);
    let encoded = |value: &dyn Fn() -> Vec<u8>| number(value());
    for (place, what) in acme_steps().iter().enumerate() {
        assert_eq!(encoded(&|| bincode::encode_to_vec(what, standard()).unwrap()), place);
    }
    for (place, command) in commands().iter().enumerate() {
        assert_eq!(encoded(&|| bincode::encode_to_vec(command, standard()).unwrap()), place);
    }
    // Of the refusals, which are one variant, only the first has a place of its own.
    let is_first =
        |outcome: &Outcome| !matches!(outcome, Outcome::Refused(refusal) if *refusal != refusals()[0]);
    for (place, outcome) in outcomes().iter().filter(|outcome| is_first(outcome)).enumerate() {
        assert_eq!(encoded(&|| bincode::encode_to_vec(outcome, standard()).unwrap()), place);
    }
    for (place, command) in guest_commands().iter().enumerate() {
        assert_eq!(encoded(&|| bincode::encode_to_vec(command, standard()).unwrap()), place);
    }
    for (place, refusal) in refusals().iter().enumerate() {
        assert_eq!(encoded(&|| bincode::encode_to_vec(refusal, standard()).unwrap()), place);
    }
    // The next number is no variant yet; when it is, it needs a sample.
    for (decoded, count) in [
        (bincode::decode_from_slice::<Command, _>(&[commands().len() as u8], standard()).err(), 31),
        (bincode::decode_from_slice::<Outcome, _>(&[23], standard()).err(), 23),
        (bincode::decode_from_slice::<Refusal, _>(&[refusals().len() as u8], standard()).err(), 10),
        (bincode::decode_from_slice::<GuestCommand, _>(&[guest_commands().len() as u8], standard()).err(), 9),
    ] {
        assert!(matches!(decoded, Some(DecodeError::UnexpectedVariant { .. })), "{count}: {decoded:?}");
    }
}

fn sample() -> Vec<u8> {
    let command = Command::AddDomain { name: "x.test".into() };
    encode_proposal(&Proposal { id: CommandId(1), base: LogIndex(2), at: Timestamp(3), command }).unwrap()
}

#[test]
fn what_is_not_known_is_said_and_never_skipped() {
    let with = |at: usize, byte: u8| {
        let mut bytes = sample();
        bytes[at] = byte;
        decode_proposal(&bytes)
    };
    assert!(with(0, 0).is_ok());
    assert_eq!(with(1, 9), Err(CodecError::Unknown { kind: 9, version: 1 }));
    assert_eq!(with(3, 2), Err(CodecError::Unknown { kind: 1, version: 2 }));
    assert!(matches!(with(7, 200), Err(CodecError::Damaged(_))));
    // Byte 11 is the command: one that this build does not know.
    assert_eq!(with(11, 200), Err(CodecError::Unknown { kind: 1, version: 1 }));
    let mut longer = sample();
    longer.push(0);
    assert!(matches!(decode_proposal(&longer), Err(CodecError::Damaged(_))));
    longer[7] += 1;
    assert!(matches!(decode_proposal(&longer), Err(CodecError::Damaged(_))));
    assert!(matches!(decode_proposal(&sample()[..7]), Err(CodecError::Damaged(_))));
}

#[test]
fn sizes_end_at_their_bounds() {
    let row = |len| encode(&SettingRow { value: "x".repeat(len) });
    let most = ROW_BYTES_MAX - HEADER_BYTES - 3;
    assert!(decode::<SettingRow>(&row(most).unwrap()).is_ok());
    assert!(matches!(row(most + 1), Err(CodecError::TooLarge { .. })));
    // A hundred thousand ranges, the most a set may have, fit in a proposal.
    let uids = UidSet::from_ascending((0..UidSet::RANGES_MAX as u32).map(|n| Uid(u32::MAX - 2 * n)).rev());
    assert_eq!(uids.ranges().len(), UidSet::RANGES_MAX);
    let copy = Command::Copy(Transfer { from: MailboxId(1), uids, to: MailboxId(2) });
    let proposal = Proposal { id: CommandId(1), base: LogIndex(0), at: Timestamp(0), command: copy };
    assert_eq!(decode_proposal(&encode_proposal(&proposal).unwrap()), Ok(proposal));
    // What could be written but not read again is not written.
    let command = Command::SetAlias { address: String::new(), targets: vec![String::new(); 2 << 20] };
    let proposal = Proposal { id: CommandId(1), base: LogIndex(0), at: Timestamp(0), command };
    assert!(matches!(encode_proposal(&proposal), Err(CodecError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_quietly(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..43) {
        let length = bytes.len().saturating_sub(HEADER_BYTES) as u8;
        for (at, byte) in [0, kind, 0, 1, 0, 0, 0, length].into_iter().enumerate() {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        let _ = decode_proposal(&bytes);
        let _ = decode_outcome(&bytes);
        let _ = decode::<MailboxRow>(&bytes);
        let _ = decode::<MessagesRow>(&bytes);
        let _ = decode::<Acl>(&bytes);
    }
}
