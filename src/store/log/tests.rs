//! The log at its bounds: torn, flipped, purged, truncated, full, and against a model.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bytes::Bytes;
use proptest::prelude::*;

use super::frame::Record;
use super::index::Place;
use super::recover::path_of;
use super::summary::summary_path;
use super::*;

const SMALL: LogLimits = LogLimits {
    cache_bytes_max: 2_000,
    queue_bytes_max: 1 << 20,
    file_bytes_max: 4_000,
    point_each_bytes: 300,
};
const ONE_FILE: LogLimits = LogLimits { file_bytes_max: u64::MAX, ..SMALL };

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, leader: 1, index }
}

fn payload(index: u64) -> Bytes {
    Bytes::from(format!("entry {index} ").repeat(1 + index as usize % 7))
}

async fn append(log: &LogStore, term: u64, range: Range<u64>) -> io::Result<()> {
    let (reply, answered) = oneshot::channel();
    let entries = range.map(|index| (at(term, index), payload(index))).collect();
    log.append(entries, Box::new(move |result| drop(reply.send(result)))).await?;
    answered.await.unwrap()
}

async fn read_all(log: &LogStore, mut range: Range<u64>) -> Vec<(LogPosition, Bytes)> {
    let mut all = Vec::new();
    loop {
        let part = log.read(range.clone(), 500).await.unwrap();
        let Some((last, _)) = part.last() else { return all };
        range.start = last.index + 1;
        all.extend(part);
    }
}

fn only_file(dir: &Path) -> PathBuf {
    path_of(dir, 1)
}

/// Three appends and a vote, each in a frame of its own, and where each frame ended.
async fn written(dir: &Path) -> (Vec<u8>, Vec<u64>) {
    let log = LogStore::open(dir, ONE_FILE).unwrap();
    let mut ends = vec![log.bytes_on_disk()];
    for index in 0..3 {
        append(&log, 1, index..index + 1).await.unwrap();
        ends.push(fs::metadata(only_file(dir)).unwrap().len());
    }
    log.save_vote(LogVote { term: 2, voted_for: 3, committed: true }).await.unwrap();
    ends.push(fs::metadata(only_file(dir)).unwrap().len());
    drop(log);
    (fs::read(only_file(dir)).unwrap(), ends)
}

#[tokio::test]
async fn all_is_there_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    assert_eq!(log.state(), LogState::default());
    append(&log, 1, 0..100).await.unwrap();
    log.save_committed(Some(at(1, 80))).unwrap();
    log.purge(at(1, 9)).unwrap();
    log.truncate_after(Some(at(1, 89))).unwrap();
    log.save_vote(LogVote { term: 7, voted_for: 2, committed: false }).await.unwrap();
    let state = log.state();
    assert_eq!((state.purged, state.last), (Some(at(1, 9)), Some(at(1, 89))));
    drop(log);
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    assert_eq!(log.state(), state);
    let expected: Vec<_> = (10..90).map(|index| (at(1, index), payload(index))).collect();
    assert_eq!(read_all(&log, 10..1_000).await, expected);
    assert!(matches!(log.read(9..20, 1).await, Err(LogError::Misuse(_))));
}

#[tokio::test]
async fn the_committed_position_alone_is_not_synced_but_saved_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    append(&log, 1, 0..5).await.unwrap();
    let before = log.bytes_on_disk();
    log.save_committed(Some(at(1, 3))).unwrap();
    let handle = log.clone();
    drop(log);
    assert_eq!(handle.bytes_on_disk(), before);
    drop(handle);
    assert_eq!(LogStore::open(dir.path(), SMALL).unwrap().state().committed, Some(at(1, 3)));
}

#[tokio::test]
async fn a_log_cut_at_any_byte_opens_with_every_whole_frame_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, ends) = written(dir.path()).await;
    for length in 0..bytes.len() as u64 {
        fs::write(only_file(dir.path()), &bytes[..length as usize]).unwrap();
        let opened = LogStore::open(dir.path(), ONE_FILE);
        if length < ends[0] {
            // The head of a file is durable before it has its name.
            assert!(matches!(opened, Err(LogError::Damaged(_))), "cut at {length}");
            continue;
        }
        let log = opened.unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count() as u64 - 1;
        assert_eq!(read_all(&log, 0..9).await.len() as u64, whole.min(3), "cut at {length}");
        let next = whole.min(3);
        append(&log, 5, next..next + 2).await.unwrap();
        drop(log);
        let log = LogStore::open(dir.path(), ONE_FILE).unwrap();
        assert_eq!(log.state().last, Some(at(5, next + 1)), "cut at {length}");
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_damage_and_never_a_shorter_log() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, _) = written(dir.path()).await;
    for offset in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[offset] ^= 1 << bit;
            fs::write(only_file(dir.path()), &flipped).unwrap();
            let opened = LogStore::open(dir.path(), ONE_FILE);
            assert!(matches!(opened, Err(LogError::Damaged(_))), "bit {bit} of byte {offset}");
        }
    }
}

