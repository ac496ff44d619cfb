//! The body store at its bounds: torn, corrupt, compacted, full, placed again, and against a model.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;

use super::writer::Active;
use super::*;

const SMALL: BodyLimits = BodyLimits {
    compaction_bytes_per_s_max: u64::MAX,
    segment_bytes_max: 4_000,
    gathered_body_bytes_max: 1_000,
    queue_bytes_max: 1 << 20,
    body_bytes_max: 100_000,
    grace: Duration::ZERO,
};

fn body(seed: usize, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(&mut bytes);
    bytes.into()
}

fn put(bodies: &Bodies, bytes: &Bytes) -> BodyId {
    let id = BodyId::of(bytes);
    bodies.put(id, bytes.clone()).unwrap();
    id
}

fn files_named(dir: &Path, part: &str) -> usize {
    let entries = fs::read_dir(dir).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains(part)).count()
}

#[test]
fn bodies_of_every_size_are_read_back_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 999, 1_000, 1_001, 5_000, 100_000];
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    for size in sizes {
        put(&bodies, &body(size, size));
        let large = sizes.iter().filter(|large| **large > 1_000 && **large <= size).count();
        // The small ones share a segment; each large one has its own.
        assert_eq!(files_named(dir.path(), ".seg"), 1 + large, "{size}");
    }
    let too_large = body(9, 100_001);
    let refused = bodies.put(BodyId::of(&too_large), too_large);
    assert!(matches!(refused, Err(BodyError::TooLarge(100_000))));
    let before = (bodies.count(), bodies.bytes());
    drop(bodies);
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    assert_eq!((bodies.count(), bodies.bytes()), before);
    assert_eq!(before.0, sizes.len() as u64);
    assert_eq!(before.1.live, before.1.on_disk);
    for size in sizes {
        assert_eq!(bodies.get(BodyId::of(&body(size, size))).unwrap(), Some(body(size, size)));
    }
    assert_eq!(bodies.get(BodyId::of(b"never placed")).unwrap(), None);
}

