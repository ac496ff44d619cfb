//! What one data node finds when it looks at what it holds: do its rows add up to its own digests, are the bodies that they
//! name there. It looks where it is asked to, and says what it found; what follows from it is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::STALL_MAX;
use crate::cluster::blocking::blocking;
use crate::cluster::bodies::{Depth, Inspected};
use crate::cluster::keeper;
use crate::cluster::local::{DataParts, Local};
use crate::cluster::machine::{ExactView, VIEW_ROWS_MAX};
use crate::cluster::transport::{CallError, FramedStream};
use crate::cluster::wire;
use crate::mail::ids::{BodyId, CommandId, LogIndex, NodeId};
use crate::state::digest::{Digest, Group, Tally};
use crate::state::naming::{self, Mention};
use crate::store::tables::{TablesError, View};

/// From the question to the entry behind which is looked: a proposal and a fail-over fit in.
const ENTRY_MAX: Duration = Duration::from_secs(30);
/// How often a node that is still looking says so.
const GOING_EACH: Duration = Duration::from_secs(2);
/// Digests of one frame: some 60 octets each.
const DIGESTS_MAX: usize = 50_000;
/// What names a wrong body, at most.
const MENTIONS_MAX: usize = 5;
/// Whoever asked hears that this node ends, before it does.
const NOTICE: Duration = Duration::from_millis(500);
/// How long leadership may take to go elsewhere, before this node ends.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// Frozen: nodes of other builds read it; so are the next three.
#[derive(Debug, Clone, Encode, Decode)]
pub struct Question {
    /// Of the proposal behind which is looked.
    pub id: CommandId,
    pub depth: Depth,
}

