//! The receiving side: takes bodies from peers, verifies, makes them durable, acknowledges; gives out
//! bodies that peers ask for. Needs this node's store only.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};

use super::{
    BodyBounds, KIND_FETCH, KIND_LARGE, KIND_SMALL, PIECE_BYTES_MAX, SMALL_BODY_BYTES_MAX, blocking,
};
use crate::cluster::transport::{BACKGROUND, FrameSender, FramedStream};
use crate::mail::ids::{BodyId, NodeId};
use crate::store::segments::{Bodies, BodyError};

/// Bytes of small bodies of one peer that are not durable yet; beyond, nothing more is read.
const UNSYNCED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Acks written at once.
const ACKS_MAX: usize = 64;
/// Bodies being given out at once, over all peers.
const SERVED_AT_ONCE_MAX: usize = 16;

/// Cheap to clone.
#[derive(Clone)]
pub struct BodyServer {
    store: Bodies,
    serving: Arc<Semaphore>,
    body_bytes_max: u64,
}

impl BodyServer {
    pub fn new(store: Bodies, bounds: BodyBounds) -> Self {
        let serving = Arc::new(Semaphore::new(SERVED_AT_ONCE_MAX));
        Self { store, serving, body_bytes_max: bounds.body_bytes_max }
    }

    /// For the transport's handler: streams for which [`super::is_body_kind`] holds.
    pub fn stream(&self, from: NodeId, kind: u16, stream: FramedStream) -> BoxFuture<'static, ()> {
        let server = self.clone();
        Box::pin(async move {
            match kind & !BACKGROUND {
                KIND_SMALL => server.take_small(from, stream).await,
                KIND_LARGE => server.take_large(from, stream).await,
                KIND_FETCH => server.give(stream).await,
                other => tracing::warn!(node = from.0, "node {from} opened a body stream of kind {other:#x}"),
            }
        })
    }

    /// Many bodies are on their way to the disk together and share its syncs.
    async fn take_small(&self, from: NodeId, stream: FramedStream) {
        let (sender, mut receiver) = stream.split();
        let (acks, queue) = mpsc::channel(ACKS_MAX);
        let writer = tokio::spawn(write_acks(sender, queue));
        let unsynced = Arc::new(Semaphore::new(UNSYNCED_BYTES_MAX));
        while let Ok(Some(frame)) = receiver.recv().await {
            let Some(small) = Small::decode(frame) else {
                tracing::warn!(node = from.0, "node {from} sent a body frame that cannot be understood");
                break;
            };
            let weight = small.bytes.len().clamp(1, SMALL_BODY_BYTES_MAX) as u32;
            let Ok(permit) = unsynced.clone().acquire_many_owned(weight).await else { break };
            let (store, acks) = (self.store.clone(), acks.clone());
            tokio::spawn(async move {
                let verdict = keep(&store, small.id, &small.bytes).await;
                drop(permit);
                // The stream may be gone, and then nobody waits.
                let _ = acks.send(Ack { number: small.number, verdict }).await;
            });
        }
        drop(acks);
        let _ = writer.await;
    }

    async fn take_large(&self, from: NodeId, mut stream: FramedStream) {
        let verdict = match self.receive_large(&mut stream).await {
            Ok(verdict) => verdict,
            Err(why) => {
                tracing::debug!(node = from.0, "a body from node {from} did not arrive whole: {why}");
                return;
            }
        };
        if stream.send(Ack { number: 0, verdict }.encode()).await.is_ok() {
            stream.finish();
        }
    }

    /// `Err`: the stream broke; there is nobody to tell.
    async fn receive_large(&self, stream: &mut FramedStream) -> Result<Result<(), String>, String> {
        let mut writer = self.store.begin();
        loop {
            let frame = stream.recv().await.map_err(|why| why.to_string())?.ok_or("it ended early")?;
            match Piece::decode(frame).ok_or("a piece cannot be understood")? {
                Piece::Data(bytes) => {
                    // Large bodies are spooled to a file, which blocks.
                    let pushed = blocking(move || writer.push(&bytes).map(|()| writer)).await;
                    match pushed.map_err(|why| why.to_string())? {
                        Ok(back) => writer = back,
                        Err(why) => return Ok(Err(why.to_string())),
                    }
                }
                Piece::End(id) => {
                    let staged = blocking(move || writer.finish()).await.map_err(|why| why.to_string())?;
                    let staged = match staged {
                        Ok(staged) if staged.id() == id => staged,
                        Ok(_) => return Ok(Err(format!("the bytes sent are not the body {id}"))),
                        Err(why) => return Ok(Err(why.to_string())),
                    };
                    return Ok(staged.commit().await.map(|_| ()).map_err(|why| why.to_string()));
                }
            }
        }
    }

    async fn give(&self, mut stream: FramedStream) {
        let Ok(Some(frame)) = stream.recv().await else { return };
        let Ok(id) = <[u8; 32]>::try_from(&frame[..]) else { return };
        let Ok(_permit) = self.serving.acquire().await else { return };
        let (store, id) = (self.store.clone(), BodyId(id));
        let found = match blocking(move || store.get(id)).await {
            Ok(Ok(found)) => found,
            // Gone for good; its place in the index too.
            Ok(Err(BodyError::Corrupt(_))) => None,
            // It is here, perhaps: "does not have it" would be a lie that could count it as lost.
            Ok(Err(why)) => {
                tracing::warn!("a body that a peer asked for cannot be read: {why}");
                return;
            }
            Err(_) => return,
        };
        let found = found.filter(|body| body.len() as u64 <= self.body_bytes_max);
        let head = match &found {
            Some(body) => (body.len() as u64 + 1).to_be_bytes(),
            None => 0u64.to_be_bytes(),
        };
        if stream.send(Bytes::copy_from_slice(&head)).await.is_err() {
            return;
        }
        let mut rest = found.unwrap_or_default();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES_MAX));
            if stream.send(piece).await.is_err() {
                return;
            }
        }
        stream.finish();
    }
}

