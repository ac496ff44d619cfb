//! What holds for any sequence of commands: no panic, the same rows every time, exact counts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::mail::dsn::Notify;
use crate::mail::ids::{LeaseId, ModSeq, QueueId};
use crate::mail::rights::Rights;
use crate::state::acl::{Acl, Grantee, RightsChange};
use crate::state::alarms::{AlarmId, AlarmKind, ClearAlarm, RaiseAlarm};
use crate::state::authorities::NewAuthority;
use crate::state::backups::NoteBackup;
use crate::state::blocks::{Host, NewBlock, NoteOffense, Offense};
use crate::state::certificate::{AcmeAccount, AcmeAnswer, AcmeStep, AcmeWhat, NewCertificate, Renewal};
use crate::state::command::{
    Append, GuestCommand, InternalDate, MetadataEntry, NewMessage, Replace, SetAcl, SetMetadata, SpecialUse,
};
use crate::state::digest::{self, Tally};
use crate::state::dkim::{DkimAlgorithm, NewDkimKey};
use crate::state::firewall::{FirewallAction, FirewallPort, NewFirewallRule, Protocol, Source};
use crate::state::greylist::{ClientNet, GreyTerms, GreyTry, TripletId};
use crate::state::holder::{AddressHolder, PassAddresses};
use crate::state::keys;
use crate::state::limits::{BudgetId, Limit, TakeTokens};
use crate::state::lists::{NewRule, RuleAction, RuleKind};
use crate::state::queue::{
    Acceptance, AcceptanceWithTls, NewParcel, NewQueued, NewRecipient, ParcelId, ParcelReport,
    RecipientResult, Report, Steering, Submit, TlsWish,
};
use crate::state::relays::{NewRelay, RelayFor, RelayTls};
use crate::state::removed::{RemovedId, UNDELETE_DAYS, Undelete};
use crate::state::scram_keys::{NewScramKeys, ScramKeys};
use crate::state::seats::TakeSeats;
use crate::state::secret::Secret;
use crate::state::sieve::{self, ReplyId, VacationReply};
use crate::state::srs::{NewSrsSecret, SECRET_BYTES};
use crate::state::stored::{
    AccountRow, BodyRow, DueRow, GrantRow, GrantsRow, LeaseRow, LeasedRow, MailboxRow, MessagesRow,
    MetadataGuestRow, MetadataPartRow, MetadataTallyRow, ParcelRow, PassedOnRow, QueuedRow, RecipientRow,
    RemovedRow, RepliesRow, ReplyEndRow, ReplyRow, ScriptsRow, TlsWishRow,
};
use crate::state::sts::{KeepStsPolicy, StsMode, StsPolicy};
use crate::state::tls_reports::{Day, Extent, TlsReport};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "a/b", "a/b/c", "INBOX", "inbox/x", "Sent", "alice", "bob", "x.test"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => Just("\0\u{7f}/../\u{10ffff}".to_owned()),
        1 => Just("x/".repeat(600)),
    ]
}

fn uids() -> impl Strategy<Value = UidSet> {
    let uid = prop_oneof![8 => 0u32..20, 1 => Just(u32::MAX), 1 => any::<u32>()].prop_map(Uid);
    // As a decoder may hand them over: in any order, the ends reversed.
    prop::collection::vec((uid.clone(), uid), 0..4).prop_map(|ranges| {
        let bytes = bincode::encode_to_vec(&ranges, bincode::config::standard()).unwrap();
        bincode::decode_from_slice(&bytes, bincode::config::standard()).unwrap().0
    })
}

fn flags() -> impl Strategy<Value = NamedFlags> {
    (any::<u8>(), prop::collection::vec(text(), 0..3))
        .prop_map(|(system, keywords)| NamedFlags { system, keywords })
}

fn placed() -> impl Strategy<Value = PlacedBody> {
    let on =
        prop_oneof![4 => Just(vec![NodeId(1)]), 1 => Just(vec![]), 2 => Just(vec![NodeId(1), NodeId(2)])];
    let size = prop_oneof![9 => 1u32..100, 1 => Just(u32::MAX)];
    (0u8..4, size, on).prop_map(|(seed, size, on)| PlacedBody { on, ..body(seed, size) })
}

fn annotation() -> impl Strategy<Value = MetadataEntry> {
    let name = prop_oneof![
        9 => prop::sample::select(vec!["/private/a", "/private/a/b", "/shared/a", "/Shared/a", "/shared/vendor/x/y"])
            .prop_map(str::to_owned),
        1 => text(),
    ];
    let size = prop_oneof![8 => 0usize..9, 1 => Just(9_000usize), 1 => Just(70_000usize)];
    (name, prop::option::of(size))
        .prop_map(|(name, size)| MetadataEntry { name, value: size.map(|size| vec![b'x'; size]) })
}

fn phc() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["$x", "$y"]).prop_map(str::to_owned)
}

fn scram() -> impl Strategy<Value = Box<NewScramKeys>> {
    let iterations = prop_oneof![4 => Just(4_096), 1 => any::<u32>()];
    (any::<[u8; 16]>(), iterations, any::<[u8; 32]>()).prop_map(|(salt, iterations, secret)| {
        let keys = ScramKeys { salt, iterations, stored_key: secret, server_key: secret };
        Box::new(NewScramKeys { keys, stand_in_secret: secret })
    })
}

