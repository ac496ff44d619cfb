//! A replica in memory, for the tests of the rooms above: one node, always in quorum, unless told to fail, and as far as
//! the cluster, unless told what it has yet to hear.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use tokio::sync::{broadcast, watch};

use super::replica::{Fault, Placing, QueueTicks, Replica};
use crate::clock::Clock;
use crate::mail::ids::{AccountId, BodyId, LogIndex, MailboxId, NodeId};
use crate::mail::rights::Rights;
use crate::state::apply::{Overlay, apply};
use crate::state::blocks::Blocks;
use crate::state::change::Change;
use crate::state::command::{Command, PlacedBody, Proposal};
use crate::state::directory::Directory;
use crate::state::limits::BudgetId;
use crate::state::metadata::{self, Annotation, Place, Wanted};
use crate::state::news::{Newsroom, SharedNews};
use crate::state::outcome::Outcome;
use crate::state::prepare::prepare;
use crate::state::reading;
use crate::state::record::{MailboxRecord, Quota};
use crate::state::rows::{MemoryRows, Rows, RowsError};
use crate::state::seats::SeatsChanged;
use crate::state::sieve::{self, ScriptRecord};
use crate::state::view::{MailboxView, SharedView};

#[derive(Clone)]
pub struct MemoryReplica {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    directory: watch::Sender<Arc<Directory>>,
    queue: watch::Sender<QueueTicks>,
    budgets: broadcast::Sender<BudgetId>,
    blocks: watch::Sender<Arc<Blocks>>,
    seats: broadcast::Sender<Arc<SeatsChanged>>,
    drained: watch::Sender<Arc<BTreeSet<NodeId>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: MemoryRows,
    applied: LogIndex,
    bodies: HashMap<BodyId, Bytes>,
    views: HashMap<MailboxId, Arc<SharedView>>,
    newsroom: Newsroom,
    fault: Option<Fault>,
    /// Acknowledged elsewhere, and yet to be heard of here.
    elsewhere: Vec<Command>,
}

impl MemoryReplica {
    const NODE: NodeId = NodeId(1);

    pub fn new(clock: Clock) -> Self {
        let directory = watch::Sender::new(Arc::new(Directory::default()));
        Self {
            shared: Arc::new(Shared {
                clock,
                directory,
                queue: watch::Sender::new(QueueTicks::default()),
                budgets: broadcast::Sender::new(64),
                blocks: watch::Sender::new(Arc::default()),
                seats: broadcast::Sender::new(64),
                drained: watch::Sender::new(Arc::default()),
                state: Mutex::default(),
            }),
        }
    }

    /// From now on every question is answered with this fault; `None` mends it.
    pub fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Another node acknowledges this; here it is known behind the next read barrier.
    pub fn run_elsewhere(&self, command: Command) {
        self.state().elsewhere.push(command);
    }

    /// Commits and applies at once, without waiting: for setting a scene.
    pub fn run(&self, command: Command) -> Result<Outcome, Fault> {
        Ok(self.run_indexed(command)?.1)
    }

    fn run_indexed(&self, command: Command) -> Result<(LogIndex, Outcome), Fault> {
        let mut state = self.healthy()?;
        let id = self.shared.clock.command_id();
        let proposal = Proposal { id, base: state.applied, at: self.shared.clock.now(), command };
        state.applied.0 += 1;
        let mut batch = Overlay::new();
        let applied = apply(&state.rows, &mut batch, state.applied, &proposal).map_err(disk)?;
        state.rows.write(batch.into_batch());
        for change in applied.changes {
            self.tell(&mut state, change)?;
        }
        Ok((state.applied, applied.outcome))
    }

    /// Puts a body where a mail can name it.
    pub fn put_body(&self, raw: Bytes) -> PlacedBody {
        let id = BodyId::of(&raw);
        let size = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        self.state().bodies.insert(id, raw);
        PlacedBody { id, size, on: vec![Self::NODE] }
    }

    /// Mailbox views in memory.
    pub fn views(&self) -> usize {
        self.state().views.len()
    }

