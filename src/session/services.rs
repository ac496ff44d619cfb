//! All mail services of a node: follows the settings, takes connections, starts and stops sessions.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info};

use super::admission::{DoorLimits, Doors, Seat};
use super::autoconfig::{self, Autoconfig, AutoconfigBackend};
use super::driver::{Bounds, Security, serve_connection};
use super::imap::{self, ImapBackend, SummaryCache};
use super::limits::{self, HostLimits, Limits, SeatKeeper, UserLimits};
use super::listener::{Place, ServiceState, ServiceStatus, StatusCell, listen};
use super::local_listener;
use super::login::{LoginBounds, Logins};
use super::machine::Peer;
use super::managesieve::{self, ManageSieve, ManageSieveBackend};
use super::metered::Metered;
use super::pop3::{self, Pop3, Pop3Backend};
use super::porter::{Porter, Welcome, closed};
use super::proxied;
use super::reading::ReadingRoom;
use super::smtp::checked::Checks;
use super::smtp::delays::Delays;
use super::smtp::listed::Listed;
use super::smtp::noted::Noted;
use super::smtp::spool::{SPOOL_BYTES_MAX, Spool};
use super::smtp::{self, Smtp, SmtpBackend};
use super::tls::{Acceptor, TlsStore};
use super::watched::{Watched, Watchman};
use crate::cluster::replica::Replica;
use crate::config::LmtpSocket;
use crate::dns::Resolver;
use crate::maillog::MailLog;
use crate::meters::{METERS, Protocol};
use crate::policy::hits::Hits;
use crate::state::directory::Directory;
use crate::state::lists::Rule;
use crate::state::settings::{ListenerName, ListenerSettings, Settings, TlsMode};

/// What this box knows of its services; everything else is a replicated setting.
#[derive(Clone)]
pub struct ServicesConfig {
    pub address: IpAddr,
    /// Added to every port of the settings.
    pub port_offset: u16,
    /// LMTP on a unix socket, whatever the settings say of its port.
    pub lmtp_socket: Option<LmtpSocket>,
    /// The node's own name, for Received fields.
    pub node_name: String,
    /// Where mail waits until it is judged.
    pub spool: PathBuf,
    pub dns: Resolver,
    /// What becomes of mails is told here.
    pub log: MailLog,
    /// While there is no certificate STARTTLS is not offered and the TLS ports stay shut.
    pub tls: Option<Arc<TlsStore>>,
    pub bounds: Bounds,
    pub logins: LoginBounds,
}

/// The running services. Stop them with [`Services::stop`]; dropping ends them at once.
pub struct Services {
    ports: Arc<Mutex<Ports>>,
    hits: Arc<Hits>,
    checks: Checks,
    porter: Porter,
    /// Follows the settings.
    follower: AbortHandle,
    /// Follows whether the node is drained.
    draining: AbortHandle,
    /// Gives a connection of the operator an IMAP session.
    attend: Box<dyn Fn(UnixStream) + Send + Sync>,
}

#[derive(Default)]
struct Ports {
    by_name: BTreeMap<ListenerName, Port>,
    local: Option<LocalDoor>,
}

struct Port {
    wanted: ListenerSettings,
    welcome: Welcome,
    port: u16,
    status: StatusCell,
    /// Whether there was a certificate when it was opened.
    certified: bool,
    /// Aborted when the port is moved or switched off, ends by itself when it is shut; its sessions live on.
    accepting: Option<AbortHandle>,
}

/// The unix socket: given by the box, so it does not move.
struct LocalDoor {
    socket: LmtpSocket,
    welcome: Welcome,
    status: StatusCell,
    accepting: Option<AbortHandle>,
}

