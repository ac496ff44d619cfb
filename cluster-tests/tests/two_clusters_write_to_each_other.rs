//! Two pairs of ours know of each other what the DNS says: mail goes both ways, signed and over TLS, and each finds the other's
//! in order. Meanwhile a node of each is killed: what was acknowledged arrives once, or twice where a kill or a refusal for now
//! fell between; who does not exist is told of once; and what becomes of a mail behind the other is told where it was sent.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cluster_tests::checker;
use cluster_tests::cluster::{Cluster, Site};
use cluster_tests::office::{DESK, Office};
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::agreed;
use cluster_tests::wait::{eventually, within};
use fixture_dns::{Server, Zones};
use serde_json::Value;

const SITES: [Site; 2] = [
    Site { domain: "one.test", hostname: "mx.one.test", hosts: [1, 2, 3] },
    Site { domain: "two.test", hostname: "mx.two.test", hosts: [11, 12, 13] },
];
/// Each node is handed so many while nodes are killed.
const LETTERS_EACH: usize = 24;
/// Of them all, after so many.
const BEFORE_THE_KILL: usize = 24;
/// One letter of so many is for nobody.
const FOR_NOBODY: usize = 4;
/// Those that may arrive twice in one direction, as each node has one connection to the other side: the last two of the killed
/// sender's, and the one that was under way to the killed receiver from each node.
const TWICE_MAX: usize = 4;
/// The leases of two dead nodes end, and what waits is sent, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A letter as its sender knows it.
#[derive(Debug, Clone)]
struct Letter {
    token: String,
    /// Which of the two it comes from.
    from: usize,
    is_for_nobody: bool,
    is_acknowledged: bool,
    /// Handed in when both kills were over.
    is_late: bool,
}

struct Story {
    sides: [Cluster; 2],
    _dns: Server,
    _office: Office,
}

impl Story {
    fn start() -> Option<Self> {
        let office = Office::default();
        let sides = office.start_two(SITES)?;
        let mut zone = String::new();
        for (cluster, Site { domain, hostname, hosts }) in sides.iter().zip(SITES) {
            cluster.tell(0, &["dkim", "generate", domain, "--selector", "rsa"]);
            cluster
                .tell(1, &["dkim", "generate", domain, "--selector", "ed", "--algorithm", "ed25519-sha256"]);
            let keys: Value =
                serde_json::from_str(&cluster.tell(0, &["dkim", "list", "--json"])).expect("it is JSON");
            for key in keys.as_array().expect("it is a list") {
                let word = |field: &str| key[field].as_str().expect("it is told").to_owned();
                zone.push_str(&format!("{} TXT \"{}\"\n", word("name"), word("record")));
            }
            for (number, host) in [(1, hosts[0]), (2, hosts[1])] {
                zone.push_str(&format!("{domain} MX {number}0 mx{number}.{domain}\n"));
                zone.push_str(&format!(
                    "mx{number}.{domain} A 10.77.0.{host}\n{hostname} A 10.77.0.{host}\n"
                ));
            }
            zone.push_str(&format!("{domain} TXT \"v=spf1 mx -all\"\n{hostname} TXT \"v=spf1 a -all\"\n"));
            zone.push_str(&format!("_dmarc.{domain} TXT \"v=DMARC1; p=reject\"\n"));
        }
        let dns = Server::serve_at(DESK, Zones::parse(&zone));
        for cluster in &sides {
            for (key, value) in [
                ("dns.servers", dns.address().to_string().as_str()),
                ("delivery.retry_seconds_min", "1"),
                ("delivery.retry_seconds_max", "1"),
                ("delivery.connections_per_destination_max", "1"),
            ] {
                cluster.nodes[0].must(&["policy", "set", key, value], None);
            }
            cluster.wait_until_caught_up();
        }
        Some(Self { sides, _dns: dns, _office: office })
    }

    fn submission(&self, from: usize, at: usize) -> SocketAddr {
        self.sides[from].nodes[at].port(587)
    }

    /// What is in INBOX, as one node shows it.
    fn inbox(&self, side: usize, at: usize, user: &str) -> Option<Vec<String>> {
        let contents = checker::read(&self.sides[side].nodes[at]).ok()?;
        let inbox = contents.get(&(user.to_owned(), "INBOX".to_owned()))?;
        Some(inbox.messages.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect())
    }

