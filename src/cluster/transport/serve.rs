//! Answers what comes in: checks who it is, hears the hello, hands calls and streams to the handler.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use quinn::crypto::rustls::HandshakeData;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frames::{FramedStream, OPENING_BYTES, Opening, Purpose, read_exactly};
use super::hello::{self, Answer, HELLO_BYTES_MAX, Hello, PeerHello};
use super::peer::{CLOSE_REFUSED, Peer, locked};
use super::{CallError, Lane, Shared, join};
use crate::cluster::pki::{self, ClusterId};
use crate::cluster::wire::MESSAGE_BYTES_MAX;
use crate::mail::ids::NodeId;

/// Connections on one lane, of whatever kind; more are refused.
const CONNECTIONS_MAX: usize = 128;
/// From a first packet to the end of the hello.
const GREETING_MS_MAX: u64 = 3_000;
/// A stream whose opening, or whose call's body, does not come within this is reset.
const OPENING_MS_MAX: u64 = 5_000;
const CALL_BODY_MS_MAX: u64 = 30_000;
/// How long a refused node may take to read why.
const REFUSAL_MS_MAX: u64 = 500;
/// Strangers are logged once each, up to this many.
const STRANGERS_MAX: usize = 64;

const STREAM_REFUSED: VarInt = VarInt::from_u32(2);

/// Who has been complained about already, so that a retry does not fill the log.
#[derive(Default)]
pub(super) struct Strangers {
    logged: Mutex<BTreeSet<(IpAddr, Option<NodeId>)>>,
    /// One came whom the cluster certified, of whose removal nothing is known.
    pub(super) knocked: AtomicBool,
}

impl Strangers {
    fn log(&self, from: SocketAddr, node: Option<NodeId>, why: &str) {
        let mut logged = locked(&self.logged);
        if logged.len() < STRANGERS_MAX && logged.insert((from.ip(), node)) {
            tracing::warn!("refused a connection from {from}: {why}");
        }
    }
}

/// Runs until the endpoint is closed.
pub(super) async fn accept(shared: Arc<Shared>, lane: Lane) {
    while let Some(incoming) = shared.endpoint(lane).accept().await {
        if shared.endpoint(lane).open_connections() >= CONNECTIONS_MAX {
            incoming.refuse();
            continue;
        }
        tokio::spawn(connection(shared.clone(), lane, incoming));
    }
}

async fn connection(shared: Arc<Shared>, lane: Lane, incoming: quinn::Incoming) {
    let from = incoming.remote_address();
    let greeting = Duration::from_millis(GREETING_MS_MAX);
    let connection = match timeout(greeting, async { incoming.await }).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(quinn::ConnectionError::TransportError(error))) => {
            return shared.strangers.log(from, None, &format!("its handshake failed: {error}"));
        }
        // Gone before it said anything: port scans, restarts.
        Ok(Err(_)) | Err(_) => return,
    };
    if lane == Lane::Bulk && protocol(&connection).as_deref() == Some(join::ALPN) {
        return join::serve(&shared, connection).await;
    }
    let Some(certified) = certified(&connection) else {
        connection.close(CLOSE_REFUSED, b"a node's certificate is needed");
        return shared.strangers.log(from, None, "it has no certificate of a node");
    };
    match timeout(greeting, greet(&shared, lane, &connection, certified)).await {
        Ok(Ok(peer)) => streams(shared, peer, connection).await,
        Ok(Err(why)) => {
            match shared.peer(certified.0) {
                Some(peer) => peer.refused(&why),
                None => shared.strangers.log(from, Some(certified.0), &why),
            }
            connection.close(CLOSE_REFUSED, why.as_bytes());
        }
        Err(_) => connection.close(CLOSE_REFUSED, b"no hello came"),
    }
}

fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// Who the peer's verified certificate says it is.
pub(super) fn certified(connection: &Connection) -> Option<(NodeId, ClusterId)> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    pki::name_in(chain.first()?).ok()
}

/// `Err` is the reason, which the peer has then been told.
async fn greet(
    shared: &Shared,
    lane: Lane,
    connection: &Connection,
    certified: (NodeId, ClusterId),
) -> Result<Arc<Peer>, String> {
    let (mut send, mut recv) = connection.accept_bi().await.map_err(|why| why.to_string())?;
    let words = recv.read_to_end(HELLO_BYTES_MAX).await.map_err(|why| why.to_string())?;
    let greetings = shared.greetings();
    let verdict = judge(shared, certified, &words);
    let answer = match &verdict {
        Ok(_) => Answer::Accepted(shared.hello()),
        Err(Verdict::Stranger(why)) if shared.was_removed(certified.0) => Answer::Removed(why.clone()),
        Err(Verdict::Stranger(why) | Verdict::Refused(why)) => Answer::Refused(why.clone()),
    };
    let bytes = hello::encode(&answer).map_err(|why| why.to_string())?;
    // Taken into the books before the peer hears yes: from then on it may call.
    let taken = verdict.map_err(Verdict::words).and_then(|theirs| {
        let told = PeerHello { versions: theirs.versions, incarnation: theirs.incarnation };
        let peer = shared.take_in(theirs.node, lane, connection.clone(), told)?;
        match shared.greetings() == greetings {
            true => Ok(peer),
            false => Err("this node's history changed meanwhile".to_owned()),
        }
    });
    send.write_all(&bytes).await.map_err(|why| why.to_string())?;
    send.finish().map_err(|why| why.to_string())?;
    if taken.is_err() {
        // A close overtakes data that is still on its way.
        let _ = timeout(Duration::from_millis(REFUSAL_MS_MAX), send.stopped()).await;
    }
    taken
}

