//! A network in memory that behaves as ours over QUIC does: calls go each their own way and may overtake each
//! other; a stream keeps its order; what a cut swallows is sent again until the connection is given up as idle; a
//! broken connection fails all that was under way on it, and nobody knows what the other side saw of it.

mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::dice::Dice;
use super::gate::silence_max;
use super::trace::Trace;
use crate::cluster::start::versions;
use crate::cluster::transport::{
    CallError, Carrier, FramedStream, Handler, Handshake, Lane, PeerAddress, PeerHello, PeerState,
};
use crate::cluster::watch;
use crate::mail::ids::NodeId;

/// How long a connection without an answer lives, by lane (design 5).
const IDLE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];

/// How the whole network behaves from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub ms_min: u64,
    pub ms_max: u64,
    /// Packets that are lost and sent again later.
    pub loss_percent: u64,
}

impl Weather {
    pub const FAIR: Weather = Weather { ms_min: 0, ms_max: 4, loss_percent: 0 };
}

#[derive(Clone)]
pub struct Net {
    shared: Arc<Shared>,
}

struct Shared {
    dice: Dice,
    trace: Trace,
    state: Mutex<State>,
    /// Ticks when a way is cut or open again.
    ways: watch::Sender<u64>,
}

struct State {
    weather: Weather,
    /// One-way: from, to.
    cut: BTreeSet<(u64, u64)>,
    nodes: BTreeMap<u64, Port>,
    lines: BTreeMap<(u64, u64, usize), Line>,
    /// Who heard of whom: since when without a long silence, and when last.
    heard: BTreeMap<(u64, u64), (Instant, Instant)>,
}

/// A node's end.
#[derive(Default)]
struct Port {
    /// Counts the processes.
    process: u64,
    handler: Option<Arc<dyn Handler>>,
    handshake: Option<Arc<dyn Handshake>>,
    /// Why a peer refused to be connected with this process.
    refused: BTreeMap<u64, String>,
    peers: BTreeSet<u64>,
    /// Those that this process knows to be removed for ever.
    removed: BTreeSet<u64>,
    /// Who told this process that it was removed.
    told: tokio::sync::watch::Sender<Option<NodeId>>,
}

/// The connection of two nodes on one lane (the lesser id first).
struct Line {
    /// Odd: it stands. Grows at each make and break.
    epoch: watch::Sender<u64>,
    /// A change of what is reachable makes what was planned before void.
    plan: u64,
}

impl Net {
    pub fn new(dice: Dice, trace: Trace) -> Self {
        let state = State {
            weather: Weather::FAIR,
            cut: BTreeSet::new(),
            nodes: BTreeMap::new(),
            lines: BTreeMap::new(),
            heard: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared { dice, trace, state: Mutex::new(state), ways: watch::Sender::new(0) }),
        }
    }

    /// A process of `node` starts, and knows nobody yet.
    pub fn attach(
        &self,
        node: NodeId,
        handler: Arc<dyn Handler>,
        handshake: Arc<dyn Handshake>,
    ) -> Arc<Wire> {
        let mut state = self.shared.lock();
        let port = state.nodes.entry(node.0).or_default();
        port.process += 1;
        port.handler = Some(handler);
        port.handshake = Some(handshake);
        port.refused = BTreeMap::new();
        port.peers = BTreeSet::new();
        port.removed = BTreeSet::new();
        port.told = tokio::sync::watch::Sender::new(None);
        let process = port.process;
        drop(state);
        self.break_all(node.0);
        Arc::new(Wire { shared: self.shared.clone(), node, process })
    }

    /// The process is dead; its peers notice by its silence.
    pub fn detach(&self, node: NodeId) {
        if let Some(port) = self.shared.lock().nodes.get_mut(&node.0) {
            port.process += 1;
            port.handler = None;
            port.handshake = None;
        }
        self.shared.look();
    }

    pub fn weather(&self, weather: Weather) {
        self.shared.lock().weather = weather;
    }

    pub fn cut(&self, from: u64, to: u64) {
        self.shared.lock().cut.insert((from, to));
        self.shared.look();
    }

    pub fn open(&self, from: u64, to: u64) {
        self.shared.lock().cut.remove(&(from, to));
        self.shared.look();
    }

    pub fn open_all(&self) {
        self.shared.lock().cut.clear();
        self.shared.look();
    }

    /// Connections break at once, and are made again.
    pub fn reset(&self, a: u64, b: u64) {
        for lane in 0..2 {
            self.shared.end((a.min(b), a.max(b), lane));
        }
        self.shared.look();
    }

    /// Since when `by` has heard of `of`, never for longer silent than the gate allows. `None`: it is silent.
    pub fn heard_since(&self, by: u64, of: u64) -> Option<Instant> {
        let state = self.shared.lock();
        // Of a process that died, tasks go on for a moment here, and what they say must not be judged as its word.
        state.nodes.get(&by)?.handler.as_ref()?;
        let (since, last) = *state.heard.get(&(by, of))?;
        (last.elapsed() <= silence_max()).then_some(since)
    }

    fn break_all(&self, node: u64) {
        self.shared.break_all(node);
    }
}

