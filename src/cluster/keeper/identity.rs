//! A node's certificate is renewed at half its life, by itself: same key, same name. Connections made from then on show it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::ticking;
use crate::cluster::local::Local;
use crate::cluster::membership::Files;
use crate::cluster::network::kinds;
use crate::cluster::pki::{NodeIdentity, NodeKey};
use crate::cluster::transport::{CallError, Lane};
use crate::cluster::types::Role;
use crate::cluster::wire;
use crate::mail::ids::NodeId;

/// Half a certificate's life is a year: an hour more does no harm.
const LOOK_EACH: Duration = Duration::from_secs(3_600);
/// How long a data node may take to sign.
const SIGN_MAX: Duration = Duration::from_secs(5);
/// Octets of a P-256 public key; more is not read.
const PUBLIC_KEY_BYTES_MAX: usize = 128;

pub async fn renew_identity(local: Arc<Local>) {
    let mut ticks = ticking(LOOK_EACH);
    loop {
        ticks.tick().await;
        match local.renew_identity_if_due().await {
            Ok(true) => tracing::info!("the certificate of node {} is renewed", local.id),
            Ok(false) => {}
            Err(why) => tracing::warn!("the certificate of node {} could not be renewed: {why}", local.id),
        }
    }
}

impl Local {
    /// Whether it was renewed. An hour later it is tried again; there is a year for it.
    pub async fn renew_identity_if_due(&self) -> Result<bool, String> {
        let files = Files::new(&self.config.dir);
        let reading = files.clone();
        let identity = blocking(move || reading.read_identity().map_err(|error| error.to_string())).await?;
        if self.clock.now() < identity.renew_after().map_err(|error| error.to_string())? {
            return Ok(false);
        }
        let key = NodeKey::from_pem(&identity.key_pem).map_err(|error| error.to_string())?;
        let chain_pem = match self.config.role {
            Role::Data => self.certify(self.id, key.public().to_vec()).await?,
            Role::Witness => self.ask_to_certify(key.public().to_vec()).await?,
        };
        let renewed = NodeIdentity { chain_pem, ..identity };
        renewed.check().map_err(|error| error.to_string())?;
        if renewed.name().map_err(|error| error.to_string())? != (self.id, self.cluster) {
            return Err("the certificate that came is another node's".to_owned());
        }
        // On disk first: what is shown to peers must be what a restart shows.
        let written = renewed.clone();
        blocking(move || files.write_identity(&written).map_err(|error| error.to_string())).await?;
        self.transport.replace_identity(&renewed).map_err(|error| error.to_string())?;
        Ok(true)
    }

    /// With this node's copy of the CA.
    async fn certify(&self, node: NodeId, public: Vec<u8>) -> Result<String, String> {
        let (files, now) = (Files::new(&self.config.dir), self.clock.now());
        blocking(move || files.read_ca()?.certify(node, &public, now).map_err(|error| error.to_string()))
            .await
    }

    /// The first data node that answers.
    async fn ask_to_certify(&self, public: Vec<u8>) -> Result<String, String> {
        let mut why = "no data node is known".to_owned();
        for node in self.data_voters() {
            let asked = Bytes::from(public.clone());
            match self.transport.call(node, Lane::Control, kinds::CERTIFY, asked, SIGN_MAX).await {
                Ok(answer) => return wire::decode(&answer).map_err(|error| error.to_string()),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// A peer asks for a certificate of its own: `from` is what its present one says, so it gets no other name.
    pub async fn certify_for_peer(&self, from: NodeId, public: Bytes) -> Result<Bytes, CallError> {
        let refused =
            |message: String| CallError::Refused { code: crate::cluster::network::REFUSED, message };
        if public.len() > PUBLIC_KEY_BYTES_MAX || self.member(from).is_none() {
            return Err(refused("not a key of a member".to_owned()));
        }
        let chain = self.certify(from, public.to_vec()).await.map_err(refused)?;
        wire::encode(&chain).map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    crate::cluster::blocking::blocking(work).await.map_err(|error| error.to_string())?
}
