//! The replicated state under commands that no proposer would make: apply is total, the same log gives the same rows
//! however it is cut into batches, counts are what counting yields, views follow by hearing changes.

use std::collections::BTreeMap;

use pollux::mail::flags::NamedFlags;
use pollux::mail::ids::*;
use pollux::state::apply::{Applied, Overlay, apply};
use pollux::state::change::Change;
use pollux::state::codec::{Record, decode, decode_proposal, encode_proposal};
use pollux::state::command::*;
use pollux::state::keys;
use pollux::state::reading;
use pollux::state::rows::MemoryRows;
use pollux::state::scram_keys::{ITERATIONS_MIN, NewScramKeys, ScramKeys};
use pollux::state::stored::{AccountRow, BodyRow, MailboxRow, MessagesRow, QueuedRow};
use pollux::state::view::{MailboxView, TakenIn};

use super::dice::Dice;

const COMMANDS_MAX: usize = 100;
const NAMES: [&str; 16] = [
    "alice", "bob", "INBOX", "a", "a/b", "a/b/c", "b", "Sent", "inbox/x", "x.test", "a@x.test", "@x.test",
    "", "/", "a//b", "é",
];

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let (batch, cut) = (1 + dice.below(40), dice.below(60));
    let log = log(&mut dice);
    let (rows, outcomes) = replay(MemoryRows::default(), &log, 0, 1);
    let cut = cut.min(log.len());
    let (snapshot, mut again) = replay(MemoryRows::default(), &log[..cut], 0, batch);
    let (with_tail, tail) = replay(snapshot.clone(), &log, cut, batch);
    again.extend(tail.iter().cloned());
    assert!(rows == with_tail, "the rows depend on how the log is cut");
    assert!(outcomes == again, "the outcomes depend on how the log is cut");
    check_rows(&rows);
    check_views(&snapshot, &rows, &tail);
}

/// Two users first, so that there is something to disturb.
fn log(dice: &mut Dice) -> Vec<Proposal> {
    let user = |name: &str, quota_bytes| {
        Command::AddUser(NewUser { name: name.into(), password_phc: "$x".into(), quota_bytes })
    };
    let mut commands = vec![user("alice", None), user("bob", Some(200))];
    let mut log: Vec<Proposal> = Vec::new();
    while !dice.is_empty() && log.len() < COMMANDS_MAX {
        let index = log.len() as u64;
        let back = if commands.is_empty() { u128::from(dice.byte().saturating_sub(250)) } else { 0 };
        let command = if commands.is_empty() { command(dice) } else { commands.remove(0) };
        let id = CommandId(u128::from(index).saturating_sub(back));
        let base = LogIndex(index.saturating_sub(back as u64));
        let proposal = Proposal { id, base, at: Timestamp(1_700_000_000_000 + index), command };
        // As it comes out of the log.
        if let Ok(bytes) = encode_proposal(&proposal) {
            assert_eq!(decode_proposal(&bytes).as_ref(), Ok(&proposal));
            log.push(proposal);
        }
    }
    log
}

fn name(dice: &mut Dice) -> String {
    match dice.byte() {
        250.. => String::from_utf8_lossy(dice.bytes(40)).into_owned(),
        249 => "x/".repeat(600),
        at => NAMES[usize::from(at) % NAMES.len()].to_owned(),
    }
}

fn uid(dice: &mut Dice) -> Uid {
    match dice.byte() {
        255 => Uid(u32::MAX),
        254 => Uid(dice.number() as u32),
        small => Uid(u32::from(small) % 20),
    }
}

/// As a decoder hands it over: in any order, the ends reversed.
fn uids(dice: &mut Dice) -> UidSet {
    let ranges: Vec<(Uid, Uid)> = (0..dice.below(4)).map(|_| (uid(dice), uid(dice))).collect();
    let bytes = bincode::encode_to_vec(&ranges, bincode::config::standard()).expect("ranges are plain");
    bincode::decode_from_slice(&bytes, bincode::config::standard()).expect("a set is its ranges").0
}

fn flags(dice: &mut Dice) -> NamedFlags {
    NamedFlags { system: dice.byte(), keywords: (0..dice.below(3)).map(|_| name(dice)).collect() }
}

fn placed(dice: &mut Dice) -> PlacedBody {
    let size = if dice.byte() == 255 { u32::MAX } else { 1 + dice.below(100) as u32 };
    let on: &[u64] = dice.pick(&[&[1][..], &[1], &[], &[1, 2], &[1, 1, 1], &[3, 2, 1]]);
    let on = on.iter().map(|node| NodeId(*node)).collect();
    PlacedBody { id: BodyId([dice.below(4) as u8; 32]), size, on }
}

