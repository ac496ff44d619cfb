//! The lock on the virtual addresses passes from node to node.

use super::transaction::{Stop, Transaction};
use crate::state::holder::{AddressHolder, PassAddresses};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::stored::AddressHolderRow;

/// A proposal that was on its way for long meets what others made of the row since, and changes nothing.
pub fn pass(tx: &mut Transaction, passed: &PassAddresses) -> Result<Outcome, Stop> {
    let PassAddresses { before, after } = *passed;
    let row = tx.get::<AddressHolderRow>(&keys::address_holder())?;
    if row.map(|AddressHolderRow { node, term }| AddressHolder { node, term }) != before {
        return Err(Refusal::Changed.into());
    }
    match after {
        Some(AddressHolder { node, term }) => {
            tx.put(keys::address_holder(), &AddressHolderRow { node, term })?
        }
        None => tx.delete(keys::address_holder()),
    }
    Ok(Outcome::Done)
}
