//! The witness's own duties: to keep its log until the data nodes have it, to lead only in need, and never for long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;

use super::keeper::ticking;
use super::local::Local;
use super::membership::matched;
use super::status::{NodeReport, log_alarm};
use super::types::Role;
use crate::mail::ids::NodeId;

/// How often the data nodes are asked how far they are.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Entries worth a purge: each writes a small file and gives whole log files back.
const PURGE_ENTRIES_MIN: u64 = 4_096;
/// Election time-outs without a leader before the witness looks whether it must help.
const PATIENCE_ELECTIONS: u32 = 4;

/// Purges what every data node has durably in its rows; beyond the cap, the oldest whoever lacks it.
pub async fn keep_log(local: Arc<Local>) {
    let mut durable: BTreeMap<u64, u64> = BTreeMap::new();
    let bytes_max = local.config.log_bytes_max();
    let mut alarmed = false;
    let mut ticks = ticking(ASK_AGAIN);
    loop {
        ticks.tick().await;
        let data = data_members(&local);
        durable.retain(|id, _| data.contains(&NodeId(*id)));
        for (node, report) in reports(&local, &data).await {
            durable.insert(node.0, report.durable_next);
        }
        let state = local.log.state();
        let first = state.purged.map_or(0, |purged| purged.index + 1);
        let end = local.watched.applied_next.borrow().to_owned();
        let everyones = purge_next(&data, &durable, end);
        let bytes = local.log.bytes_on_disk();
        let too_much = bytes > bytes_max;
        if alarmed != log_alarm(Role::Witness, bytes, bytes_max) {
            alarmed = !alarmed;
            say_alarm(alarmed, bytes, bytes_max);
        }
        let upto_next = match too_much {
            true => everyones.max(first + (end.saturating_sub(first)) / 8),
            false => everyones,
        };
        if too_much && upto_next > everyones {
            tracing::warn!(
                "the log has reached its cap of {bytes_max} bytes: its oldest entries go although a data node lacks them"
            );
        }
        if upto_next >= first + PURGE_ENTRIES_MIN || (too_much && upto_next > first) {
            purge(&local, upto_next - 1).await;
        }
    }
}

fn say_alarm(alarmed: bool, bytes: u64, bytes_max: u64) {
    if alarmed {
        tracing::warn!(
            "the log has {bytes} of the {bytes_max} bytes that are kept for a data node that is away: bring it back or \
             remove it, beyond them its entries go"
        );
    } else {
        tracing::info!("the log has {bytes} bytes again, of {bytes_max} that may be kept");
    }
}

/// The index before which every data node has everything durably; 0 while one of them is not known.
fn purge_next(data: &[NodeId], durable: &BTreeMap<u64, u64>, end: u64) -> u64 {
    let of = |node: &NodeId| durable.get(&node.0).copied().unwrap_or(0);
    data.iter().map(of).min().unwrap_or(0).min(end)
}

/// openraft purges only behind a snapshot: here that is the small file that says how far the witness heard.
async fn purge(local: &Local, upto: u64) {
    if local.raft.trigger().snapshot().await.is_err() {
        return;
    }
    let marked = local.until(|metrics| metrics.snapshot.is_some_and(|id| id.index >= upto));
    if let Ok(true) = tokio::time::timeout(ASK_AGAIN, marked).await {
        let _ = local.raft.trigger().purge_log(upto).await;
    }
}

/// Leads only when no data node could: brings the stale survivor's log up to date, then hands over (design 3).
pub async fn rescue(local: Arc<Local>) {
    let patience = local.election() * PATIENCE_ELECTIONS;
    let mut ticks = ticking(local.election());
    let mut leaderless_since = None;
    loop {
        ticks.tick().await;
        if local.leads() {
            hand_over(&local).await;
            leaderless_since = None;
            continue;
        }
        let votes = local.member(local.id).is_some_and(|entry| entry.voter);
        if !votes || leader_lives(&local).await {
            leaderless_since = None;
            continue;
        }
        let since = *leaderless_since.get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() < patience {
            continue;
        }
        // One that has yet to vote cannot lead, whatever it has.
        let reports = reports(&local, &local.data_voters()).await;
        let mine = local.log.state().last.map_or((0, 0), |last| (last.term, last.index + 1));
        if must_lead(mine, &reports) {
            tracing::warn!(
                "no data node that answers has the whole log: this witness leads until one has it"
            );
            let _ = local.raft.trigger().elect(true).await;
            leaderless_since = None;
        }
    }
}

/// By its own word: a leader that was started again speaks like any other node, and is remembered as the leader until
/// another is heard of.
async fn leader_lives(local: &Local) -> bool {
    let Some(leader) = local.leader() else { return false };
    local.report_of(leader).await.is_some_and(|report| report.leads())
}

/// Only if some data node lives and all that live lack entries that this witness has.
fn must_lead(mine: (u64, u64), reports: &[(NodeId, NodeReport)]) -> bool {
    !reports.is_empty()
        && reports.iter().all(|(_, report)| (report.last_log_term, report.last_log_next) < mine)
}

/// As soon as a live data node has the whole log, it leads.
async fn hand_over(local: &Local) {
    let heirs = local.data_voters();
    let heir = local.look(|metrics| {
        let last = metrics.last_log_index;
        let whole = |node: &NodeId| matched(metrics, *node).is_some() && matched(metrics, *node) >= last;
        heirs.into_iter().find(whole).filter(|_| metrics.state == ServerState::Leader)
    });
    if let Some(heir) = heir {
        tracing::info!("node {heir} has the whole log: it leads from now on");
        let _ = local.raft.trigger().transfer_leader(heir.0).await;
    }
}

fn data_members(local: &Local) -> Vec<NodeId> {
    let roster = local.roster.load();
    roster.iter().filter(|entry| entry.member.role == Role::Data).map(|entry| NodeId(entry.id)).collect()
}

async fn reports(local: &Local, nodes: &[NodeId]) -> Vec<(NodeId, NodeReport)> {
    let asked = nodes.iter().map(|node| async move { Some((*node, local.report_of(*node).await?)) });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, next: u64) -> (NodeId, NodeReport) {
        (NodeId(2), NodeReport { last_log_term: term, last_log_next: next, ..NodeReport::default() })
    }

    #[test]
    fn the_witness_leads_only_for_data_nodes_that_lack_its_log() {
        assert!(!must_lead((3, 10), &[]), "nobody to rescue");
        assert!(must_lead((3, 10), &[at(3, 9)]));
        assert!(must_lead((3, 10), &[at(2, 99)]), "an older term is behind, however long");
        assert!(!must_lead((3, 10), &[at(3, 10)]), "it can lead by itself");
        assert!(!must_lead((3, 10), &[at(3, 9), at(3, 11)]), "one of them can");
    }

    #[test]
    fn nothing_is_purged_that_a_data_node_lacks_or_has_not_spoken_of() {
        let data = [NodeId(1), NodeId(2)];
        assert_eq!(purge_next(&data, &BTreeMap::from([(1, 50)]), 100), 0);
        assert_eq!(purge_next(&data, &BTreeMap::from([(1, 50), (2, 40)]), 100), 40);
        assert_eq!(purge_next(&data, &BTreeMap::from([(1, 50), (2, 40)]), 30), 30, "not applied here");
        assert_eq!(purge_next(&[], &BTreeMap::new(), 100), 0);
    }
}
