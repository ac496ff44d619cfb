//! Applies one proposal to the rows. Total and deterministic.
//!
//! Every command is all or nothing: a refusal undoes what the entry wrote. Text is compared and folded
//! by ASCII rules only, and settings are not checked against their table here: both would make the
//! outcome depend on the build. The proposer has done so before (`Command::prepared`).

mod accounts;
mod acl;
mod alarms;
mod authorities;
mod backups;
mod blocks;
mod bodies;
mod certificate;
mod dkim;
mod drained;
mod firewall;
mod greylist;
mod guest;
mod holder;
mod idempotency;
mod keywords;
mod limits;
mod lists;
mod mailboxes;
mod messages;
mod metadata;
mod names;
mod node_ids;
mod opened;
mod overlay;
mod queue;
mod queue_lease;
mod queue_steer;
mod relays;
mod removed;
mod rename;
mod replace;
mod replicas;
mod scram;
mod seats;
mod sieve;
mod srs;
mod sts;
mod sweep;
mod tls_reports;
mod transaction;
mod transfer;

pub use mailboxes::MAILBOXES_MAX;
pub use metadata::VALUE_BYTES_MAX as METADATA_VALUE_BYTES_MAX;
pub use overlay::Overlay;

use super::change::Change;
use super::command::{Command, Proposal};
use super::outcome::Outcome;
use super::rows::{Rows, RowsError};
use crate::mail::flags::Flags;
use crate::mail::ids::LogIndex;
use transaction::{Stop, Transaction};

/// What one entry came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub outcome: Outcome,
    /// Empty for a repeat. May also tell of earlier deletions whose remains were swept on the way.
    pub changes: Vec<Change>,
}

/// Applies the entry at `index`: reads `rows` under `batch`, writes into `batch`.
///
/// Never panics for a command that decodes. Fails only when the rows cannot be read; `batch` is then
/// to be thrown away.
pub fn apply(
    rows: &dyn Rows,
    batch: &mut Overlay,
    index: LogIndex,
    proposal: &Proposal,
) -> Result<Applied, RowsError> {
    let mut tx = Transaction::begin(rows, batch, index, proposal.at)?;
    if let Some(outcome) = idempotency::remembered(&tx, proposal.id)? {
        return Ok(Applied { outcome, changes: Vec::new() });
    }
    if let Some(refusal) = idempotency::expired(&tx, proposal.base) {
        return Ok(Applied { outcome: Outcome::Refused(refusal), changes: Vec::new() });
    }
    let outcome = match tx.attempt(|tx| run(tx, &proposal.command)) {
        Ok(outcome) => outcome,
        Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Stop::Rows(error)) => return Err(error),
    };
    sweep::portion(&mut tx)?;
    idempotency::remember(&mut tx, proposal.id, &outcome)?;
    let changes = tx.commit()?;
    Ok(Applied { outcome, changes })
}

