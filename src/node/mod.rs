//! The composition root: builds the rooms bottom-up, stops them top-down; alone knows everyone.

mod acme;
mod address;
mod arenas;
mod backup;
mod descriptors;
mod draining;
mod firewall;
mod first;
mod inquiry;
mod live;
mod logging;
mod manager;
mod naming;
mod operator;
mod reload;
mod sight;
#[cfg(test)]
mod tests;
mod trace;
mod vitals;

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use self::address::SharedAddresses;
use self::draining::SharedDeliveries;
use self::firewall::SharedFirewall;
use self::vitals::RecentSyncs;
use crate::admin::control::server::{ControlSocket, Operator};
use crate::cluster::replica::Replica;
use crate::config::{Config, Role};
use crate::delivery::Delivery;
use crate::delivery::tls_reports::Asker;
use crate::dns::{self, Resolver};
use crate::firewall::Place;
use crate::maillog::{self, MailLog};
use crate::session::driver::Bounds;
use crate::session::listener::ServiceState;
use crate::session::local_listener;
use crate::session::login::LoginBounds;
use crate::session::services::{Services, ServicesConfig};
use crate::session::smtp::checked::Checks;
use crate::session::tls::TlsStore;
use crate::state::directory::Directory;
use crate::state::lists::Rule;
use crate::state::settings::ListenerName;
use crate::store::files;

/// How long clients get to end what they are in the middle of when the node stops, and then to hear the farewell. An
/// operator who can wait drains the node first.
const SESSIONS_END_MS_MAX: u64 = 5_000;
const SESSIONS_STOP_MS_MAX: u64 = 5_000;
/// How long it may take until it is known which ports can be had.
const PORTS_SETTLE_MS_MAX: u64 = 5_000;
/// How long a mail that is on its way to another server may take to its end; the other node sends the rest.
const DELIVERIES_STOP_MS_MAX: u64 = 5_000;
/// A blocking call of a session (argon2id, a body read) beyond this many waits for a thread.
const BLOCKING_THREADS_MAX: usize = 64;
/// Where files lie that are on their way somewhere, below the node's folder.
const SPOOL: &str = "spool";

