//! What is kept of passwords for SCRAM, in rows of its own: those of users are as they always were.

use super::accounts::{self, directory_changed};
use super::names;
use super::transaction::{Stop, Transaction};
use crate::state::command::NewUser;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::scram_keys::{ITERATIONS_MAX, ITERATIONS_MIN, NewScramKeys};
use crate::state::stored::{ScramRow, StandInRow, UserRow};

pub fn add_user(tx: &mut Transaction, user: &NewUser, new: &NewScramKeys) -> Result<Outcome, Stop> {
    let outcome = accounts::add_user(tx, user)?;
    put(tx, &names::local(&user.name)?, new)?;
    Ok(outcome)
}

pub fn set_password(
    tx: &mut Transaction,
    name: &str,
    phc: &str,
    new: &NewScramKeys,
) -> Result<Outcome, Stop> {
    let outcome = accounts::set_password(tx, name, phc)?;
    put(tx, &names::local(name)?, new)?;
    Ok(outcome)
}

/// Keys for a password that was set without. It may have been changed since they were made.
pub fn add_keys(tx: &mut Transaction, name: &str, phc: &str, new: &NewScramKeys) -> Result<Outcome, Stop> {
    let name = names::local(name)?;
    let Some(user) = tx.get::<UserRow>(&keys::user(&name))? else {
        return Err(Refusal::NotFound(name).into());
    };
    if user.password_phc != phc {
        return Err(Refusal::Invalid("keys of a password that was changed".into()).into());
    }
    if tx.get::<ScramRow>(&keys::scram(&name))?.is_some() {
        return Err(Refusal::Exists("keys of this password".into()).into());
    }
    put(tx, &name, new)?;
    directory_changed(tx)
}

fn put(tx: &mut Transaction, name: &str, new: &NewScramKeys) -> Result<(), Stop> {
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&new.keys.iterations) {
        return Err(Refusal::Invalid("iterations of SCRAM keys".into()).into());
    }
    tx.put(keys::scram(name), &ScramRow { keys: new.keys.clone() })?;
    if tx.get::<StandInRow>(&keys::stand_in())?.is_none() {
        tx.put(keys::stand_in(), &StandInRow { secret: new.stand_in_secret })?;
    }
    Ok(())
}
