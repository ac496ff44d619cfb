//! Starts, stops and asks nodes. Every wait has a deadline and waits for a watch, never for time to pass.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::cluster::bodies::ReplicaSet;
use crate::cluster::config::{ClusterConfig, Retention, Timing, Upkeep};
use crate::cluster::handle::ClusterHandle;
use crate::cluster::local::{DataParts, Metrics};
use crate::cluster::membership::{found, join};
use crate::cluster::replica::Replica;
use crate::cluster::start::Cluster;
use crate::cluster::types::Role;
use crate::mail::ids::NodeId;
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::store::files::DirLock;

/// Longer than any step takes on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How the nodes of one cluster take their time. Patient, unless a test is about haste: others run beside it.
#[derive(Clone, Copy)]
pub struct Pace {
    pub timing: Timing,
    pub retention: Retention,
    pub upkeep: Upkeep,
}

impl Default for Pace {
    fn default() -> Self {
        let (retention, upkeep) = (Retention::default(), Upkeep::default());
        Self { timing: Timing::slow_disk(), retention, upkeep }
    }
}

/// One node: its directory outlives its runs.
pub struct Node {
    _dir: TempDir,
    pub config: ClusterConfig,
    pub running: Option<(Cluster, ClusterHandle)>,
}

impl Node {
    fn new(name: &str, role: Role, pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (control, bulk) = (free_port(), free_port());
        let config = ClusterConfig {
            dir: dir.path().to_owned(),
            name: name.into(),
            role,
            control_listen: control,
            bulk_listen: bulk,
            control_address: control.to_string(),
            bulk_address: bulk.to_string(),
            timing: pace.timing,
            retention: pace.retention,
            upkeep: pace.upkeep,
        };
        Self { _dir: dir, config, running: None }
    }

    pub async fn founder(name: &str, retention: Retention) -> Self {
        Self::founder_with(name, Pace { retention, ..Pace::default() }).await
    }

    pub async fn founder_with(name: &str, pace: Pace) -> Self {
        let node = Self::new(name, Role::Data, pace);
        found(&node.config, &Clock::system()).unwrap();
        node.started().await
    }

    /// Joins through `door` and waits until it votes.
    pub async fn joined(name: &str, role: Role, door: &Node) -> Self {
        let token = door.handle().join_token(role, 60_000).await.unwrap();
        Self::joined_with(name, role, door, &token).await.unwrap()
    }

    pub async fn joined_with(name: &str, role: Role, door: &Node, token: &str) -> Result<Self, String> {
        let ClusterConfig { timing, retention, upkeep, .. } = door.config;
        let node = Self::new(name, role, Pace { timing, retention, upkeep });
        join(&node.config, token, &Clock::system()).await.map_err(|error| error.to_string())?;
        let node = node.started().await;
        let id = node.handle().node().0;
        node.until("it votes", |metrics| metrics.membership_config.voter_ids().any(|voter| voter == id))
            .await;
        Ok(node)
    }

    async fn started(mut self) -> Self {
        self.start().await;
        self
    }

    pub async fn start(&mut self) {
        self.running = Some(Cluster::start(self.config.clone(), Clock::system()).await.unwrap());
    }

    /// A planned stop.
    pub async fn stop(&mut self) {
        let (cluster, handle) = self.running.take().unwrap();
        cluster.shutdown().await;
        drop(handle);
        self.until_gone().await;
    }

