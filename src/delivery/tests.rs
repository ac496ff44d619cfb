//! The whole room against a replica in memory and servers of the tests' own on loopback.

mod server;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use self::server::{Behaviour, Server};
use super::Delivery;
use super::routing::Resolve;
use crate::clock::Clock;
use crate::cluster::memory::MemoryReplica;
use crate::cluster::replica::Replica;
use crate::dns::{DnsError, Tlsa, Vouched};
use crate::mail::address::Address;
use crate::mail::ids::{AccountId, LogIndex, NodeId, Timestamp};
use crate::maillog::MailLog;
use crate::state::command::{Command, NewUser};
use crate::state::outcome::Outcome;
use crate::state::queue::reading::{self, Parcel};
use crate::state::queue::{NewQueued, NewRecipient, Submit, destination, parcels};
use crate::state::relays::{NewRelay, RelayFor, RelayLogin, RelayTls};
use crate::state::secret::Secret;

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing is asked of it: everything goes to the relay, which is given by its address.
#[derive(Clone)]
struct NoDns;

impl Resolve for NoDns {
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
        panic!("{name} was looked up")
    }

    async fn is_secure_alias(&self, host: &str) -> Result<bool, DnsError> {
        panic!("{host} was looked up")
    }
}

/// All mail is ours to take.
#[derive(Clone)]
struct Ourselves;

impl Resolve for Ourselves {
    async fn mx(&self, _: &str) -> Result<Vouched<(u16, String)>, DnsError> {
        Ok(Vouched::insecure(vec![(10, "mx.own.test".to_owned()), (20, "worse.test".to_owned())]))
    }

    async fn addresses(&self, host: &str) -> Result<Vouched<IpAddr>, DnsError> {
        NoDns.addresses(host).await
    }

    async fn tlsa(&self, port: u16, host: &str) -> Result<Vouched<Tlsa>, DnsError> {
        NoDns.tlsa(port, host).await
    }

    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        NoDns.txt(name).await
    }

    async fn is_secure_alias(&self, host: &str) -> Result<bool, DnsError> {
        NoDns.is_secure_alias(host).await
    }
}

struct Scene {
    replica: MemoryReplica,
    server: Server,
    delivery: Delivery,
    alice: AccountId,
}

async fn scene(behaviour: Behaviour, settings: &[(&str, &str)]) -> Scene {
    scene_by(NoDns, behaviour, settings).await
}

async fn scene_by(dns: impl Resolve, behaviour: Behaviour, settings: &[(&str, &str)]) -> Scene {
    let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
    let server = Server::start(behaviour).await;
    run(&replica, Command::AddDomain { name: "example.test".into() });
    let user = NewUser { name: "alice".into(), password_phc: "$x".into(), quota_bytes: None };
    let Outcome::UserAdded { account: alice } = replica.run(Command::AddUser(user)).unwrap() else {
        panic!()
    };
    let mut changes = vec![("relay.host".to_owned(), Some(server.address.to_string()))];
    changes.extend(settings.iter().map(|(key, value)| (key.to_string(), Some(value.to_string()))));
    run(&replica, Command::SetSettings { changes });
    let delivery = Delivery::start(replica.clone(), dns, MailLog::default());
    Scene { replica, server, delivery, alice }
}

