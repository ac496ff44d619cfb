//! Pauses before replies, for clients that keep us busy with nothing. A pause is a wait of one session alone; how many
//! sessions are in one at a time is bounded. Decides nothing: the machine says for how long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Sessions of a node that are in a pause at a time; a further one is ended instead.
pub const DELAYED_SESSIONS_MAX: usize = 500;

/// Shared by all sessions of a node. Cheap to clone.
#[derive(Clone)]
pub struct Delays(Arc<Semaphore>);

/// As many sessions as may be in a pause are in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl Default for Delays {
    fn default() -> Self {
        Self::new(DELAYED_SESSIONS_MAX)
    }
}

impl Delays {
    pub fn new(sessions_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(sessions_max)))
    }

    pub async fn wait(&self, seconds: u64) -> Result<(), Crowded> {
        let _place = self.0.try_acquire().map_err(|_| Crowded)?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_takes_its_time_and_no_more_sessions_are_in_one_than_may_be() {
        let delays = Delays::new(2);
        let began = Instant::now();
        let (one, two, three) = tokio::join!(delays.wait(3), delays.wait(1), delays.wait(1));
        assert_eq!((one, two, three), (Ok(()), Ok(()), Err(Crowded)));
        assert_eq!(began.elapsed().as_secs(), 3);
        let began = Instant::now();
        assert_eq!(delays.wait(2).await, Ok(()), "the places are given back");
        assert_eq!(began.elapsed().as_secs(), 2);
        assert!(tokio::time::timeout(Duration::from_secs(1), delays.wait(9)).await.is_err());
        let both = tokio::join!(delays.wait(1), delays.wait(1));
        assert_eq!(both, (Ok(()), Ok(())), "also by a session that ends in its pause");
    }
}