fn command() -> impl Strategy<Value = Command> {
    let account = || (0u64..4).prop_map(AccountId);
    let mailbox = || prop_oneof![3 => Just(1u64), 5 => 0u64..16].prop_map(MailboxId);
    let node = || (1u64..4).prop_map(NodeId);
    let quota = || prop::option::of(prop_oneof![0u64..500, Just(u64::MAX)]);
    let special = prop::option::of(Just(SpecialUse::Junk));
    let change = prop::sample::select(vec![FlagChange::Add, FlagChange::Remove, FlagChange::Replace]);
    let date = (any::<i64>(), any::<i16>())
        .prop_map(|(unix_seconds, zone_minutes)| InternalDate { unix_seconds, zone_minutes });
    let message = (placed(), flags(), date).prop_map(|(body, flags, internal_date)| NewMessage {
        body,
        flags,
        internal_date,
    });
    let message = message.boxed();
    let to = (account(), text(), flags()).prop_map(|(account, mailbox, flags)| DeliverTo {
        account,
        mailbox,
        flags,
    });
    let directory = prop_oneof![
        (text(), quota()).prop_map(|(name, quota_bytes)| {
            Command::AddUser(NewUser { name, password_phc: "$x".into(), quota_bytes })
        }),
        text().prop_map(|name| Command::AddDomain { name }),
        text().prop_map(|name| Command::RemoveDomain { name }),
        text().prop_map(|name| Command::RemoveUser { name }),
        (text(), quota()).prop_map(|(name, quota_bytes)| Command::SetQuota { name, quota_bytes }),
        (text(), text()).prop_map(|(name, password_phc)| Command::SetPassword { name, password_phc }),
        (text(), scram()).prop_map(|(name, keys)| {
            let user = NewUser { name, password_phc: "$x".into(), quota_bytes: None };
            Command::AddUserWithScram { user, keys }
        }),
        (text(), phc(), scram()).prop_map(|(name, password_phc, keys)| {
            Command::SetPasswordWithScram { name, password_phc, keys }
        }),
        (text(), phc(), scram()).prop_map(|(name, password_phc, keys)| Command::AddScramKeys {
            name,
            password_phc,
            keys
        }),
        (text(), prop::collection::vec(text(), 0..40))
            .prop_map(|(address, targets)| Command::SetAlias { address, targets }),
        text().prop_map(|address| Command::RemoveAlias { address }),
        prop::collection::vec((text(), prop::option::of(text())), 0..4)
            .prop_map(|changes| Command::SetSettings { changes }),
        (text(), text(), prop::option::of(text())).prop_map(|(name, pattern, before)| {
            let (kind, action) = (RuleKind::Sender, RuleAction::Reject);
            Command::AddRule(Box::new(NewRule { name, kind, pattern, action, before }))
        }),
        prop::bool::ANY.prop_map(|kept| Command::SetSettings {
            changes: vec![(UNDELETE_DAYS.to_owned(), kept.then(|| "7".to_owned()))],
        }),
        prop::collection::vec((account(), mailbox(), 0u32..20), 0..6).prop_map(|some| Command::Undelete(
            Undelete {
                from: some
                    .into_iter()
                    .map(|(account, mailbox, uid)| RemovedId { at: AT, account, mailbox, uid: Uid(uid) })
                    .collect(),
                into: None,
            }
        )),
        prop::bool::ANY
            .prop_map(|all| Command::ForgetRemoved { before: Timestamp(if all { u64::MAX } else { 0 }) }),
        text().prop_map(|name| Command::RemoveRule { name }),
        (text(), text(), any::<u16>()).prop_map(|(name, host, port)| {
            let (applies, tls) = (RelayFor::All, RelayTls::Off);
            Command::AddRelay(Box::new(NewRelay { name, applies, host, port, tls, login: None }))
        }),
        text().prop_map(|name| Command::RemoveRelay { name }),
        (text(), any::<(u16, u16, u8)>(), prop::option::of(text())).prop_map(
            |(name, (first, last, bits), before)| {
                let ports = vec![FirewallPort::Ports { protocol: Protocol::Tcp, first, last }];
                let sources = vec![Source { address: [10, 0, 0, 0].into(), bits }];
                let (action, interface) = (FirewallAction::Allow, None);
                let new = NewFirewallRule { name, ports, action, sources, interface, before };
                Command::AddFirewallRule(Box::new(new))
            }
        ),
        text().prop_map(|name| Command::RemoveFirewallRule { name }),
        (text(), prop::option::of(text()), prop::collection::vec(any::<u8>(), 0..9)).prop_map(
            |(name, hosts, certificate)| {
                Command::AddAuthority(Box::new(NewAuthority { name, hosts, certificate }))
            }
        ),
        text().prop_map(|name| Command::RemoveAuthority { name }),
        (text(), text(), prop::collection::vec(text(), 0..4), any::<u32>(), any::<u32>()).prop_map(
            |(domain, id, mx, fetched, until)| {
                let (fetched, until) = (Timestamp(fetched.into()), Timestamp(until.into()));
                let policy = StsPolicy { id, mode: StsMode::Enforce, mx, fetched, until };
                Command::KeepStsPolicy(Box::new(KeepStsPolicy { domain, policy }))
            }
        ),
        (text(), text(), any::<bool>()).prop_map(|(domain, selector, signs)| {
            let (algorithm, private) = (DkimAlgorithm::Ed25519Sha256, Secret("pem".to_owned()));
            Command::AddDkimKey(Box::new(NewDkimKey { domain, selector, algorithm, private, signs }))
        }),
        (text(), text()).prop_map(|(domain, selector)| Command::RemoveDkimKey { domain, selector }),
        (text(), text(), any::<bool>()).prop_map(|(domain, selector, signs)| Command::UseDkimKey {
            domain,
            selector,
            signs
        }),
        (text(), prop::option::of(text())).prop_map(|(name, before)| Command::MoveRule { name, before }),
    ];
    let mailboxes = prop_oneof![
        (account(), text(), special).prop_map(|(account, name, special_use)| Command::CreateMailbox {
            account,
            name,
            special_use
        }),
        (account(), text()).prop_map(|(account, name)| Command::DeleteMailbox { account, name }),
        (account(), text(), text()).prop_map(|(account, from, to)| Command::RenameMailbox {
            account,
            from,
            to
        }),
        (account(), text(), any::<bool>()).prop_map(|(account, name, subscribed)| Command::Subscribe {
            account,
            name,
            subscribed
        }),
        (account(), prop::option::of(mailbox()), prop::collection::vec(annotation(), 0..4)).prop_map(
            |(account, mailbox, entries)| Command::SetMetadata(SetMetadata { account, mailbox, entries })
        ),
    ];
    let transfer = || (mailbox(), uids(), mailbox()).prop_map(|(from, uids, to)| Transfer { from, uids, to });
    let messages = prop_oneof![
        (placed(), prop::collection::vec(to, 0..4))
            .prop_map(|(body, to)| Command::Deliver(Deliver { body, to })),
        (mailbox(), prop::collection::vec(message.clone(), 0..4))
            .prop_map(|(mailbox, messages)| Command::Append(Append { mailbox, messages })),
        (mailbox(), uids(), change, flags(), prop::option::of((0u64..9).prop_map(ModSeq))).prop_map(
            |(mailbox, uids, change, flags, unchanged_since)| {
                Command::Store(StoreFlags { mailbox, uids, change, flags, unchanged_since })
            }
        ),
        (mailbox(), uids(), any::<bool>()).prop_map(|(mailbox, uids, only_deleted)| Command::Expunge {
            mailbox,
            uids,
            only_deleted
        }),
        transfer().prop_map(Command::Copy),
        transfer().prop_map(Command::Move),
        (mailbox(), 0u32..20, mailbox(), message).prop_map(|(from, uid, to, message)| {
            Command::Replace(Box::new(Replace { from, uid: Uid(uid), to, message }))
        }),
        (mailbox(), any::<u32>())
            .prop_map(|(mailbox, up_to)| Command::ClaimRecent { mailbox, up_to: Uid(up_to) }),
    ];
    let holder = || {
        let somebody = (node(), 0u64..3).prop_map(|(node, term)| Some(AddressHolder { node, term }));
        prop_oneof![Just(None), somebody]
    };
    let nodes = prop_oneof![
        node().prop_map(|node| Command::AddReplica { node }),
        node().prop_map(|node| Command::RemoveReplica { node }),
        node().prop_map(|node| Command::MarkBehind { node }),
        (node(), 0u64..60).prop_map(|(node, at)| Command::MarkInSync { node, complete_to: LogIndex(at) }),
        (node(), any::<bool>()).prop_map(|(node, lost)| Command::RetireReplica { node, lost }),
        (node(), 0u64..60)
            .prop_map(|(node, at)| Command::ReinstateReplica { node, retired_at: LogIndex(at) }),
        node().prop_map(|node| Command::DrainNode { node }),
        node().prop_map(|node| Command::UndrainNode { node }),
        (node(), 0u64..60, "[a-c\n]{0,2}")
            .prop_map(|(by, of, id)| { Command::NoteBackup(NoteBackup { of: Timestamp(of), by, id }) }),
        (holder(), holder())
            .prop_map(|(before, after)| { Command::PassAddresses(PassAddresses { before, after }) }),
        any::<u32>().prop_map(|version| Command::SetClusterVersion { version }),
        prop_oneof![9 => 0u64..6, 1 => Just(u64::MAX)]
            .prop_map(|above| Command::GiveNodeId { above: NodeId(above) }),
    ];
    let everyone = prop_oneof![Just("anyone"), Just("-anyone"), Just("alice"), Just("-alice"), Just("bob")];
    let rights = prop_oneof![3 => Just(Rights::ALL), 2 => Just(Rights::NONE), 2 => Just(Rights::LOOKUP), 1 => Just(Rights::CHANGING)];
    let how = prop::sample::select(vec![RightsChange::Add, RightsChange::Remove, RightsChange::Replace]);
    let sharing = (account(), mailbox(), everyone, how, rights).prop_map(
        |(by, mailbox, identifier, change, rights)| {
            Command::SetAcl(SetAcl { by, mailbox, identifier: identifier.into(), change, rights })
        },
    );
    let own = prop_oneof![3 => mailboxes, 8 => messages].boxed();
    let guests = (account(), own.clone()).prop_map(|(guest, command)| as_guest(guest, command));
    prop_oneof![2 => directory, 8 => own, 1 => nodes, 3 => sharing, 3 => guests, 9 => queue(), 2 => greylist(), 4 => scripts(), 2 => alarms(), 2 => certificates()]
}