    fn tell(&self, state: &mut State, change: Change) -> Result<(), Fault> {
        state.newsroom.tell(&change);
        match change {
            Change::Messages(change) => {
                if let Some(view) = state.views.get(&change.mailbox) {
                    view.update(|view| {
                        let _ = view.take_in(&change);
                    });
                }
            }
            Change::MailboxDeleted { mailbox } => {
                if let Some(view) = state.views.remove(&mailbox) {
                    view.update(|view| view.deleted = true);
                }
            }
            Change::Acl { mailbox, acl } => {
                if let Some(view) = state.views.get(&mailbox) {
                    view.update(|view| view.acl = acl);
                }
            }
            Change::Directory => {
                let directory = Directory::load(&state.rows).map_err(disk)?;
                self.shared.directory.send_replace(Arc::new(directory));
            }
            Change::BodyDropped { body } => drop(state.bodies.remove(&body)),
            Change::Queue => self.shared.queue.send_modify(|ticks| ticks.changes += 1),
            Change::QueueRetried => self.shared.queue.send_modify(|ticks| ticks.retries += 1),
            Change::Budget { budget } => drop(self.shared.budgets.send(budget)),
            Change::Seats(changed) => drop(self.shared.seats.send(changed)),
            Change::Blocks => {
                let blocks = Blocks::load(&state.rows).map_err(disk)?;
                self.shared.blocks.send_replace(Arc::new(blocks));
            }
            Change::Drained { nodes } => {
                self.shared.drained.send_replace(Arc::new(nodes.into_iter().collect()));
            }
            Change::Mailboxes { .. }
            | Change::Metadata(_)
            | Change::BodyNamed { .. }
            | Change::Replicas { .. } => {}
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder of the state panics")
    }

    fn healthy(&self) -> Result<MutexGuard<'_, State>, Fault> {
        let state = self.state();
        match &state.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(state),
        }
    }
}

fn disk(error: RowsError) -> Fault {
    Fault::Disk(error.to_string())
}

impl Replica for MemoryReplica {
    type Placing = MemoryPlacing;

    async fn commit(&self, command: Command) -> Result<(Option<LogIndex>, Outcome), Fault> {
        match prepare(command, &self.directory()) {
            Ok(command) => self.run_indexed(command).map(|(index, outcome)| (Some(index), outcome)),
            Err(refusal) => Ok((None, Outcome::Refused(refusal))),
        }
    }

    async fn refresh(&self) -> Result<(), Fault> {
        let missed = std::mem::take(&mut self.healthy()?.elsewhere);
        missed.into_iter().try_for_each(|command| self.run(command).map(drop))
    }

    async fn place(&self) -> Result<MemoryPlacing, Fault> {
        drop(self.healthy()?);
        Ok(MemoryPlacing { replica: self.clone(), raw: BytesMut::new() })
    }

    async fn body(&self, id: BodyId) -> Result<Bytes, Fault> {
        self.healthy()?.bodies.get(&id).cloned().ok_or(Fault::BodyUnavailable(id))
    }

    async fn bodies(&self, ids: &[BodyId]) -> Vec<Result<Bytes, Fault>> {
        let mut bodies = Vec::with_capacity(ids.len());
        for id in ids {
            bodies.push(self.body(*id).await);
        }
        bodies
    }

    async fn view(&self, mailbox: MailboxId) -> Result<Option<Arc<SharedView>>, Fault> {
        let mut state = self.healthy()?;
        if let Some(view) = state.views.get(&mailbox) {
            return Ok(Some(view.clone()));
        }
        let Some(view) = MailboxView::load(&state.rows, mailbox).map_err(disk)? else {
            return Ok(None);
        };
        let view = Arc::new(SharedView::new(view));
        state.views.insert(mailbox, view.clone());
        Ok(Some(view))
    }

    fn directory(&self) -> Arc<Directory> {
        self.shared.directory.borrow().clone()
    }

