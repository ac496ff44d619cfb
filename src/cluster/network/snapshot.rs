//! A snapshot on the bulk lane: a header, rows in bounded chunks while applies go on, an end, one answer.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::errors::{NetworkError, StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use openraft::storage::Snapshot;

use super::{Raft, kinds};
use crate::cluster::codec::{finish, put_snapshot_meta, put_vote, take_snapshot_meta, take_vote};
use crate::cluster::machine::SnapshotData;
use crate::cluster::transport::{FramedStream, Lane, Transport};
use crate::cluster::types::{CommittedLeaderId, Member, Role, SnapshotMeta, TypeConfig, Vote};
use crate::cluster::wire;
use crate::mail::ids::NodeId;
use crate::meters::METERS;
use crate::store::tables::{Installer, Tables, TablesError, View};

/// Rows of one frame: at most 500 rows of 7 KiB are under the bound of a frame.
const ROWS_MAX: usize = 500;
/// A sender that sends nothing, or a receiver that takes nothing, for this long is given up.
const STALL_MAX: Duration = Duration::from_secs(15);
/// How long the receiver may sync and put in place what it got.
const INSTALL_MAX: Duration = Duration::from_secs(300);

const ROWS: u8 = 1;
const END: u8 = 2;
const TAKEN: u8 = 0;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;
type Sent = Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>>;

/// Streams the leader's rows to `target` and waits until they are in place there.
pub(super) async fn send(
    transport: &Transport,
    target: NodeId,
    role: Role,
    vote: Vote,
    snapshot: Snapshot<CommittedLeaderId, u64, Member, SnapshotData>,
) -> Sent {
    let Snapshot { meta, snapshot } = snapshot;
    let view = match (snapshot, role) {
        (SnapshotData::View(view), Role::Data) => Some(view),
        (_, Role::Witness) => None,
        // A witness that leads for a moment has no rows to give: who lacks its log waits for a data node.
        (_, Role::Data) => return Err(unreachable("this node has no rows to send")),
    };
    let mut stream = transport
        .open_stream(target, Lane::Bulk, kinds::SNAPSHOT_STREAM)
        .await
        .map_err(|error| StreamingError::Unreachable(Unreachable::from_string(error)))?;
    send_rows(&mut stream, &vote, &meta, view).await?;
    let answer = tokio::time::timeout(INSTALL_MAX, stream.recv()).await;
    let answer = answer.map_err(|_| unreachable("it did not put the snapshot in place in time"))?;
    match answer.map_err(|error| network(&error.to_string()))? {
        Some(mut frame) if frame.first() == Some(&TAKEN) => {
            let _ = frame.split_to(1);
            let vote = take_vote(&mut frame).map_err(|error| network(&error.to_string()))?;
            METERS.snapshots_sent.one();
            Ok(SnapshotResponse::new(vote))
        }
        Some(frame) => Err(unreachable(&String::from_utf8_lossy(frame.get(1..).unwrap_or_default()))),
        None => Err(network("the stream ended without an answer")),
    }
}

/// The header, the rows in bounded chunks, the end.
async fn send_rows(
    stream: &mut FramedStream,
    vote: &Vote,
    meta: &SnapshotMeta,
    view: Option<Box<View>>,
) -> Result<(), StreamingError<TypeConfig>> {
    send_frame(stream, header(vote, meta)).await?;
    if let Some(mut view) = view {
        loop {
            let read = crate::cluster::blocking::blocking(move || {
                let rows = view.next_rows(ROWS_MAX);
                (view, rows)
            });
            let (back, rows) = read.await.map_err(|error| unreachable(&error.to_string()))?;
            view = back;
            let rows = rows.map_err(|error| unreachable(&error.to_string()))?;
            if rows.is_empty() {
                break;
            }
            send_frame(stream, rows_frame(&rows)?).await?;
        }
    }
    send_frame(stream, Bytes::from_static(&[END])).await
}

/// Gives this node's rows to a peer whose own were damaged.
pub(super) async fn give(raft: &Raft, mut stream: FramedStream) {
    let Ok(Some(Snapshot { meta, snapshot: SnapshotData::View(view) })) = raft.get_snapshot().await else {
        return;
    };
    // The vote means nothing here: what is applied is committed, whoever leads.
    let sent = send_rows(&mut stream, &Vote::new(0, 0), &meta, Some(view)).await;
    if let Err(error) = sent {
        return tracing::warn!("a peer that rebuilds its rows was not given all of them: {error}");
    }
    let _ = tokio::time::timeout(INSTALL_MAX, stream.recv()).await;
}

