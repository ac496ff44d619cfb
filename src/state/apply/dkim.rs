//! Keys for signing: added, put to use or out of it, removed.

use super::accounts::directory_changed;
use super::names::{domain, invalid};
use super::transaction::{Stop, Transaction};
use crate::state::dkim::{KEYS_MAX, NewDkimKey, PRIVATE_BYTES_MAX, SELECTOR_BYTES_MAX, SIGNING_MAX};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::secret::Secret;
use crate::state::stored::{DkimKeyRow, DomainRow};

pub fn add(tx: &mut Transaction, new: &NewDkimKey) -> Result<Outcome, Stop> {
    let (domain, selector) = (domain(&new.domain)?, selector(&new.selector)?);
    // Sealed, it is longer; what it was before, the proposer has seen to.
    if new.private.0.is_empty() || new.private.0.len() > Secret::sealed_bytes(PRIVATE_BYTES_MAX) {
        return Err(Refusal::Limit(format!("a private key has at most {PRIVATE_BYTES_MAX} bytes")).into());
    }
    if tx.get::<DomainRow>(&keys::domain(&domain))?.is_none() {
        return Err(Refusal::NotFound(domain).into());
    }
    let key = keys::dkim_key(&domain, &selector);
    if tx.get::<DkimKeyRow>(&key)?.is_some() {
        return Err(Refusal::Exists(format!("{selector}._domainkey.{domain}")).into());
    }
    if tx.first::<DkimKeyRow>(&keys::table(keys::DKIM_KEY), KEYS_MAX)?.len() >= KEYS_MAX {
        return Err(Refusal::Limit(format!("{KEYS_MAX} keys")).into());
    }
    if new.signs {
        check_signing(tx, &domain)?;
    }
    let row = DkimKeyRow {
        algorithm: new.algorithm,
        private: new.private.clone(),
        signs: new.signs,
        created: tx.at,
    };
    tx.put(key, &row)?;
    directory_changed(tx)
}

pub fn remove(tx: &mut Transaction, of: &str, selector_wanted: &str) -> Result<Outcome, Stop> {
    let (key, _) = find(tx, of, selector_wanted)?;
    tx.delete(key);
    directory_changed(tx)
}

pub fn put_to_use(tx: &mut Transaction, of: &str, selector: &str, signs: bool) -> Result<Outcome, Stop> {
    let (key, mut row) = find(tx, of, selector)?;
    if row.signs != signs {
        if signs {
            check_signing(tx, &domain(of)?)?;
        }
        row.signs = signs;
        tx.put(key, &row)?;
    }
    directory_changed(tx)
}

/// The domain is going.
pub fn forget(tx: &mut Transaction, domain: &str) -> Result<(), Stop> {
    for (key, _) in tx.first::<DkimKeyRow>(&keys::dkim_keys(domain), KEYS_MAX)? {
        tx.delete(key);
    }
    Ok(())
}

fn find(tx: &Transaction, of: &str, wanted: &str) -> Result<(Vec<u8>, DkimKeyRow), Stop> {
    let (domain, selector) = (domain(of)?, selector(wanted)?);
    let key = keys::dkim_key(&domain, &selector);
    match tx.get::<DkimKeyRow>(&key)? {
        Some(row) => Ok((key, row)),
        None => Err(Refusal::NotFound(format!("{selector}._domainkey.{domain}")).into()),
    }
}

/// One more may sign.
fn check_signing(tx: &Transaction, domain: &str) -> Result<(), Stop> {
    let keys = tx.first::<DkimKeyRow>(&keys::dkim_keys(domain), KEYS_MAX)?;
    match keys.iter().filter(|(_, row)| row.signs).count() < SIGNING_MAX {
        true => Ok(()),
        false => Err(Refusal::Limit(format!("{SIGNING_MAX} keys that sign for one domain")).into()),
    }
}

/// Labels of a domain name.
fn selector(text: &str) -> Result<String, Refusal> {
    match text.len() <= SELECTOR_BYTES_MAX {
        true => domain(text).map_err(|_| invalid("selector", text)),
        false => Err(invalid("selector", text)),
    }
}
