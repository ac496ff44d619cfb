//! What apply tells this node: views, directory, mailbox lists, in-sync set, dropped bodies.
//!
//! Publishing never waits for a listener: watchers hold the newest value, and who lags compares whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OnceCell, broadcast, mpsc, watch};

use super::bodies::ReplicaSet;
use super::replica::QueueTicks;
use super::sealing::Sealer;
use crate::clock::Clock;
use crate::mail::ids::{AccountId, BodyId, MailboxId, NodeId};
use crate::meters::METERS;
use crate::state::blocks::Blocks;
use crate::state::change::Change;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::limits::BudgetId;
use crate::state::news::{Newsroom, SharedNews};
use crate::state::reading;
use crate::state::record::ReplicaRecord;
use crate::state::rows::{Rows, RowsError};
use crate::state::seats::SeatsChanged;
use crate::state::view::{LoadingView, MailboxView, SharedView};

/// Mailbox views kept in memory; beyond it the ones that no session holds go, longest unused first.
pub const VIEWS_MAX: usize = 1_024;
/// Bodies dropped, and as many named, that wait for the keeper; beyond it they are found by its scan.
const TOLD_BODIES_MAX: usize = 16_384;
/// Scarce budgets that wait for a listener; one that lags gives back all that it holds.
const TOLD_BUDGETS_MAX: usize = 1_024;
/// The same of seats; who lags reads the rows.
const TOLD_SEATS_MAX: usize = 1_024;

/// All that is published. Shared by the machine, which writes, and the handles, which read.
pub struct Feed {
    directory: watch::Sender<Arc<Directory>>,
    newsroom: Newsroom,
    views: Mutex<HashMap<MailboxId, Arc<ViewSlot>>>,
    uses: AtomicU64,
    replicas: watch::Sender<Arc<Vec<ReplicaRecord>>>,
    replica_set: watch::Sender<ReplicaSet>,
    queue: watch::Sender<QueueTicks>,
    drained: watch::Sender<Arc<BTreeSet<NodeId>>>,
    budgets: broadcast::Sender<BudgetId>,
    blocks: watch::Sender<Arc<Blocks>>,
    seats: broadcast::Sender<Arc<SeatsChanged>>,
    dropped: Told,
    named: Told,
    /// `None`: this node lacks the CA's key, and knows secrets only as they are sealed.
    sealer: Option<Sealer>,
}

/// Bodies, one by one, for the keeper; it never makes apply wait.
struct Told {
    bodies: mpsc::Sender<BodyId>,
    overflow: AtomicBool,
}

impl Told {
    fn new() -> (Self, mpsc::Receiver<BodyId>) {
        let (bodies, receiver) = mpsc::channel(TOLD_BODIES_MAX);
        (Self { bodies, overflow: AtomicBool::new(false) }, receiver)
    }

    fn tell(&self, body: BodyId) {
        if self.bodies.try_send(body).is_err() {
            self.overflow.store(true, Ordering::Relaxed);
        }
    }
}

/// The keeper's ends of the feed.
pub struct BodyNews {
    /// Bodies that nothing names any longer, as they are dropped.
    pub dropped: mpsc::Receiver<BodyId>,
    /// Bodies that a first message names.
    pub named: mpsc::Receiver<BodyId>,
}

/// A mailbox's view, loading or loaded. It hears every change from the moment it is in the map.
#[derive(Default)]
struct ViewSlot {
    loading: LoadingView,
    view: OnceCell<Option<Arc<SharedView>>>,
    last_used: AtomicU64,
}

impl ViewSlot {
    /// The map's own copies are the cell's and the loader's; a third belongs to a session.
    fn is_idle(self: &Arc<Self>) -> bool {
        const OURS: usize = 2;
        Arc::strong_count(self) == 1
            && match self.view.get() {
                Some(Some(view)) => Arc::strong_count(view) <= OURS,
                Some(None) => true,
                None => false,
            }
    }
}