fn run(replica: &MemoryReplica, command: Command) {
    let outcome = replica.run(command).unwrap();
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

impl Scene {
    fn submit(&self, sender: &str, to: &[&str], text: &str) {
        let text = format!("Return-Path: <{sender}>\r\nSubject: x\r\n\r\n{text}\r\n");
        let body = self.replica.put_body(Bytes::from(text));
        let of = |to: &&str| {
            let address = Address::parse(to).unwrap();
            (destination(&address), NewRecipient { address: to.to_string(), orcpt: None, notify: None })
        };
        let queue = NewQueued {
            sender: sender.into(),
            account: None,
            near: self.replica.node(),
            envid: None,
            ret: None,
            smtputf8: false,
            parcels: parcels(to.iter().map(of)),
        };
        run(&self.replica, Command::Submit(Box::new(Submit { body, to: vec![], queue: Some(queue) })));
    }

    /// Waits until the queue is so.
    async fn queue_is(&self, so: impl Fn(&[Parcel]) -> bool) -> Vec<Parcel> {
        let mut changes = self.replica.watch_queue();
        let wait = async {
            loop {
                changes.borrow_and_update();
                let read = |rows: &dyn crate::state::rows::Rows| {
                    let mails = reading::mails(rows, None, 1_000)?;
                    let parcels = mails.into_iter().map(|(id, _)| reading::parcels(rows, id, 100));
                    Ok(parcels.collect::<Result<Vec<_>, _>>()?.concat())
                };
                let parcels = self.replica.read_queue(read).await.unwrap();
                if so(&parcels) {
                    return parcels;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the queue comes to be so")
    }

    async fn inbox(&self) -> Vec<String> {
        let inbox = self.replica.mailbox(self.alice, "INBOX").await.unwrap().unwrap();
        let view = self.replica.view(inbox.id).await.unwrap().unwrap();
        let bodies = view.read(|view| view.messages().iter().map(|it| it.body).collect::<Vec<_>>());
        let mut texts = Vec::new();
        for body in bodies {
            texts.push(String::from_utf8(self.replica.body(body).await.unwrap().to_vec()).unwrap());
        }
        texts
    }

    async fn end(self) -> Server {
        self.delivery.stop(PATIENCE).await;
        self.server
    }
}

fn is_tried(parcels: &[Parcel]) -> bool {
    !parcels.is_empty() && parcels.iter().all(|parcel| parcel.row.attempts > 0 && parcel.row.lease.is_none())
}

#[tokio::test]
async fn a_domain_for_which_we_stand_in_has_its_better_server_or_a_relay_of_its_own() {
    let settings = [("hostname", "mx.own.test"), ("relay.inbound_domains", "x.test")];
    let scene = scene_by(Ourselves, Behaviour::default(), &settings).await;
    scene.submit("joe@far.test", &["a@x.test"], "hi");
    let parcels = scene.queue_is(is_tried).await;
    let said = parcels[0].recipients[0].1.reply.clone().unwrap();
    assert!(said.starts_with("451 4.4.6 x.test is in relay.inbound_domains"), "for now: {said}");
    // Its relay is there from the next try on. One for all mail, or for its sender, is not meant.
    let (host, port) = ("127.0.0.1".to_owned(), scene.server.address.port());
    for (name, applies, port) in [
        ("all", RelayFor::All, 1),
        ("sender", RelayFor::Sender("@far.test".to_owned()), 1),
        ("its", RelayFor::Recipient("@x.test".to_owned()), port),
    ] {
        let (name, host, tls) = (name.to_owned(), host.clone(), RelayTls::Opportunistic);
        run(
            &scene.replica,
            Command::AddRelay(Box::new(NewRelay { name, applies, host, port, tls, login: None })),
        );
    }
    let steering = crate::state::queue::Steering::Retry;
    run(&scene.replica, Command::SteerQueue { messages: vec![parcels[0].id.message], steering });
    scene.queue_is(<[Parcel]>::is_empty).await;
    let mails = scene.end().await.mails();
    assert_eq!((mails[0].from.as_str(), &mails[0].to[..]), ("joe@far.test", &["a@x.test".to_owned()][..]));

    let ours = [("hostname", "mx.own.test"), ("relay.host", "")];
    let scene = scene_by(Ourselves, Behaviour::default(), &ours).await;
    scene.submit("alice@example.test", &["a@x.test"], "hi");
    scene.queue_is(<[Parcel]>::is_empty).await;
    assert!(scene.inbox().await[0].contains("Status: 5.4.6"), "of others nothing is kept waiting");
    scene.end().await;
}

#[tokio::test]
async fn a_mail_goes_to_the_relay_and_leaves_the_queue() {
    let scene = scene(Behaviour::default(), &[]).await;
    scene.submit("alice@example.test", &["a@x.test", "b@x.test", "c@y.test"], ".dot");
    scene.queue_is(<[Parcel]>::is_empty).await;
    assert_eq!(scene.inbox().await, Vec::<String>::new());
    let mut mails = scene.end().await.mails();
    mails.sort_by_key(|mail| mail.to.len());
    assert_eq!(mails[0].to, ["c@y.test"]);
    assert_eq!(mails[1].to, ["a@x.test", "b@x.test"]);
    assert_eq!((mails[1].from.as_str(), mails[1].tls), ("alice@example.test", true));
    assert_eq!(mails[1].text, "Subject: x\r\n\r\n.dot\r\n", "without the Return-Path");
}

#[tokio::test]
async fn a_recipient_that_is_refused_comes_back_to_the_sender_and_the_others_do_not() {
    let scene = scene(Behaviour::default(), &[]).await;
    scene.submit("alice@example.test", &["a@x.test", "no@x.test", "later@x.test"], "the text");
    let left = scene.queue_is(is_tried).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].recipients[0].1.address, "later@x.test");
    assert_eq!(left[0].recipients[0].1.reply.as_deref(), Some("450 4.2.0 later"));
    assert_eq!(left[0].row.next_attempt, Timestamp(1_700_000_000_000 + 1_000_000));
    let inbox = scene.inbox().await;
    assert_eq!(inbox.len(), 1);
    for part in [
        "Final-Recipient: rfc822; no@x.test\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "the text",
    ] {
        assert!(inbox[0].contains(part), "{part}: {}", inbox[0]);
    }
    assert!(!inbox[0].contains("rfc822; a@x.test") && !inbox[0].contains("later@x.test"));
    assert_eq!(scene.end().await.mails()[0].to, ["a@x.test"]);
}

#[tokio::test]
async fn a_notice_that_fails_is_told_to_nobody() {
    let scene = scene(Behaviour::default(), &[]).await;
    scene.submit("", &["no@x.test"], "a notice");
    scene.queue_is(<[Parcel]>::is_empty).await;
    assert_eq!(scene.inbox().await.len(), 0);
    // A sender elsewhere is told by mail, under the null sender.
    scene.submit("far@y.test", &["no@x.test"], "from afar");
    scene.queue_is(<[Parcel]>::is_empty).await;
    let mails = scene.end().await.mails();
    assert_eq!(
        (mails.len(), mails[0].from.as_str(), mails[0].to.as_slice()),
        (1, "", &["far@y.test".to_owned()][..])
    );
    assert!(mails[0].text.contains("Final-Recipient: rfc822; no@x.test"));
}

#[tokio::test]
async fn a_delay_is_told_once_and_the_end_of_its_life_too() {
    let scene = scene(Behaviour::default(), &[]).await;
    scene.submit("alice@example.test", &["later@x.test"], "x");
    scene.queue_is(is_tried).await;
    let again = async |seconds: u64| {
        let before = scene.queue_is(is_tried).await[0].row.attempts;
        scene.replica.clock().advance_ms(seconds * 1_000);
        let (id, retry) =
            (scene.queue_is(is_tried).await[0].id.message, crate::state::queue::Steering::Retry);
        run(&scene.replica, Command::SteerQueue { messages: vec![id], steering: retry });
        scene
            .queue_is(|parcels| {
                parcels.iter().all(|parcel| parcel.row.lease.is_none() && parcel.row.attempts > before)
            })
            .await
    };
    again(14_399).await;
    assert_eq!(scene.inbox().await.len(), 0);
    again(1).await;
    assert!(scene.inbox().await[0].contains("Action: delayed"));
    again(100).await;
    assert_eq!(scene.inbox().await.len(), 1, "once");
    assert_eq!(again(432_000).await, []);
    let inbox = scene.inbox().await;
    assert!(inbox[1].contains("Action: failed") && inbox[1].contains("Status: 5.4.7"), "{}", inbox[1]);
    scene.end().await;
}

#[tokio::test]
async fn a_server_that_breaks_off_after_the_text_is_tried_again_later() {
    let scene = scene(Behaviour { drop_after_text: true, ..Behaviour::default() }, &[]).await;
    scene.submit("alice@example.test", &["a@x.test", "no@x.test"], "x");
    let left = scene.queue_is(is_tried).await;
    let left: Vec<_> = left[0].recipients.iter().map(|(_, it)| it.address.as_str()).collect();
    assert_eq!(left, ["a@x.test"], "what was refused for good was refused before");
    scene.end().await;
}

#[tokio::test]
async fn what_is_forced_waits_and_what_is_opportunistic_goes_in_the_clear() {
    for (tls, mode) in
        [("forced", "broken"), ("forced", "none"), ("opportunistic", "broken"), ("off", "whole")]
    {
        let behaviour = Behaviour { tls: mode, ..Behaviour::default() };
        let scene = scene(behaviour, &[("relay.tls", tls)]).await;
        scene.submit("alice@example.test", &["a@x.test"], "x");
        if tls == "forced" {
            scene.queue_is(is_tried).await;
            assert_eq!(scene.end().await.mails().len(), 0, "{mode}");
        } else {
            scene.queue_is(<[Parcel]>::is_empty).await;
            let mails = scene.end().await.mails();
            assert_eq!(mails.iter().map(|mail| mail.tls).collect::<Vec<_>>(), [false], "{tls} {mode}");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_keeps_one_connection_and_not_the_others() {
    let scene = scene(Behaviour { stall_for: "stalled.test", ..Behaviour::default() }, &[]).await;
    scene.submit("alice@example.test", &["a@stalled.test"], "x");
    for number in 0..40 {
        scene.submit("alice@example.test", &[&format!("u{number}@x.test")], "x");
    }
    scene.queue_is(|parcels| parcels.iter().all(|parcel| parcel.row.destination == "stalled.test")).await;
    assert_eq!(scene.server.mails().len(), 40);
    scene.delivery.stop(Duration::from_millis(10)).await;
}

/// 150 mails for it are more than two leases.
#[tokio::test]
async fn a_host_that_is_away_is_left_alone_and_called_when_an_operator_says_so() {
    let away = tokio::net::TcpSocket::new_v4().unwrap();
    away.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let host = away.local_addr().unwrap().to_string();
    let scene = scene(Behaviour::default(), &[("relay.host", &host)]).await;
    for number in 0..150 {
        scene.submit("alice@example.test", &[&format!("u{number}@x.test")], "x");
    }
    let tried = |parcels: &[Parcel]| parcels.iter().all(|it| it.row.attempts == 1 && it.row.lease.is_none());
    let waiting = scene.queue_is(tried).await;
    assert_eq!(waiting.len(), 150);
    let said = waiting.iter().filter_map(|parcel| parcel.recipients[0].1.reply.as_deref());
    assert!(said.into_iter().all(|said| said.starts_with("451 4.4.1")));

    // It is there again, which nobody knows before it is called.
    let server = Server::start_on(away.listen(16).unwrap(), Behaviour::default());
    let steering = crate::state::queue::Steering::Retry;
    let messages = waiting.iter().map(|parcel| parcel.id.message).collect();
    run(&scene.replica, Command::SteerQueue { messages, steering });
    scene.queue_is(<[Parcel]>::is_empty).await;
    assert_eq!(server.mails().len(), 150);
    scene.end().await;
}

#[tokio::test]
async fn a_drained_node_ends_what_it_sends_and_takes_nothing_more_until_it_is_undrained() {
    let scene = scene(Behaviour { stall_for: "stalled.test", ..Behaviour::default() }, &[]).await;
    let (own, other) = (scene.replica.node(), NodeId(2));
    let mut under_way = scene.delivery.under_way();
    scene.submit("alice@example.test", &["a@stalled.test"], "x");
    under_way.wait_for(|told| told.deliveries == 1).await.unwrap();
    for node in [own, other] {
        run(&scene.replica, Command::AddReplica { node });
        run(&scene.replica, Command::MarkInSync { node, complete_to: LogIndex(1_000) });
    }
    run(&scene.replica, Command::DrainNode { node: own });
    // The bodies of this test lie on one node.
    run(&scene.replica, Command::MarkBehind { node: other });
    let told = *under_way.wait_for(|told| told.holds).await.unwrap();
    assert_eq!(told.deliveries, 1, "it is not broken off");
    scene.submit("alice@example.test", &["b@x.test"], "x");
    // Nothing would tell that it is never taken; it is taken within milliseconds, if at all.
    let taken = under_way.wait_for(|told| told.deliveries > 1);
    assert!(tokio::time::timeout(Duration::from_millis(300), taken).await.is_err());
    assert_eq!(scene.server.mails().len(), 0);
    run(&scene.replica, Command::UndrainNode { node: own });
    scene.queue_is(|parcels| parcels.iter().all(|parcel| parcel.row.destination == "stalled.test")).await;
    assert_eq!(scene.server.mails().len(), 1);
    scene.delivery.stop(Duration::from_millis(10)).await;
}

fn relay(name: &str, applies: RelayFor, server: &Server, (tls, login): (RelayTls, &str)) -> Command {
    let (user, password) = login.split_once(' ').unwrap_or_default();
    let login = RelayLogin { user: user.to_owned(), password: Secret(password.to_owned()) };
    Command::AddRelay(Box::new(NewRelay {
        name: name.to_owned(),
        applies,
        host: server.address.ip().to_string(),
        port: server.address.port(),
        tls,
        login: (!user.is_empty()).then_some(login),
    }))
}

#[tokio::test]
async fn each_recipient_goes_by_the_closest_relay_and_one_parcel_by_several() {
    let scene = scene(Behaviour::default(), &[]).await;
    let (other, third) =
        (Server::start(Behaviour::default()).await, Server::start(Behaviour::default()).await);
    let plain = (RelayTls::Off, "");
    let recipient = RelayFor::Recipient("b@x.test".to_owned());
    run(&scene.replica, relay("other", recipient, &other, plain));
    run(&scene.replica, relay("third", RelayFor::Sender("@boss.test".to_owned()), &third, plain));
    scene.submit("alice@example.test", &["a@x.test", "b@x.test", "no@x.test", "c@x.test"], "x");
    scene.submit("boss@boss.test", &["b@x.test"], "x");
    scene.queue_is(<[Parcel]>::is_empty).await;
    let to = |mails: Vec<server::Taken>| mails.into_iter().map(|mail| mail.to).collect::<Vec<_>>();
    assert_eq!(to(other.mails()), [["b@x.test"]]);
    assert_eq!(to(third.mails()), [["b@x.test"]]);
    let inbox = scene.inbox().await;
    assert!(inbox.len() == 1 && inbox[0].contains("rfc822; no@x.test"), "{inbox:?}");
    assert_eq!(to(scene.end().await.mails()), [["a@x.test", "c@x.test"]]);
}

#[tokio::test]
async fn what_one_relay_cannot_take_waits_and_the_others_mail_does_not() {
    let scene = scene(Behaviour::default(), &[]).await;
    let gone = Server::start(Behaviour { tls: "none", ..Behaviour::default() }).await;
    let recipient = RelayFor::Recipient("b@x.test".to_owned());
    run(&scene.replica, relay("gone", recipient, &gone, (RelayTls::Forced, "")));
    scene.submit("alice@example.test", &["a@x.test", "b@x.test"], "x");
    let left = scene.queue_is(is_tried).await;
    assert_eq!(left[0].recipients.len(), 1);
    let waiting = &left[0].recipients[0].1;
    assert_eq!(waiting.address, "b@x.test");
    assert!(
        waiting.reply.as_ref().is_some_and(|reply| reply.starts_with("451 4.7.4 STARTTLS")),
        "{waiting:?}"
    );
    assert_eq!(scene.end().await.mails()[0].to, ["a@x.test"]);
}

#[tokio::test]
async fn a_relay_lets_in_who_has_its_password_and_a_wrong_one_makes_the_mail_wait() {
    let behaviour = Behaviour { login: "user secret", ..Behaviour::default() };
    for (login, tls, waits) in [
        ("user secret", RelayTls::Forced, ""),
        ("user wrong", RelayTls::Forced, "451 4.7.8 the server does not let us in: 535"),
        // Its certificate is of its own making.
        ("user secret", RelayTls::Verified, "451 4.7.5"),
    ] {
        let scene = scene(Behaviour::default(), &[]).await;
        let server = Server::start(behaviour).await;
        run(&scene.replica, relay("r", RelayFor::All, &server, (tls, login)));
        scene.submit("alice@example.test", &["a@x.test"], "x");
        if waits.is_empty() {
            scene.queue_is(<[Parcel]>::is_empty).await;
            assert_eq!(server.mails().iter().map(|mail| mail.tls).collect::<Vec<_>>(), [true]);
        } else {
            let left = scene.queue_is(is_tried).await;
            let reply = left[0].recipients[0].1.reply.clone().unwrap_or_default();
            assert!(reply.starts_with(waits), "{login} {tls:?}: {reply}");
            assert_eq!(server.mails().len(), 0);
        }
        assert_eq!(scene.end().await.mails().len(), 0, "the relay comes before the setting");
    }
}
