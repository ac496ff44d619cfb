//! One port: binds it, hands its connections on, says what state it is in.
//!
//! A used port is said once and tried again in the background; errors of accept never spin.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::porter::{Welcome, closes};
use crate::state::settings::ListenerName;

/// As many as tokio has the kernel let in ahead; those who come while these are taken are reset.
const WAITING_MAX: usize = 1_024;
pub(super) const BIND_RETRY_MS: u64 = 1_000;
/// After accept failed for want of descriptors or memory: time for some to come free.
pub(super) const ACCEPT_RETRY_MS: u64 = 200;

/// One line of `cluster status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStatus {
    pub name: ListenerName,
    pub place: Place,
    pub state: ServiceState,
}

/// Where a service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// With the node's port offset.
    Port(u16),
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Port(port) => write!(f, "{port}"),
            Place::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    Starting,
    Listening,
    /// Switched off by its setting.
    Off,
    /// Shut while the node is drained, or because it stops.
    Shut,
    /// Cannot listen; tried again by itself. One line that says why.
    Failed(String),
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceState::Starting => write!(f, "starting"),
            ServiceState::Listening => write!(f, "listening"),
            ServiceState::Off => write!(f, "off"),
            ServiceState::Shut => write!(f, "shut"),
            ServiceState::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// A port's state, shared with whoever asks.
#[derive(Clone)]
pub(super) struct StatusCell(Arc<watch::Sender<ServiceState>>);

impl StatusCell {
    pub fn new(state: ServiceState) -> Self {
        Self(Arc::new(watch::Sender::new(state)))
    }

    pub fn get(&self) -> ServiceState {
        self.0.borrow().clone()
    }

    /// True when this is news.
    pub fn set(&self, state: ServiceState) -> bool {
        self.0.send_if_modified(|now| {
            let news = *now != state;
            *now = state;
            news
        })
    }

    /// Once it is known whether the port can be had.
    pub async fn settled(&self) {
        // The sender is this cell's own.
        let _ = self.0.subscribe().wait_for(|state| *state != ServiceState::Starting).await;
    }
}

/// Listens until nobody is let in any longer, or the task is aborted; `take` gets each connection and must not block.
pub(super) async fn listen(
    name: ListenerName,
    address: SocketAddr,
    status: StatusCell,
    mut welcome: watch::Receiver<Welcome>,
    take: impl Fn(TcpStream, SocketAddr),
) {
    // Replies are whole when they are written; waiting for more only adds delay.
    let take = move |socket: TcpStream, peer| {
        let _ = socket.set_nodelay(true);
        take(socket, peer);
    };
    let listener = tokio::select! {
        () = closes(&mut welcome) => return,
        listener = bind(name, address, &status) => listener,
    };
    loop {
        let accepted = tokio::select! {
            () = closes(&mut welcome) => return take_those_who_wait(listener, take),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                status.set(ServiceState::Listening);
                take(socket, peer);
            }
            Err(fault) if is_the_clients(&fault) => {}
            Err(fault) => {
                if status.set(ServiceState::Failed(format!("cannot take connections: {fault}"))) {
                    error!("{name:?} on {address} cannot take connections: {fault}");
                }
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// A port that is shut resets those whom the kernel has let in and nobody has taken; they are told instead.
fn take_those_who_wait(listener: TcpListener, take: impl Fn(TcpStream, SocketAddr)) {
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..WAITING_MAX {
        let Ok((socket, peer)) = listener.accept() else { return };
        if let Ok(socket) = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket)) {
            take(socket, peer);
        }
    }
}

async fn bind(name: ListenerName, address: SocketAddr, status: &StatusCell) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                status.set(ServiceState::Listening);
                info!("{name:?} listens on {address}");
                return listener;
            }
            Err(fault) => {
                let why = explain(address, &fault);
                if status.set(ServiceState::Failed(why.clone())) {
                    warn!("{name:?}: {why}");
                }
                tokio::time::sleep(Duration::from_millis(BIND_RETRY_MS)).await;
            }
        }
    }
}

fn explain(address: SocketAddr, fault: &io::Error) -> String {
    let port = address.port();
    match fault.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is used by another program; stop it, or give this service another port")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} needs CAP_NET_BIND_SERVICE; grant it, or give this service a port above 1023"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine; correct listen.address", address.ip())
        }
        _ => format!("cannot listen on {address}: {fault}"),
    }
}

/// The connection was gone before it was taken.
fn is_the_clients(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