impl Feed {
    /// An empty feed, and what it tells of bodies.
    pub fn new(sealer: Option<Sealer>) -> (Arc<Self>, BodyNews) {
        let ((dropped, dropped_bodies), (named, named_bodies)) = (Told::new(), Told::new());
        let feed = Self {
            directory: watch::Sender::new(Arc::default()),
            newsroom: Newsroom::default(),
            views: Mutex::default(),
            uses: AtomicU64::new(0),
            replicas: watch::Sender::new(Arc::default()),
            replica_set: watch::Sender::new(ReplicaSet::default()),
            queue: watch::Sender::new(QueueTicks::default()),
            drained: watch::Sender::new(Arc::default()),
            budgets: broadcast::Sender::new(TOLD_BUDGETS_MAX),
            blocks: watch::Sender::new(Arc::default()),
            seats: broadcast::Sender::new(TOLD_SEATS_MAX),
            dropped,
            named,
            sealer,
        };
        (Arc::new(feed), BodyNews { dropped: dropped_bodies, named: named_bodies })
    }

    /// Tells what one apply call changed, once `rows` show it. Blocks on `rows`, never on a listener.
    pub fn publish(&self, rows: &dyn Rows, changes: Vec<Change>) -> Result<(), RowsError> {
        let (mut directory_changed, mut queue_changed, mut blocks_changed) = (false, false, false);
        for change in changes {
            self.newsroom.tell(&change);
            match change {
                Change::Messages(change) => {
                    let slot = held(&self.views).get(&change.mailbox).cloned();
                    if let Some(slot) = slot {
                        slot.loading.take_in(&change);
                    }
                }
                Change::Mailboxes { .. } | Change::Metadata(_) => {}
                Change::MailboxDeleted { mailbox } => self.view_deleted(mailbox),
                Change::Acl { mailbox, acl } => {
                    let slot = held(&self.views).get(&mailbox).cloned();
                    if let Some(slot) = slot {
                        slot.loading.take_in_acl(acl);
                    }
                }
                Change::Directory => directory_changed = true,
                Change::BodyDropped { body } => self.dropped.tell(body),
                Change::BodyNamed { body } => self.named.tell(body),
                Change::Replicas { replicas } => self.replicas_are(replicas),
                Change::Drained { nodes } => self.drained_are(nodes),
                Change::Queue => queue_changed = true,
                Change::QueueRetried => self.queue.send_modify(|ticks| ticks.retries += 1),
                // Without a listener nobody holds anything.
                Change::Budget { budget } => drop(self.budgets.send(budget)),
                Change::Blocks => blocks_changed = true,
                Change::Seats(changed) => drop(self.seats.send(changed)),
            }
        }
        if directory_changed {
            self.load_directory(rows)?;
        }
        if blocks_changed {
            self.blocks.send_replace(Arc::new(Blocks::load(rows)?));
        }
        if queue_changed {
            self.queue_changed();
        }
        Ok(())
    }

    fn load_directory(&self, rows: &dyn Rows) -> Result<(), RowsError> {
        let mut directory = Directory::load(rows)?;
        if let Some(sealer) = &self.sealer {
            sealer.open(&mut directory);
        }
        self.directory.send_replace(Arc::new(directory));
        Ok(())
    }

    /// As it is to be proposed: its secrets sealed.
    pub fn sealed(&self, command: Command, clock: &Clock) -> Command {
        match &self.sealer {
            Some(sealer) => sealer.seal(command, clock),
            None => command,
        }
    }

    fn queue_changed(&self) {
        self.queue.send_modify(|ticks| ticks.changes += 1);
    }

    pub fn queue(&self) -> watch::Receiver<QueueTicks> {
        self.queue.subscribe()
    }

    /// Budgets that are scarce.
    pub fn budgets(&self) -> broadcast::Receiver<BudgetId> {
        self.budgets.subscribe()
    }

    pub fn blocks(&self) -> watch::Receiver<Arc<Blocks>> {
        self.blocks.subscribe()
    }

    /// What nodes may let in of hosts, from now on.
    pub fn seats(&self) -> broadcast::Receiver<Arc<SeatsChanged>> {
        self.seats.subscribe()
    }

