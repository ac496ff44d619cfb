//! How a node without a certificate gets one: the bulk port, ALPN "pollux-join/1", one exchange.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bincode::{Decode, Encode};
use futures_util::future::BoxFuture;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;

use super::hello::{self, Versions};
use super::peer::{CLOSE_BYE, CLOSE_REFUSED};
use super::{Lane, PeerAddress, Shared, quic};
use crate::cluster::pki::{self, ClusterId, Fingerprint, NodeIdentity, NodeKey};
use crate::cluster::token::{JoinToken, Role, Secret, TokenError};
use crate::mail::ids::NodeId;

pub(super) const ALPN: &[u8] = b"pollux-join/1";
/// Nobody has shown a certificate here, so little is listened to.
const REQUEST_BYTES_MAX: usize = 4 * 1024;
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const NAME_BYTES_MAX: usize = 64;
const REQUEST_MS_MAX: u64 = 3_000;
/// The handler commits a membership, which may have to wait for a leader.
const ANSWER_MS_MAX: u64 = 30_000;
const DIAL_MS_MAX: u64 = 3_000;
/// How long the answer may take to be read before the connection is closed.
const PARTING_MS_MAX: u64 = 2_000;
pub(super) const JOINS_AT_ONCE_MAX: usize = 8;

/// What a new node says.
#[derive(Debug, Clone, Encode, Decode)]
pub struct JoinRequest {
    pub secret: Secret,
    pub role: Role,
    /// The joiner's own key ([`NodeKey::public`]); the private half never travels.
    pub public_key: Vec<u8>,
    /// For people, unique in the cluster if the handler wants so; at most 64 octets.
    pub name: String,
    pub address: PeerAddress,
    pub versions: Versions,
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinAnswer {
    pub node: NodeId,
    pub cluster: ClusterId,
    /// From [`crate::cluster::pki::ClusterCa::certify`].
    pub chain_pem: String,
    pub ca_pem: String,
    pub members: BTreeMap<NodeId, PeerAddress>,
    /// For the rooms above: opaque here.
    pub extra: Vec<u8>,
}

/// Lets new nodes in.
pub trait JoinHandler: Send + Sync + 'static {
    /// Checks the secret, commits the new member, signs its key. `Err` is one line for the operator
    /// ([`TokenError`]'s words, where they fit).
    fn join(&self, request: JoinRequest) -> BoxFuture<'static, Result<JoinAnswer, String>>;
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("no node of the cluster could be reached: {0}")]
    Unreachable(String),
    #[error("the node at {0} is not of the cluster that made this token (its CA differs): do not go on")]
    WrongCluster(String),
    #[error("the cluster refused: {0}")]
    Refused(String),
    #[error("the answer cannot be used: {0}")]
    Answer(String),
    #[error("this machine: {0}")]
    Local(String),
}

/// Answers one joiner. It has shown no certificate: all it can do is ask this once.
pub(super) async fn serve(shared: &Shared, connection: Connection) {
    let (Some(handler), Ok(_permit)) = (&shared.join, shared.joins.try_acquire()) else {
        return connection.close(CLOSE_REFUSED, b"this node lets no nodes in at the moment");
    };
    let from = connection.remote_address();
    let exchange = async {
        let (send, mut recv) = connection.accept_bi().await.ok()?;
        let bytes = recv.read_to_end(REQUEST_BYTES_MAX).await.ok()?;
        let request = hello::decode::<JoinRequest>(&bytes).and_then(|request| check(shared, request));
        send.set_priority(1).ok()?;
        Some((send, request))
    };
    let Ok(Some((mut send, request))) = timeout(Duration::from_millis(REQUEST_MS_MAX), exchange).await else {
        return connection.close(CLOSE_REFUSED, b"no request to join came");
    };
    let answer = match request {
        Ok(request) => handler.join(request).await,
        Err(why) => Err(why),
    };
    match &answer {
        Ok(answer) => tracing::info!("node {} at {from} has been let in", answer.node),
        Err(why) => tracing::warn!("a join from {from} was refused: {why}"),
    }
    if let Ok(bytes) = hello::encode(&answer)
        && send.write_all(&bytes).await.is_ok()
        && send.finish().is_ok()
    {
        let _ = timeout(Duration::from_millis(PARTING_MS_MAX), send.stopped()).await;
    }
    connection.close(CLOSE_BYE, b"");
}

fn check(shared: &Shared, request: JoinRequest) -> Result<JoinRequest, String> {
    shared.versions.load().check(&request.versions)?;
    if request.name.is_empty() || request.name.len() > NAME_BYTES_MAX {
        return Err(format!("a node's name has 1 to {NAME_BYTES_MAX} octets"));
    }
    Ok(request)
}