    /// The one letter of this subject in `user`'s INBOX, once it is there on both nodes.
    fn arrived(&self, side: usize, user: &str, token: &str) -> String {
        let [one, other] = [0, 1].map(|at| {
            eventually("the letter arrives", || {
                let all = self.inbox(side, at, user)?;
                let mut with: Vec<String> = all.into_iter().filter(|text| is_of(text, token)).collect();
                assert!(with.len() <= 1, "{token} is there {} times", with.len());
                with.pop()
            })
        });
        assert_eq!(one, other);
        one
    }

    fn traced(&self, side: usize, at: usize, token: &str) -> String {
        let id = format!("{token}@{}", SITES[side].domain);
        self.sides[side].nodes[at].must(&["trace", &id], None)
    }

    /// All that lies in mailboxes, the same on both nodes.
    fn everything(&self, side: usize) -> Vec<String> {
        let mut all = Vec::new();
        for ((user, mailbox), contents) in agreed(&self.sides[side]) {
            assert!(mailbox == "INBOX" || contents.messages.is_empty(), "{mailbox} of {user} holds some");
            all.extend(contents.messages.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()));
        }
        all
    }

    fn queues_are_empty(&self) -> bool {
        let is_empty = |cluster: &Cluster| {
            let output = cluster.nodes[0].command(&["queue", "list"]);
            output.status.success() && output.stdout.is_empty()
        };
        self.sides.iter().all(is_empty)
    }
}

fn is_of(text: &str, token: &str) -> bool {
    text.contains(&format!("Subject: {token}\r\n"))
}

/// The token of a letter that is no notice, if it begins so.
fn subject_of<'a>(text: &'a str, begin: &str) -> Option<&'a str> {
    let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "))?;
    subject.starts_with(begin).then_some(subject)
}

fn is_notice(text: &str) -> bool {
    text.contains("Content-Type: multipart/report; report-type=delivery-status;")
}

fn letter((user, domain): (&str, &str), to: &str, token: &str) -> String {
    format!(
        "From: <{user}@{domain}>\r\nTo: <{to}>\r\nMessage-ID: <{token}@{domain}>\r\nSubject: {token}\r\n\r\nHi.\r\n."
    )
}

/// Hands one letter in by a login of its user.
fn submit(at: SocketAddr, (user, domain): (&str, &str), to: &str, token: &str) -> io::Result<String> {
    let mut smtp = Smtp::login(at, user)?;
    smtp.command(&format!("MAIL FROM:<{user}@{domain}>"), "250")?;
    smtp.command(&format!("RCPT TO:<{to}>"), "250")?;
    smtp.command("DATA", "354")?;
    smtp.command(&letter((user, domain), to, token), "250")
}

#[test]
fn two_clusters_write_to_each_other() {
    let Some(mut story) = Story::start() else { return };
    each_finds_the_letters_of_the_other_in_order(&story);
    nobody_writes_as_another(&story);
    who_does_not_exist_is_told_of_once(&story);
    what_happens_behind_the_other_is_told(&story);
    letters_arrive_though_a_node_of_each_is_killed(&mut story);
}

fn each_finds_the_letters_of_the_other_in_order(story: &Story) {
    for (from, to) in [(0, 1), (1, 0)] {
        let (own, other) = (SITES[from], SITES[to]);
        for (at, user, friend) in [(0, "alice", "bob"), (1, "bob", "carol"), (1, "alice", "alice")] {
            let token = format!("quiet-{from}-{at}-{user}");
            let address = format!("{friend}@{}", other.domain);
            submit(story.submission(from, at), (user, own.domain), &address, &token).expect("it is queued");
            let text = story.arrived(to, friend, &token);
            for found in [
                format!("Authentication-Results: {};", other.hostname),
                format!("spf=pass smtp.mailfrom={user}@{}", own.domain),
                format!("dkim=pass header.d={} header.s=rsa", own.domain),
                format!("dkim=pass header.d={} header.s=ed", own.domain),
                "dmarc=pass".to_owned(),
                format!("Received: from {} ", own.hostname),
                "with ESMTPS".to_owned(),
            ] {
                assert!(text.contains(&found), "{found}: {text}");
            }
            let told = eventually("its sender's side knows", || {
                let told = story.traced(from, 1 - at, &token);
                told.contains(" sent ").then_some(told)
            });
            assert!(told.contains(&format!(" by mx1.{} (TLS: opportunistic): 250", other.domain)), "{told}");
        }
    }
}

