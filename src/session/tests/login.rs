//! Who gets in, by which name, and when no longer.

use super::*;
use crate::cluster::replica::{Fault, Replica};
use crate::session::channel::ChannelBindings;
use crate::session::login::{Authenticated, Claim, Credentials, LoginBounds, LoginRefused, Logins};
use crate::session::scram::client::Client;
use crate::session::scram::{Challenge, ClientFirst};

fn bounds() -> LoginBounds {
    let defaults = LoginBounds::default();
    LoginBounds {
        checks_at_once_max: 1,
        wait_ms_max: 60_000,
        refusal_delay_ms: 0,
        remembered_max: 1,
        ..defaults
    }
}

fn logins(replica: &MemoryReplica, bounds: LoginBounds) -> Logins {
    Logins::new(replica.clone(), bounds)
}

fn credentials(login: &str, password: &str) -> Credentials {
    Credentials::new(login.as_bytes(), password.as_bytes()).unwrap()
}

fn claim(login: &str, password: &str) -> Claim {
    Claim::Password(credentials(login, password))
}

#[tokio::test]
async fn the_bare_name_and_the_address_in_any_of_our_domains_are_one_login() {
    let replica = replica();
    let logins = logins(&replica, bounds());
    for login in ["alice", "ALICE", "alice@example.test", "Alice@Example.ORG"] {
        let who = logins.check(&claim(login, "secret")).await.unwrap();
        assert_eq!((who.name(), who.account()), ("alice", account(&replica, "alice")), "{login}");
    }
    for login in ["carol", "alice@elsewhere.example", "alice@", "@example.test"] {
        assert_eq!(logins.check(&claim(login, "secret")).await, Err(LoginRefused::Wrong), "{login}");
    }
    assert_eq!(logins.check(&claim("alice", "Secret")).await, Err(LoginRefused::Wrong));
}

#[tokio::test]
async fn what_is_remembered_ends_with_the_password_the_user_and_the_enabling() {
    let replica = replica();
    let logins = logins(&replica, bounds());
    let alice = logins.check(&claim("alice", "secret")).await.unwrap();
    // Remembered; and bob, for whom there is no room beside her, is checked all the same.
    logins.check(&claim("alice", "secret")).await.unwrap();
    logins.check(&claim("bob", "secret")).await.unwrap();
    logins.check(&claim("alice", "secret")).await.unwrap();

    let disable = |enabled| Command::SetUserEnabled { name: "alice".to_owned(), enabled };
    run(&replica, disable(false));
    assert_eq!(logins.check(&claim("alice", "secret")).await, Err(LoginRefused::Wrong));
    assert!(!logins.standing(&alice).is_valid());
    run(&replica, disable(true));
    assert!(logins.standing(&alice).is_valid());

    let password_phc = password::hash(b"changed", b"sixteen bytes...");
    run(&replica, Command::SetPassword { name: "alice".to_owned(), password_phc });
    assert_eq!(logins.check(&claim("alice", "secret")).await, Err(LoginRefused::Wrong));
    logins.check(&claim("alice", "changed")).await.unwrap();

    run(&replica, Command::RemoveUser { name: "alice".to_owned() });
    assert_eq!(logins.check(&claim("alice", "changed")).await, Err(LoginRefused::Wrong));
    assert!(!logins.standing(&alice).is_valid());
}

#[tokio::test]
async fn a_login_that_waits_too_long_for_its_turn_hears_busy() {
    let replica = replica();
    let none = LoginBounds { checks_at_once_max: 0, wait_ms_max: 1, ..bounds() };
    let logins = logins(&replica, none);
    assert_eq!(logins.check(&claim("alice", "secret")).await, Err(LoginRefused::Busy));
    assert_eq!(logins.check(&claim("nobody", "secret")).await, Err(LoginRefused::Busy));
}

#[test]
fn credentials_are_bounded_and_never_shown() {
    let plain = |text: &str| Credentials::from_plain(text.as_bytes());
    assert_eq!(plain("\0alice\0secret"), Some(credentials("alice", "secret")));
    assert_eq!(plain("alice\0alice\0secret"), Some(credentials("alice", "secret")));
    for bad in ["bob\0alice\0secret", "alice\0secret", "\0alice\0", "\0\0secret", "\0alice\0a\0b", ""] {
        assert_eq!(plain(bad), None, "{bad:?}");
    }
    assert!(Credentials::new(&[b'x'; 1024], &[b'x'; 1024]).is_some());
    assert!(Credentials::new(&[b'x'; 1025], b"x").is_none());
    assert!(Credentials::new(b"x", &[b'x'; 1025]).is_none());
    assert!(Credentials::new(&[0xff], b"x").is_none());
    assert!(!format!("{:?}", claim("alice", "secret")).contains("secret"));
}

#[tokio::test]
async fn what_is_wrong_here_is_wrong_only_if_the_cluster_says_so() {
    let replica = replica();
    let logins = logins(&replica, bounds());
    logins.check(&claim("alice", "secret")).await.unwrap();
    replica.fail(Some(Fault::NoQuorum));
    // Who is known gets in, from what is remembered and from the rows.
    logins.check(&claim("alice", "secret")).await.unwrap();
    logins.check(&claim("bob", "secret")).await.unwrap();
    for (login, password) in [("alice", "wrong"), ("nobody", "secret"), ("nobody@elsewhere.example", "x")] {
        assert_eq!(logins.check(&claim(login, password)).await, Err(LoginRefused::Unsure), "{login}");
    }
    assert_eq!(scram(&logins, &Client::new("nobody", "secret")).await, Err(LoginRefused::Unsure));
    replica.fail(None);
    assert_eq!(logins.check(&claim("nobody", "secret")).await, Err(LoginRefused::Wrong));
}