#[tokio::test]
async fn a_streamed_body_is_stored_by_its_commit_and_leaves_nothing_behind_without() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    for size in [700, 50_000] {
        let bytes = body(size, size);
        for ending in ["dropped", "staged", "committed"] {
            let mut writer = bodies.begin();
            bytes.chunks(333).for_each(|chunk| writer.push(chunk).unwrap());
            if ending == "dropped" {
                continue;
            }
            let staged = writer.finish().unwrap();
            assert_eq!((staged.id(), staged.size()), (BodyId::of(&bytes), size as u64));
            assert!(!bodies.contains(staged.id()).unwrap());
            if ending == "committed" {
                let id = staged.commit().await.unwrap();
                assert_eq!(bodies.get(id).unwrap(), Some(bytes.clone()));
            }
        }
        assert_eq!(files_named(dir.path(), "spool-"), 0);
    }
    assert_eq!(bodies.count(), 2);
    drop(bodies);
    fs::write(dir.path().join("spool-77"), b"left by a crash").unwrap();
    Bodies::open(dir.path(), SMALL).unwrap();
    assert_eq!(files_named(dir.path(), "spool-"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_from_many_sessions_are_all_stored() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), BodyLimits { queue_bytes_max: 2_000, ..SMALL }).unwrap();
    let sessions: Vec<_> = (0..60)
        .map(|session| {
            let bodies = bodies.clone();
            tokio::spawn(async move {
                // Every other body comes twice.
                let bytes = body(session / 2, 100 + session / 2 * 40);
                let mut writer = bodies.begin();
                writer.push(&bytes).unwrap();
                writer.finish().unwrap().commit().await.unwrap()
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for session in sessions {
        ids.insert(session.await.unwrap());
    }
    assert_eq!((ids.len(), bodies.count()), (30, 30));
    for id in ids {
        assert!(bodies.get(id).unwrap().is_some());
    }
}

#[test]
fn a_body_that_is_not_what_its_id_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    let id = BodyId::of(b"right");
    assert!(matches!(bodies.put(id, Bytes::from_static(b"wrong")), Err(BodyError::WrongId(_))));
    assert!(!bodies.contains(id).unwrap());
}

#[test]
fn a_segment_cut_at_any_byte_keeps_every_whole_body_and_goes_on() {
    let source = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(source.path(), SMALL).unwrap();
    let placed: Vec<_> = [40, 0, 130].iter().map(|size| put(&bodies, &body(*size, *size))).collect();
    drop(bodies);
    let bytes = fs::read(segment_path(source.path(), 1)).unwrap();
    let ends = [52 + 40, 52 + 40 + 52, bytes.len()];
    for length in 0..=bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(segment_path(dir.path(), 1), &bytes[..length]).unwrap();
        let bodies = Bodies::open(dir.path(), SMALL).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count();
        for (number, id) in placed.iter().enumerate() {
            assert_eq!(bodies.get(*id).unwrap().is_some(), number < whole, "cut at {length}");
        }
        assert_eq!(bodies.bytes().on_disk, if whole == 0 { 0 } else { ends[whole - 1] as u64 });
        put(&bodies, &body(1, 10));
        assert_eq!(bodies.count(), whole as u64 + 1);
    }
}

#[test]
fn a_flipped_bit_costs_one_body_which_is_then_healed() {
    let source = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(source.path(), SMALL).unwrap();
    let placed: Vec<_> = [40, 30, 130].iter().map(|size| body(*size, *size)).collect();
    for bytes in &placed {
        put(&bodies, bytes);
    }
    drop(bodies);
    let bytes = fs::read(segment_path(source.path(), 1)).unwrap();
    for offset in (0..bytes.len()).step_by(11) {
        let victim = [92, 174].iter().filter(|end| **end <= offset).count();
        let mut flipped = bytes.clone();
        flipped[offset] ^= 4;
        // With the index of before, and with one rebuilt by a scan.
        for rebuilt in [false, true] {
            fs::write(segment_path(source.path(), 1), &flipped).unwrap();
            if rebuilt {
                fs::remove_dir_all(source.path().join("index")).unwrap();
            }
            let bodies = Bodies::open(source.path(), SMALL).unwrap();
            for (number, bytes) in placed.iter().enumerate() {
                let id = BodyId::of(bytes);
                match bodies.get(id) {
                    Ok(Some(found)) => assert_eq!((&found, number == victim), (bytes, false)),
                    Ok(None) => assert!(number == victim && rebuilt, "offset {offset}"),
                    Err(BodyError::Corrupt(_)) => assert!(number == victim && !rebuilt),
                    Err(error) => panic!("{error}"),
                }
                assert_eq!(bodies.contains(id).unwrap(), number != victim);
            }
            put(&bodies, &placed[victim]);
            assert_eq!(bodies.get(BodyId::of(&placed[victim])).unwrap(), Some(placed[victim].clone()));
            drop(bodies);
            // Back to the one segment, for the next flip.
            fs::remove_file(segment_path(source.path(), 2)).unwrap();
            fs::write(segment_path(source.path(), 1), &bytes).unwrap();
            fs::remove_dir_all(source.path().join("index")).unwrap();
            drop(Bodies::open(source.path(), SMALL).unwrap());
        }
    }
}

#[test]
fn a_damaged_index_is_rebuilt_from_the_segments() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    let ids: Vec<_> = (0..50).map(|seed| put(&bodies, &body(seed, seed * 30))).collect();
    let before = (bodies.count(), bodies.bytes());
    drop(bodies);
    let ways: [fn(&Path); 3] = [
        |dir| fs::write(dir.join("index/db"), b"rubbish").unwrap(),
        |dir| fs::write(dir.join("index/conf"), b"rubbish").unwrap(),
        |dir| fs::write(dir.join("index.rebuild"), b"").unwrap(),
    ];
    for way in ways {
        way(dir.path());
        let bodies = Bodies::open(dir.path(), SMALL).unwrap();
        assert_eq!((bodies.count(), bodies.bytes()), before);
        ids.iter().for_each(|id| assert!(bodies.get(*id).unwrap().is_some()));
    }
}