impl Shared {
    fn break_all(self: &Arc<Self>, node: u64) {
        let keys: Vec<_> = self.lock().lines.keys().copied().collect();
        for key in keys.into_iter().filter(|(a, b, _)| *a == node || *b == node) {
            self.end(key);
        }
        self.look();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn end(&self, key: (u64, u64, usize)) {
        if let Some(line) = self.lock().lines.get_mut(&key) {
            line.plan += 1;
            line.epoch.send_if_modified(|epoch| {
                let stood = *epoch % 2 == 1;
                *epoch += u64::from(stood);
                stood
            });
        }
    }

    /// Plans what follows from a change: lines that can be made, lines that will be given up.
    fn look(self: &Arc<Self>) {
        self.ways.send_if_modified(|ticks| {
            *ticks += 1;
            true
        });
        let mut state = self.lock();
        let ids: Vec<u64> = state.nodes.keys().copied().collect();
        for (at, a) in ids.iter().enumerate() {
            for b in &ids[at + 1..] {
                for lane in 0..2 {
                    self.plan(&mut state, (*a, *b, lane));
                }
                state.tell_removed(*a, *b);
                state.tell_removed(*b, *a);
            }
        }
    }

    fn plan(self: &Arc<Self>, state: &mut State, key: (u64, u64, usize)) {
        let (a, b, lane) = key;
        let reachable = state.reachable(a, b);
        let members = state.know_each_other(a, b);
        let line = state.lines.entry(key).or_insert_with(|| Line { epoch: watch::Sender::new(0), plan: 0 });
        let stands = *line.epoch.borrow() % 2 == 1;
        if stands == reachable {
            line.plan += 1;
            return;
        }
        line.plan += 1;
        let plan = line.plan;
        // Removal revokes at once; silence is noticed late; a dial takes its time.
        let after = match (stands, members) {
            (true, false) => Duration::ZERO,
            (true, true) => IDLE[lane],
            (false, _) => self.dice.ms(5, 60),
        };
        let shared = self.clone();
        tokio::spawn(async move {
            sleep(after).await;
            let mut state = shared.lock();
            let reachable = state.reachable(a, b) && (stands || state.greet(a, b));
            let Some(line) = state.lines.get_mut(&key) else { return };
            if line.plan == plan && reachable != stands {
                line.epoch.send_if_modified(|epoch| {
                    *epoch += 1;
                    true
                });
                let (now, lane) = (if reachable { "connected" } else { "lost" }, ["control", "bulk"][lane]);
                if reachable {
                    state.heard(a, b);
                    state.heard(b, a);
                }
                drop(state);
                shared.trace.note(|| format!("{a}-{b} {lane} {now}"));
            }
        });
    }

    fn epoch_of(&self, a: u64, b: u64, lane: Lane) -> Option<watch::Receiver<u64>> {
        let state = self.lock();
        let line = state.lines.get(&(a.min(b), a.max(b), lane as usize))?;
        let receiver = line.epoch.subscribe();
        let stands = *receiver.borrow() % 2 == 1;
        stands.then_some(receiver)
    }

    /// One message on its way: as long as it takes, and longer if it is lost or the way is cut.
    async fn hop(&self, from: u64, to: u64) {
        let weather = self.lock().weather;
        sleep(self.dice.ms(weather.ms_min, weather.ms_max)).await;
        while self.dice.chance(weather.loss_percent.min(90)) {
            sleep(self.dice.ms(20, 200)).await;
        }
        let mut ways = self.ways.subscribe();
        loop {
            drop(ways.borrow_and_update());
            if !self.lock().cut.contains(&(from, to)) {
                return;
            }
            // Whoever waits here is given up with the connection.
            let _ = ways.changed().await;
            sleep(self.dice.ms(1, 100)).await;
        }
    }

    fn heard(&self, by: u64, of: u64) {
        self.lock().heard(by, of);
    }
}

impl State {
    fn heard(&mut self, by: u64, of: u64) {
        let now = Instant::now();
        let (since, last) = self.heard.entry((by, of)).or_insert((now, now));
        if now.duration_since(*last) > silence_max() {
            *since = now;
        }
        *last = now;
    }

    fn know_each_other(&self, a: u64, b: u64) -> bool {
        let knows = |a: u64, b: u64| self.nodes.get(&a).is_some_and(|port| port.peers.contains(&b));
        let lives = |node: u64| self.nodes.get(&node).is_some_and(|port| port.handler.is_some());
        // A dead process cannot say that it knows nobody.
        (!lives(a) || knows(a, b)) && (!lives(b) || knows(b, a))
    }

