//! Relays: added and removed. What a pattern means is not asked here.

use super::accounts::directory_changed;
use super::names::{invalid, plain};
use super::transaction::{Stop, Transaction};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::relays::{
    HOST_BYTES_MAX, LOGIN_BYTES_MAX, NAME_BYTES_MAX, NewRelay, PATTERN_BYTES_MAX, RELAYS_MAX, RelayFor,
};
use crate::state::secret::Secret;
use crate::state::stored::RelayRow;

pub fn add(tx: &mut Transaction, new: &NewRelay) -> Result<Outcome, Stop> {
    let name = plain("relay", &new.name, NAME_BYTES_MAX)?;
    let pattern = match &new.applies {
        RelayFor::All => None,
        RelayFor::Recipient(pattern) | RelayFor::Sender(pattern) => Some(pattern),
    };
    if let Some(pattern) = pattern {
        bounded("pattern", pattern, PATTERN_BYTES_MAX)?;
    }
    bounded("host", &new.host, HOST_BYTES_MAX)?;
    if let Some(login) = &new.login {
        bounded("user", &login.user, LOGIN_BYTES_MAX)?;
        let bytes_max = Secret::sealed_bytes(LOGIN_BYTES_MAX);
        if login.password.0.is_empty() || login.password.0.len() > bytes_max {
            return Err(Refusal::Limit(format!("a password has 1 to {LOGIN_BYTES_MAX} bytes")).into());
        }
        if !new.tls.protects() {
            return Err(Refusal::Invalid("a password in the clear".to_owned()).into());
        }
    }
    let relays = tx.first::<RelayRow>(&keys::table(keys::RELAY), RELAYS_MAX)?;
    if tx.get::<RelayRow>(&keys::relay(&name))?.is_some() {
        return Err(Refusal::Exists(name).into());
    }
    if relays.iter().any(|(_, row)| row.applies == new.applies) {
        return Err(Refusal::Exists(format!("a relay for {}", new.applies.words())).into());
    }
    if relays.len() >= RELAYS_MAX {
        return Err(Refusal::Limit(format!("{RELAYS_MAX} relays")).into());
    }
    let row = RelayRow {
        applies: new.applies.clone(),
        host: new.host.clone(),
        port: new.port,
        tls: new.tls,
        login: new.login.clone(),
        created: tx.at,
    };
    tx.put(keys::relay(&name), &row)?;
    directory_changed(tx)
}

pub fn remove(tx: &mut Transaction, wanted: &str) -> Result<Outcome, Stop> {
    let name = plain("relay", wanted, NAME_BYTES_MAX)?;
    let key = keys::relay(&name);
    if tx.get::<RelayRow>(&key)?.is_none() {
        return Err(Refusal::NotFound(name).into());
    }
    tx.delete(key);
    directory_changed(tx)
}

fn bounded(what: &str, text: &str, bytes_max: usize) -> Result<(), Refusal> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err(invalid(what, text));
    }
    match text.len() <= bytes_max {
        true => Ok(()),
        false => Err(Refusal::Limit(format!("a {what} has at most {bytes_max} bytes"))),
    }
}