fn submit() -> impl Strategy<Value = Submit> {
    let recipient = (prop_oneof![4 => Just("a@x.test".to_owned()), 1 => text()], any::<bool>()).prop_map(
        |(address, never)| NewRecipient { address, orcpt: None, notify: never.then_some(Notify::NEVER) },
    );
    let destination =
        prop_oneof![6 => prop::sample::select(vec!["x.test", "y.test"]).prop_map(str::to_owned), 1 => text()];
    let parcel = (destination, prop::collection::vec(recipient, 1..4))
        .prop_map(|(destination, recipients)| NewParcel { destination, recipients });
    let queue = prop::collection::vec(parcel, 0..4).prop_map(|parcels| NewQueued {
        sender: "a@b.test".into(),
        account: None,
        near: NodeId(1),
        envid: None,
        ret: None,
        smtputf8: false,
        parcels,
    });
    let to = (0u64..4).prop_map(|account| DeliverTo {
        account: AccountId(account),
        mailbox: "INBOX".into(),
        flags: NamedFlags::default(),
    });
    (placed(), prop::collection::vec(to, 0..2), prop::option::weighted(0.9, queue))
        .prop_map(|(body, to, queue)| Submit { body, to, queue })
}

fn tls_wish() -> impl Strategy<Value = TlsWish> {
    prop::sample::select(vec![TlsWish::Usual, TlsWish::Required, TlsWish::Waived])
}

