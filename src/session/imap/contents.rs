//! What messages hold, of several at a time: remembered, or made of their bytes, which are read together.

use std::sync::Arc;

use bytes::Bytes;

use super::question::{Stored, Together};
use super::summary::{Remembered, Weighed};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::{AccountId, BodyId};
use crate::session::reading::{ReadingRoom, UNCOUNTED_BYTES_MAX};

/// One session's way to them.
pub struct Contents<'a, R> {
    pub replica: &'a R,
    pub reading: &'a ReadingRoom,
    pub account: AccountId,
}

impl<R: Replica> Contents<'_, R> {
    /// What is remembered of each message, or else what `make` makes of its bytes, in the order asked; `None` where it
    /// cannot be read now.
    pub async fn derived<T: Weighed>(
        &self,
        remembered: &Remembered<T>,
        messages: &[Stored],
        make: impl Fn(BodyId, &[u8]) -> T,
    ) -> Vec<Option<Arc<T>>> {
        let mut found: Vec<_> = messages.iter().map(|(body, _)| remembered.get(*body)).collect();
        let unknown: Vec<usize> = (0..messages.len()).filter(|at| found[*at].is_none()).collect();
        let mut left = &unknown[..];
        while !left.is_empty() {
            let mut together = Together::default();
            let count = left.iter().take_while(|at| together.takes(messages[**at].1)).count();
            let (some, others) = left.split_at(count);
            let wanted: Vec<Stored> = some.iter().map(|at| messages[*at]).collect();
            for (at, raw) in some.iter().zip(self.bodies(&wanted).await) {
                found[*at] = raw.map(|raw| remembered.put(messages[*at].0, make(messages[*at].0, &raw)));
            }
            left = others;
        }
        found
    }

    /// Those that can be read now, in the order asked; [`Together`] bounds them.
    pub async fn bodies(&self, messages: &[Stored]) -> Vec<Option<Bytes>> {
        let bodies = match messages {
            [(body, size)] if u64::from(*size) > UNCOUNTED_BYTES_MAX => {
                vec![self.reading.read(self.replica, self.account, (*body, u64::from(*size))).await]
            }
            messages => {
                let ids: Vec<BodyId> = messages.iter().map(|(body, _)| *body).collect();
                self.replica.bodies(&ids).await
            }
        };
        let readable = |body: Result<Bytes, Fault>| {
            body.inspect_err(|fault| tracing::warn!(%fault, "a message could not be read")).ok()
        };
        bodies.into_iter().map(readable).collect()
    }
}
