//! What the rooms above may do with the replicated truth: propose, place, read, watch.
//! Callers never know who leads, nor on which node they run.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use crate::clock::Clock;
use crate::mail::ids::{AccountId, BodyId, LogIndex, MailboxId, NodeId};
use crate::mail::rights::Rights;
use crate::state::blocks::Blocks;
use crate::state::command::{Command, PlacedBody};
use crate::state::directory::Directory;
use crate::state::limits::BudgetId;
use crate::state::metadata::{Annotation, Place, Wanted};
use crate::state::news::SharedNews;
use crate::state::outcome::Outcome;
use crate::state::record::{MailboxRecord, Quota};
use crate::state::rows::{Rows, RowsError};
use crate::state::seats::SeatsChanged;
use crate::state::sieve::ScriptRecord;
use crate::state::view::SharedView;

/// Ours, not the client's: the client hears 451, `NO [UNAVAILABLE]` or `-ERR [SYS/TEMP]`; the cause goes to the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// No leader was found, or no majority answered, within the bound. The command may still be
    /// applied later: *unknown*, never "failed".
    #[error("the cluster has no majority at the moment")]
    NoQuorum,
    /// Fewer copies could be made than the policy asks for.
    #[error("the message body could not be stored on enough nodes: {0}")]
    NotReplicated(String),
    /// The body is not on this node and no reachable node has it.
    #[error("the message body {0} is on no node that can be reached")]
    BodyUnavailable(BodyId),
    /// This node's disk refused: full, failing or damaged.
    #[error("this node's disk: {0}")]
    Disk(String),
    #[error("a limit of this node is reached: {0}")]
    Busy(String),
    #[error("this node is shutting down")]
    ShuttingDown,
}

/// What became of the outbound queue, as counts that ascend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueTicks {
    /// There may be new work in it.
    pub changes: u64,
    /// An operator wants mail tried now, whatever is known of its servers.
    pub retries: u64,
}

