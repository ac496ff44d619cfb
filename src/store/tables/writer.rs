//! The one thread that writes the rows and, between batches, gives open views their turns.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::engine::{Engine, Row, io_error};
use super::overlay::Overlay;
use super::recent::Recent;
use super::{CONDEMNED_NAME, CURRENT_NAME, TablesError, TablesLimits, condemn, generation_name};
use crate::state::rows::Batch;
use crate::store::files;

pub type Answer<T> = SyncSender<Result<T, TablesError>>;

/// What is done in the order it was asked.
pub enum Ordered {
    Write(Batch, Answer<()>),
    /// Brings into the engine what gathered.
    Flush(Answer<()>),
    Sync(Answer<()>),
    Install {
        engine: Engine,
        generation: u64,
        answer: Answer<()>,
    },
}

/// What goes on while writers are throttled.
pub enum Turn {
    Begin(Answer<u64>),
    Next { view: u64, rows_max: usize, answer: Answer<(Vec<Row>, bool)> },
    End(u64),
}

/// What waits for the writer. Bounded: beyond `batches_queued_max` a writer waits.
#[derive(Default)]
pub struct Queue {
    pub ordered: VecDeque<Ordered>,
    pub turns: VecDeque<Turn>,
    pub closed: bool,
}

/// What callers and the writer share.
pub struct Core {
    pub dir: PathBuf,
    pub limits: TablesLimits,
    pub engine: arc_swap::ArcSwap<Engine>,
    pub damage: Mutex<Option<String>>,
    pub queue: Mutex<Queue>,
    pub work: Condvar,
    pub room: Condvar,
    pub recent: Recent,
}

impl Core {
    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers damage, so that the node hears of it wherever it was found.
    pub fn noting<T>(&self, result: Result<T, TablesError>) -> Result<T, TablesError> {
        if let Err(TablesError::Damaged(what)) = &result {
            let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
            if damage.is_none() {
                tracing::error!(dir = %self.dir.display(), %what, "the tables are damaged");
                *damage = Some(what.clone());
                if let Err(error) = condemn(&self.dir, what) {
                    tracing::error!(%error, "that they are could not be noted for the next start");
                }
            }
        }
        result
    }
}

struct OpenView {
    overlay: Overlay,
    /// When its reader last took a turn.
    touched: Instant,
}

pub struct Writer {
    pub core: Arc<Core>,
    views: BTreeMap<u64, OpenView>,
    next_view: u64,
    generation: u64,
}

enum Work {
    Ordered(Vec<Ordered>),
    Turn(Turn),
    /// What gathered has waited long enough.
    Due,
    Stalled,
    Closed,
}

impl Writer {
    pub fn new(core: Arc<Core>, generation: u64) -> Self {
        Self { core, views: BTreeMap::new(), next_view: 1, generation }
    }

    pub fn run(mut self) {
        loop {
            match self.next_work() {
                Work::Ordered(group) => self.handle_group(group),
                Work::Turn(turn) => self.handle_turn(turn),
                Work::Due => drop(self.flush()),
                Work::Stalled => self.abandon_stalled(),
                Work::Closed => break,
            }
        }
        let _ = self.flush();
    }

    /// Who writes next hears of an error.
    fn flush(&mut self) -> Result<(), TablesError> {
        let batch = self.core.recent.leave();
        let written = match batch.is_empty() {
            true => Ok(()),
            false => self.core.noting(self.core.engine.load().apply(&batch)),
        };
        self.core.recent.left(written.clone());
        written
    }

