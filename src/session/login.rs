//! Checks logins: argon2id off the runtime, a bounded cache of verified ones.
//!
//! The only place that builds an [`Authenticated`]. A client learns nothing of why a login failed,
//! and an unknown user costs it as much time as a wrong password.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::mail::ids::AccountId;
use crate::state::directory::{Directory, User};
use crate::state::{password, routing};

/// Proof that a client knows an enabled user's password. Built only in this file.
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

/// What a client claims.
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
    /// RFC 4616 PLAIN, in base64: `[authzid] NUL authcid NUL password`. Acting for another is refused.
    pub fn from_sasl_plain(base64: &[u8]) -> Option<Self> {
        let message = STANDARD.decode(base64).ok()?;
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
}

impl Default for LoginBounds {
    fn default() -> Self {
        let checks_at_once_max = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        Self { checks_at_once_max, wait_ms_max: 20_000, refusal_delay_ms: 1_000, remembered_max: 10_000 }
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

/// Checks logins for every protocol of this node.
pub struct Logins {
    directory: watch::Receiver<Arc<Directory>>,
    checks: Arc<Semaphore>,
    bounds: LoginBounds,
    /// Drawn anew by each process: what is remembered means nothing elsewhere.
    key: [u8; 32],
    /// Login name to [`Logins::mark`] of the password that was right last.
    remembered: Mutex<HashMap<String, [u8; 32]>>,
    /// What an unknown user's password is checked against, so that it takes as long.
    stand_in_phc: Arc<std::sync::OnceLock<String>>,
}

impl Logins {
    pub fn new(directory: watch::Receiver<Arc<Directory>>, clock: &Clock, bounds: LoginBounds) -> Self {
        let mut key = [0; 32];
        clock.fill(&mut key);
        Self {
            directory,
            checks: Arc::new(Semaphore::new(bounds.checks_at_once_max)),
            bounds,
            key,
            remembered: Mutex::new(HashMap::new()),
            stand_in_phc: Arc::default(),
        }
    }

    /// Waits for its turn on the blocking threads, and after a refusal for the delay.
    pub async fn check(&self, credentials: &Credentials) -> Result<Authenticated, LoginRefused> {
        let found = {
            let directory = self.directory.borrow();
            routing::login(&directory, &credentials.login).cloned()
        };
        let verdict = self.verify(found, &credentials.password).await;
        if verdict.is_err() {
            tokio::time::sleep(Duration::from_millis(self.bounds.refusal_delay_ms)).await;
        }
        verdict
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
                Ok(Authenticated { account: user.account, name: user.name.clone() })
            }
            _ => Err(LoginRefused::Wrong),
        }
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