/// The replicated truth, as sessions and operators may use it. Cheap to clone.
pub trait Replica: Clone + Send + Sync + 'static {
    type Placing: Placing;

    /// Commits `command` by a majority and waits until it is applied on this node, so that the caller
    /// reads its own write. Retries inside for at most 10 s while there is no leader; a retry is applied once.
    /// A body that a node lacks which came into sync since it was placed is brought there, and the command proposed anew.
    fn propose(&self, command: Command) -> impl Future<Output = Result<Outcome, Fault>> + Send {
        async { Ok(self.commit(command).await?.1) }
    }

    /// As [`Replica::propose`], with the log entry that holds the command; `None`: it was refused before there was one.
    fn commit(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<(Option<LogIndex>, Outcome), Fault>> + Send;

    /// Resolves once this node's rows are a member's: whoever has just joined knows no users, and would refuse
    /// their mail for good. A node that was away knows what it knew, and need not wait for a majority.
    fn belongs(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Brings this node's rows as far as all that was committed before the call: what is then refused for good is
    /// refused by what the cluster knows. At most 3 s, a fail-over included; without a majority it is a fault.
    fn refresh(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Opens a message body for writing: streamed to this disk and to every in-sync data node.
    fn place(&self) -> impl Future<Output = Result<Self::Placing, Fault>> + Send;

    /// The raw message, from this disk or, failing that, from a peer.
    fn body(&self, id: BodyId) -> impl Future<Output = Result<Bytes, Fault>> + Send;

    /// The same of several, in the order asked, for less than one by one. All are held at once: the caller bounds them.
    fn bodies(&self, ids: &[BodyId]) -> impl Future<Output = Vec<Result<Bytes, Fault>>> + Send;

    /// The mailbox's shared view, loaded on first use. `None`: there is no such mailbox.
    fn view(&self, mailbox: MailboxId)
    -> impl Future<Output = Result<Option<Arc<SharedView>>, Fault>> + Send;

    /// Domains, users, aliases, settings, as of now.
    fn directory(&self) -> Arc<Directory>;

    /// Ticks when the directory changes; holds the newest.
    fn watch_directory(&self) -> watch::Receiver<Arc<Directory>>;

    /// What changes in any mailbox of this account, from now on.
    fn account_news(&self, account: AccountId) -> Arc<SharedNews>;

    /// From now on the news of `account` tell of these mailboxes of others, each by its owner, and of no other of theirs.
    fn hear_of(&self, account: AccountId, others: Vec<(AccountId, MailboxId)>);

    /// The account's mailboxes, ascending by name.
    fn mailboxes(&self, account: AccountId)
    -> impl Future<Output = Result<Vec<MailboxRecord>, Fault>> + Send;

    /// One mailbox by its exact (canonical) name.
    fn mailbox(
        &self,
        account: AccountId,
        name: &str,
    ) -> impl Future<Output = Result<Option<MailboxRecord>, Fault>> + Send;

    /// The account's mailboxes, and those of others that it may look up, by the names that it writes
    /// ([`namespace`](crate::state::namespace)); ascending.
    fn visible_mailboxes(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Vec<MailboxRecord>, Fault>> + Send;

    /// One mailbox by its name as the account writes it, its own or another's. Its `rights` say what the account
    /// may do, be it nothing: whoever asks must heed them.
    fn reach(
        &self,
        account: AccountId,
        name: &str,
    ) -> impl Future<Output = Result<Option<MailboxRecord>, Fault>> + Send;

    /// The mailbox's access control list by identifiers, its owner first; empty if there is no such mailbox.
    fn acl(&self, mailbox: MailboxId) -> impl Future<Output = Result<Vec<(String, Rights)>, Fault>> + Send;

    /// The names the account has subscribed to, ascending, whether or not such a mailbox exists
    /// (RFC 3501 6.3.6: a subscription outlives its mailbox).
    fn subscriptions(&self, account: AccountId) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;

    /// The annotations that are there of those wanted, ascending by name (RFC 5464). Those that settings make are not
    /// among them.
    fn metadata(
        &self,
        place: Place,
        wanted: Vec<Wanted>,
    ) -> impl Future<Output = Result<Vec<Annotation>, Fault>> + Send;

    /// How much the account keeps and may keep, by this node's rows.
    fn quota(&self, account: AccountId) -> impl Future<Output = Result<Quota, Fault>> + Send;

    /// The account's Sieve scripts, ascending by name.
    fn sieve_scripts(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Vec<ScriptRecord>, Fault>> + Send;

    /// The text of one of them.
    fn sieve_script(
        &self,
        account: AccountId,
        name: &str,
    ) -> impl Future<Output = Result<Option<String>, Fault>> + Send;

    /// The text of the one that is active.
    fn active_script(&self, account: AccountId)
    -> impl Future<Output = Result<Option<String>, Fault>> + Send;

    /// This node.
    fn node(&self) -> NodeId;

    fn watch_queue(&self) -> watch::Receiver<QueueTicks>;

    /// Budgets of limits that are scarce, from now on.
    fn watch_budgets(&self) -> broadcast::Receiver<BudgetId>;

    /// Ticks when hosts are blocked or are no longer; holds the newest.
    fn watch_blocks(&self) -> watch::Receiver<Arc<Blocks>>;

    /// What nodes may let in of hosts, from now on.
    fn watch_seats(&self) -> broadcast::Receiver<Arc<SeatsChanged>>;

    /// The data nodes that are drained; holds the newest.
    fn watch_drained(&self) -> watch::Receiver<Arc<BTreeSet<NodeId>>>;

    /// How many data nodes the cluster has.
    fn data_nodes(&self) -> usize;

    /// What [`queue::reading`](crate::state::queue::reading) finds in this node's rows, where blocking does no harm.
    fn read_queue<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> Result<T, RowsError> + Send + 'static,
    ) -> impl Future<Output = Result<T, Fault>> + Send;

    fn clock(&self) -> &Clock;
}

/// A body on its way to the disks. Dropping it unfinished leaves nothing behind.
pub trait Placing: Send {
    /// Takes the next bytes; waits when a disk or peer is slow (bytes in flight are bounded).
    fn push(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Makes the body durable here and on every in-sync data node. A peer that does not answer in
    /// time has been committed as behind when this returns.
    fn finish(self) -> impl Future<Output = Result<PlacedBody, Fault>> + Send;
}