/// Runs the node until it is told to stop. `Err` is one line for the operator.
pub fn serve(config: Config) -> Result<(), String> {
    arenas::bound();
    logging::start(&config.log, &config.name)?;
    descriptors::raise();
    let tls = certificate(&config)?;
    let runtime = runtime(config.role)?;
    let outcome = runtime.block_on(live::live(&config, tls));
    // What still runs is bounded by its own waits; nothing durable depends on it any more.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

/// Of the mail services. A witness has none.
fn certificate(config: &Config) -> Result<Option<Arc<TlsStore>>, String> {
    match (&config.tls, config.role) {
        (Some(tls), Role::Data) => {
            let store = TlsStore::from_pem(&tls.cert, &tls.key).map_err(|error| error.to_string())?;
            Ok(Some(Arc::new(store)))
        }
        (None, Role::Data) => Ok(Some(Arc::default())),
        (_, Role::Witness) => Ok(None),
    }
}

/// The sessions' runtime. A witness has none and lives on one thread.
fn runtime(role: Role) -> Result<Runtime, String> {
    let mut builder = match role {
        Role::Data => Builder::new_multi_thread(),
        Role::Witness => Builder::new_current_thread(),
    };
    let built = builder.enable_all().thread_name("pollux").max_blocking_threads(BLOCKING_THREADS_MAX).build();
    built.map_err(|error| format!("the runtime cannot start: {error}"))
}

/// The node's process id, for scripts; gone after an orderly stop.
struct PidFile(PathBuf);

impl PidFile {
    fn write(dir: &Path) -> Result<Self, String> {
        let path = dir.join("pid");
        let text = format!("{}\n", std::process::id());
        files::write_atomically(&path, text.as_bytes())
            .map_err(|error| format!("{}: cannot be written ({error}); is the disk full?", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Turns true when the node is to stop: by signal or by an operator.
pub(crate) type Stop = Arc<watch::Sender<bool>>;

/// Everything above the cluster, over a replica that runs: control socket and, on a data node, the mail
/// services. Returns when it is told to stop and both have ended.
pub(crate) async fn run_rooms<R: Replica, O: Operator>(
    config: &Config,
    replica: R,
    operator: impl FnOnce(Rooms) -> O,
    (stop, tls): (&Stop, Option<Arc<TlsStore>>),
) -> Result<(), String> {
    let services = SharedServices::default();
    if config.role == Role::Data {
        ports_are_free(config, &replica.directory()).await?;
    }
    let control = bind_control(&config.control_socket)?;
    let log = mail_log(config, &replica);
    let mut stopping = stop.subscribe();
    let rooms = Rooms {
        services: services.clone(),
        deliveries: SharedDeliveries::default(),
        log: log.clone(),
        firewall: SharedFirewall::default(),
        addresses: SharedAddresses::default(),
        listens_at: config.listen.address,
        place: firewall::place(config),
        dir: config.dir.clone(),
        syncs: Arc::default(),
        up: Arc::new(watch::Sender::new(false)),
        reports: SharedReports::default(),
    };
    let up = Arc::clone(&rooms.up);
    let (firewall, place, reports) = (rooms.firewall.clone(), rooms.place.clone(), rooms.reports.clone());
    let deliveries = rooms.deliveries.clone();
    let operator = operator(rooms);
    let control = tokio::spawn(control.serve(replica.clone(), operator, stopping.clone()));
    info!("{} is up", config.name);
    let delivery = RefCell::new(None);
    let serve = async {
        if config.role == Role::Data {
            replica.belongs().await;
            firewall.start(replica.clone(), place).await;
            let dns = Resolver::new(replica.watch_directory(), dns::Bounds::default());
            let services_config = services_config(config, tls, (dns.clone(), log.clone()));
            let started = Services::start(replica.clone(), services_config);
            let settled = started.settled();
            *services.lock() = Some(started);
            let started = Delivery::start(replica.clone(), dns, log.clone());
            deliveries.are(started.under_way());
            reports.set(started.reports());
            *delivery.borrow_mut() = Some(started);
            // A port that is moved meanwhile stays unknown.
            let _ = tokio::time::timeout(Duration::from_millis(PORTS_SETTLE_MS_MAX), settled).await;
        }
        up.send_replace(true);
        std::future::pending().await
    };
    // The sender lives in this function's caller: an error cannot come before the word to stop.
    tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => {}
        () = serve => {}
    }
    info!("{} stops", config.name);
    let running = services.lock().take();
    let sessions = async {
        if let Some(running) = running {
            let grace = Duration::from_millis(SESSIONS_END_MS_MAX);
            running.stop(grace, Duration::from_millis(SESSIONS_STOP_MS_MAX)).await;
        }
    };
    let deliveries = async {
        if let Some(running) = delivery.into_inner() {
            running.stop(Duration::from_millis(DELIVERIES_STOP_MS_MAX)).await;
        }
    };
    tokio::join!(sessions, deliveries);
    let _ = log.flush().await.inspect_err(|error| warn!("{error}"));
    // It ends at the same word; what it was answering is cut off with the cluster below.
    let _ = control.await;
    Ok(())
}

/// Of the mail services; a witness has none.
fn mail_log<R: Replica>(config: &Config, replica: &R) -> MailLog {
    let replica = replica.clone();
    let bounds = move || {
        let directory = replica.directory();
        let settings = directory.settings();
        maillog::Bounds { bytes_max: settings.trace_bytes_max(), days_max: settings.trace_days() }
    };
    match config.role {
        Role::Data => MailLog::open(config.dir.join("maillog"), &config.name, bounds),
        Role::Witness => MailLog::default(),
    }
}

/// What operators see of this node.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub services: SharedServices,
    pub deliveries: SharedDeliveries,
    pub log: MailLog,
    pub firewall: SharedFirewall,
    pub addresses: SharedAddresses,
    /// Where the mail services do.
    pub listens_at: IpAddr,
    /// What the firewall is made with.
    pub place: Place,
    /// The node's folder.
    pub dir: PathBuf,
    /// As others ask after them.
    pub syncs: Arc<Mutex<RecentSyncs>>,
    /// Turns true when the node does all that it can do for now.
    pub up: Arc<watch::Sender<bool>>,
    pub reports: SharedReports,
}

/// Who sends reports on TLS, once mail is sent.
#[derive(Clone, Default)]
pub(crate) struct SharedReports(Arc<OnceLock<Asker>>);

impl SharedReports {
    /// Counts once.
    fn set(&self, asker: Asker) {
        let _ = self.0.set(asker);
    }

    pub fn asker(&self) -> Option<&Asker> {
        self.0.get()
    }
}

/// The mail services while they run; the status shows them.
#[derive(Clone, Default)]
pub(crate) struct SharedServices(Arc<Mutex<Option<Services>>>);

impl SharedServices {
    /// Whether clients are let in, and how many are here.
    pub fn clients(&self) -> (bool, u64) {
        self.lock().as_ref().map_or((false, 0), |services| (!services.are_shut(), services.connections()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Services>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// `name:port` of what listens; of a unix socket its path.
    pub fn listening(&self) -> Vec<String> {
        let guard = self.lock();
        let all = guard.as_ref().map(Services::services).unwrap_or_default();
        let listening = all.into_iter().filter(|service| service.state == ServiceState::Listening);
        listening.map(|service| format!("{}:{}", service.name.key(), service.place)).collect()
    }

    /// `None`: they are not up.
    pub fn checks(&self) -> Option<Checks> {
        self.lock().as_ref().map(Services::checks)
    }

    /// IMAP for the operator. Where the services are not up, the connection just ends.
    pub fn attend(&self, stream: UnixStream) {
        if let Some(services) = self.lock().as_ref() {
            services.attend(stream);
        }
    }

    /// How often the rule was met here.
    pub fn hits(&self, rule: &Rule) -> u64 {
        self.lock().as_ref().map_or(0, |services| services.hits(rule))
    }

    /// Why clients are not served at every port that the settings ask for.
    pub fn unready(&self) -> Vec<String> {
        let guard = self.lock();
        let Some(services) = guard.as_ref() else { return vec!["the mail services are not up".to_owned()] };
        let unready = services.services().into_iter().filter_map(|service| match service.state {
            ServiceState::Failed(_) | ServiceState::Starting | ServiceState::Shut => {
                Some(format!("{}: {}", service.name.key(), service.state))
            }
            ServiceState::Listening | ServiceState::Off => None,
        });
        unready.collect()
    }

    /// Services that should listen and cannot, each with the reason.
    pub fn failing(&self) -> Vec<String> {
        let guard = self.lock();
        let all = guard.as_ref().map(Services::services).unwrap_or_default();
        let failed = all.into_iter().filter_map(|service| match service.state {
            ServiceState::Failed(why) => Some(format!("{}: {why}", service.name.key())),
            ServiceState::Starting | ServiceState::Listening | ServiceState::Off | ServiceState::Shut => None,
        });
        failed.collect()
    }
}

fn services_config(
    config: &Config,
    tls: Option<Arc<TlsStore>>,
    (dns, log): (Resolver, MailLog),
) -> ServicesConfig {
    ServicesConfig {
        address: config.listen.address,
        port_offset: config.listen.port_offset,
        lmtp_socket: config.lmtp_socket.clone(),
        node_name: config.name.clone(),
        spool: config.dir.join(SPOOL),
        dns,
        log,
        tls,
        bounds: Bounds::default(),
        logins: LoginBounds::default(),
    }
}

/// A port that another program holds is said before anything starts; later ones are tried again.
async fn ports_are_free(config: &Config, directory: &Directory) -> Result<(), String> {
    if let Some(socket) = &config.lmtp_socket {
        local_listener::is_free(&socket.path).await.map_err(|why| format!("lmtp cannot listen: {why}"))?;
    }
    let settings = directory.settings();
    for listener in
        ListenerName::ALL.map(|name| settings.listener(name)).iter().filter(|listener| listener.enabled)
    {
        let Some(port) = listener.port.checked_add(config.listen.port_offset) else { continue };
        let address = SocketAddr::new(config.listen.address, port);
        if let Err(error) = TcpListener::bind(address) {
            let name = listener.name.key();
            let remedy = "stop the program that uses it, or change listen.address or listen.port_offset in pollux.toml";
            return Err(format!("{name} cannot listen on {address} ({error}); {remedy}"));
        }
    }
    Ok(())
}

fn bind_control(path: &Path) -> Result<ControlSocket, String> {
    ControlSocket::bind(path).map_err(|error| {
        format!(
            "the control socket {} cannot be made ({error}); correct control.socket in pollux.toml",
            path.display()
        )
    })
}

/// The first SIGTERM or SIGINT begins the orderly stop, a second one ends the process at once.
fn watch_signals(stop: Stop) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("signals cannot be watched: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    tokio::spawn(async move {
        for at_once in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if at_once {
                warn!("told twice to stop: stopping at once");
                std::process::exit(1);
            }
            stop.send_replace(true);
        }
    });
    Ok(())
}