/// Rebuilds damaged rows from a peer's, before Raft starts. The rows end at or behind `from_next`, where this node's
/// log begins, or they are no use.
pub async fn fetch(
    transport: &Transport,
    from: NodeId,
    tables: &Tables,
    from_next: u64,
) -> Result<u64, String> {
    let mut stream = transport
        .open_stream(from, Lane::Bulk, kinds::SNAPSHOT_FETCH)
        .await
        .map_err(|error| error.to_string())?;
    let (_, meta, installer) = take_rows(Some(tables), &mut stream).await?;
    let next = meta.last_log_id.map_or(0, |last| last.index + 1);
    if next < from_next {
        return Err(format!(
            "node {from} has entries up to {next} only, and the log here begins at {from_next}"
        ));
    }
    let installer = installer.ok_or("rows were expected")?;
    blocking(move || installer.finish()).await?;
    Ok(next)
}

/// Takes a snapshot from the leader: builds the rows beside the old ones, then hands them to Raft.
pub(super) async fn receive(raft: &Raft, tables: Option<&Tables>, mut stream: FramedStream) {
    let answer = match take(raft, tables, &mut stream).await {
        Ok(vote) => {
            METERS.snapshots_received.one();
            let mut out = BytesMut::from(&[TAKEN][..]);
            put_vote(&mut out, &vote);
            out.freeze()
        }
        Err(why) => {
            tracing::warn!("a snapshot was not taken: {why}");
            [&[1u8][..], why.as_bytes()].concat().into()
        }
    };
    if stream.send(answer).await.is_ok() {
        // The peer closes once it has read; ending first would reset what is under way.
        let _ = tokio::time::timeout(STALL_MAX, stream.recv()).await;
    }
}

async fn take(raft: &Raft, tables: Option<&Tables>, stream: &mut FramedStream) -> Result<Vote, String> {
    let (vote, meta, installer) = take_rows(tables, stream).await?;
    let data = installer.map_or(SnapshotData::Empty, |installer| SnapshotData::Received(Box::new(installer)));
    hand_over(raft, vote, meta, data).await
}

/// Everything that [`send_rows`] sends.
async fn take_rows(
    tables: Option<&Tables>,
    stream: &mut FramedStream,
) -> Result<(Vote, SnapshotMeta, Option<Installer>), String> {
    let mut first = next_frame(stream).await?;
    let vote = take_vote(&mut first).map_err(|error| error.to_string())?;
    let meta = take_snapshot_meta(&mut first).map_err(|error| error.to_string())?;
    finish(&first).map_err(|error| error.to_string())?;
    let mut installer = match tables {
        Some(tables) => {
            let tables = tables.clone();
            Some(blocking(move || tables.begin_install()).await?)
        }
        None => None,
    };
    loop {
        let frame = next_frame(stream).await?;
        match (frame.first(), installer.take()) {
            (Some(&END), installer) => return Ok((vote, meta, installer)),
            (Some(&ROWS), Some(mut open)) => {
                let rows: Rows = wire::decode(&frame[1..]).map_err(|error| error.to_string())?;
                installer = Some(blocking(move || open.push(rows).map(|()| open)).await?);
            }
            (Some(&ROWS), None) => return Err("a witness takes no rows".into()),
            _ => return Err("a frame of a kind that this build does not know".into()),
        }
    }
}

async fn hand_over(
    raft: &Raft,
    vote: Vote,
    meta: SnapshotMeta,
    snapshot: SnapshotData,
) -> Result<Vote, String> {
    let taken = raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
    taken.map(|response| response.vote).map_err(|error| error.to_string())
}

async fn next_frame(stream: &mut FramedStream) -> Result<Bytes, String> {
    match tokio::time::timeout(STALL_MAX, stream.recv()).await {
        Ok(Ok(Some(frame))) => Ok(frame),
        Ok(Ok(None)) => Err("it ended in the middle".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the sender stalled".into()),
    }
}

async fn send_frame(stream: &mut FramedStream, frame: Bytes) -> Result<(), StreamingError<TypeConfig>> {
    let sent = tokio::time::timeout(STALL_MAX, stream.send(frame)).await;
    sent.map_err(|_| network("the receiver stalled"))?.map_err(|error| network(&error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TablesError> + Send + 'static,
) -> Result<T, String> {
    let done = crate::cluster::blocking::blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

fn header(vote: &Vote, meta: &SnapshotMeta) -> Bytes {
    let mut out = BytesMut::new();
    put_vote(&mut out, vote);
    put_snapshot_meta(&mut out, meta);
    out.freeze()
}

fn rows_frame(rows: &Rows) -> Result<Bytes, StreamingError<TypeConfig>> {
    let encoded = wire::encode(rows).map_err(|error| network(&error.to_string()))?;
    let mut out = BytesMut::with_capacity(1 + encoded.len());
    out.put_u8(ROWS);
    out.put_slice(&encoded);
    Ok(out.freeze())
}

fn unreachable(why: &str) -> StreamingError<TypeConfig> {
    StreamingError::Unreachable(Unreachable::from_string(why))
}

fn network(why: &str) -> StreamingError<TypeConfig> {
    StreamingError::Network(NetworkError::from_string(why))
}