#[derive(Debug, Clone, Encode, Decode)]
pub enum Said {
    /// From now on the proposal may come.
    Ready,
    Going,
    /// Some of them; all, when the report follows.
    Digests(Vec<(Group, Digest)>),
    Report(Box<OwnReport>),
    Refused(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct OwnReport {
    /// The entry behind which was looked.
    pub index: u64,
    pub rows: u64,
    /// Their rows do not add up to their digests.
    pub wrong: Vec<Group>,
    /// Why the rows cannot all be read.
    pub damaged: Option<String>,
    pub bodies: Inspected,
    /// What names those that are wrong.
    pub mentions: Vec<(BodyId, Vec<Mention>)>,
    /// Why not all bodies were looked at.
    pub bodies_unseen: Option<String>,
}

impl OwnReport {
    pub fn is_sound(&self) -> bool {
        self.wrong.is_empty() && self.damaged.is_none()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Found {
    pub digests: BTreeMap<Group, Digest>,
    pub report: OwnReport,
}

pub type Opened = oneshot::Receiver<Result<ExactView, TablesError>>;

impl Local {
    /// To be called before the entry is proposed.
    pub(super) fn begin_look(&self, id: CommandId) -> Result<Opened, String> {
        if self.data.is_none() {
            return Err("a witness keeps no rows".to_owned());
        }
        self.watched.awaited.await_entry(id).ok_or("too many look at its rows already".to_owned())
    }

    pub(super) async fn look_behind(&self, opened: Opened, question: &Question) -> Result<Found, String> {
        let data = self.data.as_ref().ok_or("a witness keeps no rows")?;
        let opened = timeout(ENTRY_MAX, opened).await;
        let opened = opened.map_err(|_| "it has yet to apply what the others have: ask again")?;
        let opened = opened.map_err(|_| "it is stopping")?;
        let mut found = match add_up(opened).await {
            Ok((index, tally)) => {
                let rows = tally.rows;
                let (digests, wrong) = tally.hold();
                Found { digests, report: OwnReport { index: index.0, rows, wrong, ..OwnReport::default() } }
            }
            Err(TablesError::Damaged(why)) => {
                Found { report: OwnReport { damaged: Some(why), ..OwnReport::default() }, ..Found::default() }
            }
            Err(error) => return Err(error.to_string()),
        };
        *self.verifying.unsound() = (!found.report.is_sound()).then_some(question.id);
        self.verifying.note_rows((!found.report.is_sound()).then(|| {
            format!(
                "the rows of {} are not what was applied there: run 'pollux cluster verify'",
                self.config.name
            )
        }));
        if found.report.damaged.is_none() {
            look_at_bodies(data, question.depth, &mut found.report).await;
            let unmended = found.report.bodies.unmended();
            // That all are there says nothing of those that were found rotten.
            if question.depth == Depth::Read || unmended > 0 {
                self.verifying.note_bodies(&self.config.name, unmended);
            }
        }
        Ok(found)
    }

    /// A peer asks.
    pub async fn look_for_peer(self: Arc<Self>, from: NodeId, mut stream: FramedStream) {
        if let Err(why) = self.tell_peer(&mut stream).await {
            tracing::info!("what node {from} asked to have verified it was not told: {why}");
        }
    }

    async fn tell_peer(self: &Arc<Self>, stream: &mut FramedStream) -> Result<(), String> {
        let asked = timeout(STALL_MAX, stream.recv()).await.map_err(|_| "it asked nothing")?;
        let asked = asked.map_err(|error| error.to_string())?.ok_or("it asked nothing")?;
        let question: Question = wire::decode(&asked).map_err(|error| error.to_string())?;
        let opened = match self.begin_look(question.id) {
            Ok(opened) => opened,
            Err(why) => return say(stream, &Said::Refused(why)).await,
        };
        say(stream, &Said::Ready).await?;
        let mut looking = std::pin::pin!(self.look_behind(opened, &question));
        let mut ticks = keeper::ticking(GOING_EACH);
        let found = loop {
            tokio::select! {
                biased;
                found = &mut looking => break found,
                _ = ticks.tick() => say(stream, &Said::Going).await?,
            }
        };
        let found = match found {
            Ok(found) => found,
            Err(why) => return say(stream, &Said::Refused(why)).await,
        };
        let digests: Vec<_> = found.digests.into_iter().collect();
        for some in digests.chunks(DIGESTS_MAX) {
            say(stream, &Said::Digests(some.to_vec())).await?;
        }
        say(stream, &Said::Report(Box::new(found.report))).await?;
        // The peer closes once it has read; ending first would reset what is under way.
        let _ = timeout(STALL_MAX, stream.recv()).await;
        Ok(())
    }

    /// Obeyed only right after this node has found itself that its rows are wrong.
    pub fn rebuild_for_peer(self: &Arc<Self>, body: &[u8]) -> Result<Bytes, CallError> {
        let id: CommandId = wire::decode(body).map_err(|error| CallError::Protocol(error.to_string()))?;
        match *self.verifying.unsound() == Some(id) {
            true => self.rebuild_rows(),
            false => {
                return Err(crate::cluster::network::refused("its rows were found to be right since"));
            }
        }
        Ok(Bytes::new())
    }

    /// This node ends, and when it is started again has its rows from another data node, and from its log.
    pub(super) fn rebuild_rows(self: &Arc<Self>) {
        let (local, Some(data)) = (self.clone(), self.data.clone()) else { return };
        tokio::spawn(async move {
            tokio::time::sleep(NOTICE).await;
            let condemned =
                blocking(move || data.tables.condemn("a verification found them to be wrong")).await;
            if !matches!(condemned, Ok(Ok(()))) {
                return tracing::error!("the rows are wrong, and that could not be noted: {condemned:?}");
            }
            keeper::hand_over(&local, Instant::now() + HAND_OVER_MAX).await;
            local.fail(
                "a verification found the rows of this node to be wrong: started again, it sets them aside and has those of \
                 another data node"
                    .to_owned(),
            );
        });
    }
}

async fn say(stream: &mut FramedStream, said: &Said) -> Result<(), String> {
    let frame = wire::encode(said).map_err(|error| error.to_string())?;
    let sent = timeout(STALL_MAX, stream.send(frame.into())).await;
    sent.map_err(|_| "it stalled")?.map_err(|error| error.to_string())
}

async fn add_up(opened: Result<ExactView, TablesError>) -> Result<(LogIndex, Tally), TablesError> {
    let ExactView { index, view } = opened?;
    let added = blocking(move || tally_of(view)).await;
    let tally = added.map_err(|error| TablesError::Io(error.to_string()))??;
    Ok((index, tally))
}

fn tally_of(mut view: View) -> Result<Tally, TablesError> {
    let mut tally = Tally::default();
    loop {
        let rows = view.next_rows(VIEW_ROWS_MAX)?;
        if rows.is_empty() {
            return Ok(tally);
        }
        rows.iter().for_each(|(key, value)| tally.add(key, value));
    }
}

async fn look_at_bodies(data: &DataParts, depth: Depth, report: &mut OwnReport) {
    let named = keeper::named_bodies(data.tables.clone());
    match data.bodies.inspect(named, depth).await {
        Ok(inspected) => report.bodies = inspected,
        Err(fault) => return report.bodies_unseen = Some(fault.to_string()),
    }
    let wrong: BTreeSet<BodyId> = report.bodies.wrong.iter().map(|wrong| wrong.id).collect();
    if wrong.is_empty() {
        return;
    }
    let tables = data.tables.clone();
    let mentions = blocking(move || naming::mentions(&tables, &wrong, MENTIONS_MAX)).await;
    // Without them the bodies are named all the same.
    if let Ok(Ok(mentions)) = mentions {
        report.mentions = mentions.into_iter().collect();
    }
}
