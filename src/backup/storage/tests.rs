//! Files in a bucket: as they were, or refused.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::bucket::Bucket;
use super::hold::PREFIX;
use super::sealed::{CHUNK_BYTES, HEAD_BYTES, Passphrase, SEALED_CHUNK_BYTES};
use super::{MARK, Storage};
use crate::backup::BackupError;
use crate::backup::repository::{Repository, Writing};
use crate::clock::Clock;
use crate::mail::ids::Timestamp;

/// A store within this process, and a place in it.
pub fn in_memory(spool: &Path) -> (Arc<InMemory>, Storage) {
    let store = Arc::new(InMemory::new());
    let storage = place(&store, spool, "correct horse");
    (store, storage)
}

fn place(store: &Arc<InMemory>, spool: &Path, passphrase: &str) -> Storage {
    let passphrase = Passphrase::try_from(passphrase.to_owned()).unwrap();
    // Each with dice of its own, as processes have.
    static SEED: AtomicU64 = AtomicU64::new(0);
    let clock = Clock::seeded(Timestamp(0), SEED.fetch_add(1, Ordering::Relaxed));
    let store = Arc::clone(store) as Arc<dyn ObjectStore>;
    Storage::Bucket(Arc::new(
        Bucket::over(store, ("office", "mail"), passphrase, spool.to_owned(), clock).unwrap(),
    ))
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn raw(store: &InMemory, name: &str) -> Vec<u8> {
    now(async { store.get(&at(name)).await.unwrap().bytes().await.unwrap().to_vec() })
}

fn set(store: &InMemory, name: &str, bytes: &[u8]) {
    now(store.put(&at(name), PutPayload::from(bytes.to_vec()))).unwrap();
}

fn at(name: &str) -> ObjectPath {
    ObjectPath::from(format!("mail/{name}"))
}

/// That differ from chunk to chunk (xorshift).
fn octets(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn fetched(storage: &Storage, name: &str) -> Result<Vec<u8>, BackupError> {
    let file = storage.fetch(name)?;
    let mut bytes = vec![0; file.length() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[test]
fn files_come_back_whole_and_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (store, storage) = in_memory(dir.path());
    let _hold = storage.take().unwrap();
    // Some go up in one piece, the last in three parts.
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, (17 << 20) + 5] {
        let bytes = octets(length);
        let mut draft = storage.begin("file").unwrap();
        bytes.chunks(100_000).for_each(|chunk| draft.write(chunk).unwrap());
        draft.place().unwrap();
        assert!(fetched(&storage, "file").unwrap() == bytes, "{length}");
        let file = storage.open("file").unwrap();
        assert_eq!(file.length(), length as u64);
        let ends = [0, 1, length / 2, CHUNK_BYTES, 2 * CHUNK_BYTES, length];
        for (from, to) in ends.iter().flat_map(|from| ends.map(|to| (*from, to))) {
            if from <= to && to <= length && to - from <= 3 * CHUNK_BYTES {
                let mut part = vec![0; to - from];
                file.read_exact_at(&mut part, from as u64).unwrap();
                assert!(part == bytes[from..to], "{from}..{to} of {length}");
            }
        }
        let beyond = file.read_exact_at(&mut [0], length as u64);
        assert!(matches!(beyond, Err(BackupError::Damaged(_))), "{beyond:?}");
        storage.write("small", &bytes).unwrap();
        assert!(storage.read("small", length as u64).unwrap() == bytes, "{length}");
        assert!(length == 0 || storage.read("small", length as u64 - 1).is_err(), "it is bounded");
        // Nothing of it is to be seen there.
        let there = raw(&store, "file");
        assert!(length < 64 || !there.windows(32).any(|window| window == &bytes[..32]), "{length}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files on their way have no names");
}

#[test]
fn what_was_changed_in_the_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, storage) = in_memory(dir.path());
    let _hold = storage.take().unwrap();
    let bytes = octets(2 * CHUNK_BYTES + 50);
    storage.write("file", &bytes).unwrap();
    let sound = raw(&store, "file");
    let is_refused = |changed: &[u8], why: &str| {
        set(&store, "file", changed);
        for read in [fetched(&storage, "file"), storage.read("file", 1 << 20)] {
            // A store gives no part of what is empty.
            let is_seen =
                matches!(read, Err(BackupError::Damaged(_))) || (changed.is_empty() && read.is_err());
            assert!(is_seen, "{why}: {read:?}");
        }
    };
    let edges = [0, 7, 8, HEAD_BYTES, HEAD_BYTES + SEALED_CHUNK_BYTES, sound.len() - 1];
    for at in edges {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        is_refused(&flipped, &format!("octet {at}"));
    }
    for length in [
        0,
        8,
        HEAD_BYTES,
        HEAD_BYTES + SEALED_CHUNK_BYTES,
        HEAD_BYTES + 2 * SEALED_CHUNK_BYTES,
        sound.len() - 1,
    ] {
        is_refused(&sound[..length], &format!("cut after {length}"));
    }
    is_refused(&[&sound[..], b"x"].concat(), "longer");
    let (first, second) = (HEAD_BYTES, HEAD_BYTES + SEALED_CHUNK_BYTES);
    let third = second + SEALED_CHUNK_BYTES;
    let swapped = [&sound[..first], &sound[second..third], &sound[first..second], &sound[third..]].concat();
    is_refused(&swapped, "chunks in another order");
    storage.write("other", &bytes).unwrap();
    is_refused(&raw(&store, "other"), "that of another name");
    set(&store, "file", &sound);
    assert!(fetched(&storage, "file").unwrap() == bytes);
    // A part that is read alone is checked alone.
    let mut flipped = sound.clone();
    flipped[HEAD_BYTES] ^= 1;
    set(&store, "file", &flipped);
    let file = storage.open("file").unwrap();
    file.read_exact_at(&mut [0; 10], CHUNK_BYTES as u64).unwrap();
    assert!(file.read_exact_at(&mut [0; 10], 0).is_err());
}

#[test]
fn a_place_opens_for_its_passphrase_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, storage) = in_memory(dir.path());
    let none = Repository::over(storage.clone());
    assert!(
        matches!(&none, Err(BackupError::Refused(why)) if why.starts_with("s3://office/mail holds no backups"))
    );
    drop(Writing::over(storage.clone()).unwrap());
    let same = place(&store, dir.path(), "correct horse");
    drop(Writing::over(same.clone()).unwrap());
    Repository::over(same).unwrap();
    let other = place(&store, dir.path(), "another horse");
    for refused in [Repository::over(other.clone()).map(drop), Writing::over(other).map(drop)] {
        assert!(
            matches!(&refused, Err(BackupError::Refused(why)) if why.contains("passphrase")),
            "{refused:?}"
        );
    }
    let names: Vec<_> = storage.files().unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, [MARK]);
    let mark = raw(&store, MARK);
    set(&store, MARK, &mark[..mark.len() - 1]);
    let again = place(&store, dir.path(), "correct horse");
    assert!(matches!(Repository::over(again), Err(BackupError::Damaged(_))));
}