fn parcel_id() -> impl Strategy<Value = ParcelId> {
    (0u64..5, 0u16..4).prop_map(|(message, number)| ParcelId { message: QueueId(message), number })
}

fn queue() -> impl Strategy<Value = Command> {
    let lease = || (1u64..4).prop_map(LeaseId);
    let result = prop_oneof![
        Just(RecipientResult::Over),
        (text(), any::<bool>())
            .prop_map(|(reply, delay_told)| RecipientResult::Deferred { reply, delay_told }),
    ];
    let results = prop::collection::vec((0u16..4, result), 0..4);
    let at = prop_oneof![3 => Just(Timestamp(0)), 1 => any::<u64>().prop_map(Timestamp)];
    let parcel = (parcel_id(), at, results).prop_map(|(parcel, next_attempt, results)| ParcelReport {
        parcel,
        next_attempt,
        results,
    });
    let reports = prop::collection::vec(parcel, 0..4);
    let steering = prop::sample::select(vec![
        Steering::Hold,
        Steering::Release,
        Steering::Release,
        Steering::Retry,
        Steering::Remove,
    ]);
    let messages = prop::collection::vec((0u64..5).prop_map(QueueId), 0..3);
    let notices = prop::collection::vec(submit(), 0..2);
    prop_oneof![
        4 => submit().prop_map(|submit| Command::Submit(Box::new(submit))),
        2 => (submit(), any::<bool>(), prop::collection::vec(submit(), 0..2)).prop_map(
            |(mail, passed_on, notices)| Command::Accept(Box::new(Acceptance { mail, passed_on, notices }))
        ),
        2 => (submit(), prop::collection::vec(submit(), 0..2), tls_wish()).prop_map(|(mail, notices, tls)| {
            let acceptance = Acceptance { mail, passed_on: false, notices };
            Command::AcceptWithTls(Box::new(AcceptanceWithTls { acceptance, tls }))
        }),
        2 => (0u32..3, 0u8..3, 0u8..12).prop_map(|(day, domain, ways)| {
            super::tls_reports::tally(Day(day), &format!("{domain}.test"), ways)
        }),
        1 => (0u32..3, 0u8..3, 0u64..3, any::<bool>(), prop::collection::vec(submit(), 0..2)).prop_map(
            |(day, domain, changes, whole, mails)| {
                let extent = if whole { Extent::Whole } else { Extent::SoFar };
                let domain = format!("{domain}.test");
                Command::ReportTls(Box::new(TlsReport { day: Day(day), domain, changes, extent, mails }))
            }
        ),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(mark, replaces)| {
            Command::KeepSrsSecret(Box::new(NewSrsSecret::of([mark; SECRET_BYTES], replaces)))
        }),
        4 => (lease(), 1u64..3, prop::collection::vec(parcel_id(), 0..5)).prop_map(
            |(lease, node, parcels)| Command::LeaseQueued { lease, node: NodeId(node), parcels }
        ),
        1 => prop::collection::vec(lease(), 0..3).prop_map(|leases| Command::RenewLeases { leases }),
        1 => (lease(), 0u64..2).prop_map(|(lease, renewals)| Command::EndLease { lease, renewals }),
        4 => (lease(), reports, notices).prop_map(|(lease, parcels, notices)| {
            Command::ReportDelivery(Box::new(Report { lease, parcels, notices }))
        }),
        2 => (0u8..4, 0u64..3, 0u64..3).prop_map(|(host, tolerated, days)| {
            let at = |days: u64| Timestamp((1 << 40) + days * 86_400_000);
            Command::NoteOffense(Box::new(NoteOffense {
                host: Host::V4([host; 4]),
                offense: Offense::ALL[usize::from(host % 2)],
                tolerated,
                forget_at: at(days),
                blocked_until: at(2 * days),
            }))
        }),
        1 => (0u8..4, "[a-z\n]{0,4}").prop_map(|(host, note)| {
            let (host, until) = (Host::V6([host; 8]), Timestamp(1 << 41));
            Command::AddBlock(Box::new(NewBlock { host, until, note }))
        }),
        2 => (1u64..4, 0u8..3, 0u64..6, any::<bool>(), prop::collection::vec(1u64..4, 0..2)).prop_map(
            |(node, host, in_use, wants_one, silent)| {
                Command::TakeSeats(Box::new(TakeSeats {
                    node: NodeId(node),
                    host: Host::V4([host; 4]),
                    seats_max: 5,
                    in_use,
                    wants_one,
                    silent: silent.into_iter().map(NodeId).collect(),
                }))
            }
        ),
        1 => prop::option::of(0u8..4)
            .prop_map(|host| Command::ClearBlocks { host: host.map(|host| Host::V4([host; 4])) }),
        2 => (1u64..4, 0u64..6, 0u64..4, 0u64..3, 0u64..60).prop_map(|(node, until, unused, needed, grant)| {
            Command::TakeTokens(TakeTokens {
                node: NodeId(node),
                budget: BudgetId { until: Timestamp(until << 61), limit: Limit::MessagesPerMinute, key: vec![7] },
                tokens_max: 9,
                grant: LogIndex(grant),
                unused,
                needed,
            })
        }),
        2 => (messages, steering)
            .prop_map(|(messages, steering)| Command::SteerQueue { messages, steering }),
    ]
}