impl Services {
    /// Starts what the settings ask for, and follows them from then on. Call inside the runtime that
    /// is to run the sessions.
    pub fn start<R: Replica>(replica: R, config: ServicesConfig) -> Self {
        let drained = replica.watch_drained().borrow().contains(&replica.node());
        let welcome = if drained { Welcome::Closing } else { Welcome::Open };
        let porter =
            Porter { welcome: watch::Sender::new(welcome), doors: Arc::default(), sessions: Arc::default() };
        let logins = Arc::new(Logins::new(replica.clone(), config.logins));
        let hits = Arc::new(Hits::default());
        let checks = Checks {
            dns: config.dns.clone(),
            spool: Spool::new(config.spool.clone(), SPOOL_BYTES_MAX),
            delays: Delays::default(),
        };
        let house = Arc::new(House {
            directory: replica.watch_directory(),
            limits: Limits::start(replica.clone()),
            seats: SeatKeeper::start(replica.clone()),
            watchman: Watchman::new(replica.clone()),
            replica,
            logins,
            checks: checks.clone(),
            hits: Arc::clone(&hits),
            summaries: Arc::new(SummaryCache::new()),
            reading: Arc::default(),
            config,
            doors: Arc::clone(&porter.doors),
            sessions: Arc::clone(&porter.sessions),
            welcome: porter.welcome.subscribe(),
        });
        let ports = Arc::new(Mutex::new(Ports::default()));
        // Before anything waits: `services()` is complete from the start.
        reconcile(&mut ports.lock().expect("no holder of this lock panics"), &house);
        let draining = tokio::spawn(porter.clone().follow(house.replica.clone())).abort_handle();
        let attending = Arc::clone(&house);
        let attend = Box::new(move |stream| attend(&attending, stream));
        let follower = tokio::spawn(follow(Arc::clone(&ports), house)).abort_handle();
        Self { ports, hits, checks, porter, follower, draining, attend }
    }

    /// Every service, its place and state, in the settings' order; the unix socket last.
    pub fn services(&self) -> Vec<ServiceStatus> {
        let ports = self.ports.lock().expect("no holder of this lock panics");
        let on_port = |(name, port): (&ListenerName, &Port)| ServiceStatus {
            name: *name,
            place: Place::Port(port.port),
            state: port.status.get(),
        };
        let on_socket = |door: &LocalDoor| ServiceStatus {
            name: ListenerName::Lmtp,
            place: Place::Socket(door.socket.path.clone()),
            state: door.status.get(),
        };
        ports.by_name.iter().map(on_port).chain(ports.local.iter().map(on_socket)).collect()
    }

    /// Once it is known of each port whether it can be had, of those that the settings want now.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let ports = self.ports.lock().expect("no holder of this lock panics");
        let on_socket = ports.local.iter().map(|door| door.status.clone());
        let cells: Vec<StatusCell> =
            ports.by_name.values().map(|port| port.status.clone()).chain(on_socket).collect();
        async move {
            for cell in cells {
                cell.settled().await;
            }
        }
    }

    /// What mail of strangers is checked with.
    pub fn checks(&self) -> Checks {
        self.checks.clone()
    }

    /// How often this rule was met here since the services started.
    pub fn hits(&self, rule: &Rule) -> u64 {
        self.hits.of(rule)
    }

    /// IMAP for the operator, who names the user by AUTHENTICATE EXTERNAL. `stream` came in where nobody else can come.
    pub fn attend(&self, stream: UnixStream) {
        (self.attend)(stream);
    }

    /// Connections open now.
    pub fn connections(&self) -> u64 {
        self.porter.doors.connections()
    }

    /// No port listens, and none will until the node is undrained.
    pub fn are_shut(&self) -> bool {
        let ports = self.ports.lock().expect("no holder of this lock panics");
        let ended = |welcome: Welcome, accepting: &Option<AbortHandle>| {
            welcome != Welcome::Open && accepting.as_ref().is_none_or(AbortHandle::is_finished)
        };
        *self.porter.welcome.borrow() != Welcome::Open
            && ports.by_name.values().all(|port| ended(port.welcome, &port.accepting))
            && ports.local.iter().all(|door| ended(door.welcome, &door.accepting))
    }

    /// Shuts the ports; clients get `grace` to end what they are in the middle of, are then told to leave, and after `wait`
    /// cut off.
    pub async fn stop(self, grace: Duration, wait: Duration) {
        self.draining.abort();
        self.porter.see_off(grace, wait).await;
        let mut sessions =
            std::mem::take(&mut *self.porter.sessions.lock().expect("no holder of this lock panics"));
        sessions.shutdown().await;
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.draining.abort();
        self.follower.abort();
        let ports = self.ports.lock().expect("no holder of this lock panics");
        ports.by_name.values().filter_map(|port| port.accepting.as_ref()).for_each(AbortHandle::abort);
        ports.local.iter().filter_map(|door| door.accepting.as_ref()).for_each(AbortHandle::abort);
    }
}