#[test]
fn what_holds_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, storage) = in_memory(dir.path());
    set(&store, "letter.txt", b"mine");
    assert!(matches!(Writing::over(storage.clone()), Err(BackupError::Refused(_))));
    let names: Vec<_> = storage.files().unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["letter.txt"]);
    // Beside it, and below it, is elsewhere.
    now(store.delete(&at("letter.txt"))).unwrap();
    set(&store, "below/letter.txt", b"mine");
    now(store.put(&ObjectPath::from("mailing"), PutPayload::from_static(b"mine"))).unwrap();
    Writing::over(storage).unwrap();
}

fn claims(store: &InMemory) -> Vec<String> {
    let listed = now(store.list_with_delimiter(Some(&ObjectPath::from("mail")))).unwrap();
    let names = listed.objects.iter().map(|meta| meta.location.filename().unwrap().to_owned());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}

#[test]
fn one_writes_at_a_time_and_who_lost_the_place_publishes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, storage) = in_memory(dir.path());
    let first = Writing::over(storage.clone()).unwrap();
    let second = Writing::over(place(&store, dir.path(), "correct horse"));
    assert!(matches!(second, Err(BackupError::Unavailable(_))), "one at a time");
    let held = claims(&store);
    assert_eq!(held.len(), 1, "who is refused leaves no claim");
    first.check().unwrap();
    // As one does who took it for dead.
    now(store.delete(&at(&held[0]))).unwrap();
    let third = Writing::over(place(&store, dir.path(), "correct horse")).unwrap();
    let lost = first.check();
    assert!(matches!(&lost, Err(BackupError::Unavailable(why)) if why.contains("taken over")), "{lost:?}");
    assert!(first.clear().is_err(), "what is there is the other's");
    third.check().unwrap();
    drop(first);
    third.check().unwrap();
    drop(third);
    assert_eq!(claims(&store), Vec::<String>::new());
    drop(Writing::over(storage).unwrap());
}
