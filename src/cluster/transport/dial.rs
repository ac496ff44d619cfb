//! Keeps one connection to a peer on one lane: dials, says hello, dials again when it is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError};

use super::hello::{self, Answer, HELLO_BYTES_MAX, PeerHello};
use super::peer::{CLOSE_REFUSED, CLOSE_REPLACED, LinkState, Peer};
use super::{Lane, Shared};
use crate::cluster::pki;

/// A peer that does not answer must not hold up fail-over; the next attempt may find it.
const CONTROL_DIAL_MS_MAX: u64 = 500;
const BULK_DIAL_MS_MAX: u64 = 1_000;
/// Waits after failed dials; the last one repeats.
const BACKOFF_MS: [u64; 5] = [20, 50, 100, 200, 250];
/// A refusal is not mended by haste.
const REFUSED_BACKOFF_MS: u64 = 500;

/// Why there is no connection.
pub(super) enum DialError {
    Unreachable(String),
    /// Either side said no, for a reason that an operator should see.
    Refused(String),
}

/// A connection that ended sooner counts as a failed dial: two processes with one identity would
/// otherwise take each other's place as fast as they can.
const SOUND_MS_MIN: u64 = 1_000;

/// Runs until the peer is removed or the transport shuts down.
pub(super) async fn keep_linked(shared: Arc<Shared>, peer: Arc<Peer>, lane: Lane) {
    let link = peer.link(lane);
    let mut failures = 0;
    loop {
        let greetings = shared.greetings();
        let backoff_ms = match attempt(&shared, &peer, lane).await {
            Ok(connection) => {
                let sound = hold(&shared, &peer, lane, (connection, greetings)).await;
                link.state.send_replace(LinkState::Dialling);
                if sound {
                    failures = 0;
                    continue;
                }
                BACKOFF_MS[failures.min(BACKOFF_MS.len() - 1)]
            }
            Err(DialError::Refused(why)) => {
                peer.refused(&why);
                link.state.send_replace(LinkState::Down(why));
                REFUSED_BACKOFF_MS
            }
            Err(DialError::Unreachable(why)) => {
                link.state.send_replace(LinkState::Down(why));
                BACKOFF_MS[failures.min(BACKOFF_MS.len() - 1)]
            }
        };
        failures += 1;
        let _ = tokio::time::timeout(Duration::from_millis(backoff_ms), link.kick.notified()).await;
    }
}

/// Keeps the connection in use until it ends. Whether it held for long enough.
async fn hold(shared: &Shared, peer: &Peer, lane: Lane, (connection, greetings): (Connection, u64)) -> bool {
    let since = Instant::now();
    tracing::debug!(node = peer.node.0, ?lane, "connected to node {}", peer.node);
    peer.link(lane).state.send_replace(LinkState::Up(connection.clone()));
    if shared.greetings() != greetings {
        connection.close(CLOSE_REPLACED, b"this node's history changed meanwhile");
    }
    let why = connection.closed().await;
    shared.closed(peer.node, &why);
    tracing::info!(node = peer.node.0, ?lane, "lost the connection to node {}: {why}", peer.node);
    since.elapsed() >= Duration::from_millis(SOUND_MS_MIN)
}

async fn attempt(shared: &Shared, peer: &Peer, lane: Lane) -> Result<Connection, DialError> {
    let bound_ms = match lane {
        Lane::Control => CONTROL_DIAL_MS_MAX,
        Lane::Bulk => BULK_DIAL_MS_MAX,
    };
    match tokio::time::timeout(Duration::from_millis(bound_ms), dial(shared, peer, lane)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DialError::Unreachable(format!("no answer from {}", peer.address().of(lane)))),
    }
}

async fn dial(shared: &Shared, peer: &Peer, lane: Lane) -> Result<Connection, DialError> {
    let address = peer.address();
    let resolved = resolve(address.of(lane), shared.local(lane)).await?;
    let name = pki::node_name(peer.node, shared.cluster);
    let config = shared.tls().client(lane);
    let connection = shared
        .endpoint(lane)
        .connect_with(config, resolved, &name)
        .map_err(|why| DialError::Unreachable(format!("cannot dial {resolved}: {why}")))?
        .await
        .map_err(|why| failed_handshake(&why, peer, resolved))?;
    match greet(shared, peer, &connection).await {
        Ok(hello) => {
            peer.accepted(hello);
            Ok(connection)
        }
        Err(DialError::Refused(why)) => {
            connection.close(CLOSE_REFUSED, why.as_bytes());
            Err(DialError::Refused(why))
        }
        // A server checks our certificate after our side of the handshake is done.
        Err(DialError::Unreachable(why)) => Err(match connection.close_reason() {
            Some(reason) => {
                shared.closed(peer.node, &reason);
                failed_handshake(&reason, peer, resolved)
            }
            None => DialError::Unreachable(why),
        }),
    }
}

