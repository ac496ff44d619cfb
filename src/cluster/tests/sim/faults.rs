//! What goes wrong, as the dice fall.

use std::time::Duration;

use tokio::time::Instant;

use super::dice::Dice;
use super::disk::Pace;
use super::net::{Net, Weather};
use super::node::Node;
use super::trace::Trace;
use crate::cluster::types::Role;

/// What is to be undone, and when.
struct Later {
    at: Instant,
    what: Undo,
}

enum Undo {
    Restart(usize),
    Open(Vec<(u64, u64)>),
    Weather,
    Pace(usize),
    Thaw(usize),
}

pub struct Faults {
    dice: Dice,
    trace: Trace,
    net: Net,
    later: Vec<Later>,
    next: Instant,
    pub done: u64,
}

impl Faults {
    pub fn new(seed: u64, trace: Trace, net: Net) -> Self {
        let dice = Dice::new(seed, "faults");
        let next = Instant::now() + dice.ms(100, 2_000);
        Self { dice, trace, net, later: Vec::new(), next, done: 0 }
    }

    /// Undoes what is due, then perhaps does something new.
    pub async fn step(&mut self, nodes: &mut [Node]) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|later| later.at <= now);
        self.later = later;
        for Later { what, .. } in due {
            self.undo(what, nodes).await;
        }
        for (at, node) in nodes.iter_mut().enumerate() {
            if node.ends() {
                self.after(500, 3_000, Undo::Restart(at));
            }
        }
        if now >= self.next {
            self.next = now + self.dice.ms(100, 2_500);
            self.one(nodes);
        }
    }

    /// From now on nothing is wrong.
    pub async fn heal(&mut self, nodes: &mut [Node]) {
        self.trace.note(|| "all is mended".into());
        for Later { what, .. } in std::mem::take(&mut self.later) {
            self.undo(what, nodes).await;
        }
        self.net.open_all();
        self.net.weather(Weather::FAIR);
        for node in nodes {
            node.disk.pace(Pace::QUICK);
            if !node.runs() && !node.retired {
                node.start().await;
            }
        }
    }

    /// As the operator's work goes on, a node dies just then.
    pub fn crash(&mut self, at: usize, nodes: &mut [Node]) {
        nodes[at].crash();
        self.after(50, 6_000, Undo::Restart(at));
    }

    fn after(&mut self, ms_min: u64, ms_max: u64, what: Undo) {
        self.later.push(Later { at: Instant::now() + self.dice.ms(ms_min, ms_max), what });
    }

    async fn undo(&mut self, what: Undo, nodes: &mut [Node]) {
        match what {
            Undo::Restart(at) if nodes[at].runs() || nodes[at].retired => {}
            Undo::Restart(at) => nodes[at].start().await,
            Undo::Open(ways) => {
                self.trace.note(|| format!("open {ways:?}"));
                ways.into_iter().for_each(|(from, to)| self.net.open(from, to));
            }
            Undo::Weather => self.net.weather(Weather::FAIR),
            Undo::Pace(at) => nodes[at].disk.pace(Pace::QUICK),
            Undo::Thaw(at) => self.freeze(at, nodes, false),
        }
    }

    fn one(&mut self, nodes: &mut [Node]) {
        let at = self.dice.below(nodes.len() as u64) as usize;
        let id = nodes[at].id.0;
        let others: Vec<u64> = nodes.iter().map(|node| node.id.0).filter(|other| *other != id).collect();
        let other = self.dice.pick(&others).unwrap_or(id);
        self.done += 1;
        match self.dice.below(100) {
            0..25 => self.crash(at, nodes),
            25..30 => {
                // The power of the whole place.
                nodes.iter_mut().for_each(Node::crash);
                (0..nodes.len()).for_each(|at| self.after(50, 4_000, Undo::Restart(at)));
            }
            30..42 => self.cut(others.iter().flat_map(|other| [(id, *other), (*other, id)]).collect()),
            42..52 => self.cut(vec![(id, other), (other, id)]),
            52..62 => self.cut(vec![if self.dice.chance(50) { (id, other) } else { (other, id) }]),
            62..68 => {
                let ms_max = self.dice.between(5, 150);
                let weather = Weather { ms_min: 0, ms_max, loss_percent: self.dice.below(30) };
                self.trace.note(|| format!("{weather:?}"));
                self.net.weather(weather);
                self.after(500, 4_000, Undo::Weather);
            }
            68..76 => {
                let pace = Pace::Syncs { ms_min: 0, ms_max: self.dice.between(20, 600) };
                self.trace.note(|| format!("disk {id} {pace:?}"));
                nodes[at].disk.pace(pace);
                self.after(500, 5_000, Undo::Pace(at));
            }
            76..81 => {
                self.trace.note(|| format!("disk {id} hangs"));
                nodes[at].disk.pace(Pace::Hangs);
                self.after(300, 5_000, Undo::Pace(at));
            }
            81..86 => {
                self.freeze(at, nodes, true);
                self.after(100, 3_000, Undo::Thaw(at));
            }
            86..91 => {
                let ms = self.dice.between(1, 3_600_000);
                self.trace.note(|| format!("clock {id} jumps {ms} ms"));
                nodes[at].clock.advance_ms(ms);
            }
            91..96 => {
                self.trace.note(|| format!("connections {id}-{other} break"));
                self.net.reset(id, other);
            }
            _ => self.transfer(nodes),
        }
    }

    fn cut(&mut self, ways: Vec<(u64, u64)>) {
        self.trace.note(|| format!("cut {ways:?}"));
        ways.iter().for_each(|(from, to)| self.net.cut(*from, *to));
        self.after(100, 5_000, Undo::Open(ways));
    }

    /// As SIGSTOP, as seen from outside: nothing comes or goes, no sync ends. (Its timers go on.)
    fn freeze(&mut self, at: usize, nodes: &[Node], frozen: bool) {
        let id = nodes[at].id.0;
        self.trace.note(|| format!("{id} is {}", if frozen { "frozen" } else { "thawed" }));
        for other in nodes.iter().map(|node| node.id.0).filter(|other| *other != id) {
            for (from, to) in [(id, other), (other, id)] {
                if frozen { self.net.cut(from, to) } else { self.net.open(from, to) }
            }
        }
        nodes[at].disk.pace(if frozen { Pace::Hangs } else { Pace::QUICK });
    }

    fn transfer(&self, nodes: &[Node]) {
        let Some(leader) = nodes.iter().find(|node| node.leads()).and_then(Node::handle) else { return };
        let data = |node: &&Node| node.role == Role::Data && node.id != leader.node();
        let heirs: Vec<_> = nodes.iter().filter(data).map(|node| node.id).collect();
        let (Some(heir), leader) = (self.dice.pick(&heirs), leader.clone()) else { return };
        self.trace.note(|| format!("transfer to {heir}"));
        tokio::spawn(async move {
            let _ = tokio::time::timeout(Duration::from_secs(5), leader.transfer(heir)).await;
        });
    }
}
