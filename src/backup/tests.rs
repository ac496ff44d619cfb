//! What lies in a folder of backups: written, read back, cut short and flipped at every octet; rows in another cluster.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::location::Location;
use super::pack::{Pack, PackWriter, name};
use super::progress::Progress;
use super::remove::{Gone, remove};
use super::renew::{Renewal, UID_VALIDITY_AHEAD};
use super::repository::{Repository, Writing};
use super::rows::{RowsReader, RowsWriter, Written};
use super::storage::tests::in_memory;
use super::storage::{Storage, Workplace};
use super::{BackupError, manifest, verify};
use crate::clock::Clock;
use crate::cluster::copied::CaPems;
use crate::mail::ids::{
    AccountId, BodyId, LeaseId, MailboxId, ModSeq, NodeId, QueueId, Timestamp, Uid, UidValidity,
};
use crate::state::codec::{decode_row, encode_row};
use crate::state::keys;
use crate::state::queue::ParcelId;
use crate::state::stored::{DueRow, MailboxRow, MetaRow, ParcelRow, QueueRow, ReplicasRow};
use crate::store::tables::{Row, Tables};

fn folder(dir: &Path) -> Storage {
    let workplace = Workplace { access: None, spool: PathBuf::new(), clock: Clock::seeded(Timestamp(0), 1) };
    Storage::new(&Location::Folder(dir.to_owned()), workplace).unwrap()
}

fn written(storage: &Storage, name: &str, rows: &[Row]) -> Written {
    let mut writer = RowsWriter::begin(storage.begin(name).unwrap()).unwrap();
    rows.chunks(3).for_each(|rows| writer.push(rows).unwrap());
    writer.finish().unwrap()
}

fn read(storage: &Storage, name: &str, expected: &Written) -> Result<Vec<Row>, BackupError> {
    let mut reader = RowsReader::open(storage.fetch(name)?, expected.clone())?;
    let mut all = Vec::new();
    loop {
        let rows = reader.next_rows()?;
        if rows.is_empty() {
            return Ok(all);
        }
        all.extend(rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_rows_of_a_view_come_back_octet_for_octet(
        rows in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 1..40),
            proptest::collection::vec(any::<u8>(), 0..200),
            0..60,
        )
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (Tables::open(&dir.path().join("a")).unwrap(), Tables::open(&dir.path().join("b")).unwrap());
        from.write(rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()).unwrap();
        let storage = folder(dir.path());
        let mut writer = RowsWriter::begin(storage.begin("rows").unwrap()).unwrap();
        let mut view = from.begin_view().unwrap();
        loop {
            let turn = view.next_rows(7).unwrap();
            if turn.is_empty() {
                break;
            }
            writer.push(&turn).unwrap();
        }
        let expected = writer.finish().unwrap();
        let back = read(&storage, "rows", &expected).unwrap();
        prop_assert_eq!(&back, &rows.clone().into_iter().collect::<Vec<_>>());
        let mut installer = to.begin_install().unwrap();
        installer.push(back).unwrap();
        installer.finish().unwrap();
        let mut view = to.begin_view().unwrap();
        let mut installed = Vec::new();
        loop {
            let turn = view.next_rows(500).unwrap();
            if turn.is_empty() {
                break;
            }
            installed.extend(turn);
        }
        prop_assert_eq!(installed, rows.into_iter().collect::<Vec<_>>());
    }
}

/// Whether each file that differs from `bytes` by one octet, and each that is shorter, is refused.
fn each_change_is_seen(path: &Path, mut is_seen: impl FnMut() -> bool) {
    let bytes = fs::read(path).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(path, &flipped).unwrap();
        assert!(is_seen(), "octet {at} was flipped");
        fs::write(path, &bytes[..at]).unwrap();
        assert!(is_seen(), "cut after {at} octets");
    }
    fs::write(path, &bytes).unwrap();
    assert!(!is_seen(), "as it was written");
}

