//! The bodies' part.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Lie, Open, State};
use crate::mail::ids::BodyId;
use crate::store::segments::{BodyBytes, BodyDisk, BodyError, Scrubbed};

/// Bodies of one stretch of a scrub.
const SCRUB_BODIES: usize = 256;

fn gone() -> BodyError {
    BodyError::Io("the process is dead".into())
}

impl Open {
    fn synced(&self, state: &mut State, id: BodyId, bytes: Bytes) {
        let lied = state.lie == Lie::ForgetsBodies && !state.bodies.contains_key(&id);
        if lied {
            state.bodies_lied.push(id);
        }
        state.bodies.insert(id, bytes);
        state.bodies_forgotten.remove(&id);
        state.bodies_young_until.insert(id, Instant::now() + self.grace);
    }
}

impl BodyDisk for Open {
    fn store(&self, id: BodyId, bytes: Bytes) -> BoxFuture<'static, Result<(), BodyError>> {
        let open = self.clone();
        Box::pin(async move {
            {
                let mut state = open.state().ok_or_else(gone)?;
                state.bodies_unsynced.insert(id, bytes.clone());
                state.bodies_syncing_since.entry(id).or_insert_with(Instant::now);
            }
            open.shared.sync_time().await;
            let mut state = open.state().ok_or_else(gone)?;
            state.bodies_unsynced.remove(&id);
            state.bodies_syncing_since.remove(&id);
            open.synced(&mut state, id, bytes);
            Ok(())
        })
    }

    fn store_now(&self, id: BodyId, bytes: Bytes) -> Result<(), BodyError> {
        let mut state = self.state().ok_or_else(gone)?;
        self.synced(&mut state, id, bytes);
        Ok(())
    }

    fn sync_running_for(&self) -> Option<std::time::Duration> {
        let state = self.state()?;
        state.bodies_syncing_since.values().min().map(|since| since.elapsed())
    }

    fn get(&self, id: BodyId) -> Result<Option<Bytes>, BodyError> {
        Ok(self.state().ok_or_else(gone)?.bodies.get(&id).cloned())
    }

    fn contains(&self, id: BodyId) -> Result<bool, BodyError> {
        Ok(self.state().ok_or_else(gone)?.bodies.contains_key(&id))
    }

    fn count(&self) -> u64 {
        self.state().map_or(0, |state| state.bodies.len() as u64)
    }

    fn bytes(&self) -> BodyBytes {
        let live = self.state().map_or(0, |state| state.bodies.values().map(|body| body.len() as u64).sum());
        BodyBytes { live, on_disk: live }
    }

    fn forget(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, BodyError> {
        let mut state = self.state().ok_or_else(gone)?;
        let now = Instant::now();
        let mut young = Vec::new();
        for id in ids {
            if state.bodies_young_until.get(id).is_some_and(|until| now < *until) {
                young.push(*id);
            } else if let Some(bytes) = state.bodies.remove(id) {
                state.bodies_forgotten.insert(*id, bytes);
            }
        }
        Ok(young)
    }

    fn ids_after(&self, after: Option<BodyId>, max: usize) -> Result<Vec<BodyId>, BodyError> {
        let state = self.state().ok_or_else(gone)?;
        let behind = |id: &&BodyId| after.is_none_or(|after| **id > after);
        Ok(state.bodies.keys().filter(behind).take(max).copied().collect())
    }

    fn scrub(&self, after: Option<BodyId>, _bytes_max: u64) -> Result<Scrubbed, BodyError> {
        let ids = self.ids_after(after, SCRUB_BODIES)?;
        let next = ids.last().copied().filter(|_| ids.len() == SCRUB_BODIES);
        Ok(Scrubbed { next, checked: ids.len() as u64, bytes: 0, corrupt: Vec::new() })
    }
}