/// Why a connection is refused.
enum Verdict {
    Refused(String),
    /// It is no member; it may have been one.
    Stranger(String),
}

impl Verdict {
    fn words(self) -> String {
        match self {
            Self::Refused(why) | Self::Stranger(why) => why,
        }
    }
}

fn judge(shared: &Shared, certified: (NodeId, ClusterId), words: &[u8]) -> Result<Hello, Verdict> {
    let theirs: Hello = hello::decode(words).map_err(Verdict::Refused)?;
    hello::judge(&shared.hello(), certified, &theirs).map_err(Verdict::Refused)?;
    if let Some(why) = shared.handshake.apart(theirs.node, &theirs.lineage) {
        return Err(Verdict::Refused(why));
    }
    if shared.peer(theirs.node).is_none() {
        let removed = shared.was_removed(theirs.node);
        shared.strangers.knocked.fetch_or(!removed, Ordering::Relaxed);
        return Err(Verdict::Stranger(hello::not_a_member(theirs.node)));
    }
    shared.handshake.accept(theirs.node, &theirs.lineage).map_err(Verdict::Refused)?;
    Ok(theirs)
}

/// What still runs for a connection is dropped with it: nobody would hear the answers, and a hanging
/// handler would hold the ports after a shutdown.
async fn streams(shared: Arc<Shared>, peer: Arc<Peer>, connection: Connection) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => running.spawn(stream(shared.clone(), peer.clone(), send, recv)),
                Err(why) => return shared.closed(peer.node, &why),
            },
            Some(ended) = running.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(node = peer.node.0, "answering node {} failed: {error}", peer.node);
                }
                continue;
            }
        };
    }
}

async fn stream(shared: Arc<Shared>, peer: Arc<Peer>, mut send: SendStream, mut recv: RecvStream) {
    let mut bytes = [0; OPENING_BYTES];
    let opening = match timeout(Duration::from_millis(OPENING_MS_MAX), recv.read_exact(&mut bytes)).await {
        Ok(Ok(())) => Opening::decode(bytes),
        Ok(Err(_)) => return,
        Err(_) => Err("a stream was opened and nothing said".to_owned()),
    };
    let opening = match opening {
        Ok(opening) => opening,
        Err(why) => {
            tracing::warn!(node = peer.node.0, "node {} broke the protocol: {why}", peer.node);
            let _ = send.reset(STREAM_REFUSED);
            let _ = recv.stop(STREAM_REFUSED);
            return;
        }
    };
    // Only fails when the stream is gone, which the next use of it tells.
    let _ = send.set_priority(opening.priority());
    peer.heard();
    match opening.what {
        Purpose::Stream => {
            let stream = FramedStream::new(peer.clone(), send, recv);
            shared.handler.stream(peer.node, opening.kind, stream).await;
        }
        Purpose::Call => call(&shared, &peer, opening, send, recv).await,
        Purpose::Ping => {
            if send.write_all_chunks(&mut encode_answer(Ok(Bytes::new()))).await.is_ok() {
                let _ = send.finish();
            }
        }
    }
}

async fn call(shared: &Shared, peer: &Peer, opening: Opening, mut send: SendStream, mut recv: RecvStream) {
    let reading = read_exactly(&mut recv, opening.length as usize);
    let Ok(Ok(body)) = timeout(Duration::from_millis(CALL_BODY_MS_MAX), reading).await else {
        let _ = send.reset(STREAM_REFUSED);
        return;
    };
    let answer = shared.handler.call(peer.node, opening.kind, body).await;
    // The caller may be gone; that is its own business.
    if send.write_all_chunks(&mut encode_answer(answer)).await.is_ok() {
        let _ = send.finish();
    }
}

pub(super) const ANSWER_HEAD_BYTES: usize = 5;

fn encode_answer(answer: Result<Bytes, CallError>) -> [Bytes; 2] {
    let (status, body) = match answer {
        Ok(body) if body.len() <= MESSAGE_BYTES_MAX => (0, body),
        Ok(body) => (1, refusal(0, &format!("an answer of {} bytes is over the bound", body.len()))),
        Err(CallError::Refused { code, message }) => (1, refusal(code, &message)),
        Err(other) => (1, refusal(0, &other.to_string())),
    };
    let mut head = BytesMut::with_capacity(ANSWER_HEAD_BYTES);
    head.put_u8(status);
    head.put_u32(body.len() as u32);
    [head.freeze(), body]
}

fn refusal(code: u16, message: &str) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + message.len());
    bytes.put_u16(code);
    bytes.extend_from_slice(message.as_bytes());
    bytes.truncate(MESSAGE_BYTES_MAX);
    bytes.freeze()
}

/// Reads what [`encode_answer`] wrote.
pub(super) async fn read_answer(recv: &mut RecvStream) -> Result<Result<Bytes, CallError>, String> {
    let head = read_exactly(recv, ANSWER_HEAD_BYTES).await?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(format!("an answer of {length} bytes is over the bound of {MESSAGE_BYTES_MAX}"));
    }
    let body = read_exactly(recv, length).await?;
    // Reads the end too: a stream dropped before it would tell the peer to stop.
    let _ = recv.read(&mut [0; 1]).await;
    match (head[0], body.split_first_chunk::<2>()) {
        (0, _) => Ok(Ok(body)),
        (1, Some((code, message))) => Ok(Err(CallError::Refused {
            code: u16::from_be_bytes(*code),
            message: String::from_utf8_lossy(message).into_owned(),
        })),
        (status, _) => Err(format!("an answer of status {status} is not known")),
    }
}