#[test]
fn a_file_of_rows_that_was_changed_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, path) = (folder(dir.path()), dir.path().join("rows"));
    let rows = [(vec![1], vec![]), (vec![2, 3], vec![4; 20]), (vec![5], vec![6]), (vec![7], vec![8])];
    let expected = written(&storage, "rows", &rows);
    each_change_is_seen(&path, || read(&storage, "rows", &expected).is_err());
    // Another whole file is not the one that was meant.
    let other = written(&storage, "rows", &rows[..2]);
    assert!(matches!(read(&storage, "rows", &expected), Err(BackupError::Damaged(_))));
    assert_eq!(read(&storage, "rows", &other).unwrap(), rows[..2]);
}

#[test]
fn rows_of_more_than_is_read_at_once_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let storage = folder(dir.path());
    let rows: Vec<Row> = (0..900_u32).map(|at| (at.to_be_bytes().to_vec(), vec![at as u8; 1_000])).collect();
    let expected = written(&storage, "rows", &rows);
    assert!(read(&storage, "rows", &expected).unwrap() == rows);
}

#[test]
fn a_pack_that_was_changed_anywhere_is_refused_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let storage = folder(dir.path());
    let mut writer = PackWriter::begin(&storage, 7).unwrap();
    let bodies: [&[u8]; 3] = [b"first", b"", b"the third"];
    bodies.iter().for_each(|body| writer.push(BodyId::of(body), body).unwrap());
    assert!(!dir.path().join(name(7)).exists(), "it is not there before it is whole");
    writer.finish().unwrap();
    let path = dir.path().join("pack-000007");
    let check = || -> Result<(), BackupError> {
        let pack = Pack::open(&storage, 7)?;
        pack.check_layout()?;
        pack.entries.iter().try_for_each(|entry| pack.read(entry).map(drop))
    };
    each_change_is_seen(&path, || check().is_err_and(|error| error.to_string().contains("pack-000007")));
    let pack = Pack::open(&storage, 7).unwrap();
    let read: Vec<Vec<u8>> = pack.entries.iter().map(|entry| pack.read(entry).unwrap()).collect();
    assert_eq!(read, bodies);
}

#[test]
fn a_pack_that_is_not_finished_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PackWriter::begin(&folder(dir.path()), 1).unwrap();
    writer.push(BodyId::of(b"x"), b"x").unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn some(id: &str, at_ms: u64) -> manifest::Manifest {
    manifest::Manifest {
        format: manifest::FORMAT,
        id: id.to_owned(),
        at_ms,
        cluster: "c".to_owned(),
        node: "node1".to_owned(),
        build: "0".to_owned(),
        term: 1,
        index: 2,
        rows: 0,
        rows_blake3: String::new(),
        keys_blake3: String::new(),
        users: 0,
        messages: 0,
        bodies: 0,
        bodies_added: 0,
        bytes_added: 0,
        bodies_lost: Vec::new(),
        packs: vec![1],
    }
}