/// What another node acknowledged before is there once the login is, whichever way it is done.
#[tokio::test]
async fn who_comes_from_another_node_finds_what_was_acknowledged_there() {
    let replica = replica();
    let logins = logins(&replica, bounds());
    set_password(&replica, "alice", "secret");
    let elsewhere = |domain: &str| {
        replica.run_elsewhere(Command::AddDomain { name: domain.to_owned() });
        assert!(!replica.directory().domains.contains(domain));
    };
    for (domain, remembered) in [("a.test", false), ("b.test", true)] {
        elsewhere(domain);
        logins.check(&claim("alice", "secret")).await.unwrap();
        assert!(replica.directory().domains.contains(domain), "remembered: {remembered}");
    }
    elsewhere("c.test");
    scram(&logins, &Client::new("alice", "secret")).await.unwrap();
    assert!(replica.directory().domains.contains("c.test"));
}

/// A whole exchange.
async fn scram(logins: &Logins, client: &Client) -> Result<Authenticated, LoginRefused> {
    let first = ClientFirst::parse(client.first().as_bytes(), false, &ChannelBindings::default()).unwrap();
    let keys = logins.keys(&first.login).await;
    finish(logins, client, Challenge::new(first, keys)).await
}

async fn finish(
    logins: &Logins,
    client: &Client,
    challenge: Challenge,
) -> Result<Authenticated, LoginRefused> {
    let (last, _) = client.last(challenge.server_first());
    let (proof, _) = challenge.prove(last.as_bytes()).unwrap();
    logins.check(&Claim::Proof(Box::new(proof))).await
}

#[tokio::test]
async fn scram_lets_in_whom_the_password_lets_in() {
    let replica = replica();
    let logins = logins(&replica, bounds());
    set_password(&replica, "alice", "secret");
    for login in ["alice", "ALICE", "alice@example.test"] {
        let who = scram(&logins, &Client::new(login, "secret")).await.unwrap();
        assert_eq!((who.name(), who.account()), ("alice", account(&replica, "alice")), "{login}");
    }
    let wrong = [("alice", "Secret"), ("nobody", "secret"), ("alice@elsewhere.example", "secret")];
    // Bob's password was set without keys: as if it were wrong.
    for (login, password) in wrong.into_iter().chain([("bob", "secret")]) {
        let refused = scram(&logins, &Client::new(login, password)).await;
        assert_eq!(refused, Err(LoginRefused::Wrong), "{login}");
    }
    // Within a cut, too.
    replica.fail(Some(Fault::NoQuorum));
    scram(&logins, &Client::new("alice", "secret")).await.unwrap();
}

#[tokio::test]
async fn an_exchange_does_not_outlive_what_it_began_with() {
    let replica = replica();
    let logins = logins(&replica, bounds());
    let client = Client::new("alice", "secret");
    let begin = || async {
        let first =
            ClientFirst::parse(client.first().as_bytes(), false, &ChannelBindings::default()).unwrap();
        let keys = logins.keys(&first.login).await;
        Challenge::new(first, keys)
    };
    set_password(&replica, "alice", "secret");
    let begun = begin().await;
    set_password(&replica, "alice", "changed");
    assert_eq!(finish(&logins, &client, begun).await, Err(LoginRefused::Wrong));
    set_password(&replica, "alice", "secret");
    let begun = begin().await;
    run(&replica, Command::SetUserEnabled { name: "alice".to_owned(), enabled: false });
    assert_eq!(finish(&logins, &client, begun).await, Err(LoginRefused::Wrong));
    run(&replica, Command::RemoveUser { name: "alice".to_owned() });
    let again = begin().await;
    assert_eq!(finish(&logins, &client, again).await, Err(LoginRefused::Wrong));
}

#[tokio::test]
async fn who_is_not_there_looks_like_who_is() {
    let replica = replica();
    set_password(&replica, "alice", "secret");
    let (here, there) = (logins(&replica, bounds()), logins(&replica, bounds()));
    let (real, one) = (here.keys("alice").await, here.keys("nobody").await);
    assert_eq!(real.scram.iterations, one.scram.iterations);
    assert_ne!(one.nonce, real.nonce);
    // On every node, at each time, by whichever of the names.
    for (logins, name) in [(&here, "nobody"), (&there, "NOBODY"), (&there, "nobody@example.org")] {
        assert!(logins.keys(name).await.scram == one.scram, "{name}");
    }
    assert!(here.keys("somebody").await.scram.salt != one.scram.salt);
    assert!(here.keys("bob").await.scram.salt != one.scram.salt, "a user without keys is one of them");
}

#[tokio::test]
async fn a_login_by_password_brings_the_keys_that_are_wanting_unless_they_are_not_wanted() {
    let replica = replica();
    let logins = logins(&replica, bounds());
    set(&replica, "auth.scram", "false");
    logins.check(&claim("alice", "secret")).await.unwrap();
    set(&replica, "auth.scram", "true");
    let mut directory = replica.watch_directory();
    assert_eq!(logins.check(&claim("bob", "wrong")).await, Err(LoginRefused::Wrong));
    logins.check(&claim("bob", "secret")).await.unwrap();
    let wait = directory.wait_for(|directory| directory.users["bob"].scram.is_some());
    tokio::time::timeout(std::time::Duration::from_secs(60), wait).await.expect("they come").unwrap();
    scram(&logins, &Client::new("bob", "secret")).await.unwrap();
    assert!(replica.directory().users["alice"].scram.is_none());
}
