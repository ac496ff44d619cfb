//! What is going to be broken, as data: made from a seed, printed, and run again from either.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A whole run. The same plan breaks the same things in the same order; the cluster's own timing differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub seed: u64,
    pub steps: Vec<Step>,
}

/// Faults that hold at the same time, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub faults: Vec<Fault>,
    /// Milliseconds at least; longer where service must go on and is waited for.
    pub hold_ms: u64,
    /// Strikes as soon as a node leads, before the cluster is whole after the step before.
    #[serde(default)]
    pub early: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// kill -9; started again at the end.
    Kill(Target),
    /// All three at once.
    KillAll,
    /// SIGTERM: the planned stop.
    Stop(Target),
    /// SIGSTOP, SIGCONT.
    Pause(Target),
    /// Nothing passes between these two.
    Cut(Target, Target),
    /// What the first sends does not arrive at the second.
    CutOneWay(Target, Target),
    /// Nothing passes between this one and the others.
    Isolate(Target),
    /// That many in a hundred datagrams between any two nodes are lost.
    Loss { percent: u8 },
    /// Each datagram between these two takes that much longer, either way.
    Slow { between: (Target, Target), delay_ms: u16 },
    /// The disk of the node that has a small one is filled to the last octet.
    DiskFull,
    /// Leadership is handed to the follower.
    Transfer,
    /// The wall clock jumps, and back at the end; time that only ascends is not touched.
    Clock { target: Target, seconds: i32 },
    /// Each sync takes that much longer.
    SlowSync { target: Target, delay_ms: u16 },
    /// Nothing is written or synced any longer, and no call says so.
    HungDisk(Target),
    /// Each sync fails with EIO.
    FailingSync(Target),
    /// Each write fails with EIO.
    FailingWrite(Target),
    /// That many in a hundred reads of message bodies fail with EIO, on a data node.
    FailingRead { target: Target, percent: u8 },
    /// Serves nobody until the end.
    Drain(Target),
    /// Removed from the cluster, its disk emptied, joined anew by a token.
    Replace(Target),
    /// The follower is away while mail is taken; then the leader goes with its disk, for good, and the follower comes back.
    LoseSurvivor,
    /// The follower and the witness are gone; the leader is stopped, told to go on alone, and does until they come back.
    TakeOver,
    /// Goes back to the last release until the end.
    Downgrade(Target),
    /// A backup is made there.
    Backup(Target),
    /// A backup is made there, and a user's mail comes back from it, to another user.
    Restore(Target),
    /// The upgrade is finalised, if it is not yet, and all nodes are given another certificate.
    Certificate(Target),
    /// A service moves to another port, and a rule of the firewall with it, until the end.
    Ports(Target),
}

/// Who it is shows when the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Leader,
    Follower,
    Witness,
}

/// Of datagrams that are lost while operators work, and how much longer those may take that are not.
const MILD_PERCENT_MAX: u8 = 15;
const MILD_MS_MAX: u16 = 20;

pub const KINDS: [&str; 26] = [
    "kill",
    "kill all",
    "stop",
    "pause",
    "cut",
    "cut one way",
    "isolate",
    "loss",
    "slow link",
    "disk full",
    "transfer",
    "clock",
    "slow sync",
    "hung disk",
    "failing sync",
    "failing write",
    "failing read",
    "replace",
    "lose survivor",
    "take over",
    "drain",
    "downgrade",
    "backup",
    "restore",
    "certificate",
    "ports",
];

impl Plan {
    /// `count` steps of one fault each, of every kind as often.
    pub fn single(seed: u64, count: usize) -> Plan {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut kinds: Vec<&str> = Vec::new();
        while kinds.len() < count {
            let mut all = KINDS;
            dice.shuffle(&mut all);
            kinds.extend(all);
        }
        let steps = kinds.into_iter().take(count).map(|kind| Step::new(&[kind], &mut dice)).collect();
        Plan { seed, steps }
    }

    /// The same with every third step of two faults at once, and others that come early: safety is promised, service is not.
    pub fn rough(seed: u64, count: usize) -> Plan {
        let mut plan = Plan::single(seed, count);
        let mut dice = fastrand::Rng::with_seed(seed ^ 0x726f_7567_6800);
        for step in plan.steps.iter_mut().skip(2).step_by(3) {
            let second = fault(KINDS[dice.usize(..KINDS.len())], &mut dice);
            if second.joins(step.faults[0]) {
                step.faults.push(second);
                // What an operator does is done while the other holds.
                step.faults.sort_by_key(|fault| fault.is_planned());
            }
        }
        for at in (1..plan.steps.len()).step_by(3) {
            let [before, step] = &mut plan.steps[at - 1..=at] else { unreachable!("a pair") };
            step.early = before.faults.iter().chain(&step.faults).all(|fault| !fault.is_alone());
        }
        plan
    }
}