    /// Reads everything anew: at the start, and after a snapshot replaced the rows. No apply may run meanwhile.
    pub fn resync(&self, rows: &dyn Rows) -> Result<(), RowsError> {
        METERS.feed_resyncs.one();
        self.load_directory(rows)?;
        self.blocks.send_replace(Arc::new(Blocks::load(rows)?));
        self.replicas_are(reading::replicas(rows)?);
        self.drained_are(reading::drained(rows)?);
        self.newsroom.forget();
        self.queue_changed();
        let slots: Vec<_> = {
            let mut views = held(&self.views);
            views.retain(|_, slot| !matches!(slot.view.get(), Some(None)));
            views.iter().map(|(mailbox, slot)| (*mailbox, slot.clone())).collect()
        };
        for (mailbox, slot) in slots {
            let Some(Some(shared)) = slot.view.get() else { continue };
            match MailboxView::load(rows, mailbox)? {
                Some(view) => shared.update(|old| *old = view),
                None => self.view_deleted(mailbox),
            }
        }
        Ok(())
    }

    /// The mailbox's view; loads it on first use. `None`: there is no such mailbox.
    pub async fn view<R>(&self, rows: R, mailbox: MailboxId) -> Result<Option<Arc<SharedView>>, RowsError>
    where
        R: Rows + 'static,
    {
        let slot = self.slot(mailbox);
        let loaded = slot
            .view
            .get_or_try_init(|| async {
                let loader = slot.clone();
                let load = move || {
                    let view = MailboxView::load(&rows, mailbox)?;
                    Ok(view.map(|view| loader.loading.finish(view)))
                };
                super::blocking::blocking(load)
                    .await
                    .unwrap_or_else(|_| Err(RowsError("the reader of a mailbox was stopped".into())))
            })
            .await?
            .clone();
        if loaded.is_none() {
            // The mailbox may be made later: its view is looked for anew then.
            held(&self.views).remove(&mailbox);
        }
        Ok(loaded)
    }

    pub fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.directory.subscribe()
    }

    pub fn replicas(&self) -> watch::Receiver<Arc<Vec<ReplicaRecord>>> {
        self.replicas.subscribe()
    }

    /// The same, as the bodies need it.
    pub fn replica_set(&self) -> watch::Receiver<ReplicaSet> {
        self.replica_set.subscribe()
    }

    fn replicas_are(&self, replicas: Vec<ReplicaRecord>) {
        self.replica_set.send_replace(ReplicaSet {
            in_sync: replicas.iter().filter(|replica| replica.in_sync).map(|replica| replica.node).collect(),
            data_nodes: replicas.iter().map(|replica| replica.node).collect(),
        });
        self.replicas.send_replace(Arc::new(replicas));
    }

    /// The data nodes that are drained.
    pub fn drained(&self) -> watch::Receiver<Arc<BTreeSet<NodeId>>> {
        self.drained.subscribe()
    }

    fn drained_are(&self, nodes: Vec<NodeId>) {
        self.drained.send_replace(Arc::new(nodes.into_iter().collect()));
    }

    /// True once since bodies were dropped that could not be told one by one.
    pub fn take_dropped_overflow(&self) -> bool {
        self.dropped.overflow.swap(false, Ordering::Relaxed)
    }

    /// The same of bodies that came to be named.
    pub fn take_named_overflow(&self) -> bool {
        self.named.overflow.swap(false, Ordering::Relaxed)
    }

    /// What changes in the account's mailboxes, from now on.
    pub fn account(&self, account: AccountId) -> Arc<SharedNews> {
        self.newsroom.account(account)
    }

    /// The account's news tell of these mailboxes of others, too.
    pub fn hear_of(&self, account: AccountId, others: Vec<(AccountId, MailboxId)>) {
        self.newsroom.hear_of(account, others);
    }

    fn slot(&self, mailbox: MailboxId) -> Arc<ViewSlot> {
        let mut views = held(&self.views);
        if views.len() >= VIEWS_MAX && !views.contains_key(&mailbox) {
            let oldest = views
                .iter()
                .filter(|(_, slot)| slot.is_idle())
                .min_by_key(|(_, slot)| slot.last_used.load(Ordering::Relaxed))
                .map(|(mailbox, _)| *mailbox);
            if let Some(oldest) = oldest {
                views.remove(&oldest);
            }
        }
        let slot = views.entry(mailbox).or_default();
        slot.last_used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        slot.clone()
    }

    fn view_deleted(&self, mailbox: MailboxId) {
        let slot = held(&self.views).remove(&mailbox);
        if let Some(Some(view)) = slot.as_ref().and_then(|slot| slot.view.get()) {
            view.update(|view| view.deleted = true);
        }
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().expect("no holder of the feed's locks panics")
}
