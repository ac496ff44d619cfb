//! Checks logins: argon2id off the runtime, a bounded cache of verified ones; proofs of SCRAM by the keys that are kept.
//!
//! The only place that builds an [`Authenticated`]. A client learns nothing of why a login failed,
//! and an unknown user costs it as much time as a wrong password. Each login waits for rows that hold all that was
//! acknowledged before, on whichever node: who comes from a node that died finds what it saw there, and what is refused
//! as wrong is refused by what the whole cluster knows. A node that cannot ask goes on with what it has, and says
//! that it does not know ([`LoginRefused::Unsure`]).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::scram::Proof;
use crate::clock::Clock;
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::AccountId;
use crate::meters::{self, METERS};
use crate::state::command::Command;
use crate::state::directory::{Directory, User};
use crate::state::outcome::Outcome;
use crate::state::scram_keys::{NewScramKeys, ScramKeys};
use crate::state::{password, routing};

/// Proof that a client knows an enabled user's password, or is the operator. Built only in this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    account: AccountId,
    name: String,
}

impl Authenticated {
    pub fn account(&self) -> AccountId {
        self.account
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// For transcripts against pure machines, which have nobody to check a login.
    #[cfg(test)]
    pub fn unchecked(account: AccountId, name: &str) -> Self {
        Self { account, name: name.to_owned() }
    }
}

/// What a client claims, and by what.
#[derive(Debug)]
pub enum Claim {
    Password(Credentials),
    Proof(Box<Proof>),
    /// The operator, on a socket that nobody else can open, acts for this user.
    External(String),
}

impl Claim {
    /// A user name or a full address.
    pub fn login(&self) -> &str {
        match self {
            Claim::Password(credentials) => &credentials.login,
            Claim::Proof(proof) => proof.login(),
            Claim::External(name) => name,
        }
    }
}

/// What a SCRAM exchange goes on with. Whoever has no keys, or does not exist, has some that nobody can prove.
#[derive(Debug)]
pub struct Keys {
    pub scram: ScramKeys,
    /// Ours.
    pub nonce: String,
    known: Option<Arc<User>>,
    /// This node's rows were as far as the cluster's.
    is_current: bool,
}

impl Keys {
    /// For exchanges against pure machines, which have nobody to ask.
    #[cfg(test)]
    pub fn unchecked(scram: ScramKeys, nonce: &str) -> Self {
        Self { scram, nonce: nonce.to_owned(), known: None, is_current: true }
    }
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// A user name or a full address, as the client wrote it.
    pub login: String,
    pub password: Vec<u8>,
}

/// Bytes of a login name or a password; longer ones are not looked at.
pub const CREDENTIAL_BYTES_MAX: usize = 1024;

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, …)", self.login)
    }
}

impl Credentials {
    /// RFC 4616 PLAIN: `[authzid] NUL authcid NUL password`. Acting for another is refused.
    pub fn from_plain(message: &[u8]) -> Option<Self> {
        let mut parts = message.splitn(3, |byte| *byte == 0);
        let (authzid, authcid, password) = (parts.next()?, parts.next()?, parts.next()?);
        if !authzid.is_empty() && authzid != authcid {
            return None;
        }
        Self::new(authcid, password)
    }

