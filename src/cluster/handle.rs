//! The cluster, as the rooms above use it on this node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::bodies::{Depth, PlacingBody};
use super::drain::Working;
use super::figures::ClusterFigures;
use super::inquiries::{Answerer, Told};
use super::local::{DataParts, Local};
use super::membership::ClusterError;
use super::permit::{LeadPermit, StandAside};
use super::propose::Committed;
use super::replica::{Fault, QueueTicks, Replica};
use super::status::{ClusterStatus, Offers};
use super::types::Role;
use super::upgrade::Upgrade;
use super::verify::Verification;
use crate::clock::Clock;
use crate::mail::ids::{AccountId, BodyId, LogIndex, MailboxId, NodeId};
use crate::mail::rights::Rights;
use crate::state::blocks::Blocks;
use crate::state::command::{Command, GuestCommand};
use crate::state::directory::Directory;
use crate::state::limits::BudgetId;
use crate::state::metadata::{self, Annotation, Place, Wanted};
use crate::state::news::SharedNews;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::prepare::prepare;
use crate::state::queue::Acceptance;
use crate::state::reading;
use crate::state::record::{MailboxRecord, Quota, ReplicaRecord};
use crate::state::rows::{Rows, RowsError};
use crate::state::seats::SeatsChanged;
use crate::state::sieve::{self, ScriptRecord};
use crate::state::view::SharedView;
use crate::store::tables::Tables;

/// The replicated truth on this node. Cheap to clone.
#[derive(Clone)]
pub struct ClusterHandle {
    pub(super) local: Arc<Local>,
}

impl ClusterHandle {
    pub fn node(&self) -> NodeId {
        self.local.id
    }

    pub fn role(&self) -> Role {
        self.local.config.role
    }

    pub fn name(&self) -> String {
        self.local.config.name.clone()
    }

    /// Asks all members, each for at most half a second.
    pub async fn status(&self) -> ClusterStatus {
        self.local.status_with_services().await
    }

    /// The same, without what they offer to clients.
    pub async fn status_without_services(&self) -> ClusterStatus {
        self.local.status().await
    }

    /// By this node's own word; nobody is asked.
    pub fn figures(&self) -> ClusterFigures {
        self.local.figures()
    }

    /// By how many milliseconds the clock of each other node certainly differs from this one's, of those that say.
    pub async fn clocks_off(&self) -> Vec<(NodeId, u64)> {
        self.local.clocks_off().await
    }

    /// Whether replication runs here and the disk answers; what is wrong, in one line.
    pub async fn is_alive(&self) -> Result<(), String> {
        self.local.is_alive().await
    }

    /// How every node learns what this one offers to clients. Counts once.
    pub fn tell_offers(&self, offers: Offers) {
        let _ = self.local.offers.set(offers);
    }

    /// How every node learns what this one has in hand. Counts once.
    pub fn tell_work(&self, working: Working) {
        let _ = self.local.working.set(working);
    }

    /// How this node answers what the same rooms of other nodes ask. Counts once.
    pub fn answer_inquiries(&self, answerer: Answerer) {
        let _ = self.local.answerer.set(answerer);
    }

    /// How this node lets go of what the leader alone may hold, before it hands leadership over. Counts once.
    pub fn stand_aside_by(&self, aside: StandAside) {
        let _ = self.local.standing_aside.set(aside);
    }

    /// Leave to act as the only leader for a moment.
    pub fn lead_permit(&self) -> Option<LeadPermit> {
        self.local.lead_permit()
    }

    /// See [`LeadPermit`]: how long after the last heartbeat nobody else is elected.
    pub fn lease(&self) -> Duration {
        self.local.lease()
    }

    pub fn leads(&self) -> bool {
        let id = self.local.id.0;
        self.local.look_at_server(|metrics| metrics.current_leader == Some(id))
    }

    /// Until this node leads, or leads no longer; a node that stops waits for ever.
    pub async fn leading_is(&self, leading: bool) {
        let id = self.local.id.0;
        if !self.local.until_server(|metrics| (metrics.current_leader == Some(id)) == leading).await {
            std::future::pending().await
        }
    }