#[tokio::test]
async fn a_sector_of_the_last_write_that_never_arrived_is_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), ONE_FILE).unwrap();
    append(&log, 1, 0..3).await.unwrap();
    let start = log.bytes_on_disk() as usize;
    append(&log, 1, 3..103).await.unwrap();
    drop(log);
    let bytes = fs::read(only_file(dir.path())).unwrap();
    let sectors = bytes.len().div_ceil(512);
    assert!(sectors > 4);
    for sector in start / 512..sectors {
        let mut torn = bytes.clone();
        let lost = (sector * 512).max(start)..((sector + 1) * 512).min(bytes.len());
        torn[lost].fill(0);
        fs::write(only_file(dir.path()), &torn).unwrap();
        let log = LogStore::open(dir.path(), ONE_FILE).unwrap();
        assert_eq!(log.state().last, Some(at(1, 2)), "sector {sector}");
    }
    // The same hole with a later write behind it was synced once.
    fs::write(only_file(dir.path()), &bytes).unwrap();
    let log = LogStore::open(dir.path(), ONE_FILE).unwrap();
    append(&log, 1, 103..104).await.unwrap();
    drop(log);
    let mut holed = fs::read(only_file(dir.path())).unwrap();
    holed[1024..1536].fill(0);
    fs::write(only_file(dir.path()), &holed).unwrap();
    assert!(matches!(LogStore::open(dir.path(), ONE_FILE), Err(LogError::Damaged(_))));
}

#[tokio::test]
async fn zeros_behind_the_last_frame_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bytes, ends) = written(dir.path()).await;
    bytes.resize(bytes.len() + 3_000, 0);
    fs::write(only_file(dir.path()), &bytes).unwrap();
    let log = LogStore::open(dir.path(), ONE_FILE).unwrap();
    assert_eq!(log.state().vote.map(|vote| vote.term), Some(2));
    assert_eq!(Some(&log.bytes_on_disk()), ends.last());
}

#[tokio::test]
async fn a_missing_or_damaged_file_in_the_middle_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    for index in 0..300 {
        append(&log, 1, index..index + 1).await.unwrap();
    }
    drop(log);
    let second = fs::read(path_of(dir.path(), 2)).unwrap();
    assert!(path_of(dir.path(), 3).exists());
    fs::write(path_of(dir.path(), 2), &second[..second.len() - 1]).unwrap();
    assert!(matches!(LogStore::open(dir.path(), SMALL), Err(LogError::Damaged(_))));
    fs::remove_file(path_of(dir.path(), 2)).unwrap();
    assert!(matches!(LogStore::open(dir.path(), SMALL), Err(LogError::Damaged(_))));
    // Without the oldest file its entries are missing too, for nothing was purged.
    fs::write(path_of(dir.path(), 2), &second).unwrap();
    LogStore::open(dir.path(), SMALL).unwrap();
    fs::remove_file(path_of(dir.path(), 1)).unwrap();
    assert!(matches!(LogStore::open(dir.path(), SMALL), Err(LogError::Damaged(_))));
}

#[tokio::test]
async fn a_purge_gives_whole_files_back_and_one_beyond_the_end_empties_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    for index in 0..300 {
        append(&log, 1, index..index + 1).await.unwrap();
    }
    let full = log.bytes_on_disk();
    log.purge(at(1, 249)).unwrap();
    append(&log, 1, 300..301).await.unwrap();
    assert!(log.bytes_on_disk() < full / 2);
    assert!(!path_of(dir.path(), 1).exists());
    drop(log);
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    assert_eq!(read_all(&log, 250..999).await.len(), 51);
    log.purge(at(4, 1_000)).unwrap();
    assert_eq!(log.state().last, Some(at(4, 1_000)));
    append(&log, 4, 1_001..1_002).await.unwrap();
    drop(log);
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    assert_eq!(log.state().last, Some(at(4, 1_001)));
    assert_eq!(read_all(&log, 1_001..9_999).await.len(), 1);
}

#[tokio::test]
async fn a_file_that_was_being_made_in_a_crash_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let half = dir.path().join("0000000002.log.new");
    fs::write(&half, b"PLX").unwrap();
    assert_eq!(LogStore::open(dir.path(), ONE_FILE).unwrap().state().last, Some(at(1, 2)));
    assert!(!half.exists());
}

