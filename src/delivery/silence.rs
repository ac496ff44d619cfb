//! Servers that could not be reached, and destinations that had none: left alone for a while, so that what waits for them
//! costs others nothing. What is due there meanwhile is put off, with the same reason, without another try.
//!
//! Of this node alone and in memory: whoever starts tries everything. It must never put off what a server answered.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::reply::Reply;

/// A server that took no connection is not called again for as long as it kept us waiting, within these, whatever is due.
const HOST_ALONE_FOR_MIN: Duration = Duration::from_secs(1);
const HOST_ALONE_FOR_MAX: Duration = Duration::from_secs(60);
/// Between the end of a batch for a destination without a server and the next one.
const DESTINATION_ALONE_FOR: Duration = Duration::from_secs(1);
/// A destination that nothing was tried for since is taken for any other.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Further ones put all others out of mind: they are tried once more.
const HOSTS_MAX: usize = 10_000;
const DESTINATIONS_MAX: usize = 10_000;

/// By address, with when each is called again, and why it is not before.
#[derive(Default)]
pub struct SilentHosts(Mutex<HashMap<SocketAddr, (Instant, Reply)>>);

impl SilentHosts {
    /// It was called at `since`, and has just come to nothing.
    pub fn note(&self, address: SocketAddr, since: Instant, why: Reply) {
        let (mut hosts, now) = (self.lock(), Instant::now());
        if hosts.len() >= HOSTS_MAX {
            hosts.retain(|_, (until, _)| *until > now);
        }
        if hosts.len() >= HOSTS_MAX {
            hosts.clear();
        }
        let alone = now.duration_since(since).clamp(HOST_ALONE_FOR_MIN, HOST_ALONE_FOR_MAX);
        hosts.insert(address, (now + alone, why));
    }

    /// Why it is left alone, while it is.
    pub fn of(&self, address: SocketAddr) -> Option<Reply> {
        let mut hosts = self.lock();
        let (until, why) = hosts.get(&address)?;
        if *until > Instant::now() {
            return Some(why.clone());
        }
        hosts.remove(&address);
        None
    }

    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, (Instant, Reply)>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// Destinations whose last batch reached no server, and when the next may begin. Cheap to clone.
#[derive(Clone, Default)]
pub struct SilentDestinations(Arc<HashMap<String, Instant>>);

impl SilentDestinations {
    /// What a batch came to that ends now.
    pub fn note(&mut self, destination: &str, reached: Reached) {
        let (known, now) = (Arc::make_mut(&mut self.0), Instant::now());
        match reached {
            Reached::Somebody => drop(known.remove(destination)),
            Reached::Nobody => {
                if known.len() >= DESTINATIONS_MAX {
                    known.retain(|_, from| now.saturating_duration_since(*from) < REMEMBERED_FOR);
                }
                if known.len() >= DESTINATIONS_MAX {
                    known.clear();
                }
                known.insert(destination.to_owned(), now + DESTINATION_ALONE_FOR);
            }
        }
    }

    pub fn contains(&self, destination: &str) -> bool {
        self.0.get(destination).is_some_and(|from| from.elapsed() < REMEMBERED_FOR)
    }

    /// Those that nothing is begun for now.
    pub fn alone(&self) -> impl Iterator<Item = &str> {
        let now = Instant::now();
        self.0.iter().filter(move |(_, from)| **from > now).map(|(destination, _)| destination.as_str())
    }

    /// Until the first of those may be begun with.
    pub fn next(&self) -> Option<Duration> {
        let now = Instant::now();
        self.0.values().filter(|from| **from > now).min().map(|from| *from - now)
    }

    pub fn forget(&mut self) {
        self.0 = Arc::default();
    }
}

/// Whether any server was there for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Somebody,
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, (number >> 8) as u8, number as u8], 25))
    }

    fn why() -> Reply {
        Reply::of_ours(451, (4, 4, 1), "no connection in time")
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_left_alone_for_a_while_and_then_called_again() {
        let hosts = SilentHosts::default();
        for (waited, alone) in [(0, 1_000), (30_000, 30_000), (90_000, 60_000)] {
            let since = Instant::now();
            tokio::time::advance(Duration::from_millis(waited)).await;
            hosts.note(address(1), since, why());
            assert_eq!(hosts.of(address(2)), None);
            tokio::time::advance(Duration::from_millis(alone - 1)).await;
            assert_eq!(hosts.of(address(1)), Some(why()), "{waited} ms");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(hosts.of(address(1)), None, "{waited} ms");
        }
        hosts.note(address(1), Instant::now(), why());
        hosts.forget();
        assert_eq!(hosts.of(address(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let hosts = SilentHosts::default();
        hosts.note(address(0), Instant::now(), why());
        tokio::time::advance(HOST_ALONE_FOR_MIN).await;
        for number in 1..=HOSTS_MAX {
            hosts.note(address(number), Instant::now(), why());
        }
        assert_eq!(hosts.lock().len(), HOSTS_MAX, "the old one went");
        hosts.note(address(HOSTS_MAX + 1), Instant::now(), why());
        assert_eq!(hosts.lock().len(), 1);

        let mut destinations = SilentDestinations::default();
        for number in 0..=DESTINATIONS_MAX {
            destinations.note(&format!("{number}.test"), Reached::Nobody);
        }
        assert_eq!(destinations.0.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_waits_for_a_moment_and_is_known_until_somebody_answers() {
        let mut destinations = SilentDestinations::default();
        destinations.note("x.test", Reached::Nobody);
        assert_eq!(destinations.alone().collect::<Vec<_>>(), ["x.test"]);
        assert_eq!(destinations.next(), Some(DESTINATION_ALONE_FOR));
        tokio::time::advance(DESTINATION_ALONE_FOR).await;
        assert_eq!((destinations.alone().count(), destinations.next()), (0, None));
        assert!(destinations.contains("x.test"));
        destinations.note("x.test", Reached::Somebody);
        assert!(!destinations.contains("x.test"));
        destinations.note("x.test", Reached::Nobody);
        tokio::time::advance(DESTINATION_ALONE_FOR + REMEMBERED_FOR).await;
        assert!(!destinations.contains("x.test"));
    }
}