fn run(tx: &mut Transaction, command: &Command) -> Result<Outcome, Stop> {
    match command {
        Command::AddDomain { name } => accounts::add_domain(tx, name),
        Command::RemoveDomain { name } => accounts::remove_domain(tx, name),
        Command::AddUser(user) => accounts::add_user(tx, user),
        Command::SetPassword { name, password_phc } => accounts::set_password(tx, name, password_phc),
        Command::SetQuota { name, quota_bytes } => accounts::set_quota(tx, name, *quota_bytes),
        Command::SetUserEnabled { name, enabled } => accounts::set_enabled(tx, name, *enabled),
        Command::RemoveUser { name } => accounts::remove_user(tx, name),
        Command::SetAlias { address, targets } => accounts::set_alias(tx, address, targets),
        Command::RemoveAlias { address } => accounts::remove_alias(tx, address),
        Command::SetSettings { changes } => accounts::set_settings(tx, changes),
        Command::CreateMailbox { account, name, special_use } => {
            mailboxes::create(tx, *account, name, *special_use)
        }
        Command::DeleteMailbox { account, name } => mailboxes::delete(tx, *account, name),
        Command::RenameMailbox { account, from, to } => rename::rename(tx, *account, from, to),
        Command::Subscribe { account, name, subscribed } => {
            mailboxes::subscribe(tx, *account, name, *subscribed)
        }
        Command::Deliver(deliver) => messages::deliver(tx, deliver),
        Command::Append(append) => messages::append(tx, append, Flags::ALL),
        Command::Store(store) => messages::store(tx, store, Flags::ALL),
        Command::Expunge { mailbox, uids, only_deleted } => {
            messages::expunge(tx, *mailbox, uids, *only_deleted)
        }
        Command::Copy(transfer) => transfer::copy(tx, transfer, Flags::ALL),
        Command::Move(transfer) => transfer::move_to(tx, transfer, Flags::ALL),
        Command::ClaimRecent { mailbox, up_to } => messages::claim_recent(tx, *mailbox, *up_to),
        Command::AddReplica { node } => replicas::add(tx, *node),
        Command::RemoveReplica { node } => replicas::remove(tx, *node),
        Command::MarkBehind { node } => replicas::mark_behind(tx, *node),
        Command::MarkInSync { node, complete_to } => replicas::mark_in_sync(tx, *node, *complete_to),
        Command::SetClusterVersion { version } => replicas::set_cluster_version(tx, *version),
        Command::GiveNodeId { above } => node_ids::give(tx, *above),
        Command::SetAcl(set) => acl::set(tx, set),
        Command::AsGuest { guest, command } => guest::run(tx, *guest, command),
        Command::Replace(replace) => replace::replace(tx, replace, Flags::ALL),
        Command::AddUserWithScram { user, keys } => scram::add_user(tx, user, keys),
        Command::SetPasswordWithScram { name, password_phc, keys } => {
            scram::set_password(tx, name, password_phc, keys)
        }
        Command::AddScramKeys { name, password_phc, keys } => scram::add_keys(tx, name, password_phc, keys),
        Command::RetireReplica { node, lost } => replicas::retire(tx, *node, *lost),
        Command::ReinstateReplica { node, retired_at } => replicas::reinstate(tx, *node, *retired_at),
        Command::SetMetadata(set) => metadata::set(tx, set),
        Command::Submit(submit) => queue::submit(tx, submit),
        Command::LeaseQueued { lease, node, parcels } => queue_lease::take(tx, *lease, *node, parcels),
        Command::RenewLeases { leases } => queue_lease::renew(tx, leases),
        Command::EndLease { lease, renewals } => queue_lease::end(tx, *lease, *renewals),
        Command::ReportDelivery(report) => queue_lease::report(tx, report),
        Command::SteerQueue { messages, steering } => queue_steer::steer(tx, messages, *steering),
        Command::AddRule(rule) => lists::add(tx, rule),
        Command::RemoveRule { name } => lists::remove(tx, name),
        Command::AddDkimKey(key) => dkim::add(tx, key),
        Command::RemoveDkimKey { domain, selector } => dkim::remove(tx, domain, selector),
        Command::UseDkimKey { domain, selector, signs } => dkim::put_to_use(tx, domain, selector, *signs),
        Command::MoveRule { name, before } => lists::move_to(tx, name, before.as_deref()),
        Command::TakeTokens(ask) => limits::take(tx, ask),
        Command::NoteOffense(noted) => blocks::note(tx, noted),
        Command::AddBlock(new) => blocks::add(tx, new),
        Command::ClearBlocks { host } => blocks::clear(tx, *host),
        Command::TakeSeats(ask) => seats::take(tx, ask),
        Command::AddRelay(new) => relays::add(tx, new),
        Command::RemoveRelay { name } => relays::remove(tx, name),
        Command::AddFirewallRule(new) => firewall::add(tx, new),
        Command::RemoveFirewallRule { name } => firewall::remove(tx, name),
        Command::Greylist(wanted) => greylist::attempt(tx, wanted),
        Command::PutScript { account, name, text } => sieve::put(tx, *account, name, text),
        Command::RemoveScript { account, name } => sieve::remove(tx, *account, name),
        Command::RenameScript { account, from, to } => sieve::rename(tx, *account, from, to),
        Command::ActivateScript { account, name } => sieve::activate(tx, *account, name.as_deref()),
        Command::Vacation(vacation) => sieve::reply(tx, vacation),
        Command::AddAuthority(new) => authorities::add(tx, new),
        Command::RemoveAuthority { name } => authorities::remove(tx, name),
        Command::KeepStsPolicy(kept) => sts::keep(tx, kept),
        Command::Accept(acceptance) => queue::accept(tx, acceptance),
        Command::KeepSrsSecret(new) => srs::keep(tx, new),
        Command::RaiseAlarm(raised) => alarms::raise(tx, raised),
        Command::ClearAlarm(cleared) => alarms::clear(tx, cleared),
        Command::NoteBackup(made) => backups::note(tx, made),
        Command::Undelete(wanted) => removed::undelete(tx, wanted),
        Command::ForgetRemoved { before } => removed::forget(tx, *before),
        Command::PassAddresses(passed) => holder::pass(tx, passed),
        Command::SetCertificate(new) => certificate::set(tx, new),
        Command::RemoveCertificate => certificate::remove(tx),
        Command::RenewCertificate(renewal) => certificate::renew(tx, *renewal),
        Command::StepAcme(step) => certificate::step(tx, step),
        Command::DrainNode { node } => drained::drain(tx, *node),
        Command::UndrainNode { node } => drained::undrain(tx, *node),
        Command::AcceptWithTls(new) => queue::accept_with_tls(tx, new),
        Command::TallyTls(tally) => tls_reports::tally(tx, tally),
        Command::ReportTls(report) => tls_reports::report(tx, report),
    }
}

#[cfg(test)]
mod tests;
