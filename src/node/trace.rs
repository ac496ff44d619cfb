//! Asks the logs of mails of all data nodes, this one's among them.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::admin::control::trace::Traced;
use crate::cluster::handle::ClusterHandle;
use crate::maillog::{Event, Found, MailLog, Query};

/// What nodes ask each other. JSON: one that is older answers nothing to what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Inquiry {
    Trace(Query),
}

/// How this node answers the others. Nothing: it does not understand, or cannot read its log.
pub fn answer(log: &MailLog, question: &Bytes) -> BoxFuture<'static, Bytes> {
    let (log, asked) = (log.clone(), serde_json::from_slice(question));
    Box::pin(async move {
        let Ok(Inquiry::Trace(query)) = asked else { return Bytes::new() };
        match log.find(query).await {
            Ok(found) => serde_json::to_vec(&found).unwrap_or_default().into(),
            Err(error) => {
                tracing::warn!("the log of mails cannot be read: {error}");
                Bytes::new()
            }
        }
    })
}

/// Events are found by what they name; then those of the same mails in the queue, which name other things.
pub async fn trace(cluster: &ClusterHandle, log: &MailLog, query: Query) -> Traced {
    let since = query.since;
    let mut traced = ask_all(cluster, log, query).await;
    let queued: BTreeSet<u64> = traced.events.iter().filter_map(|(_, event)| event.what.queued()).collect();
    if !queued.is_empty() {
        let queued = queued.into_iter().collect();
        let more = ask_all(cluster, log, Query { about: None, queued, since }).await;
        add(&mut traced, more);
    }
    traced
}

fn add(traced: &mut Traced, more: Traced) {
    for event in more.events {
        if !traced.events.contains(&event) {
            traced.events.push(event);
        }
    }
    for node in more.silent {
        if !traced.silent.contains(&node) {
            traced.silent.push(node);
        }
    }
    traced.more |= more.more;
}

async fn ask_all(cluster: &ClusterHandle, log: &MailLog, query: Query) -> Traced {
    let question = serde_json::to_vec(&Inquiry::Trace(query.clone())).unwrap_or_default();
    let (own, others) = tokio::join!(log.find(query), cluster.inquire(question.into()));
    let mut traced = Traced::default();
    let own = own.inspect_err(|error| tracing::warn!("the log of mails cannot be read: {error}")).ok();
    let others = others.into_iter().map(|told| {
        let found = told.answer.and_then(|answer| serde_json::from_slice(&answer).ok());
        (told.node, found)
    });
    for (node, found) in std::iter::once((cluster.name(), own)).chain(others) {
        let Some(Found { events, more }) = found else {
            traced.silent.push(node);
            continue;
        };
        traced.more |= more;
        traced.events.extend(events.into_iter().map(|event: Event| (node.clone(), event)));
    }
    traced
}
