//! Makes faults happen, and unhappen.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{ACKED_MEANWHILE, Fault, Figures, SMALL, SlowLinks, Step, Target, hold, is_data};
use crate::clients::Door;
use crate::clock::set_clock;
use crate::cluster::Cluster;
use crate::disk::{Calls, DiskFault, EIO, Effect};
use crate::history::Recorder;
use crate::node::binary;
use crate::wait::eventually;

pub struct Striker<'a> {
    cluster: &'a mut Cluster,
    doors: Vec<Door>,
    recorder: &'a Recorder,
    /// The last release, where it could be built; else a downgrade is a start anew.
    released: Option<PathBuf>,
}

/// What undoes a fault.
enum Cure {
    Start(Vec<usize>),
    Resume(usize),
    Network,
    Links(SlowLinks),
    Space(PathBuf),
    Clock(usize),
    Disk(usize),
    Undrain(usize),
    Upgrade(usize),
    None,
}

impl<'a> Striker<'a> {
    pub fn new(
        cluster: &'a mut Cluster,
        doors: Vec<Door>,
        recorder: &'a Recorder,
        released: Option<PathBuf>,
    ) -> Self {
        Self { cluster, doors, recorder, released }
    }

    /// Strikes, holds, heals, and waits until the cluster is whole.
    pub fn step(&mut self, step: &Step, figures: &mut Figures) {
        let leader = self.cluster.leader();
        let acked = self.recorder.acked();
        let mut cures = Vec::new();
        for fault in &step.faults {
            self.recorder.note(&format!("{fault:?}, node{} leads", leader + 1));
            eprintln!("{:9.3} {fault:?}, node{} leads", self.recorder.now_us() as f64 / 1e6, leader + 1);
            let at_us = self.recorder.now_us();
            cures.push(self.strike(*fault, leader));
            if step.faults.len() == 1 && fault.takes_the_leader() {
                let leader = self.cluster.nodes[leader].name.clone();
                figures.lost_leader(leader, (at_us, self.recorder.now_us()));
            }
            figures.struck(*fault);
        }
        hold(step.hold_ms);
        if step.must_serve() {
            self.wait_until_acked(acked + ACKED_MEANWHILE, &format!("while {:?} holds", step.faults));
        }
        self.recorder.note("heals");
        cures.into_iter().rev().for_each(|cure| self.heal(cure));
        self.wait_until_whole(step);
    }

    /// As an operator does, or systemd: starts what has ended by itself, until the cluster is protected.
    fn wait_until_whole(&mut self, step: &Step) {
        let may_end = step.faults.iter().any(Fault::may_end_a_process);
        eventually(&format!("the cluster is whole after {:?}", step.faults), || {
            for at in 0..self.cluster.nodes.len() {
                if !self.cluster.nodes[at].is_running() {
                    let said = self.cluster.nodes[at].said();
                    let last = said.lines().last().unwrap_or_default();
                    let name = &self.cluster.nodes[at].name;
                    assert!(may_end, "{name} ended by itself: {last}");
                    self.recorder.note(&format!("{name} has ended by itself: {last}"));
                    self.start(at);
                }
            }
            self.cluster.is_protected().then_some(())
        });
    }

    pub fn wait_for_acks(&self, count: usize) {
        self.wait_until_acked(self.recorder.acked() + count, "on a whole cluster");
    }

    fn wait_until_acked(&self, target: usize, when: &str) {
        eventually(&format!("writes are acknowledged {when}"), || {
            (self.recorder.acked() >= target).then_some(())
        });
    }

