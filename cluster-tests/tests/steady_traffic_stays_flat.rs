//! Mail comes in, is read and expunged, at a steady pace: what lives is constant, and so are memory, descriptors and
//! disk once everything has been in use. A minute here; `make soak FLAT_MINUTES=n` for as long as you like.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::hostile::memory;
use cluster_tests::imap::Imap;
use cluster_tests::ledger::message;
use cluster_tests::node::{Node, Role};
use cluster_tests::pop3::Pop3;
use cluster_tests::smtp::{Sent, Smtp};

/// Messages that each mailbox is brought back to.
const KEPT: u32 = 200;
const PAUSE: Duration = Duration::from_millis(40);
const MIB: u64 = 1 << 20;
/// What each node keeps of the log: a minute's traffic is more. It goes a file at a time, and files are a sixteenth of the octets.
const LOG_KEPT: &str = "log_entries_kept = 1000\nlog_bytes_kept = 16777216";
/// Bodies that nothing names stay for ten minutes, and until the pass that follows.
const BODY_GRACE: Duration = Duration::from_secs(15 * 60);

/// What one node uses.
#[derive(Debug, Clone, Copy)]
struct Use {
    at: Duration,
    pss: u64,
    descriptors: u64,
    log: u64,
    tables: u64,
    bodies: u64,
    /// Bytes of mail sent so far.
    sent: u64,
}

#[test]
fn steady_traffic_stays_flat() {
    let minutes: f64 = match std::env::var("POLLUX_FLAT_MINUTES") {
        Ok(text) => text.parse().expect("POLLUX_FLAT_MINUTES is a number"),
        Err(_) => 1.0,
    };
    let long = Duration::from_secs_f64(minutes * 60.0);
    let Some(mut cluster) = Cluster::start_with(|node| node.configure("raft", LOG_KEPT)) else {
        return;
    };
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let samples = std::thread::scope(|scope| {
        for (at, user) in [(0, "alice"), (1, "bob")] {
            let (near, far) = (&cluster.nodes[at], &cluster.nodes[1 - at]);
            let (over, sent) = (&over, &sent);
            scope.spawn(move || write(near, user, (over, sent)));
            scope.spawn(move || expunge(far, user, over));
            scope.spawn(move || read(far, user, over));
        }
        let samples = sample(&cluster, (begun, long), &sent);
        over.store(true, Ordering::Relaxed);
        samples
    });
    for (node, uses) in cluster.nodes.iter().zip(&samples) {
        assert_flat(node, uses);
    }
    cluster.wait_until_caught_up();
    assert!(cluster.nodes.iter_mut().all(Node::is_running));
    for user in ["alice", "bob"] {
        let all: Vec<_> = cluster.data_nodes().iter().map(|node| inbox(node, user)).collect();
        assert_eq!(all[0].0, all[1].0, "both nodes hold the same of {user}");
    }
}

/// Twenty looks at each node, evenly over the time.
fn sample(cluster: &Cluster, (begun, long): (Instant, Duration), sent: &AtomicU64) -> Vec<Vec<Use>> {
    let mut samples = vec![Vec::new(); cluster.nodes.len()];
    for look in 1..=20 {
        std::thread::sleep((long * look / 20).saturating_sub(begun.elapsed()));
        for (node, uses) in cluster.nodes.iter().zip(&mut samples) {
            let now = look_at(node, begun.elapsed(), sent.load(Ordering::Relaxed));
            println!("{}: {now:?}", node.name);
            uses.push(now);
        }
    }
    samples
}

fn look_at(node: &Node, at: Duration, sent: u64) -> Use {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", node.pid())).expect("the process lives").count();
    Use {
        at,
        pss: memory(node.pid()).pss,
        descriptors: descriptors as u64,
        log: bytes_below(&node.dir.join("raft")),
        tables: bytes_below(&node.dir.join("tables")),
        bodies: bytes_below(&node.dir.join("bodies")),
        sent,
    }
}