fn scram(dice: &mut Dice) -> Box<NewScramKeys> {
    let iterations = if dice.flag() { ITERATIONS_MIN } else { dice.number() as u32 };
    let (salt, key) = ([dice.byte(); 16], [dice.byte(); 32]);
    let keys = ScramKeys { salt, iterations, stored_key: key, server_key: key };
    Box::new(NewScramKeys { keys, stand_in_secret: key })
}

fn password(dice: &mut Dice) -> Command {
    let (name, password_phc) = (name(dice), name(dice));
    match dice.below(4) {
        0 => Command::SetPassword { name, password_phc },
        1 => Command::SetPasswordWithScram { name, password_phc, keys: scram(dice) },
        2 => Command::AddScramKeys { name, password_phc: "$x".into(), keys: scram(dice) },
        _ => {
            let user = NewUser { name, password_phc, quota_bytes: None };
            Command::AddUserWithScram { user, keys: scram(dice) }
        }
    }
}

fn command(dice: &mut Dice) -> Command {
    let account = |dice: &mut Dice| AccountId(dice.below(4) as u64);
    let mailbox = |dice: &mut Dice| MailboxId(dice.below(18) as u64);
    let node = |dice: &mut Dice| NodeId(1 + dice.below(3) as u64);
    let quota =
        |dice: &mut Dice| dice.flag().then(|| if dice.flag() { dice.below(200) as u64 } else { u64::MAX });
    match dice.below(40) {
        0 => Command::AddDomain { name: name(dice) },
        1 => Command::RemoveDomain { name: name(dice) },
        2 => {
            Command::AddUser(NewUser { name: name(dice), password_phc: name(dice), quota_bytes: quota(dice) })
        }
        3 => password(dice),
        4 => Command::SetQuota { name: name(dice), quota_bytes: quota(dice) },
        5 => Command::SetUserEnabled { name: name(dice), enabled: dice.flag() },
        6 => Command::RemoveUser { name: name(dice) },
        7 => {
            let address = name(dice);
            Command::SetAlias { address, targets: (0..dice.below(40)).map(|_| name(dice)).collect() }
        }
        8 => Command::RemoveAlias { address: name(dice) },
        9 => {
            let change = |dice: &mut Dice| (name(dice), dice.flag().then(|| name(dice)));
            Command::SetSettings { changes: (0..dice.below(4)).map(|_| change(dice)).collect() }
        }
        10..13 => {
            let special_use = dice.pick(&[None, None, Some(SpecialUse::Junk), Some(SpecialUse::Archive)]);
            Command::CreateMailbox { account: account(dice), name: name(dice), special_use }
        }
        13 => Command::DeleteMailbox { account: account(dice), name: name(dice) },
        14..16 => Command::RenameMailbox { account: account(dice), from: name(dice), to: name(dice) },
        16 => Command::Subscribe { account: account(dice), name: name(dice), subscribed: dice.flag() },
        17..21 => {
            let body = placed(dice);
            let to = |dice: &mut Dice| DeliverTo {
                account: account(dice),
                mailbox: name(dice),
                flags: flags(dice),
            };
            Command::Deliver(Deliver { body, to: (0..dice.below(4)).map(|_| to(dice)).collect() })
        }
        21..25 => {
            let mailbox = mailbox(dice);
            Command::Append(Append {
                mailbox,
                messages: (0..dice.below(12)).map(|_| message(dice)).collect(),
            })
        }
        25..28 => Command::Store(StoreFlags {
            mailbox: mailbox(dice),
            uids: uids(dice),
            change: dice.pick(&[FlagChange::Replace, FlagChange::Add, FlagChange::Remove]),
            flags: flags(dice),
            unchanged_since: dice.flag().then(|| ModSeq(dice.below(9) as u64)),
        }),
        28..30 => Command::Expunge { mailbox: mailbox(dice), uids: uids(dice), only_deleted: dice.flag() },
        30 => Command::Copy(Transfer { from: mailbox(dice), uids: uids(dice), to: mailbox(dice) }),
        31..33 => Command::Move(Transfer { from: mailbox(dice), uids: uids(dice), to: mailbox(dice) }),
        33 => Command::ClaimRecent { mailbox: mailbox(dice), up_to: uid(dice) },
        34 => Command::AddReplica { node: node(dice) },
        35 => Command::RemoveReplica { node: node(dice) },
        36 => Command::MarkBehind { node: node(dice) },
        37 => Command::MarkInSync { node: node(dice), complete_to: LogIndex(dice.below(60) as u64) },
        38 => Command::SetClusterVersion { version: dice.number() as u32 },
        // A command as its bytes, whatever they say.
        _ => {
            let bytes = dice.bytes(200);
            let read = bincode::decode_from_slice(bytes, bincode::config::standard().with_limit::<65_536>());
            read.map_or(Command::RemoveDomain { name: String::new() }, |(command, _)| command)
        }
    }
}

