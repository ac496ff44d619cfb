//! The node's end of the control socket: bounded lines, bounded connections, bounded waits.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::backup::{self, Job};
use super::blocks;
use super::firewall::{self, NodeFirewall};
use super::plan::{Operation, Plan, needs_directory, plan};
use super::queue;
use super::rehearsal;
use super::request::{Answer, Asked, Failure, LINE_BYTES_MAX, PROTOCOL, Request};
use super::rules;
use super::sieve;
use super::sts;
use super::tls_reports;
use super::trace::{self, Traced};
use super::undelete;
use crate::admin::check::Finding;
use crate::admin::status::Report;
use crate::admin::{security, upgrade, verify};
use crate::backup::location::{Access, Location};
use crate::cluster::replica::{Fault, Replica};
use crate::config::Role;
use crate::firewall::Place;
use crate::mail::ids::{AccountId, NodeId};
use crate::maillog::Query;
use crate::policy::rehearsal::{Rehearsal, Told};
use crate::state::limits::{self, BudgetId, Limit};
use crate::state::lists::Rule;
use crate::state::outcome::Outcome;
use crate::store::files;

/// Operators at a time; a further one waits to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// A connection without a request for this long is closed.
const IDLE_MS_MAX: u64 = 120_000;
const WRITE_MS_MAX: u64 = 10_000;

/// What operators may ask of the cluster itself; the composition root binds it.
pub trait Operator: Clone + Send + Sync + 'static {
    fn role(&self) -> Role;
    fn status(&self) -> impl Future<Output = Report> + Send;
    /// What this node finds when it looks at itself.
    fn findings(&self) -> impl Future<Output = Vec<Finding>> + Send;
    fn join_token(&self, role: Role, ttl_ms: u64) -> impl Future<Output = Result<String, Failure>> + Send;
    fn transfer(&self, to: NodeId) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Lets no clients in there until it is undrained.
    fn drain(&self, node: NodeId) -> impl Future<Output = Result<(), Failure>> + Send;
    fn undrain(&self, node: NodeId) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Has all data nodes look at what they hold; `bodies`: read each, too.
    fn verify(&self, bodies: bool) -> impl Future<Output = Result<verify::Report, Failure>> + Send;
    fn remove(&self, node: NodeId, lost: bool) -> impl Future<Output = Result<(), Failure>> + Send;
    fn security(&self) -> impl Future<Output = security::Report> + Send;
    fn upgrade(&self) -> impl Future<Output = upgrade::Report> + Send;
    /// The cluster goes on to the newest version that all nodes know; gives it.
    fn finalize(&self) -> impl Future<Output = Result<u32, Failure>> + Send;
    /// This node gives way to one that was told to go on alone.
    fn quarantine(&self) -> impl Future<Output = Result<(), Failure>> + Send;
    /// What the logs of all nodes have.
    fn trace(&self, query: Query) -> impl Future<Output = Traced> + Send;
    /// What would be made of that mail.
    fn rehearse(&self, asked: Rehearsal) -> impl Future<Output = Result<Told, Failure>> + Send;
    /// What the DNS says of a domain of ours, held against what it should say.
    fn dns_check(&self, domain: String) -> impl Future<Output = Result<Vec<Finding>, Failure>> + Send;
    /// How each data node stands to the firewall rules, by its own word.
    fn firewalls(&self) -> impl Future<Output = Vec<NodeFirewall>> + Send;
    /// What this box's firewall is made with.
    fn firewall_place(&self) -> Place;
    /// How often the rule was met on this node since it started.
    fn hits(&self, rule: &Rule) -> u64;
    /// Reports what was counted of TLS so far. `None`: this node sends no mail.
    fn report_tls(&self) -> impl Future<Output = Option<Vec<tls_reports::Sent>>> + Send;
    /// Whether the mail services are up.
    fn is_serving(&self) -> bool;
    /// IMAP for the operator, from here on.
    fn imap(&self, stream: UnixStream);
    /// Begins a backup; gives its number.
    fn back_up(&self, to: Location, access: Option<Box<Access>>) -> Result<u64, Failure>;
    /// The last that was begun, and how it stands.
    fn backup(&self) -> (u64, Job);
    /// Begins the orderly stop and returns at once.
    fn shutdown(&self);
}

