//! How the two endpoints are set up: TLS, timers, windows. Binds the sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, VarInt,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;

use super::{Lane, TransportError, hello, join};
use crate::clock::Clock;
use crate::cluster::pki::NodeIdentity;

/// Calls and streams a peer may have open at once, per lane.
const CONTROL_STREAMS_MAX: u32 = 256;
const BULK_STREAMS_MAX: u32 = 512;
const BULK_STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const BULK_CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// What connections are made with, until the identity is replaced.
pub(super) struct Tls {
    client: [quinn::ClientConfig; 2],
    server: [quinn::ServerConfig; 2],
}

impl Tls {
    pub(super) fn new(identity: &NodeIdentity) -> Result<Self, TransportError> {
        let unusable = |why: String| TransportError::Identity(why);
        identity.check().map_err(|why| unusable(why.to_string()))?;
        let lane = |lane| -> Result<_, String> { Ok((client(identity, lane)?, server(identity, lane)?)) };
        let (control, bulk) = (lane(Lane::Control).map_err(unusable)?, lane(Lane::Bulk).map_err(unusable)?);
        Ok(Self { client: [control.0, bulk.0], server: [control.1, bulk.1] })
    }

    pub(super) fn client(&self, lane: Lane) -> quinn::ClientConfig {
        self.client[lane as usize].clone()
    }

    pub(super) fn server(&self, lane: Lane) -> quinn::ServerConfig {
        self.server[lane as usize].clone()
    }
}

fn roots(identity: &NodeIdentity) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for ca in identity.cas().map_err(|why| why.to_string())? {
        roots.add(ca).map_err(|why| why.to_string())?;
    }
    Ok(Arc::new(roots))
}

pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client(identity: &NodeIdentity, lane: Lane) -> Result<quinn::ClientConfig, String> {
    let text = |why: &dyn std::fmt::Display| why.to_string();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| text(&why))?
        .with_root_certificates(roots(identity)?)
        .with_client_auth_cert(
            identity.chain().map_err(|why| text(&why))?,
            identity.key().map_err(|why| text(&why))?,
        )
        .map_err(|why| text(&why))?;
    tls.alpn_protocols = vec![hello::ALPN.to_vec()];
    tls.enable_early_data = false;
    // A resumed session would skip the certificate, and with it the check of who calls.
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(|why| text(&why))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(timers(lane)));
    Ok(config)
}

fn server(identity: &NodeIdentity, lane: Lane) -> Result<quinn::ServerConfig, String> {
    let text = |why: &dyn std::fmt::Display| why.to_string();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(identity)?, provider());
    // Joiners have no certificate yet. `serve` lets such a connection do nothing else than join.
    let verifier = match lane {
        Lane::Control => verifier,
        Lane::Bulk => verifier.allow_unauthenticated(),
    };
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| text(&why))?
        .with_client_cert_verifier(verifier.build().map_err(|why| text(&why))?)
        .with_single_cert(
            identity.chain().map_err(|why| text(&why))?,
            identity.key().map_err(|why| text(&why))?,
        )
        .map_err(|why| text(&why))?;
    tls.alpn_protocols = match lane {
        Lane::Control => vec![hello::ALPN.to_vec()],
        Lane::Bulk => vec![hello::ALPN.to_vec(), join::ALPN.to_vec()],
    };
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    let crypto = QuicServerConfig::try_from(tls).map_err(|why| text(&why))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(timers(lane)));
    Ok(config)
}

pub(super) fn timers(lane: Lane) -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    config.max_concurrent_uni_streams(VarInt::from_u32(0)).datagram_receive_buffer_size(None);
    // The default of 333 ms makes one lost first packet cost a second.
    config.initial_rtt(Duration::from_millis(10));
    match lane {
        Lane::Control => config
            .keep_alive_interval(Some(Duration::from_millis(250)))
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(1_000))))
            .max_concurrent_bidi_streams(VarInt::from_u32(CONTROL_STREAMS_MAX)),
        Lane::Bulk => config
            .keep_alive_interval(Some(Duration::from_secs(3)))
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(15_000))))
            .max_concurrent_bidi_streams(VarInt::from_u32(BULK_STREAMS_MAX))
            .stream_receive_window(VarInt::from_u32(BULK_STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(BULK_CONNECTION_WINDOW_BYTES)),
    };
    config
}

/// Binds one lane. Must be called inside the runtime that shall drive it.
pub(super) fn bind(
    address: SocketAddr,
    identity: &NodeIdentity,
    server: quinn::ServerConfig,
    clock: Clock,
) -> Result<Endpoint, TransportError> {
    let failed = |why: std::io::Error| {
        let why = match why.kind() {
            std::io::ErrorKind::AddrInUse => {
                "the port is in use; stop the other process or configure another port".to_owned()
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; configure one it has".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "not permitted; ports under 1024 need privileges".to_owned()
            }
            _ => why.to_string(),
        };
        TransportError::Listen { address, why }
    };
    let socket = std::net::UdpSocket::bind(address).map_err(failed)?;
    // Best effort: the system may allow less, which costs speed only.
    let buffers = socket2::SockRef::from(&socket);
    let _ = buffers.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = buffers.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    Endpoint::new(endpoint_config(identity, clock), Some(server), socket, Arc::new(TokioRuntime))
        .map_err(failed)
}

/// With keys that outlive the process, a restarted node can tell its peers at their next packet that
/// their connections are gone (RFC 9000 10.3), instead of leaving them to the idle time-out.
fn endpoint_config(identity: &NodeIdentity, clock: Clock) -> EndpointConfig {
    let key = blake3::derive_key("pollux 2026 quic stateless reset", identity.key_pem.as_bytes());
    let mut config = EndpointConfig::new(Arc::new(ResetKey(key)));
    // quinn's own generator would not know the ids of the last process, and so not answer for them.
    config.cid_generator(move || Box::new(RandomIds(clock.clone())));
    config
}

struct RandomIds(Clock);

const CONNECTION_ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CONNECTION_ID_BYTES];
        self.0.fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

struct ResetKey([u8; 32]);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let hash = blake3::keyed_hash(&self.0, data);
        // blake3 compares its hashes in constant time.
        match <[u8; 32]>::try_from(signature) {
            Ok(signature) if hash == signature => Ok(()),
            _ => Err(quinn::crypto::CryptoError),
        }
    }
}
