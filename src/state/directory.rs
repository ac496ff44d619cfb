//! Domains, users, aliases and settings in memory: one immutable value, swapped when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::authorities::Authorities;
use super::certificate::{Acme, Certificate};
use super::dkim::DkimKeys;
use super::firewall::FirewallRules;
use super::lists::Lists;
use super::relays::Relays;
use super::scram_keys::{KEY_BYTES, ScramKeys};
use super::srs::SrsSecrets;
use crate::mail::ids::AccountId;

/// Everything a session needs to know to route an address or check a login.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// What all nodes have agreed to write ([`versions`](super::versions)); 0: the cluster has yet to say it.
    pub cluster_version: u32,
    pub domains: BTreeSet<String>,
    /// By login name.
    pub users: BTreeMap<String, Arc<User>>,
    /// By address (`local@domain`) or bare local part.
    pub aliases: BTreeMap<String, Arc<Vec<String>>>,
    /// Only what was set; defaults come from the settings table.
    pub settings: BTreeMap<String, String>,
    /// What mail to other servers is signed with.
    pub dkim: Arc<DkimKeys>,
    /// What return addresses of mail that is passed on are made with, once any was.
    pub srs: Option<Arc<SrsSecrets>>,
    /// Which servers it goes through.
    pub relays: Arc<Relays>,
    /// Who may connect where.
    pub firewall: Arc<FirewallRules>,
    /// Whom it believes beside those that the system trusts.
    pub authorities: Arc<Authorities>,
    /// What the mail services show; `None`: each box what it has in files of its own.
    pub certificate: Option<Arc<Certificate>>,
    /// How it is ordered.
    pub acme: Arc<Acme>,
    /// Whom to refuse, to trust, to let send on.
    pub lists: Arc<Lists>,
    /// What the SCRAM keys of those who have none are derived from; there is one once anybody has keys.
    pub stand_in_secret: Option<[u8; KEY_BYTES]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub account: AccountId,
    pub name: String,
    pub password_phc: String,
    /// Of the same password.
    pub scram: Option<ScramKeys>,
    pub quota_bytes: Option<u64>,
    pub enabled: bool,
}