    /// Turns come first; writes wait while a view's pre-images are at their bound.
    fn next_work(&self) -> Work {
        let core = self.core.clone();
        let mut queue = core.lock();
        loop {
            if let Some(turn) = queue.turns.pop_front() {
                return Work::Turn(turn);
            }
            let deadline = self.throttled_until();
            if deadline.is_none() && !queue.ordered.is_empty() {
                core.room.notify_all();
                return Work::Ordered(queue.ordered.drain(..).collect());
            }
            if queue.closed && queue.ordered.is_empty() {
                return Work::Closed;
            }
            let due = self.core.recent.due();
            let due_in = due.map(|due| due.saturating_duration_since(Instant::now()));
            if due_in.is_some_and(|left| left.is_zero()) {
                return Work::Due;
            }
            queue = match deadline {
                // Without a waiting write nobody is hurt by a view that rests.
                Some(deadline) if !queue.ordered.is_empty() => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Work::Stalled;
                    }
                    core.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) | None => match due_in {
                    Some(left) => {
                        core.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => core.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                },
            };
        }
    }

    /// When the first view that holds writers up is given up; `None`: none does.
    fn throttled_until(&self) -> Option<Instant> {
        let full = |view: &&OpenView| view.overlay.bytes >= self.core.limits.before_images_bytes_max;
        let deadlines =
            self.views.values().filter(full).map(|view| view.touched + self.core.limits.view_stall);
        deadlines.min()
    }

    fn abandon_stalled(&mut self) {
        let (bound, stall) = (self.core.limits.before_images_bytes_max, self.core.limits.view_stall);
        self.views.retain(|_, view| view.overlay.bytes < bound || view.touched.elapsed() < stall);
        self.core.recent.set_through(!self.views.is_empty());
        tracing::warn!("a view of the tables stalled while writers waited; it was abandoned");
    }

    fn handle_group(&mut self, group: Vec<Ordered>) {
        let mut merged = Batch::new();
        let mut waiting = Vec::new();
        for ordered in group {
            match ordered {
                Ordered::Write(batch, answer) => {
                    merged.extend(batch);
                    waiting.push(answer);
                }
                Ordered::Flush(answer) => {
                    self.write(&mut merged, &mut waiting);
                    tell(&answer, self.flush());
                }
                Ordered::Sync(answer) => {
                    self.write(&mut merged, &mut waiting);
                    let synced = self.flush().and_then(|()| self.core.noting(self.core.engine.load().sync()));
                    tell(&answer, synced);
                }
                Ordered::Install { engine, generation, answer } => {
                    self.write(&mut merged, &mut waiting);
                    // The old rows are wanted only if the new ones do not come to count.
                    let _ = self.flush();
                    tell(&answer, self.install(engine, generation));
                }
            }
        }
        self.write(&mut merged, &mut waiting);
    }

    /// Writes what has gathered as one batch and answers all who wait for it.
    fn write(&mut self, merged: &mut Batch, waiting: &mut Vec<Answer<()>>) {
        if waiting.is_empty() {
            return;
        }
        let batch = std::mem::take(merged);
        let engine = self.core.engine.load();
        let mut views = self.views.values_mut();
        let kept = views.try_for_each(|view| view.overlay.keep(&batch, |key| engine.get(key)));
        let result = self.core.noting(kept.and_then(|()| engine.apply(&batch)));
        waiting.drain(..).for_each(|answer| tell(&answer, result.clone()));
    }

    /// The switch is the replaced file: before it the old rows count, after it the new ones.
    fn install(&mut self, engine: Engine, generation: u64) -> Result<(), TablesError> {
        let name = generation_name(generation);
        let current = self.core.dir.join(CURRENT_NAME);
        let switched = files::write_atomically(&current, name.as_bytes()).map_err(io_error);
        // A failed sync of the name may come after the rename: then a restart would take the new rows,
        // so they count from now on, though the caller hears of the error.
        if switched.is_err() && fs::read(&current).ok().as_deref() != Some(name.as_bytes()) {
            return switched;
        }
        self.views.clear();
        self.core.recent.begin_anew();
        // What was wrong with the old rows is not wrong with these.
        *self.core.damage.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = fs::remove_file(self.core.dir.join(CONDEMNED_NAME));
        drop(self.core.engine.swap(Arc::new(engine)));
        let old = self.core.dir.join(generation_name(std::mem::replace(&mut self.generation, generation)));
        if let Err(error) = fs::remove_dir_all(&old) {
            tracing::warn!(%error, dir = %old.display(), "old rows are removed at the next start");
        }
        switched
    }

    fn handle_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Begin(answer) => {
                // What is written from now on is met here, where views keep what was before it.
                self.core.recent.set_through(true);
                let begun = self.flush().map(|()| {
                    let view = self.next_view;
                    self.next_view += 1;
                    self.views
                        .insert(view, OpenView { overlay: Overlay::default(), touched: Instant::now() });
                    view
                });
                self.core.recent.set_through(!self.views.is_empty());
                tell(&answer, begun);
            }
            Turn::Next { view, rows_max, answer } => tell(&answer, self.next_rows(view, rows_max)),
            Turn::End(view) => {
                self.views.remove(&view);
                self.core.recent.set_through(!self.views.is_empty());
            }
        }
    }

    fn next_rows(&mut self, view: u64, rows_max: usize) -> Result<(Vec<Row>, bool), TablesError> {
        let gone = || TablesError::ViewAbandoned("its reader stalled or the rows were replaced".into());
        let view = self.views.get_mut(&view).ok_or_else(gone)?;
        view.touched = Instant::now();
        let engine = self.core.engine.load();
        let mut now: Vec<Row> = Vec::with_capacity(rows_max);
        let mut end = true;
        let scanned = engine.scan(&view.overlay.from(), None, &mut |key, value| {
            if now.len() == rows_max {
                end = false;
                return ControlFlow::Break(());
            }
            now.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        self.core.noting(scanned)?;
        Ok(view.overlay.turn(now, end, rows_max))
    }
}

/// Whoever asked may have gone meanwhile.
fn tell<T>(answer: &Answer<T>, result: Result<T, TablesError>) {
    let _ = answer.try_send(result);
}
