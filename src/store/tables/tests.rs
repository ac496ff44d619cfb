//! The tables at their bounds: exact views under writes, throttling, installation cut by a crash, damage.

use std::collections::BTreeMap;

use super::*;
use crate::state::rows::MemoryRows;

fn put(rows: impl IntoIterator<Item = (u32, u32)>) -> Batch {
    rows.into_iter().map(|(key, value)| (key_of(key), Some(value_of(value)))).collect()
}

fn key_of(key: u32) -> Vec<u8> {
    key.to_be_bytes().to_vec()
}

fn value_of(value: u32) -> Vec<u8> {
    value.to_be_bytes().repeat(8)
}

fn all(tables: &Tables) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    tables.scan(b"", &[0xff; 8], &mut visit).unwrap();
    rows
}

fn drain(view: &mut View, rows_max: usize) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TablesError> {
    let mut rows = BTreeMap::new();
    loop {
        let part = view.next_rows(rows_max)?;
        if part.is_empty() {
            return Ok(rows);
        }
        assert!(rows.last_key_value().is_none_or(|(last, _)| *last < part[0].0), "in key order");
        rows.extend(part);
    }
}

#[test]
fn rows_are_read_as_from_memory_and_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let mut model = MemoryRows::default();
    for round in 0..20 {
        let mut batch = put((0..50).map(|key| (key * (round + 1), round)));
        batch.extend((0..10).map(|key| (key_of(key * 7), None)));
        model.write(batch.clone());
        tables.write(batch).unwrap();
    }
    tables.sync().unwrap();
    assert_eq!(all(&tables), model.0);
    assert_eq!(tables.get(&key_of(1)).unwrap(), model.get(&key_of(1)).unwrap());
    drop(tables);
    assert_eq!(all(&Tables::open(dir.path()).unwrap()), model.0);
}

#[test]
fn what_gathers_is_seen_at_once_and_goes_into_the_engine_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let Kept::Files(handle) = &tables.kept else { unreachable!() };
    tables.write(put([(1, 1), (2, 2)])).unwrap();
    tables.sync().unwrap();
    let mut batch = put([(3, 3)]);
    batch.insert(key_of(1), None);
    tables.write(batch.clone()).unwrap();
    assert_eq!(all(&tables).into_keys().collect::<Vec<_>>(), [key_of(2), key_of(3)]);
    assert_eq!(tables.get(&key_of(1)).unwrap(), None);
    let in_engine = || handle.core.engine.load().get(&key_of(3)).unwrap();
    while in_engine().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(handle.core.engine.load().get(&key_of(1)).unwrap().is_none());
    // More than may gather: in the engine when it returns.
    let many = put((0..3_000).map(|key| (key, 7)));
    tables.write(many).unwrap();
    assert_eq!(handle.core.engine.load().get(&key_of(2_999)).unwrap(), Some(value_of(7)));
}

#[test]
fn a_key_or_value_one_byte_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    let row = |key: usize, value: usize| Batch::from([(vec![1; key], Some(vec![2; value]))]);
    tables.write(row(1 << 10, 6 << 10)).unwrap();
    assert!(matches!(tables.write(row((1 << 10) + 1, 0)), Err(TablesError::TooLarge(_))));
    assert!(matches!(tables.write(row(1, (6 << 10) + 1)), Err(TablesError::TooLarge(_))));
}

#[test]
fn a_view_is_exact_while_rows_before_and_behind_it_change() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    tables.write(put((0..3_000).map(|key| (key * 2, key)))).unwrap();
    for rows_max in [1, 7, 500, 10_000] {
        let expected = all(&tables);
        let mut view = tables.begin_view().unwrap();
        let mut rows: BTreeMap<_, _> = view.next_rows(rows_max).unwrap().into_iter().collect();
        // Changed, made and deleted, on both sides of the cursor, the last rows among them.
        tables.write(put((0..6_000).step_by(31).map(|key| (key, key + rows_max as u32)))).unwrap();
        tables.write((0..200).map(|key| (key_of(5_998 - key * 2), None)).collect()).unwrap();
        tables.write((0..9).map(|key| (key_of(key * 601), None)).collect()).unwrap();
        rows.extend(drain(&mut view, rows_max).unwrap());
        assert_eq!(rows, expected);
        assert_ne!(all(&tables), expected);
    }
}

