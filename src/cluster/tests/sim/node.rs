//! One simulated node: a disk and an address that outlive its processes, and the process that runs, which is the
//! real cluster room from the transport's interface upwards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use openraft::ServerState;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::check::Check;
use super::client;
use super::dice::Dice;
use super::disk::Disk;
use super::ledger::Ledger;
use super::net::Net;
use super::trace::Trace;
use crate::clock::Clock;
use crate::cluster::config::{ClusterConfig, Retention, Timing, Upkeep};
use crate::cluster::feed::Feed;
use crate::cluster::greeting::Greeting;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::lineage::Lineage;
use crate::cluster::local::{Local, peer_address};
use crate::cluster::machine::{Keeping, Watched, WitnessFile};
use crate::cluster::marks::Book;
use crate::cluster::membership::{Admission, Files};
use crate::cluster::network::{RosterEntry, Server};
use crate::cluster::pki::ClusterId;
use crate::cluster::start::{Opened, Parts, assemble, versions};
use crate::cluster::transport::Transport;
use crate::cluster::types::{Member, Role};
use crate::mail::ids::{NodeId, Timestamp};

/// What all nodes of a simulation share.
#[derive(Clone)]
pub struct World {
    pub seed: u64,
    pub net: Net,
    pub trace: Trace,
    pub check: Check,
    pub ledger: Arc<Mutex<Ledger>>,
    pub retention: Retention,
}

pub struct Node {
    pub id: NodeId,
    pub role: Role,
    pub disk: Disk,
    pub clock: Clock,
    /// Its operator has given it up: nobody starts it again.
    pub retired: bool,
    world: World,
    config: ClusterConfig,
    /// Where its box is, as it starts.
    moves: Dice,
    _dir: TempDir,
    running: Option<Running>,
}

/// A process.
struct Running {
    handle: ClusterHandle,
    tasks: Vec<JoinHandle<()>>,
}

/// Some files are real (the members' addresses): in memory where the machine has such a place.
fn scratch() -> TempDir {
    let shm = std::path::Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap()
}

/// The box at a place; whichever node it is just now.
pub fn member(place: usize, role: Role) -> Member {
    Member {
        name: format!("box{place}"),
        role,
        control: format!("box{place}:1"),
        bulk: format!("box{place}:2"),
    }
}

impl Node {
    /// `members`: those that the node knows of when it first starts, itself among them.
    pub fn new(world: &World, id: u64, members: &BTreeMap<u64, Member>) -> Self {
        let dir = scratch();
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let Member { name, role, control, bulk } = members[&id].clone();
        let config = ClusterConfig {
            dir: dir.path().to_owned(),
            name,
            role,
            control_listen: nowhere,
            bulk_listen: nowhere,
            control_address: control,
            bulk_address: bulk,
            timing: Timing::normal(),
            retention: world.retention,
            upkeep: Upkeep::default(),
        };
        let files = Files::new(&config.dir);
        files.create().unwrap();
        let address = |(id, member): (&u64, &Member)| {
            (NodeId(*id), peer_address(&RosterEntry { id: *id, member: member.clone(), voter: true }))
        };
        files.write_peers(&members.iter().map(address).collect()).unwrap();
        let dice = Dice::new(world.seed, &format!("disk {id}"));
        let disk = Disk::new(NodeId(id), dice.clone(), world.check.clone());
        world.check.gave(id);
        world.check.watch(NodeId(id), disk.clone());
        // No two clocks agree.
        let clock = Clock::seeded(Timestamp(1_700_000_000_000 + dice.below(10_000)), dice.roll());
        let moves = Dice::new(world.seed, &format!("address {id}"));
        let (id, world) = (NodeId(id), world.clone());
        Self { id, role, disk, clock, retired: false, world, config, moves, _dir: dir, running: None }
    }

    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    pub fn handle(&self) -> Option<&ClusterHandle> {
        self.running.as_ref().map(|running| &running.handle)
    }

    pub fn local(&self) -> Option<&Arc<Local>> {
        self.handle().map(|handle| &handle.local)
    }

    /// The name of the box, and how it is reached.
    pub fn member(&self) -> Member {
        self.config.member()
    }

