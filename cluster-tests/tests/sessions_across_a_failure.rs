//! The leader is killed under open sessions. One with the survivor notices a pause at most: IDLE goes on, and a STORE
//! given in the gap is answered with OK by the next leader. One with the dead node goes to the other and is told by
//! QRESYNC exactly what changed while it was away, as a model of the test's own says. POP3 names each message alike on
//! both nodes, before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::imap::{Imap, Untagged};
use cluster_tests::ledger::message;
use cluster_tests::pop3::Pop3;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::steps::{agreed, append_all, leader_and_follower, run, session};

/// The server's own bound for a write is ten seconds.
const PAUSE_MAX: Duration = Duration::from_secs(10);

#[test]
fn the_survivors_clients_notice_a_pause_at_most() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, survivor) = leader_and_follower(&cluster);
    append_all(&mut session(&cluster, leader, "alice"), "INBOX", &["one", "two", "three"]);
    agreed(&cluster);
    let mut storing = session(&cluster, survivor, "alice");
    run(&mut storing, &["SELECT INBOX", "NOOP"]);
    let mut idling = session(&cluster, survivor, "alice");
    run(&mut idling, &["SELECT INBOX"]);
    let idle = idling.begin("IDLE").expect("the connection lives");
    assert!(idling.response().expect("IDLE is accepted").text.starts_with('+'));

    cluster.nodes[leader].kill();
    let asked = Instant::now();
    let (told, _) = storing.command("UID STORE 2 +FLAGS (\\Flagged)").expect("the next leader takes it");
    assert!(asked.elapsed() < PAUSE_MAX, "{:?}", asked.elapsed());
    assert!(told.iter().any(|line| line.text.contains("FETCH (UID 2 FLAGS (\\Flagged")), "{told:?}");
    hears(&mut idling, "* 2 FETCH (FLAGS (\\Flagged");
    deliver(&cluster, survivor, "four");
    hears(&mut idling, "* 4 EXISTS");
    idling.raw(b"DONE\r\n").expect("the connection lives");
    idling.finish(&idle).expect("IDLE ends with OK");
    run(&mut storing, &["UID STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "UID COPY 2 Trash"]);

    cluster.nodes[leader].start();
    let shown = agreed(&cluster);
    let inbox = &shown[&("alice".to_string(), "INBOX".to_string())];
    let uids: Vec<u32> = inbox.messages.iter().map(|message| message.uid).collect();
    assert_eq!(uids, [2, 3, 4]);
}

#[test]
fn the_dead_nodes_clients_are_told_exactly_what_changed() {
    let Some(mut cluster) = Cluster::start() else { return };
    let seed = std::env::var("POLLUX_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for round in 0..3 {
        let (leader, survivor) = leader_and_follower(&cluster);
        let mut model = Model::default();
        let mut other = session(&cluster, survivor, "alice");
        run(&mut other, &["SELECT INBOX"]);
        for number in 0..20 {
            model.append(&mut other, &format!("r{round}-{number}"));
        }
        agreed(&cluster);
        let mut away = session(&cluster, leader, "alice");
        run(&mut away, &["ENABLE QRESYNC"]);
        let known = away.select("INBOX").expect("INBOX is there");
        let had = listed(&away.command("UID FETCH 1:* (FLAGS)").expect("it is read").0);
        model.forget_changes(&had);

        // Half of it while the client's node still lives, half when it is dead.
        model.change(&mut other, &mut dice, round);
        cluster.nodes[leader].kill();
        assert!(away.command("NOOP").is_err(), "the client's node is dead");
        model.change(&mut other, &mut dice, round + 10);

        let mut back = session(&cluster, survivor, "alice");
        run(&mut back, &["ENABLE QRESYNC"]);
        let select = format!(
            "SELECT INBOX (QRESYNC ({} {} 1:{}))",
            known.uid_validity,
            known.highest_modseq,
            known.uid_next + 1_000
        );
        let (told, _) = back.command(&select).expect("it is told");
        assert_eq!(vanished(&told), model.expunged, "round {round}: what went");
        assert_eq!(listed(&told), model.changed(), "round {round}: what changed and what came");

        cluster.nodes[leader].start();
        agreed(&cluster);
        run(&mut other, &["STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"]);
    }
}

#[test]
fn pop3_names_messages_alike_on_both_nodes_for_good() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, survivor) = leader_and_follower(&cluster);
    let mut imap = session(&cluster, leader, "alice");
    append_all(&mut imap, "INBOX", &["one", "two", "three", "four"]);
    run(&mut imap, &["SELECT INBOX", "UID STORE 2 +FLAGS (\\Deleted)", "EXPUNGE"]);
    agreed(&cluster);
    let before = uidl(&cluster, leader);
    assert_eq!(before.len(), 3);
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "each its own: {before:?}");
    assert_eq!(uidl(&cluster, survivor), before);

    // What is marked and not confirmed by QUIT is not deleted (RFC 1939 6), least of all when the node dies.
    let mut pop3 = pop3(&cluster, leader);
    pop3.command("DELE 1").expect("it is marked");
    cluster.nodes[leader].kill();
    assert_eq!(uidl(&cluster, survivor), before);
    let mut pop3 = self::pop3(&cluster, survivor);
    pop3.command("DELE 2").expect("it is marked");
    pop3.command("QUIT").expect("the next leader deletes it");
    let left = [before[0].clone(), before[2].clone()];
    assert_eq!(uidl(&cluster, survivor), left);

    cluster.nodes[leader].start();
    agreed(&cluster);
    assert_eq!(uidl(&cluster, leader), left);
}