fn nobody_writes_as_another(story: &Story) {
    for at in [0, 1] {
        let mut smtp = Smtp::login(story.submission(0, at), "alice").expect("alice logs in");
        let refused =
            smtp.command("MAIL FROM:<bob@one.test>", "250").expect_err("it is not hers").to_string();
        assert!(refused.starts_with("553 5.7.1"), "{refused}");
        smtp.command("MAIL FROM:<alice@one.test>", "250").expect("it is hers");
        smtp.command("RCPT TO:<bob@two.test>", "250").expect("anybody");
        smtp.command("DATA", "354").expect("a text");
        let refused = smtp.command(&letter(("bob", "two.test"), "bob@two.test", "forged"), "250");
        let refused = refused.expect_err("nor is the author").to_string();
        assert!(refused.starts_with("553 5.7.1"), "{refused}");
    }
    // A stranger that says to be of the other pair.
    let mut smtp = Smtp::connect_from(DESK.into(), story.sides[1].nodes[0].smtp()).expect("SMTP serves");
    smtp.command("MAIL FROM:<alice@one.test>", "250").expect("it is heard");
    smtp.command("RCPT TO:<bob@two.test>", "250").expect("bob is here");
    smtp.command("DATA", "354").expect("a text");
    let refused = smtp.command(&letter(("alice", "one.test"), "bob@two.test", "stranger"), "250");
    let refused = refused.expect_err("SPF and DMARC say no").to_string();
    assert!(refused.starts_with("550 5.7.26"), "{refused}");
}

fn who_does_not_exist_is_told_of_once(story: &Story) {
    for (from, to) in [(0, 1), (1, 0)] {
        let (token, address) = (format!("nobody-{from}"), format!("nobody@{}", SITES[to].domain));
        submit(story.submission(from, 1), ("alice", SITES[from].domain), &address, &token)
            .expect("it is queued");
        let notice = story.arrived(from, "alice", &token);
        for line in [
            format!("Final-Recipient: rfc822; {address}"),
            "Action: failed".to_owned(),
            "Status: 5.1.1".to_owned(),
            format!("Remote-MTA: dns; mx1.{}", SITES[to].domain),
        ] {
            assert!(is_notice(&notice) && notice.contains(&format!("\r\n{line}\r\n")), "{line}: {notice}");
        }
    }
}

/// An alias of the second pair leads back to nobody at the first. The notice comes by the return address that the second
/// made, and the log of the first tells of it beside the letter that alice wrote.
fn what_happens_behind_the_other_is_told(story: &Story) {
    story.sides[1].tell(0, &["alias", "add", "away@two.test", "nobody@one.test"]);
    let token = "behind";
    submit(story.submission(0, 0), ("alice", "one.test"), "away@two.test", token).expect("it is queued");
    let notice = story.arrived(0, "alice", token);
    assert!(is_notice(&notice) && notice.contains("Reporting-MTA: dns; mx.two.test\r\n"), "{notice}");
    let bounced = "    <nobody@one.test> (for <away@two.test>) bounced by mx1.one.test: 5.1.1 550 5.1.1";
    for at in [0, 1] {
        let told = eventually("it is told of", || {
            let told = story.traced(0, at, token);
            told.contains(bounced).then_some(told)
        });
        assert!(told.contains(" heard of <behind@one.test> in the notice "), "{told}");
    }
    let told = story.traced(0, 1, token);
    assert!(told.contains(" sent ") && told.contains("to <away@two.test> by mx1.two.test"), "{told}");
}