#[test]
fn forgotten_bodies_give_their_space_back_by_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    let ids: Vec<_> = (0..40).map(|seed| put(&bodies, &body(seed, 400))).collect();
    put(&bodies, &body(99, 50_000));
    assert_eq!(bodies.compact_one().unwrap(), 0, "nothing is dead");
    let (dead, kept): (Vec<_>, Vec<_>) = ids.iter().enumerate().partition(|(at, _)| at % 4 != 0);
    let dead: Vec<_> = dead.into_iter().map(|(_, id)| *id).chain([BodyId::of(&body(99, 50_000))]).collect();
    assert_eq!(bodies.forget(&dead).unwrap(), []);
    let before = bodies.bytes();
    let mut given_back = 0;
    loop {
        match bodies.compact_one().unwrap() {
            0 => break,
            bytes => given_back += bytes,
        }
    }
    let after = bodies.bytes();
    assert_eq!(before.on_disk - after.on_disk, given_back);
    assert!(after.on_disk < after.live * 2 + SMALL.segment_bytes_max);
    let mut bodies = bodies;
    for round in 0..2 {
        if round == 1 {
            drop(bodies);
            bodies = Bodies::open(dir.path(), SMALL).unwrap();
        }
        assert_eq!(bodies.count(), 10);
        kept.iter().for_each(|(_, id)| assert!(bodies.get(**id).unwrap().is_some()));
        dead.iter().for_each(|id| assert!(!bodies.contains(*id).unwrap()));
    }
}

#[test]
fn a_compaction_cut_by_a_crash_leaves_every_body_once() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    let ids: Vec<_> = (0..9).map(|seed| put(&bodies, &body(seed, 400))).collect();
    assert_eq!(files_named(dir.path(), ".seg"), 1);
    assert_eq!(bodies.forget(&ids[..6]).unwrap(), []);
    let source = fs::read(segment_path(dir.path(), 1)).unwrap();
    assert!(bodies.compact_one().unwrap() > 0);
    drop(bodies);
    // As if the source had not been deleted any more.
    fs::write(segment_path(dir.path(), 1), &source).unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    assert_eq!(bodies.count(), 3);
    assert!(bodies.compact_one().unwrap() > 0, "the source holds nothing that lives");
    ids[6..].iter().for_each(|id| assert!(bodies.get(*id).unwrap().is_some()));
    drop(bodies);
    // And with an index that knows of neither: the later copy counts; the forgotten may be there again.
    fs::write(segment_path(dir.path(), 1), &source).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    assert_eq!(bodies.count(), 9);
    ids.iter().for_each(|id| assert!(bodies.get(*id).unwrap().is_some()));
}

#[test]
fn a_body_placed_or_placed_again_within_the_grace_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    let old = body(1, 600);
    let ids: Vec<_> = [&old, &body(2, 600), &body(3, 5_000)].map(|bytes| put(&bodies, bytes)).to_vec();
    drop(bodies);
    // The grace goes by where the log ended at the start: the last segment counts as young.
    let patient = BodyLimits { grace: Duration::from_secs(3_600), ..SMALL };
    let bodies = Bodies::open(dir.path(), patient).unwrap();
    assert_eq!(bodies.forget(&ids[2..]).unwrap(), ids[2..]);
    // Placed again, a body of long ago is as young as a new one.
    put(&bodies, &old);
    let young = put(&bodies, &body(4, 600));
    assert_eq!(bodies.forget(&[ids[0], ids[1], young]).unwrap(), [ids[0], young]);
    while bodies.compact_one().unwrap() > 0 {}
    assert_eq!(bodies.get(ids[0]).unwrap(), Some(old));
    assert!(!bodies.contains(ids[1]).unwrap());
}