fn alarms() -> impl Strategy<Value = Command> {
    let id = || {
        (prop::sample::select(AlarmKind::ALL.to_vec()), prop::option::of(1u64..4))
            .prop_map(|(kind, about)| AlarmId { kind, about: about.map(NodeId) })
    };
    let mail = || prop::option::of(submit());
    prop_oneof![
        2 => (id(), 1u64..4, text(), mail()).prop_map(|(alarm, by, note, mail)| {
            Command::RaiseAlarm(Box::new(RaiseAlarm { alarm, by: NodeId(by), note, mail }))
        }),
        1 => (id(), mail()).prop_map(|(alarm, mail)| Command::ClearAlarm(Box::new(ClearAlarm { alarm, mail }))),
    ]
}

fn certificates() -> impl Strategy<Value = Command> {
    let new = || {
        (0usize..3, prop_oneof![9 => 0usize..9, 1 => Just(9_000usize)]).prop_map(|(chain, bytes)| {
            NewCertificate { chain: vec![vec![0x30; bytes]; chain], private: Secret("p".repeat(bytes)) }
        })
    };
    let at = || (0u64..3).prop_map(Timestamp);
    let what = prop_oneof![
        3 => (1u64..4, prop::option::of(at()))
            .prop_map(|(by, before)| AcmeWhat::Begin { by: NodeId(by), before }),
        1 => (text(), text()).prop_map(|(directory, credentials)| {
            AcmeWhat::Account(AcmeAccount { directory, credentials: Secret(credentials) })
        }),
        1 => prop::collection::vec((text(), text()), 0..3).prop_map(|answers| {
            let answer = |(token, authorization)| AcmeAnswer { token, authorization };
            AcmeWhat::Answers(answers.into_iter().map(answer).collect())
        }),
        1 => text().prop_map(AcmeWhat::Failed),
        2 => (text(), new())
            .prop_map(|(directory, certificate)| AcmeWhat::Issued { directory, certificate }),
    ];
    let renewal = prop::sample::select(vec![Renewal::SameKey, Renewal::NewKey]);
    prop_oneof![
        2 => new().prop_map(|new| Command::SetCertificate(Box::new(new))),
        1 => Just(Command::RemoveCertificate),
        1 => renewal.prop_map(Command::RenewCertificate),
        5 => (at(), what).prop_map(|(began, what)| Command::StepAcme(Box::new(AcmeStep { began, what }))),
    ]
}

fn greylist() -> impl Strategy<Value = Command> {
    let ms = || prop_oneof![0u64..9, any::<u64>()];
    (0u8..3, 0u8..3, ms(), ms(), ms(), 0u32..3).prop_map(
        |(client, triplet, delay_ms, retry_window_ms, lifetime_ms, client_passes)| {
            let terms = GreyTerms { delay_ms, retry_window_ms, lifetime_ms, client_passes };
            let (client, triplet) = (ClientNet::V4([client; 3]), TripletId([triplet; 16]));
            Command::Greylist(Box::new(GreyTry { client, triplet, terms }))
        },
    )
}

fn scripts() -> impl Strategy<Value = Command> {
    let account = || (0u64..4).prop_map(AccountId);
    let name =
        || prop_oneof![6 => prop::sample::select(vec!["a", "ab"]).prop_map(str::to_owned), 1 => text()];
    let script = prop_oneof![4 => text(), 1 => (0usize..70_000).prop_map(|octets| "x".repeat(octets))];
    let times = prop_oneof![0u64..9, any::<u64>()].prop_map(Timestamp);
    prop_oneof![
        4 => (account(), name(), script)
            .prop_map(|(account, name, text)| Command::PutScript { account, name, text }),
        1 => (account(), name()).prop_map(|(account, name)| Command::RemoveScript { account, name }),
        2 => (account(), name(), name())
            .prop_map(|(account, from, to)| Command::RenameScript { account, from, to }),
        2 => (account(), prop::option::of(name()))
            .prop_map(|(account, name)| Command::ActivateScript { account, name }),
        3 => (account(), 0u8..3, times, submit()).prop_map(|(account, reply, until, submit)| {
            let reply = ReplyId([reply; 16]);
            Command::Vacation(Box::new(VacationReply { account, reply, until, submit }))
        }),
    ]
}

