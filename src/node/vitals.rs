//! How this node is, for machines that watch over it: figures, health, readiness.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::SharedServices;
use crate::admin::metrics::{Figures, Health, ProcessFigures, QueueFigures, Readiness, Vitals};
use crate::certificate::read::Validity;
use crate::clock::Clock;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::Replica;
use crate::config::{Config, Role};
use crate::mail::ids::Timestamp;
use crate::meters::{METERS, TimesSeen};
use crate::session::tls::TlsStore;
use crate::state::alarms::alarms;
use crate::state::queue::reading;
use crate::store::files::{self, Space};

/// How long the disk may take to say how full it is.
const DISK_ANSWERS_MAX: Duration = Duration::from_secs(2);
/// Looks over which the mean of syncs is taken: a minute.
const LOOKS: usize = 30;
/// A node further behind than this many entries shows clients too much of the past.
pub const READY_LAG_ENTRIES_MAX: u64 = 1_000;

#[derive(Clone)]
pub struct NodeVitals {
    cluster: ClusterHandle,
    services: SharedServices,
    /// Of the mail services.
    tls: Option<Arc<TlsStore>>,
    name: String,
    role: Role,
    dir: PathBuf,
    started: Timestamp,
}

impl NodeVitals {
    pub fn new(
        config: &Config,
        cluster: ClusterHandle,
        services: SharedServices,
        tls: Option<Arc<TlsStore>>,
    ) -> Self {
        let started = cluster.clock().now();
        let (name, dir) = (config.name.clone(), config.dir.clone());
        Self { cluster, services, tls, name, role: config.role, dir, started }
    }

    pub async fn disk(&self) -> Result<Space, String> {
        disk(&self.dir).await
    }

    pub async fn queue(&self) -> Option<QueueFigures> {
        let read = self.cluster.read_queue(|rows| {
            let counts = reading::counts(rows)?;
            // Ids ascend in time.
            let oldest = reading::mails(rows, None, 1)?.pop().map(|(_, mail)| mail.queued_at);
            Ok(QueueFigures { mails: counts.messages.into(), leases: counts.leases.into(), oldest })
        });
        read.await.ok()
    }

    /// Of the mail services' certificate.
    pub fn validity(&self) -> Option<Validity> {
        self.tls.as_ref()?.validity()
    }
}

/// How full the disk under a node's folder is. One that hangs keeps a thread, so that whoever asks must give up by himself.
pub async fn disk(dir: &Path) -> Result<Space, String> {
    let asked = dir.to_owned();
    let asked = tokio::task::spawn_blocking(move || files::space(&asked));
    let silent = |why: String| Err(format!("the disk under {} does not answer{why}", dir.display()));
    match tokio::time::timeout(DISK_ANSWERS_MAX, asked).await {
        Ok(Ok(Ok(space))) => Ok(space),
        Ok(Ok(Err(error))) => silent(format!(": {error}")),
        Ok(Err(_)) => Err("the node stops".to_owned()),
        Err(_) => silent(format!(" for {} s", DISK_ANSWERS_MAX.as_secs())),
    }
}

/// What syncs of log and bodies took of late, by looks that are taken every other second.
#[derive(Debug, Default)]
pub struct RecentSyncs {
    /// The oldest first.
    looks: VecDeque<[TimesSeen; 2]>,
}

impl RecentSyncs {
    /// The slower of log and bodies, in the mean.
    pub fn look(&mut self) -> Option<u64> {
        let now = [METERS.log_syncs.seen(), METERS.body_syncs.seen()];
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(now);
        let before = self.looks.front()?;
        now.iter().zip(before).filter_map(|(now, before)| now.mean_ms_since(before)).max()
    }
}

impl Vitals for NodeVitals {
    async fn figures(&self) -> Figures {
        let started = self.started;
        let process = tokio::task::spawn_blocking(move || ProcessFigures::read(started));
        let raised = self.cluster.read_queue(alarms);
        let (queue, alarms, disk, process) = tokio::join!(self.queue(), raised, self.disk(), process);
        Figures {
            node: self.name.clone(),
            role: self.role.word(),
            version: env!("CARGO_PKG_VERSION"),
            cluster: self.cluster.figures(),
            queue,
            alarms: alarms.ok().map(|raised| raised.iter().map(|alarm| alarm.id.kind).collect()),
            disk: disk.ok(),
            process: process.unwrap_or_default(),
            certificate_ends: self.validity().map(|validity| validity.ends),
        }
    }

    async fn health(&self) -> Health {
        let (alive, disk) = tokio::join!(self.cluster.is_alive(), self.disk());
        Health::of(alive.err().into_iter().chain(disk.err()).collect())
    }

    async fn readiness(&self) -> Readiness {
        let status = self.cluster.status_without_services().await;
        let mut because = Vec::new();
        if status.leader.is_none() {
            because.push(status.because.unwrap_or_else(|| "no node leads".to_owned()));
        }
        match status.nodes.iter().find(|node| node.id == status.node) {
            Some(own) if own.lag_entries > READY_LAG_ENTRIES_MAX => {
                because.push(format!("{} entries are still to be applied here", own.lag_entries));
            }
            Some(_) => {}
            None => because.push("this node is no member".to_owned()),
        }
        if self.role == Role::Data {
            because.extend(self.services.unready());
        }
        Readiness::of(because)
    }

    fn clock(&self) -> &Clock {
        self.cluster.clock()
    }
}