#[test]
fn a_folder_has_one_writer_keeps_whole_backups_and_clears_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backups");
    assert!(matches!(Repository::over(folder(&path)), Err(BackupError::Refused(_))));
    let writing = Writing::over(folder(&path)).unwrap();
    assert!(matches!(Writing::over(folder(&path)), Err(BackupError::Unavailable(_))), "one at a time");
    assert_eq!(writing.free_id(Timestamp(1_000)).unwrap().0, "19700101T000001.000Z");
    let ca = CaPems { certificate: "c".to_owned(), key: "k".to_owned() };
    for (id, at) in [("19700101T000001.000Z", 1_000), ("19700101T000002.000Z", 2_000)] {
        fs::write(path.join(format!("rows-{id}")), b"").unwrap();
        let keys_blake3 = writing.write_keys(id, &ca).unwrap();
        writing.publish(&manifest::Manifest { keys_blake3, ..some(id, at) }).unwrap();
    }
    assert_eq!(
        writing.free_id(Timestamp(1_000)).unwrap(),
        ("19700101T000001.001Z".to_owned(), Timestamp(1_001))
    );
    drop(writing);
    for junk in ["pack-000009.part", "rows-x", "keys-x", "backup-x.json.new"] {
        fs::write(path.join(junk), b"junk").unwrap();
    }
    for kept in ["pack-000001", "mine.txt"] {
        fs::write(path.join(kept), b"kept").unwrap();
    }
    drop(Writing::over(folder(&path)).unwrap());
    let mut names: Vec<_> =
        fs::read_dir(&path).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "backup-19700101T000001.000Z.json",
            "backup-19700101T000002.000Z.json",
            "keys-19700101T000001.000Z",
            "keys-19700101T000002.000Z",
            "lock",
            "mine.txt",
            "pack-000001",
            "pollux-backups",
            "rows-19700101T000001.000Z",
            "rows-19700101T000002.000Z",
        ]
    );
    let repository = Repository::over(folder(&path)).unwrap();
    let chosen = |id, at: Option<u64>| repository.choose(id, at.map(Timestamp)).map(|it| it.at_ms);
    assert_eq!(chosen(None, None), Ok(2_000));
    assert_eq!(chosen(None, Some(1_999)), Ok(1_000));
    assert_eq!(chosen(None, Some(2_000)), Ok(2_000));
    assert_eq!(chosen(Some("19700101T000001.000Z"), None), Ok(1_000));
    assert!(chosen(None, Some(999)).is_err() && chosen(Some("x"), None).is_err());
    let last = repository.choose(None, None).unwrap();
    assert!(repository.keys(&last).unwrap() == ca);
    let name = "backup-19700101T000002.000Z.json";
    each_change_is_seen(&path.join(name), || manifest::Manifest::read(repository.storage(), name).is_err());
}

/// A backup whose rows name these bodies.
fn naming(writing: &Writing, at_ms: u64, bodies: &[&[u8]]) -> manifest::Manifest {
    let (id, _) = writing.free_id(Timestamp(at_ms)).unwrap();
    let mut rows: Vec<Row> = bodies.iter().map(|body| (keys::body(BodyId::of(body)), vec![1])).collect();
    rows.sort();
    let written = written(writing.repository().storage(), &format!("rows-{id}"), &rows);
    let ca = CaPems { certificate: "c".to_owned(), key: "k".to_owned() };
    let manifest = manifest::Manifest {
        keys_blake3: writing.write_keys(&id, &ca).unwrap(),
        rows: written.rows,
        rows_blake3: written.digest.to_hex().to_string(),
        packs: writing.repository().packs().unwrap(),
        ..some(&id, at_ms)
    };
    writing.publish(&manifest).unwrap();
    manifest
}

fn packed(writing: &Writing, number: u32, bodies: &[&[u8]]) {
    let mut writer = PackWriter::begin(writing.repository().storage(), number).unwrap();
    bodies.iter().for_each(|body| writer.push(BodyId::of(body), body).unwrap());
    writer.finish().unwrap();
}

/// The bodies that are in packs, by pack.
fn in_packs(repository: &Repository) -> Vec<(u32, Vec<BodyId>)> {
    let of = |number: u32| {
        let pack = Pack::open(repository.storage(), number).unwrap();
        (number, pack.entries.iter().map(|entry| entry.id).collect())
    };
    repository.packs().unwrap().into_iter().map(of).collect()
}

#[test]
fn what_many_packs_hold_is_known_once_each_and_a_damaged_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for storage in [folder(&dir.path().join("backups")), in_memory(dir.path()).1] {
        let writing = Writing::over(storage.clone()).unwrap();
        let bodies: Vec<Vec<u8>> = (0..30_u32).map(|number| number.to_le_bytes().to_vec()).collect();
        // Each in a pack with the one before it.
        for (number, pair) in bodies.windows(2).enumerate() {
            packed(&writing, number as u32, &[&pair[0], &pair[1]]);
        }
        let mut ids: Vec<BodyId> = bodies.iter().map(|body| BodyId::of(body)).collect();
        ids.sort_unstable();
        assert_eq!(writing.known_bodies().unwrap(), ids);
        storage.write(&name(17), b"no pack").unwrap();
        let why = writing.known_bodies().unwrap_err().to_string();
        assert!(why.contains(&format!("{}: it is cut short; move it away", name(17))), "{why}");
    }
}