/// An address of the family our socket has.
pub(super) async fn resolve(address: &str, local: SocketAddr) -> Result<SocketAddr, DialError> {
    let unreachable = |why: String| DialError::Unreachable(format!("{address}: {why}"));
    let mut found = tokio::net::lookup_host(address).await.map_err(|why| unreachable(why.to_string()))?;
    found
        .find(|resolved| resolved.is_ipv4() == local.is_ipv4())
        .ok_or_else(|| unreachable("it has no address of the family this node listens on".to_owned()))
}

async fn greet(shared: &Shared, peer: &Peer, connection: &Connection) -> Result<PeerHello, DialError> {
    let broken = |why: String| DialError::Unreachable(why);
    let own = shared.hello();
    let words = hello::encode(&own).map_err(|why| broken(why.to_string()))?;
    let (mut send, mut recv) = connection.open_bi().await.map_err(|why| broken(why.to_string()))?;
    send.write_all(&words).await.map_err(|why| broken(why.to_string()))?;
    send.finish().map_err(|why| broken(why.to_string()))?;
    let answer = recv.read_to_end(HELLO_BYTES_MAX).await.map_err(|why| broken(why.to_string()))?;
    let theirs = match hello::decode(&answer).map_err(DialError::Refused)? {
        Answer::Accepted(theirs) => theirs,
        Answer::Removed(why) => {
            shared.told_removed.send_replace(Some(peer.node));
            return Err(DialError::Refused(format!("node {} refuses: {why}", peer.node)));
        }
        Answer::Refused(why) => return Err(DialError::Refused(format!("node {} refuses: {why}", peer.node))),
    };
    let certified = super::serve::certified(connection)
        .ok_or_else(|| DialError::Refused("it has no certificate of a node".to_owned()))?;
    hello::judge(&own, certified, &theirs)
        .and_then(|()| shared.handshake.accept(theirs.node, &theirs.lineage))
        .map_err(DialError::Refused)?;
    Ok(PeerHello { versions: theirs.versions, incarnation: theirs.incarnation })
}

/// TLS alerts (RFC 8446 6.2), as QUIC carries them.
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

/// The words for an operator; what is a matter of certificates counts as refused.
fn failed_handshake(why: &ConnectionError, peer: &Peer, address: SocketAddr) -> DialError {
    let node = peer.node;
    match why {
        ConnectionError::TransportError(error) if is_alert(error.code) => {
            let text = error.to_string();
            DialError::Refused(if text.contains("not valid for name") {
                format!("another node answers at {address}: correct the address of node {node}")
            } else if text.contains("expired") || text.contains("not valid yet") {
                format!(
                    "the certificate of the node at {address} is out of date: check both clocks, renew it"
                )
            } else if text.contains("UnknownIssuer") || text.contains("BadSignature") {
                format!("a node of another cluster answers at {address}: correct the address of node {node}")
            } else {
                format!("the certificate of the node at {address} is not accepted: {text}")
            })
        }
        ConnectionError::ConnectionClosed(close) if is_alert(close.error_code) => {
            DialError::Refused(match u64::from(close.error_code) as u8 {
                ALERT_NO_APPLICATION_PROTOCOL => {
                    format!("the node at {address} speaks another protocol: upgrade the older node")
                }
                _ => format!(
                    "the node at {address} does not accept this node's certificate ({})",
                    close.error_code
                ),
            })
        }
        ConnectionError::ApplicationClosed(close) if close.error_code == CLOSE_REFUSED => {
            DialError::Refused(format!("node {node} refuses: {}", String::from_utf8_lossy(&close.reason)))
        }
        other => DialError::Unreachable(format!("{address}: {other}")),
    }
}

/// RFC 9001 4.8: CRYPTO_ERROR is 0x0100 plus the alert.
fn is_alert(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}