/// The bound socket. Its file goes when this is dropped.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds with mode 0600, replacing what a killed process left. The caller holds the directory's lock.
    pub fn bind(path: &Path) -> io::Result<Self> {
        // The socket is opened to others under its final name only after its mode is set.
        let unready = path.with_extension("sock.new");
        let _ = fs::remove_file(&unready);
        let listener = UnixListener::bind(&unready)?;
        fs::set_permissions(&unready, Permissions::from_mode(0o600))?;
        files::rename_durably(&unready, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until `stop` turns true.
    pub async fn serve<R: Replica, O: Operator>(
        self,
        replica: R,
        operator: O,
        mut stop: watch::Receiver<bool>,
    ) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors: the pause keeps this loop from burning the processor.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (replica, operator) = (replica.clone(), operator.clone());
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = converse(stream, &replica, &operator).await {
                    tracing::debug!(%error, "control connection ended");
                }
            });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn converse<R: Replica, O: Operator>(stream: UnixStream, replica: &R, operator: &O) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let idle = Duration::from_millis(IDLE_MS_MAX);
        let read_line = async { (&mut read).take(limit).read_until(b'\n', &mut line).await };
        match timeout(idle, read_line).await {
            Ok(bytes) => bytes?,
            Err(_) => return Ok(()),
        };
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.len() <= LINE_BYTES_MAX && line.ends_with(b"\n");
        let request = match whole {
            true => parse(&line),
            false => Err(Failure::malformed(format!("a request has at most {LINE_BYTES_MAX} bytes"))),
        };
        let becomes_imap = request == Ok(Request::Imap);
        let answered = match request {
            Ok(request) => answer(request, replica, operator).await,
            Err(failure) => Err(failure),
        };
        let becomes_imap = becomes_imap && answered.is_ok();
        let bytes = answer_bytes(&answered.map_or_else(Answer::Failed, Answer::Done));
        timeout(Duration::from_millis(WRITE_MS_MAX), write.write_all(&bytes)).await??;
        if becomes_imap {
            // Whoever speaks before he has heard the answer is not heard.
            let stream = read.into_inner().reunite(write).map_err(io::Error::other)?;
            operator.imap(stream);
            return Ok(());
        }
        if !whole {
            // Where the next request begins is not known.
            return Ok(());
        }
    }
}

fn answer_bytes(answer: &Answer) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(answer).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn parse(line: &[u8]) -> Result<Request, Failure> {
    let value: Value =
        serde_json::from_slice(line).map_err(|_| Failure::malformed("a request is one JSON object"))?;
    let version = value.get("v").and_then(Value::as_u64);
    if version != Some(u64::from(PROTOCOL)) {
        return Err(Failure::malformed(format!(
            "this node speaks version {PROTOCOL} of the control protocol; use the pollux command of the same build"
        )));
    }
    let asked: Asked =
        serde_json::from_value(value).map_err(|error| Failure::malformed(error.to_string()))?;
    Ok(asked.request)
}

async fn answer<R: Replica, O: Operator>(
    request: Request,
    replica: &R,
    operator: &O,
) -> Result<Value, Failure> {
    if operator.role() == Role::Witness && needs_directory(&request) {
        return Err(Failure::refused(
            "this node is the witness and keeps no directory; ask a data node (--socket)",
        ));
    }
    let decided = plan(request, &replica.directory())?;
    match decided {
        Plan::Show(value) => Ok(value),
        Plan::ShowUser { account, mut shown } => {
            let quota = replica.quota(account).await.map_err(fault)?;
            shown["used_bytes"] = json!(quota.used_bytes);
            let sent = sent_today(replica, account).await.map_err(fault)?;
            shown["sent_today"] = sent;
            Ok(shown)
        }
        Plan::Propose { commands, done } => {
            for command in commands {
                if let Outcome::Refused(refusal) = replica.propose(command).await.map_err(fault)? {
                    return Err(Failure::refused(refusal.to_string()));
                }
            }
            Ok(json!({ "done": done }))
        }
        Plan::Rules { after } => Ok(rules::list(after, &replica.directory(), |rule| operator.hits(rule))),
        Plan::Queue(wish) => queue::answer(wish, replica).await,
        Plan::StsPolicies { after } => sts::list(after, replica).await,
        Plan::TlsReports(wish) => tls_reports::answer(wish, replica, operator).await,
        Plan::Blocks(wish) => blocks::answer(wish, replica).await,
        Plan::Scripts(wish) => sieve::answer(wish, replica).await,
        Plan::Undelete(wish) => undelete::answer(wish, replica).await,
        Plan::Firewall(wish) => firewall::answer(wish, replica, operator).await,
        Plan::Operate(operation) => operate(operation, operator).await,
    }
}