#[tokio::test]
async fn appends_that_gather_while_one_is_answered_share_a_frame() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), LogLimits { point_each_bytes: 1, ..ONE_FILE }).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let (entered, inside) = oneshot::channel();
    // The callback runs on the log's thread: while it waits, appends gather.
    let hold: OnDurable = Box::new(move |_| {
        entered.send(()).unwrap();
        held.recv().unwrap();
    });
    log.append(vec![(at(1, 0), payload(0))], hold).await.unwrap();
    inside.await.unwrap();
    let (done, all_done) = mpsc::channel();
    for index in 1..50 {
        let done = done.clone();
        let tell: OnDurable = Box::new(move |result| done.send((index, result.is_ok())).unwrap());
        log.append(vec![(at(1, index), payload(index))], tell).await.unwrap();
        assert_eq!(log.state().last, Some(at(1, index)), "readable at once");
    }
    assert_eq!(read_all(&log, 0..50).await.len(), 50);
    release.send(()).unwrap();
    let order: Vec<_> = all_done.iter().take(49).collect();
    assert_eq!(order, (1..50).map(|index| (index, true)).collect::<Vec<_>>());
    let (_, _, runs) = core(&log).lock().index.summary(1);
    let frames: Vec<_> = runs[0].points.iter().map(|point| point.first).collect();
    assert_eq!(frames, [0, 1]);
}

#[tokio::test]
async fn a_start_reads_the_last_file_and_of_the_others_what_their_summaries_say() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    for index in 0..300 {
        append(&log, 1, index..index + 1).await.unwrap();
    }
    log.truncate_after(Some(at(1, 249))).unwrap();
    append(&log, 2, 250..400).await.unwrap();
    let state = log.state();
    drop(log);
    let expected: Vec<_> = (0..400).map(|index| (at(1 + index / 250, index), payload(index))).collect();
    // Half-way in the second file: whoever reads it hears of the damage, a start does not look.
    let good = fs::read(path_of(dir.path(), 2)).unwrap();
    let mut bad = good.clone();
    bad[2_000] ^= 1;
    fs::write(path_of(dir.path(), 2), &bad).unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    assert_eq!(log.state(), state);
    let mut outcome = log.read(0..20, usize::MAX).await;
    assert_eq!(outcome.unwrap(), expected[..20]);
    outcome = log.read(0..400, usize::MAX).await;
    assert!(matches!(outcome, Err(LogError::Damaged(what)) if what.contains("0000000002.log")));
    drop(log);
    // Without its summary the file is read, and said to be damaged; whole, it gets a summary again.
    let summary = fs::read(summary_path(dir.path(), 2)).unwrap();
    fs::write(summary_path(dir.path(), 2), &summary[1..]).unwrap();
    assert!(matches!(LogStore::open(dir.path(), SMALL), Err(LogError::Damaged(_))));
    fs::write(path_of(dir.path(), 2), &good).unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    assert_eq!(read_all(&log, 0..999).await, expected);
    assert_eq!(fs::read(summary_path(dir.path(), 2)).unwrap(), summary);
    // A summary goes with its file.
    log.purge(at(2, 350)).unwrap();
    append(&log, 2, 400..401).await.unwrap();
    assert!(!path_of(dir.path(), 2).exists() && !summary_path(dir.path(), 2).exists());
}

#[test]
fn the_index_of_a_witness_full_log_takes_little_memory() {
    const FRAME_BYTES: u64 = 1_000;
    let limits = LogLimits::WITNESS;
    let mut index = Index::new(limits.point_each_bytes);
    let (mut file, mut offset) = (1, 100);
    for frame in 0..(8 << 30) / FRAME_BYTES {
        if offset >= limits.file_bytes_max {
            index.begin_file();
            (file, offset) = (file + 1, 100);
        }
        let place = Place { file, offset: offset as u32 };
        index.apply(&Record::Entry(at(1, frame), b""), place).unwrap();
        offset += FRAME_BYTES;
    }
    assert!(index.is_whole() && file > 500);
    assert!(index.bytes() < 3 << 20, "{} bytes", index.bytes());
    let frames_stepped_over = limits.point_each_bytes / FRAME_BYTES + 1;
    let found = index.holding(&(5_000_000..5_000_001));
    let expected = 100 + 5_000_000 % ((limits.file_bytes_max - 100).div_ceil(FRAME_BYTES)) * FRAME_BYTES;
    assert_eq!(found.len(), 1);
    assert!(u64::from(found[0].offset) <= expected);
    assert!(u64::from(found[0].offset) + frames_stepped_over * FRAME_BYTES >= expected);
}

