//! Makes faults happen, and unhappen.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{ACKED_BETWEEN, ACKED_MEANWHILE, Fault, Figures, SMALL, SlowLinks, Step, Target, hold, is_data};
use crate::clients::Door;
use crate::clock::set_clock;
use crate::cluster::Cluster;
use crate::disk::{Calls, DiskFault, EIO, Effect};
use crate::history::Recorder;
use crate::node::binary;
use crate::wait::eventually;

pub struct Striker<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) doors: Vec<Door>,
    pub(super) recorder: &'a Recorder,
    /// The last release, where it could be built and the upgrade from it is not finalised; else a downgrade is a start anew.
    pub(super) released: Option<PathBuf>,
    pub(super) is_final: bool,
    /// Whether a process may have ended by itself since the cluster was whole.
    may_have_ended: bool,
    /// How often a box was replaced.
    pub(super) replaced: usize,
    /// How often mail was taken out of a backup.
    pub(super) restored: usize,
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
    Ports(usize),
    None,
}

impl<'a> Striker<'a> {
    pub fn new(
        cluster: &'a mut Cluster,
        doors: Vec<Door>,
        recorder: &'a Recorder,
        released: Option<PathBuf>,
    ) -> Self {
        let (is_final, may_have_ended, replaced, restored) = (false, false, 0, 0);
        Self { cluster, doors, recorder, released, is_final, may_have_ended, replaced, restored }
    }

    /// Strikes, holds and heals.
    pub fn step(&mut self, step: &Step, figures: &mut Figures) {
        let leader = eventually("a data node leads", || {
            self.start_the_ended();
            self.cluster.leads()
        });
        let acked = self.recorder.acked();
        let mut cures = Vec::new();
        self.may_have_ended |= step.faults.iter().any(Fault::may_end_a_process);
        for fault in &step.faults {
            self.recorder.note(&format!("{fault:?}, node{} leads", leader + 1));
            eprintln!("{:9.3} {fault:?}, node{} leads", self.recorder.now_us() as f64 / 1e6, leader + 1);
            let at_us = self.recorder.now_us();
            cures.push(self.strike(*fault, leader));
            if step.must_serve() && fault.takes_the_leader() {
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
    }

    /// Until the cluster is protected, and acknowledges.
    pub fn rest(&mut self, after: &Step) {
        eventually(&format!("the cluster is whole after {:?}", after.faults), || {
            self.start_the_ended();
            self.cluster.is_protected().then_some(())
        });
        self.may_have_ended = false;
        self.wait_for_acks(ACKED_BETWEEN);
    }

    /// As an operator does, or systemd.
    fn start_the_ended(&mut self) {
        for at in 0..self.cluster.nodes.len() {
            if !self.cluster.nodes[at].is_running() {
                let said = self.cluster.nodes[at].said();
                let last = said.lines().last().unwrap_or_default();
                let name = &self.cluster.nodes[at].name;
                assert!(self.may_have_ended, "{name} ended by itself: {last}");
                self.recorder.note(&format!("{name} has ended by itself: {last}"));
                self.start(at);
            }
        }
    }

    pub fn wait_for_acks(&self, count: usize) {
        self.wait_until_acked(self.recorder.acked() + count, "on a whole cluster");
    }

    pub(super) fn wait_until_acked(&self, target: usize, when: &str) {
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
                self.back_up(at(target));
                Cure::None
            }
            Fault::Restore(target) => {
                self.restore(at(target));
                Cure::None
            }
            Fault::Certificate(target) => {
                self.give_certificate(at(target));
                Cure::None
            }
            Fault::Ports(target) => {
                self.move_port(at(target));
                Cure::Ports(at(target))
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
            Cure::Ports(at) => self.move_port_back(at),
            Cure::None => {}
        }
    }

    /// Also when the process has ended by itself.
    pub(super) fn kill(&mut self, at: usize) {
        self.cluster.nodes[at].kill();
    }

    /// Unless another cure has started it.
    pub(super) fn start(&mut self, at: usize) {
        if self.cluster.nodes[at].is_running() {
            return;
        }
        self.kill(at);
        if is_data(&self.cluster.nodes[at]) {
            self.doors[at].begin_life();
        }
        self.cluster.nodes[at].start();
    }

    fn spoil(&self, at: usize, fault: DiskFault<'_>) -> Cure {
        self.cluster.nodes[at].disk().inflict(fault);
        Cure::Disk(at)
    }

    fn address(&self, at: usize) -> String {
        self.cluster.nodes[at].address.to_string()
    }
}

/// Writes until the disk refuses.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("there is room for a name");
    let block = vec![0x55; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..512]).is_ok() {}
}
