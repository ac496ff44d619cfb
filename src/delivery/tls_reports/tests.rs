//! Counts on their way to a report, against a replica in memory.

use std::net::IpAddr;
use std::sync::Mutex;

use super::*;
use crate::clock::Clock;
use crate::cluster::memory::MemoryReplica;
use crate::dns::{Tlsa, Vouched};
use crate::mail::ids::QueueId;
use crate::maillog::MailLog;
use crate::state::queue::reading::{self, Parcel};
use crate::state::queue::{ParcelId, TlsWish};
use crate::state::stored::TlsDayRow;
use crate::state::tls_reports::{TlsPolicy, TlsPolicyKind};

/// What TXT records say at every name.
#[derive(Clone)]
struct Says(Arc<Mutex<Result<String, DnsError>>>);

impl Says {
    fn set(&self, said: Result<&str, DnsError>) {
        *self.0.lock().unwrap() = said.map(str::to_owned);
    }
}

impl Resolve for Says {
    async fn mx(&self, domain: &str) -> Result<Vouched<(u16, String)>, DnsError> {
        panic!("{domain} was looked up")
    }

    async fn addresses(&self, host: &str) -> Result<Vouched<IpAddr>, DnsError> {
        panic!("{host} was looked up")
    }

    async fn tlsa(&self, _: u16, host: &str) -> Result<Vouched<Tlsa>, DnsError> {
        panic!("{host} was looked up")
    }

    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        assert!(name.starts_with("_smtp._tls."), "{name}");
        self.0.lock().unwrap().clone().map(|said| vec![said.into_bytes()])
    }

    async fn is_secure_alias(&self, host: &str) -> Result<bool, DnsError> {
        panic!("{host} was looked up")
    }
}

const NOON: u64 = 19_675 * 86_400_000 + 43_200_000;

struct Scene {
    replica: MemoryReplica,
    dns: Says,
    reporter: Reporter<MemoryReplica, Says>,
}

fn scene(record: &str) -> Scene {
    let replica = MemoryReplica::new(Clock::fixed(Timestamp(NOON)));
    run(&replica, Command::AddDomain { name: "example.test".into() });
    let dns = Says(Arc::new(Mutex::new(Ok(record.to_owned()))));
    let shared = Arc::new(Shared::new(replica.clone(), dns.clone(), MailLog::default()));
    Scene { replica, dns, reporter: Reporter { shared, posts: JoinSet::new() } }
}

fn run(replica: &MemoryReplica, command: Command) {
    let outcome = replica.run(command).unwrap();
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

impl Scene {
    async fn count(&self, domain: &str) {
        let policy = TlsPolicy { kind: TlsPolicyKind::None, domain: domain.to_owned(), lines: Vec::new() };
        let today = Day::of(self.replica.clock().now());
        self.reporter.shared.tally.note(today, domain, policy, None);
        self.reporter.tell().await;
    }

    /// Domains of which something is to be reported, with the sessions that went well.
    async fn open(&self) -> Vec<(String, u64)> {
        let read = self.replica.read_queue(|rows| {
            let open = tls_reports::open(rows, Day(u32::MAX), None, 99)?;
            let with = open.into_iter().map(|of| {
                let counts = tls_reports::counts(rows, of.day, &of.domain)?.unwrap();
                Ok((of.domain, counts.1.iter().map(|it| it.successful).sum()))
            });
            with.collect()
        });
        read.await.unwrap()
    }

    async fn queued(&self, number: u64) -> Option<Parcel> {
        let id = ParcelId { message: QueueId(number), number: 0 };
        self.replica.read_queue(move |rows| reading::parcel(rows, id)).await.unwrap()
    }
}

const MAIL: &str = "v=TLSRPTv1; rua=mailto:tls@x.test";

#[tokio::test]
async fn what_is_counted_is_reported_once_in_the_name_of_the_first_domain() {
    let mut scene = scene(MAIL);
    scene.count("x.test").await;
    scene.count("x.test").await;
    assert_eq!(scene.open().await, [("x.test".to_owned(), 2)]);
    assert_eq!(scene.reporter.send(Whose::Due).await, [], "the day is not over");
    let sent = scene.reporter.send(Whose::All).await;
    let (domain, day, to) = ("x.test".to_owned(), Day(19_675), vec!["tls@x.test".to_owned()]);
    assert_eq!(sent, [Sent { domain, day, to }]);
    assert_eq!(scene.reporter.send(Whose::All).await, [], "there is nothing more to tell");
    let mail = scene.queued(1).await.unwrap();
    assert_eq!((mail.mail.sender.as_str(), mail.tls), ("postmaster@example.test", TlsWish::Waived));
    assert!(!mail.passed_on, "it is signed");
    let recipient = &mail.recipients[0].1;
    assert_eq!(recipient.address, "tls@x.test");
    assert!(recipient.notify.is_some_and(|notify| !notify.failure && !notify.delay), "nobody is told of it");
    let text = scene.replica.body(mail.mail.body).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains(" Report-ID: <2023-11-14.1.x.test@localhost>\r\n"), "{text}");

    // The rest of the day is another report, which comes when it is over.
    let changes = vec![("delivery.tls_reports_from".to_owned(), Some("tls@example.test".to_owned()))];
    run(&scene.replica, Command::SetSettings { changes });
    scene.count("x.test").await;
    scene.replica.clock().advance_ms(86_400_000);
    assert_eq!(scene.reporter.send(Whose::Due).await.len(), 1);
    assert_eq!(scene.reporter.send(Whose::Due).await, []);
    let mail = scene.queued(2).await.unwrap();
    assert_eq!(mail.mail.sender, "tls@example.test");
    let text = scene.replica.body(mail.mail.body).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains("<2023-11-14.2.x.test@localhost>"));
    assert_eq!(scene.open().await, []);
}