    /// Refuses what is empty, too long or not UTF-8.
    pub fn new(login: &[u8], password: &[u8]) -> Option<Self> {
        let fits = |part: &[u8]| !part.is_empty() && part.len() <= CREDENTIAL_BYTES_MAX && !part.contains(&0);
        if !fits(login) || !fits(password) {
            return None;
        }
        Some(Self { login: String::from_utf8(login.to_vec()).ok()?, password: password.to_vec() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// Unknown, disabled or a wrong password: 535 5.7.8, `NO [AUTHENTICATIONFAILED]`, `-ERR [AUTH]`.
    #[error("the login is not valid")]
    Wrong,
    /// Too many checks are waiting: 454 4.7.0, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`.
    #[error("too many logins are being checked")]
    Busy,
    /// Wrong by what this node knows, which may be old: it cannot ask the cluster. The same replies; counts as wrong.
    #[error("the login is not valid here, and the cluster cannot be asked")]
    Unsure,
}

#[derive(Debug, Clone, Copy)]
pub struct LoginBounds {
    /// argon2id checks at a time: each takes a core and the memory its parameters ask for.
    pub checks_at_once_max: usize,
    /// A login waits no longer than this for its turn, then hears Busy.
    pub wait_ms_max: u64,
    /// A refused login hears of it this much later.
    pub refusal_delay_ms: u64,
    pub remembered_max: usize,
    /// A login waits no longer than this for rows that are current; a fail-over fits in.
    pub barrier_ms_max: u64,
    /// And no longer than this where the one before waited in vain: within a cut, people read what there is.
    pub barrier_cut_off_ms_max: u64,
}

/// Octets of our nonces, before base64.
const NONCE_BYTES: usize = 18;

impl Default for LoginBounds {
    fn default() -> Self {
        let checks_at_once_max = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        Self {
            checks_at_once_max,
            wait_ms_max: 20_000,
            refusal_delay_ms: 1_000,
            remembered_max: 10_000,
            barrier_ms_max: 3_000,
            barrier_cut_off_ms_max: 250,
        }
    }
}

/// A login as long as its session lives.
pub struct Standing {
    directory: watch::Receiver<Arc<Directory>>,
    who: Authenticated,
}

impl Standing {
    /// True while the user is enabled, and the same account.
    pub fn is_valid(&mut self) -> bool {
        let directory = self.directory.borrow_and_update();
        directory
            .users
            .get(&self.who.name)
            .is_some_and(|user| user.enabled && user.account == self.who.account)
    }

    /// Resolves when the login is valid no longer. Cancel-safe.
    pub async fn ended(&mut self) {
        while self.is_valid() {
            if self.directory.changed().await.is_err() {
                // The node stops, and says so itself.
                return std::future::pending().await;
            }
        }
    }
}

/// What logins want of a replica, whichever it is.
trait Cluster: Send + Sync {
    fn refresh(&self) -> Wish<'_, ()>;
    fn propose(&self, command: Command) -> Wish<'_, Outcome>;
}

type Wish<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

impl<R: Replica> Cluster for R {
    fn refresh(&self) -> Wish<'_, ()> {
        Box::pin(Replica::refresh(self))
    }

    fn propose(&self, command: Command) -> Wish<'_, Outcome> {
        Box::pin(Replica::propose(self, command))
    }
}

/// Checks logins for every protocol of this node.
pub struct Logins {
    cluster: Arc<dyn Cluster>,
    clock: Clock,
    directory: watch::Receiver<Arc<Directory>>,
    checks: Arc<Semaphore>,
    bounds: LoginBounds,
    /// Drawn anew by each process: what is remembered means nothing elsewhere.
    key: [u8; 32],
    /// Login name to [`Logins::mark`] of the password that was right last.
    remembered: Mutex<HashMap<String, [u8; 32]>>,
    /// What an unknown user's password is checked against, so that it takes as long.
    stand_in_phc: Arc<std::sync::OnceLock<String>>,
    /// One user at a time gets the SCRAM keys that were wanting.
    completing: Arc<Semaphore>,
    /// The last login waited in vain for rows that are current.
    cut_off: AtomicBool,
}

impl Logins {
    pub fn new<R: Replica>(replica: R, bounds: LoginBounds) -> Self {
        let mut key = [0; 32];
        let clock = replica.clock().clone();
        clock.fill(&mut key);
        Self {
            directory: replica.watch_directory(),
            cluster: Arc::new(replica),
            clock,
            checks: Arc::new(Semaphore::new(bounds.checks_at_once_max)),
            bounds,
            key,
            remembered: Mutex::new(HashMap::new()),
            stand_in_phc: Arc::default(),
            completing: Arc::new(Semaphore::new(1)),
            cut_off: AtomicBool::new(false),
        }
    }

