//! A replica in memory with one user, and the proof of her login.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pollux::clock::Clock;
use pollux::cluster::memory::MemoryReplica;
use pollux::mail::ids::{AccountId, Timestamp};
use pollux::session::login::{Authenticated, Claim, Credentials, Keys, LoginBounds, LoginRefused, Logins};
use pollux::state::command::{Command, Deliver, DeliverTo, NewUser};
use pollux::state::outcome::Outcome;
use pollux::state::password;

/// Little, so that a mailbox copied into itself again and again stays small.
const QUOTA_BYTES: u64 = 60_000;

pub struct House {
    pub replica: MemoryReplica,
    pub account: AccountId,
}

impl House {
    pub fn new() -> Self {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
        let password_phc = known().phc.clone();
        let user = NewUser { name: "alice".into(), password_phc, quota_bytes: Some(QUOTA_BYTES) };
        let added = replica.run(Command::AddUser(user)).expect("the replica is well");
        let Outcome::UserAdded { account } = added else { panic!("{added:?}") };
        Self { replica, account }
    }

    /// As another mail that comes in. False when it is refused (the quota, a mailbox that is no more).
    pub fn deliver(&self, mailbox: &str, raw: &[u8]) -> bool {
        let body = self.replica.put_body(Bytes::copy_from_slice(raw));
        let to = DeliverTo { account: self.account, mailbox: mailbox.into(), flags: Default::default() };
        let outcome = self.replica.run(Command::Deliver(Deliver { body, to: vec![to] }));
        matches!(outcome, Ok(Outcome::Delivered { results }) if results.iter().all(Result::is_ok))
    }
}

struct Known {
    phc: String,
    alice: Authenticated,
    logins: Arc<Logins>,
}

/// Made once: a proof of login can be had of the real thing alone, and argon2id takes its time.
fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let clock = Clock::fixed(Timestamp(1_700_000_000_000));
        let replica = MemoryReplica::new(clock.clone());
        let phc = password::hash(b"secret", b"sixteen bytes...");
        let user = NewUser { name: "alice".into(), password_phc: phc.clone(), quota_bytes: None };
        replica.run(Command::AddUser(user)).expect("the replica is well");
        let logins = Arc::new(Logins::new(replica.clone(), LoginBounds::default()));
        let claim = Claim::Password(Credentials::new(b"alice", b"secret").expect("fits"));
        let alice = block_on(logins.judge(&claim)).expect("the password is hers");
        Known { phc, alice, logins }
    })
}

pub fn logins() -> Arc<Logins> {
    known().logins.clone()
}

/// Who claims to be alice with the password `secret` is; `busy` meets a busy server; nobody else gets in.
pub fn login(claim: &Claim) -> Result<Authenticated, LoginRefused> {
    let Claim::Password(claim) = claim else { return Err(LoginRefused::Wrong) };
    match (claim.login.as_str(), &claim.password[..]) {
        ("alice", b"secret") => Ok(known().alice.clone()),
        ("busy", _) => Err(LoginRefused::Busy),
        _ => Err(LoginRefused::Wrong),
    }
}

/// What SCRAM goes on with. No proof of it is right. The nonce is always the same, so that answers can be compared.
pub fn keys(login: &str) -> Keys {
    let mut keys = block_on(logins().keys(login));
    keys.nonce = "always-the-same".to_owned();
    keys
}

/// Runs what a replica in memory answers at once.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime needs nothing");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}
