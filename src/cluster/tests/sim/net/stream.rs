//! One stream of frames: two pipes, each in order, each frame as late as its hop takes it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{Shared, broken, digest, lost};
use crate::cluster::transport::{CallError, FrameSink, FrameSource, FramedStream, Lane};
use crate::cluster::watch;
use crate::mail::ids::NodeId;

/// Frames under way in one direction; beyond, the sender waits.
const FRAMES_MAX: usize = 64;

enum Item {
    Frame(Bytes),
    End,
}

/// Both ends of a new stream, the opener's first.
pub fn pair(
    shared: &Arc<Shared>,
    from: NodeId,
    to: NodeId,
    lane: Lane,
    line: &watch::Receiver<u64>,
) -> (FramedStream, FramedStream) {
    let pipe = |from: NodeId, to: NodeId| {
        let (sender, receiver) = mpsc::channel(FRAMES_MAX);
        let sink = Sink { to, line: line.clone(), items: Some(sender) };
        let source = Source { shared: shared.clone(), from, to, lane, line: line.clone(), items: receiver };
        (Box::new(sink), Box::new(source))
    };
    let (out, there) = pipe(from, to);
    let (back, here) = pipe(to, from);
    (FramedStream::over(out, here), FramedStream::over(back, there))
}

struct Sink {
    to: NodeId,
    line: watch::Receiver<u64>,
    items: Option<mpsc::Sender<Item>>,
}

impl FrameSink for Sink {
    fn send(&mut self, frames: Vec<Bytes>) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move {
            let Some(items) = &self.items else { return Err(lost(self.to)) };
            for frame in frames {
                tokio::select! {
                    biased;
                    () = broken(self.line.clone()) => return Err(lost(self.to)),
                    sent = items.send(Item::Frame(frame)) => sent.map_err(|_| lost(self.to))?,
                }
            }
            Ok(())
        })
    }

    fn finish(&mut self) {
        // Full: the reader has a frame to read first, and then hears of an end that is none. No stream of ours
        // ends with so much unread.
        if let Some(items) = self.items.take() {
            let _ = items.try_send(Item::End);
        }
    }
}

struct Source {
    shared: Arc<Shared>,
    from: NodeId,
    to: NodeId,
    lane: Lane,
    line: watch::Receiver<u64>,
    items: mpsc::Receiver<Item>,
}

impl FrameSource for Source {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, CallError>> {
        Box::pin(async move {
            let (from, to, shared) = (self.from, self.to, &self.shared);
            let next = async {
                let item = self.items.recv().await;
                shared.hop(from.0, to.0).await;
                item
            };
            let item = tokio::select! {
                biased;
                () = broken(self.line.clone()) => return Err(lost(from)),
                item = next => item,
            };
            match item {
                Some(Item::Frame(frame)) => {
                    shared.trace.note(|| format!("{from}>{to} frame {}", digest(&frame)));
                    if self.lane == Lane::Control {
                        shared.heard(to.0, from.0);
                    }
                    Ok(Some(frame))
                }
                Some(Item::End) => Ok(None),
                None => Err(CallError::Unreachable { node: from, why: "the stream was dropped".into() }),
            }
        })
    }
}