    /// A process that ends lets go of its ports and files at once; within this one, tasks and threads that are on
    /// their way out hold them for a moment.
    async fn until_gone(&self) {
        let until = Instant::now() + PATIENCE;
        let folders = ["", "raft", "tables", "bodies"].map(|name| self.config.dir.join(name));
        let held = || {
            let ports = [self.config.control_listen, self.config.bulk_listen];
            let port = ports.iter().find_map(|port| std::net::UdpSocket::bind(port).err());
            let folders = folders.iter().filter(|folder| folder.exists());
            let folder = folders.map(|folder| DirLock::acquire(folder)).find_map(Result::err);
            port.map(|error| error.to_string()).or(folder.map(|error| error.to_string()))
        };
        while let Some(held) = held() {
            assert!(Instant::now() < until, "{} is stopped, and yet: {held}", self.config.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn handle(&self) -> &ClusterHandle {
        &self.running.as_ref().unwrap().1
    }

    /// A crash, as far as one process can play it: nothing is handed over or said.
    pub fn lose(&mut self) {
        drop(self.running.take());
    }

    pub async fn until(&self, what: &str, so: impl Fn(&Metrics) -> bool + Send) {
        let seen = tokio::time::timeout(PATIENCE, self.handle().local.until(so)).await;
        assert_eq!(seen, Ok(true), "waited in vain until {what} on {}", self.config.name);
    }

    pub fn leads(&self) -> bool {
        self.handle().local.leads()
    }

    /// Proposes until it is done: a fail-over may take longer than one proposal may.
    pub async fn add_domain(&self, name: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.handle().propose(Command::AddDomain { name: name.into() }).await {
                Ok(Outcome::Done) => return,
                Ok(Outcome::Refused(refusal)) => panic!("{name}: {refusal}"),
                Ok(other) => panic!("{name}: {other:?}"),
                Err(fault) => assert!(Instant::now() < until, "{name}: {fault}"),
            }
        }
    }

    /// The domains `d{from}.test` and so on, all under way together.
    pub async fn add_domains(&self, from: usize, count: usize) {
        let names: Vec<_> = (from..from + count).map(|at| format!("d{at}.test")).collect();
        futures_util::future::join_all(names.iter().map(|name| self.add_domain(name))).await;
    }

    /// As an operator does, who tries again where the heir was too busy to answer.
    pub async fn hand_over_to(&self, heir: NodeId) {
        let until = Instant::now() + PATIENCE;
        while let Err(refused) = self.handle().transfer(heir).await {
            let silent = refused.to_string().contains("does not answer");
            assert!(silent && Instant::now() < until, "{refused}");
        }
    }

    pub fn log_bytes(&self) -> u64 {
        self.handle().local.log.bytes_on_disk()
    }

    pub async fn until_log_bytes(&self, most: u64) {
        let until = Instant::now() + PATIENCE;
        while self.log_bytes() > most {
            assert!(Instant::now() < until, "the log of {} has {} bytes", self.config.name, self.log_bytes());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn has_domain(&self, name: &str) -> bool {
        self.handle().directory().domains.contains(name)
    }

    pub async fn until_domain(&self, name: &str) {
        let mut directory = self.handle().watch_directory();
        let seen = directory.wait_for(|directory| directory.domains.contains(name));
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(matches!(seen, Ok(Ok(_))), "{name} never came to {}", self.config.name);
    }

    pub async fn until_in_sync(&self, node: NodeId) {
        self.until_set(|set| set.in_sync.contains(&node)).await;
    }

    pub async fn until_set(&self, so: impl Fn(&ReplicaSet) -> bool) {
        let mut set = self.data().feed.replica_set();
        let seen = tokio::time::timeout(PATIENCE, set.wait_for(so)).await.map(|seen| seen.is_ok());
        assert_eq!(seen, Ok(true), "the in-sync set on {} stays {:?}", self.config.name, self.set());
    }

    pub fn set(&self) -> ReplicaSet {
        self.data().feed.replica_set().borrow().clone()
    }

    pub fn data(&self) -> DataParts {
        self.handle().local.data.clone().unwrap()
    }
}

/// A loopback address that belongs to this process alone, so that tests which run side by side never take each
/// other's ports, also not while a node is down.
fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // 127.0.0.x is where everybody else is.
    SocketAddr::from(([127, high | 0x80, middle, low], NEXT.fetch_add(1, Ordering::Relaxed)))
}
