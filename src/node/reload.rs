//! SIGHUP: the mail services' certificate is read anew, where the box has one of its own. Sessions that run keep theirs; a file that cannot be used
//! changes nothing.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::session::tls::TlsStore;

/// Follows SIGHUP from now on; without files of its own it is heard and changes nothing.
pub fn watch(tls: Option<Arc<TlsStore>>) -> Result<(), String> {
    let watched = signal(SignalKind::hangup());
    let mut hangup = watched.map_err(|error| format!("signals cannot be watched: {error}"))?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match &tls {
                Some(store) if store.file().is_some() => reload(Arc::clone(store)).await,
                _ => info!("SIGHUP: this box has no certificate of its own; nothing is read anew"),
            }
        }
    });
    Ok(())
}

async fn reload(store: Arc<TlsStore>) {
    let reading = Arc::clone(&store);
    match tokio::task::spawn_blocking(move || reading.reload()).await {
        Ok(Ok(())) => {
            let file = store.file().map(|file| file.display().to_string()).unwrap_or_default();
            match store.is_of_cluster() {
                true => info!("SIGHUP: {file} is read anew, but the cluster's certificate is shown"),
                false => info!("SIGHUP: new connections get the certificate in {file}"),
            }
        }
        Ok(Err(fault)) => error!("SIGHUP: the old certificate stays in use: {fault}"),
        Err(_) => error!("SIGHUP: the old certificate stays in use: reading the new one failed"),
    }
}
