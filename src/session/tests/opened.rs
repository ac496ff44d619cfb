//! Mail that is judged before it is read, by a DNS of the tests' own: at each recipient, by the settings of the moment.

use super::backends::logins;
use super::*;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::policy::Arrival;
use crate::session::driver::Backend;
use crate::session::smtp::SmtpBackend;
use crate::session::smtp::delays::Crowded;
use crate::session::smtp::listed::Opening;
use crate::session::smtp::machine::{Answer, Question, Verdict};

const ZONES: &str = "
    2.2.0.192.bl.test       A   127.0.0.2
    2.2.0.192.bl.test       TXT \"Spam seen\"
    2.2.0.192.broken.test   SERVFAIL
    good.test               MX  10 mail.good.test
    mail.good.test          A   192.0.2.2
    deaf.test               MX  0 .
    unsure.test             SERVFAIL
    2.2.0.192.in-addr.arpa  PTR mail.elsewhere.test
";

struct Door {
    house: House,
    smtp: SmtpBackend<MemoryReplica>,
}

fn door() -> Door {
    let house = house(ZONES);
    let smtp = SmtpBackend::new(house.replica.clone(), logins(&house.replica), house.checks.clone());
    Door { house, smtp }
}

impl Door {
    async fn open(&mut self, helo: &str, sender: &str) {
        let (address, helo) = ("192.0.2.2".parse().unwrap(), helo.to_owned());
        let sender = (!sender.is_empty()).then(|| sender.to_owned());
        let arrival = Arrival { address, helo, sender, receiver: "mx.test".to_owned() };
        let from = match &arrival.sender {
            Some(sender) => ReversePath::Address(Address::parse(sender).unwrap()),
            None => ReversePath::Null,
        };
        let question = Question::Sender {
            from,
            authenticated: false,
            arrival: Some(Box::new(arrival)),
            helo: String::new(),
        };
        assert!(matches!(self.smtp.answer(question).await, Answer::Sender(Ok(Opening::Stranger))));
    }

    /// The codes of the refusal, or how the recipient is told apart otherwise.
    async fn ask(&mut self, to: &str, authenticated: bool) -> String {
        let path = match to {
            "postmaster" => ForwardPath::Postmaster,
            to => ForwardPath::Address(Address::parse(to).unwrap()),
        };
        match self.smtp.answer(Question::Recipient { path, size: None, authenticated }).await {
            Answer::Recipient(Ok(Verdict::Refused(refusal))) => {
                format!("{} {}", refusal.code, refusal.enhanced)
            }
            Answer::Recipient(Ok(Verdict::Accept(_))) => "accepted".to_owned(),
            Answer::Recipient(Ok(other)) => format!("{other:?}"),
            other => panic!("{other:?}"),
        }
    }

    async fn said(&mut self, helo: &str, sender: &str) -> String {
        self.open(helo, sender).await;
        self.ask("alice@example.test", false).await
    }
}

#[tokio::test]
async fn by_default_names_must_be_full_and_the_senders_domain_must_exist() {
    let mut door = door();
    for (helo, sender, expected) in [
        ("mail.good.test", "joe@good.test", "accepted"),
        ("[192.0.2.2]", "", "accepted"),
        ("nowhere.test", "joe@good.test", "accepted"),
        ("localhost", "joe@good.test", "504 5.5.2"),
        ("mail.good.test", "joe@localhost", "504 5.5.2"),
        ("mail.good.test", "joe@nowhere.test", "550 5.1.8"),
        ("mail.good.test", "joe@deaf.test", "550 5.7.27"),
        ("mail.good.test", "joe@unsure.test", "451 4.4.3"),
    ] {
        assert_eq!(door.said(helo, sender).await, expected, "{helo} {sender}");
    }
    for key in ["helo.must_be_full", "sender.domain_must_be_full", "sender.domain_must_exist"] {
        set(&door.house.replica, key, "false");
    }
    for (helo, sender) in
        [("localhost", "joe@localhost"), ("x.test", "joe@deaf.test"), ("x", "joe@unsure.test")]
    {
        assert_eq!(door.said(helo, sender).await, "accepted", "{helo} {sender}");
    }
}

#[tokio::test]
async fn what_is_off_by_default_is_obeyed_from_the_next_mail_on() {
    let mut door = door();
    assert_eq!(door.said("nowhere.test", "joe@good.test").await, "accepted");
    set(&door.house.replica, "helo.must_exist", "true");
    assert_eq!(door.said("nowhere.test", "joe@good.test").await, "450 4.7.1");
    assert_eq!(door.said("unsure.test", "joe@good.test").await, "accepted", "unknown is no fault");
    for (action, expected) in [("reject", "550 5.7.25"), ("defer", "450 4.7.25"), ("accept", "accepted")] {
        set(&door.house.replica, "client.hostname", action);
        assert_eq!(door.said("mail.good.test", "joe@good.test").await, expected);
    }
    for (zones, expected) in
        [("broken.test", "accepted"), ("broken.test\nbl.test", "554 5.7.1"), ("", "accepted")]
    {
        set(&door.house.replica, "dnsbl.zones", zones.replace('\n', ",").as_str());
        assert_eq!(door.said("mail.good.test", "joe@good.test").await, expected, "{zones}");
    }
}

#[tokio::test]
async fn who_is_refused_is_not_told_who_is_here_and_may_write_to_postmaster() {
    let mut door = door();
    set(&door.house.replica, "dnsbl.zones", "bl.test");
    door.open("localhost", "joe@nowhere.test").await;
    for (to, expected) in [
        ("alice@example.test", "554 5.7.1"),
        ("nobody@example.test", "554 5.7.1"),
        ("somebody@elsewhere.example", "554 5.7.1"),
        ("postmaster", "accepted"),
        ("PostMaster@example.org", "accepted"),
        ("postmaster@elsewhere.example", "RelayDenied"),
    ] {
        assert_eq!(door.ask(to, false).await, expected, "{to}");
    }
    assert_eq!(door.ask("alice@example.test", true).await, "accepted", "who has logged in is no stranger");
    door.open("mail.good.test", "joe@good.test").await;
    assert_eq!(door.ask("nobody@example.test", false).await, "554 5.7.1");
    set(&door.house.replica, "dnsbl.zones", "");
    door.open("mail.good.test", "joe@good.test").await;
    assert_eq!(door.ask("nobody@example.test", false).await, "Unknown");
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_a_wait_of_the_session_and_beyond_the_bound_there_is_none() {
    let mut door = door();
    let began = tokio::time::Instant::now();
    let answer = door.smtp.answer(Question::Delay { seconds: 7 }).await;
    assert!(matches!(answer, Answer::Delayed(Ok(()))));
    assert_eq!(began.elapsed().as_secs(), 7);
    let mut other =
        SmtpBackend::new(door.house.replica.clone(), logins(&door.house.replica), door.house.checks.clone());
    let both = tokio::join!(
        door.smtp.answer(Question::Delay { seconds: 3 }),
        other.answer(Question::Delay { seconds: 3 })
    );
    assert!(matches!(both, (Answer::Delayed(Ok(())), Answer::Delayed(Err(Crowded)))), "{both:?}");
}