#[test]
fn placing_races_forgetting_and_a_placed_body_stays() {
    let dir = tempfile::tempdir().unwrap();
    let patient = BodyLimits { grace: Duration::from_secs(3_600), ..SMALL };
    let seeded = Bodies::open(dir.path(), SMALL).unwrap();
    let placed: Vec<_> = (0..40).map(|seed| body(seed, 300)).collect();
    for bytes in &placed {
        put(&seeded, bytes);
    }
    drop(seeded);
    let bodies = Bodies::open(dir.path(), patient).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200 {
                let id = BodyId::of(&placed[round % 40]);
                bodies.forget(&[id]).unwrap();
                bodies.compact_one().unwrap();
            }
        });
        for bytes in &placed {
            // From the answer to `put` on, a proposal may name it.
            let id = put(&bodies, bytes);
            assert_eq!(bodies.get(id).unwrap().as_ref(), Some(bytes));
        }
    });
    placed.iter().for_each(|bytes| assert!(bodies.contains(BodyId::of(bytes)).unwrap()));
}

/// One body through a writer that no thread runs.
fn store(writer: &mut Writer, bytes: &Bytes) -> Result<(), BodyError> {
    let (answer, answered) = oneshot::channel();
    let (id, presence) = (BodyId::of(bytes), Presence::Enough);
    writer.take(Job::Store { id, bytes: bytes.clone(), presence, answer, _room: None });
    writer.write_gathered();
    answered.blocking_recv().unwrap()
}

#[test]
fn a_full_disk_refuses_clearly_and_later_writes_work_again() {
    let dir = tempfile::tempdir().unwrap();
    let (core, mut writer, _jobs) = prepare(dir.path(), SMALL).unwrap();
    store(&mut writer, &body(1, 100)).unwrap();
    let active = writer.active.take().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    writer.active = Some(Active { number: active.number, file: full, bytes: active.bytes });
    assert!(matches!(store(&mut writer, &body(2, 100)), Err(BodyError::DiskFull)));
    assert!(core.index.get(&BodyId::of(&body(2, 100))).unwrap().is_none());
    store(&mut writer, &body(3, 100)).unwrap();
    let found = core.index.after(None, 9).unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn after_a_failed_write_nothing_more_is_taken_and_what_was_there_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (core, mut writer, _jobs) = prepare(dir.path(), SMALL).unwrap();
    store(&mut writer, &body(1, 100)).unwrap();
    let active = writer.active.take().unwrap();
    // A descriptor that cannot be written stands for a disk that fails.
    let failing = File::open(segment_path(dir.path(), active.number)).unwrap();
    writer.active = Some(Active { number: active.number, file: failing, bytes: active.bytes });
    assert!(matches!(store(&mut writer, &body(2, 100)), Err(BodyError::Io(_))));
    let failure = core.lock().failure.clone().unwrap();
    // Also not what is there already: its last sync may be the one that lied.
    for again in [1, 2, 3] {
        assert!(matches!(store(&mut writer, &body(again, 100)), Err(BodyError::Io(why)) if why == failure));
    }
    drop((writer, core));
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    assert_eq!(bodies.failure(), None);
    assert_eq!(bodies.ids_after(None, 9).unwrap(), [BodyId::of(&body(1, 100))]);
}

#[test]
fn a_body_put_anew_is_read_from_its_new_place_and_the_old_one_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    for (seed, length) in [(1, 500), (2, 5_000)] {
        let bytes = body(seed, length);
        let id = put(&bodies, &bytes);
        let (count, before) = (bodies.count(), bodies.bytes());
        let at = core(&bodies).index.get(&id).unwrap().unwrap();
        bodies.put(id, bytes.clone()).unwrap();
        assert_eq!(bodies.bytes(), before, "it is there already");
        bodies.put_anew(id, bytes.clone()).unwrap();
        assert_ne!(core(&bodies).index.get(&id).unwrap(), Some(at));
        assert_eq!((bodies.count(), bodies.bytes().live), (count, before.live));
        assert_eq!(bodies.bytes().on_disk, before.on_disk + HEADER_BYTES as u64 + length as u64);
        assert_eq!(bodies.get(id).unwrap(), Some(bytes));
    }
}

