//! Certificates that are trusted: added and taken away. Whether they are any is not asked here.

use super::accounts::directory_changed;
use super::names::{invalid, plain};
use super::transaction::{Stop, Transaction};
use crate::state::authorities::{
    AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX, HOSTS_BYTES_MAX, NAME_BYTES_MAX, NewAuthority,
};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::stored::AuthorityRow;

pub fn add(tx: &mut Transaction, new: &NewAuthority) -> Result<Outcome, Stop> {
    let name = plain("certificate", &new.name, NAME_BYTES_MAX)?;
    if let Some(hosts) = &new.hosts
        && (hosts.is_empty() || hosts.len() > HOSTS_BYTES_MAX || hosts.contains(char::is_control))
    {
        return Err(invalid("host", hosts).into());
    }
    if new.certificate.is_empty() || new.certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(Refusal::Limit(format!("a certificate has 1 to {CERTIFICATE_BYTES_MAX} bytes")).into());
    }
    if tx.get::<AuthorityRow>(&keys::authority(&name))?.is_some() {
        return Err(Refusal::Exists(name).into());
    }
    if tx.first::<AuthorityRow>(&keys::table(keys::AUTHORITY), AUTHORITIES_MAX)?.len() >= AUTHORITIES_MAX {
        return Err(Refusal::Limit(format!("{AUTHORITIES_MAX} certificates")).into());
    }
    let row = AuthorityRow { hosts: new.hosts.clone(), certificate: new.certificate.clone(), created: tx.at };
    tx.put(keys::authority(&name), &row)?;
    directory_changed(tx)
}

pub fn remove(tx: &mut Transaction, wanted: &str) -> Result<Outcome, Stop> {
    let name = plain("certificate", wanted, NAME_BYTES_MAX)?;
    let key = keys::authority(&name);
    if tx.get::<AuthorityRow>(&key)?.is_none() {
        return Err(Refusal::NotFound(name).into());
    }
    tx.delete(key);
    directory_changed(tx)
}