/// What a guest may try as well, he tries.
fn as_guest(guest: AccountId, command: Command) -> Command {
    let command = match command {
        Command::CreateMailbox { account: owner, name, .. } => GuestCommand::CreateMailbox { owner, name },
        Command::DeleteMailbox { account: owner, name } => GuestCommand::DeleteMailbox { owner, name },
        Command::RenameMailbox { account: owner, from, to } => {
            GuestCommand::RenameMailbox { owner, from, to }
        }
        Command::Append(append) => GuestCommand::Append(append),
        Command::Store(store) => GuestCommand::Store(store),
        Command::Expunge { mailbox, uids, .. } => GuestCommand::Expunge { mailbox, uids },
        Command::Copy(transfer) => GuestCommand::Copy(transfer),
        Command::Move(transfer) => GuestCommand::Move(transfer),
        Command::Replace(replace) => GuestCommand::Replace(replace),
        other => return other,
    };
    Command::AsGuest { guest, command }
}

/// Of about half of what happens, so that what is kept by its time is found by it.
const AT: Timestamp = Timestamp(1_800_000_000_000);

/// Two users, then anything; now and then a retry, or an old proposal.
fn log() -> impl Strategy<Value = Vec<Proposal>> {
    let user = |name: &str, quota_bytes| {
        Command::AddUser(NewUser { name: name.into(), password_phc: "$x".into(), quota_bytes })
    };
    let first = [user("alice", None), user("bob", Some(200))];
    let at = prop_oneof![Just(AT.0), any::<u64>()];
    let entry = (command(), prop_oneof![9 => Just(0u64), 1 => 1u64..5], at);
    prop::collection::vec(entry, 1..50).prop_map(move |entries| {
        let first = first.clone().map(|command| (command, 0, 1_700_000_000_000));
        let proposal = |(index, (command, back, at)): (usize, (Command, u64, u64))| {
            let id = CommandId((index as u128).saturating_sub(u128::from(back)));
            Proposal { id, base: LogIndex(index as u64), at: Timestamp(at), command }
        };
        first.into_iter().chain(entries).enumerate().map(proposal).collect()
    })
}

/// Applies `log` from `from` on, `batch` entries to each write.
fn replay(mut rows: MemoryRows, log: &[Proposal], from: usize, batch: usize) -> (MemoryRows, Vec<Applied>) {
    let mut all = Vec::new();
    for (at, entries) in log[from..].chunks(batch).enumerate() {
        let mut overlay = Overlay::new();
        let mut index = LogIndex(0);
        for (place, proposal) in entries.iter().enumerate() {
            index = LogIndex((from + at * batch + place + 1) as u64);
            all.push(apply(&rows, &mut overlay, index, proposal).unwrap());
        }
        let mut batch = overlay.into_batch();
        digest::keep(&rows, &mut batch, index).unwrap();
        rows.write(batch);
    }
    (rows, all)
}

pub fn all<R: crate::state::codec::Record>(rows: &MemoryRows, table: u8) -> Vec<(Vec<u8>, R)> {
    let mut found = Vec::new();
    reading::visit(rows, &keys::table(table), |key, row| found.push((key.to_vec(), row))).unwrap();
    found
}

/// The rows add up to the digests that were kept of them, and so they would if all were counted now.
fn check_digests(rows: &MemoryRows, applied: LogIndex) {
    let mut tally = Tally::default();
    rows.0.iter().for_each(|(key, value)| tally.add(key, value));
    assert_eq!(tally.hold().1, []);
    let mut anew = rows.clone();
    anew.write(digest::count_anew(rows, Some(applied)).unwrap());
    assert_eq!(&anew, rows);
}

/// Recounts the annotations of what is there.
fn check_annotations(rows: &MemoryRows) {
    let mut entries: BTreeMap<Vec<u8>, (MailboxId, AccountId, u64)> = BTreeMap::new();
    for (key, row) in all::<MetadataPartRow>(rows, keys::METADATA) {
        let number = |at: usize| u64::from_be_bytes(key[at..at + 8].try_into().unwrap());
        let name = keys::metadata_entry_of(&key).unwrap();
        let entry = entries.entry(key[..key.len() - 2].to_vec()).or_insert((
            MailboxId(number(1)),
            AccountId(number(9)),
            name.len() as u64,
        ));
        entry.2 += row.bytes.len() as u64;
    }
    let mut tallies: BTreeMap<Vec<u8>, MetadataTallyRow> = BTreeMap::new();
    let mut guests = BTreeSet::new();
    let mut count = |key, entries, bytes| {
        let tally = tallies.entry(key).or_default();
        *tally = MetadataTallyRow { entries: tally.entries + entries, bytes: tally.bytes + bytes };
    };
    for (mailbox, account, bytes) in entries.into_values() {
        if mailbox == MailboxId(0) {
            count(keys::account_metadata_tally(account), 1, bytes);
        } else if let Some(row) = reading::get::<MailboxRow>(rows, &keys::mailbox(mailbox)).unwrap() {
            if ![AccountId(0), row.account].contains(&account) {
                guests.insert(keys::metadata_guest(account, mailbox));
            }
            count(keys::mailbox_metadata_tally(mailbox), 1, bytes);
            count(keys::account_metadata_tally(row.account), 0, bytes);
        }
    }
    let noted = all::<MetadataGuestRow>(rows, keys::METADATA_GUEST).into_iter().map(|(key, _)| key);
    let is_there = |key: &Vec<u8>| {
        let mailbox = keys::metadata_guest_mailbox(key).unwrap();
        reading::get::<MailboxRow>(rows, &keys::mailbox(mailbox)).unwrap().is_some()
    };
    assert_eq!(guests, noted.filter(is_there).collect());
    let owner_is_gone = |key: &[u8]| {
        let id = u64::from_be_bytes(key[2..].try_into().unwrap());
        let owner = match key[1] {
            0 => reading::get::<MailboxRow>(rows, &keys::mailbox(MailboxId(id)))
                .unwrap()
                .map(|row| row.account),
            _ => Some(AccountId(id)),
        };
        owner.is_none_or(|owner| reading::get::<AccountRow>(rows, &keys::account(owner)).unwrap().is_none())
    };
    // What waits to be swept counts no more, or no one looks at its count.
    let mut counted: BTreeMap<_, _> =
        all::<MetadataTallyRow>(rows, keys::METADATA_TALLY).into_iter().collect();
    counted.retain(|key, _| !owner_is_gone(key));
    tallies.retain(|key, _| !owner_is_gone(key));
    assert_eq!(counted, tallies);
}

