//! One long-lived stream to each peer for small bodies, and for pieces of those that a witness keeps: a stream each would cost more than the mail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::server::{Ack, Small};
use super::{SMALL_BODY_BYTES_MAX, locked};
use crate::cluster::transport::{FrameReceiver, FrameSender, Lane, Transport};
use crate::mail::ids::{BodyId, NodeId};

/// Bodies waiting to be written; beyond, senders wait (they also wait for bytes in flight).
const QUEUE_BODIES_MAX: usize = 256;
/// Bodies written at once.
const BATCH_BODIES_MAX: usize = 64;

/// Why a peer has not acknowledged.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The connection or stream broke: may be tried again.
    Lost(String),
    /// The peer said no.
    Refused(String),
}

/// Cheap to clone; the stream ends with the last clone.
#[derive(Clone)]
pub(super) struct Pool {
    queue: mpsc::Sender<Parcel>,
    in_flight: Arc<Semaphore>,
}

struct Parcel {
    id: BodyId,
    bytes: Bytes,
    waiting: Waiting,
}

struct Waiting {
    ack: oneshot::Sender<Result<(), Trouble>>,
    /// Given back with the ack: these bytes are no longer in flight.
    _permit: OwnedSemaphorePermit,
}

type Pending = Arc<Mutex<BTreeMap<u64, Waiting>>>;

impl Pool {
    /// `kind` of stream: whose frames and acks are as the small bodies'.
    pub(super) fn start(transport: Transport, node: NodeId, kind: u16, in_flight_bytes_max: usize) -> Self {
        let (queue, parcels) = mpsc::channel(QUEUE_BODIES_MAX);
        tokio::spawn(run(transport, (node, kind), parcels));
        Self { queue, in_flight: Arc::new(Semaphore::new(in_flight_bytes_max.max(SMALL_BODY_BYTES_MAX))) }
    }

    /// Sends a body and waits until the peer has made it durable.
    pub(super) async fn send(&self, id: BodyId, bytes: Bytes) -> Result<(), Trouble> {
        let lost = || Trouble::Lost("the node is stopping".to_owned());
        let permit = self.in_flight.clone().acquire_many_owned(weight(&bytes)).await.map_err(|_| lost())?;
        let (ack, acked) = oneshot::channel();
        let parcel = Parcel { id, bytes, waiting: Waiting { ack, _permit: permit } };
        self.queue.send(parcel).await.map_err(|_| lost())?;
        acked.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Sends a body unless too much is on its way already; nobody waits for the ack.
    pub(super) fn offer(&self, id: BodyId, bytes: Bytes) {
        let Ok(permit) = self.in_flight.clone().try_acquire_many_owned(weight(&bytes)) else { return };
        let (ack, _) = oneshot::channel();
        let parcel = Parcel { id, bytes, waiting: Waiting { ack, _permit: permit } };
        // Full: the peer will fetch it when it catches up.
        let _ = self.queue.try_send(parcel);
    }
}

fn weight(bytes: &Bytes) -> u32 {
    bytes.len().clamp(1, SMALL_BODY_BYTES_MAX) as u32
}

/// Opens the stream when there is something to send, again after it broke.
async fn run(transport: Transport, (node, kind): (NodeId, u16), mut parcels: mpsc::Receiver<Parcel>) {
    let mut batch = Vec::with_capacity(BATCH_BODIES_MAX);
    while parcels.recv_many(&mut batch, BATCH_BODIES_MAX).await > 0 {
        let why = match transport.open_stream(node, Lane::Bulk, kind).await {
            Ok(stream) => {
                let (sender, receiver) = stream.split();
                let pending = Pending::default();
                let why = pump(&mut parcels, &mut batch, sender, receiver, &pending).await;
                fail(std::mem::take(&mut *locked(&pending)).into_values(), &why);
                why
            }
            Err(error) => error.to_string(),
        };
        fail(batch.drain(..).map(|parcel| parcel.waiting), &why);
    }
}

fn fail(waiting: impl Iterator<Item = Waiting>, why: &str) {
    for waiting in waiting {
        // Whoever does not listen any longer has given up already.
        let _ = waiting.ack.send(Err(Trouble::Lost(why.to_owned())));
    }
}

/// Returns why the stream ended.
async fn pump(
    parcels: &mut mpsc::Receiver<Parcel>,
    batch: &mut Vec<Parcel>,
    mut sender: FrameSender,
    receiver: FrameReceiver,
    pending: &Pending,
) -> String {
    let mut acks = tokio::spawn(read_acks(receiver, pending.clone()));
    let mut number = 0;
    loop {
        let mut frames = Vec::with_capacity(batch.len());
        for parcel in batch.drain(..) {
            number += 1;
            frames.push(Small { number, id: parcel.id, bytes: parcel.bytes }.encode());
            locked(pending).insert(number, parcel.waiting);
        }
        if let Err(error) = sender.send_all(frames).await {
            acks.abort();
            return error.to_string();
        }
        tokio::select! {
            biased;
            ended = &mut acks => return ended.unwrap_or_else(|error| error.to_string()),
            count = parcels.recv_many(batch, BATCH_BODIES_MAX) => if count == 0 {
                acks.abort();
                return "the node is stopping".to_owned();
            },
        }
    }
}

async fn read_acks(mut receiver: FrameReceiver, pending: Pending) -> String {
    loop {
        let frame = match receiver.recv().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return "the peer ended the stream".to_owned(),
            Err(error) => return error.to_string(),
        };
        let Some(ack) = Ack::decode(&frame) else { return "an ack cannot be understood".to_owned() };
        let waiting = locked(&pending).remove(&ack.number);
        if let Some(waiting) = waiting {
            let _ = waiting.ack.send(ack.verdict.map_err(Trouble::Refused));
        }
    }
}