#[tokio::test]
async fn only_those_are_told_who_want_to_be() {
    let mut scene = scene("v=spf1 -all");
    scene.count("x.test").await;
    scene.dns.set(Err(DnsError::NoData));
    scene.count("x.test").await;
    assert_eq!(scene.open().await, []);
    // What cannot be looked up now is counted on.
    scene.dns.set(Err(DnsError::Temporary("SERVFAIL".into())));
    scene.count("x.test").await;
    assert_eq!(scene.open().await, []);
    scene.dns.set(Ok(MAIL));
    scene.count("x.test").await;
    assert_eq!(scene.open().await, [("x.test".to_owned(), 2)]);
    // Nor is it lost when its time has come, and the record cannot be had.
    scene.replica.clock().advance_ms(86_400_000);
    scene.dns.set(Err(DnsError::Temporary("SERVFAIL".into())));
    assert_eq!(scene.reporter.send(Whose::Due).await, []);
    assert_eq!(scene.open().await.len(), 1);
    scene.dns.set(Err(DnsError::NoData));
    assert_eq!(scene.reporter.send(Whose::Due).await, []);
    assert_eq!(scene.open().await, [], "it wants none any longer");
    assert_eq!(scene.queued(1).await, None);
}

#[tokio::test]
async fn where_reports_are_off_none_is_sent() {
    let mut scene = scene(MAIL);
    scene.count("x.test").await;
    let changes = vec![("delivery.tls_reports".to_owned(), Some("false".to_owned()))];
    run(&scene.replica, Command::SetSettings { changes });
    assert_eq!(scene.reporter.send(Whose::All).await, []);
    assert_eq!(scene.open().await.len(), 1);
}

#[test]
fn reports_are_spread_over_hours_and_the_node_that_counted_last_comes_first() {
    let of = |domain: &str, near| DayCounts {
        day: Day(100),
        domain: domain.to_owned(),
        row: TlsDayRow { since: Day(100).begins(), near, changes: 1, reports: 0, over: false },
    };
    let after = Day(101).begins().0 + AFTER_DAY_MS;
    let mut hours = std::collections::BTreeSet::new();
    for n in 0..50 {
        let domain = format!("{n}.test");
        let at = due_at(&of(&domain, NodeId(1)), NodeId(1)).0;
        assert!((after..after + SPREAD_MS).contains(&at), "{domain}");
        assert_eq!(due_at(&of(&domain, NodeId(2)), NodeId(1)).0, at + OTHERS_AFTER_MS);
        hours.insert((at - after) / 3_600_000);
    }
    assert_eq!(hours.len(), 4);
}
