//! One life of a node: the cluster room first, then what stands on it, and down again in the other order.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::manager::Manager;
use super::operator::Bound;
use super::sight::NodeSight;
use super::vitals::NodeVitals;
use super::{PidFile, Rooms, Stop, acme, address, first, reload, run_rooms, watch_signals};
use crate::admin::cli::identity::cluster_config;
use crate::admin::telemetry::{self, Identity, Telemetry};
use crate::admin::{alarms, metrics};
use crate::clock::Clock;
use crate::cluster::replica::Replica;
use crate::cluster::start::Cluster;
use crate::config::{Config, Role};
use crate::session::tls::TlsStore;

/// Runs until the node is told to stop. `Err` is one line for the operator.
pub async fn live(config: &Config, tls: Option<Arc<TlsStore>>) -> Result<(), String> {
    let stop: Stop = Arc::new(watch::Sender::new(false));
    watch_signals(Arc::clone(&stop))?;
    reload::watch(tls.clone())?;
    // Before anything is started that would have to be stopped again.
    let metrics = match config.metrics {
        Some(address) => Some(bind_metrics(address).await?),
        None => None,
    };
    let started = Cluster::start(cluster_config(config), Clock::system()).await;
    let (cluster, handle) = started.map_err(|error| error.to_string())?;
    // The cluster room holds the directory's lock: the file is ours to write.
    let _pid = PidFile::write(&config.dir)?;
    if config.role == Role::Data {
        let (dir, replica) = (config.dir.clone(), handle.clone());
        tokio::spawn(async move { first::apply(&dir, &replica).await });
    }
    let operator = |rooms: Rooms| {
        let vitals = NodeVitals::new(config, handle.clone(), rooms.services.clone(), tls.clone());
        let (up, stopping) = (rooms.up.subscribe(), stop.subscribe());
        tokio::spawn(Manager::of_environment().keep_told(vitals.clone(), up, stopping));
        if let Some(metrics) = metrics {
            tokio::spawn(metrics.serve(vitals.clone(), stop.subscribe()));
        }
        if let Some(endpoint) = config.telemetry.clone() {
            let identity = Identity {
                cluster: handle.cluster_id(),
                node: config.name.clone(),
                role: config.role.word(),
                version: env!("CARGO_PKG_VERSION"),
            };
            let events = rooms.log.listen(telemetry::WAITING_MAX);
            let telemetry = Telemetry { endpoint, identity, vitals: vitals.clone(), events };
            tokio::spawn(telemetry.run(stop.subscribe()));
        }
        if config.role == Role::Data {
            tokio::spawn(address::follow(handle.clone(), rooms.addresses.clone()));
            tokio::spawn(acme::follow(handle.clone(), config.acme_dns_hook.clone()));
            let (replica, sight) = (handle.clone(), NodeSight::new(handle.clone(), vitals));
            tokio::spawn(async move {
                replica.belongs().await;
                alarms::watch(replica, sight).await;
            });
        }
        Bound::new(handle.clone(), rooms, Arc::clone(&stop))
    };
    let rooms = async {
        let mut running = pin!(run_rooms(config, handle.clone(), operator, (&stop, tls.clone())));
        let mut stopping = stop.subscribe();
        tokio::select! {
            outcome = &mut running => return outcome,
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        // Beside the farewells: what clients still end is committed by whoever leads after this node.
        tokio::join!(running, cluster.hand_over()).0
    };
    let outcome = tokio::select! {
        outcome = rooms => outcome,
        // What hung may keep the rest from ending well: no farewell, no hand-over.
        why = cluster.failed() => return Err(why),
    };
    cluster.shutdown().await;
    outcome
}

async fn bind_metrics(address: SocketAddr) -> Result<metrics::Listener, String> {
    let listener = metrics::Listener::bind(address).await.map_err(|error| {
        format!("metrics cannot be told on {address} ({error}); correct metrics.address in pollux.toml")
    })?;
    tracing::info!("metrics and health are told on http://{address}");
    Ok(listener)
}