/// What the test itself did to INBOX since the client was there.
#[derive(Default)]
struct Model {
    /// UID to flags.
    messages: BTreeMap<u32, BTreeSet<String>>,
    touched: BTreeSet<u32>,
    expunged: BTreeSet<u32>,
}

impl Model {
    fn append(&mut self, imap: &mut Imap, token: &str) {
        let uid = append_all(imap, "INBOX", &[token])[0];
        self.messages.insert(uid, BTreeSet::new());
        self.touched.insert(uid);
    }

    /// The client knows all there is.
    fn forget_changes(&mut self, had: &BTreeMap<u32, BTreeSet<String>>) {
        assert_eq!(*had, self.messages);
        self.touched.clear();
    }

    fn change(&mut self, imap: &mut Imap, dice: &mut fastrand::Rng, part: usize) {
        for step in 0..15 {
            let uids: Vec<u32> = self.messages.keys().copied().collect();
            let Some(uid) = dice.choice(uids) else { continue };
            match dice.u8(0..4) {
                0 => self.append(imap, &format!("p{part}-{step}")),
                1 => {
                    run(imap, &[&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")]);
                    run(imap, &[&format!("UID EXPUNGE {uid}")]);
                    self.messages.remove(&uid);
                    self.touched.remove(&uid);
                    self.expunged.insert(uid);
                }
                2 => self.flag(imap, uid, dice.choice(["\\Seen", "\\Flagged", "$Work"]).unwrap_or("\\Seen")),
                _ => self.flag(imap, uid, "\\Answered"),
            }
        }
    }

    /// Sets the flag, or takes it away where it is set.
    fn flag(&mut self, imap: &mut Imap, uid: u32, flag: &str) {
        let flags = self.messages.entry(uid).or_default();
        let sign = if flags.remove(flag) { '-' } else { '+' };
        if sign == '+' {
            flags.insert(flag.to_string());
        }
        self.touched.insert(uid);
        run(imap, &[&format!("UID STORE {uid} {sign}FLAGS.SILENT ({flag})")]);
    }

    fn changed(&self) -> BTreeMap<u32, BTreeSet<String>> {
        let touched = |uid: &u32| Some((*uid, self.messages.get(uid)?.clone()));
        self.touched.iter().filter_map(touched).collect()
    }
}

/// UIDs and flags of the FETCH responses.
fn listed(told: &[Untagged]) -> BTreeMap<u32, BTreeSet<String>> {
    let between = |text: &str, from: &str, to: char| {
        text.split_once(from).and_then(|(_, rest)| Some(rest.split_once(to)?.0.to_string()))
    };
    let one = |line: &Untagged| {
        let text = line.text.replace(')', " )");
        let uid = between(&text, "UID ", ' ')?.parse().ok()?;
        let flags = between(&text, "FLAGS (", ')')?;
        let flags = flags.split_whitespace().filter(|flag| *flag != "\\Recent");
        Some((uid, flags.map(str::to_string).collect()))
    };
    told.iter().filter(|line| line.text.contains(" FETCH ")).filter_map(one).collect()
}

/// The UIDs of the VANISHED (EARLIER) responses.
fn vanished(told: &[Untagged]) -> BTreeSet<u32> {
    let sets = told.iter().filter_map(|line| line.text.strip_prefix("* VANISHED (EARLIER) "));
    let range = |range: &str| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        first.parse::<u32>().expect("a number")..=last.parse::<u32>().expect("a number")
    };
    sets.flat_map(|set| set.split(',')).flat_map(range).collect()
}

fn pop3(cluster: &Cluster, at: usize) -> Pop3 {
    Pop3::login(cluster.nodes[at].pop3(), "alice", &password("alice")).expect("POP3 serves")
}

/// The unique ids of the maildrop, in its order.
fn uidl(cluster: &Cluster, at: usize) -> Vec<String> {
    let listing = pop3(cluster, at).listing("UIDL").expect("UIDL answers");
    let listing = String::from_utf8(listing).expect("it is ASCII");
    listing.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_string())).collect()
}

fn deliver(cluster: &Cluster, at: usize, token: &str) {
    let mut smtp = Smtp::connect(cluster.nodes[at].smtp()).expect("SMTP serves");
    let (sent, reply) = smtp.send(&["alice@example.test"], &message(token, 200));
    assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
}

/// Reads until a line begins so; the connection's own bound ends a wait in vain.
fn hears(imap: &mut Imap, wanted: &str) {
    loop {
        let line = imap.response().unwrap_or_else(|error| panic!("waited for {wanted:?}: {error}")).text;
        if line.starts_with(wanted) {
            return;
        }
    }
}
