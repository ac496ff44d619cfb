//! The tour: what the demo shows, told with the times it took.

use std::io;
use std::time::{Duration, Instant};

use super::client::Client;
use super::processes::Demo;

/// Mails sent while one node is dead.
const SENT_MEANWHILE: u32 = 20;
/// Every step ends within this, or the tour has failed.
const STEP_WITHIN: Duration = Duration::from_secs(30);

/// Plays every step; the first that fails ends it, with what was expected.
pub fn play(demo: &Demo) -> Result<(), String> {
    send_and_read(demo)?;
    watch_idle(demo)?;
    let leader = demo.leader().ok_or("nobody leads")?;
    kill_and_go_on(demo, leader)?;
    come_back(demo, leader)?;
    compare(demo)
}

fn send_and_read(demo: &Demo) -> Result<(), String> {
    let (port, name) = (demo.port(1, 25), demo.name(1));
    let took = timed(|| Client::send_mail(port, "alice@example.test", "first"))?;
    println!("  {took:>7}  a mail for alice was sent to {name} by SMTP: 250, so it is on both disks");
    let took = timed(|| newest_has_subject(demo.port(2, 143), "first"))?;
    println!("  {took:>7}  it was read from {} by IMAP", demo.name(2));
    let took = timed(|| {
        let (_, text) = Client::pop3_last(demo.port(2, 110), "alice")?;
        text.contains("Subject: first")
            .then_some(())
            .ok_or_else(|| io::Error::other("POP3 shows another mail"))
    })?;
    println!("  {took:>7}  and by POP3");
    Ok(())
}

fn newest_has_subject(port: u16, subject: &str) -> io::Result<()> {
    let (mut imap, exists) = Client::open_inbox(port, "alice")?;
    let lines = imap.imap(&format!("FETCH {exists} BODY.PEEK[HEADER.FIELDS (SUBJECT)]"))?;
    let wanted = format!("Subject: {subject}");
    lines
        .contains(&wanted)
        .then_some(())
        .ok_or_else(|| io::Error::other(format!("no `{wanted}` in {lines:?}")))
}

fn watch_idle(demo: &Demo) -> Result<(), String> {
    let idle = || -> io::Result<Duration> {
        let (mut imap, before) = Client::open_inbox(demo.port(2, 143), "bob")?;
        imap.start_idle()?;
        Client::send_mail(demo.port(1, 25), "bob@example.test", "push")?;
        let accepted = Instant::now();
        let after = imap.wait_for_exists()?;
        if after != before + 1 {
            return Err(io::Error::other(format!("{before} messages became {after}")));
        }
        Ok(accepted.elapsed())
    };
    let took = show(idle().map_err(|error| error.to_string())?);
    println!("  {took:>7}  after the 250 on {}, an IDLE on {} said EXISTS", demo.name(1), demo.name(2));
    Ok(())
}

/// `kill -9` of the leader; the other data node takes over by itself.
fn kill_and_go_on(demo: &Demo, leader: u16) -> Result<(), String> {
    let survivor = demo.other_than(leader);
    let (smtp, imap) = (demo.port(survivor, 25), demo.port(survivor, 143));
    demo.kill(leader);
    let killed = Instant::now();
    println!("           {}, the leader, was killed (-9)", demo.name(leader));
    let reading = std::thread::spawn(move || {
        until(|| Client::open_inbox(imap, "alice").map(drop)).map(|()| killed.elapsed())
    });
    until(|| Client::send_mail(smtp, "alice@example.test", "meanwhile 1").map(drop))?;
    let first_250 = show(killed.elapsed());
    println!("  {first_250:>7}  later {} said its first 250", demo.name(survivor));
    let first_ok = show(reading.join().map_err(|_| "the reader stumbled")??);
    println!("  {first_ok:>7}  later it said its first IMAP OK");
    for number in 2..=SENT_MEANWHILE {
        Client::send_mail(smtp, "alice@example.test", &format!("meanwhile {number}"))
            .map_err(|error| format!("mail {number} was not taken by the survivor: {error}"))?;
    }
    println!("           {SENT_MEANWHILE} mails were taken meanwhile");
    Ok(())
}

fn come_back(demo: &Demo, node: u16) -> Result<(), String> {
    let started = Instant::now();
    demo.start(node)?;
    demo.wait_until_protected()?;
    println!(
        "  {:>7}  after its start {} had caught up: protected again",
        show(started.elapsed()),
        demo.name(node)
    );
    Ok(())
}

fn compare(demo: &Demo) -> Result<(), String> {
    for user in ["alice", "bob", "carol"] {
        let count = |node| until(|| Client::open_inbox(demo.port(node, 143), user).map(|(_, exists)| exists));
        let (one, other) = (count(1)?, count(2)?);
        if one != other {
            return Err(format!(
                "{user} has {one} mails on {} and {other} on {}",
                demo.name(1),
                demo.name(2)
            ));
        }
        println!("           {user}: {one} mails on {}, {other} on {}", demo.name(1), demo.name(2));
    }
    let (alice, wanted) = (until(|| Client::open_inbox(demo.port(1, 143), "alice"))?.1, SENT_MEANWHILE + 1);
    if alice < wanted {
        return Err(format!("alice has {alice} mails, {wanted} were acknowledged"));
    }
    Ok(())
}

/// Tries again until it succeeds, for at most [`STEP_WITHIN`].
fn until<T>(mut attempt: impl FnMut() -> io::Result<T>) -> Result<T, String> {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > STEP_WITHIN => return Err(error.to_string()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn timed<T>(step: impl FnOnce() -> io::Result<T>) -> Result<String, String> {
    let started = Instant::now();
    step().map_err(|error| error.to_string())?;
    Ok(show(started.elapsed()))
}

fn show(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