    /// The first words between two processes: either may refuse the other for what it has forgotten.
    fn greet(&mut self, a: u64, b: u64) -> bool {
        let handshake = |node: u64| self.nodes.get(&node).and_then(|port| port.handshake.clone());
        let (Some(of_a), Some(of_b)) = (handshake(a), handshake(b)) else { return false };
        let by_b = of_b.accept(NodeId(a), &of_a.lineage());
        let by_a = of_a.accept(NodeId(b), &of_b.lineage());
        let accepted = by_a.is_ok() && by_b.is_ok();
        for (node, by, refusal) in [(a, b, by_b), (b, a, by_a)] {
            let Some(port) = self.nodes.get_mut(&node) else { continue };
            match refusal {
                Err(why) => drop(port.refused.insert(by, why)),
                Ok(()) => drop(port.refused.remove(&by)),
            }
        }
        accepted
    }

    /// Whoever comes to a node that knows it to be removed is told so.
    fn tell_removed(&self, by: u64, node: u64) {
        let (Some(teller), Some(told)) = (self.nodes.get(&by), self.nodes.get(&node)) else { return };
        let open = !self.cut.contains(&(by, node)) && !self.cut.contains(&(node, by));
        if open && teller.handler.is_some() && told.handler.is_some() && teller.removed.contains(&node) {
            told.told.send_replace(Some(NodeId(by)));
        }
    }

    fn reachable(&self, a: u64, b: u64) -> bool {
        let lives = |node: u64| self.nodes.get(&node).is_some_and(|port| port.handler.is_some());
        let open = !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a));
        lives(a) && lives(b) && open && self.know_each_other(a, b)
    }
}

/// What one process sends and hears through.
#[derive(Clone)]
pub struct Wire {
    shared: Arc<Shared>,
    node: NodeId,
    process: u64,
}

impl Wire {
    fn lives(&self) -> bool {
        self.shared.lock().nodes.get(&self.node.0).is_some_and(|port| port.process == self.process)
    }

    /// The line to `to`, while both know each other.
    fn line(&self, to: NodeId, lane: Lane) -> Result<watch::Receiver<u64>, CallError> {
        if !self.lives() {
            return Err(CallError::ShuttingDown);
        }
        if !self.shared.lock().nodes.get(&self.node.0).is_some_and(|port| port.peers.contains(&to.0)) {
            return Err(CallError::NotAMember(to));
        }
        self.shared.epoch_of(self.node.0, to.0, lane).ok_or_else(|| lost(to))
    }

    fn handler(&self, to: NodeId) -> Option<Arc<dyn Handler>> {
        self.shared.lock().nodes.get(&to.0)?.handler.clone()
    }

    async fn ask(self, to: NodeId, lane: Lane, kind: u16, body: Bytes) -> Result<Bytes, CallError> {
        let (me, them) = (self.node.0, to.0);
        self.shared.hop(me, them).await;
        let handler = self.handler(to).ok_or_else(|| lost(to))?;
        self.shared.trace.note(|| format!("{me}>{them} call {kind:#x} {}", digest(&body)));
        if lane == Lane::Control {
            self.shared.heard(them, me);
        }
        // It goes on there when nobody waits here any longer.
        let answered = tokio::spawn(handler.call(self.node, kind, body)).await;
        let answer = answered.map_err(|_| lost(to))?;
        self.shared.hop(them, me).await;
        self.shared.trace.note(|| match &answer {
            Ok(bytes) => format!("{me}<{them} answer {kind:#x} {}", digest(bytes)),
            Err(error) => format!("{me}<{them} refused {kind:#x} {error}"),
        });
        if lane == Lane::Control {
            self.shared.heard(me, them);
        }
        answer
    }
}

fn lost(node: NodeId) -> CallError {
    CallError::Unreachable { node, why: "the connection is lost".into() }
}

fn digest(bytes: &Bytes) -> String {
    format!("{} {:08x}", bytes.len(), crc32fast::hash(bytes))
}

/// Resolves when the line is no longer the one that it was.
async fn broken(mut line: watch::Receiver<u64>) {
    let was = *line.borrow();
    let _ = line.wait_for(|epoch| *epoch != was).await;
}

impl Carrier for Wire {
    fn node(&self) -> NodeId {
        self.node
    }

    fn set_peers(&self, members: BTreeMap<NodeId, PeerAddress>) {
        if !self.lives() {
            return;
        }
        if let Some(port) = self.shared.lock().nodes.get_mut(&self.node.0) {
            port.peers = members.keys().map(|id| id.0).filter(|id| *id != self.node.0).collect();
        }
        self.shared.look();
    }

