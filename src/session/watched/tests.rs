//! A client fails as often as it may, on two nodes of one replica, by a clock that stands still.

use super::*;
use crate::cluster::memory::MemoryReplica;
use crate::mail::ids::Timestamp;
use crate::session::login::{Credentials, LoginBounds};

const CLIENT: &str = "192.0.2.1";

fn replica(settings: &[(&str, &str)]) -> MemoryReplica {
    let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
    let changes =
        settings.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
    assert_eq!(replica.run(Command::SetSettings { changes }).unwrap(), Outcome::Done);
    replica
}

fn client(replica: &MemoryReplica, address: &str) -> Watched {
    Watched::new(&Watchman::new(replica.clone()), Some(address.parse().unwrap()))
}

fn logins(replica: &MemoryReplica) -> Logins {
    Logins::new(replica.clone(), LoginBounds { refusal_delay_ms: 0, ..LoginBounds::default() })
}

async fn fails(client: &Watched, logins: &Logins) -> LoginRefused {
    let credentials = Credentials::new(b"nobody", b"wrong").unwrap();
    client.check(logins, &Claim::Password(credentials)).await.unwrap_err()
}

#[tokio::test]
async fn a_host_that_fails_once_more_than_it_may_is_blocked_on_both_nodes_for_its_time() {
    let replica = replica(&[("block.failed_logins_max", "3"), ("block.duration_seconds", "100")]);
    let nodes = [client(&replica, CLIENT), client(&replica, CLIENT)];
    let logins = logins(&replica);
    for time in 0..4 {
        assert!(!nodes[0].is_blocked() && !nodes[1].is_blocked(), "time {time}");
        assert_eq!(fails(&nodes[time % 2], &logins).await, LoginRefused::Wrong);
    }
    assert!(nodes[0].is_blocked() && nodes[1].is_blocked());
    assert_eq!(fails(&nodes[0], &logins).await, LoginRefused::Unsure, "it learns nothing more");
    assert!(!client(&replica, "192.0.2.2").is_blocked());
    replica.clock().advance_ms(99_999);
    assert!(nodes[0].is_blocked());
    replica.clock().advance_ms(1);
    assert!(!nodes[0].is_blocked());
}

#[tokio::test]
async fn who_is_exempt_or_unwatched_or_not_to_be_counted_is_never_blocked() {
    let exempt = replica(&[("block.failed_logins_max", "1"), ("block.exempt_networks", "192.0.2.0/28")]);
    let off = replica(&[("block.failed_logins_max", "0")]);
    for (client, replica) in
        [(client(&exempt, CLIENT), &exempt), (client(&off, CLIENT), &off), (Watched::default(), &exempt)]
    {
        let logins = logins(replica);
        for _ in 0..3 {
            assert_eq!(fails(&client, &logins).await, LoginRefused::Wrong);
        }
        assert!(!client.is_blocked());
    }
    let outside = client(&exempt, "192.0.2.16");
    let logins = logins(&exempt);
    for _ in 0..2 {
        fails(&outside, &logins).await;
    }
    assert!(outside.is_blocked());
    // A network that is exempt from now on is let in at once.
    let change = ("block.exempt_networks".to_owned(), Some("192.0.2.0/24".to_owned()));
    exempt.run(Command::SetSettings { changes: vec![change] }).unwrap();
    assert!(!outside.is_blocked());
}

#[tokio::test]
async fn what_cannot_be_told_to_the_cluster_refuses_nobody() {
    let replica = replica(&[("block.failed_logins_max", "1")]);
    let client = client(&replica, CLIENT);
    replica.fail(Some(Fault::NoQuorum));
    for _ in 0..3 {
        client.note(Offense::FailedLogin).await;
    }
    assert!(!client.is_blocked());
}

#[tokio::test]
async fn unknown_recipients_block_until_the_next_day() {
    let replica = replica(&[("block.unknown_recipients_max", "2")]);
    let client = client(&replica, CLIENT);
    for _ in 0..2 {
        client.note(Offense::UnknownRecipient).await;
    }
    assert!(!client.is_blocked());
    client.note(Offense::UnknownRecipient).await;
    assert!(client.is_blocked());
    let until_midnight = 86_400_000 - 1_700_000_000_000 % 86_400_000;
    replica.clock().advance_ms(until_midnight - 1);
    assert!(client.is_blocked());
    replica.clock().advance_ms(1);
    assert!(!client.is_blocked());
}