#[test]
fn only_the_disks_own_errors_count_as_unreadable() {
    for (code, unreadable) in
        [(5, true), (74, true), (117, true), (61, true), (2, false), (24, false), (28, false)]
    {
        assert_eq!(is_medium_error(&io::Error::from_raw_os_error(code)), unreadable, "{code}");
    }
}

#[test]
fn a_compaction_rests_as_long_as_its_pace_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let limits = BodyLimits {
        segment_bytes_max: 20 << 20,
        gathered_body_bytes_max: 1 << 20,
        compaction_bytes_per_s_max: 4 << 20,
        body_bytes_max: 1 << 20,
        ..SMALL
    };
    let bodies = Bodies::open(dir.path(), limits).unwrap();
    let ids: Vec<_> = (0..40).map(|seed| put(&bodies, &body(seed, 512 << 10))).collect();
    put(&bodies, &body(99, 10));
    assert_eq!(files_named(dir.path(), ".seg"), 2);
    assert_eq!(bodies.forget(&ids[..25]).unwrap(), []);
    let mut pauses = Vec::new();
    assert!(bodies.compact_one_pausing(&mut |pause| pauses.push(pause)).unwrap() > 12 << 20);
    // 15 bodies of half a MiB live: after each MiB a quarter of a second, at 4 MiB a second.
    assert_eq!(pauses, [Duration::from_millis(250); 7]);
    assert!(ids[25..].iter().all(|id| bodies.get(*id).unwrap().is_some()));
}

#[test]
fn a_scrub_pages_through_all_and_finds_what_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let bodies = Bodies::open(dir.path(), SMALL).unwrap();
    let ids: BTreeSet<_> = (0..300).map(|seed| put(&bodies, &body(seed, 50))).collect();
    let path = segment_path(dir.path(), 2);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let (mut next, mut checked, mut corrupt) = (None, 0, Vec::new());
    loop {
        let stretch = bodies.scrub(next, 120).unwrap();
        assert!(stretch.checked <= 2);
        checked += stretch.checked;
        corrupt.extend(stretch.corrupt);
        next = stretch.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!((checked, corrupt.len()), (300, 1));
    assert_eq!(bodies.ids_after(None, 1_000).unwrap().len(), 299);
    let left: Vec<_> = ids.into_iter().filter(|id| *id != corrupt[0]).collect();
    assert_eq!(bodies.ids_after(None, 5).unwrap(), left[..5]);
    assert_eq!(bodies.ids_after(Some(left[4]), 5).unwrap(), left[5..10]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_like_a_set(steps in prop::collection::vec((0..6u8, 0..25usize), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut bodies = Bodies::open(dir.path(), SMALL).unwrap();
        let mut model = BTreeSet::new();
        let of = |seed: usize| body(seed, seed * 97);
        for (kind, seed) in steps {
            match kind {
                0..=2 => {
                    model.insert(put(&bodies, &of(seed)));
                }
                3 => {
                    let id = BodyId::of(&of(seed));
                    prop_assert_eq!(bodies.forget(&[id]).unwrap(), []);
                    model.remove(&id);
                }
                4 => {
                    bodies.compact_one().unwrap();
                }
                _ => {
                    drop(bodies);
                    bodies = Bodies::open(dir.path(), BodyLimits { grace: Duration::ZERO, ..SMALL }).unwrap();
                }
            }
            prop_assert_eq!(bodies.ids_after(None, 100).unwrap(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(bodies.count(), model.len() as u64);
        }
        for seed in 0..25 {
            let expected = model.contains(&BodyId::of(&of(seed))).then(|| of(seed));
            prop_assert_eq!(bodies.get(BodyId::of(&of(seed))).unwrap(), expected);
        }
    }
}

fn core(bodies: &Bodies) -> &Core {
    match &bodies.kept {
        Kept::Files(handle) => &handle.core,
        Kept::Elsewhere(_) => panic!("these tests are about files"),
    }
}
