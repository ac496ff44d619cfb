//! From a request to what must be done for it. Pure: the directory goes in, commands or an answer come out.

use serde_json::{Value, json};

use super::blocks;
use super::dkim;
use super::dns;
use super::firewall;
use super::policy;
use super::queue::Wish;
use super::rehearsal;
use super::relays;
use super::request::{Failure, QueueSteering, Quota, Request};
use super::rules;
use super::sieve;
use super::srs;
use super::tls_reports;
use super::trace;
use super::undelete::{self, Which};
use super::{authorities, certificate};
use crate::backup::location::{Access, Location};
use crate::config::Role;
use crate::mail::address::canonical_domain;
use crate::mail::ids::{AccountId, QueueId};
use crate::maillog::Query;
use crate::policy::rehearsal::Rehearsal;
use crate::state::command::{Command, NewUser};
use crate::state::directory::{Directory, User};
use crate::state::queue::Steering;
use crate::state::scram_keys::NewScramKeys;

/// Octets of a user's name (RFC 5321 4.5.3.1.1: a local part has at most 64).
pub const USER_NAME_BYTES_MAX: usize = 64;
/// A join token lives at most a week: it is a key to the cluster.
pub const TOKEN_SECONDS_MAX: u64 = 7 * 86_400;

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Propose these in order, stop at the first refusal; then say `done`.
    Propose {
        commands: Vec<Command>,
        done: String,
    },
    /// Nothing changes: this is the answer.
    Show(Value),
    /// `shown`, with the bytes that the account uses as `used_bytes`.
    ShowUser {
        account: AccountId,
        shown: Value,
    },
    Queue(Wish),
    /// Those that hold, by domain, behind `after`.
    StsPolicies {
        after: Option<String>,
    },
    TlsReports(tls_reports::Wish),
    Blocks(blocks::Wish),
    Scripts(sieve::Wish),
    Undelete(undelete::Wish),
    Firewall(firewall::Wish),
    /// Rules, and how often each was met here.
    Rules {
        after: Option<u64>,
    },
    Operate(Operation),
}

/// What the cluster itself is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Status,
    Check,
    JoinToken { role: Role, ttl_ms: u64 },
    Transfer { node: String },
    Drain { node: String },
    Undrain { node: String },
    Verify { bodies: bool },
    Remove { node: String, lost: bool },
    Quarantine,
    Imap,
    Upgrade { finalize: bool },
    Security,
    Trace(Query),
    DnsCheck { domain: String },
    Rehearse(Rehearsal),
    Shutdown,
    BackupCreate(Location, Option<Box<Access>>),
    BackupState,
}

