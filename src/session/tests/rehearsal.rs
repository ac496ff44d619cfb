//! What is told of a mail that is not there is what would be said to one that is, with what decides.

use super::greylisted::commits;
use super::*;
use crate::policy::rehearsal::{Rehearsal, Said, Told};
use crate::session::smtp::rehearsal::rehearse;
use crate::state::lists::{NewRule, RuleAction, RuleKind, canonical};

const ZONES: &str = "
    2.2.0.192.bl.test   A   127.0.0.2
    good.test           MX  10 mail.good.test
    mail.good.test      A   192.0.2.9
    evil.test           MX  10 mail.good.test
    evil.test           TXT \"v=spf1 -all\"
    _dmarc.evil.test    TXT \"v=DMARC1; p=reject\"
    soft.test           MX  10 mail.good.test
    soft.test           TXT \"v=spf1 -all\"
";

fn asked(client: &str, sender: &str, to: &[&str]) -> Rehearsal {
    Rehearsal {
        client: client.parse().unwrap(),
        helo: "mail.good.test".to_owned(),
        sender: sender.to_owned(),
        recipients: to.iter().map(|to| (*to).to_owned()).collect(),
        text: Some(format!("From: {sender}\r\n\r\nHi.\r\n").into_bytes()),
    }
}

async fn told(house: &House, asked: Rehearsal) -> Told {
    rehearse(house.replica.clone(), house.checks.clone(), asked).await.unwrap().unwrap()
}

fn rule(house: &House, name: &str, (kind, action, pattern): (RuleKind, RuleAction, &str)) {
    let (name, pattern) = (name.to_owned(), pattern.to_owned());
    let rule = NewRule { name, kind, pattern, action, before: None };
    run(&house.replica, Command::AddRule(Box::new(canonical(rule).unwrap())));
}

fn short(said: &Said) -> (String, &str) {
    (said.reply.split(' ').take(2).collect::<Vec<_>>().join(" "), &said.decided_by)
}

#[tokio::test]
async fn each_answer_names_what_decides_it() {
    let house = house(ZONES);
    set(&house.replica, "dnsbl.zones", "bl.test");
    rule(&house, "spammer", (RuleKind::Sender, RuleAction::Reject, "spam@good.test"));
    rule(&house, "closed", (RuleKind::Recipient, RuleAction::Reject, "bob@example.test"));
    rule(&house, "hole", (RuleKind::Recipient, RuleAction::Discard, "carol@example.test"));
    let to = ["alice@example.test", "bob@example.test", "nobody@example.test", "a@away.test", "postmaster"];

    let good = told(&house, asked("192.0.2.1", "joe@good.test", &to)).await;
    assert_eq!(short(&good.sender), ("250 2.1.0".to_owned(), ""));
    let said: Vec<_> = good.recipients.iter().map(short).collect();
    let expected = [
        ("250 2.1.5", ""),
        ("554 5.7.1", "rule closed"),
        ("550 5.1.1", ""),
        ("554 5.7.1", ""),
        ("250 2.1.5", ""),
    ];
    assert_eq!(said, expected.map(|(reply, rule)| (reply.to_owned(), rule)));
    let message = good.message.unwrap();
    assert_eq!((message.outcome.as_str(), message.decided_by.as_str()), ("taken", ""));
    assert!(message.found.contains(&"dkim=none".to_owned()), "{:?}", message.found);

    let spam = told(&house, asked("192.0.2.1", "spam@good.test", &to)).await;
    assert_eq!(short(&spam.sender), ("554 5.7.1".to_owned(), "rule spammer"));
    assert!(spam.recipients.is_empty() && spam.message.is_none());

    let listed = told(&house, asked("192.0.2.2", "joe@good.test", &to[..1])).await;
    assert_eq!(short(&listed.recipients[0]), ("554 5.7.1".to_owned(), "dnsbl.zones"));
    assert_eq!(listed.message, None, "nobody would get it");

    let forged = told(&house, asked("192.0.2.1", "joe@evil.test", &to[..1])).await.message.unwrap();
    assert!(forged.outcome.starts_with("550 5.7.26"), "{forged:?}");
    assert_eq!(forged.decided_by, "dmarc.reject");
    let junk = told(&house, asked("192.0.2.1", "joe@soft.test", &to[..1])).await.message.unwrap();
    assert_eq!((junk.outcome.as_str(), junk.decided_by.as_str()), ("taken, to Junk", "spf.fail"));
}

#[tokio::test]
async fn what_is_let_off_and_who_is_not_judged_is_told() {
    let house = house(ZONES);
    rule(&house, "partner", (RuleKind::Mask, RuleAction::Allow, "192.0.2.0/24"));
    rule(&house, "lan", (RuleKind::Client, RuleAction::Relay, "10.0.0.1"));
    let to = ["alice@example.test", "a@away.test"];
    let partner = told(&house, asked("192.0.2.1", "joe@soft.test", &to[..1])).await;
    assert_eq!(partner.sender.allowed_by, ["partner"]);
    assert_eq!(partner.sender.let_off, ["dnsbl", "spf", "antivirus", "dkim", "greylist"]);
    assert_eq!(partner.message.unwrap().outcome, "taken");

    let lan = told(&house, asked("10.0.0.1", "joe@evil.test", &to)).await;
    let said: Vec<_> = lan.recipients.iter().map(short).collect();
    assert_eq!(said, [("250 2.1.5".to_owned(), ""), ("250 2.1.5".to_owned(), "")]);
    assert_eq!(lan.message.unwrap().outcome, "taken");

    let local = told(&house, asked("127.0.0.1", "joe@evil.test", &to[..1])).await;
    assert_eq!(local.sender.decided_by, "checks.exempt_networks");
    assert!(local.message.unwrap().found.is_empty());
}

#[tokio::test]
async fn nothing_is_kept_of_it_and_what_cannot_be_asked_is_refused() {
    let house = house(ZONES);
    rule(&house, "partner", (RuleKind::Mask, RuleAction::Allow, "192.0.2.0/24"));
    let before = house.replica.directory();
    told(&house, asked("192.0.2.1", "joe@good.test", &["alice@example.test"])).await;
    assert_eq!(house.hits.of(&before.lists.rules()[0]), 0);
    let account = account(&house.replica, "alice");
    assert_eq!(house.replica.quota(account).await.unwrap().used_bytes, 0);
    set(&house.replica, "greylist.enabled", "true");
    let entries = commits(&house).await;
    for _ in 0..2 {
        let new = told(&house, asked("198.51.100.1", "joe@good.test", &["alice@example.test"])).await;
        assert_eq!(new.recipients[0].reply, "450 4.7.1 Greylisted, try again in 300 seconds");
        assert_eq!(new.recipients[0].decided_by, "greylist.enabled");
        assert!(new.message.is_some(), "and what becomes of it when it comes again");
    }
    assert_eq!(commits(&house).await, entries, "a first try is still the first");
    for (sender, to) in [("no address", "alice@example.test"), ("", "no address")] {
        let asked = asked("192.0.2.1", sender, &[to]);
        assert!(rehearse(house.replica.clone(), house.checks.clone(), asked).await.is_err());
    }
}