#[test]
fn a_view_is_exact_under_a_writer_that_never_rests() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    tables.write(put((0..5_000).map(|key| (key, 0)))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (tables, stop) = (tables.clone(), stop.clone());
        move || {
            let mut round = 1;
            while !stop.load(Ordering::Relaxed) {
                // One batch: a view sees all of a round or nothing of it.
                tables.write(put((0..5_000).step_by(100).map(|key| (key, round)))).unwrap();
                round += 1;
            }
        }
    });
    for _ in 0..5 {
        let rows = drain(&mut tables.begin_view().unwrap(), 300).unwrap();
        assert_eq!(rows.len(), 5_000);
        let rounds: std::collections::BTreeSet<_> =
            (0..5_000).step_by(100).map(|key| rows[&key_of(key)].clone()).collect();
        assert_eq!(rounds.len(), 1);
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

fn tight(view_stall: Duration) -> TablesLimits {
    TablesLimits { before_images_bytes_max: 20_000, view_stall, ..TablesLimits::default() }
}

#[test]
fn writers_wait_at_the_bound_until_the_view_has_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open_with(dir.path(), tight(Duration::from_secs(600))).unwrap();
    tables.write(put((0..2_000).map(|key| (key, 0)))).unwrap();
    let mut view = tables.begin_view().unwrap();
    // Fills the bound; this one still goes through.
    tables.write(put((0..1_000).map(|key| (key, 1)))).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let writer = std::thread::spawn({
        let tables = tables.clone();
        move || {
            tables.write(put([(1_999, 9)])).unwrap();
            done.send(()).unwrap();
        }
    });
    // The view frees nothing before its first turn, so the write cannot be through.
    assert!(is_done.try_recv().is_err());
    let rows = drain(&mut view, 500).unwrap();
    assert_eq!(rows.len(), 2_000);
    assert!(rows.values().all(|value| *value == value_of(0)));
    writer.join().unwrap();
    assert_eq!(tables.get(&key_of(1_999)).unwrap(), Some(value_of(9)));
}

#[test]
fn a_view_that_stalls_while_writers_wait_is_abandoned() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open_with(dir.path(), tight(Duration::from_millis(50))).unwrap();
    tables.write(put((0..2_000).map(|key| (key, 0)))).unwrap();
    let mut view = tables.begin_view().unwrap();
    tables.write(put((0..1_000).map(|key| (key, 1)))).unwrap();
    // Returns only because the view is given up.
    tables.write(put([(0, 2)])).unwrap();
    assert!(matches!(view.next_rows(10), Err(TablesError::ViewAbandoned(_))));
    assert_eq!(drain(&mut tables.begin_view().unwrap(), 500).unwrap(), all(&tables));
}

#[test]
fn a_dropped_view_frees_the_writers() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open_with(dir.path(), tight(Duration::from_secs(600))).unwrap();
    tables.write(put((0..2_000).map(|key| (key, 0)))).unwrap();
    let view = tables.begin_view().unwrap();
    tables.write(put((0..1_000).map(|key| (key, 1)))).unwrap();
    drop(view);
    tables.write(put([(0, 2)])).unwrap();
    assert_eq!(tables.get(&key_of(0)).unwrap(), Some(value_of(2)));
}

#[test]
fn an_installation_replaces_all_rows_for_every_clone() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path()).unwrap();
    tables.write(put([(1, 1), (2, 2)])).unwrap();
    let (reader, mut view) = (tables.clone(), tables.begin_view().unwrap());
    let mut installer = tables.begin_install().unwrap();
    assert!(tables.begin_install().is_err(), "one at a time");
    installer.push((0..1_200).map(|key| (key_of(key + 2), value_of(key))).collect()).unwrap();
    tables.write(put([(3, 3)])).unwrap();
    assert_eq!(all(&reader).len(), 3, "nothing of it is seen before the end");
    installer.finish().unwrap();
    assert_eq!(all(&reader).len(), 1_200);
    assert!(matches!(view.next_rows(5), Err(TablesError::ViewAbandoned(_))));
    tables.write(put([(1, 7)])).unwrap();
    drop((tables, reader, view));
    let tables = Tables::open(dir.path()).unwrap();
    assert_eq!(all(&tables).len(), 1_201);
    assert!(!dir.path().join("rows-1").exists());
    drop(tables.begin_install().unwrap());
    tables.begin_install().unwrap().finish().unwrap();
    assert_eq!(all(&tables).len(), 0);
}