/// From the middle on: half of the time is for warming up.
fn assert_flat(node: &Node, uses: &[Use]) {
    let (middle, end) = (uses[uses.len() / 2], uses[uses.len() - 1]);
    let within = |what: &str, now: u64, most: u64| {
        assert!(now <= most, "{}: {what} is {now}, at most {most} are flat: {uses:#?}", node.name);
    };
    // Caches of a fixed size fill up in the first minutes; later growth is a leak.
    let slack = if end.at > Duration::from_secs(600) { 8 * MIB } else { 32 * MIB };
    within("memory", end.pss, middle.pss + middle.pss / 20 + slack);
    within("descriptors", end.descriptors, middle.descriptors + 16);
    within("log", end.log, middle.log + 4 * MIB);
    within("tables", end.tables, middle.tables + middle.tables / 2 + 16 * MIB);
    if node.role == Role::Data {
        // What was sent within the grace, what lives, and a half of it again until compaction pays, and two segments.
        let young = uses.iter().rfind(|then| end.at.saturating_sub(then.at) > BODY_GRACE);
        let fresh = end.sent - young.map_or(0, |then| then.sent);
        within("bodies", end.bodies, (fresh + 2 * MIB) * 3 / 2 + 2 * 64 * MIB);
    } else {
        within("the witness's memory", end.pss, 64 * MIB);
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        // Blocks, not length: files may be laid out ahead of their content.
        Ok(found) => std::os::unix::fs::MetadataExt::blocks(&found) * 512,
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

fn write(node: &Node, user: &str, (over, sent): (&AtomicBool, &AtomicU64)) {
    let mut dice = fastrand::Rng::with_seed(7);
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
        for _ in 0..20 {
            count += 1;
            let content = message(&format!("{user}-{count}"), dice.usize(500..8_000));
            let (fate, reply) = smtp.send(&[&format!("{user}@example.test")], &content);
            assert_eq!(fate, Sent::Acknowledged, "{reply:?}");
            sent.fetch_add(content.len() as u64, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
    }
}

fn expunge(node: &Node, user: &str, over: &AtomicBool) {
    let mut imap = Imap::login(node.imap(), user, &password(user)).expect("IMAP serves");
    while !over.load(Ordering::Relaxed) {
        let exists = imap.select("INBOX").expect("INBOX is there").exists;
        if exists > KEPT {
            let old = format!("STORE 1:{} +FLAGS.SILENT (\\Deleted)", exists - KEPT);
            imap.command(&old).expect("flags are set");
            imap.command("EXPUNGE").expect("they are expunged");
        }
        std::thread::sleep(PAUSE * 10);
    }
}

/// New sessions each time: what a session leaves behind would add up.
fn read(node: &Node, user: &str, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let mut imap = Imap::login(node.imap(), user, &password(user)).expect("IMAP serves");
        if imap.select("INBOX").expect("INBOX is there").exists > 0 {
            // NO [EXPUNGEISSUED] where the other session was faster: an answer, and the connection goes on.
            for fetch in ["FETCH 1:* (FLAGS ENVELOPE)", "FETCH 1 BODY.PEEK[]"] {
                if let Err(error) = imap.command(fetch) {
                    assert!(error.to_string().contains("EXPUNGEISSUED"), "{fetch}: {error}");
                }
            }
        }
        imap.command("LOGOUT").expect("IMAP says goodbye");
        let mut pop3 = Pop3::login(node.pop3(), user, &password(user)).expect("POP3 serves");
        pop3.command("STAT").expect("POP3 counts");
        pop3.command("QUIT").expect("POP3 says goodbye");
        std::thread::sleep(PAUSE * 5);
    }
}

fn inbox(node: &Node, user: &str) -> (Vec<u32>, usize) {
    let mut imap = Imap::login(node.imap(), user, &password(user)).expect("IMAP serves");
    imap.select("INBOX").expect("INBOX is there");
    let all = imap.fetch_all().expect("the mail is there");
    (all.iter().map(|mail| mail.uid).collect(), all.len())
}