#[tokio::test]
async fn append_waits_while_the_queue_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits { queue_bytes_max: 100, ..SMALL };
    let log = LogStore::open(dir.path(), limits).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let big = |index| vec![(at(1, index), Bytes::from(vec![1; 100]))];
    let hold: OnDurable = Box::new(move |_| held.recv().unwrap());
    log.append(big(0), hold).await.unwrap();
    let mut second = Box::pin(log.append(big(1), Box::new(|_| ())));
    // The first one's room comes back only when it was answered, so the second cannot be through.
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    release.send(()).unwrap();
    second.await.unwrap();
    assert_eq!(log.state().last, Some(at(1, 1)));
}

#[tokio::test]
async fn a_gap_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    append(&log, 1, 0..3).await.unwrap();
    assert!(append(&log, 1, 4..5).await.is_err());
    assert!(append(&log, 1, 2..3).await.is_err());
    append(&log, 1, 3..4).await.unwrap();
    assert_eq!(log.state().last, Some(at(1, 3)));
}

#[tokio::test]
async fn after_a_failed_write_nothing_more_is_taken_and_the_start_after_it_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits { file_bytes_max: 300, ..SMALL };
    let log = LogStore::open(dir.path(), limits).unwrap();
    append(&log, 1, 0..20).await.unwrap();
    // A directory where the next file should be made stands for a disk that refuses.
    let obstacle = dir.path().join("0000000002.log.new");
    fs::create_dir(&obstacle).unwrap();
    assert!(append(&log, 1, 20..21).await.is_err());
    let vote = LogVote { term: 9, voted_for: 1, committed: false };
    assert!(matches!(log.save_vote(vote).await, Err(LogError::Io(_))));
    drop(log);
    fs::remove_dir(&obstacle).unwrap();
    let log = LogStore::open(dir.path(), limits).unwrap();
    assert_eq!((log.state().last, log.state().vote), (Some(at(1, 19)), None));
    append(&log, 1, 20..21).await.unwrap();
}

#[test]
fn a_log_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), SMALL).unwrap();
    let error = LogStore::open(dir.path(), SMALL).err().unwrap();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(log);
    LogStore::open(dir.path(), SMALL).unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Truncate(u64),
    Purge(u64),
    Vote,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..40u64).prop_map(Step::Append),
        2 => (0..30u64).prop_map(Step::Truncate),
        2 => (0..60u64).prop_map(Step::Purge),
        1 => Just(Step::Vote),
        2 => Just(Step::Restart),
    ]
}

/// Plays `steps` on a log and on a plain list, and compares the two after each.
async fn plays_like_a_list(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path(), SMALL).unwrap();
    let mut model: Vec<(LogPosition, Bytes)> = Vec::new();
    let (mut purged, mut term, mut vote) = (None::<LogPosition>, 1, None);
    for step in steps {
        let next = model.last().map(|(last, _)| *last).or(purged).map_or(0, |last| last.index + 1);
        match step {
            Step::Append(count) => {
                append(&log, term, next..next + count).await.unwrap();
                model.extend((next..next + count).map(|index| (at(term, index), payload(index))));
            }
            Step::Truncate(back) => {
                model.truncate(model.len().saturating_sub(back as usize));
                log.truncate_after(model.last().map(|(last, _)| *last).or(purged)).unwrap();
                term += 1;
            }
            Step::Purge(count) => {
                let cut = model.len().min(count as usize);
                let Some((upto, _)) = model.drain(..cut).next_back() else { continue };
                log.purge(upto).unwrap();
                purged = Some(upto);
            }
            Step::Vote => {
                term += 1;
                vote = Some(LogVote { term, voted_for: term, committed: term % 2 == 0 });
                log.save_vote(vote.unwrap()).await.unwrap();
            }
            Step::Restart => {
                drop(log);
                log = LogStore::open(dir.path(), SMALL).unwrap();
            }
        }
        let state = log.state();
        assert_eq!((state.purged, state.vote), (purged, vote));
        assert_eq!(state.last, model.last().map(|(last, _)| *last).or(purged));
        let start = purged.map_or(0, |purged| purged.index + 1);
        assert_eq!(read_all(&log, start..u64::MAX).await, model);
        assert!(core(&log).lock().cache_bytes <= SMALL.cache_bytes_max + 40 * 200);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_log_plays_like_a_list(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(plays_like_a_list(steps));
    }
}

fn core(log: &LogStore) -> &Core {
    match &log.kept {
        Kept::Files(handle) => &handle.core,
        Kept::Elsewhere(_) => panic!("these tests are about files"),
    }
}
