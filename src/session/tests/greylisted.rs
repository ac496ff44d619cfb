//! Greylisting at the backend, by a virtual clock: who is put off, who is not, and what is committed for it.

use super::backends::logins;
use super::*;
use crate::cluster::replica::Fault;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::ids::Timestamp;
use crate::policy::Arrival;
use crate::session::driver::Backend;
use crate::session::smtp::SmtpBackend;
use crate::session::smtp::listed::{Listed, Opening};
use crate::session::smtp::machine::{Answer, Question, Verdict};
use crate::state::greylist::{ClientNet, GreyTry, RENEW_EVERY_MS, TripletId};
use crate::state::keys;
use crate::state::lists::{NewRule, RuleAction, RuleKind, canonical};
use crate::state::reading::{get, visit};
use crate::state::rows::Rows;
use crate::state::stored::{GreyTallyRow, SlotRow};

const ZONES: &str = "
    2.2.0.192.bl.test  A  127.0.0.2
    far.test           MX 10 mail.far.test
";

const CLIENT: &str = "192.0.2.1";

fn greylisting() -> House {
    let clock = Clock::fixed(Timestamp(1_700_000_000_000));
    let house = house_by(replica_by(clock), ZONES);
    set(&house.replica, "greylist.enabled", "true");
    house
}

/// Reply to RCPT of one session's one mail.
async fn tries(house: &House, (client, sender): (&str, &str), to: &str) -> String {
    let client = client.parse().unwrap();
    let mut smtp = SmtpBackend::new(house.replica.clone(), logins(&house.replica), house.checks.clone())
        .listed(Listed::new(Some(client), Arc::clone(&house.hits)));
    let arrival = Arrival {
        address: client,
        helo: "mail.far.test".to_owned(),
        sender: (!sender.is_empty()).then(|| sender.to_owned()),
        receiver: "mx.test".to_owned(),
    };
    let from = match sender {
        "" => ReversePath::Null,
        sender => ReversePath::Address(Address::parse(sender).unwrap()),
    };
    let question = Question::Sender {
        from,
        authenticated: false,
        arrival: Some(Box::new(arrival)),
        helo: String::new(),
    };
    let opening = smtp.answer(question).await;
    assert!(matches!(opening, Answer::Sender(Ok(Opening::Stranger | Opening::Trusted))), "{opening:?}");
    let authenticated = matches!(opening, Answer::Sender(Ok(Opening::Trusted)));
    rcpt(&mut smtp, to, authenticated).await
}