/// Decides. `Err` is what the operator hears at once; the state may still refuse what passes here.
pub fn plan(request: Request, directory: &Directory) -> Result<Plan, Failure> {
    match request {
        Request::Status => Ok(Plan::Operate(Operation::Status)),
        Request::Check => Ok(Plan::Operate(Operation::Check)),
        Request::JoinToken { role, ttl_seconds } => join_token(role, ttl_seconds),
        Request::Transfer { node } => Ok(Plan::Operate(Operation::Transfer { node })),
        Request::Drain { node } => Ok(Plan::Operate(Operation::Drain { node })),
        Request::Undrain { node } => Ok(Plan::Operate(Operation::Undrain { node })),
        Request::Verify { bodies } => Ok(Plan::Operate(Operation::Verify { bodies })),
        Request::Remove { node, lost } => Ok(Plan::Operate(Operation::Remove { node, lost })),
        Request::Imap => Ok(Plan::Operate(Operation::Imap)),
        Request::Security => Ok(Plan::Operate(Operation::Security)),
        Request::Upgrade { finalize } => Ok(Plan::Operate(Operation::Upgrade { finalize })),
        Request::Quarantine => Ok(Plan::Operate(Operation::Quarantine)),
        Request::Trace { about, since_ms } => {
            Ok(Plan::Operate(Operation::Trace(trace::query(about, since_ms)?)))
        }
        Request::Shutdown => Ok(Plan::Operate(Operation::Shutdown)),
        Request::BackupCreate { to, access } => match &to {
            Location::Folder(dir) if !dir.is_absolute() => {
                Err(Failure::refused("name the folder of backups from the root on, such as /mnt/backups"))
            }
            _ => Ok(Plan::Operate(Operation::BackupCreate(to, access))),
        },
        Request::BackupState => Ok(Plan::Operate(Operation::BackupState)),
        Request::DomainAdd { .. } | Request::DomainList | Request::DomainRemove { .. } => {
            domain(request, directory)
        }
        Request::UserAdd { .. }
        | Request::UserList
        | Request::UserShow { .. }
        | Request::UserSet { .. }
        | Request::UserPasswd { .. }
        | Request::UserRemove { .. } => user(request, directory),
        Request::AliasAdd { .. }
        | Request::AliasList
        | Request::AliasShow { .. }
        | Request::AliasSet { .. }
        | Request::AliasRemove { .. } => alias(request, directory),
        Request::PolicyList => Ok(policy::list(directory)),
        Request::PolicyShow { key } => policy::show(&key, directory),
        Request::PolicySet { changes } => policy::set(&changes, directory),
        Request::PolicyTest { wanted } => Ok(Plan::Operate(Operation::Rehearse(rehearsal::read(wanted)?))),
        Request::RuleAdd { rule } => rules::add(rule, directory),
        Request::RuleRemove { name } => rules::remove(&name, directory),
        Request::RuleMove { name, before } => rules::move_to(&name, before.as_deref(), directory),
        Request::RuleList { after } => Ok(Plan::Rules { after }),
        Request::BlockAdd { address, seconds, note } => {
            Ok(Plan::Blocks(blocks::Wish::add(&address, seconds, note, directory)?))
        }
        Request::BlockClear { address } => Ok(Plan::Blocks(blocks::Wish::clear(address)?)),
        Request::BlockList { after } => Ok(Plan::Blocks(blocks::Wish::list(after)?)),
        Request::RelayAdd { relay } => relays::add(relay),
        Request::RelayRemove { name } => Ok(relays::remove(name)),
        Request::RelayList => Ok(relays::list(directory)),
        Request::FirewallAdd { rule, wished } => firewall::add(rule, wished),
        Request::FirewallRemove { name, wished } => {
            Ok(Plan::Firewall(firewall::Wish::Remove(name.to_ascii_lowercase(), wished)))
        }
        Request::FirewallList => Ok(firewall::list(directory)),
        Request::FirewallRender => Ok(Plan::Firewall(firewall::Wish::Render)),
        Request::FirewallStatus => Ok(Plan::Firewall(firewall::Wish::Status)),
        Request::DnsRecords { domain } => dns::show(&domain, directory),
        Request::DnsCheck { domain } => dns::check(&domain, directory),
        Request::AuthorityAdd { authority } => authorities::add(authority),
        Request::AuthorityRemove { name } => Ok(authorities::remove(name)),
        Request::AuthorityList => Ok(authorities::list(directory)),
        Request::CertificateShow => Ok(certificate::show(directory)),
        Request::CertificateSet { certificate } => certificate::set(&certificate, directory),
        Request::CertificateRemove => certificate::remove(directory),
        Request::CertificateRenew { new_key } => certificate::renew(new_key, directory),
        Request::SrsRotate { secret } => Ok(srs::rotate(secret, directory)),
        Request::SrsShow => Ok(srs::show(directory)),
        Request::DkimAdd { key } => dkim::add(key),
        Request::DkimUse { domain, selector, signs } => Ok(dkim::put_to_use(domain, selector, signs)),
        Request::DkimRemove { domain, selector } => Ok(dkim::remove(domain, selector)),
        Request::DkimList => Ok(dkim::list(directory)),
        Request::DkimShow { domain, selector, private } => dkim::show(&domain, &selector, private, directory),
        Request::ScriptList { user } => Ok(Plan::Scripts(sieve::Wish::list(&user, directory)?)),
        Request::ScriptShow { user, name } => Ok(Plan::Scripts(sieve::Wish::show(&user, name, directory)?)),
        Request::ScriptPut { user, name, text, activate } => {
            Ok(Plan::Scripts(sieve::Wish::put(&user, (name, text), activate, directory)?))
        }
        Request::ScriptRemove { user, name } => {
            Ok(Plan::Scripts(sieve::Wish::remove(&user, name, directory)?))
        }
        Request::ScriptActivate { user, name } => {
            Ok(Plan::Scripts(sieve::Wish::activate(&user, name, directory)?))
        }
        Request::RemovedList { wanted } => {
            Ok(Plan::Undelete(undelete::Wish::List(Which::of(wanted, directory)?)))
        }
        Request::Undelete { wanted, into } => {
            Ok(Plan::Undelete(undelete::Wish::PutBack { which: Which::of(wanted, directory)?, into }))
        }
        Request::QueueList { filter, after } => {
            Ok(Plan::Queue(Wish::List { filter, after: after.map(QueueId) }))
        }
        Request::TlsReportList => Ok(Plan::TlsReports(tls_reports::Wish::List)),
        Request::TlsReportSend => Ok(Plan::TlsReports(tls_reports::Wish::Send)),
        Request::QueueShow { id } => Ok(Plan::Queue(Wish::Show(QueueId(id)))),
        Request::QueueSteer { ids, steering } => {
            let messages = ids.into_iter().map(QueueId).collect();
            Ok(Plan::Queue(Wish::Steer { messages, steering: steer(steering) }))
        }
        Request::StsList { after } => Ok(Plan::StsPolicies { after }),
    }
}