#[test]
fn what_only_a_removed_backup_held_goes_and_the_others_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    for storage in [folder(&dir.path().join("backups")), in_memory(dir.path()).1] {
        removes_and_keeps(&storage);
    }
}

fn removes_and_keeps(storage: &Storage) {
    let writing = Writing::over(storage.clone()).unwrap();
    let [a, b, c, d]: [&[u8]; 4] = [&[b'a'; 900], b"b", &[b'c'; 900], b"d"];
    packed(&writing, 1, &[a, b]);
    let first = naming(&writing, 1_000, &[a, b]);
    packed(&writing, 2, &[c]);
    let second = naming(&writing, 2_000, &[b, c]);
    packed(&writing, 3, &[d]);
    let third = naming(&writing, 3_000, &[b, d]);
    let whole = |left: usize| {
        let found = verify::verify(writing.repository(), None, &Progress::default()).unwrap();
        assert_eq!((found.backups, found.faults), (left as u64, Vec::<String>::new()));
    };
    whole(3);

    let progress = Progress::default();
    let unknown = remove(&writing, &Gone::One("x".to_owned()), &progress);
    assert!(matches!(unknown, Err(BackupError::Refused(_))), "{unknown:?}");
    let removed = remove(&writing, &Gone::One(second.id.clone()), &progress).unwrap();
    assert_eq!((removed.backups, removed.left), (vec![second.id], 2));
    assert!(removed.bytes > 900, "{}", removed.bytes);
    let id = |body: &[u8]| BodyId::of(body);
    assert_eq!(in_packs(writing.repository()), [(1, vec![id(a), id(b)]), (3, vec![id(d)])]);
    whole(2);

    // Most of the first pack is needed no longer: what is needed of it is written anew.
    let removed = remove(&writing, &Gone::AllBut(1), &progress).unwrap();
    assert_eq!((removed.backups, removed.left), (vec![first.id], 1));
    assert_eq!(in_packs(writing.repository()), [(3, vec![id(d)]), (4, vec![id(b)])]);
    whole(1);
    assert_eq!(remove(&writing, &Gone::AllBut(1), &progress).unwrap().backups, Vec::<String>::new());

    // One that was cut short after the word was gone is ended by the next.
    storage.remove(&format!("backup-{}.json", third.id)).unwrap();
    assert_eq!(remove(&writing, &Gone::AllBut(1), &progress).unwrap().left, 0);
    assert_eq!((in_packs(writing.repository()), storage.files().unwrap().len()), (vec![], 1), "the mark");
}