/// Scripts and replies are as many as their rows say, of accounts that are there.
fn check_scripts(rows: &MemoryRows) {
    for (key, _) in all::<AccountRow>(rows, keys::ACCOUNT) {
        let account = AccountId(u64::from_be_bytes(key[1..].try_into().unwrap()));
        let row: ScriptsRow = reading::get(rows, &keys::scripts(account)).unwrap().unwrap_or_default();
        let scripts = sieve::scripts(rows, account).unwrap();
        assert_eq!(scripts.len(), row.scripts as usize);
        let active: Vec<_> =
            scripts.iter().filter(|script| script.active).map(|it| it.name.clone()).collect();
        assert_eq!(active, row.active.into_iter().collect::<Vec<_>>());
        for script in scripts {
            let text = sieve::script(rows, account, &script.name).unwrap().expect("it was listed");
            assert_eq!(text.len(), script.bytes as usize);
        }
        let replies: RepliesRow = reading::get(rows, &keys::replies(account)).unwrap().unwrap_or_default();
        let ends = all::<ReplyEndRow>(rows, keys::REPLY_END);
        let ends = ends.into_iter().filter(|(end, _)| end.starts_with(&keys::reply_ends(account).from));
        let mut count = 0;
        for (end, _) in ends {
            let reply = keys::reply(account, keys::reply_of(&end).unwrap());
            let row: ReplyRow = reading::get(rows, &reply).unwrap().expect("the reply of its end");
            assert_eq!(Some(row.until), keys::reply_until_of(&end));
            count += 1;
        }
        assert_eq!(count, replies.replies);
    }
}

/// Recounts everything from the messages.
fn check_counts(rows: &MemoryRows) {
    let mut references: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for (_, row) in all::<MessagesRow>(rows, keys::MESSAGES) {
        assert!(!row.messages.is_empty() && row.messages.len() <= 8);
        for message in row.messages {
            *references.entry(keys::body(message.body)).or_default() += 1;
        }
    }
    for (_, row) in all::<RemovedRow>(rows, keys::REMOVED) {
        assert!(!row.messages.is_empty() && row.messages.len() <= 8);
        for message in row.messages {
            *references.entry(keys::body(message.body)).or_default() += 1;
        }
    }
    for (_, row) in all::<QueuedRow>(rows, keys::QUEUED) {
        *references.entry(keys::body(row.body)).or_default() += 1;
    }
    let counted = all::<BodyRow>(rows, keys::BODY).into_iter().map(|(key, row)| (key, row.references));
    assert_eq!(references, counted.collect());
    let mut used: BTreeMap<AccountId, (u64, u32)> = BTreeMap::new();
    for (key, row) in all::<MailboxRow>(rows, keys::MAILBOX) {
        let id = MailboxId(u64::from_be_bytes(key[1..].try_into().unwrap()));
        let entry = used.entry(row.account).or_default();
        *entry = (entry.0 + row.bytes, entry.1 + 1);
        let Some(view) = MailboxView::load(rows, id).unwrap() else { continue };
        let count = |wanted: &dyn Fn(&crate::mail::flags::Flags) -> bool| {
            view.messages().iter().filter(|message| wanted(&message.flags)).count() as u32
        };
        assert_eq!(row.messages, count(&|_| true));
        assert_eq!(row.unseen, count(&|flags| !flags.has(SystemFlag::Seen)));
        assert_eq!(row.deleted, count(&|flags| flags.has(SystemFlag::Deleted)));
        assert_eq!(row.bytes, view.messages().iter().map(|message| u64::from(message.size)).sum::<u64>());
        assert!(view.messages().iter().all(|it| it.uid < row.uid_next && it.modseq <= row.highest_modseq));
        assert!(view.messages().uids().is_sorted_by(|one, next| one < next));
    }
    for (key, row) in all::<AccountRow>(rows, keys::ACCOUNT) {
        let account = AccountId(u64::from_be_bytes(key[1..].try_into().unwrap()));
        assert_eq!(Some(&(row.used_bytes, row.mailboxes)), used.get(&account), "{account}");
        assert_eq!(reading::mailboxes(rows, account).unwrap().len(), row.mailboxes as usize);
        assert_eq!(reading::subscriptions(rows, account).unwrap().len(), row.subscriptions as usize);
    }
}

/// Each grantee of each list is led back to it, and counted.
fn check_grants(rows: &MemoryRows) {
    let mut named = std::collections::BTreeSet::new();
    let mut counts: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for (key, acl) in all::<Acl>(rows, keys::ACL) {
        let mailbox = MailboxId(u64::from_be_bytes(key[1..].try_into().unwrap()));
        assert!(!acl.entries().is_empty());
        let grantees: std::collections::BTreeSet<Grantee> =
            acl.entries().iter().map(|entry| entry.grantee).collect();
        for grantee in grantees {
            named.insert(keys::grant(grantee, mailbox));
            *counts.entry(keys::grants(grantee)).or_default() += 1;
        }
    }
    assert_eq!(named, all::<GrantRow>(rows, keys::GRANT).into_iter().map(|(key, _)| key).collect());
    let counted = all::<GrantsRow>(rows, keys::GRANTS).into_iter().map(|(key, row)| (key, row.mailboxes));
    assert_eq!(counts, counted.collect());
}