fn steer(steering: QueueSteering) -> Steering {
    match steering {
        QueueSteering::Hold => Steering::Hold,
        QueueSteering::Release => Steering::Release,
        QueueSteering::Retry => Steering::Retry,
        QueueSteering::Remove => Steering::Remove,
    }
}

/// True when the request needs the directory, which a witness does not keep.
pub fn needs_directory(request: &Request) -> bool {
    use Request::{
        Check, Drain, JoinToken, Quarantine, Remove, Shutdown, Status, Trace, Transfer, Undrain, Verify,
    };
    let of_nodes =
        matches!(request, JoinToken { .. } | Transfer { .. } | Drain { .. } | Undrain { .. } | Remove { .. });
    !of_nodes && !matches!(request, Status | Check | Verify { .. } | Quarantine | Trace { .. } | Shutdown)
}

fn join_token(role: Role, ttl_seconds: u64) -> Result<Plan, Failure> {
    if !(1..=TOKEN_SECONDS_MAX).contains(&ttl_seconds) {
        return Err(Failure::refused("a join token lives 1 second to 7 days; give --ttl such as 1h"));
    }
    Ok(Plan::Operate(Operation::JoinToken { role, ttl_ms: ttl_seconds * 1000 }))
}

fn propose(command: Command, done: String) -> Result<Plan, Failure> {
    Ok(Plan::Propose { commands: vec![command], done })
}

fn domain(request: Request, directory: &Directory) -> Result<Plan, Failure> {
    match request {
        Request::DomainAdd { name } => {
            let name = domain_name(&name)?;
            if directory.domains.contains(&name) {
                return Err(Failure::refused(format!("domain {name} exists already")));
            }
            let done = format!("domain {name} added");
            propose(Command::AddDomain { name }, done)
        }
        Request::DomainRemove { name } => {
            let name = domain_name(&name)?;
            if !directory.domains.contains(&name) {
                return Err(Failure::refused(format!("there is no domain {name}; see 'pollux domain list'")));
            }
            let done = format!("domain {name} removed");
            propose(Command::RemoveDomain { name }, done)
        }
        _ => Ok(Plan::Show(json!(
            directory.domains.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>()
        ))),
    }
}

