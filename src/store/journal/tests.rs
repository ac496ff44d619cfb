//! Records appended, given back, cut short and flipped.

use super::*;

const LIMITS: JournalLimits = JournalLimits { bytes_max: 10_000, file_bytes_max: 1_000 };

fn open(dir: &Path, run: u64) -> Journal {
    Journal::open(&dir.join("journal"), LIMITS, run).unwrap()
}

fn record(fill: u8, bytes: usize) -> Bytes {
    vec![fill; bytes].into()
}

fn all(journal: &Journal) -> Vec<u8> {
    let mut reader = journal.reader();
    std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record[0]).collect()
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir.join("journal")).map_or(0, Iterator::count)
}

#[test]
fn records_come_back_in_order_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1);
    assert_eq!(
        (all(&journal), journal.bytes(), files(dir.path())),
        (vec![], 0, 0),
        "nothing is made in advance"
    );
    journal.append(&[record(1, 10), record(2, 20)]).unwrap();
    journal.append(&[record(3, 600), record(4, 600)]).unwrap();
    journal.append(&[record(5, 1)]).unwrap();
    assert_eq!(all(&journal), [1, 2, 3, 4, 5]);
    assert_eq!(files(dir.path()), 2, "a file is closed at its bound");
    let bytes = journal.bytes();
    drop(journal);
    let journal = open(dir.path(), 2);
    assert_eq!((all(&journal), journal.bytes()), (vec![1, 2, 3, 4, 5], bytes));
    journal.append(&[record(6, 1)]).unwrap();
    assert_eq!(all(&journal), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn at_its_bound_it_takes_nothing_and_takes_again_when_something_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1);
    let half = record(1, LIMITS.bytes_max as usize / 2 - HEAD_BYTES);
    journal.append(&[half.clone(), half.clone()]).unwrap();
    assert_eq!(journal.bytes(), LIMITS.bytes_max);
    let refused = journal.append(&[record(2, 1)]);
    assert!(matches!(refused, Err(JournalError::Full(bytes)) if bytes == LIMITS.bytes_max), "{refused:?}");
    assert_eq!(all(&journal), [1, 1]);
    journal.drop_before(journal.end()).unwrap();
    assert_eq!((journal.bytes(), files(dir.path())), (0, 0));
    journal.append(&[half]).unwrap();
    let large = journal.append(&[vec![0; RECORD_BYTES_MAX + 1].into()]);
    assert!(matches!(large, Err(JournalError::TooLarge(_))), "{large:?}");
}

#[test]
fn only_whole_files_before_the_mark_go_and_none_by_a_mark_of_another_run() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1);
    journal.append(&[record(1, 1_000)]).unwrap();
    let first = journal.end();
    journal.append(&[record(2, 10)]).unwrap();
    let second = journal.end();
    journal.append(&[record(3, 10)]).unwrap();
    journal.drop_before(second).unwrap();
    assert_eq!(all(&journal), [2, 3], "the second file holds one that lies behind the mark");
    journal.drop_before(first).unwrap();
    assert_eq!(all(&journal), [2, 3]);
    let end = journal.end();
    journal.drop_before(end).unwrap();
    assert_eq!((all(&journal), journal.end()), (vec![], end), "places do not begin anew");
    journal.append(&[record(4, 10)]).unwrap();
    journal.drop_before(end).unwrap();
    assert_eq!(all(&journal), [4]);

    drop(journal);
    let journal = open(dir.path(), 2);
    journal.drop_before(Mark { run: 1, at: u64::MAX }).unwrap();
    assert_eq!(all(&journal), [4]);
    journal.drop_before(Mark { run: 2, at: u64::MAX }).unwrap();
    assert_eq!(all(&journal), [0u8; 0]);
}

#[test]
fn half_a_record_or_a_rotten_one_costs_its_file_s_rest_alone() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1);
    journal.append(&[record(1, 10), record(2, 10), record(3, 1_000)]).unwrap();
    journal.append(&[record(4, 10), record(5, 10)]).unwrap();
    let (first, last) = (path(&journal.shared.dir, 0), journal.end());
    drop(journal);
    let last_at = starts(&dir.path().join("journal")).unwrap().into_iter().max().unwrap();
    let cut = OpenOptions::new().write(true).open(path(&dir.path().join("journal"), last_at)).unwrap();
    cut.set_len(last.at - last_at - 1).unwrap();
    let journal = open(dir.path(), 2);
    assert_eq!(all(&journal), [1, 2, 3, 4]);
    journal.append(&[record(6, 10)]).unwrap();
    assert_eq!(
        all(&journal),
        [1, 2, 3, 4, 6],
        "what comes after the crash lies behind its own file's beginning"
    );

    let mut bytes = fs::read(&first).unwrap();
    bytes[HEAD_BYTES + 10 + HEAD_BYTES] ^= 1;
    fs::write(&first, bytes).unwrap();
    assert_eq!(all(&journal), [1, 4, 6]);
    // A length that says more than there is.
    let mut bytes = fs::read(&first).unwrap();
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(&first, bytes).unwrap();
    assert_eq!(all(&journal), [4, 6]);
}

#[test]
fn a_file_that_goes_while_it_is_read_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 1);
    for fill in 1..=3 {
        journal.append(&[record(fill, 1_000)]).unwrap();
    }
    let mut reader = journal.reader();
    assert_eq!(reader.next_record().unwrap().unwrap()[0], 1);
    journal.drop_before(journal.end()).unwrap();
    assert_eq!(reader.next_record().unwrap(), None);
}