fn letters_arrive_though_a_node_of_each_is_killed(story: &mut Story) {
    let (handed_in, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let desks = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(from, at)| (from, at, story.submission(from, at)));
    // The leader of one, and the follower of the other: each has taken letters, and has some that it sends.
    let killed = [story.sides[0].leader(), story.sides[1].peer_of(story.sides[1].leader())];
    let letters: Vec<Letter> = thread::scope(|scope| {
        let (handed_in, is_over) = (&handed_in, &is_over);
        let writers = desks.map(|desk| scope.spawn(move || write_letters(desk, (handed_in, is_over))));
        eventually("letters are under way", || {
            (handed_in.load(Ordering::SeqCst) >= BEFORE_THE_KILL).then_some(())
        });
        for (side, at) in killed.iter().enumerate() {
            story.sides[side].nodes[*at].kill();
        }
        is_over.store(true, Ordering::SeqCst);
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer ends")).collect()
    });
    let count = |wanted: fn(&Letter) -> bool| letters.iter().filter(|letter| wanted(letter)).count();
    let (acknowledged, late) =
        (count(|letter| letter.is_acknowledged), count(|letter| letter.is_acknowledged && letter.is_late));
    assert!(acknowledged >= BEFORE_THE_KILL && late > 0, "{acknowledged} of {}, {late} late", letters.len());
    for (side, at) in killed.iter().enumerate() {
        story.sides[side].nodes[*at].start();
        story.sides[side].wait_until_caught_up();
    }
    within(PATIENCE, "everything is sent", || story.queues_are_empty().then_some(()));

    let texts = [0, 1].map(|side| story.everything(side));
    let quiet: Vec<&str> = texts.iter().flatten().filter_map(|text| subject_of(text, "quiet-")).collect();
    let each: BTreeSet<&str> = quiet.iter().copied().collect();
    assert_eq!((quiet.len(), each.len()), (6, 6), "what had arrived before does not come again: {quiet:?}");
    let twice: Vec<&Letter> = letters.iter().filter(|letter| arrived_twice(story, letter, &texts)).collect();
    eprintln!(
        "{acknowledged} of {} letters acknowledged, {late} late; twice arrived {twice:?}",
        letters.len()
    );
    for from in [0, 1] {
        // Those that the other side put off are not the kills'.
        let by_the_kills = twice.iter().filter(|letter| letter.from == from && !letter.is_late).count();
        assert!(by_the_kills <= TWICE_MAX, "{by_the_kills} letters of {} came twice", SITES[from].domain);
    }
}

/// Panics unless the letter, or the notice that nobody is there, arrived as often as it may.
fn arrived_twice(story: &Story, letter: &Letter, texts: &[Vec<String>; 2]) -> bool {
    let copies = |side: usize, notices: bool| {
        let of = |text: &&String| is_of(text, &letter.token) && is_notice(text) == notices;
        texts[side].iter().filter(of).count()
    };
    let (arrived, told) = (copies(1 - letter.from, false), copies(letter.from, true));
    let least = usize::from(letter.is_acknowledged);
    if letter.is_for_nobody {
        assert!(arrived == 0 && (least..=1).contains(&told), "{letter:?}: {arrived}, told {told} times");
        return false;
    }
    assert!(told == 0 && (least..=2).contains(&arrived), "{letter:?}: {arrived}, told {told} times");
    if letter.is_late && arrived == 2 {
        let trace = story.traced(letter.from, 0, &letter.token);
        assert!(trace.contains(" deferred "), "{letter:?}: {trace}");
    }
    arrived == 2
}

/// Each letter is handed in once, whatever is said to it.
fn write_letters(
    (from, at, address): (usize, usize, SocketAddr),
    (handed_in, is_over): (&AtomicUsize, &AtomicBool),
) -> Vec<Letter> {
    let (own, other) = (SITES[from].domain, SITES[1 - from].domain);
    let mut letters = Vec::new();
    for number in 0..LETTERS_EACH {
        let is_for_nobody = number % FOR_NOBODY == FOR_NOBODY - 1;
        let user = ["alice", "bob", "carol"][number % 3];
        let friend = if is_for_nobody { "nobody" } else { ["bob", "carol"][number % 2] };
        let (token, is_late) = (format!("busy-{from}-{at}-{number}"), is_over.load(Ordering::SeqCst));
        let said = submit(address, (user, own), &format!("{friend}@{other}"), &token);
        handed_in.fetch_add(1, Ordering::SeqCst);
        letters.push(Letter { token, from, is_for_nobody, is_acknowledged: said.is_ok(), is_late });
    }
    letters
}