    /// Asks all other data nodes at once; each may take so long.
    pub async fn inquire(&self, question: Bytes, within: Duration) -> Vec<Told> {
        self.local.inquire(Role::Data, question, within).await
    }

    /// The same of all witnesses.
    pub async fn inquire_of_witnesses(&self, question: Bytes, within: Duration) -> Vec<Told> {
        self.local.inquire(Role::Witness, question, within).await
    }

    /// Hands leadership to a data node that has the whole log; resolves once it leads.
    pub async fn transfer(&self, to: NodeId) -> Result<(), ClusterError> {
        self.local.transfer(to).await
    }

    /// Takes a node out of the cluster; its id is never used again, its certificate is worth nothing any longer. What no
    /// other node has goes with it only if its disk is `lost`.
    pub async fn remove(&self, node: NodeId, lost: bool) -> Result<(), ClusterError> {
        self.local.remove(node, lost).await
    }

    /// This node gives way to one that was told to go on alone: it stops, and does not start again. Refused where none was.
    pub async fn quarantine(&self) -> Result<(), ClusterError> {
        self.local.quarantine().await
    }

    /// Which builds the nodes run, and whether the cluster may go on to the next version.
    pub async fn upgrade(&self) -> Upgrade {
        self.local.upgrade().await
    }

    /// Raises the cluster version as far as all nodes know it; gives it. From then on no node can go back.
    pub async fn finalize(&self) -> Result<u32, ClusterError> {
        self.local.finalize().await
    }

    /// From now on the data node lets no clients in, until it is undrained. Refused unless another serves.
    pub async fn drain(&self, node: NodeId) -> Result<(), ClusterError> {
        self.local.drain(node).await
    }

    pub async fn undrain(&self, node: NodeId) -> Result<(), ClusterError> {
        self.local.undrain(node).await
    }

    /// Has all data nodes look at what they hold, and mends what can be mended.
    pub async fn verify(&self, depth: Depth) -> Result<Verification, ClusterError> {
        self.local.verify(depth).await
    }

    /// What is wrong on this node's disk and could not be mended, as the last look at it found.
    pub fn damage(&self) -> Option<String> {
        self.local.verifying.trouble()
    }

    /// A token that lets one node in, through this node, within `ttl_ms`.
    pub async fn join_token(&self, role: Role, ttl_ms: u64) -> Result<String, ClusterError> {
        self.local.join_token(role, ttl_ms).await
    }

    /// The bodies, for whoever scrubs or counts.
    pub fn bodies(&self) -> Option<&super::bodies::BodyService> {
        self.local.data.as_ref().map(|data| &data.bodies)
    }

    fn data(&self) -> Result<&DataParts, Fault> {
        self.local.data.as_ref().ok_or_else(|| Fault::Busy("a witness keeps no mail".into()))
    }

