//! The secret of return addresses: made once, and replaced by the next one, which leaves it the addresses that are under way.

use super::accounts::directory_changed;
use super::transaction::{Stop, Transaction};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::secret::Secret;
use crate::state::srs::{NewSrsSecret, SECRET_BYTES, SrsSecret};
use crate::state::stored::SrsRow;

pub fn keep(tx: &mut Transaction, new: &NewSrsSecret) -> Result<Outcome, Stop> {
    // Two characters for each octet; sealed it is longer.
    let clear = 2 * SECRET_BYTES;
    if ![clear, Secret::sealed_bytes(clear)].contains(&new.secret.0.len()) {
        return Err(Refusal::Invalid(format!("a secret has {SECRET_BYTES} octets")).into());
    }
    let current = SrsSecret { secret: new.secret.clone(), made: tx.at };
    let row = match tx.get::<SrsRow>(&keys::srs())? {
        // Two nodes needed one at once, and the other was first.
        Some(_) if !new.replaces => return Ok(Outcome::Done),
        Some(known) => SrsRow { current, previous: Some(known.current) },
        None => SrsRow { current, previous: None },
    };
    tx.put(keys::srs(), &row)?;
    directory_changed(tx)
}