    /// Whether this one has the other as a member at the address where it is.
    pub fn knows_as_is(&self, other: &Node) -> bool {
        let entry = self.local().and_then(|local| local.member(other.id));
        entry.is_some_and(|entry| entry.member == other.member())
    }

    pub fn leads(&self) -> bool {
        self.local().is_some_and(|local| local.leads())
    }

    pub async fn start(&mut self) {
        if self.moves.chance(20) {
            self.config.control_address = format!("box{}-{}:1", self.id, self.moves.below(1_000));
        }
        self.world.trace.note(|| format!("{} starts at {}", self.id, self.config.control_address));
        let (log, tables, bodies) = self.disk.open(self.config.upkeep.grace());
        let (feed, news) = Feed::new(None);
        let (keeping, data) = match self.role {
            Role::Data => {
                let keeping = Keeping::Data { tables: tables.clone(), feed: feed.clone() };
                (keeping, Some((tables.clone(), feed, bodies)))
            }
            Role::Witness => {
                (Keeping::Witness(WitnessFile::new(self.config.dir.join("cluster").join("witness"))), None)
            }
        };
        let server = Server::new(self.id, self.role, data.as_ref().map(|_| tables));
        let mut start = [0; 8];
        self.clock.fill(&mut start);
        let book = Arc::new(Book::open(&self.config.dir, log.clone(), u64::from_le_bytes(start)));
        let lineage = Arc::new(Lineage::open(&self.config.dir).expect("nobody damages it here"));
        let greeting = Greeting::new(self.id, log.clone(), book.clone(), lineage.clone());
        let wire = self.world.net.attach(self.id, server.clone(), Arc::new(greeting));
        let parts = Parts {
            node: self.id,
            cluster: ClusterId([7; 16]),
            config: self.config.clone(),
            clock: self.clock.clone(),
            opened: Opened {
                log,
                keeping,
                watched: Watched::default(),
                data,
                journal_key: None,
                journal: None,
                news,
            },
            book,
            lineage,
            transport: Transport::over(wire),
            versions: Arc::new(ArcSwap::from_pointee(versions())),
            server,
            admission: Arc::new(Admission::default()),
        };
        match assemble(parts, &Handle::current()).await {
            Ok((local, mut tasks)) => {
                let handle = ClusterHandle { local: local.clone() };
                tasks.push(tokio::spawn(follow(self.world.clone(), local, self.disk.clone())));
                if self.role == Role::Data {
                    tasks.push(tokio::spawn(client::run(self.world.clone(), handle.clone())));
                }
                self.running = Some(Running { handle, tasks });
            }
            Err(error) => {
                self.world.check.violated(format!("node {} does not start: {error}", self.id));
                self.world.net.detach(self.id);
            }
        }
    }

    /// As kill -9, and as a power cut: nothing is said, and what was not synced may be lost.
    pub fn crash(&mut self) {
        let Some(running) = self.running.take() else { return };
        self.world.trace.note(|| format!("{} crashes", self.id));
        self.world.net.detach(self.id);
        self.disk.crash();
        self.world.check.crashed(self.id);
        running.tasks.iter().for_each(JoinHandle::abort);
        let local = running.handle.local.clone();
        local.stopping.send_replace(true);
        // It reaches neither its disk nor its network; this only ends its timers.
        tokio::spawn(async move { local.raft.shutdown().await });
    }

    /// Whether the process wants to end, and does.
    pub fn ends(&mut self) -> bool {
        let Some(why) = self.local().and_then(|local| local.failure.borrow().clone()) else { return false };
        // Its words name the scratch directory, which differs from run to run.
        self.world.trace.note(|| format!("{} stops by itself", self.id));
        let removed = why.contains("was removed from the cluster") && self.world.check.was_removed(self.id.0);
        if !removed && !why.contains("hangs for") {
            self.world.check.violated(format!("node {} stops: {why}", self.id));
        }
        self.crash();
        true
    }
}

/// Tells the check of each leadership as it begins, and that a witness does not keep one.
async fn follow(world: World, local: Arc<Local>, disk: Disk) {
    let mut led = 0;
    while local.until(|metrics| metrics.state == ServerState::Leader && metrics.current_term > led).await {
        led = local.look(|metrics| metrics.current_term);
        world.check.leads(local.id, led, &disk.log());
    }
}

/// How long a step of the simulation is.
pub const STEP: Duration = Duration::from_millis(50);