    fn peers(&self) -> Vec<NodeId> {
        let state = self.shared.lock();
        let peers =
            state.nodes.get(&self.node.0).map(|port| port.peers.iter().copied().map(NodeId).collect());
        peers.unwrap_or_default()
    }

    fn revoke(&self, nodes: BTreeSet<NodeId>) {
        if !self.lives() {
            return;
        }
        if let Some(port) = self.shared.lock().nodes.get_mut(&self.node.0) {
            port.removed.extend(nodes.into_iter().map(|node| node.0));
        }
        self.shared.look();
    }

    fn was_removed(&self, node: NodeId) -> bool {
        self.shared.lock().nodes.get(&self.node.0).is_some_and(|port| port.removed.contains(&node.0))
    }

    fn greet_anew(&self) {
        if self.lives() {
            self.shared.break_all(self.node.0);
        }
    }

    fn told_removed(&self) -> tokio::sync::watch::Receiver<Option<NodeId>> {
        let state = self.shared.lock();
        let told = state.nodes.get(&self.node.0).map(|port| port.told.subscribe());
        told.unwrap_or_else(|| tokio::sync::watch::Sender::new(None).subscribe())
    }

    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        kind: u16,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let wire = self.clone();
        Box::pin(async move {
            let line = wire.line(to, lane)?;
            tokio::select! {
                biased;
                () = broken(line) => Err(lost(to)),
                answer = wire.ask(to, lane, kind, body) => answer,
            }
        })
    }

    fn ping(&self, to: NodeId) -> BoxFuture<'static, Result<(), CallError>> {
        let wire = self.clone();
        Box::pin(async move {
            let line = wire.line(to, Lane::Control)?;
            let there_and_back = async {
                wire.shared.hop(wire.node.0, to.0).await;
                wire.handler(to).ok_or_else(|| lost(to))?;
                wire.shared.hop(to.0, wire.node.0).await;
                wire.shared.heard(wire.node.0, to.0);
                Ok(())
            };
            tokio::select! {
                biased;
                () = broken(line) => Err(lost(to)),
                answer = there_and_back => answer,
            }
        })
    }

    fn open_stream(
        &self,
        to: NodeId,
        lane: Lane,
        kind: u16,
    ) -> BoxFuture<'static, Result<FramedStream, CallError>> {
        let wire = self.clone();
        Box::pin(async move {
            let line = wire.line(to, lane)?;
            let handler = wire.handler(to);
            let (here, there) = stream::pair(&wire.shared, wire.node, to, lane, &line);
            let shared = wire.shared.clone();
            let opening = async move {
                shared.hop(wire.node.0, to.0).await;
                if let Some(handler) = handler {
                    shared.trace.note(|| format!("{}>{} stream {kind:#x}", wire.node, to));
                    handler.stream(wire.node, kind, there).await;
                }
            };
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = broken(line) => {}
                    () = opening => {}
                }
            });
            Ok(here)
        })
    }

    fn connected(&self, to: NodeId, lane: Lane) -> BoxFuture<'static, Result<(), CallError>> {
        let wire = self.clone();
        Box::pin(async move {
            loop {
                match wire.line(to, lane) {
                    Ok(_) => return Ok(()),
                    Err(CallError::Unreachable { .. }) => {}
                    Err(other) => return Err(other),
                }
                let key = (wire.node.0.min(to.0), wire.node.0.max(to.0), lane as usize);
                let epoch = wire.shared.lock().lines.get(&key).map(|line| line.epoch.subscribe());
                match epoch {
                    Some(mut epoch) => drop(epoch.wait_for(|epoch| *epoch % 2 == 1).await),
                    None => sleep(Duration::from_millis(50)).await,
                }
            }
        })
    }

    fn peer_state(&self, node: NodeId) -> PeerState {
        let stands = |lane| self.shared.epoch_of(self.node.0, node.0, lane).is_some();
        let known = self
            .line(node, Lane::Control)
            .map_or_else(|error| matches!(error, CallError::Unreachable { .. }), |_| true);
        if !known {
            return PeerState::default();
        }
        let state = self.shared.lock();
        let heard = state.heard.get(&(self.node.0, node.0)).map(|(_, last)| *last);
        let refused_because =
            state.nodes.get(&self.node.0).and_then(|port| port.refused.get(&node.0).cloned());
        let incarnation = state.nodes.get(&node.0).map_or(0, |port| port.process);
        drop(state);
        PeerState {
            connected: [stands(Lane::Control), stands(Lane::Bulk)],
            heard_ago: heard.map(|at| at.elapsed()),
            round_trip: None,
            refused_because,
            hello: heard.map(|_| PeerHello { incarnation, versions: versions() }),
        }
    }

    fn close(&self) {}
}
