//! The file `pollux.toml`: only what a box must know before it joins. Everything else is a replicated
//! setting (`pollux policy list`). Who the node is (its id, its cluster, its certificate) lies in the
//! node's directory, written by `init` and `join`, and never in this file.
//!
//! Every error is one line: file, line, key, what is wrong and what to do.

mod lmtp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use lmtp::{LMTP_MODE_DEFAULT, LMTP_SOCKET_BYTES_MAX, LmtpSocket};

use lmtp::LmtpTable;

/// Bytes of a configuration file; more is refused unread.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// The UDP port of the cluster's control endpoint unless the file says otherwise; bulk is the next one.
pub const CLUSTER_PORT_DEFAULT: u16 = 7401;

pub const LOG_ENTRIES_KEPT_DEFAULT: u64 = 500_000;
pub const LOG_ENTRIES_KEPT_BOUNDS: Range<u64> = 100..10_000_001;
pub const JOURNAL_BYTES_MAX_DEFAULT: u64 = 2 << 30;
/// Nothing to 1 TiB.
pub const JOURNAL_BYTES_MAX_BOUNDS: Range<u64> = 0..(1 << 40) + 1;
/// 1 MiB to 1 TiB.
pub const LOG_BYTES_KEPT_BOUNDS: Range<u64> = 1 << 20..(1 << 40) + 1;

/// A checked configuration: paths are absolute or relative to the working directory, addresses parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    pub role: Role,
    /// Holds the node's identity, log, state and bodies.
    pub dir: PathBuf,
    pub cluster: ClusterAddresses,
    pub listen: Listen,
    /// LMTP on a unix socket, beside its port; `None`: no socket.
    pub lmtp_socket: Option<LmtpSocket>,
    /// The mail services' certificate; `None` on a witness, or where plaintext is all there is.
    pub tls: Option<TlsFiles>,
    /// The operator's program that puts what an ACME server looks for into the DNS.
    pub acme_dns_hook: Option<PathBuf>,
    pub control_socket: PathBuf,
    pub preset: Preset,
    pub raft: RaftTimers,
    /// Entries of the Raft log that a data node keeps behind its rows, so that a node away for a while
    /// catches up by log and not by a snapshot of everything.
    pub log_entries_kept: u64,
    /// Bytes of log that this node keeps at most; `None`: as its role usually does, 1 GiB or, on a witness, 8 GiB.
    pub log_bytes_kept: Option<u64>,
    /// Octets of sealed bodies that a witness keeps while one data node alone is left; 0: none.
    pub journal_bytes_max: u64,
    /// Where metrics and health are told over HTTP; `None`: nowhere, since there is no login.
    pub metrics: Option<SocketAddr>,
    /// Where a collector of OpenTelemetry listens, without a slash at its end; `None`: nobody is told.
    pub telemetry: Option<String>,
    pub log: Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds mail and serves it.
    Data,
    /// Holds the log and votes; no mail, no mail port.
    Witness,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Role::Data => "data",
            Role::Witness => "witness",
        }
    }
}

/// The two UDP endpoints on which nodes speak to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAddresses {
    /// Raft.
    pub listen: SocketAddr,
    /// Bodies and snapshots.
    pub bulk_listen: SocketAddr,
    /// `host:port` by which the other nodes reach `listen`.
    pub advertise: String,
    /// `host:port` by which the other nodes reach `bulk_listen`.
    pub bulk_advertise: String,
}

/// Where the mail services listen; their ports are replicated settings, moved by `port_offset` on this box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub address: IpAddr,
    pub port_offset: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, leaf first.
    pub cert: PathBuf,
    /// PEM, PKCS#8 or SEC1.
    pub key: PathBuf,
}

/// How patient the nodes are with each other's disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    #[default]
    Default,
    SlowDisk,
}

/// Milliseconds. The heartbeat must exceed what the slowest fsync of a follower takes (design 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftTimers {
    pub heartbeat_ms: u64,
    pub election_min_ms: u64,
    pub election_max_ms: u64,
}