#[test]
fn while_one_that_stays_cannot_be_read_nothing_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backups");
    let writing = Writing::over(folder(&path)).unwrap();
    packed(&writing, 1, &[b"a", b"b"]);
    let first = naming(&writing, 1_000, &[b"a"]);
    let second = naming(&writing, 2_000, &[b"b"]);
    let rows = path.join(format!("rows-{}", second.id));
    let sound = fs::read(&rows).unwrap();
    fs::write(&rows, &sound[..sound.len() - 1]).unwrap();
    let refused = remove(&writing, &Gone::One(first.id.clone()), &Progress::default());
    assert!(matches!(refused, Err(BackupError::Damaged(_))), "{refused:?}");
    assert_eq!((writing.repository().backups().unwrap().len(), in_packs(writing.repository()).len()), (2, 1));
    fs::write(&rows, sound).unwrap();
    assert_eq!(remove(&writing, &Gone::One(first.id), &Progress::default()).unwrap().left, 1);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), b"mine").unwrap();
    assert!(matches!(Writing::over(folder(dir.path())), Err(BackupError::Refused(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn mailbox(uid_validity: u32) -> MailboxRow {
    MailboxRow {
        account: AccountId(1),
        name: "INBOX".to_owned(),
        uid_validity: UidValidity(uid_validity),
        uid_next: Uid(9),
        highest_modseq: ModSeq(4),
        special_use: None,
        no_select: false,
        recent_from: Uid(1),
        messages: 0,
        unseen: 0,
        deleted: 0,
        bytes: 0,
        keywords: 0,
        expunged: 0,
        expunged_floor: ModSeq(0),
    }
}

fn row<R: crate::state::codec::Record>(key: Vec<u8>, row: &R) -> Row {
    let value = encode_row(&key, row).unwrap();
    (key, value)
}

/// The rows of a cluster that gave UIDVALIDITY up to `last`, in another at `now_s`.
fn renewed(last: u32, now_s: u64) -> (Vec<u32>, u32) {
    let meta = MetaRow { last_uid_validity: UidValidity(last), ..MetaRow::default() };
    let mut renewal = Renewal::new(Timestamp(now_s * 1_000));
    assert_eq!(renewal.row(row(keys::meta(), &meta)).unwrap(), None);
    let given = (1..=3).map(|id| {
        let (key, value) = renewal.row(row(keys::mailbox(MailboxId(id)), &mailbox(5))).unwrap().unwrap();
        let after: MailboxRow = decode_row(&key, &value).unwrap();
        assert_eq!(
            MailboxRow { uid_validity: UidValidity(5), ..after.clone() },
            mailbox(5),
            "nothing else changes"
        );
        after.uid_validity.0
    });
    let given = given.collect();
    let (key, value) = renewal.finish().unwrap().unwrap();
    let after: MetaRow = decode_row(&key, &value).unwrap();
    assert_eq!(MetaRow { last_uid_validity: UidValidity(last), ..after.clone() }, meta);
    (given, after.last_uid_validity.0)
}

#[test]
fn every_mailbox_gets_a_uidvalidity_that_the_lost_cluster_cannot_have_given() {
    let ahead = |from: u32| (1..=3).map(|at| from + UID_VALIDITY_AHEAD + at - 1).collect::<Vec<_>>();
    assert_eq!(renewed(100, 5_000), (ahead(5_000), 5_002 + UID_VALIDITY_AHEAD), "it follows the clock");
    assert_eq!(
        renewed(7_000, 5_000),
        (ahead(7_000), 7_002 + UID_VALIDITY_AHEAD),
        "or the last that was given"
    );
    let mut full = Renewal::new(Timestamp(u64::MAX));
    assert!(full.row(row(keys::mailbox(MailboxId(1)), &mailbox(5))).is_err(), "none is left");
}

#[test]
fn mail_in_the_queue_is_held_and_nodes_that_were_are_forgotten() {
    let mut renewal = Renewal::new(Timestamp(0));
    let id = ParcelId { message: QueueId(3), number: 0 };
    let parcel = ParcelRow {
        destination: "a.test".to_owned(),
        near: NodeId(2),
        attempts: 1,
        next_attempt: Timestamp(5),
        recipients: 1,
        held: false,
        lease: Some(LeaseId(8)),
    };
    let (key, value) = renewal.row(row(keys::parcel(id), &parcel)).unwrap().unwrap();
    let after: ParcelRow = decode_row(&key, &value).unwrap();
    assert_eq!(after, ParcelRow { held: true, lease: None, ..parcel });
    let queue = QueueRow { last_message: QueueId(3), messages: 1, leases: 1 };
    let (key, value) = renewal.row(row(keys::queue(), &queue)).unwrap().unwrap();
    assert_eq!(decode_row::<QueueRow>(&key, &value).unwrap(), QueueRow { leases: 0, ..queue });
    let due = keys::due(true, "a.test", Timestamp(5), id);
    assert_eq!(renewal.row(row(due, &DueRow { near: NodeId(2) })).unwrap(), None);
    assert_eq!(renewal.row(row(keys::replicas(), &ReplicasRow::default())).unwrap(), None);
    assert_eq!(renewal.row((vec![0xf0, 0], vec![1])).unwrap(), None, "what is applied is said anew");
    let other = (keys::setting("hostname"), vec![1, 2, 3]);
    assert_eq!(renewal.row(other.clone()).unwrap(), Some(other), "all else stays, octet for octet");
    assert_eq!(renewal.held, 1);
}