/// Lower case, international names in their ASCII form.
pub fn domain_name(name: &str) -> Result<String, Failure> {
    let wrong = || Failure::refused(format!("{name:?} is not a domain name; write it like example.com"));
    canonical_domain(name).ok_or_else(wrong)
}

fn user(request: Request, directory: &Directory) -> Result<Plan, Failure> {
    match request {
        Request::UserAdd { name, password_phc, scram, quota } => {
            let name = user_name(&name, directory)?;
            if directory.users.contains_key(&name) {
                let problem =
                    format!("user {name} exists already; change it with 'pollux user set' or 'passwd'");
                return Err(Failure::refused(problem));
            }
            let done = format!("user {name} added");
            let user = NewUser { name, password_phc, quota_bytes: quota.bytes() };
            let command = match kept(scram, directory) {
                Some(keys) => Command::AddUserWithScram { user, keys },
                None => Command::AddUser(user),
            };
            propose(command, done)
        }
        Request::UserPasswd { name, password_phc, scram } => {
            let name = known_user(&name, directory)?.name.clone();
            let done = format!("password of {name} changed");
            let command = match kept(scram, directory) {
                Some(keys) => Command::SetPasswordWithScram { name, password_phc, keys },
                None => Command::SetPassword { name, password_phc },
            };
            propose(command, done)
        }
        Request::UserSet { name, quota, enabled } => {
            let name = known_user(&name, directory)?.name.clone();
            user_set(name, quota, enabled)
        }
        Request::UserRemove { name } => {
            let name = known_user(&name, directory)?.name.clone();
            let done = format!("user {name} removed, with all mail");
            propose(Command::RemoveUser { name }, done)
        }
        Request::UserShow { name } => {
            let user = known_user(&name, directory)?;
            Ok(Plan::ShowUser { account: user.account, shown: shown_user(user, directory) })
        }
        _ => Ok(Plan::Show(json!(
            directory.users.values().map(|user| shown_user(user, directory)).collect::<Vec<_>>()
        ))),
    }
}

/// Nothing is kept for SCRAM where the operator does not want it.
fn kept(scram: Option<NewScramKeys>, directory: &Directory) -> Option<Box<NewScramKeys>> {
    scram.filter(|_| directory.settings().auth_scram()).map(Box::new)
}

fn user_set(name: String, quota: Option<Quota>, enabled: Option<bool>) -> Result<Plan, Failure> {
    let mut commands = Vec::new();
    if let Some(quota) = quota {
        commands.push(Command::SetQuota { name: name.clone(), quota_bytes: quota.bytes() });
    }
    if let Some(enabled) = enabled {
        commands.push(Command::SetUserEnabled { name: name.clone(), enabled });
    }
    if commands.is_empty() {
        return Err(Failure::refused("nothing to set; give --quota, --enable or --disable"));
    }
    Ok(Plan::Propose { commands, done: format!("user {name} changed") })
}

fn shown_user(user: &User, directory: &Directory) -> Value {
    let addresses: Vec<String> =
        directory.domains.iter().map(|domain| format!("{}@{domain}", user.name)).collect();
    json!({
        "name": user.name,
        "account": user.account.0,
        "enabled": user.enabled,
        "quota_bytes": user.quota_bytes,
        "addresses": addresses,
    })
}

/// The bare login name, lower case; an address counts where its domain is one of ours.
fn user_name(name: &str, directory: &Directory) -> Result<String, Failure> {
    let local = match name.rsplit_once('@') {
        None => name,
        Some((local, domain)) => {
            let domain = domain_name(domain)?;
            if !directory.domains.contains(&domain) {
                let problem = format!(
                    "{domain} is not a domain of this cluster; add it with 'pollux domain add {domain}'"
                );
                return Err(Failure::refused(problem));
            }
            local
        }
    };
    let name = local.to_lowercase();
    if !is_local_part(&name) {
        return Err(Failure::refused(format!(
            "{name:?} is not a user name; use 1 to {USER_NAME_BYTES_MAX} letters, digits, '.', '-' and '_'"
        )));
    }
    Ok(name)
}

