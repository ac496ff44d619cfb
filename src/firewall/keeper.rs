//! Keeps this box's table as the replicated rules say: puts it there, looks at it again and again, heals it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::nft::{self, NftError};
use super::ruleset::{Place, Ruleset};
use super::script::{script, taken_away};
use crate::cluster::replica::Replica;
use crate::mail::ids::Timestamp;
use crate::state::directory::Directory;

/// Between two looks at the table: what somebody changed by hand is seen within it.
const LOOK_EACH_MS: u64 = 5_000;

/// How the box's firewall stands to the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is nothing to keep: no rule, or `firewall.apply` is off.
    Idle,
    InStep,
    /// Somebody changed the table, and it is left so: `firewall.heal` is off.
    Drifted(String),
    /// Why the rules are not in force.
    Unable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    pub since: Timestamp,
    /// How often a changed table was put right, since the node started.
    pub healed: u64,
}

/// Where tables live.
pub trait Tables: Send + Sync + 'static {
    /// The table in the system's words, alike as long as nobody changes it; `None`: there is none.
    fn list(&self, table: &str) -> impl Future<Output = Result<Option<String>, NftError>> + Send;
    fn apply(&self, script: &str) -> impl Future<Output = Result<(), NftError>> + Send;
}

/// Those of the kernel.
struct Kernel;

impl Tables for Kernel {
    async fn list(&self, table: &str) -> Result<Option<String>, NftError> {
        nft::list(table).await
    }

    async fn apply(&self, script: &str) -> Result<(), NftError> {
        nft::apply(script).await
    }
}

/// The keeper, while it runs. What it put in force stays when it is dropped: a box that stops is no more open than before.
pub struct Firewall {
    standing: watch::Receiver<Option<Standing>>,
    task: JoinHandle<()>,
}

impl Firewall {
    pub fn start<R: Replica>(replica: R, place: Place) -> Self {
        Self::start_with(replica, place, Kernel)
    }

    fn start_with<R: Replica, T: Tables>(replica: R, place: Place, tables: T) -> Self {
        let (told, standing) = watch::channel(None);
        let keeper = Keeper { tables, place, held: Held::Unknown, last: None, healed: 0 };
        Self { standing, task: tokio::spawn(keep(keeper, replica, told)) }
    }

    /// Once it is known; until then the rules may not be in force.
    pub async fn first_standing(&self) {
        let _ = self.standing.clone().wait_for(Option::is_some).await;
    }

    /// `None`: the node has just started.
    pub fn standing(&self) -> Option<Standing> {
        self.standing.borrow().clone()
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep<R: Replica, T: Tables>(
    mut keeper: Keeper<T>,
    replica: R,
    told: watch::Sender<Option<Standing>>,
) {
    let mut directory = replica.watch_directory();
    loop {
        let now = Arc::clone(&directory.borrow_and_update());
        let next_look = Instant::now() + Duration::from_millis(LOOK_EACH_MS);
        let state = keeper.pass(&now).await;
        let before = since_before(&told, &state);
        let since = before.unwrap_or_else(|| {
            tell(&state);
            replica.clock().now()
        });
        told.send_replace(Some(Standing { state, since, healed: keeper.healed }));
        // Most of what changes in the directory is no affair of the table's.
        let another_is_wanted = async {
            while directory.changed().await.is_ok() {
                let now = Arc::clone(&directory.borrow_and_update());
                if keeper.wants_another(&now) {
                    return true;
                }
            }
            false
        };
        if timeout_at(next_look, another_is_wanted).await == Ok(false) {
            return;
        }
    }
}

/// Since when it is so already.
fn since_before(told: &watch::Sender<Option<Standing>>, state: &State) -> Option<Timestamp> {
    told.borrow().as_ref().filter(|before| before.state == *state).map(|before| before.since)
}

fn tell(state: &State) {
    match state {
        State::Idle => {}
        State::InStep => info!("firewall: the rules are in force"),
        State::Drifted(why) | State::Unable(why) => warn!("firewall: {why}"),
    }
}

/// What this node knows of its table.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    /// A former life may have left one.
    Unknown,
    Nothing,
    Table {
        /// What made it.
        script: blake3::Hash,
        /// What it looked like then.
        listing: blake3::Hash,
    },
}

struct Keeper<T> {
    tables: T,
    place: Place,
    held: Held,
    /// What was wanted when it was last seen to.
    last: Option<blake3::Hash>,
    healed: u64,
}

fn hash(text: &str) -> blake3::Hash {
    blake3::hash(text.as_bytes())
}

impl<T: Tables> Keeper<T> {
    async fn pass(&mut self, directory: &Directory) -> State {
        let settings = directory.settings();
        let wanted = self.wanted(directory);
        self.last = wanted.as_deref().map(hash);
        let Some(wanted) = wanted else { return self.take_away().await };
        let made_by = hash(&wanted);
        match self.look(made_by).await {
            Ok(Look::InStep) => State::InStep,
            Ok(Look::Other) => self.put(&wanted).await,
            Ok(Look::Changed(how)) if settings.firewall_heal() => {
                warn!("firewall: {how}; put right");
                self.healed += 1;
                self.put(&wanted).await
            }
            Ok(Look::Changed(how)) => State::Drifted(how),
            Err(error) => State::Unable(error.to_string()),
        }
    }

    /// The table's script; `None`: there is to be no table.
    fn wanted(&self, directory: &Directory) -> Option<String> {
        let ruleset = Ruleset::of(directory, &self.place)?;
        directory.settings().firewall_apply().then(|| script(&ruleset, &self.place.table))
    }

    /// Another table than when it was last seen to.
    fn wants_another(&self, directory: &Directory) -> bool {
        self.wanted(directory).as_deref().map(hash) != self.last
    }

    async fn look(&self, made_by: blake3::Hash) -> Result<Look, NftError> {
        let Held::Table { script, listing } = &self.held else { return Ok(Look::Other) };
        if *script != made_by {
            return Ok(Look::Other);
        }
        Ok(match self.tables.list(&self.place.table).await? {
            Some(now) if hash(&now) == *listing => Look::InStep,
            Some(_) => Look::Changed(format!("somebody changed the table {}", self.place.table)),
            None => Look::Changed(format!("somebody took the table {} away", self.place.table)),
        })
    }

    async fn put(&mut self, wanted: &str) -> State {
        let put = async {
            self.tables.apply(wanted).await?;
            self.tables.list(&self.place.table).await
        };
        match put.await {
            Ok(Some(listing)) => {
                self.held = Held::Table { script: hash(wanted), listing: hash(&listing) };
                State::InStep
            }
            Ok(None) => State::Unable(format!("the table {} does not stay", self.place.table)),
            Err(error) => State::Unable(error.to_string()),
        }
    }

    async fn take_away(&mut self) -> State {
        if self.held == Held::Nothing {
            return State::Idle;
        }
        // A node that may not change the firewall has never made a table.
        let kept = match self.tables.list(&self.place.table).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => self.tables.apply(&taken_away(&self.place.table)).await,
            Err(_) if self.held == Held::Unknown => Ok(()),
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => {
                self.held = Held::Nothing;
                State::Idle
            }
            Err(error) => State::Unable(error.to_string()),
        }
    }
}

/// What was seen.
enum Look {
    InStep,
    /// There is to be another table than there was.
    Other,
    Changed(String),
}

#[cfg(test)]
mod tests;