    /// A node came into sync between the placing and the commit: the bodies go there too.
    async fn place_again(&self, command: &mut Command) -> Result<(), Fault> {
        let bodies = &self.data()?.bodies;
        match command {
            Command::Deliver(deliver) => deliver.body = bodies.place_again(&deliver.body).await?,
            Command::Append(append) | Command::AsGuest { command: GuestCommand::Append(append), .. } => {
                for message in &mut append.messages {
                    message.body = bodies.place_again(&message.body).await?;
                }
            }
            Command::Replace(replace) | Command::AsGuest { command: GuestCommand::Replace(replace), .. } => {
                replace.message.body = bodies.place_again(&replace.message.body).await?;
            }
            Command::Submit(submit) => submit.body = bodies.place_again(&submit.body).await?,
            Command::Vacation(vacation) => {
                vacation.submit.body = bodies.place_again(&vacation.submit.body).await?;
            }
            Command::RaiseAlarm(raised) => {
                if let Some(mail) = &mut raised.mail {
                    mail.body = bodies.place_again(&mail.body).await?;
                }
            }
            Command::ClearAlarm(cleared) => {
                if let Some(mail) = &mut cleared.mail {
                    mail.body = bodies.place_again(&mail.body).await?;
                }
            }
            Command::Accept(acceptance) => {
                acceptance.mail.body = bodies.place_again(&acceptance.mail.body).await?;
                for notice in &mut acceptance.notices {
                    notice.body = bodies.place_again(&notice.body).await?;
                }
            }
            Command::AcceptWithTls(new) => {
                let Acceptance { mail, notices, .. } = &mut new.acceptance;
                mail.body = bodies.place_again(&mail.body).await?;
                for notice in notices {
                    notice.body = bodies.place_again(&notice.body).await?;
                }
            }
            Command::ReportTls(report) => {
                for mail in &mut report.mails {
                    mail.body = bodies.place_again(&mail.body).await?;
                }
            }
            Command::ReportDelivery(report) => {
                for notice in &mut report.notices {
                    notice.body = bodies.place_again(&notice.body).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads rows where blocking does no harm.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Tables) -> Result<T, RowsError> + Send + 'static,
    ) -> Result<T, Fault> {
        let tables = self.data()?.tables.clone();
        let read = super::blocking::blocking(move || read(&tables)).await;
        read.map_err(|_| Fault::ShuttingDown)?.map_err(disk)
    }
}

/// How often the bodies of one proposal are placed again; the in-sync set does not grow thrice in its time.
const PLACED_AGAIN_MAX: u32 = 2;

fn names_bodies(command: &Command) -> bool {
    matches!(
        command,
        Command::Deliver(_)
            | Command::Append(_)
            | Command::Replace(_)
            | Command::Submit(_)
            | Command::Vacation(_)
            | Command::ReportDelivery(_)
            | Command::Accept(_)
            | Command::RaiseAlarm(_)
            | Command::ClearAlarm(_)
            | Command::AcceptWithTls(_)
            | Command::ReportTls(_)
            | Command::AsGuest { command: GuestCommand::Append(_) | GuestCommand::Replace(_), .. }
    )
}

fn disk(error: RowsError) -> Fault {
    Fault::Disk(error.0)
}

impl Replica for ClusterHandle {
    type Placing = PlacingBody;

    async fn commit(&self, command: Command) -> Result<(Option<LogIndex>, Outcome), Fault> {
        let mut command = match prepare(command, &self.directory()) {
            Ok(command) => command,
            Err(refusal) => return Ok((None, Outcome::Refused(refusal))),
        };
        if let Some(data) = &self.local.data {
            command = data.feed.sealed(command, &self.local.clock);
        }
        for _ in 0..PLACED_AGAIN_MAX {
            if !names_bodies(&command) {
                break;
            }
            match self.local.commit_new(command.clone()).await? {
                Committed { outcome: Outcome::Refused(Refusal::NotPlaced), .. } => {
                    self.place_again(&mut command).await?
                }
                Committed { index, outcome } => return Ok((Some(index), outcome)),
            }
        }
        let Committed { index, outcome } = self.local.commit_new(command).await?;
        Ok((Some(index), outcome))
    }

    async fn belongs(&self) {
        let Some(data) = &self.local.data else { return };
        // A data node is noted among the replicas by a command of its own, once it votes.
        let noted = |replicas: &Arc<Vec<_>>| {
            replicas.iter().any(|replica: &ReplicaRecord| replica.node == self.local.id)
        };
        // The feed ends with the node.
        let _ = data.feed.replicas().wait_for(noted).await;
    }

    async fn refresh(&self) -> Result<(), Fault> {
        self.local.refresh().await
    }

    async fn place(&self) -> Result<PlacingBody, Fault> {
        self.data()?.bodies.place()
    }

    async fn body(&self, id: BodyId) -> Result<Bytes, Fault> {
        self.data()?.bodies.body(id).await
    }

    async fn bodies(&self, ids: &[BodyId]) -> Vec<Result<Bytes, Fault>> {
        match self.data() {
            Ok(data) => data.bodies.bodies(ids).await,
            Err(fault) => ids.iter().map(|_| Err(fault.clone())).collect(),
        }
    }

    async fn view(&self, mailbox: MailboxId) -> Result<Option<Arc<SharedView>>, Fault> {
        let data = self.data()?;
        data.feed.view(data.tables.clone(), mailbox).await.map_err(disk)
    }

    fn directory(&self) -> Arc<Directory> {
        self.watch_directory().borrow().clone()
    }

    fn watch_directory(&self) -> watch::Receiver<Arc<Directory>> {
        match &self.local.data {
            Some(data) => data.feed.directory(),
            None => watch::Sender::new(Arc::default()).subscribe(),
        }
    }

    fn account_news(&self, account: AccountId) -> Arc<SharedNews> {
        self.local.data.as_ref().map_or_else(Arc::default, |data| data.feed.account(account))
    }

    fn hear_of(&self, account: AccountId, others: Vec<(AccountId, MailboxId)>) {
        if let Some(data) = &self.local.data {
            data.feed.hear_of(account, others);
        }
    }

    async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRecord>, Fault> {
        self.read(move |rows| reading::mailboxes(rows, account)).await
    }

    async fn mailbox(&self, account: AccountId, name: &str) -> Result<Option<MailboxRecord>, Fault> {
        let name = name.to_owned();
        self.read(move |rows| reading::mailbox_by_name(rows, account, &name)).await
    }

    async fn visible_mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRecord>, Fault> {
        self.read(move |rows| reading::visible_mailboxes(rows, account)).await
    }

    async fn reach(&self, account: AccountId, name: &str) -> Result<Option<MailboxRecord>, Fault> {
        let name = name.to_owned();
        self.read(move |rows| reading::reach(rows, account, &name)).await
    }

    async fn acl(&self, mailbox: MailboxId) -> Result<Vec<(String, Rights)>, Fault> {
        self.read(move |rows| reading::named_acl(rows, mailbox)).await
    }

    async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>, Fault> {
        self.read(move |rows| reading::subscriptions(rows, account)).await
    }

    async fn metadata(&self, place: Place, wanted: Vec<Wanted>) -> Result<Vec<Annotation>, Fault> {
        self.read(move |rows| metadata::read(rows, place, &wanted)).await
    }

    async fn quota(&self, account: AccountId) -> Result<Quota, Fault> {
        self.read(move |rows| reading::quota(rows, account)).await
    }

    async fn sieve_scripts(&self, account: AccountId) -> Result<Vec<ScriptRecord>, Fault> {
        self.read(move |rows| sieve::scripts(rows, account)).await
    }

    async fn sieve_script(&self, account: AccountId, name: &str) -> Result<Option<String>, Fault> {
        let name = name.to_owned();
        self.read(move |rows| sieve::script(rows, account, &name)).await
    }

    async fn active_script(&self, account: AccountId) -> Result<Option<String>, Fault> {
        self.read(move |rows| sieve::active_script(rows, account)).await
    }

    fn node(&self) -> NodeId {
        self.local.id
    }

    fn watch_queue(&self) -> watch::Receiver<QueueTicks> {
        match &self.local.data {
            Some(data) => data.feed.queue(),
            None => watch::Sender::new(QueueTicks::default()).subscribe(),
        }
    }

    fn watch_budgets(&self) -> broadcast::Receiver<BudgetId> {
        match &self.local.data {
            Some(data) => data.feed.budgets(),
            None => broadcast::Sender::new(1).subscribe(),
        }
    }

    fn watch_blocks(&self) -> watch::Receiver<Arc<Blocks>> {
        match &self.local.data {
            Some(data) => data.feed.blocks(),
            None => watch::Sender::new(Arc::default()).subscribe(),
        }
    }

    fn watch_seats(&self) -> broadcast::Receiver<Arc<SeatsChanged>> {
        match &self.local.data {
            Some(data) => data.feed.seats(),
            None => broadcast::Sender::new(1).subscribe(),
        }
    }

    fn watch_drained(&self) -> watch::Receiver<Arc<BTreeSet<NodeId>>> {
        match &self.local.data {
            Some(data) => data.feed.drained(),
            None => watch::Sender::new(Arc::default()).subscribe(),
        }
    }

    fn data_nodes(&self) -> usize {
        self.local.data.as_ref().map_or(0, |data| data.feed.replicas().borrow().len())
    }

    async fn read_queue<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> Result<T, RowsError> + Send + 'static,
    ) -> Result<T, Fault> {
        self.read(move |tables| read(tables)).await
    }

    fn clock(&self) -> &Clock {
        &self.local.clock
    }
}