/// What every session of this node shares.
struct House<R> {
    replica: R,
    directory: watch::Receiver<Arc<Directory>>,
    logins: Arc<Logins>,
    limits: Arc<Limits>,
    seats: Arc<SeatKeeper>,
    watchman: Arc<Watchman>,
    checks: Checks,
    hits: Arc<Hits>,
    summaries: Arc<SummaryCache>,
    reading: Arc<ReadingRoom>,
    config: ServicesConfig,
    doors: Arc<Doors>,
    sessions: Arc<Mutex<JoinSet<()>>>,
    welcome: watch::Receiver<Welcome>,
}

async fn follow<R: Replica>(ports: Arc<Mutex<Ports>>, house: Arc<House<R>>) {
    let (mut directory, mut welcome) = (house.directory.clone(), house.welcome.clone());
    loop {
        let changed = tokio::select! {
            changed = directory.changed() => changed,
            changed = welcome.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        reconcile(&mut ports.lock().expect("no holder of this lock panics"), &house);
    }
}

/// Opens, moves and shuts ports until they are as the settings say, and as clients are received. Ports that stay are not
/// touched.
fn reconcile<R: Replica>(ports: &mut Ports, house: &Arc<House<R>>) {
    let directory = house.directory.borrow().clone();
    let welcome = *house.welcome.borrow();
    if let Some(store) = &house.config.tls {
        store.follow(directory.certificate.as_ref());
    }
    let certified = house.acceptor().is_some();
    for name in ListenerName::ALL {
        let wanted = directory.settings().listener(name);
        let now = ports.by_name.get(&name);
        let needs_certificate = wanted.tls == TlsMode::Implicit;
        if now.is_some_and(|now| {
            (now.wanted.enabled, now.wanted.port, now.welcome) == (wanted.enabled, wanted.port, welcome)
                && (now.certified == certified || !needs_certificate)
        }) {
            continue;
        }
        let accepting = now.and_then(|now| now.accepting.clone());
        let port = match welcome {
            Welcome::Open => {
                accepting.iter().for_each(AbortHandle::abort);
                open_port(wanted, house)
            }
            Welcome::Closing | Welcome::Closed => {
                shut_port(wanted, welcome, accepting, house.config.port_offset)
            }
        };
        ports.by_name.insert(name, port);
    }
    if let Some(socket) = &house.config.lmtp_socket
        && ports.local.as_ref().is_none_or(|door| door.welcome != welcome)
    {
        let accepting = ports.local.take().and_then(|door| door.accepting);
        ports.local = Some(match welcome {
            Welcome::Open => {
                accepting.iter().for_each(AbortHandle::abort);
                open_local(socket.clone(), house)
            }
            Welcome::Closing | Welcome::Closed => LocalDoor {
                socket: socket.clone(),
                welcome,
                status: StatusCell::new(ServiceState::Shut),
                accepting,
            },
        });
    }
}

/// Whoever accepts there ends by himself, once he has taken those who wait.
fn shut_port(
    wanted: ListenerSettings,
    welcome: Welcome,
    accepting: Option<AbortHandle>,
    port_offset: u16,
) -> Port {
    let state = if wanted.enabled { ServiceState::Shut } else { ServiceState::Off };
    let port = wanted.port.saturating_add(port_offset);
    Port { wanted, welcome, port, status: StatusCell::new(state), certified: false, accepting }
}

fn open_port<R: Replica>(wanted: ListenerSettings, house: &Arc<House<R>>) -> Port {
    let welcome = Welcome::Open;
    let certified = house.acceptor().is_some();
    let shut = |port, state| Port {
        wanted,
        welcome,
        port,
        status: StatusCell::new(state),
        certified,
        accepting: None,
    };
    if !wanted.enabled {
        return shut(wanted.port, ServiceState::Off);
    }
    let Some(port) = wanted.port.checked_add(house.config.port_offset) else {
        let why = format!("port {} + offset {} is beyond 65535", wanted.port, house.config.port_offset);
        return shut(wanted.port, ServiceState::Failed(why));
    };
    if wanted.tls == TlsMode::Implicit && !certified {
        let why =
            "no certificate; see 'pollux certificate', or set tls.cert and tls.key in pollux.toml".to_owned();
        return shut(port, ServiceState::Failed(why));
    }
    let status = StatusCell::new(ServiceState::Starting);
    let address = SocketAddr::new(house.config.address, port);
    let taker = Arc::clone(house);
    let take = move |socket, peer| take(&taker, wanted.name, socket, Some(peer));
    let accepting = tokio::spawn(listen(wanted.name, address, status.clone(), house.welcome.clone(), take));
    Port { wanted, welcome, port, status, certified, accepting: Some(accepting.abort_handle()) }
}

fn open_local<R: Replica>(socket: LmtpSocket, house: &Arc<House<R>>) -> LocalDoor {
    let (status, taker) = (StatusCell::new(ServiceState::Starting), Arc::clone(house));
    let take = move |stream| take(&taker, ListenerName::Lmtp, stream, None);
    let listening = local_listener::listen(socket.clone(), status.clone(), house.welcome.clone(), take);
    let accepting = Some(tokio::spawn(listening).abort_handle());
    LocalDoor { socket, welcome: Welcome::Open, status, accepting }
}

/// What a client comes by.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// One line if it fits the socket's empty buffer at once (it does), and the end.
    fn turn_away(self, line: &str);
}

