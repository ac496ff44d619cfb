//! What one user may send in a day, by the settings of the moment.

use std::sync::Arc;

use super::{Limits, Spent};
use crate::mail::ids::AccountId;
use crate::state::limits::{Limit, user_key};

pub struct UserLimits {
    limits: Arc<Limits>,
}

impl UserLimits {
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits }
    }

    /// Counts one mail of so many bytes. The size first: a mail that is too large costs none of the others.
    pub async fn mail(&self, account: AccountId, bytes: u64) -> Result<(), Spent> {
        let (messages_max, bytes_max) = {
            let directory = self.limits.directory.borrow();
            let settings = directory.settings();
            (settings.send_messages_per_day(), settings.send_bytes_per_day())
        };
        let key = user_key(account);
        if !self.limits.take_some(Limit::BytesSentPerDay, &key, (bytes, bytes_max)).await {
            return Err(Spent::BytesSent);
        }
        let counted = self.limits.take_some(Limit::MessagesSentPerDay, &key, (1, messages_max)).await;
        counted.then_some(()).ok_or(Spent::MessagesSent)
    }
}