    fn strike(&mut self, fault: Fault, leader: usize) -> Cure {
        let at = |target: Target| match target {
            Target::Leader => leader,
            Target::Follower => 1 - leader,
            Target::Witness => 2,
        };
        match fault {
            Fault::Kill(target) => {
                self.kill(at(target));
                Cure::Start(vec![at(target)])
            }
            Fault::KillAll => {
                (0..self.cluster.nodes.len()).for_each(|at| self.kill(at));
                Cure::Start((0..self.cluster.nodes.len()).collect())
            }
            Fault::Stop(target) => {
                self.cluster.nodes[at(target)].stop();
                Cure::Start(vec![at(target)])
            }
            Fault::Pause(target) => {
                self.cluster.nodes[at(target)].pause();
                Cure::Resume(at(target))
            }
            Fault::Cut(one, other) => {
                let (one, other) = (self.address(at(one)), self.address(at(other)));
                self.cluster.lab.cut(&one, &other);
                Cure::Network
            }
            Fault::CutOneWay(from, to) => {
                let (from, to) = (self.address(at(from)), self.address(at(to)));
                self.cluster.lab.cut_one_way(&from, &to);
                Cure::Network
            }
            Fault::Isolate(target) => {
                let alone = self.address(at(target));
                for other in (0..self.cluster.nodes.len()).filter(|other| *other != at(target)) {
                    let other = self.address(other);
                    self.cluster.lab.cut(&alone, &other);
                }
                Cure::Network
            }
            Fault::Loss { percent } => {
                self.cluster.lab.lose(percent);
                Cure::Network
            }
            Fault::Slow { between: (one, other), delay_ms } => {
                let pair = [at(one), at(other)].map(|at| self.cluster.nodes[at].address);
                Cure::Links(SlowLinks::between(&mut self.cluster.lab, pair, delay_ms))
            }
            Fault::DiskFull => {
                let small = self.cluster.nodes.iter().find(|node| node.name == SMALL);
                let filler = small.expect("there is one").dir.join("filler");
                fill(&filler);
                Cure::Space(filler)
            }
            Fault::Transfer => {
                self.transfer(at(Target::Follower));
                Cure::None
            }
            Fault::Clock { target, seconds } => {
                set_clock(&self.cluster.nodes[at(target)].dir, i64::from(seconds));
                Cure::Clock(at(target))
            }
            Fault::SlowSync { target, delay_ms } => {
                self.spoil(at(target), DiskFault::every(Calls::SYNC, Effect::SlowMs(delay_ms.into())))
            }
            Fault::HungDisk(target) => {
                self.spoil(at(target), DiskFault::every(Calls::SYNC.and(Calls::WRITE), Effect::Hang))
            }
            Fault::FailingSync(target) => {
                self.spoil(at(target), DiskFault::every(Calls::SYNC, Effect::Fail(EIO)))
            }
            Fault::FailingWrite(target) => {
                self.spoil(at(target), DiskFault::every(Calls::WRITE, Effect::Fail(EIO)))
            }
            Fault::FailingRead { target, percent } => {
                let fault = DiskFault::within(Calls::READ, Effect::Fail(EIO), "bodies/");
                let (per_million, seed) = (u32::from(percent) * 10_000, u64::from(percent));
                self.spoil(at(target), DiskFault { per_million, seed, ..fault })
            }
            Fault::Drain(target) => {
                self.tell_of("drain", at(target));
                Cure::Undrain(at(target))
            }
            Fault::Replace(target) => {
                self.replace(at(target));
                Cure::None
            }
            Fault::LoseSurvivor => {
                self.lose_survivor(leader);
                Cure::None
            }
            Fault::TakeOver => {
                self.take_over(leader);
                Cure::Start(vec![1 - leader, 2])
            }
            Fault::Downgrade(target) => {
                let build = self.released.clone().unwrap_or_else(binary);
                self.exchange(at(target), build);
                Cure::Upgrade(at(target))
            }
            Fault::Backup(target) => {
                let folder = backups(self.cluster).display().to_string();
                self.cluster.nodes[at(target)].must(&["backup", "create", &folder], None);
                Cure::None
            }
        }
    }

    fn heal(&mut self, cure: Cure) {
        match cure {
            Cure::Start(which) => which.into_iter().for_each(|at| self.start(at)),
            Cure::Resume(at) => self.cluster.nodes[at].resume(),
            Cure::Network => self.cluster.lab.heal(),
            Cure::Links(links) => links.end(&mut self.cluster.lab),
            Cure::Space(filler) => {
                fs::remove_file(&filler).expect("the filler is ours");
            }
            Cure::Clock(at) => set_clock(&self.cluster.nodes[at].dir, 0),
            Cure::Disk(at) => self.cluster.nodes[at].disk().heal(),
            Cure::Undrain(at) => self.tell_of("undrain", at),
            Cure::Upgrade(at) => self.exchange(at, binary()),
            Cure::None => {}
        }
    }