/// Of what is limited; null is not counted.
async fn sent_today<R: Replica>(replica: &R, account: AccountId) -> Result<Value, Fault> {
    let now = replica.clock().now();
    let used = |limit| {
        let budget = BudgetId::of_user(limit, account, now);
        replica.read_queue(move |rows| limits::used(rows, &budget))
    };
    let directory = replica.directory();
    let settings = directory.settings();
    let mut sent = json!({ "messages": null, "bytes": null });
    for (key, limit, most) in [
        ("messages", Limit::MessagesSentPerDay, settings.send_messages_per_day()),
        ("bytes", Limit::BytesSentPerDay, settings.send_bytes_per_day()),
    ] {
        if most > 0 {
            sent[key] = json!({ "sent": used(limit).await?, "most": most });
        }
    }
    Ok(sent)
}

async fn operate<O: Operator>(operation: Operation, operator: &O) -> Result<Value, Failure> {
    match operation {
        Operation::Status => Ok(json!(operator.status().await)),
        Operation::Check => Ok(json!(operator.findings().await)),
        Operation::JoinToken { role, ttl_ms } => Ok(
            json!({ "token": operator.join_token(role, ttl_ms).await?, "role": role, "ttl_seconds": ttl_ms / 1000 }),
        ),
        Operation::Transfer { node } => {
            let (id, name) = find_node(&node, &operator.status().await)?;
            operator.transfer(id).await?;
            Ok(json!({ "done": format!("{name} leads") }))
        }
        Operation::Drain { node } => {
            let (id, name) = find_node(&node, &operator.status().await)?;
            operator.drain(id).await?;
            Ok(
                json!({ "node": name, "done": format!("{name} lets no more clients in; see 'pollux cluster status'") }),
            )
        }
        Operation::Undrain { node } => {
            let (id, name) = find_node(&node, &operator.status().await)?;
            operator.undrain(id).await?;
            Ok(json!({ "done": format!("{name} serves clients again") }))
        }
        Operation::Verify { bodies } => Ok(json!(operator.verify(bodies).await?)),
        Operation::Remove { node, lost } => {
            let (id, name) = find_node(&node, &operator.status().await)?;
            operator.remove(id, lost).await?;
            Ok(json!({ "done": format!("{name} is removed; its certificate no longer opens anything") }))
        }
        Operation::Security => Ok(json!(operator.security().await)),
        Operation::Upgrade { finalize: false } => Ok(json!(operator.upgrade().await)),
        Operation::Upgrade { finalize: true } => {
            let version = operator.finalize().await?;
            Ok(json!({ "cluster_version": version, "done": format!("the cluster's version is {version}") }))
        }
        Operation::Quarantine => {
            operator.quarantine().await?;
            Ok(json!({ "done": "this node stops, and does not start again; its mail stays on its disk" }))
        }
        // The session itself follows the answer.
        Operation::Imap => match operator.is_serving() {
            true => Ok(json!({ "done": "IMAP" })),
            false => Err(Failure::not_serving()),
        },
        Operation::Rehearse(asked) => {
            let recipients = asked.recipients.clone();
            Ok(rehearsal::shown(&operator.rehearse(asked).await?, &recipients))
        }
        Operation::DnsCheck { domain } => Ok(json!(operator.dns_check(domain).await?)),
        Operation::Trace(query) => Ok(trace::shown(operator.trace(query).await)),
        Operation::BackupCreate(to, access) => Ok(json!({ "job": operator.back_up(to, access)? })),
        Operation::BackupState => {
            let (number, job) = operator.backup();
            Ok(backup::shown(number, &job))
        }
        Operation::Shutdown => {
            operator.shutdown();
            Ok(json!({ "done": "stopping" }))
        }
    }
}

/// By name, else by id.
fn find_node(wanted: &str, report: &Report) -> Result<(NodeId, String), Failure> {
    let by_name = report.nodes.iter().find(|node| node.name == wanted);
    let found = by_name.or_else(|| report.nodes.iter().find(|node| node.id.to_string() == wanted));
    match found {
        Some(node) => Ok((NodeId(node.id), node.name.clone())),
        None => Err(Failure::refused(format!("there is no node {wanted}; see 'pollux cluster members'"))),
    }
}

pub fn fault(fault: Fault) -> Failure {
    let advice = match fault {
        Fault::NoQuorum => "; see 'pollux cluster status' and start the nodes that are down",
        Fault::Disk(_) => "; free or mend the disk, see the node's log",
        _ => "; try again",
    };
    Failure::unavailable(format!("{fault}{advice}"))
}
