//! SIGHUP: the mail services' certificate is read anew. Sessions that run keep theirs; a file that cannot be used
//! changes nothing.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::session::tls::TlsStore;

/// Follows SIGHUP from now on; without a certificate it is heard and changes nothing.
pub fn watch(tls: Option<Arc<TlsStore>>) -> Result<(), String> {
    let watched = signal(SignalKind::hangup());
    let mut hangup = watched.map_err(|error| format!("signals cannot be watched: {error}"))?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match &tls {
                Some(store) => reload(Arc::clone(store)).await,
                None => info!("SIGHUP: no certificate is configured here; nothing is read anew"),
            }
        }
    });
    Ok(())
}

async fn reload(store: Arc<TlsStore>) {
    let reading = Arc::clone(&store);
    match tokio::task::spawn_blocking(move || reading.reload()).await {
        Ok(Ok(())) => info!("SIGHUP: new connections get the certificate in {}", store.cert().display()),
        Ok(Err(fault)) => error!("SIGHUP: the old certificate stays in use: {fault}"),
        Err(_) => error!("SIGHUP: the old certificate stays in use: reading the new one failed"),
    }
}
