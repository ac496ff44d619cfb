//! What rooms above ask the same rooms of the other nodes. Opaque here, bounded in octets and in time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};

use super::local::Local;
use super::network::kinds;
use super::transport::{CallError, Lane};
use super::types::Role;
use crate::mail::ids::NodeId;

/// How this node answers.
pub type Answerer = Box<dyn Fn(Bytes) -> BoxFuture<'static, Bytes> + Send + Sync>;

/// What one of the other nodes says; `None`: it did not answer, or is too old to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub id: NodeId,
    pub node: String,
    pub answer: Option<Bytes>,
}

impl Local {
    /// All others of that role; each may take so long.
    pub async fn inquire(&self, role: Role, question: Bytes, within: Duration) -> Vec<Told> {
        let roster = self.roster.load_full();
        let others = roster.iter().filter(|entry| entry.member.role == role && NodeId(entry.id) != self.id);
        let asked = others.map(|entry| async {
            let call =
                self.transport.call(NodeId(entry.id), Lane::Bulk, kinds::INQUIRY, question.clone(), within);
            let answer = call.await.inspect_err(|error| tracing::info!("an inquiry: {error}")).ok();
            Told { id: NodeId(entry.id), node: entry.member.name.clone(), answer }
        });
        join_all(asked).await
    }

    pub async fn answer_inquiry(&self, question: Bytes) -> Result<Bytes, CallError> {
        match self.answerer.get() {
            Some(answer) => Ok(answer(question).await),
            None => Err(CallError::Protocol("the node is starting".to_owned())),
        }
    }
}