/// Every mail has its parcels, every parcel its recipients and one place: the index, a lease, or an operator's hand.
fn check_queue(rows: &MemoryRows) {
    let mut mails: BTreeMap<QueueId, u16> = BTreeMap::new();
    let mut recipients: BTreeMap<ParcelId, u16> = BTreeMap::new();
    for (key, _) in all::<RecipientRow>(rows, keys::RECIPIENT) {
        let parcel = keys::parcel_of(&key[..11]).unwrap();
        *recipients.entry(parcel).or_default() += 1;
    }
    let (mut due, mut leased) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut leases: BTreeMap<LeaseId, u16> = BTreeMap::new();
    for (key, row) in all::<ParcelRow>(rows, keys::PARCEL) {
        let id = keys::parcel_of(&key).unwrap();
        assert_eq!(recipients.remove(&id), Some(row.recipients), "{id:?}");
        *mails.entry(id.message).or_default() += 1;
        match row.lease {
            Some(lease) => {
                leased.insert(keys::leased(lease, id));
                *leases.entry(lease).or_default() += 1;
            }
            None if row.held => {}
            None => {
                due.insert(keys::due(row.attempts > 0, &row.destination, row.next_attempt, id));
            }
        }
    }
    assert!(recipients.is_empty(), "recipients without a parcel: {recipients:?}");
    assert_eq!(due, all::<DueRow>(rows, keys::DUE).into_iter().map(|(key, _)| key).collect());
    assert_eq!(leased, all::<LeasedRow>(rows, keys::LEASED).into_iter().map(|(key, _)| key).collect());
    let rows_of_leases = all::<LeaseRow>(rows, keys::LEASE).into_iter();
    let counted = rows_of_leases.map(|(key, row)| (keys::lease_of(&key).unwrap(), row.parcels));
    assert_eq!(leases, counted.collect());
    let passed_on = all::<PassedOnRow>(rows, keys::PASSED_ON).into_iter().map(|(key, _)| key);
    for key in passed_on.chain(all::<TlsWishRow>(rows, keys::TLS_WISH).into_iter().map(|(key, _)| key)) {
        let message = QueueId(u64::from_be_bytes(key[1..].try_into().unwrap()));
        assert!(mails.contains_key(&message), "{message} is gone, and its mark is not");
    }
    let rows_of_mails = all::<QueuedRow>(rows, keys::QUEUED).into_iter();
    assert_eq!(
        mails,
        rows_of_mails.map(|(key, row)| (keys::queued_of(&key).unwrap(), row.parcels)).collect()
    );
    let counts = crate::state::queue::reading::counts(rows).unwrap();
    assert_eq!((counts.messages as usize, counts.leases as usize), (mails.len(), leases.len()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Design, section 7: replay gives equal rows, however it is batched, and so does a snapshot with its tail.
    #[test]
    fn the_state_is_a_function_of_the_log(log in log(), batch in 1usize..60, cut in 0usize..60) {
        let (rows, outcomes) = replay(MemoryRows::default(), &log, 0, 1);
        let (batched, again) = replay(MemoryRows::default(), &log, 0, batch);
        prop_assert_eq!(&rows, &batched);
        prop_assert_eq!(&outcomes, &again);
        let cut = cut.min(log.len());
        let (snapshot, _) = replay(MemoryRows::default(), &log[..cut], 0, batch);
        let (with_tail, _) = replay(snapshot, &log, cut, batch);
        prop_assert_eq!(&rows, &with_tail);
        check_digests(&rows, LogIndex(log.len() as u64));
        check_counts(&rows);
        check_grants(&rows);
        check_annotations(&rows);
        check_scripts(&rows);
        check_queue(&rows);
        super::greylist::check(&rows);
        super::tls_reports::check(&rows);
        for (key, value) in &rows.0 {
            prop_assert!(key.len() <= 1_024 && value.len() <= 6 << 10);
        }
    }

    /// A view that hears the changes is the view that is read from the rows; hearing twice does no harm.
    #[test]
    fn views_follow_by_changes(log in log(), from in 3usize..30) {
        let from = from.min(log.len());
        let (snapshot, _) = replay(MemoryRows::default(), &log[..from], 0, 1);
        let (rows, applied) = replay(snapshot.clone(), &log, from, 1);
        for mailbox in (1..16).map(MailboxId) {
            let (Some(mut view), Some(now)) =
                (MailboxView::load(&snapshot, mailbox).unwrap(), MailboxView::load(&rows, mailbox).unwrap())
            else {
                continue;
            };
            for change in applied.iter().flat_map(messages_changed).filter(|change| change.mailbox == mailbox) {
                prop_assert_eq!(view.take_in(change), crate::state::view::TakenIn::InOrder);
                let _ = view.take_in(change);
            }
            prop_assert_eq!(view.messages(), now.messages());
            prop_assert_eq!(&view.keywords, &now.keywords);
            let known = |view: &MailboxView| (view.uid_next, view.highest_modseq, view.recent_from, view.expunged_since(ModSeq(1)));
            prop_assert_eq!(known(&view), known(&now));
        }
    }
}