impl Step {
    fn new(kinds: &[&str], dice: &mut fastrand::Rng) -> Step {
        let faults: Vec<Fault> = kinds.iter().map(|kind| fault(kind, dice)).collect();
        // Now and then longer than a proposal is tried (10 s), so that clients are refused.
        let hold_ms = if dice.u8(..8) == 0 { 12_000 } else { dice.u64(200..3_000) };
        Step { faults, hold_ms, early: false }
    }

    /// Whether acknowledgements must go on meanwhile (design 1.3: while a majority lives).
    pub fn must_serve(&self) -> bool {
        !self.early
            && matches!(self.faults.as_slice(), [fault] if !matches!(fault, Fault::KillAll | Fault::Loss { .. }))
    }
}

impl Fault {
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill(_) => "kill",
            Fault::KillAll => "kill all",
            Fault::Stop(_) => "stop",
            Fault::Pause(_) => "pause",
            Fault::Cut(..) => "cut",
            Fault::CutOneWay(..) => "cut one way",
            Fault::Isolate(_) => "isolate",
            Fault::Loss { .. } => "loss",
            Fault::Slow { .. } => "slow link",
            Fault::DiskFull => "disk full",
            Fault::Transfer => "transfer",
            Fault::Clock { .. } => "clock",
            Fault::SlowSync { .. } => "slow sync",
            Fault::HungDisk(_) => "hung disk",
            Fault::FailingSync(_) => "failing sync",
            Fault::FailingWrite(_) => "failing write",
            Fault::FailingRead { .. } => "failing read",
            Fault::Replace(_) => "replace",
            Fault::LoseSurvivor => "lose survivor",
            Fault::TakeOver => "take over",
            Fault::Drain(_) => "drain",
            Fault::Downgrade(_) => "downgrade",
            Fault::Backup(_) => "backup",
            Fault::Restore(_) => "restore",
            Fault::Certificate(_) => "certificate",
            Fault::Ports(_) => "ports",
        }
    }

    /// Whether the leader is lost at one stroke.
    pub fn takes_the_leader(&self) -> bool {
        matches!(
            self,
            Fault::Kill(Target::Leader) | Fault::Pause(Target::Leader) | Fault::Isolate(Target::Leader)
        )
    }

    /// Whether the process may end by itself: it cannot trust its disk.
    pub fn may_end_a_process(&self) -> bool {
        *self == Fault::DiskFull || self.spoiled().is_some()
    }

    /// Whose disk does not do what it is told.
    fn spoiled(&self) -> Option<Target> {
        match *self {
            Fault::SlowSync { target, .. }
            | Fault::HungDisk(target)
            | Fault::FailingSync(target)
            | Fault::FailingWrite(target)
            | Fault::FailingRead { target, .. } => Some(target),
            _ => None,
        }
    }

    /// Whose process does nothing for a while.
    fn taken(&self) -> Option<Target> {
        match *self {
            Fault::Kill(target) | Fault::Stop(target) | Fault::Pause(target) => Some(target),
            _ => None,
        }
    }

    /// Whether an operator does it, and it needs all nodes.
    fn is_planned(self) -> bool {
        matches!(
            self,
            Fault::Transfer
                | Fault::Replace(_)
                | Fault::Drain(_)
                | Fault::Downgrade(_)
                | Fault::Backup(_)
                | Fault::Restore(_)
                | Fault::Certificate(_)
                | Fault::Ports(_)
        )
    }

    /// Whether it needs all nodes, or takes them all.
    fn is_alone(self) -> bool {
        self.is_planned() || matches!(self, Fault::KillAll | Fault::LoseSurvivor | Fault::TakeOver)
    }

    /// Whether all that operators do succeeds meanwhile, if more slowly.
    fn is_mild(self) -> bool {
        match self {
            Fault::Loss { percent } => percent <= MILD_PERCENT_MAX,
            Fault::Slow { delay_ms, .. } => delay_ms <= MILD_MS_MAX,
            Fault::SlowSync { .. } => true,
            _ => false,
        }
    }

    /// Whether the two can hold at once: one process is not stopped twice, and of one kind there are two on two nodes.
    fn joins(self, other: Fault) -> bool {
        let same_process = self.taken().is_some() && self.taken() == other.taken();
        let of = |fault: Fault| fault.taken().or(fault.spoiled());
        let differ = self.kind() != other.kind() || of(self) != of(other);
        let meets = |one: Fault, other: Fault| !one.is_alone() || one.is_planned() && other.is_mild();
        meets(self, other) && meets(other, self) && !same_process && differ
    }
}