    /// Waits for its turn on the blocking threads. Whoever is refused hears of it by [`Logins::refuse`].
    pub async fn judge(&self, claim: &Claim) -> Result<Authenticated, LoginRefused> {
        let verdict = match claim {
            Claim::Password(credentials) => self.check_password(credentials).await,
            Claim::Proof(proof) => self.check_proof(proof),
            Claim::External(name) => self.check_name(name).await,
        };
        let counted = match &verdict {
            Ok(_) => meters::Login::Accepted,
            Err(LoginRefused::Wrong) => meters::Login::Refused,
            Err(LoginRefused::Busy | LoginRefused::Unsure) => meters::Login::Unchecked,
        };
        METERS.logins.of(counted).one();
        verdict
    }

    /// After the delay.
    pub async fn refuse(&self, refused: LoginRefused) -> Result<Authenticated, LoginRefused> {
        tokio::time::sleep(Duration::from_millis(self.bounds.refusal_delay_ms)).await;
        Err(refused)
    }

    /// Of a client that nobody watches.
    #[cfg(test)]
    pub async fn check(&self, claim: &Claim) -> Result<Authenticated, LoginRefused> {
        super::watched::Watched::default().check(self, claim).await
    }

    /// A user that was added, or given another password, a moment ago or beyond a cut is not told that there is no such
    /// login.
    async fn check_password(&self, claimed: &Credentials) -> Result<Authenticated, LoginRefused> {
        let is_current = self.catch_up().await;
        match self.verify(self.find(&claimed.login), &claimed.password).await {
            Err(LoginRefused::Wrong) if !is_current => Err(LoginRefused::Unsure),
            verdict => verdict,
        }
    }

    /// Whether this node's rows now hold all that was acknowledged before the call.
    async fn catch_up(&self) -> bool {
        let wait_ms = match self.cut_off.load(Ordering::Relaxed) {
            true => self.bounds.barrier_cut_off_ms_max,
            false => self.bounds.barrier_ms_max,
        };
        let refreshed = timeout(Duration::from_millis(wait_ms), self.cluster.refresh()).await;
        let is_current = matches!(refreshed, Ok(Ok(())));
        self.cut_off.store(!is_current, Ordering::Relaxed);
        is_current
    }

    fn find(&self, login: &str) -> Option<Arc<User>> {
        routing::login(&self.directory.borrow(), login).cloned()
    }

    /// For everyone by the same rows: who is known must not be served sooner.
    pub async fn keys(&self, login: &str) -> Keys {
        let is_current = self.catch_up().await;
        let directory = self.directory.borrow();
        let known = routing::login(&directory, login).filter(|user| user.scram.is_some()).cloned();
        let scram = match known.as_ref().and_then(|user| user.scram.clone()) {
            Some(keys) => keys,
            None => {
                // As long as nobody has keys, nobody can be told from anybody.
                let secret = directory.stand_in_secret.unwrap_or(self.key);
                ScramKeys::stand_in(&secret, &routing::login_name(&directory, login))
            }
        };
        let mut nonce = [0; NONCE_BYTES];
        self.clock.fill(&mut nonce);
        Keys { scram, nonce: STANDARD_NO_PAD.encode(nonce), known, is_current }
    }

    /// The keys may have been changed, and the user disabled, since the exchange began.
    fn check_proof(&self, proof: &Proof) -> Result<Authenticated, LoginRefused> {
        let keys = proof.keys();
        let known = keys.known.as_ref().filter(|_| proof.is_right());
        let now = known.and_then(|user| self.directory.borrow().users.get(&user.name).cloned());
        match (known, now) {
            (Some(then), Some(now))
                if now.enabled && now.account == then.account && now.scram == then.scram =>
            {
                Ok(Authenticated { account: now.account, name: now.name.clone() })
            }
            _ if keys.is_current => Err(LoginRefused::Wrong),
            _ => Err(LoginRefused::Unsure),
        }
    }