impl Socket for TcpStream {
    fn turn_away(self, line: &str) {
        if let Ok(mut socket) = self.into_std() {
            let _ = socket.write(line.as_bytes());
        }
    }
}

impl Socket for UnixStream {
    fn turn_away(self, line: &str) {
        if let Ok(mut socket) = self.into_std() {
            let _ = socket.write(line.as_bytes());
        }
    }
}

/// Admits a connection or turns it away, without waiting for either.
fn take<R: Replica>(
    house: &Arc<House<R>>,
    name: ListenerName,
    socket: impl Socket,
    peer: Option<SocketAddr>,
) {
    let directory = house.replica.directory();
    let settings = directory.settings();
    let listener = settings.listener(name);
    let balancer = peer.filter(|peer| settings.is_proxy(peer.ip()));
    let client = if balancer.is_some() { None } else { peer };
    let address = client.map(|client| client.ip());
    let Some((socket, seat)) = admit(house, (name, listener.tls), address, socket) else { return };
    match balancer {
        Some(balancer) => begin(house, serve_proxied(Arc::clone(house), listener, socket, (balancer, seat))),
        None => begin(house, serve(Arc::clone(house), listener, socket, (client, seat))),
    }
}

/// As [`take`], for the operator.
fn attend<R: Replica>(house: &Arc<House<R>>, socket: UnixStream) {
    let Some((socket, seat)) = admit(house, (ListenerName::Imap, TlsMode::Off), None, socket) else { return };
    begin(house, serve_operator(Arc::clone(house), socket, seat));
}

/// A seat, or a word why there is none.
fn admit<R: Replica, S: Socket>(
    house: &House<R>,
    (name, tls): (ListenerName, TlsMode),
    client: Option<IpAddr>,
    socket: S,
) -> Option<(S, Seat)> {
    if *house.welcome.borrow() != Welcome::Open {
        turn_away(name, tls, ("4.3.2", "this node takes no clients"), socket);
        return None;
    }
    match house.doors.enter(client, door_limits(house.replica.directory().settings())) {
        Ok(seat) => Some((socket, seat)),
        Err(full) => {
            turn_away(name, tls, ("4.7.0", full), socket);
            None
        }
    }
}

fn begin<R>(house: &House<R>, session: impl Future<Output = ()> + Send + 'static) {
    let mut sessions = house.sessions.lock().expect("no holder of this lock panics");
    while sessions.try_join_next().is_some() {}
    sessions.spawn(session);
}

async fn serve_operator<R: Replica>(house: Arc<House<R>>, socket: UnixStream, _seat: Seat) {
    let (replica, logins) = (house.replica.clone(), Arc::clone(&house.logins));
    let directory = replica.directory();
    let listener = directory.settings().listener(ListenerName::Imap);
    let terms = imap::Terms {
        external: true,
        message_limit: None,
        ..imap_terms((&directory, replica.watch_directory()), &listener, false)
    };
    let machine = imap::Session::new(Peer { address: None, tls: false }, terms, replica.clock().clone());
    let shared = (Arc::clone(&house.summaries), Arc::clone(&house.reading));
    let backend = ImapBackend::new(replica, logins, shared);
    let limits = (house.config.bounds, house.welcome.clone());
    serve_connection(Metered::new(socket, Protocol::Imap), machine, backend, Security::Plain, limits).await;
}