fn fault(kind: &str, dice: &mut fastrand::Rng) -> Fault {
    let mut all = [Target::Leader, Target::Follower, Target::Witness];
    dice.shuffle(&mut all);
    // The leader is worth more tries than the others.
    if dice.u8(..3) == 0 {
        all.sort_by_key(|target| *target != Target::Leader);
    }
    let [one, other, _] = all;
    let data = if dice.bool() { Target::Leader } else { Target::Follower };
    match kind {
        "kill" => Fault::Kill(one),
        "kill all" => Fault::KillAll,
        "stop" => Fault::Stop(one),
        "pause" => Fault::Pause(one),
        "cut" => Fault::Cut(one, other),
        "cut one way" => Fault::CutOneWay(one, other),
        "isolate" => Fault::Isolate(one),
        "loss" => Fault::Loss { percent: dice.u8(5..40) },
        "slow link" => Fault::Slow { between: (one, other), delay_ms: dice.u16(5..120) },
        "disk full" => Fault::DiskFull,
        "transfer" => Fault::Transfer,
        "clock" => {
            let seconds = [-86_400 * 40, -3_600, -3, 3, 3_600, 86_400 * 40][dice.usize(..6)];
            Fault::Clock { target: one, seconds }
        }
        "slow sync" => Fault::SlowSync { target: one, delay_ms: dice.u16(5..250) },
        "hung disk" => Fault::HungDisk(one),
        "failing sync" => Fault::FailingSync(one),
        "failing write" => Fault::FailingWrite(one),
        "failing read" => Fault::FailingRead { target: data, percent: dice.u8(10..=100) },
        "replace" => Fault::Replace(one),
        "lose survivor" => Fault::LoseSurvivor,
        "take over" => Fault::TakeOver,
        "drain" => Fault::Drain(data),
        "downgrade" => Fault::Downgrade(one),
        "backup" => Fault::Backup(data),
        "restore" => Fault::Restore(data),
        "certificate" => Fault::Certificate(data),
        "ports" => Fault::Ports(data),
        other => unreachable!("{other} is not a kind of fault"),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "seed {}, {} steps:", self.seed, self.steps.len())?;
        for (at, step) in self.steps.iter().enumerate() {
            let early = if step.early { ", early" } else { "" };
            writeln!(f, "  {at}: {:?} for {} ms{early}", step.faults, step.hold_ms)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_a_plan_survives_its_text() {
        let plan = Plan::rough(7, 40);
        assert_eq!(plan, Plan::rough(7, 40));
        assert_ne!(plan, Plan::rough(8, 40));
        let text = serde_json::to_string(&plan).expect("a plan is plain data");
        assert_eq!(plan, serde_json::from_str(&text).expect("a plan is plain data"));
    }

    #[test]
    fn two_processes_or_disks_may_go_at_once_and_none_twice() {
        let (leader, witness) = (Fault::Kill(Target::Leader), Fault::Kill(Target::Witness));
        assert!(leader.joins(witness) && !leader.joins(leader));
        assert!(!leader.joins(Fault::Pause(Target::Leader)) && leader.joins(Fault::Pause(Target::Follower)));
        let hung = Fault::HungDisk;
        assert!(hung(Target::Leader).joins(hung(Target::Follower)));
        assert!(!hung(Target::Leader).joins(hung(Target::Leader)));
        assert!(!Fault::Loss { percent: 5 }.joins(Fault::Loss { percent: 6 }));
        let (backup, mild) = (Fault::Backup(Target::Leader), Fault::Loss { percent: 5 });
        assert!(!backup.joins(leader) && !leader.joins(Fault::KillAll) && !mild.joins(Fault::TakeOver));
        assert!(backup.joins(mild) && mild.joins(backup) && !backup.joins(Fault::Loss { percent: 30 }));
    }

    #[test]
    fn every_kind_comes_up_and_two_at_once_do() {
        let plan = Plan::single(1, KINDS.len());
        let kinds: BTreeSet<_> = plan.steps.iter().map(|step| step.faults[0].kind()).collect();
        assert_eq!(kinds, BTreeSet::from(KINDS));
        let rough = Plan::rough(1, 3 * KINDS.len()).steps;
        assert!(rough.iter().any(|step| step.faults.len() == 2));
        assert!(rough.iter().any(
            |step| matches!(step.faults[..], [mild, planned] if mild.is_mild() && planned.is_planned())
        ));
        assert!(rough.iter().any(|step| step.early && !step.must_serve()));
    }
}