    fn watch_directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.shared.directory.subscribe()
    }

    fn account_news(&self, account: AccountId) -> Arc<SharedNews> {
        self.state().newsroom.account(account)
    }

    fn hear_of(&self, account: AccountId, others: Vec<(AccountId, MailboxId)>) {
        self.state().newsroom.hear_of(account, others);
    }

    async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRecord>, Fault> {
        reading::mailboxes(&self.healthy()?.rows, account).map_err(disk)
    }

    async fn mailbox(&self, account: AccountId, name: &str) -> Result<Option<MailboxRecord>, Fault> {
        reading::mailbox_by_name(&self.healthy()?.rows, account, name).map_err(disk)
    }

    async fn visible_mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRecord>, Fault> {
        reading::visible_mailboxes(&self.healthy()?.rows, account).map_err(disk)
    }

    async fn reach(&self, account: AccountId, name: &str) -> Result<Option<MailboxRecord>, Fault> {
        reading::reach(&self.healthy()?.rows, account, name).map_err(disk)
    }

    async fn acl(&self, mailbox: MailboxId) -> Result<Vec<(String, Rights)>, Fault> {
        reading::named_acl(&self.healthy()?.rows, mailbox).map_err(disk)
    }

    async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>, Fault> {
        reading::subscriptions(&self.healthy()?.rows, account).map_err(disk)
    }

    async fn metadata(&self, place: Place, wanted: Vec<Wanted>) -> Result<Vec<Annotation>, Fault> {
        metadata::read(&self.healthy()?.rows, place, &wanted).map_err(disk)
    }

    async fn quota(&self, account: AccountId) -> Result<Quota, Fault> {
        reading::quota(&self.healthy()?.rows, account).map_err(disk)
    }

    async fn sieve_scripts(&self, account: AccountId) -> Result<Vec<ScriptRecord>, Fault> {
        sieve::scripts(&self.healthy()?.rows, account).map_err(disk)
    }

    async fn sieve_script(&self, account: AccountId, name: &str) -> Result<Option<String>, Fault> {
        sieve::script(&self.healthy()?.rows, account, name).map_err(disk)
    }

    async fn active_script(&self, account: AccountId) -> Result<Option<String>, Fault> {
        sieve::active_script(&self.healthy()?.rows, account).map_err(disk)
    }

    fn node(&self) -> NodeId {
        Self::NODE
    }

    fn watch_queue(&self) -> watch::Receiver<QueueTicks> {
        self.shared.queue.subscribe()
    }

    fn watch_budgets(&self) -> broadcast::Receiver<BudgetId> {
        self.shared.budgets.subscribe()
    }

    fn watch_blocks(&self) -> watch::Receiver<Arc<Blocks>> {
        self.shared.blocks.subscribe()
    }

    fn watch_seats(&self) -> broadcast::Receiver<Arc<SeatsChanged>> {
        self.shared.seats.subscribe()
    }

    fn watch_drained(&self) -> watch::Receiver<Arc<BTreeSet<NodeId>>> {
        self.shared.drained.subscribe()
    }

    fn data_nodes(&self) -> usize {
        reading::replicas(&self.state().rows).map_or(0, |replicas| replicas.len())
    }

    async fn read_queue<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> Result<T, RowsError> + Send + 'static,
    ) -> Result<T, Fault> {
        read(&self.healthy()?.rows).map_err(disk)
    }

    fn clock(&self) -> &Clock {
        &self.shared.clock
    }
}

/// Gathers a body; nothing of it is kept unless it is finished.
pub struct MemoryPlacing {
    replica: MemoryReplica,
    raw: BytesMut,
}

impl Placing for MemoryPlacing {
    async fn push(&mut self, bytes: Bytes) -> Result<(), Fault> {
        drop(self.replica.healthy()?);
        self.raw.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self) -> Result<PlacedBody, Fault> {
        drop(self.replica.healthy()?);
        Ok(self.replica.put_body(self.raw.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::Timestamp;
    use crate::state::command::{Deliver, DeliverTo, NewUser};

    #[tokio::test]
    async fn a_placed_mail_is_delivered_and_its_watchers_hear_of_it() {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
        let user = NewUser { name: "alice".into(), password_phc: "$x".into(), quota_bytes: None };
        let added = replica.propose(Command::AddUser(user)).await.unwrap();
        let Outcome::UserAdded { account } = added else { panic!("{added:?}") };
        assert_eq!(replica.directory().users["alice"].account, account);
        let inbox = replica.mailbox(account, "INBOX").await.unwrap().unwrap();
        let view = replica.view(inbox.id).await.unwrap().unwrap();
        let mut news = view.watch();
        let mut placing = replica.place().await.unwrap();
        placing.push(Bytes::from_static(b"Subject: x\r\n\r\n")).await.unwrap();
        let body = placing.finish().await.unwrap();
        let to = DeliverTo { account, mailbox: "INBOX".into(), flags: Default::default() };
        replica.propose(Command::Deliver(Deliver { body: body.clone(), to: vec![to] })).await.unwrap();
        news.changed().await.unwrap();
        assert_eq!(
            view.read(|view| view.messages().iter().next().map(|message| message.body)),
            Some(body.id)
        );
        assert_eq!(replica.body(body.id).await.unwrap().len(), 14);
        replica.fail(Some(Fault::NoQuorum));
        assert!(matches!(replica.mailboxes(account).await, Err(Fault::NoQuorum)));
    }
}