    /// By the operator's command, on either data node; it may have to be given again while the other one lags.
    fn tell_of(&self, command: &str, at: usize) {
        let name = &self.cluster.nodes[at].name;
        eventually(&format!("{command} {name} is obeyed"), || {
            let output = self.cluster.nodes[1 - at].command(&["cluster", command, name]);
            output.status.success().then_some(())
        });
    }

    /// Also when the process has ended by itself.
    fn kill(&mut self, at: usize) {
        self.cluster.nodes[at].kill();
    }

    /// Unless another cure has started it.
    fn start(&mut self, at: usize) {
        if self.cluster.nodes[at].is_running() {
            return;
        }
        self.kill(at);
        if is_data(&self.cluster.nodes[at]) {
            self.doors[at].begin_life();
        }
        self.cluster.nodes[at].start();
    }

    /// By a planned stop.
    fn exchange(&mut self, at: usize, build: PathBuf) {
        self.cluster.nodes[at].stop();
        self.cluster.nodes[at].build = build;
        self.start(at);
    }

    fn spoil(&self, at: usize, fault: DiskFault<'_>) -> Cure {
        self.cluster.nodes[at].disk().inflict(fault);
        Cure::Disk(at)
    }

    /// Its disk is lost for good: removed by another node's operator, and a new box joins under its name.
    fn replace(&mut self, at: usize) {
        let other = if at == 0 { 1 } else { 0 };
        let id = eventually("the node is a member", || self.cluster.id_of(at)).to_string();
        eventually("the node is removed", || {
            let output = self.cluster.nodes[other].command(&["cluster", "remove", &id]);
            output.status.success().then_some(())
        });
        self.kill(at);
        empty(&self.cluster.nodes[at].dir);
        if is_data(&self.cluster.nodes[at]) {
            self.doors[at].begin_life();
        }
        self.cluster.join_through(other, at, &|_| {});
    }

    /// What was acknowledged by it and the witness alone has its second copy in the witness's journal. Where that cannot be, the
    /// default is to go on with one copy; here two are asked for, or nothing could be promised.
    fn lose_survivor(&mut self, survivor: usize) {
        let back = 1 - survivor;
        self.ask_for_two_copies(survivor, "refuse");
        self.kill(back);
        self.wait_until_acked(self.recorder.acked() + ACKED_MEANWHILE, "by one node and the witness");
        let id = eventually("the node is a member", || self.cluster.id_of(survivor)).to_string();
        self.kill(survivor);
        empty(&self.cluster.nodes[survivor].dir);
        self.start(back);
        // Refused for as long as only the lost one has all bodies.
        eventually("the lost node is removed", || {
            let output = self.cluster.nodes[back].command(&["cluster", "remove", &id]);
            output.status.success().then_some(())
        });
        self.doors[survivor].begin_life();
        self.cluster.join_through(back, survivor, &|_| {});
        self.ask_for_two_copies(back, "allow");
    }

    /// It leads, so that it has all that was acknowledged; by itself it is no majority. The others have nothing of their own, and
    /// follow it when they come back.
    fn take_over(&mut self, stays: usize) {
        self.kill(1 - stays);
        self.kill(2);
        self.kill(stays);
        let output = self.cluster.nodes[stays].offline(&["cluster", "takeover", "--fenced"]);
        assert!(output.status.success(), "takeover: {}", String::from_utf8_lossy(&output.stderr));
        self.start(stays);
    }

    fn ask_for_two_copies(&self, at: usize, word: &str) {
        eventually("the policy is set", || {
            let output = self.cluster.nodes[at].command(&["policy", "set", "cluster.degraded_ack", word]);
            output.status.success().then_some(())
        });
    }

    fn address(&self, at: usize) -> String {
        self.cluster.nodes[at].address.to_string()
    }

    /// By the operator's command, which may have to be given again while the follower lags.
    fn transfer(&mut self, to: usize) {
        let cluster = &*self.cluster;
        eventually("leadership is handed over", || {
            let id = cluster.id_of(to)?;
            let output = cluster.nodes[to].command(&["cluster", "transfer", &id.to_string()]);
            output.status.success().then_some(())
        });
    }
}

/// Where they go, if any is made.
pub fn backups(cluster: &Cluster) -> PathBuf {
    cluster.home().join("backups")
}

/// The folder itself may be where a disk is mounted.
fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("the folder is ours");
    }
}

/// Writes until the disk refuses.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("there is room for a name");
    let block = vec![0x55; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..512]).is_ok() {}
}