fn message(dice: &mut Dice) -> NewMessage {
    let internal_date =
        InternalDate { unix_seconds: dice.number() as i64, zone_minutes: dice.number() as i16 };
    NewMessage { body: placed(dice), flags: flags(dice), internal_date }
}

/// Applies `log` from `from` on, `batch` entries to each write.
fn replay(mut rows: MemoryRows, log: &[Proposal], from: usize, batch: usize) -> (MemoryRows, Vec<Applied>) {
    let mut all = Vec::new();
    for (at, entries) in log[from..].chunks(batch).enumerate() {
        let mut overlay = Overlay::new();
        for (place, proposal) in entries.iter().enumerate() {
            let index = LogIndex((from + at * batch + place + 1) as u64);
            all.push(apply(&rows, &mut overlay, index, proposal).expect("the rows can be read"));
        }
        rows.write(overlay.into_batch());
    }
    (rows, all)
}

fn all<R: Record>(rows: &MemoryRows, table: u8) -> Vec<(&[u8], R)> {
    let of_table = rows.0.range(vec![table]..vec![table + 1]);
    of_table.map(|(key, value)| (&key[..], decode(value).expect("a row just written"))).collect()
}

fn check_rows(rows: &MemoryRows) {
    assert!(rows.0.iter().all(|(key, value)| key.len() <= 1_024 && value.len() <= 6 << 10));
    let mut references: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for (_, row) in all::<MessagesRow>(rows, keys::MESSAGES) {
        assert!((1..=8).contains(&row.messages.len()));
        row.messages.iter().for_each(|it| *references.entry(keys::body(it.body)).or_default() += 1);
    }
    for (_, row) in all::<QueuedRow>(rows, keys::QUEUED) {
        *references.entry(keys::body(row.body)).or_default() += 1;
    }
    let counted = all::<BodyRow>(rows, keys::BODY).into_iter();
    assert_eq!(references, counted.map(|(key, row)| (key.to_vec(), row.references)).collect());
    let mut used: BTreeMap<AccountId, (u64, u32)> = BTreeMap::new();
    for (key, row) in all::<MailboxRow>(rows, keys::MAILBOX) {
        let entry = used.entry(row.account).or_default();
        *entry = (entry.0 + row.bytes, entry.1 + 1);
        check_mailbox(rows, mailbox_of(key), &row);
    }
    for (key, row) in all::<AccountRow>(rows, keys::ACCOUNT) {
        let account = AccountId(u64::from_be_bytes(key[1..].try_into().expect("an account's key")));
        assert_eq!(Some(&(row.used_bytes, row.mailboxes)), used.get(&account), "{account}");
        let mailboxes = reading::mailboxes(rows, account).expect("the rows can be read");
        assert_eq!(mailboxes.len(), row.mailboxes as usize);
        let names = reading::subscriptions(rows, account).expect("the rows can be read");
        assert_eq!(names.len(), row.subscriptions as usize);
    }
}

fn mailbox_of(key: &[u8]) -> MailboxId {
    MailboxId(u64::from_be_bytes(key[1..].try_into().expect("a mailbox's key")))
}

fn view_of(rows: &MemoryRows, mailbox: MailboxId) -> Option<MailboxView> {
    MailboxView::load(rows, mailbox).expect("the rows can be read")
}

fn check_mailbox(rows: &MemoryRows, id: MailboxId, row: &MailboxRow) {
    let Some(view) = view_of(rows, id) else { return };
    let messages = view.messages();
    assert_eq!(row.messages as usize, messages.len());
    assert_eq!(row.bytes, messages.iter().map(|it| u64::from(it.size)).sum::<u64>());
    assert!(messages.iter().all(|it| it.uid < row.uid_next && it.modseq <= row.highest_modseq));
    assert!(messages.uids().is_sorted_by(|one, next| one < next));
}

/// A view that heard the changes behind the snapshot is the view that is read from the rows.
fn check_views(snapshot: &MemoryRows, rows: &MemoryRows, tail: &[Applied]) {
    for (key, _) in all::<MailboxRow>(snapshot, keys::MAILBOX) {
        let id = mailbox_of(key);
        let (Some(mut view), Some(now)) = (view_of(snapshot, id), view_of(rows, id)) else { continue };
        for change in tail.iter().flat_map(|applied| &applied.changes) {
            if let Change::Messages(change) = change
                && change.mailbox == id
            {
                assert_eq!(view.take_in(change), TakenIn::InOrder);
            }
        }
        assert_eq!(view.messages(), now.messages());
        assert_eq!(view.keywords, now.keywords);
        assert_eq!((view.uid_next, view.highest_modseq), (now.uid_next, now.highest_modseq));
        assert_eq!(view.expunged_since(ModSeq(1)), now.expunged_since(ModSeq(1)));
    }
}