async fn keep(store: &Bodies, id: BodyId, bytes: &[u8]) -> Result<(), String> {
    let mut writer = store.begin();
    let text = |why: BodyError| why.to_string();
    writer.push(bytes).map_err(text)?;
    let staged = writer.finish().map_err(text)?;
    if staged.id() != id {
        return Err(format!("the bytes sent are not the body {id}"));
    }
    staged.commit().await.map(|_| ()).map_err(text)
}

pub(super) async fn write_acks(mut sender: FrameSender, mut queue: mpsc::Receiver<Ack>) {
    let mut acks = Vec::with_capacity(ACKS_MAX);
    while queue.recv_many(&mut acks, ACKS_MAX).await > 0 {
        let frames = acks.drain(..).map(Ack::encode).collect();
        if sender.send_all(frames).await.is_err() {
            return;
        }
    }
    sender.finish();
}

/// A small body in a frame: number, id, bytes.
pub struct Small {
    pub number: u64,
    pub id: BodyId,
    pub bytes: Bytes,
}

const SMALL_HEAD_BYTES: usize = 40;

impl Small {
    pub fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(SMALL_HEAD_BYTES + self.bytes.len());
        frame.put_u64(self.number);
        frame.extend_from_slice(&self.id.0);
        frame.extend_from_slice(&self.bytes);
        frame.freeze()
    }

    pub fn decode(mut frame: Bytes) -> Option<Self> {
        if frame.len() > SMALL_HEAD_BYTES + SMALL_BODY_BYTES_MAX {
            return None;
        }
        let number = u64::from_be_bytes(*frame.first_chunk()?);
        let id = BodyId(*frame.get(8..)?.first_chunk()?);
        let bytes = frame.split_off(SMALL_HEAD_BYTES);
        Some(Self { number, id, bytes })
    }
}

/// Durable, or why not.
pub struct Ack {
    pub number: u64,
    pub verdict: Result<(), String>,
}

impl Ack {
    pub fn encode(self) -> Bytes {
        let mut frame = BytesMut::with_capacity(9);
        frame.put_u64(self.number);
        match self.verdict {
            Ok(()) => frame.put_u8(0),
            Err(why) => {
                frame.put_u8(1);
                frame.extend_from_slice(why.as_bytes());
            }
        }
        frame.freeze()
    }

    pub fn decode(frame: &[u8]) -> Option<Self> {
        let (number, rest) = frame.split_first_chunk::<8>()?;
        let (status, why) = rest.split_first()?;
        let verdict = match status {
            0 => Ok(()),
            1 => Err(String::from_utf8_lossy(why).into_owned()),
            _ => return None,
        };
        Some(Self { number: u64::from_be_bytes(*number), verdict })
    }
}

/// A frame of a large body.
pub enum Piece {
    Data(Bytes),
    End(BodyId),
}

impl Piece {
    /// The mark is the last octet, so that reading needs no copy.
    pub fn encode(self) -> Bytes {
        let (bytes, mark) = match &self {
            Self::Data(bytes) => (&bytes[..], 0),
            Self::End(id) => (&id.0[..], 1),
        };
        let mut frame = BytesMut::with_capacity(bytes.len() + 1);
        frame.extend_from_slice(bytes);
        frame.put_u8(mark);
        frame.freeze()
    }

    pub fn decode(mut frame: Bytes) -> Option<Self> {
        let mark = *frame.last()?;
        frame.truncate(frame.len() - 1);
        match mark {
            0 => Some(Self::Data(frame)),
            1 => Some(Self::End(BodyId(frame[..].try_into().ok()?))),
            _ => None,
        }
    }
}
