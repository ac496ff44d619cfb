//! Every metric in one declarative table: name, type, labels, help, and where its value is. What is shown and
//! docs/metrics.md both come from it; `tests` holds the names to the conventions of Prometheus.

use super::figures::{CPU_TICKS_PER_SECOND, Figures};
use super::samples::Samples;
use crate::cluster::figures::ReplicaFigures;
use crate::meters::{Label, METERS};
use crate::state::alarms::AlarmKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
    pub read: fn(&Figures, &mut Samples),
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Figures, &mut Samples)) -> Metric {
    Metric { name, kind: Kind::Counter, labels: &[], help, read }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Figures, &mut Samples)) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], help, read }
}

const fn histogram(name: &'static str, help: &'static str, read: fn(&Figures, &mut Samples)) -> Metric {
    Metric { name, kind: Kind::Histogram, labels: &[], help, read }
}

impl Metric {
    const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }
}

/// Of a data node.
fn replica(figures: &Figures, of: impl Fn(&ReplicaFigures) -> u64) -> Option<u64> {
    figures.cluster.replica.as_ref().map(of)
}

/// Index of the last of entries that are counted from 0.
fn last(next: u64) -> u64 {
    next.saturating_sub(1)
}

pub const TABLE: &[Metric] = &[
    // The node.
    gauge("pollux_build_info", "1, labelled with the build's version.", |figures, out| {
        out.with(&[("version", figures.version)], 1);
    })
    .by(&["version"]),
    gauge("pollux_node_info", "1, labelled with the node's name and role.", |figures, out| {
        out.with(&[("node", figures.node.as_str()), ("role", figures.role)], 1);
    })
    .by(&["node", "role"]),
    // Clients.
    gauge("pollux_sessions_open", "Sessions with clients that are open.", |_, out| {
        for ((protocol, opened), (_, ended)) in METERS.sessions_opened.all().zip(METERS.sessions_ended.all()) {
            out.with(protocol.pairs(), opened.saturating_sub(ended));
        }
    })
    .by(&["protocol"]),
    counter("pollux_sessions_total", "Sessions with clients that were begun.", |_, out| {
        out.by(&METERS.sessions_opened, &[]);
    })
    .by(&["protocol"]),
    counter(
        "pollux_connections_turned_away_total",
        "Connections for which there was no room, or whose host is blocked.",
        |_, out| out.one(METERS.connections_turned_away.get()),
    ),
    counter("pollux_session_received_bytes_total", "Octets that clients sent, TLS and all.", |_, out| {
        out.by(&METERS.session_bytes_received, &[]);
    })
    .by(&["protocol"]),
    counter("pollux_session_sent_bytes_total", "Octets that clients were sent, TLS and all.", |_, out| {
        out.by(&METERS.session_bytes_sent, &[]);
    })
    .by(&["protocol"]),
    counter(
        "pollux_replies_total",
        "What commands of clients were answered; under smtp also those of submission and LMTP.",
        |_, out| out.by(&METERS.replies, &[]),
    )
    .by(&["protocol", "class"]),
    counter(
        "pollux_logins_total",
        "Logins that were tried; unchecked: too many at once, or the cluster could not be asked.",
        |_, out| out.by(&METERS.logins, &[]),
    )
    .by(&["result"]),
    // Mails.
    counter("pollux_mails_received_total", "Mails that were read to their end and answered.", |_, out| {
        out.by(&METERS.mails, &[]);
    })
    .by(&["outcome"]),
    counter("pollux_mails_received_bytes_total", "Octets of the mails that were taken.", |_, out| {
        out.one(METERS.mail_bytes.get());
    }),
    counter("pollux_recipients_total", "Recipients of mails that were taken, by where each led.", |_, out| {
        out.with(&[("place", "mailbox")], METERS.recipients_here.get());
        out.with(&[("place", "queue")], METERS.recipients_queued.get());
    })
    .by(&["place"]),
    counter(
        "pollux_refusals_total",
        "Senders, recipients and mails that were refused, by the enhanced code (RFC 3463) that the client heard.",
        |_, out| {
            out.by(&METERS.refused_for_now, &[("class", "4xx")]);
            out.by(&METERS.refused_for_good, &[("class", "5xx")]);
        },
    )
    .by(&["cause", "class"]),
    counter(
        "pollux_deliveries_total",
        "Tries with recipients elsewhere, one for each recipient, by what came of them.",
        |_, out| out.by(&METERS.deliveries, &[]),
    )
    .by(&["outcome"]),
    gauge("pollux_queue_mails", "Mails in the outbound queue, the same on every node.", |figures, out| {
        out.maybe(figures.queue.map(|queue| queue.mails));
    }),
    gauge(
        "pollux_queue_leases",
        "Leases under which nodes work on the queue, the same on every node.",
        |figures, out| out.maybe(figures.queue.map(|queue| queue.leases)),
    ),
    gauge(
        "pollux_queue_oldest_timestamp_seconds",
        "When the oldest mail in the queue came; absent while there is none.",
        |figures, out| {
            let oldest = figures.queue.and_then(|queue| queue.oldest);
            oldest.into_iter().for_each(|at| out.seconds(at.0));
        },
    ),
    // Replication.
    gauge("pollux_raft_term", "The term of Raft.", |figures, out| out.one(figures.cluster.term)),
    gauge("pollux_raft_is_leader", "1 on the node that leads.", |figures, out| {
        out.one(u64::from(figures.cluster.leads));
    }),
    gauge(
        "pollux_raft_leader_known",
        "1 while this node has heard of a leader, which may have died since.",
        |figures, out| out.one(u64::from(figures.cluster.leader_known)),
    ),
    gauge("pollux_raft_last_log_index", "Index of the last entry of the log.", |figures, out| {
        out.one(last(figures.cluster.log_next));
    }),
    gauge(
        "pollux_raft_committed_index",
        "Index of the last entry that this node knows to be committed.",
        |figures, out| out.one(last(figures.cluster.committed_next)),
    ),
    gauge("pollux_raft_applied_index", "Index of the last entry that is applied here.", |figures, out| {
        out.one(last(figures.cluster.applied_next));
    }),
    gauge(
        "pollux_raft_durable_index",
        "Index up to which the state is durable without the log.",
        |figures, out| out.one(last(figures.cluster.durable_next)),
    ),
    gauge("pollux_raft_log_bytes", "Octets of log on the disk.", |figures, out| {
        out.one(figures.cluster.log_bytes);
    }),
    gauge("pollux_proposals_in_flight", "Commands of this node that wait to be applied.", |figures, out| {
        out.one(figures.cluster.proposals_in_flight);
    }),
    counter(
        "pollux_proposals_total",
        "Commands that this node proposed; failed: no majority, no room, or the node stopped.",
        |_, out| out.by(&METERS.proposals, &[]),
    )
    .by(&["outcome"]),
    histogram(
        "pollux_commit_seconds",
        "From the proposal of a command until it is applied on this node.",
        |_, out| out.times(&METERS.commits.seen()),
    ),
    counter("pollux_snapshots_sent_total", "Snapshots that were sent to other nodes.", |_, out| {
        out.one(METERS.snapshots_sent.get());
    }),
    counter("pollux_snapshots_received_total", "Snapshots that were taken from other nodes.", |_, out| {
        out.one(METERS.snapshots_received.get());
    }),
    counter(
        "pollux_feed_resyncs_total",
        "How often all that sessions watch was read anew: at the start, and behind each snapshot.",
        |_, out| out.one(METERS.feed_resyncs.get()),
    ),
    gauge("pollux_data_nodes", "Data nodes of the cluster.", |figures, out| {
        out.maybe(replica(figures, |it| it.data_nodes));
    }),
    gauge("pollux_data_nodes_in_sync", "Data nodes for which every acknowledgement waits.", |figures, out| {
        out.maybe(replica(figures, |it| it.in_sync_nodes));
    }),
    gauge("pollux_in_sync", "1 while this data node is one of those in sync.", |figures, out| {
        out.maybe(replica(figures, |it| u64::from(it.in_sync)));
    }),
    gauge("pollux_bodies_missing", "Message bodies that this node should have and lacks.", |figures, out| {
        out.maybe(replica(figures, |it| it.bodies.missing));
    }),
    counter("pollux_bodies_fetched_total", "Message bodies that were fetched from other nodes.", |figures, out| {
        out.maybe(replica(figures, |it| it.bodies.fetched));
    }),
    counter("pollux_bodies_corrupt_total", "Message bodies that were found damaged on this disk.", |figures, out| {
        out.maybe(replica(figures, |it| it.bodies.corrupt));
    }),
    counter("pollux_bodies_healed_total", "Damaged bodies that were replaced from other nodes.", |figures, out| {
        out.maybe(replica(figures, |it| it.bodies.healed));
    }),
    counter("pollux_bodies_journaled_total", "Message bodies that a witness took for want of another data node.", |figures, out| {
        out.maybe(replica(figures, |it| it.bodies.journaled));
    }),
    gauge("pollux_bodies_single_copy", "Message bodies that were taken while no other node took them.", |figures, out| {
        out.maybe(replica(figures, |it| it.single_copies));
    }),
    gauge("pollux_alarms_raised", "Alarms that are raised, the same on every node.", |figures, out| {
        for kind in AlarmKind::ALL.iter().filter(|_| figures.alarms.is_some()) {
            let raised = figures.alarms.iter().flatten().filter(|raised| *raised == kind);
            out.with(&[("kind", kind.word())], raised.count() as u64);
        }
    })
    .by(&["kind"]),
    // The disk.
    histogram("pollux_log_sync_seconds", "How long each write of the log took to be durable.", |_, out| {
        out.times(&METERS.log_syncs.seen());
    }),
    histogram(
        "pollux_body_sync_seconds",
        "How long each write of message bodies took to be durable; one write holds what gathered.",
        |figures, out| {
            if figures.cluster.replica.is_some() {
                out.times(&METERS.body_syncs.seen());
            }
        },
    ),
    gauge("pollux_disk_free_bytes", "Octets that may still be written where the node lives.", |figures, out| {
        out.maybe(figures.disk.map(|disk| disk.free));
    }),
    gauge("pollux_disk_size_bytes", "Octets of the file system where the node lives.", |figures, out| {
        out.maybe(figures.disk.map(|disk| disk.total));
    }),
    // The rest of the box.
    gauge(
        "pollux_certificate_not_after_timestamp_seconds",
        "When the certificate of the mail services ends; absent where there is none.",
        |figures, out| figures.certificate_ends.into_iter().for_each(|at| out.seconds(at.0)),
    ),
    counter("process_cpu_seconds_total", "Processor time of the process, user and system.", |figures, out| {
        out.seconds(figures.process.cpu_ticks * (1_000 / CPU_TICKS_PER_SECOND));
    }),
    gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", |figures, out| {
        out.one(figures.process.resident_bytes);
    }),
    gauge("process_virtual_memory_bytes", "Address space of the process.", |figures, out| {
        out.one(figures.process.virtual_bytes);
    }),
    gauge("process_open_fds", "Open files and sockets.", |figures, out| out.one(figures.process.open_fds)),
    gauge("process_threads", "Threads of the process.", |figures, out| out.one(figures.process.threads)),
    gauge("process_start_time_seconds", "When the process started, seconds since 1970.", |figures, out| {
        out.seconds(figures.process.started.0);
    }),
    counter(
        "pollux_telemetry_events_left_out_total",
        "Events of mails that the collector did not take, or not in time.",
        |_, out| out.one(METERS.telemetry_left_out.get()),
    ),
];