    async fn check_name(&self, name: &str) -> Result<Authenticated, LoginRefused> {
        let is_current = self.catch_up().await;
        match self.find(name).filter(|user| user.enabled) {
            Some(user) => Ok(Authenticated { account: user.account, name: user.name.clone() }),
            None if is_current => Err(LoginRefused::Wrong),
            None => Err(LoginRefused::Unsure),
        }
    }

    /// What a session that lives on keeps an eye on.
    pub fn standing(&self, who: &Authenticated) -> Standing {
        Standing { directory: self.directory.clone(), who: who.clone() }
    }

    async fn verify(&self, found: Option<Arc<User>>, password: &[u8]) -> Result<Authenticated, LoginRefused> {
        let mark = found.as_deref().map(|user| self.mark(user, password));
        if let (Some(user), Some(mark)) = (found.as_deref(), &mark)
            && user.enabled
            && self.remembers(&user.name, mark)
        {
            return Ok(Authenticated { account: user.account, name: user.name.clone() });
        }
        let phc = found.as_deref().map(|user| user.password_phc.clone());
        let right = self.argon2_verify(phc, password.to_vec()).await?;
        match (found, mark) {
            (Some(user), Some(mark)) if right && user.enabled => {
                self.remember(&user.name, mark);
                self.complete(&user, password);
                Ok(Authenticated { account: user.account, name: user.name.clone() })
            }
            _ => Err(LoginRefused::Wrong),
        }
    }

    /// A user whose password was set without SCRAM keys gets them now, the one moment when it is here in the clear.
    /// Beside the login, which does not wait for it; a password that is changed meanwhile keeps its own.
    fn complete(&self, user: &User, password: &[u8]) {
        if user.scram.is_some() || !self.directory.borrow().settings().auth_scram() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.completing).try_acquire_owned() else { return };
        let (name, password_phc, password) =
            (user.name.clone(), user.password_phc.clone(), password.to_vec());
        let (cluster, clock) = (Arc::clone(&self.cluster), self.clock.clone());
        tokio::spawn(async move {
            let _turn = turn;
            let made =
                tokio::task::spawn_blocking(move || NewScramKeys::of(&password, |octets| clock.fill(octets)))
                    .await;
            let Ok(Some(keys)) = made else { return };
            let keys = Box::new(keys);
            if let Err(fault) = cluster.propose(Command::AddScramKeys { name, password_phc, keys }).await {
                tracing::debug!("SCRAM keys are still to be added: {fault}");
            }
        });
    }

    /// Covers the stored hash too: a changed password makes what is remembered of the old one worthless.
    fn mark(&self, user: &User, password: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [&user.account.0.to_le_bytes()[..], user.password_phc.as_bytes(), password] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    fn remembers(&self, name: &str, mark: &[u8; 32]) -> bool {
        let remembered = self.remembered.lock().expect("no holder of this lock panics");
        remembered.get(name).is_some_and(|known| known.ct_eq(mark).into())
    }

    fn remember(&self, name: &str, mark: [u8; 32]) {
        let mut remembered = self.remembered.lock().expect("no holder of this lock panics");
        if remembered.len() >= self.bounds.remembered_max && !remembered.contains_key(name) {
            // Any one will do: to be forgotten costs one argon2id.
            if let Some(other) = remembered.keys().next().cloned() {
                remembered.remove(&other);
            }
        }
        remembered.insert(name.to_owned(), mark);
    }

    /// The permit goes with the work: a client that hangs up does not free its place early.
    async fn argon2_verify(&self, phc: Option<String>, password: Vec<u8>) -> Result<bool, LoginRefused> {
        let wait = Duration::from_millis(self.bounds.wait_ms_max);
        let turn = timeout(wait, Arc::clone(&self.checks).acquire_owned()).await;
        let Ok(Ok(permit)) = turn else { return Err(LoginRefused::Busy) };
        let stand_in = Arc::clone(&self.stand_in_phc);
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let known = phc.is_some();
            let phc =
                phc.unwrap_or_else(|| stand_in.get_or_init(|| password::hash(b"nobody", &[0; 16])).clone());
            password::verify(&password, &phc) && known
        });
        checked.await.map_err(|_| LoginRefused::Busy)
    }
}