fn door_limits(settings: Settings<'_>) -> DoorLimits {
    DoorLimits {
        connections_max: settings.session_connections_max(),
        connections_per_address_max: settings.session_connections_per_address_max(),
    }
}

/// `why` with the enhanced code that SMTP adds.
fn turn_away(name: ListenerName, tls: TlsMode, (enhanced, why): (&str, impl Display), socket: impl Socket) {
    debug!("{name:?}: a connection is turned away: {why}");
    METERS.connections_turned_away.one();
    if tls == TlsMode::Implicit {
        return;
    }
    let line = match name {
        ListenerName::Smtp | ListenerName::Smtps | ListenerName::Submission | ListenerName::Lmtp => {
            format!("421 {enhanced} {why}, try again later\r\n")
        }
        ListenerName::Imap | ListenerName::Imaps => format!("* BYE {why}, try again later\r\n"),
        ListenerName::Pop3 | ListenerName::Pop3s => format!("-ERR [SYS/TEMP] {why}, try again later\r\n"),
        ListenerName::Http | ListenerName::Https => {
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
        ListenerName::ManageSieve => format!("BYE (TRYLATER) \"{why}, try again later\"\r\n"),
    };
    socket.turn_away(&line);
}

impl<R> House<R> {
    /// `None` for what comes by LMTP, from a unix socket, or from an exempt host.
    fn host_limits(&self, name: ListenerName, address: Option<SocketAddr>) -> Option<HostLimits> {
        let host = address.filter(|_| name != ListenerName::Lmtp)?.ip();
        let exempt = limits::is_exempt(&self.directory.borrow(), host);
        (!exempt).then(|| HostLimits::new(Arc::clone(&self.limits), Arc::clone(&self.seats), host))
    }

    fn security(&self, tls: TlsMode) -> Security {
        match (self.acceptor(), tls) {
            (None, _) | (_, TlsMode::Off) => Security::Plain,
            (Some(acceptor), TlsMode::On | TlsMode::Forced) => Security::Offered(acceptor),
            (Some(acceptor), TlsMode::Implicit) => Security::Implicit(acceptor),
        }
    }

    /// `None`: there is no certificate.
    fn acceptor(&self) -> Option<Acceptor> {
        self.config.tls.as_ref()?.acceptor()
    }
}

/// A connection of a load balancer: its header says for whom, and only then is that one admitted.
async fn serve_proxied<R: Replica>(
    house: Arc<House<R>>,
    listener: ListenerSettings,
    mut socket: impl Socket,
    (balancer, mut seat): (SocketAddr, Seat),
) {
    let mut welcome = house.welcome.clone();
    let client = tokio::select! {
        biased;
        client = proxied::client(&mut socket, balancer) => client,
        () = closed(&mut welcome) => return,
    };
    let client = match client {
        Ok(client) => client,
        Err(why) => return info!("{:?}: a connection of {balancer} is closed: {why}", listener.name),
    };
    let limits = door_limits(house.replica.directory().settings());
    match seat.give_to(client.ip(), limits) {
        Ok(()) => serve(house, listener, socket, (Some(client), seat)).await,
        Err(full) => turn_away(listener.name, listener.tls, ("4.7.0", full), socket),
    }
}

async fn serve<R: Replica>(
    house: Arc<House<R>>,
    listener: ListenerSettings,
    socket: impl Socket,
    (address, _seat): (Option<SocketAddr>, Seat),
) {
    // By LMTP a front end hands over what came from elsewhere.
    let client = address.map(|address| address.ip()).filter(|_| listener.name != ListenerName::Lmtp);
    let watched = Watched::new(&house.watchman, client);
    if watched.is_blocked() {
        return turn_away(listener.name, listener.tls, ("4.7.1", "your address is blocked"), socket);
    }
    let security = house.security(listener.tls);
    let limits = (house.config.bounds, house.welcome.clone());
    let peer = Peer { address, tls: matches!(security, Security::Implicit(_)) };
    let offered = matches!(security, Security::Offered(_));
    let protocol = protocol_of(listener.name);
    let (replica, logins) = (house.replica.clone(), Arc::clone(&house.logins));
    let directory = replica.directory();
    match listener.name {
        ListenerName::Smtp | ListenerName::Smtps | ListenerName::Submission | ListenerName::Lmtp => {
            let host = house.host_limits(listener.name, address);
            let entered = match &host {
                Some(host) => Box::pin(host.connection()).await,
                None => Ok(None),
            };
            let _host_seat = match entered {
                Ok(seat) => seat,
                Err(spent) => {
                    return turn_away(listener.name, listener.tls, (spent.enhanced(), spent), socket);
                }
            };
            let client = (address.map(|address| address.ip()), offered);
            let policy = smtp::Policy::new(&directory, &listener, &house.config.node_name, client);
            let flavor = policy.flavor;
            let machine = Smtp::new(policy, peer);
            // What a front end hands over came from somebody else's address.
            let listed = client.0.filter(|_| listener.name != ListenerName::Lmtp);
            let backend = SmtpBackend::new(replica, logins, house.checks.clone())
                .listed(Listed::new(listed, Arc::clone(&house.hits)))
                .noted(Noted::new(house.config.log.clone(), client.0))
                .watched(watched)
                .limited(host)
                .users_limited(UserLimits::new(Arc::clone(&house.limits)))
                .filtering(flavor);
            serve_connection(Metered::new(socket, protocol), machine, backend, security, limits).await;
        }
        ListenerName::Pop3 | ListenerName::Pop3s => {
            let machine = Pop3::new(pop3::Policy::new(&directory, &listener, offered), peer);
            let backend = Pop3Backend::new(replica, logins, Arc::clone(&house.reading)).watched(watched);
            serve_connection(Metered::new(socket, protocol), machine, backend, security, limits).await;
        }
        ListenerName::Imap | ListenerName::Imaps => {
            let terms = imap_terms((&directory, replica.watch_directory()), &listener, offered);
            let machine = imap::Session::new(peer, terms, replica.clock().clone());
            let shared = (Arc::clone(&house.summaries), Arc::clone(&house.reading));
            let backend = ImapBackend::new(replica, logins, shared).watched(watched);
            serve_connection(Metered::new(socket, protocol), machine, backend, security, limits).await;
        }
        ListenerName::Http | ListenerName::Https => {
            let (offset, tls) = (house.config.port_offset, house.acceptor().is_some());
            let policy = autoconfig::Policy::new(directory, offset, tls);
            let machine = Autoconfig::new(policy, replica.clock().clone());
            let backend = AutoconfigBackend::new(replica);
            serve_connection(Metered::new(socket, protocol), machine, backend, security, limits).await;
        }
        ListenerName::ManageSieve => {
            let policy = managesieve::Policy::new(&directory, &listener, offered);
            let machine = ManageSieve::new(policy, peer);
            let backend = ManageSieveBackend::new(replica, logins).watched(watched);
            serve_connection(Metered::new(socket, protocol), machine, backend, security, limits).await;
        }
    }
}

/// As it is counted.
fn protocol_of(name: ListenerName) -> Protocol {
    match name {
        ListenerName::Smtp => Protocol::Smtp,
        ListenerName::Smtps | ListenerName::Submission => Protocol::Submission,
        ListenerName::Lmtp => Protocol::Lmtp,
        ListenerName::Imap | ListenerName::Imaps => Protocol::Imap,
        ListenerName::Pop3 | ListenerName::Pop3s => Protocol::Pop3,
        ListenerName::ManageSieve => Protocol::ManageSieve,
        ListenerName::Http | ListenerName::Https => Protocol::Http,
    }
}

fn imap_terms(
    (directory, now): (&Directory, watch::Receiver<Arc<Directory>>),
    listener: &ListenerSettings,
    starttls: bool,
) -> imap::Terms {
    let settings = directory.settings();
    let forced = listener.tls == TlsMode::Forced && starttls;
    imap::Terms {
        banner: settings.imap_banner(),
        starttls,
        plaintext_without_tls: settings.auth_plaintext_without_tls() && !forced,
        scram: settings.auth_scram(),
        external: false,
        message_bytes_max: Arc::new(move || now.borrow().settings().smtp_message_bytes_max()),
        message_limit: settings.imap_message_limit().then_some(imap::limits::MESSAGE_LIMIT),
        login_seconds_max: settings.login_seconds_max(),
        idle_seconds_max: settings.imap_idle_seconds_max(),
    }
}