/// Asks the token's addresses in turn. The secret is sent only to a node whose chain ends in the
/// token's CA.
pub async fn join(
    token: &JoinToken,
    key: &NodeKey,
    request: JoinRequest,
) -> Result<(JoinAnswer, NodeIdentity), JoinError> {
    let mut failures = Vec::new();
    for address in &token.addresses {
        match timeout(Duration::from_millis(DIAL_MS_MAX), dial(token, address)).await {
            Ok(Ok((endpoint, connection))) => {
                let answer = ask(&connection, &request).await;
                connection.close(CLOSE_BYE, b"");
                let _ = timeout(Duration::from_millis(PARTING_MS_MAX), endpoint.wait_idle()).await;
                let answer = answer?;
                let identity = check_answer(token, key, &answer)?;
                return Ok((answer, identity));
            }
            Ok(Err(JoinError::Unreachable(why))) => failures.push(why),
            Ok(Err(other)) => return Err(other),
            Err(_) => failures.push(format!("{address}: no answer")),
        }
    }
    Err(JoinError::Unreachable(failures.join("; ")))
}

async fn dial(token: &JoinToken, address: &str) -> Result<(Endpoint, Connection), JoinError> {
    let unreachable = |why: String| JoinError::Unreachable(format!("{address}: {why}"));
    let mut found = tokio::net::lookup_host(address).await.map_err(|why| unreachable(why.to_string()))?;
    let resolved = found.next().ok_or_else(|| unreachable("the name has no address".to_owned()))?;
    let any: SocketAddr = if resolved.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let endpoint = Endpoint::client(any).map_err(|why| JoinError::Local(why.to_string()))?;
    let pinned = Arc::new(Pinned { ca: token.ca, foreign: AtomicBool::new(false) });
    let config = client(pinned.clone()).map_err(JoinError::Local)?;
    let connecting = endpoint
        .connect_with(config, resolved, "join.internal")
        .map_err(|why| unreachable(why.to_string()))?;
    match connecting.await {
        Ok(connection) => Ok((endpoint, connection)),
        Err(_) if pinned.foreign.load(Ordering::Relaxed) => Err(JoinError::WrongCluster(address.to_owned())),
        Err(why) => Err(unreachable(why.to_string())),
    }
}

fn client(verifier: Arc<Pinned>) -> Result<quinn::ClientConfig, String> {
    let mut tls = rustls::ClientConfig::builder_with_provider(quic::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| why.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(|why| why.to_string())?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(quic::timers(Lane::Bulk)));
    Ok(config)
}

async fn ask(connection: &Connection, request: &JoinRequest) -> Result<JoinAnswer, JoinError> {
    let lost = |why: String| match connection.close_reason() {
        Some(quinn::ConnectionError::ApplicationClosed(close)) => {
            JoinError::Refused(String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => JoinError::Unreachable(why),
    };
    let bytes = hello::encode(request).map_err(|why| JoinError::Local(why.to_string()))?;
    let exchange = async {
        let (mut send, mut recv) = connection.open_bi().await.map_err(|why| why.to_string())?;
        send.write_all(&bytes).await.map_err(|why| why.to_string())?;
        send.finish().map_err(|why| why.to_string())?;
        recv.read_to_end(ANSWER_BYTES_MAX).await.map_err(|why| why.to_string())
    };
    let answer = timeout(Duration::from_millis(ANSWER_MS_MAX), exchange)
        .await
        .map_err(|_| lost("no answer in time; ask again with the same token".to_owned()))?
        .map_err(lost)?;
    hello::decode::<Result<JoinAnswer, String>>(&answer)
        .map_err(JoinError::Answer)?
        .map_err(JoinError::Refused)
}

fn check_answer(token: &JoinToken, key: &NodeKey, answer: &JoinAnswer) -> Result<NodeIdentity, JoinError> {
    let unusable = |why: String| JoinError::Answer(why);
    let identity = NodeIdentity {
        chain_pem: answer.chain_pem.clone(),
        key_pem: key.key_pem(),
        ca_pem: answer.ca_pem.clone(),
    };
    identity.check().map_err(|why| unusable(why.to_string()))?;
    let name = identity.name().map_err(|why| unusable(why.to_string()))?;
    if name != (answer.node, answer.cluster) {
        return Err(unusable("the certificate is made for another node".to_owned()));
    }
    let cas = identity.cas().map_err(|why| unusable(why.to_string()))?;
    if !cas.iter().any(|ca| Fingerprint::of(ca) == token.ca) {
        return Err(unusable("the CA is not the token's".to_owned()));
    }
    Ok(identity)
}

/// Accepts any node of the one cluster whose CA the token names.
#[derive(Debug)]
struct Pinned {
    ca: Fingerprint,
    /// Set when a certificate was shown that this CA did not make.
    foreign: AtomicBool,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(ca) = intermediates.iter().find(|certificate| Fingerprint::of(certificate) == self.ca)
        else {
            self.foreign.store(true, Ordering::Relaxed);
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), quic::provider())
            .build()
            .map_err(|why| rustls::Error::General(why.to_string()))?;
        let (node, cluster) =
            pki::name_in(end_entity).map_err(|why| rustls::Error::General(why.to_string()))?;
        // The joiner does not know which node it asks; that it is one the CA made is what counts.
        let name = ServerName::try_from(pki::node_name(node, cluster))
            .map_err(|why| rustls::Error::General(why.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], &name, ocsp_response, now).inspect_err(|_| {
            self.foreign.store(true, Ordering::Relaxed);
        })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC is TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = quic::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        quic::provider().signature_verification_algorithms.supported_schemes()
    }
}
