//! Who gets in, by which name, and when no longer.

use super::*;
use crate::cluster::replica::Replica;
use crate::session::login::{Credentials, LoginBounds, LoginRefused, Logins};

fn bounds() -> LoginBounds {
    LoginBounds { checks_at_once_max: 1, wait_ms_max: 60_000, refusal_delay_ms: 0, remembered_max: 1 }
}

fn logins(replica: &MemoryReplica, bounds: LoginBounds) -> Logins {
    Logins::new(replica.watch_directory(), replica.clock(), bounds)
}

fn claim(login: &str, password: &str) -> Credentials {
    Credentials::new(login.as_bytes(), password.as_bytes()).unwrap()
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
    use base64::Engine;
    let plain = |text: &str| {
        let base64 = base64::engine::general_purpose::STANDARD.encode(text);
        Credentials::from_sasl_plain(base64.as_bytes())
    };
    assert_eq!(plain("\0alice\0secret"), Some(claim("alice", "secret")));
    assert_eq!(plain("alice\0alice\0secret"), Some(claim("alice", "secret")));
    for bad in ["bob\0alice\0secret", "alice\0secret", "\0alice\0", "\0\0secret", "\0alice\0a\0b", ""] {
        assert_eq!(plain(bad), None, "{bad:?}");
    }
    assert!(Credentials::new(&[b'x'; 1024], &[b'x'; 1024]).is_some());
    assert!(Credentials::new(&[b'x'; 1025], b"x").is_none());
    assert!(Credentials::new(b"x", &[b'x'; 1025]).is_none());
    assert!(Credentials::new(&[0xff], b"x").is_none());
    assert!(!format!("{:?}", claim("alice", "secret")).contains("secret"));
}