fn is_local_part(name: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let dots_good = !name.starts_with('.') && !name.ends_with('.') && !name.contains("..");
    (1..=USER_NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed) && dots_good
}

pub(super) fn known_user<'a>(name: &str, directory: &'a Directory) -> Result<&'a User, Failure> {
    let name = user_name(name, directory)?;
    match directory.users.get(&name) {
        Some(user) => Ok(user),
        None => Err(Failure::refused(format!("there is no user {name}; see 'pollux user list'"))),
    }
}

fn alias(request: Request, directory: &Directory) -> Result<Plan, Failure> {
    match request {
        Request::AliasAdd { address, targets } => {
            let address = alias_address(&address, directory)?;
            if directory.aliases.contains_key(&address) {
                let problem = format!("alias {address} exists already; change it with 'pollux alias set'");
                return Err(Failure::refused(problem));
            }
            set_alias(address, targets, "added")
        }
        Request::AliasSet { address, targets } => {
            let address = known_alias(&address, directory)?;
            set_alias(address, targets, "changed")
        }
        Request::AliasRemove { address } => {
            let address = known_alias(&address, directory)?;
            let done = format!("alias {address} removed");
            propose(Command::RemoveAlias { address }, done)
        }
        Request::AliasShow { address } => {
            let address = known_alias(&address, directory)?;
            Ok(Plan::Show(shown_alias(&address, directory)))
        }
        _ => Ok(Plan::Show(json!(
            directory.aliases.keys().map(|address| shown_alias(address, directory)).collect::<Vec<_>>()
        ))),
    }
}

fn set_alias(address: String, targets: Vec<String>, verb: &str) -> Result<Plan, Failure> {
    if targets.is_empty() {
        return Err(Failure::refused(
            "an alias needs at least one target; to take it away use 'pollux alias remove'",
        ));
    }
    let done = format!("alias {address} {verb}");
    let targets = targets.into_iter().map(|target| target_address(&target)).collect::<Result<_, _>>()?;
    propose(Command::SetAlias { address, targets }, done)
}

fn shown_alias(address: &str, directory: &Directory) -> Value {
    let targets = directory.aliases.get(address).map(|targets| targets.as_slice()).unwrap_or_default();
    json!({ "address": address, "targets": targets })
}

/// `local` (in every domain) or `local@domain` in one of ours, lower case.
fn alias_address(address: &str, directory: &Directory) -> Result<String, Failure> {
    let Some((local, domain)) = address.rsplit_once('@') else { return user_name(address, directory) };
    let domain = domain_name(domain)?;
    let local = user_name(&format!("{local}@{domain}"), directory)?;
    Ok(format!("{local}@{domain}"))
}

fn known_alias(address: &str, directory: &Directory) -> Result<String, Failure> {
    let address = alias_address(address, directory)?;
    match directory.aliases.contains_key(&address) {
        true => Ok(address),
        false => Err(Failure::refused(format!("there is no alias {address}; see 'pollux alias list'"))),
    }
}

/// A user, another alias, or an address anywhere.
fn target_address(target: &str) -> Result<String, Failure> {
    let wrong =
        || Failure::refused(format!("{target:?} is not a user or an address; write bob or bob@example.com"));
    let (local, domain) = match target.rsplit_once('@') {
        Some((local, domain)) => (local, Some(domain_name(domain)?)),
        None => (target, None),
    };
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | ',' | '@');
    if local.is_empty() || local.len() > USER_NAME_BYTES_MAX || local.contains(bad) {
        return Err(wrong());
    }
    Ok(match domain {
        Some(domain) => format!("{local}@{domain}"),
        None => local.to_lowercase(),
    })
}
