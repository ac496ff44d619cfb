//! What this process has counted since it started: sessions, replies, mails, syncs. For `admin::metrics`, which shows it.
//!
//! One set for the whole process, as there is one node in it: a counter that was handed down would be an argument of
//! every writer of a reply. Counting is an atomic addition and nothing else: no lock, no allocation, no order with other
//! memory. Nothing in the product reads these to decide, but the watch over the node itself (`admin::alarms`).

mod instruments;
mod labels;

pub use self::instruments::{BUCKETS_MICROS, By, Counter, Label, Times, TimesSeen};
pub use self::labels::{Arrival, Cause, Leaving, Login, Proposed, Protocol, Reply};

/// Counted by whoever sees it happen.
pub static METERS: Meters = Meters::new();

pub struct Meters {
    pub sessions_opened: By<Protocol, { Protocol::COUNT }>,
    pub sessions_ended: By<Protocol, { Protocol::COUNT }>,
    pub connections_turned_away: Counter,
    /// Events of mails.
    pub telemetry_left_out: Counter,
    /// Octets on the wire, TLS and all.
    pub session_bytes_received: By<Protocol, { Protocol::COUNT }>,
    pub session_bytes_sent: By<Protocol, { Protocol::COUNT }>,
    pub replies: By<Reply, { Reply::COUNT }>,
    pub logins: By<Login, { Login::COUNT }>,
    /// Mails that were read to their end.
    pub mails: By<Arrival, { Arrival::COUNT }>,
    /// Octets of those that were taken.
    pub mail_bytes: Counter,
    /// Recipients of those that were taken, each put in a mailbox here or in the queue.
    pub recipients_here: Counter,
    pub recipients_queued: Counter,
    /// Mails and recipients that heard a 4xx.
    pub refused_for_now: By<Cause, { Cause::COUNT }>,
    /// And a 5xx.
    pub refused_for_good: By<Cause, { Cause::COUNT }>,
    /// Of each try with a recipient elsewhere.
    pub deliveries: By<Leaving, { Leaving::COUNT }>,
    pub proposals: By<Proposed, { Proposed::COUNT }>,
    /// From the proposal until it is applied on this node.
    pub commits: Times,
    /// From the write of what gathered until it is durable.
    pub log_syncs: Times,
    pub body_syncs: Times,
    pub snapshots_sent: Counter,
    pub snapshots_received: Counter,
    /// All that sessions watch was read anew.
    pub feed_resyncs: Counter,
}

impl Meters {
    const fn new() -> Self {
        Self {
            sessions_opened: By::new(),
            sessions_ended: By::new(),
            connections_turned_away: Counter::new(),
            telemetry_left_out: Counter::new(),
            session_bytes_received: By::new(),
            session_bytes_sent: By::new(),
            replies: By::new(),
            logins: By::new(),
            mails: By::new(),
            mail_bytes: Counter::new(),
            recipients_here: Counter::new(),
            recipients_queued: Counter::new(),
            refused_for_now: By::new(),
            refused_for_good: By::new(),
            deliveries: By::new(),
            proposals: By::new(),
            commits: Times::new(),
            log_syncs: Times::new(),
            body_syncs: Times::new(),
            snapshots_sent: Counter::new(),
            snapshots_received: Counter::new(),
            feed_resyncs: Counter::new(),
        }
    }
}