async fn rcpt(smtp: &mut SmtpBackend<MemoryReplica>, to: &str, authenticated: bool) -> String {
    let path = match to {
        "postmaster" => ForwardPath::Postmaster,
        to => ForwardPath::Address(Address::parse(to).unwrap()),
    };
    match smtp.answer(Question::Recipient { path, size: None, authenticated }).await {
        Answer::Recipient(Ok(Verdict::Refused(refusal))) => {
            format!("{} {} {}", refusal.code, refusal.enhanced, refusal.text)
        }
        Answer::Recipient(Ok(Verdict::Accept(_))) => "taken".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Triplets that are remembered.
async fn kept(house: &House) -> u32 {
    let tally =
        house.replica.read_queue(|rows| get::<GreyTallyRow>(rows, &keys::grey_tally())).await.unwrap();
    tally.map_or(0, |tally| tally.triplets)
}

/// Entries of the log: each leaves its outcome.
pub(super) async fn commits(house: &House) -> usize {
    let count = |rows: &dyn Rows| {
        let mut count = 0;
        visit::<SlotRow>(rows, &keys::table(keys::SLOT), |_, _| count += 1)?;
        Ok(count)
    };
    house.replica.read_queue(count).await.unwrap()
}

const FIRST: &str = "450 4.7.1 Greylisted, try again in 300 seconds";

#[tokio::test]
async fn a_stranger_is_told_when_to_come_back_and_passes_then() {
    let house = greylisting();
    let mail = (CLIENT, "joe@far.test");
    assert_eq!(tries(&house, mail, "alice@example.test").await, FIRST);
    house.replica.clock().advance_ms(1_500);
    let said = tries(&house, mail, "alice@example.test").await;
    assert_eq!(said, "450 4.7.1 Greylisted, try again in 299 seconds");
    house.replica.clock().advance_ms(298_500);
    let from_beside = ("192.0.2.77", "Joe@FAR.test");
    assert_eq!(tries(&house, from_beside, "Alice@Example.TEST").await, "taken", "of the same network");
    assert_eq!(tries(&house, mail, "bob@example.test").await, FIRST);
    assert_eq!(tries(&house, (CLIENT, "jim@far.test"), "alice@example.test").await, FIRST);
    assert_eq!(tries(&house, ("192.0.3.1", "joe@far.test"), "alice@example.test").await, FIRST);
    assert_eq!(
        tries(&house, (CLIENT, ""), "alice@example.test").await,
        FIRST,
        "bounces too, as Postgrey does"
    );
    assert_eq!(kept(&house).await, 5);
    set(&house.replica, "greylist.enabled", "false");
    assert_eq!(tries(&house, mail, "bob@example.test").await, "taken");
}

#[tokio::test]
async fn only_what_is_new_is_committed() {
    let house = greylisting();
    let (mail, to) = ((CLIENT, "joe@far.test"), "alice@example.test");
    let before = commits(&house).await;
    assert_eq!(tries(&house, mail, to).await, FIRST);
    for _ in 0..5 {
        house.replica.clock().advance_ms(1_000);
        assert!(tries(&house, mail, to).await.starts_with("450 4.7.1"));
    }
    assert_eq!(commits(&house).await - before, 1, "the first try alone");
    house.replica.clock().advance_ms(300_000);
    for _ in 0..20 {
        assert_eq!(tries(&house, mail, to).await, "taken");
        house.replica.clock().advance_ms(3_600_000);
    }
    assert_eq!(commits(&house).await - before, 2, "the first pass, and no other on that day");
    house.replica.clock().advance_ms(RENEW_EVERY_MS);
    for _ in 0..5 {
        assert_eq!(tries(&house, mail, to).await, "taken");
    }
    assert_eq!(commits(&house).await - before, 3, "once a day");
}

#[tokio::test]
async fn a_cluster_that_cannot_commit_puts_off_and_refuses_nobody() {
    let house = greylisting();
    let mail = (CLIENT, "joe@far.test");
    house.replica.fail(Some(Fault::NoQuorum));
    let said = tries(&house, mail, "alice@example.test").await;
    assert!(said.contains("NoQuorum"), "the machine says 451 to a fault: {said}");
    house.replica.fail(None);
    assert_eq!((kept(&house).await, tries(&house, mail, "alice@example.test").await), (0, FIRST.to_owned()));
}

#[tokio::test]
async fn what_this_node_has_not_heard_of_yet_counts() {
    let house = greylisting();
    let (client, sender, recipient) = (CLIENT.parse().unwrap(), "joe@far.test", "alice@example.test");
    let client = ClientNet::of(client);
    let triplet = TripletId::of(client, sender, recipient);
    let terms = house.replica.directory().settings().greylist().unwrap();
    let first = Command::Greylist(Box::new(GreyTry { client, triplet, terms }));
    run(&house.replica, first.clone());
    house.replica.clock().advance_ms(300_000);
    // As a proposal of a node that is behind: it takes the retry for a first try, and apply does not.
    assert_eq!(house.replica.run(first).unwrap(), Outcome::Done);
    assert_eq!(tries(&house, (CLIENT, sender), recipient).await, "taken");
}

#[tokio::test]
async fn who_is_refused_anyway_is_not_remembered() {
    let house = greylisting();
    set(&house.replica, "dnsbl.zones", "bl.test");
    for (client, sender, to, expected) in [
        ("192.0.2.2", "joe@far.test", "alice@example.test", "554 5.7.1 Your address is listed by bl.test"),
        (CLIENT, "joe@nowhere.test", "alice@example.test", "550 5.1.8"),
        (CLIENT, "joe@far.test", "nobody@example.test", "Recipient(Ok(Unknown))"),
        (CLIENT, "joe@far.test", "x@elsewhere.test", "Recipient(Ok(RelayDenied))"),
    ] {
        let said = tries(&house, (client, sender), to).await;
        assert!(said.starts_with(expected), "{to}: {said}");
    }
    run(&house.replica, rule("drop", RuleKind::Sender, RuleAction::Discard, "jim@far.test"));
    assert_eq!(tries(&house, (CLIENT, "jim@far.test"), "alice@example.test").await, "taken", "and dropped");
    assert_eq!(kept(&house).await, 0);
}

fn rule(name: &str, kind: RuleKind, action: RuleAction, pattern: &str) -> Command {
    let (name, pattern) = (name.to_owned(), pattern.to_owned());
    Command::AddRule(Box::new(canonical(NewRule { name, kind, pattern, action, before: None }).unwrap()))
}

#[tokio::test]
async fn whoever_is_let_off_does_not_wait() {
    let house = greylisting();
    let mail = (CLIENT, "joe@far.test");
    run(&house.replica, Command::SetAlias { address: "abuse".into(), targets: vec!["bob".into()] });
    for to in ["postmaster", "Postmaster@example.test", "abuse@example.org"] {
        assert_eq!(tries(&house, mail, to).await, "taken", "{to}");
    }
    for (kind, pattern, setting) in [
        (RuleKind::Ip, CLIENT, "whitelist.ip.skips"),
        (RuleKind::Mask, "192.0.2.0/24", "whitelist.mask.skips"),
        (RuleKind::Sender, "joe@far.test", "whitelist.sender.skips"),
        (RuleKind::Domain, "far.test", "whitelist.domain.skips"),
        (RuleKind::Recipient, "alice@example.test", "whitelist.recipient.skips"),
    ] {
        run(&house.replica, rule("w", kind, RuleAction::Allow, pattern));
        assert_eq!(tries(&house, mail, "alice@example.test").await, "taken", "{pattern}");
        set(&house.replica, setting, "spf");
        assert_eq!(tries(&house, mail, "alice@example.test").await, FIRST, "{pattern}");
        run(&house.replica, Command::RemoveRule { name: "w".into() });
        let a_year_ms = 365 * 86_400_000;
        house.replica.clock().advance_ms(a_year_ms);
    }
    assert_eq!(kept(&house).await, 1);
}

#[tokio::test]
async fn users_and_trusted_clients_and_exempt_ones_are_no_strangers() {
    let house = greylisting();
    set(&house.replica, "relay.open_networks", "10.0.0.0/24");
    assert_eq!(tries(&house, ("10.0.0.9", "joe@far.test"), "alice@example.test").await, "taken");
    // Without an arrival: a login, a client of `checks.exempt_networks`, LMTP.
    let mut smtp = SmtpBackend::new(house.replica.clone(), logins(&house.replica), house.checks.clone());
    for authenticated in [true, false] {
        let from = ReversePath::Address(Address::parse("joe@far.test").unwrap());
        let answer =
            smtp.answer(Question::Sender { from, authenticated, arrival: None, helo: String::new() }).await;
        assert!(matches!(answer, Answer::Sender(Ok(Opening::Stranger))), "{answer:?}");
        assert_eq!(rcpt(&mut smtp, "alice@example.test", authenticated).await, "taken");
    }
    assert_eq!(kept(&house).await, 0);
}
