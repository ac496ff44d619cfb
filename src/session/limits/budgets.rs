//! What this node holds of budgets, one purse each; forgotten when their windows are over. Never more than a fixed number.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::mail::ids::{LogIndex, Timestamp};
use crate::state::limits::{BudgetId, Limit, neighbours};

/// Purses at once; beyond it a host shares one with its neighbours.
pub const PURSES_MAX: usize = 100_000;
/// Purses of neighbours on top; beyond it all that have none share one.
pub const WIDE_PURSES_MAX: usize = 10_000;

/// Tokens of one budget.
#[derive(Debug, Default)]
pub struct Purse {
    pub until: Timestamp,
    pub tokens: u64,
    /// Clients that passed here.
    pub passed: u64,
    /// 0: nothing is held in advance.
    pub grant: LogIndex,
    /// When the budget was this large, so many were not to be had.
    pub refused_at: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
pub struct Slot {
    pub purse: tokio::sync::Mutex<Purse>,
}

type Slots = HashMap<(Limit, Vec<u8>), Arc<Slot>>;

#[derive(Debug, Default)]
pub struct Budgets {
    slots: Mutex<(Slots, Timestamp)>,
}

impl Budgets {
    /// The purse, and whose it is: the host's, or that of more hosts where there is no room.
    pub fn slot(&self, limit: Limit, key: &[u8], now: Timestamp) -> (Vec<u8>, Arc<Slot>) {
        let mut locked = self.locked();
        let (slots, swept_in) = &mut *locked;
        let window = limit.window_end(now);
        if slots.len() >= PURSES_MAX && *swept_in != window {
            // Once in a window: a flood of hosts must not cost a look at all of them each.
            *swept_in = window;
            slots.retain(|_, slot| match slot.purse.try_lock() {
                Ok(purse) => purse.until > now,
                Err(_) => true,
            });
        }
        let full = PURSES_MAX + WIDE_PURSES_MAX;
        // There are no more of these than users.
        let own_max = if limit.is_of_users() { usize::MAX } else { PURSES_MAX };
        let ladder =
            [(key.to_vec(), own_max), (neighbours(key), full), (Vec::new(), full + Limit::ALL.len())];
        for (key, slots_max) in ladder {
            let has_room = slots.len() < slots_max;
            match slots.entry((limit, key.clone())) {
                Entry::Occupied(slot) => return (key, Arc::clone(slot.get())),
                Entry::Vacant(place) if has_room => return (key, Arc::clone(place.insert(Arc::default()))),
                Entry::Vacant(_) => {}
            }
        }
        // There is room for that of all, of each limit.
        (Vec::new(), Arc::default())
    }

    pub fn known(&self, limit: Limit, key: &[u8]) -> Option<Arc<Slot>> {
        self.locked().0.get(&(limit, key.to_vec())).cloned()
    }

    /// All budgets of which something is held.
    pub async fn held(&self) -> Vec<BudgetId> {
        let slots: Vec<_> = {
            let locked = self.locked();
            locked.0.iter().map(|(name, slot)| (name.clone(), Arc::clone(slot))).collect()
        };
        let mut held = Vec::new();
        for ((limit, key), slot) in slots {
            let purse = slot.purse.lock().await;
            if purse.grant != LogIndex(0) {
                held.push(BudgetId { until: purse.until, limit, key });
            }
        }
        held
    }

    fn locked(&self) -> MutexGuard<'_, (Slots, Timestamp)> {
        self.slots.lock().expect("no holder of this lock panics")
    }
}
