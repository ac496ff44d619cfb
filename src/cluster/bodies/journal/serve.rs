//! The witness's end: takes sealed pieces, makes those that gathered durable together, gives all of them out. Understands
//! none of them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};

use super::super::server::{Ack, Small, write_acks};
use super::{JournalQuestion, JournalState, KIND_KEEP, KIND_READ};
use crate::cluster::blocking::blocking;
use crate::cluster::transport::{BACKGROUND, FramedStream};
use crate::mail::ids::NodeId;
use crate::store::journal::{Journal, Mark};

/// Pieces waiting for the disk, and so octets of them: 64 KiB each at most.
const WAITING_MAX: usize = 64;
/// Acks on their way to one node.
const ACKS_MAX: usize = 64;
/// Octets of records read in one go.
const STRETCH_BYTES: usize = 1 << 20;

/// Cheap to clone. It ends with the last clone and the last stream.
#[derive(Clone)]
pub struct JournalServer {
    journal: Journal,
    waiting: mpsc::Sender<Waiting>,
    /// One reader at a time.
    reading: Arc<Semaphore>,
}

struct Waiting {
    number: u64,
    record: Bytes,
    acks: mpsc::Sender<Ack>,
}

impl JournalServer {
    pub fn start(journal: Journal) -> Self {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write(journal.clone(), queue));
        Self { journal, waiting, reading: Arc::new(Semaphore::new(1)) }
    }

    /// For the transport's handler: streams for which [`super::is_journal_kind`] holds.
    pub fn stream(&self, from: NodeId, kind: u16, stream: FramedStream) -> BoxFuture<'static, ()> {
        let server = self.clone();
        Box::pin(async move {
            match kind & !BACKGROUND {
                KIND_KEEP => server.take(from, stream).await,
                KIND_READ => server.give(stream).await,
                other => tracing::warn!("node {from} opened a stream of the journal of kind {other:#x}"),
            }
        })
    }

    pub(in crate::cluster) async fn answer(&self, question: JournalQuestion) -> Result<JournalState, String> {
        let journal = self.journal.clone();
        let work = move || {
            if let Some((run, at)) = question.drop_before {
                journal.drop_before(Mark { run, at })?;
            }
            Ok(JournalState::new(journal.bytes(), journal.bytes_max(), journal.end()))
        };
        let done: std::io::Result<JournalState> = blocking(work).await.map_err(|why| why.to_string())?;
        done.map_err(|why| why.to_string())
    }

    async fn take(&self, from: NodeId, stream: FramedStream) {
        let (sender, mut receiver) = stream.split();
        let (acks, queue) = mpsc::channel(ACKS_MAX);
        let writer = tokio::spawn(write_acks(sender, queue));
        while let Ok(Some(frame)) = receiver.recv().await {
            let Some(Small { number, id, bytes }) = Small::decode(frame) else {
                tracing::warn!("node {from} sent a frame for the journal that cannot be understood");
                break;
            };
            let record = Bytes::from([&id.0[..], &bytes].concat());
            if self.waiting.send(Waiting { number, record, acks: acks.clone() }).await.is_err() {
                break;
            }
        }
        drop(acks);
        let _ = writer.await;
    }

    async fn give(&self, mut stream: FramedStream) {
        let Ok(_one) = self.reading.acquire().await else { return };
        let mut reader = self.journal.reader();
        loop {
            let stretch = move || {
                let (mut records, mut bytes) = (Vec::new(), 0);
                while bytes < STRETCH_BYTES {
                    let Some(record) = reader.next_record()? else { break };
                    bytes += record.len();
                    records.push(record);
                }
                Ok::<_, std::io::Error>((records, reader))
            };
            let records = match blocking(stretch).await {
                Ok(Ok((records, back))) => {
                    reader = back;
                    records
                }
                Ok(Err(error)) => return tracing::error!("the journal cannot be read: {error}"),
                Err(_) => return,
            };
            if records.is_empty() {
                return stream.finish();
            }
            for record in records {
                if stream.send(record).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// All that gathered while the last ones were written shares the next sync.
async fn write(journal: Journal, mut queue: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(WAITING_MAX);
    while queue.recv_many(&mut batch, WAITING_MAX).await > 0 {
        let (journal, records) =
            (journal.clone(), batch.iter().map(|waiting| waiting.record.clone()).collect::<Vec<_>>());
        let Ok(verdict) = blocking(move || journal.append(&records)).await else { return };
        let verdict = verdict.map_err(|why| why.to_string());
        for Waiting { number, acks, .. } in batch.drain(..) {
            // The stream may be gone, and then nobody waits.
            let _ = acks.send(Ack { number, verdict: verdict.clone() }).await;
        }
    }
}
