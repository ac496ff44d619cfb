//! What the service manager is told (sd_notify(3)): that the node is up, that it lives, that it stops. Without a manager
//! that wants to hear it, nothing.

use std::env::VarError;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, error, warn};

use crate::admin::metrics::Vitals;

/// The manager waits so many times longer than one word takes to come.
const WORDS_PER_PATIENCE: u32 = 3;

/// Who is told.
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// How long it waits for a sign of life; `None`: it does not.
    patience: Option<Duration>,
}

impl Manager {
    /// As `NOTIFY_SOCKET` and `WATCHDOG_USEC` name it.
    pub fn of_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self { socket: None, patience: None };
        };
        let socket = connect(&name)
            .inspect_err(|error| {
                warn!("the service manager cannot be told anything ({error}): NOTIFY_SOCKET is {name:?}");
            })
            .ok();
        let patience = patience(std::env::var("WATCHDOG_USEC"), std::env::var("WATCHDOG_PID"));
        Self { socket, patience }
    }

    /// Until the node stops: once `up` is true that it is, then that it lives while it is healthy.
    pub async fn keep_told<V: Vitals>(
        self,
        vitals: V,
        mut up: watch::Receiver<bool>,
        mut stop: watch::Receiver<bool>,
    ) {
        let life = async {
            if up.wait_for(|up| *up).await.is_ok() {
                self.tell("READY=1");
                self.feed(&vitals).await;
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = life => {}
        }
        self.tell("STOPPING=1");
    }

    async fn feed<V: Vitals>(&self, vitals: &V) {
        let Some(patience) = self.patience else { return std::future::pending().await };
        let period = patience / WORDS_PER_PATIENCE;
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let health = vitals.health().await;
            match health.healthy {
                true => self.tell("WATCHDOG=1"),
                false => error!("the service manager gets no sign of life: {}", health.because.join("; ")),
            }
        }
    }

    /// One that does not listen is no reason to stop.
    fn tell(&self, word: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(word.as_bytes()) {
            debug!("the service manager does not hear {word}: {error}");
        }
    }
}

/// A path, or with an `@` in front a name without a file.
fn connect(name: &OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes().split_first() {
        Some((b'@', name)) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(name)?,
    }
    // A manager that reads nothing must not hold the node up.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What is meant for another process is not for this one.
fn patience(micros: Result<String, VarError>, pid: Result<String, VarError>) -> Option<Duration> {
    if pid.is_ok_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let micros = micros.ok()?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::admin::metrics::{Figures, Health, Readiness};
    use crate::clock::Clock;

    /// Well or not, as it is told.
    #[derive(Clone)]
    struct Patient(Arc<AtomicBool>);

    impl Vitals for Patient {
        async fn figures(&self) -> Figures {
            Figures::default()
        }

        async fn health(&self) -> Health {
            let well = self.0.load(Ordering::Relaxed);
            Health::of(if well { Vec::new() } else { vec!["the disk hangs".to_owned()] })
        }

        async fn readiness(&self) -> Readiness {
            Readiness::default()
        }

        fn clock(&self) -> &Clock {
            unreachable!("nobody asks for the time")
        }
    }

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut words = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(octets) = manager.recv(&mut buffer) {
            words.push(String::from_utf8(buffer[..octets].to_vec()).unwrap());
        }
        words
    }

    #[tokio::test(start_paused = true)]
    async fn the_manager_hears_that_the_node_is_up_lives_and_stops() {
        let (ours, manager) = UnixDatagram::pair().unwrap();
        manager.set_nonblocking(true).unwrap();
        let told = Manager { socket: Some(ours), patience: Some(Duration::from_secs(3)) };
        let well = Arc::new(AtomicBool::new(true));
        let (up, stop) = (watch::Sender::new(false), watch::Sender::new(false));
        let telling =
            tokio::spawn(told.keep_told(Patient(Arc::clone(&well)), up.subscribe(), stop.subscribe()));
        let later = async |ms| tokio::time::sleep(Duration::from_millis(ms)).await;
        later(10_000).await;
        assert_eq!(heard(&manager), [""; 0], "it is not up yet");
        up.send_replace(true);
        later(500).await;
        assert_eq!(heard(&manager), ["READY=1"]);
        later(2_000).await;
        assert_eq!(heard(&manager), ["WATCHDOG=1"; 2]);
        well.store(false, Ordering::Relaxed);
        later(10_000).await;
        assert_eq!(heard(&manager), [""; 0], "it is not well");
        well.store(true, Ordering::Relaxed);
        later(1_000).await;
        assert_eq!(heard(&manager), ["WATCHDOG=1"]);
        stop.send_replace(true);
        telling.await.unwrap();
        assert_eq!(heard(&manager), ["STOPPING=1"]);
    }

    #[test]
    fn the_watchdog_is_for_this_process_or_there_is_none() {
        let own = std::process::id().to_string();
        let of = |micros: &str, pid: Option<&str>| {
            let pid = pid.map(str::to_owned).ok_or(VarError::NotPresent);
            patience(Ok(micros.to_owned()), pid)
        };
        assert_eq!(of("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(of("3000000", Some(&own)), Some(Duration::from_secs(3)));
        assert_eq!(of("3000000", Some("1")), None);
        assert_eq!([of("0", None), of("soon", None)], [None, None]);
        assert_eq!(patience(Err(VarError::NotPresent), Err(VarError::NotPresent)), None);
    }
}
