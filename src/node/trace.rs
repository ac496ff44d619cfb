//! Asks the logs of mails of all data nodes, this one's among them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::inquiry::Inquiry;
use crate::admin::control::trace::Traced;
use crate::cluster::handle::ClusterHandle;
use crate::maillog::{Event, Found, MailLog, Query};

/// How long another node may look through its log.
const ANSWER_MAX: Duration = Duration::from_secs(10);

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
    let question = Inquiry::Trace(query.clone()).bytes();
    let (own, others) = tokio::join!(log.find(query), cluster.inquire(question, ANSWER_MAX));
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
