//! The name servers in force, one client each: the setting `dns.servers`, or what the system's resolv.conf names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{PoolContext, TlsConfig, TokioResolver};

use super::resolver::{Bounds, CACHED_ANSWERS_MAX, Client, Pool};

/// Of resolv.conf; glibc reads no more either. The setting has its own bound.
const SYSTEM_SERVERS_MAX: usize = 3;
/// An answer is remembered no longer than this, whatever its server allows.
const ANSWER_SECONDS_MAX: u64 = 86_400;
const NEGATIVE_SECONDS_MAX: u64 = 3_600;
/// Tries with one server beyond the first.
const RETRIES: usize = 1;

/// One client for each server, the preferred one first. `Err` says why there is none.
pub(super) fn clients(servers: &[SocketAddr], bounds: &Bounds) -> Result<Vec<(Client, Pool)>, String> {
    let servers = match servers {
        [] => system_servers()?,
        _ => servers.iter().map(|server| at(*server)).collect(),
    };
    servers.into_iter().map(|server| client(server, bounds)).collect()
}

fn system_servers() -> Result<Vec<NameServerConfig>, String> {
    let (config, _) =
        read_system_conf().map_err(|error| format!("no name server in resolv.conf: {error}"))?;
    Ok(config.name_servers().iter().take(SYSTEM_SERVERS_MAX).cloned().collect())
}

fn at(server: SocketAddr) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port).into();
    NameServerConfig::new(server.ip(), true, connections)
}

fn client(server: NameServerConfig, bounds: &Bounds) -> Result<(Client, Pool), String> {
    let tls = TlsConfig::new().map_err(|error| format!("no client for a name server: {error}"))?;
    let context = Arc::new(PoolContext::new(options(bounds), tls));
    let pool = Pool::from_config([server.clone()], context, TokioRuntimeProvider::default());
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options(bounds);
    let client = builder.build().map_err(|error| format!("no client for a name server: {error}"))?;
    Ok((client, pool))
}

fn options(bounds: &Bounds) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(bounds.attempt_ms_max);
    options.attempts = RETRIES;
    options.cache_size = CACHED_ANSWERS_MAX;
    options.positive_max_ttl = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
    options.negative_max_ttl = Some(Duration::from_secs(NEGATIVE_SECONDS_MAX));
    // Mail goes by the DNS alone: what a box calls its neighbours is no mail exchanger's address.
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = bounds.lookups_max;
    options
}
