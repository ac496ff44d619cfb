//! What an operator does while things go wrong: boxes are replaced, one after another. Each time a node is removed, its
//! disk emptied, and the box joins as a new node with a new id, which learns and then votes; by the real `membership`
//! and `keeper`. Faults strike meanwhile as ever: a data node that answers goes only while another has all that was
//! acknowledged, and one whose disk is lost is the one loss.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::dice::Dice;
use super::faults::Faults;
use super::node::{Node, World};
use crate::cluster::handle::ClusterHandle;
use crate::cluster::types::{Member, Role};
use crate::mail::ids::NodeId;

/// How long the operator waits for a command, and before it is given again.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(200);

pub struct Operator {
    world: World,
    dice: Dice,
    /// No box is given up before.
    next: Instant,
    work: Option<Work>,
    pub replaced: u64,
}

/// One box's replacement.
struct Work {
    /// Its place among the nodes.
    at: usize,
    lost: bool,
    stage: Stage,
    /// Whoever leads then, dies.
    strike: Option<Instant>,
}

enum Stage {
    /// The command under way, if one is.
    Removing(Option<JoinHandle<()>>),
    Joining(Option<JoinHandle<Option<Joined>>>),
    CatchingUp,
}

/// What a box that joined is told: its id, and the members.
type Joined = (u64, BTreeMap<u64, Member>);

impl Operator {
    pub fn new(world: &World) -> Self {
        let dice = Dice::new(world.seed, "operator");
        let next = Instant::now() + dice.ms(500, 6_000);
        Self { world: world.clone(), dice, next, work: None, replaced: 0 }
    }

    pub fn is_at_work(&self) -> bool {
        self.work.is_some()
    }

    /// `calm`: no faults any longer; what was begun is ended.
    pub async fn step(&mut self, nodes: &mut [Node], faults: &mut Faults, calm: bool) {
        match self.work.take() {
            None if calm || Instant::now() < self.next => {}
            None => self.work = self.begin(nodes),
            Some(mut work) => {
                if work.strike.is_some_and(|at| at <= Instant::now()) && !calm {
                    work.strike = None;
                    strike(nodes, faults);
                }
                self.work = self.go_on(work, nodes).await;
            }
        }
    }

    fn begin(&mut self, nodes: &mut [Node]) -> Option<Work> {
        let check = &self.world.check;
        if !check.is_whole(&boxes(nodes)) {
            return None;
        }
        let at = self.dice.below(nodes.len() as u64) as usize;
        let id = nodes[at].id.0;
        let lost = self.dice.chance(50);
        if lost && !check.is_quiet() {
            return None;
        }
        self.world
            .trace
            .note(|| format!("operator: {id} is to go{}", if lost { ", its disk is lost" } else { "" }));
        if lost {
            check.disk_lost(id);
            nodes[at].retired = true;
            nodes[at].crash();
        }
        Some(Work { at, lost, stage: Stage::Removing(None), strike: self.strike() })
    }

    /// In some of the changes whoever leads dies half way.
    fn strike(&self) -> Option<Instant> {
        self.dice.chance(40).then(|| Instant::now() + self.dice.ms(0, 600))
    }

    async fn go_on(&mut self, mut work: Work, nodes: &mut [Node]) -> Option<Work> {
        let (at, id, lost) = (work.at, nodes[work.at].id, work.lost);
        work.stage = match work.stage {
            Stage::Removing(Some(task)) if !task.is_finished() => Stage::Removing(Some(task)),
            Stage::Removing(_) if self.world.check.was_removed(id.0) => {
                self.world.trace.note(|| format!("operator: {id} is removed"));
                nodes[at].retired = true;
                // Or it hears of it by itself, and stops; a box may be switched on again, too.
                match self.dice.below(3) {
                    0 => {}
                    1 => nodes[at].crash(),
                    _ if nodes[at].runs() => {
                        nodes[at].crash();
                        nodes[at].start().await;
                    }
                    _ => {}
                }
                work.strike = self.strike();
                Stage::Joining(None)
            }
            Stage::Removing(_) => Stage::Removing(self.through(nodes, None).map(|through| {
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, through.remove(id, lost)).await;
                    sleep(AGAIN).await;
                })
            })),
            Stage::Joining(Some(task)) if !task.is_finished() => Stage::Joining(Some(task)),
            Stage::Joining(task) => {
                let joined = match task {
                    Some(task) => task.await.ok().flatten(),
                    None => None,
                };
                match joined {
                    Some((new, members)) => {
                        self.world.trace.note(|| format!("operator: {new} takes the place of {id}"));
                        nodes[at].crash();
                        nodes[at] = Node::new(&self.world, new, &members);
                        nodes[at].start().await;
                        work.strike = self.strike();
                        Stage::CatchingUp
                    }
                    None => {
                        let member = nodes[at].member();
                        let admit = |through| tokio::spawn(admit(through, member));
                        Stage::Joining(self.through(nodes, Some(at)).map(admit))
                    }
                }
            }
            Stage::CatchingUp if self.world.check.is_whole(&boxes(nodes)) => {
                self.world.trace.note(|| format!("operator: {id} has caught up"));
                self.replaced += 1;
                self.next = Instant::now() + self.dice.ms(100, 3_000);
                return None;
            }
            Stage::CatchingUp => Stage::CatchingUp,
        };
        Some(work)
    }

    /// A data node that runs, at which the command is given.
    fn through(&self, nodes: &[Node], not: Option<usize>) -> Option<ClusterHandle> {
        let may = |(at, node): &(usize, &Node)| node.role == Role::Data && !node.retired && Some(*at) != not;
        let running: Vec<_> =
            nodes.iter().enumerate().filter(may).filter_map(|(_, node)| node.handle()).collect();
        self.dice.pick(&running).cloned()
    }
}

/// The nodes as they are now.
pub fn boxes(nodes: &[Node]) -> BTreeMap<u64, Role> {
    nodes.iter().map(|node| (node.id.0, node.role)).collect()
}

fn strike(nodes: &mut [Node], faults: &mut Faults) {
    let leader = nodes.iter().position(Node::leads);
    if let Some(leader) = leader {
        faults.crash(leader, nodes);
    }
}

/// As `join` does, but for the certificates. What an earlier try left half done is removed first, as operators are told.
async fn admit(through: ClusterHandle, member: Member) -> Option<Joined> {
    let joining = async {
        let named =
            through.local.roster.load().iter().find(|entry| entry.member.name == member.name).cloned();
        if let Some(left) = named {
            through.remove(NodeId(left.id), false).await.ok()?;
        }
        let id = through.local.admit(member.clone()).await.ok()?.0;
        let roster = through.local.roster.load();
        let mut members: BTreeMap<u64, Member> =
            roster.iter().map(|entry| (entry.id, entry.member.clone())).collect();
        members.insert(id, member);
        Some((id, members))
    };
    let joined = timeout(PATIENCE, joining).await.ok().flatten();
    if joined.is_none() {
        sleep(AGAIN).await;
    }
    joined
}