#[test]
fn an_installation_cut_by_a_crash_leaves_the_old_rows_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    let tables = Tables::open(&path).unwrap();
    tables.write(put([(1, 1)])).unwrap();
    drop(tables);
    // Before the switch: a half-built set lies beside the old one.
    fs::create_dir(path.join("rows-2")).unwrap();
    fs::write(path.join("rows-2/db"), b"half").unwrap();
    fs::write(path.join("CURRENT.new"), b"ro").unwrap();
    assert_eq!(all(&Tables::open(&path).unwrap()).len(), 1);
    assert!(!path.join("rows-2").exists());
    // After the switch: the old set is still there.
    fs::rename(path.join("rows-1"), path.join("rows-2")).unwrap();
    fs::create_dir(path.join("rows-1")).unwrap();
    fs::write(path.join(CURRENT_NAME), b"rows-2").unwrap();
    assert_eq!(all(&Tables::open(&path).unwrap()).len(), 1);
    assert!(!path.join("rows-1").exists());
    // Rows without the name that makes them count are a loss, not a first start.
    fs::remove_file(path.join(CURRENT_NAME)).unwrap();
    assert!(matches!(Tables::open(&path), Err(TablesError::Damaged(_))));
}

#[test]
fn flipped_bytes_are_found_or_change_nothing_and_the_directory_can_be_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    let tables = Tables::open(&path).unwrap();
    tables.write(put((0..400).map(|key| (key, key)))).unwrap();
    tables.sync().unwrap();
    let expected = all(&tables);
    drop(tables);
    let db = path.join("rows-1/db");
    let clean = fs::read(&db).unwrap();
    let start = clean.windows(8).position(|window| *window == value_of(200)[..8]);
    for offset in [0, 5, 20, start.unwrap(), start.unwrap() + 3] {
        let mut flipped = clean.clone();
        flipped[offset] ^= 0x10;
        fs::write(&db, flipped).unwrap();
        match Tables::open(&path) {
            Err(error) => assert!(matches!(error, TablesError::Damaged(_)), "{error}"),
            Ok(tables) => {
                let mut rows = BTreeMap::new();
                let scanned = tables.scan(b"", &[0xff; 8], &mut |key, value| {
                    rows.insert(key.to_vec(), value.to_vec());
                    ControlFlow::Continue(())
                });
                // sled drops a torn end of its log by itself; a row that is handed out is right.
                assert!(scanned.is_ok() || tables.damage().is_some());
                assert!(rows.iter().all(|(key, value)| expected.get(key) == Some(value)));
            }
        }
    }
    let first = Tables::set_aside(&path).unwrap();
    assert!(first.exists() && !path.exists());
    drop(Tables::open(&path).unwrap());
    std::fs::rename(&first, dir.path().join("tables.damaged-20200101T000000000")).unwrap();
    Tables::set_aside(&path).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "one copy is kept");
}

#[test]
fn concurrent_writers_all_get_their_rows_in() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open_with(dir.path(), TablesLimits { batches_queued_max: 2, ..Default::default() });
    let tables = tables.unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let tables = &tables;
            scope.spawn(move || {
                for key in 0..50 {
                    tables.write(put([(writer * 1_000 + key, key)])).unwrap();
                    assert_eq!(tables.get(&key_of(writer * 1_000 + key)).unwrap(), Some(value_of(key)));
                }
            });
        }
    });
    assert_eq!(all(&tables).len(), 400);
}

#[test]
fn rows_that_are_found_damaged_or_said_to_be_wrong_are_condemned_until_others_take_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    let tables = Tables::open(&path).unwrap();
    tables.write(put([(1, 1)])).unwrap();
    assert_eq!(Tables::condemned(&path), None);
    tables.condemn("they do not add up").unwrap();
    assert_eq!(Tables::condemned(&path).as_deref(), Some("they do not add up"));
    tables.begin_install().unwrap().finish().unwrap();
    assert_eq!(Tables::condemned(&path), None, "the new rows are others");

    drop(tables);
    let rotten = sled::open(path.join("rows-2")).unwrap();
    rotten.insert(key_of(1), b"neither a version nor a checksum").unwrap();
    rotten.flush().unwrap();
    drop(rotten);
    let tables = Tables::open(&path).unwrap();
    assert!(tables.get(&key_of(1)).is_err() && tables.damage().is_some());
    drop(tables);
    assert!(Tables::condemned(&path).is_some_and(|why| why.contains("checksum")));
    Tables::set_aside(&path).unwrap();
    assert_eq!(Tables::condemned(&path), None);
}
