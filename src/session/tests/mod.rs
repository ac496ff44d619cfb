//! The driver, logins and services over real sockets and a replica in memory.

mod backends;
mod checked;
mod driver;
mod filtered;
mod filters;
mod greylisted;
mod listed;
mod login;
mod opened;
mod owned;
mod passed_on;
mod rehearsal;
mod sending;
mod services;
mod told;

use std::sync::Arc;

use fixture_dns::Server;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::smtp::checked::Checks;
use super::smtp::delays::Delays;
use super::smtp::spool::Spool;
use super::tls::TlsStore;
use crate::clock::Clock;
use crate::cluster::memory::MemoryReplica;
use crate::cluster::replica::Replica;
use crate::dns::{self, Resolver};
use crate::mail::ids::AccountId;
use crate::policy::hits::Hits;
use crate::state::command::{Command, NewUser};
use crate::state::outcome::Outcome;
use crate::state::password;
use crate::state::scram_keys::NewScramKeys;

/// What mail of strangers is judged with, by a DNS of the tests' own.
struct House {
    replica: MemoryReplica,
    checks: Checks,
    hits: Arc<Hits>,
    _dns: Server,
    _folder: tempfile::TempDir,
}

/// One session at a time may be in a pause, and 1,000,000 octets spooled.
fn house(zones: &str) -> House {
    house_by(replica(), zones)
}

fn house_by(replica: MemoryReplica, zones: &str) -> House {
    let (server, folder) = (Server::start(zones), tempfile::tempdir().unwrap());
    set(&replica, "dns.servers", &server.address().to_string());
    let bounds = dns::Bounds { attempt_ms_max: 500, lookup_ms_max: 5_000, lookups_max: 64 };
    let dns = Resolver::new(replica.watch_directory(), bounds);
    let spool = Spool::new(folder.path().to_owned(), 1_000_000);
    let checks = Checks { dns, spool, delays: Delays::new(1) };
    House { replica, checks, hits: Arc::default(), _dns: server, _folder: folder }
}

/// example.test and example.org, with alice and bob, each with the password `secret`.
fn replica() -> MemoryReplica {
    replica_by(Clock::system())
}

fn replica_by(clock: Clock) -> MemoryReplica {
    let replica = MemoryReplica::new(clock);
    for name in ["example.test", "example.org"] {
        run(&replica, Command::AddDomain { name: name.to_owned() });
    }
    for name in ["alice", "bob"] {
        let password_phc = password::hash(b"secret", b"sixteen bytes...");
        run(&replica, Command::AddUser(NewUser { name: name.to_owned(), password_phc, quota_bytes: None }));
    }
    replica
}

fn run(replica: &MemoryReplica, command: Command) {
    let outcome = replica.run(command).unwrap();
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

fn set(replica: &MemoryReplica, key: &str, value: &str) {
    let change = (key.to_owned(), Some(value.to_owned()));
    run(replica, Command::SetSettings { changes: vec![change] });
}

/// With what SCRAM needs of it.
fn set_password(replica: &MemoryReplica, name: &str, password: &str) {
    let password_phc = password::hash(password.as_bytes(), b"sixteen bytes...");
    let keys = NewScramKeys::of(password.as_bytes(), |octets| replica.clock().fill(octets)).unwrap();
    let keys = Box::new(keys);
    run(replica, Command::SetPasswordWithScram { name: name.to_owned(), password_phc, keys });
}

fn account(replica: &MemoryReplica, name: &str) -> AccountId {
    replica.directory().users[name].account
}

/// A certificate for `localhost` in files of its own, and a client's trust in it.
fn tls() -> (tempfile::TempDir, Arc<TlsStore>, Arc<rustls::ClientConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&chain, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let store = TlsStore::from_pem(&chain, &key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (dir, Arc::new(store), Arc::new(client))
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_in_one_line_and_the_old_one_stays() {
    let (dir, store, _) = tls();
    let (chain, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let other = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let mismatch = store.reload().unwrap_err().to_string();
    assert!(mismatch.contains("does not fit") && !mismatch.contains('\n'), "{mismatch}");
    std::fs::write(&chain, "nothing").unwrap();
    let empty = store.reload().unwrap_err().to_string();
    assert!(empty.contains("cert.pem") && !empty.contains('\n'), "{empty}");
    std::fs::remove_file(&key).unwrap();
    std::fs::write(&chain, other.cert.pem()).unwrap();
    assert!(store.reload().unwrap_err().to_string().contains("key.pem"));
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    store.reload().unwrap();
}