impl RaftTimers {
    /// For solid-state disks: fail-over in under a second.
    pub const DEFAULT: RaftTimers =
        RaftTimers { heartbeat_ms: 75, election_min_ms: 225, election_max_ms: 350 };
    /// For NAS disks that spin up or share their heads: calm, fail-over in a few seconds.
    pub const SLOW_DISK: RaftTimers =
        RaftTimers { heartbeat_ms: 400, election_min_ms: 1_600, election_max_ms: 2_600 };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter: `info`, or `warn,pollux::cluster=debug`.
    pub level: String,
    /// Appended to; `None` is stderr.
    pub file: Option<PathBuf>,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line, for programs that gather logs.
    Json,
}

/// One line for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("{}:{line}: {key}: {problem}", path.display())]
    Key { path: PathBuf, line: usize, key: String, problem: String },
}

impl Config {
    /// Reads and checks the file. Relative paths in it are taken from the file's own directory.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let fault = |problem: String| ConfigError::File { path: path.to_owned(), problem };
        let unreadable = |error: std::io::Error| {
            fault(format!(
                "cannot be read ({error}); give the right file with --config, or make one with 'pollux init'"
            ))
        };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > CONFIG_BYTES_MAX {
            return Err(fault(format!(
                "is {bytes} bytes long, {CONFIG_BYTES_MAX} is the limit; is it the right file?"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Config::parse(&text, path)
    }

    /// Checks `text` as the content of `path`, which need not exist.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| syntax_error(text, path, &error))?;
        let at = |key: &str, problem: String| ConfigError::Key {
            path: path.to_owned(),
            line: line_of_key(text, key),
            key: key.to_owned(),
            problem,
        };
        let base = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if !is_name(&file.name) {
            return Err(at(
                "name",
                format!("{:?} is not a node name; use 1 to 63 of a-z, 0-9 and '-'", file.name),
            ));
        }
        let dir = file.dir.map_or(base.clone(), |dir| base.join(dir));
        let preset = file.raft.preset;
        let log_entries_kept = file.raft.entries_kept().map_err(|(key, problem)| at(key, problem))?;
        let log_bytes_kept = file.raft.bytes_kept().map_err(|(key, problem)| at(key, problem))?;
        let raft = file.raft.timers().map_err(|(key, problem)| at(key, problem))?;
        let lmtp_socket = file.lmtp.map(|table| table.checked(&base)).transpose();
        let level = file.log.level.unwrap_or_else(|| "info".to_owned());
        if level.parse::<tracing_subscriber::EnvFilter>().is_err() {
            let problem = format!("{level:?} is not a log filter; write error, warn, info, debug or trace");
            return Err(at("log.level", problem));
        }
        Ok(Config {
            cluster: file.cluster.addresses().map_err(|(key, problem)| at(key, problem))?,
            lmtp_socket: lmtp_socket.map_err(|(key, problem)| at(key, problem))?,
            listen: Listen { address: file.listen.address, port_offset: file.listen.port_offset },
            tls: file.tls.map(|tls| TlsFiles { cert: base.join(tls.cert), key: base.join(tls.key) }),
            acme_dns_hook: file.acme.dns_hook.map(|program| base.join(program)),
            control_socket: file.control.socket.map_or(dir.join("control.sock"), |socket| base.join(socket)),
            preset,
            raft,
            log_entries_kept,
            log_bytes_kept,
            journal_bytes_max: file.witness.checked().map_err(|(key, problem)| at(key, problem))?,
            metrics: file
                .metrics
                .map(MetricsTable::checked)
                .transpose()
                .map_err(|(key, problem)| at(key, problem))?,
            telemetry: file
                .telemetry
                .map(TelemetryTable::checked)
                .transpose()
                .map_err(|(key, problem)| at(key, problem))?,
            log: Log { level, file: file.log.file.map(|log| base.join(log)), format: file.log.format },
            name: file.name,
            role: file.role,
            dir,
        })
    }
}

/// 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The file as serde reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default = "data")]
    role: Role,
    dir: Option<PathBuf>,
    #[serde(default)]
    cluster: ClusterTable,
    #[serde(default)]
    listen: ListenTable,
    lmtp: Option<LmtpTable>,
    tls: Option<TlsTable>,
    #[serde(default)]
    acme: AcmeTable,
    #[serde(default)]
    control: ControlTable,
    #[serde(default)]
    raft: RaftTable,
    #[serde(default)]
    witness: WitnessTable,
    metrics: Option<MetricsTable>,
    telemetry: Option<TelemetryTable>,
    #[serde(default)]
    log: LogTable,
}

fn data() -> Role {
    Role::Data
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterTable {
    listen: Option<String>,
    bulk_listen: Option<String>,
    advertise: Option<String>,
    bulk_advertise: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListenTable {
    address: IpAddr,
    port_offset: u16,
}

impl Default for ListenTable {
    fn default() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port_offset: 0 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcmeTable {
    dns_hook: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlTable {
    socket: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RaftTable {
    preset: Preset,
    log_entries_kept: Option<u64>,
    log_bytes_kept: Option<u64>,
    heartbeat_ms: Option<u64>,
    election_min_ms: Option<u64>,
    election_max_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessTable {
    journal_bytes_max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsTable {
    address: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetryTable {
    endpoint: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    level: Option<String>,
    file: Option<PathBuf>,
    #[serde(default)]
    format: LogFormat,
}

/// A key and what is wrong with it.
type Wrong = (&'static str, String);

impl ClusterTable {
    fn addresses(self) -> Result<ClusterAddresses, Wrong> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLUSTER_PORT_DEFAULT));
        let listen = self.listen.map_or(Ok(any), |text| socket_address("cluster.listen", &text))?;
        let next = SocketAddr::new(listen.ip(), listen.port().wrapping_add(1));
        let bulk_listen =
            self.bulk_listen.map_or(Ok(next), |text| socket_address("cluster.bulk_listen", &text))?;
        if listen.port() == 0 || bulk_listen.port() == 0 || listen == bulk_listen {
            let problem = "control and bulk each need a port of their own, other than 0".to_owned();
            return Err(("cluster.listen", problem));
        }
        let advertise = match self.advertise {
            Some(text) => host_port("cluster.advertise", text)?,
            None if listen.ip().is_unspecified() => local_address(listen.port()),
            None => listen.to_string(),
        };
        let host = advertise.rsplit_once(':').map_or("", |(host, _)| host);
        let bulk_advertise = match self.bulk_advertise {
            Some(text) => host_port("cluster.bulk_advertise", text)?,
            None => format!("{host}:{}", bulk_listen.port()),
        };
        Ok(ClusterAddresses { listen, bulk_listen, advertise, bulk_advertise })
    }
}

/// What a node that listens everywhere tells the others unless the file says better: its own host name.
fn local_address(port: u16) -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    format!("{}:{port}", if name.is_empty() { "localhost" } else { name })
}

fn socket_address(key: &'static str, text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        (key, format!("{text:?} is not an address; write \"address:port\", as in \"10.0.0.1:7401\""))
    })
}

fn host_port(key: &'static str, text: String) -> Result<String, Wrong> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let host_good = !host.is_empty() && !host.contains(char::is_whitespace);
        host_good && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if good {
        Ok(text)
    } else {
        Err((key, format!("{text:?} is not an address; write \"host:port\", as in \"mx1.example.com:7401\"")))
    }
}

impl TelemetryTable {
    fn checked(self) -> Result<String, Wrong> {
        let endpoint = self.endpoint.trim_end_matches('/').to_owned();
        let parsed = endpoint.parse::<http::Uri>().ok();
        let is_web = |uri: &http::Uri| {
            let scheme = uri.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme));
            scheme && uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none()
        };
        match parsed.filter(is_web) {
            Some(_) => Ok(endpoint),
            None => Err((
                "telemetry.endpoint",
                format!("{endpoint:?} is no address; write one like \"http://127.0.0.1:4318\""),
            )),
        }
    }
}

impl MetricsTable {
    fn checked(self) -> Result<SocketAddr, Wrong> {
        match socket_address("metrics.address", &self.address)? {
            address if address.port() == 0 => {
                Err(("metrics.address", "the port 0 is none; give one".to_owned()))
            }
            address => Ok(address),
        }
    }
}

impl WitnessTable {
    fn checked(&self) -> Result<u64, Wrong> {
        let bytes = self.journal_bytes_max.unwrap_or(JOURNAL_BYTES_MAX_DEFAULT);
        if !JOURNAL_BYTES_MAX_BOUNDS.contains(&bytes) {
            let (least, most) = (JOURNAL_BYTES_MAX_BOUNDS.start, JOURNAL_BYTES_MAX_BOUNDS.end - 1);
            return Err((
                "witness.journal_bytes_max",
                format!("{bytes} is out of bounds; {least} to {most}"),
            ));
        }
        Ok(bytes)
    }
}

impl RaftTable {
    fn entries_kept(&self) -> Result<u64, Wrong> {
        let kept = self.log_entries_kept.unwrap_or(LOG_ENTRIES_KEPT_DEFAULT);
        if !LOG_ENTRIES_KEPT_BOUNDS.contains(&kept) {
            let (least, most) = (LOG_ENTRIES_KEPT_BOUNDS.start, LOG_ENTRIES_KEPT_BOUNDS.end - 1);
            return Err(("raft.log_entries_kept", format!("{kept} is out of bounds; {least} to {most}")));
        }
        Ok(kept)
    }

    fn bytes_kept(&self) -> Result<Option<u64>, Wrong> {
        if let Some(kept) = self.log_bytes_kept.filter(|kept| !LOG_BYTES_KEPT_BOUNDS.contains(kept)) {
            let (least, most) = (LOG_BYTES_KEPT_BOUNDS.start, LOG_BYTES_KEPT_BOUNDS.end - 1);
            return Err(("raft.log_bytes_kept", format!("{kept} is out of bounds; {least} to {most}")));
        }
        Ok(self.log_bytes_kept)
    }

    fn timers(self) -> Result<RaftTimers, Wrong> {
        let preset = match self.preset {
            Preset::Default => RaftTimers::DEFAULT,
            Preset::SlowDisk => RaftTimers::SLOW_DISK,
        };
        let timers = RaftTimers {
            heartbeat_ms: self.heartbeat_ms.unwrap_or(preset.heartbeat_ms),
            election_min_ms: self.election_min_ms.unwrap_or(preset.election_min_ms),
            election_max_ms: self.election_max_ms.unwrap_or(preset.election_max_ms),
        };
        if !(10..=10_000).contains(&timers.heartbeat_ms) {
            return Err((
                "raft.heartbeat_ms",
                format!("{} is out of bounds; 10 to 10000", timers.heartbeat_ms),
            ));
        }
        // An election that starts before two heartbeats can be missed would unseat healthy leaders.
        if timers.election_min_ms < 2 * timers.heartbeat_ms {
            let least = 2 * timers.heartbeat_ms;
            let problem =
                format!("{} is too short; at least twice the heartbeat: {least}", timers.election_min_ms);
            return Err(("raft.election_min_ms", problem));
        }
        if timers.election_max_ms <= timers.election_min_ms || timers.election_max_ms > 60_000 {
            let problem = format!(
                "{} is out of bounds; above election_min_ms ({}) and at most 60000",
                timers.election_max_ms, timers.election_min_ms
            );
            return Err(("raft.election_max_ms", problem));
        }
        Ok(timers)
    }
}

/// What the parser says, brought into one line with the key it stumbled at.
fn syntax_error(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let problem = error.message().lines().collect::<Vec<_>>().join(", ");
    let span = error.span().unwrap_or(0..0);
    let (line, key) = place(text, span);
    let problem = match problem.strip_prefix("missing field ") {
        Some(field) => format!("{} is missing; add it", field.trim_matches('`')),
        None => format!("{problem}; see the example pollux.toml in the documentation"),
    };
    match key {
        Some(key) => ConfigError::Key { path: path.to_owned(), line, key, problem },
        None => ConfigError::File { path: path.to_owned(), problem: format!("line {line}: {problem}") },
    }
}

/// The line (from 1) where `span` starts, and the key written on it, with its table.
fn place(text: &str, span: Range<usize>) -> (usize, Option<String>) {
    let start = span.start.min(text.len());
    let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    let found = keys(text).find(|(at, _)| *at == line).map(|(_, key)| key);
    (line, found)
}

/// The line of `table.key`, else of its table's heading, else 1.
fn line_of_key(text: &str, key: &str) -> usize {
    let table = key.rsplit_once('.').map(|(table, _)| table);
    let exact = keys(text).find(|(_, found)| found == key);
    exact.or_else(|| keys(text).find(|(_, found)| Some(found.as_str()) == table)).map_or(1, |(line, _)| line)
}

/// Every line that names a table or key, with the full name.
fn keys(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut table = String::new();
    text.lines().enumerate().filter_map(move |(at, line)| {
        let line = line.trim();
        if let Some(heading) = line.strip_prefix('[') {
            table = heading.split(']').next().unwrap_or_default().trim().to_owned();
            return Some((at + 1, table.clone()));
        }
        let (key, _) = line.split_once('=')?;
        let key = key.trim();
        if key.starts_with('#') {
            return None;
        }
        Some((at + 1, if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("D/pollux.toml"))
    }

    #[test]
    fn the_example_is_valid_and_states_the_defaults() {
        let example =
            Config::parse(include_str!("../config/pollux.toml"), Path::new("D/pollux.toml")).unwrap();
        let bare = parse("name = \"node1\"\n").unwrap();
        assert_eq!(example.role, bare.role);
        assert_eq!(example.listen, bare.listen);
        assert_eq!(example.raft, bare.raft);
        assert_eq!(example.cluster.listen, bare.cluster.listen);
        assert_eq!(example.cluster.bulk_listen, bare.cluster.bulk_listen);
        assert_eq!((&example.log.level, example.log.format), (&bare.log.level, bare.log.format));
        assert_eq!(bare.control_socket, Path::new("D/control.sock"));
        assert_eq!(example.journal_bytes_max, bare.journal_bytes_max);
        assert_eq!(bare.telemetry, None, "nobody is told unless somebody wants it");
        assert_eq!(bare.metrics, None, "nothing is told without a login unless somebody wants it");
    }

    #[test]
    fn the_examples_of_each_kind_of_node_are_valid() {
        let data = parse(include_str!("../config/data.toml")).unwrap();
        assert_eq!((data.role, data.cluster.advertise.as_str()), (Role::Data, "node1.example.com:7401"));
        assert_eq!(data.cluster.bulk_advertise, "node1.example.com:7402");
        let witness = parse(include_str!("../config/witness.toml")).unwrap();
        assert_eq!((witness.role, witness.tls.is_none()), (Role::Witness, true));
        assert_eq!(witness.journal_bytes_max, parse("name = \"a\"\n").unwrap().journal_bytes_max);
        let single = parse(include_str!("../config/single.toml")).unwrap();
        assert!(single.cluster.listen.ip().is_loopback() && single.metrics.is_some());
    }

    #[test]
    fn every_mistake_is_one_line_with_file_line_and_key() {
        for (text, said) in [
            ("", "D/pollux.toml"),
            ("role = \"data\"\n", "name is missing; add it"),
            ("name = \"Node 1\"\n", "D/pollux.toml:1: name: \"Node 1\" is not a node name"),
            ("name = \"a\"\nrole = \"cook\"\n", "D/pollux.toml:2: role: unknown variant `cook`"),
            ("name = \"a\"\ncolour = 1\n", "D/pollux.toml:2: colour: unknown field `colour`"),
            ("name = \"a\"\n[listen]\nport_offset = 70000\n", "D/pollux.toml:3: listen.port_offset: "),
            ("name = \"a\"\n[listen]\naddress = \"here\"\n", "D/pollux.toml:3: listen.address: "),
            (
                "name = \"a\"\n[cluster]\nlisten = \"7401\"\n",
                "D/pollux.toml:3: cluster.listen: \"7401\" is not an address",
            ),
            (
                "name = \"a\"\n[cluster]\nadvertise = \"mx1\"\n",
                "cluster.advertise: \"mx1\" is not an address",
            ),
            (
                "name = \"a\"\n[cluster]\nlisten = \"0.0.0.0:0\"\n",
                "cluster.listen: control and bulk each need a port",
            ),
            (
                "name = \"a\"\n[raft]\nheartbeat_ms = 9\n",
                "raft.heartbeat_ms: 9 is out of bounds; 10 to 10000",
            ),
            ("name = \"a\"\n[raft]\nheartbeat_ms = 200\n", "raft.election_min_ms: 225 is too short"),
            (
                "name = \"a\"\n[raft]\nelection_max_ms = 225\n",
                "D/pollux.toml:3: raft.election_max_ms: 225 is out of bounds",
            ),
            ("name = \"a\"\n[raft]\nlog_entries_kept = 99\n", "raft.log_entries_kept: 99 is out of bounds"),
            (
                "name = \"a\"\n[raft]\nlog_bytes_kept = 1048575\n",
                "raft.log_bytes_kept: 1048575 is out of bounds",
            ),
            (
                "name = \"a\"\n[witness]\njournal_bytes_max = 1099511627777\n",
                "witness.journal_bytes_max: 1099511627777 is out of bounds; 0 to 1099511627776",
            ),
            ("name = \"a\"\n[raft]\npreset = \"fast\"\n", "raft.preset: unknown variant `fast`"),
            (
                "name = \"a\"\n[log]\nlevel = \"a=b=c\"\n",
                "D/pollux.toml:3: log.level: \"a=b=c\" is not a log filter",
            ),
            (
                "name = \"a\"\n[metrics]\naddress = \"9154\"\n",
                "D/pollux.toml:3: metrics.address: \"9154\" is not an address",
            ),
            ("name = \"a\"\n[metrics]\naddress = \"127.0.0.1:0\"\n", "metrics.address: the port 0 is none"),
            ("name = \"a\"\n[metrics]\n", "metrics: address is missing"),
            (
                "name = \"a\"\n[telemetry]\nendpoint = \"collector:4318\"\n",
                "D/pollux.toml:3: telemetry.endpoint: ",
            ),
            ("name = \"a\"\n[telemetry]\nendpoint = \"http://\"\n", "telemetry.endpoint: "),
            ("name = \"a\"\n[log]\nformat = \"xml\"\n", "D/pollux.toml:3: log.format: unknown variant `xml`"),
            ("name = \"a\"\n[lmtp]\nmode = \"0660\"\n", "lmtp: socket is missing"),
            (
                "name = \"a\"\n[lmtp]\nsocket = \"s\"\nmode = \"0777\"\n",
                "D/pollux.toml:4: lmtp.mode: \"0777\" is no mode",
            ),
            ("name = \"a\"\n[lmtp]\nsocket = \"s\"\nmode = \"0066\"\n", "lmtp.mode: \"0066\" is no mode"),
            ("name = \"a\"\n[lmtp]\nsocket = \"s\"\nmode = \"+660\"\n", "lmtp.mode: \"+660\" is no mode"),
            ("name = \"a\n", "D/pollux.toml:1: name: "),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_lmtp_socket_is_off_unless_named_and_its_path_is_bounded() {
        assert_eq!(parse("name = \"a\"\n").unwrap().lmtp_socket, None);
        let named = |path: &str| parse(&format!("name = \"a\"\n[lmtp]\nsocket = \"{path}\"\n"));
        let socket = named("lmtp.sock").unwrap().lmtp_socket.unwrap();
        assert_eq!((socket.path.as_path(), socket.mode), (Path::new("D/lmtp.sock"), LMTP_MODE_DEFAULT));
        let path = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
        assert!(named(&path(LMTP_SOCKET_BYTES_MAX)).is_ok());
        let error = named(&path(LMTP_SOCKET_BYTES_MAX + 1)).unwrap_err().to_string();
        assert!(error.contains("lmtp.socket: the path has 104 bytes"), "{error}");
    }

    #[test]
    fn the_presets_pass_their_own_bounds() {
        assert_eq!(parse("name = \"a\"\n").unwrap().raft, RaftTimers::DEFAULT);
        let slow = parse("name = \"a\"\n[raft]\npreset = \"slow-disk\"\n").unwrap();
        assert_eq!(slow.raft, RaftTimers::SLOW_DISK);
        assert!(parse("name = \"a\"\n[raft]\nheartbeat_ms = 10\n").is_ok());
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused_unread() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pollux.toml");
        let text = format!("name = \"a\"\n#{}", "x".repeat(CONFIG_BYTES_MAX as usize));
        std::fs::write(&path, text).unwrap();
        assert!(Config::load(&path).unwrap_err().to_string().contains("is the limit"));
        assert!(Config::load(&dir.path().join("none")).unwrap_err().to_string().contains("'pollux init'"));
    }
}
